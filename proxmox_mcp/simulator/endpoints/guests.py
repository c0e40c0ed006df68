"""Guests: the lists of a node and the present state of one."""

from __future__ import annotations

from typing import Any

from proxmox_mcp.simulator import figures
from proxmox_mcp.simulator.endpoints.snapshots import past_config
from proxmox_mcp.simulator.parameters import boolean, string
from proxmox_mcp.simulator.routing import Call, Table, needs
from proxmox_mcp.simulator.state import Guest
from proxmox_mcp.simulator.wire import died

AUDIT = needs("/vms/{vmid}", "VM.Audit")

table = Table()


def _visible(call: Call, kind: str) -> list[Guest]:
    guests = call.center.guests_on(call.node, kind)
    return [guest for guest in guests if call.rights.has(f"/vms/{guest.vmid}", "VM.Audit")]


@table.add("GET", "/nodes/{node}/qemu", parameters={"full": boolean()})
def machines(call: Call) -> list[dict[str, Any]]:
    """The VMs of a node that the caller may see."""
    found = []
    for guest in _visible(call, "qemu"):
        shown = figures.listed(call.center, guest)
        found.append(shown | (figures.monitored(call.center, guest) if call.get("full") else {}))
    return found


@table.add("GET", "/nodes/{node}/lxc")
def containers(call: Call) -> list[dict[str, Any]]:
    """The containers of a node that the caller may see."""
    return [figures.listed(call.center, guest) for guest in _visible(call, "lxc")]


@table.both("GET", "/status/current", AUDIT)
def current(call: Call) -> dict[str, Any]:
    """The state of a guest, as of now and not as of ten seconds ago."""
    return figures.current(call.center, call.guest())


@table.both(
    "GET",
    "/config",
    AUDIT,
    {"current": boolean(), "snapshot": string(format="pve-configid", max_length=40)},
)
def config(call: Call) -> dict[str, Any]:
    """The config with pending changes in it, or with `current` without them."""
    guest = call.guest()
    name = call.get("snapshot")
    if name is not None:
        if name not in guest.snapshots:
            raise died(f"snapshot '{name}' does not exist")
        return past_config(guest.snapshots[name]) | {"digest": guest.digest}
    shown = dict(guest.config)
    if not call.get("current"):
        for key, value in guest.pending.items():
            if value is None:
                shown.pop(key, None)
            else:
                shown[key] = value
    if "description" in shown:
        shown["description"] = _described(guest, shown["description"])
    if guest.parent:
        shown["parent"] = guest.parent
    return shown | {"digest": guest.digest}


def _described(guest: Guest, text: str) -> str:
    # A container's is a line of its file, with its end.
    return f"{text}\n" if guest.kind == "lxc" else text


@table.both("GET", "/pending", AUDIT)
def pending(call: Call) -> list[dict[str, Any]]:
    """Every key with its value, and what waits for the next start."""
    guest = call.guest()
    found = []
    for key in [*guest.config, *(key for key in guest.pending if key not in guest.config)]:
        shown: dict[str, Any] = {"key": key}
        if key in guest.config:
            value = guest.config[key]
            shown["value"] = _described(guest, value) if key == "description" else value
        if key in guest.pending:
            value = guest.pending[key]
            shown |= {"delete": 1} if value is None else {"pending": value}
        found.append(shown)
    return [*found, {"key": "digest", "value": guest.digest}]
