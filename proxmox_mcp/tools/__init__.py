"""What an assistant can do: the table of contents, in the order in which one would learn it."""

from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.tools import agent, cluster, guests, nodes, storage, tasks

TOOLSETS = (
    cluster.toolset,  # is it healthy
    nodes.toolset,  # what it runs on
    guests.toolset,  # virtual machines and containers
    agent.toolset,  # inside a virtual machine
    storage.toolset,  # where the data lies
    tasks.toolset,  # what is being done, and how it ended
)

TOOLS: tuple[ToolSpec, ...] = tuple(tool for toolset in TOOLSETS for tool in toolset.tools)
