"""Copies of guests, and turning one into a template.

A template is copied as a linked clone unless `full` is set; an ordinary guest always in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from proxmox_mcp.simulator.config_rights import Change
from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.disks import copy_disks, is_local, remove_disks
from proxmox_mcp.simulator.endpoints.resizes import QEMU_DISKS
from proxmox_mcp.simulator.parameters import (
    Declared,
    boolean,
    choice,
    integer,
    number,
    string,
)
from proxmox_mcp.simulator.privileges import Rights, refused
from proxmox_mcp.simulator.routing import LXC, QEMU, VMID, Call, Table, needs
from proxmox_mcp.simulator.state import GIB, Disk, Guest
from proxmox_mcp.simulator.tasks import Body, Task, TaskError
from proxmox_mcp.simulator.wire import died

RATE = 2.0 * GIB
STEPS = 4
NOT_COPIED = ("lock", "parent", "protection", "snaptime")

table = Table()


def may_clone(rights: Rights, given: Mapping[str, Any], _version: float) -> None:
    """VM.Clone on the source, and VM.Allocate on the new id or on the pool."""
    rights.demand(f"/vms/{given['vmid']}", ["VM.Clone"])
    pool = given.get("pool")
    in_pool = pool is not None and rights.has(f"/pool/{pool}", "VM.Allocate")
    if not (in_pool or rights.has(f"/vms/{given.get('newid')}", "VM.Allocate")):
        raise refused()  # with no word on what is missing, as after every choice


COMMON: Declared = {
    "newid": VMID,
    "description": string(),
    "full": boolean(),
    "pool": string(format="pve-poolid"),
    "snapname": string(format="pve-configid", max_length=40),
    "storage": string(format="pve-storage-id"),
    "target": string(format="pve-node"),
}


@table.add(
    "POST",
    f"{QEMU}/clone",
    may_clone,
    {
        **COMMON,
        "bwlimit": integer(0),
        "format": choice("raw", "qcow2", "vmdk"),
        "name": string(format="dns-name"),
    },
)
def clone_machine(call: Call) -> str:
    """Copy a VM; the copy is there at once, but locked until the task is done."""
    source, full = _source(call)
    newid = call.values["newid"]
    if newid in call.center.guests:
        raise died(f"unable to create VM {newid}: config file already exists")
    return _clone(call, source, full=full, task="qmclone")


@table.add(
    "POST",
    f"{LXC}/clone",
    may_clone,
    {**COMMON, "bwlimit": number(0), "hostname": string(format="dns-name")},
)
def clone_container(call: Call) -> str:
    """Copy a container; a running one only from a snapshot."""
    source, full = _source(call)
    if full and source.running and "snapname" not in call.values:
        raise died("Cannot do full clones on a running container without snapshots")
    taken = call.center.guests.get(call.values["newid"])
    if taken:
        raise died(f"VM {taken.vmid} already exists on node '{taken.node}'")
    return _clone(call, source, full=full, task="vzclone")


def _source(call: Call) -> tuple[Guest, bool]:
    """Return what may be copied as it is wished, and whether the copy is a full one."""
    check_pool(call)
    source = call.guest()
    source.check_lock()
    disks = _source_disks(call, source)
    _check_target(call, source, disks)
    full = bool(call.get("full", not source.template))
    if not full:
        _check_linked(call, source)
    return source, full


def _source_disks(call: Call, source: Guest) -> list[Disk]:
    name = call.get("snapname")
    if name is not None and name not in source.snapshots:
        raise died(f"snapshot '{name}' does not exist")
    return list(source.disks())


def check_pool(call: Call) -> None:
    """Refuse a pool that does not exist, which is a 403."""
    pool = call.get("pool")
    if pool is not None and pool not in call.center.pools:
        raise refused(f"pool '{pool}' does not exist")


def _check_target(call: Call, source: Guest, disks: Iterable[Disk]) -> None:
    target, storage = call.get("target", call.node), call.get("storage")
    if target not in call.center.nodes:
        raise died(f"no such cluster node '{target}'")
    if storage is not None:
        place = call.center.storage(storage)
        if target != call.node and not place.shared:
            raise died(f"can't clone to non-shared storage '{storage}'")
    for disk in disks:  # a linked clone takes no space, but the right to it
        call.rights.demand(f"/storage/{storage or disk.storage}", ["Datastore.AllocateSpace"])
    Change(call.rights, call.kind, call.vmid, call.center.version).check_bridges(source.config)
    if target != call.node and any(is_local(call.center, disk) for disk in disks):
        raise died(f"can't clone VM to node '{target}' (VM uses local storage)")


def _check_linked(call: Call, source: Guest) -> None:
    for name in ("storage", "format"):
        if name in call.values:
            raise died(f"parameter '{name}' not allowed for linked clones")
    disk = next(source.disks(), None)
    if disk and not source.template:
        text = f"Linked clone feature is not supported for '{disk.volid}' ({disk.key})"
        raise died(text)


def _clone(call: Call, source: Guest, *, full: bool, task: str) -> str:
    copy = _copy(call, source)

    def plan(work: Task) -> Body:
        call.center.guests[copy.vmid] = copy
        copy.lock = "clone" if source.kind == "qemu" else "create"
        try:
            yield from _transfer(work, source, full=full)
        except TaskError:
            # A killed clone takes its disks with it but leaves the locked config.
            remove_disks(call.center, copy)
            raise
        copy.lock = None
        copy.node = call.get("target", call.node)

    return call.spawn(task, plan)


def _copy(call: Call, source: Guest) -> Guest:
    center = call.center
    name = call.get("snapname")
    past = source.snapshots[name].config if name else source.config
    config = {key: deepcopy(value) for key, value in past.items() if key not in NOT_COPIED}
    config.pop("template", None)
    copy = Guest(call.values["newid"], source.kind, call.node, config, pool=call.get("pool"))
    copy.name = call.get("name") or call.get("hostname") or f"Copy-of-{source.prefix}-{source.name}"
    if "description" in call.values:
        config["description"] = call.values["description"]
    new_identity(center, copy)
    copy_disks(center, source, copy, storage=call.get("storage"), node=call.node)
    return copy


def new_identity(center: Datacenter, guest: Guest) -> None:
    """Give a copy network addresses and ids of its own."""
    for key, value in list(guest.config.items()):
        if not key.startswith("net"):
            continue
        words = str(value).split(",")
        words = [f"{w.partition('=')[0]}={center.mac()}" if "BC:24:11" in w else w for w in words]
        guest.config[key] = ",".join(words)
    if guest.kind == "qemu":
        guest.config |= {"smbios1": f"uuid={center.uuid()}", "vmgenid": center.uuid()}


def _transfer(task: Task, source: Guest, *, full: bool) -> Body:
    word = "full" if full else "linked"
    what = "drive" if source.kind == "qemu" else "mountpoint"
    for disk in source.disks():
        task.say(f"create {word} clone of {what} {disk.key} ({disk.volid})")
        if not full:
            continue
        size = disk.size / GIB
        task.say(f"transferred 0.0 B of {size:.1f} GiB (0.00%)")
        for step in range(1, STEPS + 1):
            yield disk.size / RATE / STEPS
            share = step / STEPS
            done = f"{size * share:.1f} GiB of {size:.1f} GiB ({share * 100:.2f}%)"
            task.say(f"transferred {done}")
    yield 0.5


MAY_ALLOCATE = needs("/vms/{vmid}", "VM.Allocate")


def _check_template(guest: Guest) -> None:
    word = "VM" if guest.kind == "qemu" else "CT"
    guest.check_lock()
    if guest.snapshots:
        raise died(f"unable to create template, because {word} contains snapshots")
    if guest.template:
        raise died("you can't convert a template to a template")
    if guest.running:
        subject = "VM" if guest.kind == "qemu" else "the CT"
        raise died(f"you can't convert a {word} to template if {subject} is running")


def _to_template(center: Datacenter, guest: Guest) -> None:
    for disk in list(guest.disks()):
        base = disk.volid.replace(f"vm-{guest.vmid}-", f"base-{guest.vmid}-")
        volumes = center.storage(disk.storage).on(guest.node)
        volume = volumes.pop(disk.volid, None)
        if volume:
            volume.volid = base
            volumes[base] = volume
        guest.config[disk.key] = disk.moved(base)
    guest.template = True


@table.add("POST", f"{QEMU}/template", MAY_ALLOCATE, {"disk": choice(*QEMU_DISKS)})
def template_machine(call: Call) -> str:
    """Turn a VM into a template for good."""
    guest = call.guest()
    _check_template(guest)

    def plan(_task: Task) -> Body:
        yield 1.0
        _to_template(call.center, guest)

    return call.spawn("qmtemplate", plan)


@table.add("POST", f"{LXC}/template", MAY_ALLOCATE)
def template_container(call: Call) -> None:
    """Turn a container into a template; the worker's id is lost inside the call."""
    guest = call.guest()
    _check_template(guest)
    _to_template(call.center, guest)
