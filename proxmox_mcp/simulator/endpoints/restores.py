"""Creating guests: from a backup, or new.

Over an existing id it takes `force`, a guest that does not run, and no protection.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from proxmox_mcp.simulator.config_keys import LXC_KEYS, QEMU_KEYS, tidy_tags
from proxmox_mcp.simulator.config_rights import Change
from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.disks import allocate, new_volume, remove_disks
from proxmox_mcp.simulator.endpoints.clones import check_pool, new_identity
from proxmox_mcp.simulator.parameters import boolean, integer, number, required, string
from proxmox_mcp.simulator.power import switch_on
from proxmox_mcp.simulator.privileges import refused
from proxmox_mcp.simulator.routing import VMID, Call, Table
from proxmox_mcp.simulator.state import DISK_KEY, GIB, Guest, Volume
from proxmox_mcp.simulator.tasks import Body, Plan, Task
from proxmox_mcp.simulator.volume_rights import check
from proxmox_mcp.simulator.wire import Refusal, died

RATE = 2.0 * GIB
ORDERS = frozenset({
    "node", "vmid", "archive", "ostemplate", "restore", "storage", "force", "unique", "pool",
    "bwlimit", "start", "live-restore", "password", "ignore-unpack-errors",
})  # fmt: skip

table = Table()


@table.add(
    "POST",
    "/nodes/{node}/qemu",
    parameters={
        **QEMU_KEYS,
        "vmid": VMID,
        "archive": string(max_length=255),
        "bwlimit": integer(0),
        "force": boolean(requires="archive"),
        "live-restore": (boolean(requires="archive", before=8.0), boolean(since=8.0)),
        "pool": string(format="pve-poolid"),
        "start": boolean(),
        "storage": string(format="pve-storage-id"),
        "unique": boolean(requires="archive"),
    },
)
def machine(call: Call) -> str:
    """Restore a VM when there is an archive, else create one."""
    archive = call.get("archive")
    existing = call.center.guests.get(call.vmid)
    check_pool(call)
    if "storage" in call.values:
        _demand_space(call, call.values["storage"])
    _check_allocate(call, existing, restore=bool(archive))
    volume = _backup(call, archive, "qemu") if archive else None
    _check_config(call)
    verb = "restore" if archive else "create"
    if existing:
        complaint = f"unable to {verb} VM {existing.vmid}"
        if not call.get("force") or existing.node != call.node:
            where = f"VM {existing.vmid} already exists on node '{existing.node}'"
            raise died(f"{complaint} - {where}")
        if existing.protection:
            raise died(f"{complaint} - protection mode enabled")
        if existing.running:
            raise died(f"{complaint} - vm is running")
        existing.check_lock()
    task = "qmrestore" if archive else "qmcreate"
    return call.spawn(task, _creating(call, "qemu", existing, volume))


@table.add(
    "POST",
    "/nodes/{node}/lxc",
    parameters={
        **LXC_KEYS,
        "vmid": VMID,
        "ostemplate": required(string(max_length=255)),
        "bwlimit": number(0),
        "force": boolean(),
        "ignore-unpack-errors": boolean(),
        "password": string(min_length=5),
        "pool": string(format="pve-poolid"),
        "restore": boolean(),
        "start": boolean(),
        "storage": string(format="pve-storage-id"),
        "unique": boolean(requires="restore"),
    },
)
def container(call: Call) -> str:
    """Restore a container when `restore` is set, else create one from a template."""
    existing = call.center.guests.get(call.vmid)
    restore = bool(call.get("restore"))
    check_pool(call)
    _check_allocate(call, existing, restore=restore)
    _check_config(call)
    volume = _backup(call, call.values["ostemplate"], "lxc") if restore else None
    if "rootfs" not in call.values:
        _demand_space(call, call.get("storage", "local"))
    if not restore and call.center.since(9) and not call.get("unprivileged", 1):
        call.rights.demand("/", ["Sys.Modify"])
    if existing:
        own = existing.node == call.node and existing.kind == "lxc"
        if not (own and restore and call.get("force")):
            raise died(f"VM {existing.vmid} already exists on node '{existing.node}'")
        if existing.protection:
            raise died(f"unable to restore CT {existing.vmid} - protection mode enabled")
        if existing.running:
            raise died("can't overwrite running container")
        existing.check_lock()
    return call.spawn(
        "vzrestore" if restore else "vzcreate", _creating(call, "lxc", existing, volume)
    )


def _check_allocate(call: Call, existing: Guest | None, *, restore: bool) -> None:
    rights, path, pool = call.rights, f"/vms/{call.vmid}", call.get("pool")
    over = bool(existing and restore and call.get("force")) and rights.has(path, "VM.Backup")
    in_pool = pool is not None and rights.has(f"/pool/{pool}", "VM.Allocate")
    if not (over or in_pool or rights.has(path, "VM.Allocate")):
        raise refused()


def _demand_space(call: Call, storage: str) -> None:
    call.center.storage(storage)
    call.rights.demand(f"/storage/{storage}", ["Datastore.AllocateSpace"])


def _wish(call: Call) -> Change:
    return Change(call.rights, call.kind, call.vmid, call.center.version, call.get("pool"))


def _check_config(call: Call) -> None:
    # Drives of a new VM take space and no VM.Config.Disk.
    given, wish = _given(call), _wish(call)
    wish.check_space(given)
    wish.check_keys(given.keys() - {"unprivileged"})
    if call.kind == "qemu":
        wish.check_values({key: given[key] for key in given if key.startswith("serial")})
    wish.check_bridges(given)
    if call.get("start") and call.center.since(9):
        wish.need("VM.PowerMgmt")


def _given(call: Call) -> dict[str, Any]:
    return {key: value for key, value in call.values.items() if key not in ORDERS}


def _backup(call: Call, archive: str, kind: str) -> Volume:
    volume = call.center.volume(call.node, archive) if ":" in archive else None
    if ":" in archive:
        check(call.rights, archive, volume, reader=call.vmid)
    if volume is None:
        raise died(f"volume '{archive}' does not exist")
    if volume.subtype != kind:
        if kind == "qemu":
            raise died("unknown backup archive type")
        raise died(f"unable to restore CT {call.vmid} - '{archive}' is not a container backup")
    return volume


def _creating(call: Call, kind: str, existing: Guest | None, volume: Volume | None) -> Plan:
    center = call.center
    guest = Guest(call.vmid, kind, call.node, {}, pool=call.get("pool"))

    def plan(task: Task) -> Body:
        if existing:
            remove_disks(center, existing)
        center.guests[guest.vmid] = guest
        try:
            _configure(call, guest, volume)
        except Refusal:
            del center.guests[guest.vmid]
            raise
        guest.lock = "create"
        if volume:
            yield from _extract(task, volume)
        elif kind == "lxc":
            task.say(f"extracting archive '{call.values['ostemplate']}'")
            yield 2.0
        guest.lock = None
        if call.get("start"):
            yield 1.5
            switch_on(center, guest)

    return plan


def _configure(call: Call, guest: Guest, volume: Volume | None) -> None:
    center = call.center
    guest.config = _plain(center, guest) if volume is None else deepcopy(volume.config)
    given = _given(call)
    for key, value in given.items():
        guest.config[key] = allocate(center, guest, value) if DISK_KEY.fullmatch(key) else value
    if "tags" in given:
        guest.tags = tidy_tags(given["tags"], center.version)
    if volume:
        _wish(call).check_bridges(guest.config)
        _new_disks(call, guest, given)
        guest.config.pop("protection", None)
    if volume and call.get("unique"):
        new_identity(center, guest)


def _plain(center: Datacenter, guest: Guest) -> dict[str, Any]:
    if guest.kind == "lxc":
        return {"arch": "amd64", "hostname": f"CT{guest.vmid}", "memory": 512, "swap": 512}
    return {
        "boot": "order=scsi0;net0",
        "smbios1": f"uuid={center.uuid()}",
        "vmgenid": center.uuid(),
        "meta": f"creation-qemu=9.0.2,ctime={int(center.now)}",
    }


def _new_disks(call: Call, guest: Guest, given: dict[str, Any]) -> None:
    for disk in list(guest.disks()):
        if disk.key in given:
            continue
        # A container does not go back to where it was: the schema's default is `local`.
        default = disk.storage if guest.kind == "qemu" else "local"
        storage = call.center.storage(call.get("storage") or default)
        call.rights.demand(f"/storage/{storage.name}", ["Datastore.AllocateSpace"])
        if guest.kind == "lxc" and "rootdir" not in storage.content:
            raise died(f"storage '{storage.name}' does not support container directories")
        if not {"images", "rootdir"} & set(storage.content):
            raise died(f"storage '{storage.name}' does not support vm images")
        volid = new_volume(call.center, storage, guest, call.node, disk.size)
        guest.config[disk.key] = disk.moved(volid)


def _extract(task: Task, volume: Volume) -> Body:
    if volume.subtype == "lxc":
        task.say(f"recovering backed-up configuration from '{volume.volid}'")
        task.say(f"restoring '{volume.volid}' now..")
        yield 3.0
        return
    task.say(f"restore vma archive: zstd -q -d -c {volume.name} | vma extract -v -r - -")
    for percent in range(20, 101, 20):
        yield volume.size / RATE / 5
        task.say(f"progress {percent}% (read {volume.size * percent // 100} bytes)")
