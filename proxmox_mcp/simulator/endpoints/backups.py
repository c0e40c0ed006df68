"""Making backups and looking into them; listing and deleting them is a storage's business."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxmox_mcp.simulator.parameters import array, boolean, choice, integer, required, string
from proxmox_mcp.simulator.routing import Call, Table
from proxmox_mcp.simulator.volume_rights import check, kind_and_owner
from proxmox_mcp.simulator.vzdump import Job
from proxmox_mcp.simulator.wire import died

ORDINARY = ("storage", "mode", "compress", "bwlimit", "remove", "protected", "notes-template")

table = Table()


@table.add(
    "POST",
    "/nodes/{node}/vzdump",
    parameters={
        "node": string(format="pve-node"),  # as the schema has it, though it stands in the path
        "vmid": string(format="pve-vmid-list"),
        "all": boolean(),
        "bwlimit": integer(0),
        "compress": choice("0", "1", "gzip", "lzo", "zstd"),
        "exclude": string(format="pve-vmid-list"),
        "exclude-path": (string(format="string-alist", before=8.0), array(since=8.0)),
        "fleecing": string(format="backup-fleecing", since=8.2),
        "ionice": integer(0, 8),
        "lockwait": integer(0),
        "mailnotification": choice("always", "failure"),
        "mailto": string(format="email-or-username-list"),
        "maxfiles": integer(1, before=9.15),
        "mode": choice("snapshot", "suspend", "stop"),
        "notes-template": string(max_length=1024, requires="storage"),
        "notification-mode": choice("auto", "legacy-sendmail", "notification-system", since=8.0),
        "performance": string(format="backup-performance"),
        "pigz": integer(),
        "pool": string(),
        "protected": boolean(requires="storage"),
        "prune-backups": string(format="prune-backups"),
        "quiet": boolean(),
        "remove": boolean(),
        "stdexcludes": boolean(),
        "stop": boolean(),
        "stopwait": integer(0),
        "storage": string(format="pve-storage-id"),
        "zstd": integer(),
    },
)
def vzdump(call: Call) -> str:
    """Back guests up; those that live on another node are passed over in silence."""
    storage = call.get("storage", "local")
    _check_rights(call, storage)
    vmids = _included(call)
    if not vmids:
        return "OK"
    target = str(vmids[0]) if len(vmids) == 1 else ""
    job = Job(
        call.node,
        vmids,
        storage,
        _command_line(call, vmids),
        mode=call.get("mode", "snapshot"),
        compress=call.get("compress", "0"),
        notes=call.get("notes-template"),
        protected=bool(call.get("protected")),
        prune=bool(call.get("remove", 1)),
        may=_allowed(call),
    )
    return call.spawn("vzdump", job.plan(call.center), target=target)


def _check_rights(call: Call, storage: str) -> None:
    rights = call.rights
    if {"prune-backups", "maxfiles"} & call.values.keys():
        rights.demand(f"/storage/{storage}", ["Datastore.Allocate"])
    if {"bwlimit", "ionice", "performance"} & call.values.keys():
        rights.demand("/", ["Sys.Modify"])
    if call.get("stop"):
        rights.demand(f"/nodes/{call.node}", ["Sys.Modify"])
    fleecing = dict(part.partition("=")[::2] for part in call.get("fleecing", "").split(","))
    for each in (storage, fleecing.get("storage")):
        if each:
            rights.demand(f"/storage/{each}", ["Datastore.AllocateSpace"])


def _allowed(call: Call) -> Callable[[int], bool]:
    # Only the worker asks for VM.Backup: it dies of a named guest, and passes over one of all.
    def may(vmid: int) -> bool:
        if vmid not in call.center.guests:
            return True  # it fails later, for not being there
        if call.get("all"):
            return call.rights.has(f"/vms/{vmid}", "VM.Backup")
        call.rights.demand(f"/vms/{vmid}", ["VM.Backup"])
        return True

    return may


def _named(call: Call) -> tuple[int, ...]:
    text = call.get("vmid", "").replace(",", " ").replace(";", " ").replace("\0", " ")
    return tuple(int(each) for each in text.split())


def _included(call: Call) -> tuple[int, ...]:
    center = call.center
    here = {guest.vmid for guest in center.guests_on(call.node)}
    if call.get("all"):
        return tuple(sorted(here))
    # An id that nobody has stays, and fails in the task; one on another node is left out.
    return tuple(vmid for vmid in _named(call) if vmid in here or vmid not in center.guests)


def _command_line(call: Call, vmids: tuple[int, ...]) -> str:
    words: list[Any] = [*vmids]
    for name in ORDINARY:
        if name in call.values:
            value = call.values[name]
            words += [f"--{name}", f"'{value}'" if name == "notes-template" else value]
    return " ".join(str(word) for word in [*words, "--node", call.node])


@table.add(
    "GET",
    "/nodes/{node}/vzdump/extractconfig",
    parameters={"volume": required(string())},
)
def extract_config(call: Call) -> str:
    """Read the guest's configuration out of a backup, as its file has it."""
    archive = call.values["volume"]
    volume = call.center.volume(call.node, archive) if ":" in archive else None
    check(call.rights, archive, volume)
    owner = kind_and_owner(archive, volume)[1]
    if owner is not None:
        call.rights.demand(f"/vms/{owner}", ["VM.Backup"])
    if volume is None:
        raise died(f"volume '{archive}' does not exist")
    return "".join(f"{key}: {value}\n" for key, value in sorted(volume.config.items()))
