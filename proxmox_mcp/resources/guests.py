"""Virtual machines and containers, to be looked at; each by its id or its name."""

from proxmox_mcp.pve.fields import GuestRef
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.resources.declare import resource
from proxmox_mcp.tools.guests import GuestStatus, proxmox_get_vm_status
from proxmox_mcp.tools.resources import GuestConfig, proxmox_vm_config_get
from proxmox_mcp.tools.snapshots import Snapshots, proxmox_snapshot_list


@resource("proxmox://guests/{vmid}", "Guest", proxmox_get_vm_status)
async def guest(pve: Pve, *, vmid: GuestRef) -> GuestStatus:
    """A guest's live state and its use of CPU, memory, disk and network."""
    return await proxmox_get_vm_status(pve, vmid=vmid)


@resource("proxmox://guests/{vmid}/config", "Guest configuration", proxmox_vm_config_get)
async def guest_config(pve: Pve, *, vmid: GuestRef) -> GuestConfig:
    """A guest's whole configuration, grouped, and which changes wait for a restart."""
    return await proxmox_vm_config_get(pve, vmid=vmid)


@resource("proxmox://guests/{vmid}/snapshots", "Guest snapshots", proxmox_snapshot_list)
async def guest_snapshots(pve: Pve, *, vmid: GuestRef) -> Snapshots:
    """A guest's snapshots as a tree, with the one marked on which its present state builds."""
    return await proxmox_snapshot_list(pve, vmid=vmid)
