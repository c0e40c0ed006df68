"""Switching guests on and off: what all the actions below /status have in common.

A guest that the HA manager looks after is only asked for: the task ends OK before anything has
happened, and the manager acts some seconds later.
"""

from __future__ import annotations

from collections.abc import Callable

from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.routing import Call, needs
from proxmox_mcp.simulator.state import Guest
from proxmox_mcp.simulator.tasks import Body, Plan, Task, hold, holding
from proxmox_mcp.simulator.wire import Refusal, died

POWER = needs("/vms/{vmid}", "VM.PowerMgmt")
ROOT_ONLY = ("skiplock", "stateuri", "migratedfrom", "migration_type", "migration_network",
             "targetstorage", "keepActive", "nocheck")  # fmt: skip
STARTS_IN = 1.5
SHUTS_DOWN_IN = 4.0
MANAGER_PATIENCE = 8.0  # until the HA manager does what it was asked for

Work = Callable[[Task, Guest], Body]


def only_root(call: Call) -> None:
    """Refuse what not even a token of root may use."""
    for name in ROOT_ONLY:
        if name in call.values and not call.rights.is_root:
            errors = {name: "Only root may use this option."}
            raise Refusal(400, "Parameter verification failed.", errors=errors)


def in_worker(call: Call, work: Work) -> Plan:
    """A worker that finds its guest and has the lock file while it works."""
    center, node, kind, vmid = call.center, call.node, call.kind, call.vmid

    def plan(task: Task) -> Body:
        guest = center.guest(node, kind, vmid)
        yield from hold(guest)
        with holding(guest):
            yield from work(task, guest)

    return plan


def present(call: Call) -> Guest | None:
    """The guest in the path, if there is one of this kind on this node."""
    guest = call.center.guests.get(call.vmid)
    return guest if guest and (guest.node, guest.kind) == (call.node, call.kind) else None


def managed(call: Call) -> Guest | None:
    """The guest in the path, if the HA manager looks after it."""
    guest = present(call)
    return guest if guest and guest.ha_managed else None


def ask_manager(call: Call, guest: Guest, verb: str) -> str:
    """Start the task that only asks the HA manager."""
    center = call.center

    def plan(task: Task) -> Body:
        task.say(f"Requesting HA {verb} for {guest.prefix} {guest.vmid}")
        guest.ha_state = "started" if verb == "start" else "stopped"
        center.tasks.after(MANAGER_PATIENCE, lambda: _manager_acts(center, guest))
        yield from ()

    return call.spawn(f"ha{verb}", plan)


def _manager_acts(center: Datacenter, guest: Guest) -> None:
    wanted = guest.ha_state == "started"
    if wanted == guest.running:
        return
    name = ("qm" if guest.kind == "qemu" else "vz") + ("start" if wanted else "shutdown")

    def plan(_task: Task) -> Body:
        yield STARTS_IN if wanted else SHUTS_DOWN_IN
        if wanted:
            switch_on(center, guest)
        else:
            switch_off(guest)

    center.tasks.spawn(guest.node, name, str(guest.vmid), "root@pam", plan)


def switch_on(center: Datacenter, guest: Guest) -> None:
    """Let a guest run, with whatever was pending."""
    for key, value in guest.pending.items():
        if value is None:
            guest.config.pop(key, None)
        else:
            guest.config[key] = value
    guest.pending.clear()
    guest.status, guest.paused, guest.started = "running", False, center.now


def switch_off(guest: Guest) -> None:
    """Let a guest be stopped; its processes are gone."""
    guest.status, guest.paused = "stopped", False
    guest.processes.clear()


def runs(call: Call) -> bool:
    """Whether the guest in the path is there and runs."""
    guest = present(call)
    return bool(guest and guest.running)


def running_container(call: Call) -> None:
    """Refuse unless the container in the path runs."""
    if not runs(call):
        raise died(f"CT {call.vmid} not running")


def running_machine(call: Call) -> Guest:
    """The VM in the path, which runs or is hibernated."""
    guest = present(call)
    if guest is None:
        raise died(f"unable to find configuration file for VM {call.vmid} on node '{call.node}'")
    if not guest.running and guest.lock != "suspended":
        raise died(f"VM {call.vmid} not running")
    return guest


def boot(center: Datacenter, task: Task, guest: Guest) -> Body:
    """Start a guest, from its saved memory where there is one."""
    hibernated = guest.lock == "suspended"
    if hibernated:
        task.say("Resuming suspended VM")
    yield STARTS_IN
    if hibernated:
        for key in ("lock", "vmstate", "runningmachine", "runningcpu"):
            guest.config.pop(key, None)
        task.say("Resumed VM, removing state")
    switch_on(center, guest)
