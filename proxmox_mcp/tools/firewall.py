"""Firewall rules: of a guest, of a node, of the cluster."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from proxmox_mcp.pve import trace
from proxmox_mcp.pve.bridge import Verb, target
from proxmox_mcp.pve.errors import NotAllowed, NotFound, ProxmoxError, Refused
from proxmox_mcp.pve.fields import AtNode, GuestRef, NodeName, OfKind
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.locate import locate
from proxmox_mcp.pve.oversight import Loss, Sent, plain
from proxmox_mcp.toolkit.declare import GUEST, Toolset
from proxmox_mcp.toolkit.outcome import Outcome
from proxmox_mcp.toolkit.results import Result, Row
from proxmox_mcp.toolkit.text import Line

toolset = Toolset("firewall", search="firewall rule port open close allow block network")

Scope = Annotated[
    Literal["guest", "node", "cluster"], Field(description="Whose rules; guest needs vmid.")
]
ForGuest = Annotated[GuestRef | None, Field(description="Guest id or name.")]

AUDIT = (
    "VM.Audit on /vms/{vmid}",
    "Sys.Audit on /nodes/{node} for scope=node",
    "Sys.Audit on / for scope=cluster, and to see whether the firewall is on at all",
)
EDIT = (
    *AUDIT,
    "VM.Config.Network on /vms/{vmid}",
    "Sys.Modify on /nodes/{node} for scope=node",
    "Sys.Modify on / for scope=cluster",
)
PLACES = (GUEST, "/nodes/{node}", "/cluster")


class Wall(BaseModel):
    """One firewall: whose it is, and the root of its API path."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    about: str
    plainly: str
    name: str
    scope: str
    api: Any
    config: Any = None


async def _wall(
    pve: Pve, scope: str, vmid: int | str | None, node: NodeName | None, kind: OfKind
) -> Wall:
    """Find the firewall that is meant.

    Raises:
        Refused: Scope, vmid and node do not go together.
    """
    if (vmid is None) == (scope == "guest"):
        raise Refused("scope=guest needs vmid, and the other scopes have none. Nothing was sent.")
    if vmid is not None:
        guest = await locate(pve, vmid, node=node, kind=kind)
        return Wall(
            about=str(guest),
            plainly=guest.plainly,
            name=plain(guest.name),
            scope=scope,
            api=guest.api.firewall,
            config=guest.api.config,
        )
    if (node is None) == (scope == "node"):
        raise Refused("scope=node needs node, and scope=cluster has none. Nothing was sent.")
    if node is not None:
        about, name, api = f"Node {node}", node, pve.nodes(node).firewall
    else:
        about, name, api = "The cluster", "cluster", pve.cluster_api.firewall
    return Wall(about=about, plainly=about, name=name, scope=scope, api=api)


async def _idle(pve: Pve, wall: Wall) -> list[str]:
    """Say what keeps this firewall's rules from doing anything: up to three kinds of switches.

    A switch that this token may not see is said to be unknown, not taken for on.
    """
    why = []
    try:
        if not (await pve.record(pve.cluster_api.firewall.options.get)).get("enable"):
            why.append("the cluster's firewall is off (Datacenter > Firewall > Options)")
    except NotAllowed:
        why.append("whether the cluster's firewall is on is unknown: that takes Sys.Audit on /")
    except ProxmoxError as error:
        why.append(f"whether the cluster's firewall is on is unknown: {error}")
    if wall.scope == "node" and not (await pve.record(wall.api.options.get)).get("enable", 1):
        why.append("the node's own firewall is off (option enable)")
    if wall.scope == "guest":
        if not (await pve.record(wall.api.options.get)).get("enable"):
            why.append("the guest's own firewall is off (option enable)")
        config = await pve.record(wall.config.get)
        cards = {
            key: str(value)
            for key, value in config.items()
            if key[:3] == "net" and key[3:].isdecimal()
        }
        off = sorted(key for key, value in cards.items() if "firewall=1" not in value.split(","))
        why += [f"{key} is not under the firewall (firewall=1)" for key in off]
    return why


class RuleRow(Row):
    """One rule; the first that fits decides."""

    pos: int
    type: Line
    action: Line
    enabled: bool
    macro: Line | None = None
    proto: Line | None = None
    source: Line | None = None
    sport: Line | None = None
    dest: Line | None = None
    dport: Line | None = None
    iface: Line | None = None
    log: Line | None = None
    comment: Line | None = None


class Rules(Result):
    """A firewall's rules in their order."""

    whose: Line
    rules: list[RuleRow]
    digest: Line | None = Field(None, description="Pass to a change, to act on these very rules.")
    no_effect_because: list[Line] | None = Field(
        None, description="What keeps rules from taking effect: all of them, or on one card."
    )


