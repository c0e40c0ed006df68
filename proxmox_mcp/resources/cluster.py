"""The cluster, its nodes and its storages, to be looked at."""

from proxmox_mcp.pve.errors import NotFound
from proxmox_mcp.pve.fields import NodeName, StorageId
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.resources.declare import resource
from proxmox_mcp.tools.cluster import ClusterStatus, proxmox_get_cluster_status
from proxmox_mcp.tools.nodes import NodeStatus, proxmox_get_node_status
from proxmox_mcp.tools.storage import Storages, proxmox_get_storage

ALL = 100_000
"""More than there are of anything: a handler cuts its page, and here nothing is to be cut."""


@resource("proxmox://cluster", "Cluster", proxmox_get_cluster_status)
async def cluster(pve: Pve) -> ClusterStatus:
    """Quorum, nodes up and down, guests by state, and how full CPU, memory and storage are."""
    return await proxmox_get_cluster_status(pve)


@resource("proxmox://nodes/{node}", "Node", proxmox_get_node_status)
async def node(pve: Pve, *, node: NodeName) -> NodeStatus:
    """One node in detail: versions, CPU, load, memory, swap, root file system."""
    return await proxmox_get_node_status(pve, node=node)


@resource("proxmox://storage/{storage}", "Storage", proxmox_get_storage)
async def storage(pve: Pve, *, storage: StorageId) -> Storages:
    """One storage: type, content and usage; where it is not shared, on each node that has it."""
    every = await proxmox_get_storage(pve, limit=ALL)
    rows = [row for row in every.storages if row.storage == storage]
    if not rows:
        names = ", ".join(sorted({row.storage for row in every.storages})) or "none"
        raise NotFound(
            f"No storage that this token may see is called {storage}. There are: {names}."
        )
    return every.model_copy(update={"storages": rows, "total": len(rows)})
