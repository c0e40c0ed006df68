"""What can be looked at under a URI: the table of contents, from the whole to its parts."""

from proxmox_mcp.resources import cluster, guests, tasks
from proxmox_mcp.resources.declare import ResourceSpec

RESOURCES: tuple[ResourceSpec, ...] = (
    cluster.cluster,  # the one that is listed; all others are templates
    cluster.node,
    guests.guest,
    guests.guest_config,
    guests.guest_snapshots,
    cluster.storage,
    tasks.task,
    tasks.task_log,
)
