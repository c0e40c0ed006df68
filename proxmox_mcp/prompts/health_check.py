"""Is everything all right?"""

from functools import partial
from typing import Any

from proxmox_mcp.prompts.crowd import crowd
from proxmox_mcp.prompts.declare import prompt
from proxmox_mcp.prompts.look import ALL, Look, part, some, told
from proxmox_mcp.tools.cluster import proxmox_get_cluster_status
from proxmox_mcp.tools.nodes import proxmox_get_nodes
from proxmox_mcp.tools.storage import proxmox_get_storage
from proxmox_mcp.tools.tasks import proxmox_task_list

FAILED_TASKS = 12

QUESTION = """\
Is this cluster all right, and if not, what is wrong and what matters most?

Say it in one sentence first, then what needs attention, the most urgent first, and what each of \
these facts rests on. What could not be read is unknown, not fine. To look deeper, use the tools \
that only read: proxmox_get_vm_status for a guest, proxmox_task_log for a task that failed, \
proxmox_get_storage for a storage. Change nothing: propose what to do, and ask before doing it.\
"""


@prompt("Health check", proxmox_get_cluster_status)
async def health_check(look: Look) -> str:
    """Is everything all right?

    Looks at quorum, nodes, storages, failed tasks and guests that are locked or lost, and has the
    assistant say what needs attention.
    """
    cluster, nodes, storages, tasks, guests = await look.at(
        partial(proxmox_get_cluster_status),
        partial(proxmox_get_nodes, limit=ALL),
        partial(proxmox_get_storage, limit=ALL),
        partial(proxmox_task_list, errors=True, limit=FAILED_TASKS),
        partial(crowd),
    )
    return look.page(
        [
            part("The cluster", cluster_lines, cluster),
            part("Its nodes", node_lines, nodes),
            part("Storages, fullest first", storage_lines, storages),
            part("Guests that are locked, or whose state is unknown", guest_lines, guests),
            part("Tasks that failed, newest first", task_lines, tasks),
        ],
        QUESTION,
    )


def cluster_lines(cluster: dict[str, Any]) -> list[str]:
    """Tell what the cluster adds up to."""
    guests = ", ".join(f"{number} {state}" for state, number in cluster["guests"].items())
    quorate = {True: "yes", False: "NO", None: "unknown"}[cluster.get("quorate")]
    lines = [
        f"name {cluster.get('cluster', 'none: a single node')}, quorate {quorate}",
        f"nodes online: {', '.join(cluster['nodes_online']) or 'none'}",
        f"nodes offline: {', '.join(cluster['nodes_offline']) or 'none'}",
        f"guests: {guests or 'none that this token may see'}",
        f"CPUs {cluster['cpus']}, busy {cluster.get('cpu_percent', 'unknown')} %",
        _usage("memory", cluster["memory"]),
        _usage("storage", cluster["storage"]),
    ]
    if cluster.get("storage_missing"):
        lines.append(f"storages not available: {', '.join(cluster['storage_missing'])}")
    return lines


def _usage(what: str, usage: dict[str, Any]) -> str:
    share = usage.get("used_percent", "unknown")
    return f"{what} {usage['used_gib']} of {usage['total_gib']} GiB, {share} %"


def node_lines(nodes: dict[str, Any]) -> list[str]:
    """Tell of each node, those that are not online first, then by memory in use."""
    rows = sorted(
        nodes["nodes"],
        key=lambda row: (row["status"] == "online", -row.get("memory_percent", 0)),
    )
    figures = ("cpu_percent", "load", "memory_percent", "disk_percent", "uptime_s")
    return some(rows, 25, lambda row: told(row, "node", "status", *figures), "nodes")


def storage_lines(storages: dict[str, Any]) -> list[str]:
    """Tell of the storages, those that are not available first, then by how full they are."""
    rows = sorted(storages["storages"], key=lambda row: row["status"] == "available")
    figures = ("status", "used_percent", "used_gib", "total_gib", "missing_on")
    lines = some(rows, 15, lambda row: told(row, "storage", "node", *figures), "storages")
    return lines or ["none that this token may see"]


def guest_lines(guests: dict[str, Any]) -> list[str]:
    """Tell of the guests that somebody should look at."""
    rows, more = guests["worrying"], guests["worrying_total"] - len(guests["worrying"])
    lines = [told(row, "vmid", "name", "node", "status", "lock") for row in rows]
    return [*lines, *([f"and {more} more guests"] if more else [])] or ["none"]


def task_lines(tasks: dict[str, Any]) -> list[str]:
    """Tell which tasks failed, and where nobody could be asked."""
    lines = [told(row, "started", "type", "id", "node", "error", "upid") for row in tasks["tasks"]]
    missing = tasks.get("nodes_missing")
    silent = [f"nodes that could not be asked: {', '.join(missing)}"] if missing else []
    return [*silent, *(lines or ["none"])]
