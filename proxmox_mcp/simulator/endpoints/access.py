"""Logging in with a password, and what one may do."""

from __future__ import annotations

from typing import Any

from proxmox_mcp.simulator.parameters import boolean, required, string
from proxmox_mcp.simulator.privileges import Rights
from proxmox_mcp.simulator.routing import Call, Table
from proxmox_mcp.simulator.tickets import csrf_token, login, new_ticket

CAPABILITIES = {
    "access": "/access",
    "dc": "/",
    "nodes": "/nodes",
    "sdn": "/sdn",
    "storage": "/storage",
    "vms": "/vms",
}

table = Table()


@table.add(
    "POST",
    "/access/ticket",
    parameters={
        "username": required(string(max_length=64)),
        "password": required(string()),
        "realm": string(format="pve-realm", max_length=32),
        "new-format": boolean(),
    },
)
def create_ticket(call: Call) -> dict[str, Any]:
    """Exchange a password, or a ticket that is still good, for a new ticket."""
    username = str(call.values["username"])
    if "@" not in username:
        username = f"{username}@{call.get('realm', 'pam')}"
    account = login(username, call.values["password"], call.center.now)
    rights = Rights(account, call.rights.roles)
    return {
        "username": account.userid,
        "ticket": new_ticket(account, call.center.now),
        "CSRFPreventionToken": csrf_token(account, int(call.center.now)),
        "clustername": call.center.name,
        "cap": {
            area: dict.fromkeys(sorted(rights.on(path)), 1) for area, path in CAPABILITIES.items()
        },
    }


@table.add("GET", "/access/permissions", parameters={"path": string()})
def permissions(call: Call) -> dict[str, dict[str, int]]:
    """The caller's own privileges by path."""
    return call.rights.listing(call.get("path"))
