"""Pausing, hibernating and resuming guests."""

from __future__ import annotations

from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.parameters import boolean, string
from proxmox_mcp.simulator.power import (
    POWER,
    Work,
    boot,
    in_worker,
    only_root,
    running_container,
    running_machine,
    runs,
    switch_off,
)
from proxmox_mcp.simulator.routing import LXC, QEMU, Call, Table
from proxmox_mcp.simulator.state import Guest
from proxmox_mcp.simulator.tasks import Body, Task, TaskError
from proxmox_mcp.simulator.wire import died

table = Table()


@table.add(
    "POST",
    f"{QEMU}/status/suspend",
    POWER,
    {
        "skiplock": boolean(),
        "statestorage": string(format="pve-storage-id", requires="todisk"),
        "todisk": boolean(),
    },
)
def suspend_machine(call: Call) -> str:
    """Pause a VM, or with `todisk` save its memory and stop it."""
    only_root(call)
    guest = running_machine(call)
    if not guest.running:
        raise died(f"VM {call.vmid} not running")
    if not call.get("todisk"):
        return call.spawn("qmpause", in_worker(call, _pausing))
    if guest.ha_managed:
        raise died("Cannot suspend HA managed VM to disk")
    call.rights.demand(f"/vms/{guest.vmid}", ["VM.Config.Disk"])
    storage = call.get("statestorage") or next(guest.disks()).storage
    call.center.storage(storage)
    call.rights.demand(f"/storage/{storage}", ["Datastore.AllocateSpace"])
    return call.spawn("qmsuspend", in_worker(call, _hibernating(call.center, storage)))


def _pausing(_task: Task, guest: Guest) -> Body:
    guest.check_lock()
    yield 0.3
    guest.paused = True


def _hibernating(center: Datacenter, storage: str) -> Work:
    def work(task: Task, guest: Guest) -> Body:
        guest.check_lock()
        guest.lock = "suspending"
        yield 3.0
        day = int(center.now)
        state = f"{storage}:vm-{guest.vmid}-state-suspend-{day}"
        task.say(f"saving VM state and RAM using storage '{storage}'")
        guest.config |= {"vmstate": state, "runningmachine": "pc-i440fx-10.0+pve0"}
        guest.lock = "suspended"
        switch_off(guest)

    return work


@table.add("POST", f"{QEMU}/status/resume", POWER, {"nocheck": boolean(), "skiplock": boolean()})
def resume_machine(call: Call) -> str:
    """Let a paused VM go on, or start a hibernated one from its saved memory."""
    only_root(call)
    running_machine(call)
    return call.spawn("qmresume", in_worker(call, _resuming(call.center)))


def _resuming(center: Datacenter) -> Work:
    def work(task: Task, guest: Guest) -> Body:
        if guest.lock == "suspended":
            yield from boot(center, task, guest)
            return
        guest.check_lock()
        yield 0.3
        guest.paused = False

    return work


@table.add("POST", f"{LXC}/status/suspend", POWER)
def suspend_container(call: Call) -> str:
    """Try to checkpoint a container, which on current kernels fails."""
    running_container(call)
    return call.spawn("vzsuspend", in_worker(call, _checkpointing))


@table.add("POST", f"{LXC}/status/resume", POWER)
def resume_container(call: Call) -> str:
    """Try to restore a checkpoint, of which there is none."""
    if runs(call):
        raise died(f"CT {call.vmid} already running")
    return call.spawn("vzresume", in_worker(call, _checkpointing))


def _checkpointing(_task: Task, guest: Guest) -> Body:
    guest.check_lock()
    yield 0.5
    folder = f"/var/lib/vz/dump/{guest.vmid}"
    raise TaskError(f"command 'lxc-checkpoint -n {guest.vmid} -D {folder}' failed: exit code 1")
