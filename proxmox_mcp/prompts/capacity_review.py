"""How full is it, and what happens when a node fails?"""

from functools import partial
from typing import Any

from proxmox_mcp.prompts.crowd import crowd
from proxmox_mcp.prompts.declare import prompt
from proxmox_mcp.prompts.health_check import cluster_lines, storage_lines
from proxmox_mcp.prompts.look import ALL, Look, part, some, told
from proxmox_mcp.toolkit.results import percent, short
from proxmox_mcp.tools.cluster import proxmox_get_cluster_status
from proxmox_mcp.tools.guests import proxmox_get_vms
from proxmox_mcp.tools.nodes import proxmox_get_nodes
from proxmox_mcp.tools.storage import proxmox_get_storage

QUESTION = """\
How much room has this cluster left, where is it tight, and would it carry on without its largest \
node?

Say first what runs out first, and where. Memory that running guests were given beyond what a node \
has is a risk, not yet a fault. These figures are of one moment and tell no trend: say so where it \
matters. Look deeper with tools that only read (proxmox_get_vms with node, proxmox_get_vm_status). \
Change nothing: propose moves or changes of size with their reasons, and ask before any of them; \
proxmox_vm_migrate_check tells what keeps a guest from moving.\
"""


@prompt("Capacity review", proxmox_get_nodes, proxmox_get_vms)
async def capacity_review(look: Look) -> str:
    """How full is the cluster, and what runs out first?

    Compares what nodes and storages have with what is used and what guests were given, and says
    whether the rest would do if the largest node failed.
    """
    cluster, nodes, storages, guests = await look.at(
        partial(proxmox_get_cluster_status),
        partial(proxmox_get_nodes, limit=ALL),
        partial(proxmox_get_storage, limit=ALL),
        partial(crowd),
    )
    return look.page(
        [
            part("The cluster", cluster_lines, cluster),
            part("Nodes: what they have, and what running guests were given", fills, nodes, guests),
            part("If the largest node failed", without_largest, nodes),
            part("Storages, fullest first", storage_lines, storages),
            part("The largest guests, by memory", largest, guests),
        ],
        QUESTION,
    )


def fills(nodes: dict[str, Any], guests: dict[str, Any]) -> list[str]:
    """Tell of each node what it has, what is used, and what its running guests were given."""
    given, none = guests["given"], {"running": 0, "cpus": 0, "memory_gib": 0}
    rows = sorted(nodes["nodes"], key=lambda row: -row.get("memory_percent", 0))
    return some(rows, 20, lambda row: _fill(row, given.get(row["node"], none)), "nodes")


def _fill(row: dict[str, Any], given: dict[str, Any]) -> str:
    figures = told(row, "node", "status", "cpus", "cpu_percent", "memory_gib", "memory_percent")
    share = percent(given["memory_gib"], row.get("memory_gib"))
    of_all = f" ({share} % of its memory)" if share is not None else ""
    return (
        f"{figures}; {given['running']} running guests were given {given['cpus']} CPUs and"
        f" {given['memory_gib']} GiB{of_all}"
    )


def without_largest(nodes: dict[str, Any]) -> list[str]:
    """Tell whether the memory in use now would fit on the other nodes."""
    rows = [row for row in nodes["nodes"] if row["status"] == "online" and "memory_gib" in row]
    if not rows:
        return ["unknown: no online node shows its memory"]
    used = sum(row["memory_gib"] * row.get("memory_percent", 0) / 100 for row in rows)
    top = max(rows, key=lambda row: float(row["memory_gib"]))
    left = sum(row["memory_gib"] for row in rows) - top["memory_gib"]
    enough = "enough" if used <= left else "NOT ENOUGH"
    return [
        f"largest node online: {top['node']}, {top['memory_gib']} GiB",
        f"memory in use on all online nodes: {short(used)} GiB",
        f"memory that the others have: {short(left)} GiB, {enough} for what is in use now",
    ]


def largest(guests: dict[str, Any]) -> list[str]:
    """Tell of the guests that were given most memory."""
    fields = ("vmid", "name", "node", "status", "mem_gib")
    return [told(row, *fields) for row in guests["largest"]] or ["none"]
