"""The firewall of one guest: rules by position, which move, and options.

A new rule always becomes position 0, and is disabled unless one says otherwise. Only PUT and
DELETE look at a digest. The files belong to the cluster, so any node answers for any id.
"""

from __future__ import annotations

import ipaddress
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
from proxmox_mcp.simulator.routing import Call, Table, needs
from proxmox_mcp.simulator.state import NO_RULES, Firewall
from proxmox_mcp.simulator.wire import died, invalid

MODIFIED = "detected modified configuration - file changed by other user? Try again."
LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog")
ADDRESS = string(format="pve-fw-addr-spec", max_length=512)
ACTION = string(pattern=r"[A-Za-z][A-Za-z0-9\-\_]+", min_length=2, max_length=20)
DIGEST = (string(max_length=40, before=8.3), string(max_length=64, since=8.3))
MAY_SEE = needs("/vms/{vmid}", "VM.Audit")
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

table = Table()


def _firewall(call: Call) -> Firewall:
    guest = call.center.guests.get(call.vmid)
    return guest.firewall if guest else Firewall()


def _fields(call: Call) -> dict[str, Any]:
    return {key: value for key, value in call.values.items() if key not in CONTROL}


@table.both("GET", "/firewall/rules", MAY_SEE)
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


@table.both("GET", "/firewall/rules/{pos}", MAY_SEE)
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


def _check_rule(rule: dict[str, Any]) -> None:
    if rule.get("type") == "forward":
        raise invalid(type="forward rules are only possible at cluster, node and vnet level")
    if "proto" in rule or "macro" in rule:
        return
    for key in ("dport", "sport"):
        if key in rule:
            raise invalid(proto=f"missing property - '{key}' requires this property")


@table.both(
    "POST",
    "/firewall/rules",
    MAY_CHANGE,
    {**RULE, "type": tuple(required(each) for each in TYPES), "action": required(ACTION)},
)
def add(call: Call) -> None:
    """Add a rule at the top, whatever `pos` says; without `enable` it does nothing."""
    fields = _fields(call)
    _check_rule(fields)
    _firewall(call).rules.insert(0, {"enable": 0, **fields})


@table.both(
    "PUT",
    "/firewall/rules/{pos}",
    MAY_CHANGE,
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
    _check_rule(changed)
    firewall.rules[position] = changed


@table.both("DELETE", "/firewall/rules/{pos}", MAY_CHANGE, {"digest": DIGEST})
def remove(call: Call) -> None:
    """Remove whatever rule is at that position now."""
    firewall = _firewall(call)
    _check_digest(call, firewall)
    del firewall.rules[_position(call, firewall)]


@table.both("GET", "/firewall/options", MAY_SEE)
def options(call: Call) -> dict[str, Any]:
    """The options that are set, and the digest."""
    firewall = _firewall(call)
    return firewall.options | {"digest": firewall.digest}


@table.add("GET", "/cluster/firewall/options", needs("/", "Sys.Audit"))
def cluster_options(_call: Call) -> dict[str, Any]:
    """The options of the whole cluster: nothing is set, so no firewall works yet."""
    return {"digest": NO_RULES}


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
