"""Who may read a volume; auditing a storage alone shows no backups.

Its name tells what a volume is and whose, so that one that does not exist is refused alike.
"""

from __future__ import annotations

import re

from proxmox_mcp.simulator.privileges import Rights
from proxmox_mcp.simulator.state import Volume
from proxmox_mcp.simulator.wire import Refusal, died

BACKUP = re.compile(r"backup/(?:vzdump-(?:qemu|lxc|openvz)-|(?:vm|ct)/)(\d+)[-/]")
OPEN = frozenset({"iso", "vztmpl", "import"})  # readable for whoever sees the storage


def kind_and_owner(volid: str, volume: Volume | None) -> tuple[str, int | None]:
    """What a volume is and to which guest it belongs, from its name where it does not exist."""
    if volume is not None:
        return volume.content, volume.vmid
    match = BACKUP.match(volid.partition(":")[2])
    return ("backup", int(match[1])) if match else ("", None)


def check(rights: Rights, volid: str, volume: Volume | None, *, reader: int | None = None) -> None:
    """Refuse to read a volume, unless it belongs to the guest for which it is read."""
    content, owner = kind_and_owner(volid, volume)
    path = f"/storage/{volid.partition(':')[0]}"
    if rights.has(path, "Datastore.Allocate"):
        return
    if content in OPEN:
        rights.demand(path, ["Datastore.AllocateSpace", "Datastore.Audit"], any_of=True)
    elif owner is not None and owner == reader:
        return
    elif content == "backup" and owner is not None:
        rights.demand(path, ["Datastore.AllocateSpace"])
        rights.demand(f"/vms/{owner}", ["VM.Backup"])
    elif content in {"images", "rootdir"} and owner is not None:
        rights.demand(path, ["Datastore.Audit"])
        rights.demand(f"/vms/{owner}", ["VM.Config.Disk"])
    else:
        raise died(f"missing privileges to access {volid}")


def readable(rights: Rights, volume: Volume) -> bool:
    """Whether a volume is in a listing."""
    try:
        check(rights, volume.volid, volume)
    except Refusal:
        return False
    return True
