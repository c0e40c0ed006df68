"""Starting, stopping, rebooting: the actions below /status, and how differently both kinds do them.

A VM's errors mostly show up in the task; a container's are said at once.
"""

from __future__ import annotations

from proxmox_mcp.simulator.config_keys import MACHINE
from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.parameters import boolean, choice, integer, string
from proxmox_mcp.simulator.power import (
    POWER,
    SHUTS_DOWN_IN,
    Work,
    ask_manager,
    boot,
    in_worker,
    managed,
    only_root,
    present,
    running_container,
    running_machine,
    runs,
    switch_off,
)
from proxmox_mcp.simulator.routing import LXC, QEMU, Call, Table
from proxmox_mcp.simulator.state import Guest
from proxmox_mcp.simulator.tasks import Body, Plan, Task, TaskError
from proxmox_mcp.simulator.wire import Refusal, died

STOPS_IN = 0.6
AGENT_PATIENCE = 3.0
TIMEOUT = 60

table = Table()


@table.add(
    "POST",
    f"{QEMU}/status/start",
    POWER,
    {
        "force-cpu": string(),
        "machine": MACHINE,
        "migratedfrom": string(format="pve-node"),
        "migration_network": string(format="CIDR"),
        "migration_type": choice("secure", "insecure"),
        "skiplock": boolean(),
        "stateuri": string(max_length=128),
        "targetstorage": string(format="storage-pair-list"),
        "timeout": integer(0),
        "with-conntrack-state": boolean(since=9.0),
    },
)
def start_machine(call: Call) -> str:
    """Start a VM; that it runs already is only said by the task."""
    only_root(call)
    guest = managed(call)
    if guest:
        return ask_manager(call, guest, "start")
    return call.spawn("qmstart", in_worker(call, _starting(call.center)))


def _starting(center: Datacenter) -> Work:
    def work(task: Task, guest: Guest) -> Body:
        if guest.template:
            word = "vm" if guest.kind == "qemu" else "CT"
            raise TaskError(f"you can't start a {word} if it's a template")
        if guest.lock != "suspended":
            guest.check_lock()
        if guest.running:
            raise TaskError(f"{guest.prefix} {guest.vmid} already running")
        yield from boot(center, task, guest)

    return work


@table.add("POST", f"{LXC}/status/start", POWER, {"debug": boolean(), "skiplock": boolean()})
def start_container(call: Call) -> str:
    """Start a container; one that runs is refused at once."""
    only_root(call)
    guest = managed(call)
    if guest:
        return ask_manager(call, guest, "start")
    if runs(call):
        raise died(f"CT {call.vmid} already running")
    return call.spawn("vzstart", in_worker(call, _starting(call.center)))


@table.add(
    "POST",
    f"{QEMU}/status/stop",
    POWER,
    {
        "keepActive": boolean(),
        "migratedfrom": string(format="pve-node"),
        "overrule-shutdown": boolean(since=8.2),
        "skiplock": boolean(),
        "timeout": integer(0),
    },
)
def stop_machine(call: Call) -> str:
    """Pull a VM's plug; a stopped one is stopped without a word."""
    only_root(call)
    guest = managed(call)
    if guest:
        return ask_manager(call, guest, "stop")
    _overrule(call)
    return call.spawn("qmstop", _found_first(call, in_worker(call, _stopping)))


def _found_first(call: Call, plan: Plan) -> Plan:
    # Stop and shutdown look for the process before they read the config, hence another text.
    def checked(task: Task) -> Body:
        try:
            call.guest()
        except Refusal:
            text = f"unable to find configuration file for VM {call.vmid} on node '{call.node}'"
            raise TaskError(text) from None
        yield from plan(task)

    return checked


def _overrule(call: Call) -> None:
    if not call.get("overrule-shutdown"):
        return
    kinds = {"qmshutdown", "vzshutdown"}
    all_of_them = call.rights.has(f"/nodes/{call.node}", "Sys.Modify")
    for task in call.center.tasks.newest(node=call.node):
        if task.end is not None or task.type not in kinds or task.id != str(call.vmid):
            continue
        if all_of_them or call.owns(task):
            call.center.tasks.stop(task)


def _stopping(_task: Task, guest: Guest) -> Body:
    if not guest.running:
        return
    guest.check_lock()
    yield STOPS_IN
    switch_off(guest)


@table.add(
    "POST",
    f"{LXC}/status/stop",
    POWER,
    {"overrule-shutdown": boolean(since=8.2), "skiplock": boolean()},
)
def stop_container(call: Call) -> str:
    """Stop a container; a stopped one is refused at once."""
    only_root(call)
    guest = managed(call)
    if guest:
        return ask_manager(call, guest, "stop")
    running_container(call)
    _overrule(call)
    return call.spawn("vzstop", in_worker(call, _stopping))


