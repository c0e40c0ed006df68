"""The machines that a cluster runs on."""

from typing import Annotated, Any

import anyio
from pydantic import Field

from proxmox_mcp.pve.answers import number
from proxmox_mcp.pve.errors import ProxmoxError
from proxmox_mcp.pve.fields import NodeName
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.toolkit.declare import Toolset
from proxmox_mcp.toolkit.results import (
    Cursor,
    Number,
    Page,
    Result,
    Row,
    gib,
    paged,
    percent,
    position,
    readable,
)
from proxmox_mcp.toolkit.text import Line

toolset = Toolset("nodes", search="node host hypervisor load cpu memory uptime")

LOAD_SECONDS = 3
"""A node that does not tell its load within this time is listed without it."""


class NodeRow(Row):
    """One node; figures only where it is online and the token may see them."""

    node: Line
    status: Line = Field(description="online, offline or unknown")
    cpus: int | None = None
    cpu_percent: Number | None = None
    load: list[float] | None = Field(None, description="Over 1, 5 and 15 minutes.")
    memory_gib: Number | None = None
    memory_percent: Number | None = None
    disk_percent: Number | None = Field(None, description="Of the root file system.")
    uptime_s: int | None = None


class Nodes(Page):
    """The nodes of a cluster, by name."""

    total: int = Field(description="How many nodes the cluster has.")
    nodes: list[NodeRow]
    offline: list[Line] = Field(description="Nodes that are not online.")
    without_load: list[Line] | None = Field(None, description="Online, but did not tell its load.")


@toolset.reads("List nodes", "Sys.Audit on /nodes/{node} to see figures")
async def proxmox_get_nodes(
    pve: Pve,
    *,
    limit: Annotated[int, Field(ge=1, le=100, description="Nodes per page.")] = 50,
    cursor: Cursor = None,
) -> Nodes:
    """List the cluster's nodes: online or not, CPU, load, memory, uptime.

    A node that is offline or does not answer is named, and takes nothing else down.
    """
    after = position(cursor, str)
    rows, odd = readable(await pve.rows(pve.nodes.get), "node")
    shown, more = paged(rows, lambda row: [str(row["node"])], limit, after)
    online = [row["node"] for row in shown if row.get("status") == "online"]
    loads = await _loads(pve, online)
    return Nodes(
        notice=odd,
        total=len(rows),
        next_cursor=more,
        nodes=[_row(row, loads.get(row["node"])) for row in shown],
        offline=sorted(row["node"] for row in rows if row.get("status") != "online"),
        without_load=[node for node in online if node not in loads] or None,
    )


async def _loads(pve: Pve, nodes: list[str]) -> dict[str, list[float]]:
    loads: dict[str, list[float]] = {}

    async def ask(node: str) -> None:
        try:
            status = await pve.record(pve.nodes(node).status.get)
        except ProxmoxError:
            return  # without_load names it; the list itself is what was asked for
        if load := _load(status):
            loads[node] = load

    with anyio.move_on_after(LOAD_SECONDS):
        async with anyio.create_task_group() as group:
            for node in nodes:
                group.start_soon(ask, node)
    return loads


def _load(status: dict[str, Any]) -> list[float] | None:
    # Three texts such as "0.58"; an odd one must not take the figures beside it down.
    said = status.get("loadavg")
    load = [number(each) for each in said] if isinstance(said, list) else []
    known = [float(each) for each in load if each is not None]
    return known if known and len(known) == len(load) else None


def _row(row: dict[str, Any], load: list[float] | None) -> NodeRow:
    return NodeRow(
        node=row["node"],
        status=row.get("status", "unknown"),
        cpus=row.get("maxcpu"),
        cpu_percent=percent(row.get("cpu")),
        load=load,
        memory_gib=gib(row.get("maxmem")),
        memory_percent=percent(row.get("mem"), row.get("maxmem")),
        disk_percent=percent(row.get("disk"), row.get("maxdisk")),
        uptime_s=row.get("uptime"),
    )


class NodeStatus(Result):
    """One node in detail."""

    node: Line
    pve_version: Line | None = None
    kernel: Line | None = None
    boot_mode: Line | None = None
    cpu_model: Line | None = None
    sockets: int | None = None
    cpus: int | None = None
    cpu_percent: Number | None = None
    iowait_percent: Number | None = None
    load: list[float] | None = Field(None, description="Over 1, 5 and 15 minutes.")
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    ksm_shared_bytes: int | None = Field(None, description="Memory saved by merging equal pages.")
    root_total_bytes: int | None = None
    root_used_bytes: int | None = None
    uptime_s: int | None = None


@toolset.reads("Node status", "Sys.Audit on /nodes/{node}", elevated=True)
async def proxmox_get_node_status(pve: Pve, *, node: NodeName) -> NodeStatus:
    """Show one node in detail: versions, CPU, load, memory, swap, root file system.

    proxmox_get_nodes compares all nodes and is enough for most questions.
    """
    status = await pve.record(pve.nodes(node).status.get)
    cpu, memory = status.get("cpuinfo", {}), status.get("memory", {})
    swap, root = status.get("swap", {}), status.get("rootfs", {})
    return NodeStatus(
        node=node,
        pve_version=status.get("pveversion"),
        kernel=status.get("current-kernel", {}).get("release") or status.get("kversion"),
        boot_mode=status.get("boot-info", {}).get("mode"),
        cpu_model=cpu.get("model"),
        sockets=cpu.get("sockets"),
        cpus=cpu.get("cpus"),
        cpu_percent=percent(status.get("cpu")),
        iowait_percent=percent(status.get("wait")),
        load=_load(status),
        memory_total_bytes=memory.get("total"),
        memory_used_bytes=memory.get("used"),
        swap_total_bytes=swap.get("total"),
        swap_used_bytes=swap.get("used"),
        ksm_shared_bytes=status.get("ksm", {}).get("shared"),
        root_total_bytes=root.get("total"),
        root_used_bytes=root.get("used"),
        uptime_s=status.get("uptime"),
    )
