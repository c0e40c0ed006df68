"""What an assistant can do: the table of contents, in the order in which one would learn it."""

from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.tools import (
    agent,
    backups,
    cloning,
    cluster,
    firewall,
    guests,
    lifecycle,
    migration,
    nodes,
    resources,
    snapshots,
    storage,
    tasks,
)

TOOLSETS = (
    cluster.toolset,  # is it healthy
    nodes.toolset,  # what it runs on
    guests.toolset,  # virtual machines and containers
    lifecycle.toolset,  # switched on and off
    agent.toolset,  # inside a virtual machine
    resources.toolset,  # what they have: configuration and disks
    snapshots.toolset,  # points to go back to
    cloning.toolset,  # copies and templates
    migration.toolset,  # moved to other nodes
    firewall.toolset,  # what may reach them
    storage.toolset,  # where the data lies
    backups.toolset,  # what can be restored
    tasks.toolset,  # what is being done, and how it ended
)

TOOLS: tuple[ToolSpec, ...] = tuple(tool for toolset in TOOLSETS for tool in toolset.tools)
