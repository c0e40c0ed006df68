"""Single volumes of a storage: deleting them, and the notes and protection of backups."""

from __future__ import annotations

from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.parameters import boolean, integer, string
from proxmox_mcp.simulator.routing import Call, Table
from proxmox_mcp.simulator.state import Storage, Volume
from proxmox_mcp.simulator.tasks import Body, Task, TaskError
from proxmox_mcp.simulator.volume_rights import check, kind_and_owner
from proxmox_mcp.simulator.wire import died

PATH = "/nodes/{node}/storage/{storage}/content/{volume}"
STORAGE = string(format="pve-storage-id")  # optional in the schema, though it stands in the path

table = Table()


def _volid(call: Call) -> str:
    volume = str(call.values["volume"])
    return volume if ":" in volume.partition("/")[0] else f"{call.values['storage']}:{volume}"


def _storage(call: Call) -> Storage:
    return call.center.storage(_volid(call).partition(":")[0])


def _demand(call: Call, volid: str, volume: Volume | None) -> None:
    content, owner = kind_and_owner(volid, volume)
    path = f"/storage/{volid.partition(':')[0]}"
    if content == "backup" and owner is not None:
        call.rights.demand(path, ["Datastore.AllocateSpace"])
        call.rights.demand(f"/vms/{owner}", ["VM.Backup"])
    else:
        call.rights.demand(path, ["Datastore.Allocate"])


@table.add("DELETE", PATH, parameters={"delay": integer(1, 30), "storage": STORAGE})
def delete(call: Call) -> str | None:
    """Delete a volume in a task; one that is not there is deleted with success."""
    volid = _volid(call)
    storage = _storage(call)
    volume = storage.on(call.node).get(volid)
    _demand(call, volid, volume)
    owner = f"{volume.vmid}@" if volume and volume.vmid else ""
    center, node = call.center, call.node

    def plan(task: Task) -> Body:
        _erase(center, task, node, volid)
        yield 0.5

    upid = call.spawn("imgdel", plan, target=f"{owner}{storage.name}")
    return None if call.get("delay") else upid


def _erase(center: Datacenter, task: Task, node: str, volid: str) -> None:
    name, _, path = volid.partition(":")
    volumes = center.storage(name).on(node)
    volume = volumes.get(volid)
    if volume and volume.protected:
        raise TaskError(f"cannot remove protected volume '{path}' on '{name}'")
    if volume is None:
        task.say(f"disk image '{path}' does not exist")
    volumes.pop(volid, None)
    task.say(f"Removed volume '{volid}'")


@table.add(
    "PUT",
    PATH,
    parameters={"notes": string(), "protected": boolean(), "storage": STORAGE},
)
def change(call: Call) -> None:
    """Set the notes of a backup, or protect it from being removed."""
    volid = _volid(call)
    storage = _storage(call)
    volume = storage.on(call.node).get(volid)
    check(call.rights, volid, volume)
    if volume is None:
        raise died(f"volume '{volid}' does not exist")
    if "notes" in call.values:
        volume.notes = call.values["notes"]
    if "protected" in call.values:
        volume.protected = bool(call.values["protected"])