@table.add(
    "POST",
    f"{QEMU}/status/shutdown",
    POWER,
    {
        "forceStop": boolean(),
        "keepActive": boolean(),
        "skiplock": boolean(),
        "timeout": integer(0),
    },
)
def shutdown_machine(call: Call) -> str:
    """Ask a VM to shut down; one that is paused cannot hear it."""
    only_root(call)
    guest = present(call)
    if guest and guest.paused and not call.get("forceStop"):
        raise died("VM is paused - cannot shutdown")
    guest = managed(call)
    if guest:
        return ask_manager(call, guest, "stop")
    return call.spawn("qmshutdown", _found_first(call, in_worker(call, _shutting_down(call))))


@table.add(
    "POST",
    f"{LXC}/status/shutdown",
    POWER,
    {"forceStop": boolean(), "timeout": integer(0)},
)
def shutdown_container(call: Call) -> str:
    """Ask a container to shut down; a stopped one is refused at once."""
    guest = managed(call)
    if guest:
        return ask_manager(call, guest, "stop")
    running_container(call)
    return call.spawn("vzshutdown", in_worker(call, _shutting_down(call)))


def _shutting_down(call: Call) -> Work:
    def work(task: Task, guest: Guest) -> Body:
        if not guest.running:
            return
        guest.check_lock()
        timeout = float(call.get("timeout", _patience(guest)))
        if guest.kind == "qemu" and guest.agent and not guest.agent_running:
            yield min(AGENT_PATIENCE, timeout)
            what = f"VM {guest.vmid} qmp command 'guest-ping' failed - got timeout"
            task.say(f"QEMU Guest Agent is not running - {what}")
            timeout = max(0.0, timeout - AGENT_PATIENCE)
        obeys = not guest.stubborn and not guest.paused and timeout >= SHUTS_DOWN_IN
        yield SHUTS_DOWN_IN if obeys else timeout
        if obeys:
            switch_off(guest)
        elif call.get("forceStop"):
            task.say(f"{guest.prefix} quit/powerdown failed - terminating now with SIGTERM")
            yield STOPS_IN
            switch_off(guest)
        elif guest.kind == "qemu":
            raise TaskError("VM quit/powerdown failed - got timeout")
        else:
            raise TaskError("container did not stop")

    return work


def _patience(guest: Guest) -> int:
    for part in str(guest.config.get("startup", "")).split(","):
        if part.startswith("down="):
            return int(part.removeprefix("down="))
    return TIMEOUT


@table.add("POST", f"{QEMU}/status/reboot", POWER, {"timeout": integer(0)})
def reboot_machine(call: Call) -> str:
    """Shut a VM down; that it starts again is a task of its own."""
    guest = present(call)
    if guest and guest.paused:
        raise died("VM is paused - cannot shutdown")
    if not running_machine(call).running:
        raise died(f"VM {call.vmid} not running")
    return call.spawn("qmreboot", _rebooting(call, "qmstart"))


@table.add("POST", f"{LXC}/status/reboot", POWER, {"timeout": integer(0)})
def reboot_container(call: Call) -> str:
    """Restart a container, which is called a VM in the refusal."""
    if not runs(call):
        raise died(f"VM {call.vmid} not running")
    return call.spawn("vzreboot", _rebooting(call, "vzstart"))


def _rebooting(call: Call, start: str) -> Plan:
    center, node, kind = call.center, call.node, call.kind

    def again(guest: Guest) -> None:
        def plan(task: Task) -> Body:
            if not guest.running:
                yield from boot(center, task, guest)

        center.tasks.spawn(node, start, str(guest.vmid), "root@pam", plan)

    def work(task: Task, guest: Guest) -> Body:
        yield from _shutting_down(call)(task, guest)
        if kind == "lxc":
            yield from boot(center, task, guest)
        else:
            center.tasks.after(1.0, lambda: again(guest))

    return in_worker(call, work)


@table.add("POST", f"{QEMU}/status/reset", POWER, {"skiplock": boolean()})
def reset_machine(call: Call) -> str:
    """Press a VM's reset button."""
    only_root(call)
    if not running_machine(call).running:
        raise died(f"VM {call.vmid} not running")
    return call.spawn("qmreset", in_worker(call, _resetting))


def _resetting(_task: Task, guest: Guest) -> Body:
    guest.check_lock()
    yield 0.3
    guest.processes.clear()
