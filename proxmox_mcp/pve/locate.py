"""Where a guest lives: its id, or a name that exactly one guest bears, to node and kind.

A caller names the guest once and need not know the rest. Node and kind that are given all the same
must be right; they are checked, never silently corrected, since a caller who is wrong about where a
guest lives may be wrong about which guest it is.

``/cluster/resources`` answers for the whole cluster in one request. What it says about a guest's
state lags some ten seconds (pvestatd), so only place, kind and name are taken from it; the place
comes from the cluster's file system and does not lag.
"""

import difflib
import functools
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from proxmox_mcp.pve.answers import Listing
from proxmox_mcp.pve.errors import (
    KIND_WORDS,
    BadAnswer,
    NotFound,
    ProxmoxError,
    Refused,
    Unreachable,
)
from proxmox_mcp.pve.fields import NAME_LENGTH, Kind, NodeName, Vmid
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.oversight import plain

MEMORY_SECONDS = 5
CANDIDATES = 8


class Guest(BaseModel):
    """A guest and the root of its API path; its parts have passed the types of an identifier."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    vmid: Vmid
    kind: Kind
    node: NodeName
    name: str
    api: Any

    def __str__(self) -> str:
        return f"{KIND_WORDS[self.kind]} {self.vmid} ({self.name}) on {self.node}"

    @property
    def plainly(self) -> str:
        """The same with its name as one plain word, for a question to a person."""
        return f"{KIND_WORDS[self.kind]} {self.vmid} ({plain(self.name)}) on {self.node}"


async def locate(
    pve: Pve, ref: int | str, *, node: str | None = None, kind: Kind | None = None
) -> Guest:
    """Find a guest by id or by name.

    Args:
        pve: The call's way to the cluster.
        ref: The guest's id, or its name where exactly one guest bears it.
        node: Where the caller believes it to be; checked.
        kind: What the caller believes it to be; checked.

    Raises:
        Refused: Several guests of this name, or node or kind wrong.
        NotFound: No guest that this token may see has this id or name; the message lists some.
        Refused: The call is to change something, and this guest may only be read.
    """
    rows = await _guests(pve, max_age=MEMORY_SECONDS)
    found = _found(rows, ref)
    if not found and pve.remembered:
        pve.forget()
        rows = await _guests(pve, max_age=MEMORY_SECONDS)
        found = _found(rows, ref)
    if not found and isinstance(ref, str):
        found = _matching(await _named(pve, rows), ref)
    if not found:
        said = await pve.aside(functools.partial(_missing, rows, ref))
        limits = pve.bounds.rules.allow
        raise NotFound(f"{said} Only what fits allow is shown here." if limits else said)
    if len(found) > 1:
        listed = "; ".join(map(_line, found))
        raise Refused(f"{len(found)} guests are called {ref}: {listed}. Pass the vmid instead.")
    guest = _guest(pve, found[0])
    pve.notes["guest"] = str(guest.vmid)
    pve.about = {"vmid": guest.vmid, "name": guest.name, "kind": guest.kind, "node": guest.node}
    _check(guest, node, kind)
    if pve.changing:
        await pve.bounds.guest(guest.vmid)
    return guest


async def find(pve: Pve, vmid: int) -> Guest | None:
    """Return the guest that has this id now, or None where it is free, as far as can be seen."""
    found = _matching(await _guests(pve, max_age=0), vmid)
    return _guest(pve, found[0]) if found else None


async def vmid_of(pve: Pve, ref: int | str | None) -> int | None:
    """Return the id that a filter names; a name is looked up, an id may be of a guest long gone."""
    return (await locate(pve, ref)).vmid if isinstance(ref, str) else ref


async def must_be_online(pve: Pve, node: str) -> None:
    """Make sure that a node exists and is up; Proxmox itself would accept and then fail.

    Raises:
        NotFound: There is no such node.
        Unreachable: It is down.
    """
    states = {row["node"]: row.get("status") for row in await pve.rows(pve.nodes.get)}
    online = ", ".join(sorted(name for name, state in states.items() if state == "online"))
    if node not in states:
        raise NotFound(f"There is no node {node}. Online: {online}. Nothing was changed.")
    if states[node] != "online":
        raise Unreachable(
            f"Node {node} is {states[node]}. Online: {online}. Nothing was changed.",
            transient=False,
        )


async def _guests(pve: Pve, max_age: float) -> list[dict[str, Any]]:
    return await pve.rows(pve.cluster_api.resources.get, max_age=max_age, type="vm")


async def _named(pve: Pve, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ask the guests listed without a name, as one is for ten seconds after it was made."""
    named = []
    for row in [row for row in rows if not row.get("name")][:CANDIDATES]:
        try:
            now = await pve.record(_guest(pve, row).api.status.current.get)
        except ProxmoxError:
            continue  # on a node that is down every guest is without a name
        named.append(row | {"name": now.get("name")})
    return named