def _row(row: dict[str, Any]) -> RuleRow:
    same = ("macro", "proto", "source", "sport", "dest", "dport", "iface", "log", "comment")
    return RuleRow(
        pos=int(row["pos"]),
        type=row["type"],
        action=row["action"],
        enabled=bool(row.get("enable")),
        **{key: row[key] for key in same if row.get(key) not in (None, "")},
    )


@toolset.reads("List firewall rules", *AUDIT)
async def proxmox_firewall_rules_list(
    pve: Pve,
    *,
    vmid: ForGuest = None,
    scope: Scope = "guest",
    node: AtNode = None,
    type: OfKind = None,
) -> Rules:
    """List firewall rules in their order, and say whether they take effect at all."""
    wall = await _wall(pve, scope, vmid, node, type)
    rows = await pve.rows(wall.api.rules.get)
    return Rules(
        whose=wall.about,
        rules=[_row(row) for row in sorted(rows, key=lambda row: int(row["pos"]))],
        digest=next((row["digest"] for row in rows if row.get("digest")), None),
        no_effect_because=await _idle(pve, wall) or None,
    )


class RuleOutcome(Outcome):
    """How a change of rules ended."""

    pos: int | None = Field(None, description="The rule's position now, or the one it had.")
    rule: RuleRow | None = None
    no_effect_because: list[Line] | None = None


Ports = Annotated[
    str | None,
    Field(pattern=r"^[A-Za-z0-9,:_-]+$", max_length=200, description="E.g. 22, 80,443, 8000:8010."),
]
Addresses = Annotated[
    str | None, Field(max_length=512, description="Addresses, networks, +ipset or alias.")
]


@toolset.changes(
    "Create firewall rule",
    *EDIT,
    sends=[
        f"{verb} {place}/firewall/rules{below}"
        for place in PLACES
        for verb, below in (("POST", ""), ("PUT", "/0"))
    ],
)
async def proxmox_firewall_rule_create(
    pve: Pve,
    *,
    action: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z][A-Za-z0-9_-]{1,19}$",
            description="ACCEPT, DROP, REJECT, or a group.",
        ),
    ],
    rule_type: Annotated[
        Literal["in", "out", "forward", "group"],
        Field(description="Direction; forward: not guests."),
    ],
    vmid: ForGuest = None,
    scope: Scope = "guest",
    enable: Annotated[bool, Field(description="Whether it counts at once.")] = True,
    pos: Annotated[int | None, Field(ge=0, description="Where; left out: first.")] = None,
    proto: Annotated[str | None, Field(max_length=40, description="E.g. tcp, udp, icmp.")] = None,
    macro: Annotated[str | None, Field(max_length=128, description="E.g. SSH, HTTPS.")] = None,
    source: Addresses = None,
    dest: Addresses = None,
    sport: Ports = None,
    dport: Ports = None,
    iface: Annotated[str | None, Field(max_length=20, description="E.g. net0.")] = None,
    log: Annotated[str | None, Field(max_length=10, description="Log level, e.g. info.")] = None,
    comment: Annotated[str | None, Field(max_length=500, description="What for.")] = None,
    node: AtNode = None,
    type: OfKind = None,
) -> RuleOutcome:
    """Create a firewall rule and tell its position, and whether it takes effect at all."""
    if (dport or sport) and not (proto or macro):
        raise Refused(
            'Ports need a protocol: pass proto, e.g. "tcp", or a macro. Nothing was sent.'
        )
    if rule_type == "forward" and scope == "guest":
        raise Refused("forward is for nodes and the cluster; a guest has in, out and group.")
    wall = await _wall(pve, scope, vmid, node, type)
    before = await pve.rows(wall.api.rules.get)
    if pos is not None and pos > len(before):
        raise Refused(f"pos can be 0 to {len(before)}: there are {len(before)} rules.")
    rule: dict[str, Any] = {"type": rule_type, "action": action, "enable": enable}
    rule |= {"proto": proto, "macro": macro, "source": source, "dest": dest, "sport": sport}
    rule |= {"dport": dport, "iface": iface, "log": log, "comment": comment}
    old = [_content(row) for row in before]
    pve.purpose = f"{wall.about}: rule created at position {pos or 0}"
    if pos:
        place = target(wall.api.rules("0").put)[1]
        pve.afterwards = [Sent("PUT", place, {"moveto": pos + 1})]
    await _change(pve, wall, wall.api.rules.post, old, lambda now: now[1:] == old, **rule)
    made = await _placed(pve, wall, pos or 0, before)
    return RuleOutcome(
        state="ok",
        done=f"{wall.about}: rule created at position {pos or 0}; those after it moved by one.",
        pos=pos or 0,
        rule=_row(made),
        no_effect_because=await _idle(pve, wall) or None,
    )


