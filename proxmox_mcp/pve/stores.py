"""Storages and the backups on them: where to ask, what they may hold, what lies there."""

import re
from typing import Any

from proxmox_mcp.pve.errors import NotAllowed, NotFound, Refused
from proxmox_mcp.pve.fields import Kind
from proxmox_mcp.pve.guard import Pve

_FILE_KIND = re.compile(r"vzdump-(?P<kind>qemu|lxc)-\d+-")
_PBS_KIND = re.compile(r":backup/(?P<kind>vm|ct)/\d+/")
_PBS: dict[str, Kind] = {"vm": "qemu", "ct": "lxc"}
_NAMED: dict[str, Kind] = {"qemu": "qemu", "lxc": "lxc"}


def kind_of(volid: str) -> Kind | None:
    """Read from a backup's name whether it is one of a VM or of a container."""
    if found := _FILE_KIND.search(volid):
        return _NAMED[found["kind"]]
    if found := _PBS_KIND.search(volid):
        return _PBS[found["kind"]]
    return None


def volume_id(archive: str, storage: str | None) -> str:
    """Complete a bare file name into a volume id, ``storage:backup/file``.

    Raises:
        Refused: The storage is missing, or another than the one in the volume id.
    """
    own, colon, _ = archive.partition(":")
    if not colon or "/" in own:
        if storage is None:
            raise Refused("Pass storage as well: a bare file name does not say where it lies.")
        return f"{storage}:backup/{archive.removeprefix('backup/')}"
    if storage not in (None, own):
        raise Refused(f"The volume id names the storage {own}, and storage is {storage}: which?")
    return archive


def volume(pve: Pve, node: str, volid: str) -> Any:
    """Return the chain of one volume; its id has passed the type of an archive."""
    storage = volid.partition(":")[0]
    return pve.nodes(node).storage(storage).content(volid)


async def must_hold(pve: Pve, node: str, storage: str, content: str) -> None:
    """Make sure that a storage is on a node, active, and may hold this kind of content.

    Raises:
        Refused: It is not; the message lists those that are.
    """
    rows = await pve.rows(pve.nodes(node).storage.get)
    fit = [
        row["storage"]
        for row in rows
        if content in str(row.get("content", "")).split(",")
        and row.get("active")
        and row.get("enabled", 1)
    ]
    if storage in fit:
        return
    row = next((row for row in rows if row["storage"] == storage), None)
    why = "is not on this node, or this token may not see it"
    if row is not None:
        holds = content in str(row.get("content", "")).split(",")
        why = (
            "is not active there"
            if holds
            else f"may not hold {content} (it holds {row['content']})"
        )
    raise Refused(
        f"Storage {storage} on {node} {why}. Fit for it: {', '.join(sorted(fit)) or 'none'}."
        " Nothing was changed."
    )


async def home_of(pve: Pve, node: str, volid: str) -> str:
    """Return the storage on which a backed-up container had its root file system.

    Where the backup does not tell, this is ``local``: what Proxmox takes for a container that is
    restored without saying where (its schema's default), whatever it had before.
    """
    verb = pve.nodes(node).vzdump.extractconfig.get
    try:
        config = str(await pve.send(verb, volume=volid))
    except (NotAllowed, Refused):
        return "local"
    found = re.search(r"^rootfs: *([A-Za-z][A-Za-z0-9_.-]*):", config, re.MULTILINE)
    return found[1] if found else "local"


async def where_backups_lie(
    pve: Pve, storage: str | None, node: str | None
) -> tuple[dict[str, str], list[str]]:
    """Find out where backups can be listed.

    Returns:
        Storage, or ``name@node`` if not shared, to a node that has it; and those of which no node
        has it available now.

    Raises:
        NotFound: There is no such storage for backups.
        Refused: It is one of each node, and none is named.
    """
    rows = await pve.rows(pve.cluster_api.resources.get, type="storage")
    places: dict[str, str] = {}
    away: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: str(row.get("node"))):
        fits = "backup" in str(row.get("content", "")).split(",")
        wanted = storage in (None, row["storage"]) and node in (None, row["node"])
        if fits and wanted:
            key = row["storage"] if row.get("shared") else f"{row['storage']}@{row['node']}"
            found = places if row["status"] == "available" else away
            found.setdefault(key, row["node"])
    away = {key: at for key, at in away.items() if key not in places}
    if storage and len(nodes := {*places.values(), *away.values()}) > 1:
        raise Refused(
            f"Storage {storage} is not shared: pass node as well, one of"
            f" {', '.join(sorted(nodes))}."
        )
    if not places:
        named = f"storage {storage}" if storage else "storage for backups"
        raise NotFound(
            f"There is no {named} that is available{f' on {node}' if node else ''} for backups, as"
            " far as this token may see; proxmox_get_storage lists them."
        )
    return places, sorted(away)


async def backups(pve: Pve, node: str, storage: str, vmid: int | None) -> list[dict[str, Any]]:
    """List the backups on a storage."""
    verb = pve.nodes(node).storage(storage).content.get
    return await pve.rows(verb, content="backup", vmid=vmid)


async def must_exist(pve: Pve, node: str, volid: str) -> dict[str, Any]:
    """Return a backup's entry.

    Raises:
        NotFound: It is not there; the message names the newest of those that are.
    """
    storage = volid.partition(":")[0]
    rows = await backups(pve, node, storage, None)
    found = next((row for row in rows if row["volid"] == volid), None)
    if found is None:
        newest = sorted(rows, key=lambda row: -row.get("ctime", 0))[:3]
        there = ", ".join(str(row["volid"]) for row in newest) or "no backup at all"
        raise NotFound(
            f"There is no backup {volid} that this token may see. Newest of {len(rows)} on"
            f" {storage}: {there}. Nothing was changed."
        )
    return found