def _found(rows: list[dict[str, Any]], ref: int | str) -> list[dict[str, Any]]:
    """Find a guest in a list that is kept for seconds, or in what the rules leave of it."""
    index = rows.by_key if isinstance(rows, Listing) else None
    if index is None:
        return _matching(rows, ref)
    return index.get(ref if isinstance(ref, int) else ref.lower(), [])


def _matching(rows: list[dict[str, Any]], ref: int | str) -> list[dict[str, Any]]:
    if isinstance(ref, int):
        return [row for row in rows if row.get("vmid") == ref]
    return [row for row in rows if str(row.get("name", "")).lower() == ref.lower()]


def _guest(pve: Pve, row: dict[str, Any]) -> Guest:
    try:
        place = Guest(
            vmid=row["vmid"],
            kind=row["type"],
            node=row["node"],
            name=str(row.get("name") or "unnamed"),
            api=None,
        )
    except (BadAnswer, ValidationError) as exc:
        raise BadAnswer("The cluster's list of guests holds an entry that cannot be one.") from exc
    api = pve.nodes(place.node)(place.kind)(place.vmid)
    return place.model_copy(update={"api": api})


def _check(guest: Guest, node: str | None, kind: Kind | None) -> None:
    wrong = [
        f'{what}="{given}"'
        for what, given, true in (("node", node, guest.node), ("type", kind, guest.kind))
        if given is not None and given != true
    ]
    if wrong:
        raise Refused(
            f"{guest} is not at {' and '.join(wrong)}. Leave node and type out, or pass"
            f' node="{guest.node}" and type="{guest.kind}". Nothing was done.'
        )


def _missing(rows: list[dict[str, Any]], ref: int | str) -> str:
    asked = f"the id {ref}" if isinstance(ref, int) else f"the name {ref}"
    if not rows:
        return (
            f"No guest has {asked}: this token sees no guest at all. It may lack VM.Audit on /vms;"
            " with privilege separation a token needs permissions of its own."
        )
    near = sorted(rows, key=lambda row: _distance(row, ref))[:CANDIDATES]
    listed = "; ".join(map(_line, near))
    return (
        f"No guest that this token may see has {asked}. Nearest of {len(rows)}: {listed}."
        " proxmox_get_vms lists all of them."
    )


def _distance(row: dict[str, Any], ref: int | str) -> tuple[float, int]:
    own = row["vmid"] if isinstance(row.get("vmid"), int) else 0
    if isinstance(ref, int):
        return abs(own - ref), own
    sought, name = ref.lower(), str(row.get("name", "")).lower()[:NAME_LENGTH]
    likeness = difflib.SequenceMatcher(None, sought, name).ratio()
    return -likeness - (sought in name), own


def _line(row: dict[str, Any]) -> str:
    kind = KIND_WORDS.get(row.get("type", ""), "guest")
    return f"{row.get('vmid')} {row.get('name', '')} ({kind} on {row.get('node')})"
