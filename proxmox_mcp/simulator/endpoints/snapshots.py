"""Snapshots: a tree of past configs, of which `current` is the last leaf and no snapshot itself."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.parameters import Declared, boolean, string
from proxmox_mcp.simulator.power import in_worker, switch_off, switch_on
from proxmox_mcp.simulator.routing import LXC, QEMU, SNAPNAME, Call, Table, needs
from proxmox_mcp.simulator.state import GIB, Guest, Snapshot
from proxmox_mcp.simulator.tasks import Body, Task, TaskError, locking
from proxmox_mcp.simulator.wire import died

RESERVED = {"qemu": ("current", "pending"), "lxc": ("current", "vzdump")}
WORD = {"qemu": "qm", "lxc": "vz"}
RAM_RATE = 1.5 * GIB
MAY_READ = needs("/vms/{vmid}", "VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit", any_of=True)
MAY_ROLL_BACK = needs("/vms/{vmid}", "VM.Snapshot", "VM.Snapshot.Rollback", any_of=True)
MAY_CHANGE = needs("/vms/{vmid}", "VM.Snapshot")
OWN = re.compile(r"description|lock|unused\d+")  # what stays with the guest, whatever its past
NEW: Declared = {"snapname": SNAPNAME, "description": string()}

table = Table()


@table.both("GET", "/snapshot", needs("/vms/{vmid}", "VM.Audit"))
def index(call: Call) -> list[dict[str, Any]]:
    """The snapshots, and the present state as `current`."""
    guest = call.guest()
    found = [_listed(guest, snapshot) for snapshot in guest.snapshots.values()]
    here = {
        "name": "current",
        "description": "You are here!",
        "running": int(guest.running),
        "digest": guest.digest,
    }
    return [*found, here | ({"parent": guest.parent} if guest.parent else {})]


def _listed(guest: Guest, snapshot: Snapshot) -> dict[str, Any]:
    description = snapshot.description
    if guest.kind == "lxc" and description:
        description += "\n"  # so it is recorded
    shown: dict[str, Any] = {
        "name": snapshot.name,
        "description": description,
        "snaptime": snapshot.time,
    }
    if snapshot.parent:
        shown["parent"] = snapshot.parent
    return shown | ({"vmstate": int(snapshot.vmstate)} if guest.kind == "qemu" else {})


@table.both("GET", "/snapshot/{snapname}/config", MAY_READ)
def config(call: Call) -> dict[str, Any]:
    """The config of then."""
    guest = call.guest()
    name = call.values["snapname"]
    if name not in guest.snapshots:
        raise died(f"snapshot '{name}' does not exist")
    return past_config(guest.snapshots[name])


def past_config(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot's section of the config file."""
    shown = snapshot.config | {"snaptime": snapshot.time}
    shown |= {"description": snapshot.description} if snapshot.description else {}
    return shown | ({"parent": snapshot.parent} if snapshot.parent else {})


@table.add("POST", f"{QEMU}/snapshot", MAY_CHANGE, {**NEW, "vmstate": boolean()})
@table.add("POST", f"{LXC}/snapshot", MAY_CHANGE, NEW)
def create(call: Call) -> str:
    """Take a snapshot; that its name is taken only the task says."""
    name = call.values["snapname"]
    if name in RESERVED[call.kind]:
        raise died(f"unable to use snapshot name '{name}' (reserved name)")
    call.guest()

    def work(task: Task, guest: Guest) -> Body:
        _prepare(call.center, guest, name)
        vmstate = bool(call.get("vmstate")) and guest.running
        with locking(guest, "snapshot"):
            yield from _save(task, guest, vmstate=vmstate)
        _keep(call, guest, name, vmstate=vmstate)

    return call.spawn(f"{WORD[call.kind]}snapshot", in_worker(call, work))


def _prepare(center: Datacenter, guest: Guest, name: str) -> None:
    if guest.template:
        raise TaskError("you can't take a snapshot if it's a template")
    guest.check_lock()
    if name in guest.snapshots:
        raise TaskError(f"snapshot name '{name}' already used")
    for disk in guest.disks():
        if not center.storage(disk.storage).can_snapshot(disk.volid):
            raise TaskError("snapshot feature is not available")


def _save(task: Task, guest: Guest, *, vmstate: bool) -> Body:
    if vmstate:
        storage = next(guest.disks()).storage
        task.say(f"saving VM state and RAM using storage '{storage}'")
        seconds = guest.memory / RAM_RATE
        yield seconds
        saved = f"saved {guest.memory / GIB / 2:.2f} GiB"
        task.say(f"completed saving the VM state in {seconds:.0f}s, {saved}")
    if guest.kind == "qemu":
        task.say(*(f"snapshotting 'drive-{d.key}' ({d.volid})" for d in guest.disks()))
    yield 1.0


def _keep(call: Call, guest: Guest, name: str, *, vmstate: bool) -> None:
    config = {k: deepcopy(v) for k, v in guest.config.items() if not OWN.fullmatch(k)}
    guest.snapshots[name] = Snapshot(
        name,
        call.get("description", ""),
        int(call.center.now),
        config,
        guest.parent,
        vmstate=vmstate,
    )
    guest.parent = name


@table.both("DELETE", "/snapshot/{snapname}", MAY_CHANGE, {"force": boolean()})
def delete(call: Call) -> str:
    """Remove a snapshot; its children become those of its parent."""
    name = call.values["snapname"]
    call.guest()

    def work(_task: Task, guest: Guest) -> Body:
        _missing(guest, name)
        guest.check_lock()
        with locking(guest, "snapshot-delete"):
            yield 1.5
        gone = guest.snapshots.pop(name)
        for child in guest.snapshots.values():
            if child.parent == name:
                child.parent = gone.parent
        if guest.parent == name:
            guest.parent = gone.parent

    return call.spawn(f"{WORD[call.kind]}delsnapshot", in_worker(call, work))


def _missing(guest: Guest, name: str) -> None:
    if name not in guest.snapshots:
        raise TaskError(f"snapshot '{name}' does not exist")


@table.both("POST", "/snapshot/{snapname}/rollback", MAY_ROLL_BACK, {"start": boolean()})
def rollback(call: Call) -> str:
    """Go back: a running guest is stopped hard; saved memory starts it again, else it stays off."""
    name = call.values["snapname"]
    call.guest()
    if call.get("start") and call.center.since(9):
        call.rights.demand(f"/vms/{call.vmid}", ["VM.PowerMgmt"])

    def work(_task: Task, guest: Guest) -> Body:
        if guest.template:
            raise TaskError("you can't rollback if vm is a template")
        _missing(guest, name)
        guest.check_lock()
        with locking(guest, "rollback"):
            switch_off(guest)
            yield 2.0
        snapshot = guest.snapshots[name]
        kept = {key: value for key, value in guest.config.items() if OWN.fullmatch(key)}
        guest.config = kept | deepcopy(snapshot.config)
        guest.pending.clear()
        guest.parent = name
        if snapshot.vmstate or call.get("start"):
            switch_on(call.center, guest)

    return call.spawn(f"{WORD[call.kind]}rollback", in_worker(call, work))
