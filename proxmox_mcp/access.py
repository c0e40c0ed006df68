"""The way to the cluster that the settings describe; sends nothing.

It knows nothing of MCP: what only looks at a cluster, such as ``proxmox-mcp check``, starts without
importing it, which takes more than a second.
"""

from typing import TYPE_CHECKING

from proxmox_mcp.config import Settings
from proxmox_mcp.pve.bridge import Bridge
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.guard import Cluster
from proxmox_mcp.tools import TOOLS

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter


def cluster_of(settings: Settings, adapter: "BaseAdapter | None" = None) -> Cluster:
    """Return the cluster that the settings lead to; sends nothing."""
    connection = settings.connection
    if settings.demo:
        # Only here does anything know of the simulated cluster; unused, it costs nothing.
        from proxmox_mcp import simulator  # noqa: PLC0415

        connection = Connection(**simulator.CREDENTIALS)
        simulated = simulator.Cluster(speed=settings.demo_speed)
        adapter = adapter or simulator.SimulatorAdapter(simulated)
    if connection is None:
        raise ValueError("settings without a connection are for the demo only")
    bridge = Bridge(
        connection,
        max_parallel=settings.limits.max_parallel,
        adapter=adapter,
        gate=settings.policy.gate(TOOLS),
    )
    return Cluster(bridge, settings.limits, rules=settings.policy.rules)
