"""Volumes as guests use them: allocating, detaching, copying and growing them."""

from __future__ import annotations

import re

from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.state import GIB, Disk, Guest, Storage, Volume
from proxmox_mcp.simulator.wire import died

NEW_VOLUME = re.compile(r"([A-Za-z][\w.-]*):(\d+(?:\.\d+)?)\Z")


def allocate(center: Datacenter, guest: Guest, value: str) -> str:
    """Make the volume that `local-lvm:32` asks for; any other value names one that exists."""
    first, *options = str(value).split(",")
    match = NEW_VOLUME.match(first)
    if not match:
        return value
    storage = center.storage(match[1])
    size = int(float(match[2]) * GIB)
    volid = new_volume(center, storage, guest, guest.node, size)
    kept = [option for option in options if not option.startswith("format=")]
    return ",".join([volid, *kept, f"size={match[2]}G"])


def new_volume(center: Datacenter, storage: Storage, guest: Guest, node: str, size: int) -> str:
    """Put an empty volume of a guest onto a storage and answer its id."""
    form = "qcow2" if storage.path and storage.shared else "raw"
    suffix = f".{form}" if storage.path else ""
    volid = center.free_volume(storage, node, ("vm", guest.vmid), suffix)
    content = "rootdir" if guest.kind == "lxc" else "images"
    born = int(center.now)
    storage.add(node, Volume(volid, content, form, size, born, guest.vmid, used=size // 3))
    return volid


def detach(center: Datacenter, guest: Guest, key: str, *, erase: bool) -> None:
    """Take a disk out of the config: it stays as an unused one, unless it is to be erased."""
    value = guest.config.pop(key, None)
    if value is None:
        return
    disk = Disk.parse(key, str(value))
    if disk.cdrom:
        return
    if erase or key.startswith("unused"):
        remove_volume(center, guest.node, disk.volid)
        return
    number = 0
    while f"unused{number}" in guest.config:
        number += 1
    guest.config[f"unused{number}"] = disk.volid


def remove_volume(center: Datacenter, node: str, volid: str) -> None:
    """Erase a volume, if it is there."""
    storage = center.storages.get(volid.partition(":")[0])
    if storage:
        storage.on(node).pop(volid, None)


def copy_disks(
    center: Datacenter, source: Guest, copy: Guest, *, storage: str | None, node: str
) -> None:
    """Give a copied guest volumes of its own, on the same storages or on the one named."""
    for disk in list(source.disks()):
        place = center.storage(storage or disk.storage)
        if not {"images", "rootdir"} & set(place.content):
            raise died(f"storage '{place.name}' does not support vm images")
        volid = new_volume(center, place, copy, node, disk.size)
        copy.config[disk.key] = disk.moved(volid)


def remove_disks(center: Datacenter, guest: Guest) -> None:
    """Erase all volumes of a guest."""
    for disk in guest.disks():
        remove_volume(center, guest.node, disk.volid)


def move_volume(
    center: Datacenter, guest: Guest, disk: Disk, target: str, storage: str | None = None
) -> None:
    """Carry a guest's local volume to another node, and to another storage where one is named."""
    volume = center.storage(disk.storage).on(guest.node).pop(disk.volid, None)
    place = center.storage(storage or disk.storage)
    if place.name != disk.storage:
        volid = new_volume(center, place, guest, target, disk.size)
        guest.config[disk.key] = disk.moved(volid)
    elif volume:
        place.add(target, volume)


def grow(center: Datacenter, guest: Guest, disk: Disk, size: int) -> None:
    """Make a disk larger, in the config and on the storage."""
    guest.config[disk.key] = disk.resized(size)
    volume = center.volume(guest.node, disk.volid)
    if volume:
        volume.size = size


def is_local(center: Datacenter, disk: Disk) -> bool:
    """Whether only one node has the volume."""
    storage = center.storages.get(disk.storage)
    return storage is not None and not storage.shared
