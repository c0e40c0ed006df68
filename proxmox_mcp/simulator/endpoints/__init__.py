"""Every endpoint the simulated cluster has, one module a domain.

To add one, write a decorated function in the module of its domain; a new module is named here.
"""

from proxmox_mcp.simulator.endpoints import (
    access,
    agent,
    backups,
    clones,
    cluster,
    configs,
    firewall,
    guests,
    lifecycle,
    migrations,
    nodes,
    resizes,
    restores,
    snapshots,
    storages,
    suspension,
    tasks,
    volumes,
)
from proxmox_mcp.simulator.routing import Endpoint

# In the order in which one would get to know a cluster.
MODULES = (
    cluster, nodes, access, tasks, guests, lifecycle, suspension, agent, configs, resizes,
    snapshots, storages, volumes, backups, restores, clones, migrations, firewall,
)  # fmt: skip
ENDPOINTS: tuple[Endpoint, ...] = tuple(
    endpoint for module in MODULES for endpoint in module.table.endpoints
)
