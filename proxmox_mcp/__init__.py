"""An MCP server for Proxmox VE, built on proxmoxer."""

__version__ = "0.1.0"
