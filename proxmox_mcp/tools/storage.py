"""Where disks, images and backups lie."""

from typing import Annotated, Any, Literal

from pydantic import Field

from proxmox_mcp.pve.fields import NodeName
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.toolkit.declare import Toolset
from proxmox_mcp.toolkit.results import (
    Cursor,
    Number,
    Page,
    Row,
    gib,
    paged,
    percent,
    position,
    readable,
)
from proxmox_mcp.toolkit.text import Line

toolset = Toolset("storage", search="storage datastore disk space free usage nfs lvm zfs ceph")

Content = Literal["images", "rootdir", "backup", "iso", "vztmpl", "snippets", "import"]

NO_STORAGE = (
    "No storage is visible. Either there is none, or this token lacks Datastore.Audit on /storage."
)


class StorageRow(Row):
    """One storage; a shared one stands here once, however many nodes see it."""

    storage: Line
    node: Line | None = Field(None, description="Left out where the storage is shared.")
    type: Line | None = None
    content: list[Line] = Field(description="What it may hold, e.g. images, backup, iso.")
    status: Line = Field(description="available, or why not: unknown, inactive, disabled")
    used_gib: Number | None = None
    total_gib: Number | None = None
    used_percent: Number | None = None
    missing_on: list[Line] | None = Field(None, description="Nodes on which it is not available.")


class Storages(Page):
    """Storages, fullest first."""

    total: int = Field(description="How many match in all.")
    storages: list[StorageRow]


@toolset.reads("List storages", "Datastore.Audit on /storage/{storage} to see storages")
async def proxmox_get_storage(
    pve: Pve,
    *,
    node: NodeName | None = None,
    content: Annotated[Content | None, Field(description="Only what may hold this.")] = None,
    limit: Annotated[int, Field(ge=1, le=1000, description="Storages per page.")] = 50,
    cursor: Cursor = None,
) -> Storages:
    """List storages with type, content, usage and state: of one node, or of the whole cluster.

    The cluster's view is some ten seconds old and costs one request; a node's is live and may take
    seconds where a network storage is slow.
    """
    after = position(cursor, float, str, str)
    if node is None:
        said = await pve.rows(pve.cluster_api.resources.get, type="storage")
        known, odd = readable(said, "storage", "node")
        rows = _cluster_rows(known)
    else:
        known, odd = readable(await pve.rows(pve.nodes(node).storage.get), "storage")
        rows = [_node_row(row, node) for row in known]
    found = [row for row in rows if content is None or content in row.content]
    shown, more = paged(
        found,
        lambda row: [-float(row.used_percent or 0), row.storage, row.node or ""],
        limit,
        after,
    )
    notice = odd or (None if rows else NO_STORAGE)
    return Storages(total=len(found), storages=shown, next_cursor=more, notice=notice)


def _node_row(row: dict[str, Any], node: str) -> StorageRow:
    status = "disabled" if not row.get("enabled", 1) else "inactive"
    return StorageRow(
        storage=row["storage"],
        node=None if row.get("shared") else node,
        type=row.get("type"),
        content=_listed(row.get("content")),
        status="available" if row.get("active") else status,
        used_gib=gib(row.get("used")),
        total_gib=gib(row.get("total")),
        used_percent=percent(row.get("used"), row.get("total")),
    )


def _cluster_rows(rows: list[dict[str, Any]]) -> list[StorageRow]:
    """Bring the entries, one for each storage and node, together: a shared storage is one."""
    together: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        place = "" if row.get("shared") else row["node"]
        together.setdefault((row["storage"], place), []).append(row)
    return [_cluster_row(entries) for entries in together.values()]


def _cluster_row(entries: list[dict[str, Any]]) -> StorageRow:
    missing = [row["node"] for row in entries if row.get("status") != "available"]
    row = next((each for each in entries if each.get("status") == "available"), entries[0])
    return StorageRow(
        storage=row["storage"],
        node=None if row.get("shared") else row["node"],
        type=row.get("plugintype"),
        content=_listed(row.get("content")),
        status=row.get("status", "unknown"),
        used_gib=gib(row.get("disk")),
        total_gib=gib(row.get("maxdisk")),
        used_percent=percent(row.get("disk"), row.get("maxdisk")),
        missing_on=sorted(missing) if row.get("shared") and missing else None,
    )


def _listed(content: str | None) -> list[str]:
    return sorted(content.split(",")) if content else []
