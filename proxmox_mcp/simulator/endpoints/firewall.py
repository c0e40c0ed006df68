"""The firewalls of guests, of nodes and of the cluster: rules by position, which move, and options.

A new rule always becomes position 0, and is disabled unless one says otherwise. Only PUT and
DELETE look at a digest. The files belong to the cluster, so any node answers for any id.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from proxmox_mcp.simulator.parameters import (
    Declared,
    Parameter,
    boolean,
    choice,
    integer,
    required,
    string,
)
from proxmox_mcp.simulator.routing import LXC, QEMU, Call, Handler, Table, needs
from proxmox_mcp.simulator.state import Firewall
from proxmox_mcp.simulator.wire import died, invalid

MODIFIED = "detected modified configuration - file changed by other user? Try again."
LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog")
ADDRESS = string(format="pve-fw-addr-spec", max_length=512)
ACTION = string(pattern=r"[A-Za-z][A-Za-z0-9\-\_]+", min_length=2, max_length=20)
DIGEST = (string(max_length=40, before=8.3), string(max_length=64, since=8.3))
MAY_CHANGE = needs("/vms/{vmid}", "VM.Config.Network")
TYPES: tuple[Parameter, ...] = (
    choice("in", "out", "group", before=8.3),
    choice("in", "out", "forward", "group", since=8.3),
)
RULE: Declared = {
    "comment": (string(before=9.15), string(format="pve-fw-comment-spec", since=9.15)),
    "dest": ADDRESS,
    "digest": DIGEST,
    "dport": string(format="pve-fw-dport-spec"),
    "enable": integer(0),
    "icmp-type": string(format="pve-fw-icmp-type-spec"),
    "iface": string(format="pve-iface", min_length=2, max_length=20),
    "log": choice(*LEVELS),
    "macro": string(max_length=128),
    "pos": integer(0),
    "proto": string(format="pve-fw-protocol-spec"),
    "source": ADDRESS,
    "sport": string(format="pve-fw-sport-spec"),
}
CONTROL = frozenset({"node", "vmid", "pos", "digest", "delete", "moveto"})

# Whose firewalls there are: the path, where the right is needed, to see and to change.
OWNERS = (
    (QEMU, "/vms/{vmid}", "VM.Audit", "VM.Config.Network"),
    (LXC, "/vms/{vmid}", "VM.Audit", "VM.Config.Network"),
    ("/nodes/{node}", "/nodes/{node}", "Sys.Audit", "Sys.Modify"),
    ("/cluster", "/", "Sys.Audit", "Sys.Modify"),
)

table = Table()


def everywhere(
    method: str, below: str, parameters: Declared | None = None
) -> Callable[[Handler], Handler]:
    """Let a function answer for every firewall there is."""

    def register(handler: Handler) -> Handler:
        for base, path, see, modify in OWNERS:
            permission = needs(path, see if method == "GET" else modify)
            table.add(method, f"{base}/firewall{below}", permission, parameters)(handler)
        return handler

    return register


def _firewall(call: Call) -> Firewall:
    if call.kind:
        guest = call.center.guests.get(call.vmid)
        return guest.firewall if guest else Firewall()
    return call.center.nodes[call.node].firewall if "node" in call.values else call.center.firewall


def _fields(call: Call) -> dict[str, Any]:
    return {key: value for key, value in call.values.items() if key not in CONTROL}


@everywhere("GET", "/rules")
def rules(call: Call) -> list[dict[str, Any]]:
    """The rules in their order; an id that nobody has simply has none."""
    firewall = _firewall(call)
    return [_shown(firewall, position) for position in range(len(firewall.rules))]


def _shown(firewall: Firewall, position: int) -> dict[str, Any]:
    rule = firewall.rules[position]
    shown = rule | {"pos": position, "digest": firewall.digest}
    versions = {_ip_version(str(rule[key])) for key in ("source", "dest") if key in rule} - {None}
    return shown | ({"ipversion": versions.pop()} if versions else {})


def _ip_version(text: str) -> int | None:
    try:
        return ipaddress.ip_network(text.partition(",")[0], strict=False).version
    except ValueError:  # a name or a set
        return None


@everywhere("GET", "/rules/{pos}")
def rule(call: Call) -> dict[str, Any]:
    """One rule, whose position is a text here."""
    firewall = _firewall(call)
    position = _position(call, firewall)
    return _shown(firewall, position) | {"pos": str(position)}


def _position(call: Call, firewall: Firewall) -> int:
    position = int(call.values["pos"])
    if position >= len(firewall.rules):
        raise died(f"no rule at position {position}")
    return position


def _check_digest(call: Call, firewall: Firewall) -> None:
    if call.get("digest", firewall.digest) != firewall.digest:
        raise died(MODIFIED)


def _check_rule(call: Call, rule: dict[str, Any]) -> None:
    if call.kind and rule.get("type") == "forward":
        raise invalid(type="forward rules are only possible at cluster, node and vnet level")
    if "proto" in rule or "macro" in rule:
        return
    for key in ("dport", "sport"):
        if key in rule:
            raise invalid(proto=f"missing property - '{key}' requires this property")


@everywhere(
    "POST",
    "/rules",
    {**RULE, "type": tuple(required(each) for each in TYPES), "action": required(ACTION)},
)
def add(call: Call) -> None:
    """Add a rule at the top, whatever `pos` says; without `enable` it does nothing."""
    fields = _fields(call)
    _check_rule(call, fields)
    _firewall(call).rules.insert(0, {"enable": 0, **fields})


@everywhere(
    "PUT",
    "/rules/{pos}",
    {
        **RULE,
        "type": TYPES,
        "action": ACTION,
        "delete": string(format="pve-configid-list"),
        "moveto": integer(0),
    },
)
def change(call: Call) -> None:
    """Change a rule, or move it; all other arguments of a move are ignored."""
    firewall = _firewall(call)
    _check_digest(call, firewall)
    position = _position(call, firewall)
    if "moveto" in call.values:
        moved = firewall.rules.pop(position)
        target = call.values["moveto"]
        firewall.rules.insert(target if target <= position else target - 1, moved)
        return
    changed = firewall.rules[position] | _fields(call)
    for key in call.get("delete", "").replace(",", " ").split():
        changed.pop(key, None)
    _check_rule(call, changed)
    firewall.rules[position] = changed


@everywhere("DELETE", "/rules/{pos}", {"digest": DIGEST})
def remove(call: Call) -> None:
    """Remove whatever rule is at that position now."""
    firewall = _firewall(call)
    _check_digest(call, firewall)
    del firewall.rules[_position(call, firewall)]


@everywhere("GET", "/options")
def options(call: Call) -> dict[str, Any]:
    """The options that are set, and the digest."""
    firewall = _firewall(call)
    return firewall.options | {"digest": firewall.digest}


POLICY = choice("ACCEPT", "REJECT", "DROP")


@table.both(
    "PUT",
    "/firewall/options",
    MAY_CHANGE,
    {
        "delete": string(format="pve-configid-list"),
        "dhcp": boolean(),
        "digest": DIGEST,
        "enable": boolean(),
        "ipfilter": boolean(),
        "log_level_in": choice(*LEVELS),
        "log_level_out": choice(*LEVELS),
        "macfilter": boolean(),
        "ndp": boolean(),
        "policy_in": POLICY,
        "policy_out": POLICY,
        "radv": boolean(),
    },
)
def set_options(call: Call) -> None:
    """Set options, or delete them."""
    firewall = _firewall(call)
    _check_digest(call, firewall)
    firewall.options |= _fields(call)
    for key in call.get("delete", "").replace(",", " ").split():
        firewall.options.pop(key, None)