async def _change(
    pve: Pve,
    wall: Wall,
    verb: Verb,
    before: list[dict[str, Any]],
    is_it: Callable[[list[dict[str, Any]]], bool],
    **params: Any,
) -> None:
    """Change the rules; where the answer is lost, hold them against those of before."""

    async def has_happened() -> bool | None:
        now = [_content(row) for row in await pve.rows(wall.api.rules.get)]
        return False if now == before else (is_it(now) or None)

    await trace.or_look(pve, verb, has_happened, **params)


async def _placed(pve: Pve, wall: Wall, pos: int, before: list[dict[str, Any]]) -> dict[str, Any]:
    """Move the rule just made from the top, where Proxmox puts every new one, and return it.

    Raises:
        Refused: Somebody else changed the rules as well, so the top one may be theirs.
    """
    rows = await pve.rows(wall.api.rules.get)
    if [_content(row) for row in rows[1:]] != [_content(row) for row in before]:
        raise Refused(
            f"{wall.about}: the rule was created, and somebody else changed the rules meanwhile:"
            " list them to see where it is."
        )
    if not pos:
        return rows[0]
    # moveto counts before the rule is taken out, so one further down means behind the next one
    await pve.send(wall.api.rules("0").put, moveto=pos + 1, digest=rows[0].get("digest"))
    return (await pve.rows(wall.api.rules.get))[pos]


def _content(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("pos", "digest")}


@toolset.destroys(
    "Delete firewall rule",
    *EDIT,
    sends=[f"DELETE {place}/firewall/rules/{{pos}}" for place in PLACES],
)
async def proxmox_firewall_rule_delete(
    pve: Pve,
    *,
    pos: Annotated[int, Field(ge=0, description="Position, as just listed.")],
    digest: Annotated[
        str | None,
        Field(pattern=r"^[0-9a-f]{40,64}$", description="From the list: acts on those rules only."),
    ] = None,
    vmid: ForGuest = None,
    scope: Scope = "guest",
    node: AtNode = None,
    type: OfKind = None,
) -> RuleOutcome:
    """Delete the firewall rule at a position and tell which one it was.

    Positions move with every change: list first, and pass the list's digest.
    """
    wall = await _wall(pve, scope, vmid, node, type)
    rows = await pve.rows(wall.api.rules.get)
    found = next((row for row in rows if int(row["pos"]) == pos), None)
    if found is None:
        raise NotFound(f"{wall.about} has no rule at position {pos}; it has {len(rows)} rules.")
    sent = digest or found.get("digest")
    await pve.may_lose(_loss(wall, found))
    pve.purpose = f"{wall.about}: rule at position {pos} deleted"
    old, rest = ([_content(row) for row in rows if row is not without] for without in (None, found))
    verb = wall.api.rules(str(pos)).delete
    await _change(pve, wall, verb, old, lambda now: now == rest, digest=sent)
    return RuleOutcome(
        state="ok",
        done=f"{wall.about}: rule at position {pos} deleted; those after it moved up by one.",
        pos=pos,
        rule=_row(found),
    )


def _loss(wall: Wall, rule: dict[str, Any]) -> Loss:
    said = " ".join(
        f"{key}={plain(rule[key])}"
        for key in ("type", "action", "macro", "proto", "source", "sport", "dest", "dport", "iface")
        if rule.get(key) not in (None, "")
    )
    question = f"Delete rule {rule['pos']} of the firewall of {wall.plainly}?"
    return Loss(question, wall.name, (f"The rule: {said}.", "Those after it move up by one."))


class FirewallOptions(Result):
    """A firewall's options; Proxmox's defaults where nothing is set."""

    whose: Line
    options: dict[Line, Line] = Field(description="Only what is set.")
    defaults: dict[str, Line] = Field(description="What holds where nothing is set.")
    no_effect_because: list[Line] | None = None


DEFAULTS: dict[str, dict[str, str]] = {
    "guest": {"enable": "0", "policy_in": "DROP", "policy_out": "ACCEPT", "dhcp": "1"},
    "node": {"enable": "1"},
    "cluster": {"enable": "0", "policy_in": "DROP", "policy_out": "ACCEPT"},
}


@toolset.reads("Firewall options", *AUDIT)
async def proxmox_firewall_options(
    pve: Pve,
    *,
    vmid: ForGuest = None,
    scope: Scope = "guest",
    node: AtNode = None,
    type: OfKind = None,
) -> FirewallOptions:
    """Show a firewall's options, and whether its rules take effect at all."""
    wall = await _wall(pve, scope, vmid, node, type)
    options = await pve.record(wall.api.options.get)
    options.pop("digest", None)
    return FirewallOptions(
        whose=wall.about,
        options=options,
        defaults={key: v for key, v in DEFAULTS[scope].items() if key not in options},
        no_effect_because=await _idle(pve, wall) or None,
    )
