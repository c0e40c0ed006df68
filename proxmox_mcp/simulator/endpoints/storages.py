"""Storages: their definitions, how full they are, and what is on them."""

from __future__ import annotations

from typing import Any

from proxmox_mcp.simulator.parameters import boolean, choice, string
from proxmox_mcp.simulator.routing import ANY_VMID, Call, Table, needs
from proxmox_mcp.simulator.state import Storage, Volume, fingerprint
from proxmox_mcp.simulator.volume_rights import readable

MAY_SEE = ("Datastore.Audit", "Datastore.AllocateSpace")
OLD_TYPES = "btrfs cephfs cifs dir glusterfs iscsi iscsidirect lvm lvmthin nfs pbs rbd zfs zfspool"
TYPES = tuple(OLD_TYPES.split())
TYPES_8 = tuple(sorted([*TYPES, "esxi"]))
TYPES_9 = tuple(name for name in TYPES_8 if name != "glusterfs")

table = Table()


def _visible(call: Call) -> list[Storage]:
    storages = call.center.storages.values()
    return [s for s in storages if call.rights.has_any(f"/storage/{s.name}", *MAY_SEE)]


@table.add(
    "GET",
    "/storage",
    parameters={
        "type": (
            choice(*TYPES, before=8.0),
            choice(*TYPES_8, since=8.0, before=9.0),
            choice(*TYPES_9, since=9.0),
        )
    },
)
def definitions(call: Call) -> list[dict[str, Any]]:
    """The storages as they are configured for the whole cluster."""
    return [
        _definition(call, storage)
        for storage in _visible(call)
        if call.get("type", storage.type) == storage.type
    ]


def _definition(call: Call, storage: Storage) -> dict[str, Any]:
    shown = {
        "storage": storage.name,
        "type": storage.type,
        "content": ",".join(storage.content),
        "digest": fingerprint(sorted(call.center.storages)),
        **storage.extra,
    }
    if storage.path:
        shown["path"] = storage.path
    if storage.type == "dir":
        shown["shared"] = 0
    return shown


@table.add(
    "GET",
    "/nodes/{node}/storage",
    parameters={
        "content": string(format="pve-storage-content-list"),
        "enabled": boolean(),
        "format": boolean(),
        "storage": string(format="pve-storage-id"),
        "target": string(format="pve-node"),
    },
)
def states(call: Call) -> list[dict[str, Any]]:
    """The storages as one node sees them, with how full they are."""
    found = []
    for storage in _visible(call):
        contents = call.get("content", "").replace(",", " ").split()
        if contents and not set(contents) & set(storage.content):
            continue
        if call.get("storage", storage.name) == storage.name:
            found.append(_state(call, storage))
    return found


def _state(call: Call, storage: Storage) -> dict[str, Any]:
    used = storage.used(call.node)
    return {
        "storage": storage.name,
        "type": storage.type,
        "content": ",".join(storage.content),
        "active": 1,
        "enabled": 1,
        "shared": int(storage.shared),
        "total": storage.total,
        "used": used,
        "avail": storage.total - used,
        "used_fraction": used / storage.total,
    }


@table.add(
    "GET",
    "/nodes/{node}/storage/{storage}/status",
    needs("/storage/{storage}", *MAY_SEE, any_of=True),
)
def state(call: Call) -> dict[str, Any]:
    """How full one storage is."""
    shown = _state(call, call.center.storage(call.values["storage"]))
    return {key: value for key, value in shown.items() if key not in {"storage", "used_fraction"}}


@table.add(
    "GET",
    "/nodes/{node}/storage/{storage}/content",
    needs("/storage/{storage}", *MAY_SEE, any_of=True),
    {
        "content": string(format="pve-storage-content"),
        "vmid": ANY_VMID,
    },
)
def content(call: Call) -> list[dict[str, Any]]:
    """The volumes of a storage, without those that the caller has no business with."""
    storage = call.center.storage(call.values["storage"])
    return [
        shown_volume(volume)
        for volume in storage.on(call.node).values()
        if call.get("content", volume.content) == volume.content
        and call.get("vmid", volume.vmid) == volume.vmid
        and readable(call.rights, volume)
    ]


def shown_volume(volume: Volume) -> dict[str, Any]:
    """An entry of a storage's content."""
    shown: dict[str, Any] = {
        "volid": volume.volid,
        "content": volume.content,
        "format": volume.format,
        "size": volume.size,
        "ctime": volume.ctime,
    }
    if volume.vmid is not None:
        shown["vmid"] = volume.vmid
    if volume.content in {"images", "rootdir"}:
        shown |= {"used": volume.used, "parent": None}
    if volume.subtype:
        shown["subtype"] = volume.subtype
    if volume.notes is not None:
        shown["notes"] = volume.notes
    if volume.protected:
        shown["protected"] = 1
    return shown
