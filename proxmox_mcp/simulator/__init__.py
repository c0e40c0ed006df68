"""A simulated Proxmox VE cluster, as strict and as odd as the real one where it matters.

For demonstrations without a server and for tests without a mock. It imports nothing from the
rest of the package, and nothing in it touches a real machine.
"""

from proxmox_mcp.simulator.adapter import SimulatorAdapter
from proxmox_mcp.simulator.cluster import CREDENTIALS, PASSWORD, TOKENS, Cluster
from proxmox_mcp.simulator.loopback import LoopbackServer
from proxmox_mcp.simulator.wire import Answer, Request

__all__ = [
    "CREDENTIALS",
    "PASSWORD",
    "TOKENS",
    "Answer",
    "Cluster",
    "LoopbackServer",
    "Request",
    "SimulatorAdapter",
]
