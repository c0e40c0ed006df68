"""Backups of guests: made, listed, restored, deleted."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import anyio
from pydantic import Field

from proxmox_mcp.pve import stores
from proxmox_mcp.pve.condition import condition, unprotected
from proxmox_mcp.pve.errors import NotFound, ProxmoxError, Refused
from proxmox_mcp.pve.fields import (
    Archive,
    AtNode,
    GuestRef,
    Kind,
    NodeName,
    OfKind,
    StorageId,
    Vmid,
    Wait,
)
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.guestconfig import DISKS
from proxmox_mcp.pve.locate import Guest, find, locate, vmid_of
from proxmox_mcp.pve.oversight import Loss, plain
from proxmox_mcp.pve.upid import Upid
from proxmox_mcp.toolkit.declare import Toolset
from proxmox_mcp.toolkit.outcome import Outcome, carry_out
from proxmox_mcp.toolkit.results import Cursor, Number, Page, Row, gib, paged, position, readable
from proxmox_mcp.toolkit.text import Line, Text
from proxmox_mcp.toolkit.time import iso, taken

toolset = Toolset("backups", search="backup restore vzdump archive proxmox backup server pbs prune")

SPACE = "Datastore.AllocateSpace on /storage/{backups}"
READ = (
    "VM.Backup on /vms/{vmid} or Datastore.Allocate on /storage/{backups}",
    "Datastore.AllocateSpace|Datastore.Allocate on /storage/{backups}",
)

COMPRESSION = {"none": "0", "lzo": "lzo", "gzip": "gzip", "zstd": "zstd"}


class BackupOutcome(Outcome):
    """How a backup ended, and what it made."""

    volume: Line | None = Field(None, description="The new archive's volume id.")
    size_gib: Number | None = None


@toolset.changes(
    "Back guest up",
    "VM.Audit on /vms/{vmid}",
    "VM.Backup on /vms/{vmid}",
    SPACE,
    sends=["POST /nodes/{node}/vzdump"],
    may_lose="with remove",
)
async def proxmox_backup_create(
    pve: Pve,
    *,
    vmid: GuestRef,
    storage: StorageId,
    mode: Annotated[
        Literal["snapshot", "suspend", "stop"],
        Field(description="snapshot keeps it running; stop shuts it down for the time."),
    ] = "snapshot",
    compress: Annotated[
        Literal["none", "lzo", "gzip", "zstd"], Field(description="How the archive is packed.")
    ] = "zstd",
    notes: Annotated[
        str | None, Field(max_length=1024, description="{{guestname}}, {{vmid}} are filled in.")
    ] = None,
    protected: Annotated[bool, Field(description="Keep it from being pruned or deleted.")] = False,
    remove: Annotated[
        bool, Field(description="Also delete old backups, by the storage's retention.")
    ] = False,
    node: AtNode = None,
    type: OfKind = None,
    wait: Wait = 30,
) -> BackupOutcome:
    """Back a guest up to a storage with vzdump. Takes minutes to hours: mind wait.

    Deletes no older backup unless remove is set.
    """
    guest = await locate(pve, vmid, node=node, kind=type)
    (await condition(pve, guest)).must_be_free()
    await stores.must_hold(pve, guest.node, storage, "backup")
    await pve.may_lose(await _pruned(pve, guest, storage) if remove else None)
    sent = {
        "vmid": str(guest.vmid),
        "storage": storage,
        "mode": mode,
        "compress": COMPRESSION[compress],
        "notes-template": notes,
        "protected": protected or None,
        "remove": remove,
    }
    verb = pve.nodes(guest.node).vzdump.post
    outcome = await carry_out(pve, guest, f"backed up to {storage}", verb, wait=wait, **sent)
    if outcome.state == "running":
        return BackupOutcome(**dict(outcome))
    began = Upid.parse(outcome.upid).starttime  # an older archive must not pass for the new one
    there = await stores.backups(pve, guest.node, storage, guest.vmid)
    made = [row for row in there if row.get("ctime", 0) >= began]
    newest = max(made, key=lambda row: row["ctime"], default={})
    volume, size = newest.get("volid"), gib(newest.get("size"))
    return BackupOutcome(**dict(outcome), volume=volume, size_gib=size)


async def _pruned(pve: Pve, guest: Guest, storage: str) -> Loss:
    there = await stores.backups(pve, guest.node, storage, guest.vmid)
    size = gib(sum(row.get("size", 0) for row in there))
    return Loss(
        f"Back {guest.plainly} up to {storage}, and delete old backups there?",
        plain(guest.name),
        (
            f"It has {len(there)} backups there, {size} GiB in all.",
            "Those that the storage's retention does not keep are deleted for good.",
        ),
    )


class BackupRow(Row):
    """One backup."""

    volume: Line
    node: Line | None = Field(None, description="Where it lies; left out: on a shared storage.")
    vmid: int | None = None
    type: Kind | None = None
    created: str
    size_gib: Number | None = None
    protected: bool | None = None
    verified: Line | None = Field(None, description="Of its last verification, where there is one.")
    encrypted: bool | None = None
    notes: Text | None = None


class Backups(Page):
    """Backups, newest first."""

    total: int = Field(description="How many match in all.")
    total_gib: Number = Field(description="What all that match take up.")
    backups: list[BackupRow]
    storages_missing: list[Line] | None = Field(None, description="Storages that did not answer.")


SEEING = (
    "Seeing a backup takes Datastore.AllocateSpace on its storage and VM.Backup on its guest, or"
    " Datastore.Allocate: with less it is left out, without an error."
)


@toolset.reads(
    "List backups",
    "Datastore.Audit on /storage/{backups}",
    *(f"{need} to see backups" for need in READ),
)
async def proxmox_backup_list(
    pve: Pve,
    *,
    storage: StorageId | None = None,
    vmid: Annotated[GuestRef | None, Field(description="Only backups of this guest.")] = None,
    node: AtNode = None,
    limit: Annotated[int, Field(ge=1, le=1000, description="Backups per page.")] = 50,
    cursor: Cursor = None,
) -> Backups:
    """List backups, newest first: of one storage or of all, of one guest or of all.

    A storage that does not answer is named, and takes nothing down.
    """
    after = position(cursor, int, str, str)
    places, away = await stores.where_backups_lie(pve, storage, node)
    rows, silent = await _of_all(pve, places, await vmid_of(pve, vmid))
    missing = sorted([*away, *silent])
    return await pve.aside(partial(_page, rows, limit, after, missing))


def _page(
    rows: list[dict[str, Any]], limit: int, after: Sequence[Any] | None, missing: list[str]
) -> Backups:
    """Cut a page out of all that match; of thousands it takes so long that others would wait."""
    known, odd = readable(rows, "volid")
    shown, more = paged(
        known, lambda row: [-int(row.get("ctime", 0)), row["volid"], row["only_on"]], limit, after
    )
    return Backups(
        total=len(known),
        total_gib=gib(sum(row.get("size", 0) for row in known)) or 0,
        backups=[_row(row) for row in shown],
        next_cursor=more,
        storages_missing=missing or None,
        notice=odd or (None if known else f"No backup is visible. {SEEING}"),
    )


async def _of_all(
    pve: Pve, places: Mapping[str, str], vmid: int | None
) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    missing: list[str] = []

    async def ask(place: str, node: str) -> None:
        try:
            found = await stores.backups(pve, node, place.partition("@")[0], vmid)
        except ProxmoxError:
            if len(places) == 1:
                raise
            missing.append(place)
        else:
            # Two nodes may hold files of one name on storages of one name.
            rows.extend(row | {"only_on": place.partition("@")[2]} for row in found)

    if len(places) == 1:
        [(place, node)] = places.items()
        await ask(place, node)
    else:
        async with anyio.create_task_group() as group:
            for place, node in places.items():
                group.start_soon(ask, place, node)
    return rows, missing


def _row(row: dict[str, Any]) -> BackupRow:
    return BackupRow(
        volume=row["volid"],
        node=row["only_on"] or None,
        vmid=row.get("vmid"),
        type=stores.kind_of(row["volid"]),
        created=iso(row.get("ctime", 0)),
        size_gib=gib(row.get("size")),
        protected=True if row.get("protected") else None,
        verified=(row.get("verification") or {}).get("state"),
        encrypted=True if row.get("encrypted") else None,
        notes=row.get("notes") or None,
    )


@toolset.changes(
    "Restore backup",
    "Datastore.AllocateSpace|Datastore.Audit on /storage/{backups}",
    *READ,
    "VM.Allocate on /vms/{newid}",
    "Datastore.AllocateSpace on /storage/{disks}",
    "SDN.Use on /sdn/zones/{zone}/{bridge} from PVE 8",
    "VM.PowerMgmt on /vms/{newid} from PVE 9 for start",
    sends=["POST /nodes/{node}/{kind}"],
    may_lose="with force, over a guest",
)
async def proxmox_backup_restore(
    pve: Pve,
    *,
    node: Annotated[NodeName, Field(description="Node to restore on.")],
    archive: Archive,
    storage: Annotated[StorageId | None, Field(description="Where the archive lies.")] = None,
    vmid: Annotated[Vmid | None, Field(description="New id; left out: the original one.")] = None,
    force: Annotated[bool, Field(description="Overwrite the guest that has this id.")] = False,
    target_storage: Annotated[
        StorageId | None, Field(description="For its disks; left out: as before.")
    ] = None,
    start: Annotated[bool, Field(description="Start it afterwards.")] = False,
    unique: Annotated[bool, Field(description="New MAC addresses, for a second copy.")] = False,
    wait: Wait = 30,
) -> Outcome:
    """Restore a guest from a backup, to a new id or over the guest that has it (force).

    Overwriting erases that guest's disks for good. A running or protected guest is never
    overwritten.
    """
    volid = stores.volume_id(archive, storage)
    found = await stores.must_exist(pve, node, volid)
    kind, newid = stores.kind_of(volid), vmid or found.get("vmid")
    if kind is None or newid is None:
        raise Refused(f"{volid} does not say whose backup it is: pass vmid. Nothing was changed.")
    old = await _to_overwrite(pve, int(newid), node, kind, force=force)
    if kind == "lxc":
        target_storage = target_storage or await stores.home_of(pve, node, volid)
    if target_storage:
        content = "images" if kind == "qemu" else "rootdir"
        await stores.must_hold(pve, node, target_storage, content)
    await pve.may_lose(_overwriting(pve, old, found) if old else None)
    source = {"archive": volid} if kind == "qemu" else {"ostemplate": volid, "restore": True}
    sent = source | {
        "vmid": newid,
        "force": force or None,
        "storage": target_storage,
        "start": start or None,
        "unique": unique or None,
    }
    words = f"restored from {volid}" + (", over what was there" if old else "")
    verb = pve.nodes(node)(kind).post
    outcome = await carry_out(pve, f"Guest {newid} on {node}", words, verb, wait=wait, **sent)
    pve.forget()
    return outcome


class Overwritten(NamedTuple):
    """A guest that a restore would erase, and its configuration."""

    guest: Guest
    config: dict[str, Any]


def _overwriting(pve: Pve, old: Overwritten, backup: dict[str, Any]) -> Loss:
    guest, keys = old.guest, DISKS[old.guest.kind]
    disks = ", ".join(plain(key) for key in sorted(old.config) if keys.fullmatch(key))
    made = taken(backup.get("ctime", 0), pve.cluster.bridge.server_time())
    return Loss(
        f"Erase {guest.plainly}, and put a backup in its place?",
        plain(guest.name),
        (
            f"Its disks are erased for good: {disks or 'none'}.",
            f"The backup is of {made}, and has {gib(backup.get('size', 0))} GiB.",
        ),
    )


async def _to_overwrite(
    pve: Pve, vmid: int, node: str, kind: Kind, *, force: bool
) -> Overwritten | None:
    """Return the guest that would be overwritten, after making sure that it may be."""
    guest = await find(pve, vmid)
    if guest is None:
        return None
    if not force:
        raise Refused(
            f"The id {vmid} belongs to {guest}: pass another vmid, or force=true to erase that"
            " guest and put the backup in its place. Nothing was changed."
        )
    if (guest.node, guest.kind) != (node, kind):
        raise Refused(
            f"{guest} has this id and is not a {kind} on {node}: it cannot be overwritten."
        )
    now = await condition(pve, guest)
    now.must_be_free()
    if now.state != "stopped":
        raise Refused(f"{guest} is {now.state}: stop it first with proxmox_vm_shutdown.")
    return Overwritten(guest, await unprotected(pve, guest))


@toolset.destroys(
    "Delete backup",
    "Datastore.Audit on /storage/{backups}",
    "VM.Backup on /vms/{vmid}",
    SPACE,
    sends=["DELETE /nodes/{node}/storage/{storage}/content/{volume}"],
    repeatable=True,
)
async def proxmox_backup_delete(
    pve: Pve,
    *,
    volume: Archive,
    storage: Annotated[StorageId | None, Field(description="Where it lies.")] = None,
    node: AtNode = None,
    wait: Wait = 30,
) -> Outcome:
    """Delete a backup archive for good. A protected one is refused."""
    volid = stores.volume_id(volume, storage)
    places, _ = await stores.where_backups_lie(pve, volid.partition(":")[0], node)
    [place] = places.values()
    verb = stores.volume(pve, place, volid).delete
    await pve.must_be_allowed(verb)
    try:
        found = await stores.must_exist(pve, place, volid)
    except NotFound as error:
        return Outcome(state="already", done=f"{error}", notice=SEEING)
    if found.get("protected"):
        path = f"/nodes/{place}/storage/{volid.partition(':')[0]}/content/{volid}"
        raise Refused(
            f"{volid} is protected. Take the protection off first, in the web interface or on a"
            f" node with `pvesh set {path} --protected 0`; nothing was deleted."
        )
    pve.about = {"vmid": found["vmid"]} if found.get("vmid") else {}
    await pve.may_lose(_deleting(pve, volid, found))
    return await carry_out(pve, volid, "deleted", verb, wait=wait)


def _deleting(pve: Pve, volid: str, backup: dict[str, Any]) -> Loss:
    made = taken(backup.get("ctime", 0), pve.cluster.bridge.server_time())
    whose = f"guest {backup['vmid']}" if backup.get("vmid") else "a guest"
    return Loss(
        f"Delete backup {volid}?",
        str(backup.get("vmid") or volid),
        (
            f"It is of {whose}, made {made}, {gib(backup.get('size', 0))} GiB.",
            "It is gone for good.",
        ),
    )
