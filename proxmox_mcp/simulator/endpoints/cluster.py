"""The cluster as a whole: version, resources, status, tasks, the next free id."""

from __future__ import annotations

from typing import Any

from proxmox_mcp.simulator import figures
from proxmox_mcp.simulator.datacenter import BROADCAST, Datacenter
from proxmox_mcp.simulator.parameters import choice
from proxmox_mcp.simulator.routing import ANY_VMID, Call, Table, needs
from proxmox_mcp.simulator.state import Guest, Node, Storage
from proxmox_mcp.simulator.wire import invalid

RECENT = 25  # so many tasks of each node are known to all

table = Table()


@table.add("GET", "/version")
def version(call: Call) -> dict[str, Any]:
    """The version, which anybody with credentials may see."""
    return call.center.version_answer()


@table.add(
    "GET",
    "/cluster/resources",
    parameters={"type": choice("vm", "storage", "node", "sdn")},
)
def resources(call: Call) -> list[dict[str, Any]]:
    """Guests, nodes and storages, with figures that are up to ten seconds old."""
    center = call.center
    _refresh(center)
    wanted = call.get("type")
    found: list[dict[str, Any]] = []
    if wanted in {None, "vm"}:
        found += [_guest(call, g) for g in center.guests.values() if _sees(call, g)]
    if wanted in {None, "node"}:
        found += [_node(call, node) for node in center.nodes.values()]
    if wanted in {None, "storage"}:
        for storage in center.storages.values():
            if call.rights.has(f"/storage/{storage.name}", "Datastore.Audit"):
                found += [_storage(storage, node) for node in center.nodes.values()]
    if wanted in {None, "sdn"} and call.rights.has("/sdn/zones/localnetwork", "SDN.Audit"):
        found += [_zone(center, node) for node in center.nodes.values()]
    return found


def _zone(center: Datacenter, node: Node) -> dict[str, Any]:
    # Every node has this one zone, and a client that asks for all must pass over it.
    shown = {"node": node.name, "status": "ok"}
    if not center.since(9.15):
        path = f"sdn/{node.name}/localnetwork"
        return shown | {"id": path, "type": "sdn", "sdn": "localnetwork"}
    path = f"network/{node.name}/zone/localnetwork"
    kind = {"type": "network", "network-type": "zone", "network": "localnetwork"}
    return shown | {"id": path} | kind


def _sees(call: Call, guest: Guest) -> bool:
    return call.rights.has(f"/vms/{guest.vmid}", "VM.Audit")


def _refresh(center: Datacenter) -> None:
    # pvestatd's rounds are a grid in time; what it told last stands until the next one.
    turn = int(center.now * center.tasks.speed // BROADCAST)
    if turn == center.broadcast_turn:
        return
    center.broadcast_turn = turn
    center.broadcast = {
        guest.vmid: figures.broadcast(center, guest) for guest in center.guests.values()
    }


def _guest(call: Call, guest: Guest) -> dict[str, Any]:
    center = call.center
    shown: dict[str, Any] = {
        "id": f"{guest.kind}/{guest.vmid}",
        "type": guest.kind,
        "vmid": guest.vmid,
        "node": guest.node,
        "status": "unknown",
    }
    if center.nodes[guest.node].online:
        shown |= center.broadcast.get(guest.vmid, {})
        shown |= {key: guest.config[key] for key in ("lock", "tags") if key in guest.config}
    if guest.pool and call.rights.has(f"/pool/{guest.pool}", "Pool.Audit"):
        shown["pool"] = guest.pool
    if guest.ha_state:
        shown["hastate"] = guest.ha_state
    return shown


def _node(call: Call, node: Node) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": f"node/{node.name}", "type": "node", "node": node.name}
    if not node.online:
        return shown | {"status": "offline"}
    shown |= {"status": "online", "level": "", "cgroup-mode": 2}
    if call.rights.has(f"/nodes/{node.name}", "Sys.Audit"):
        shown |= figures.node_figures(call.center, node)
    return shown


def _storage(storage: Storage, node: Node) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": f"storage/{node.name}/{storage.name}",
        "type": "storage",
        "storage": storage.name,
        "node": node.name,
        "plugintype": storage.type,
        "content": ",".join(storage.content),
        "shared": int(storage.shared),
        "status": "unknown",
    }
    if not node.online:
        return shown
    used = storage.used(node.name)
    return shown | {"status": "available", "disk": used, "maxdisk": storage.total}


@table.add("GET", "/cluster/status", needs("/", "Sys.Audit"))
def status(call: Call) -> list[dict[str, Any]]:
    """The cluster and its members as corosync sees them."""
    nodes = call.center.nodes.values()
    online = sum(node.online for node in nodes)
    summary = {
        "id": "cluster",
        "type": "cluster",
        "name": call.center.name,
        "nodes": len(nodes),
        "quorate": int(2 * online > len(nodes)),
        "version": len(nodes),
    }
    return [summary, *(_member(call, node) for node in nodes)]


def _member(call: Call, node: Node) -> dict[str, Any]:
    shown = {
        "id": f"node/{node.name}",
        "type": "node",
        "name": node.name,
        "nodeid": node.nodeid,
        "level": "",
        "local": int(node.name == call.center.local),
        "online": int(node.online),
    }
    return shown | ({"ip": node.ip} if node.online else {})


@table.add("GET", "/cluster/tasks")
def tasks(call: Call) -> list[dict[str, Any]]:
    """The latest tasks of every node: all for auditors; a token never sees its own here."""
    account = call.rights.account
    auditor = call.rights.has("/", "Sys.Audit")
    found = []
    for node in call.center.nodes:
        for task in call.center.tasks.newest(node=node)[:RECENT]:
            if not (auditor or (task.user == account.full and not account.token)):
                continue
            shown = {k: v for k, v in task.identity().items() if k not in {"pid", "pstart"}}
            if task.end is not None:
                shown |= {"endtime": task.end, "status": task.status, "saved": "1"}
            found.append(shown)
    return sorted(found, key=lambda shown: -int(str(shown["starttime"])))


@table.add(
    "GET",
    "/cluster/nextid",
    parameters={"vmid": ANY_VMID},
)
def next_id(call: Call) -> str:
    """A free id, as a string; it is not reserved."""
    wanted = call.get("vmid")
    if wanted in call.center.guests:
        raise invalid(vmid=f"VM {wanted} already exists")
    return str(wanted or call.center.free_vmid())
