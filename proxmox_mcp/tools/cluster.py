"""The cluster as a whole: is it healthy, and how full is it."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import Field

from proxmox_mcp.pve.errors import NotAllowed
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.toolkit.declare import Toolset
from proxmox_mcp.toolkit.results import Number, Result, Row, gib, percent
from proxmox_mcp.toolkit.text import Line

toolset = Toolset("cluster", search="health status quorum capacity overview proxmox pve datacenter")

NO_QUORUM_SEEN = (
    "Whether the cluster has quorum is unknown: that takes Sys.Audit on /, which this token lacks."
)


class Usage(Row):
    """How much of something is used."""

    used_gib: Number
    total_gib: Number
    used_percent: Number | None = None


class ClusterStatus(Result):
    """A cluster's health and what its reachable nodes add up to."""

    cluster: Line | None = Field(None, description="Left out for a standalone node.")
    quorate: bool | None = Field(None, description="Whether changes are possible at all.")
    nodes_online: list[Line]
    nodes_offline: list[Line]
    guests: dict[Line, int] = Field(
        description="How many, by kind and state, as of some ten seconds ago."
    )
    cpus: int
    cpu_percent: Number | None = None
    memory: Usage
    storage: Usage = Field(description="Shared storages are counted once.")
    storage_missing: list[Line] | None = Field(None, description="storage@node not available now.")


@toolset.reads(
    "Cluster status",
    "Sys.Audit on / to see quorum",
    "Sys.Audit on /nodes/{node} to see figures",
    "VM.Audit on /vms/{vmid} to see guests",
    "Datastore.Audit on /storage/{storage} to see storages",
)
async def proxmox_get_cluster_status(pve: Pve) -> ClusterStatus:
    """Show the cluster's health: quorum, nodes up and down, guests by state, CPU, memory, storage.

    Start here when the question is "is everything all right?".
    """
    votes, notice = await _votes(pve)
    rows = await pve.rows(pve.cluster_api.resources.get)
    nodes = [row for row in rows if row.get("type") == "node"]
    pools = [row for row in rows if row.get("type") == "storage"]
    online = [row for row in nodes if row.get("status") == "online"]
    cpus = sum(row.get("maxcpu", 0) for row in online)
    busy = sum(row.get("cpu", 0) * row.get("maxcpu", 0) for row in online)
    return ClusterStatus(
        notice=notice,
        cluster=votes.get("name"),
        quorate=bool(votes["quorate"]) if "quorate" in votes else None,
        nodes_online=sorted(row["node"] for row in online),
        nodes_offline=sorted(row["node"] for row in nodes if row not in online),
        guests=dict(sorted(_states(rows).items())),
        cpus=cpus,
        cpu_percent=percent(busy, cpus),
        memory=_usage((row.get("mem"), row.get("maxmem")) for row in online),
        storage=_usage(_sizes(pools)),
        storage_missing=_missing(pools) or None,
    )


async def _votes(pve: Pve) -> tuple[dict[str, Any], str | None]:
    try:
        rows = await pve.rows(pve.cluster_api.status.get)
    except NotAllowed:
        return {}, NO_QUORUM_SEEN
    cluster = next((row for row in rows if row.get("type") == "cluster"), None)
    # A node that is in no cluster has no such entry, and always has its own vote.
    return cluster or {"quorate": 1}, None


def _states(rows: list[dict[str, Any]]) -> Counter[str]:
    kinds = {"qemu": "vm", "lxc": "container"}
    return Counter(
        "template" if row.get("template") else f"{kinds[row['type']]}_{row.get('status')}"
        for row in rows
        if row.get("type") in kinds
    )


def _sizes(pools: list[dict[str, Any]]) -> Iterable[tuple[Any, Any]]:
    """Give each storage's use once: shared ones by name, and by size where two are one disk.

    Directory storages of one node that lie on the same file system report the same numbers.
    """
    seen = {
        (row["storage"],)
        if row.get("shared")
        else (row["node"], row.get("disk"), row.get("maxdisk")): (row.get("disk"), row["maxdisk"])
        for row in pools
        if row.get("maxdisk")
    }
    return seen.values()


def _missing(pools: list[dict[str, Any]]) -> list[str]:
    return sorted(
        f"{row['storage']}@{row['node']}" for row in pools if row["status"] != "available"
    )


def _usage(sizes: Iterable[tuple[Any, Any]]) -> Usage:
    known = [(used or 0, total) for used, total in sizes if total]
    used, total = sum(used for used, _ in known), sum(total for _, total in known)
    return Usage(
        used_gib=gib(used) or 0, total_gib=gib(total) or 0, used_percent=percent(used, total)
    )
