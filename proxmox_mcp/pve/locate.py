"""Where a guest lives: its id, or a name that exactly one guest bears, to node and kind.

A caller names the guest once and need not know the rest. Node and kind that are given all the same
must be right; they are checked, never silently corrected, since a caller who is wrong about where a
guest lives may be wrong about which guest it is.

``/cluster/resources`` answers for the whole cluster in one request. What it says about a guest's
state lags some ten seconds (pvestatd), so only place, kind and name are taken from it; the place
comes from the cluster's file system and does not lag.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from proxmox_mcp.pve.errors import KIND_WORDS, BadAnswer, NotFound, Refused
from proxmox_mcp.pve.fields import Kind, NodeName, Vmid
from proxmox_mcp.pve.guard import Pve

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


async def locate(
    pve: Pve,
    vmid: int | None = None,
    *,
    name: str | None = None,
    node: str | None = None,
    kind: Kind | None = None,
) -> Guest:
    """Find a guest by id or by name.

    Args:
        pve: The call's way to the cluster.
        vmid: The guest's id.
        name: Its name, instead of the id.
        node: Where the caller believes it to be; checked.
        kind: What the caller believes it to be; checked.

    Raises:
        Refused: Neither or both of id and name, several guests of this name, or node or kind wrong.
        NotFound: No guest that this token may see has this id or name; the message lists some.
    """
    if (vmid is None) == (name is None):
        raise Refused("Name the guest by vmid or by name, one of the two. Nothing was sent.")
    rows = await _guests(pve, max_age=MEMORY_SECONDS)
    found = _matching(rows, vmid, name)
    if not found and pve.remembered:
        pve.forget()
        rows = await _guests(pve, max_age=MEMORY_SECONDS)
        found = _matching(rows, vmid, name)
    if not found:
        raise NotFound(_missing(rows, vmid, name))
    if len(found) > 1:
        listed = "; ".join(map(_line, found))
        raise Refused(f"{len(found)} guests are called {name}: {listed}. Pass the vmid instead.")
    guest = _guest(pve, found[0])
    pve.notes["guest"] = str(guest.vmid)
    _check(guest, node, kind)
    return guest


async def _guests(pve: Pve, max_age: float) -> list[dict[str, Any]]:
    return await pve.rows(pve.cluster_api.resources.get, max_age=max_age, type="vm")


def _matching(
    rows: list[dict[str, Any]], vmid: int | None, name: str | None
) -> list[dict[str, Any]]:
    if vmid is not None:
        return [row for row in rows if row.get("vmid") == vmid]
    return [row for row in rows if str(row.get("name", "")).lower() == (name or "").lower()]


def _guest(pve: Pve, row: dict[str, Any]) -> Guest:
    try:
        place = Guest(
            vmid=row["vmid"],
            kind=row["type"],
            node=row["node"],
            name=str(row.get("name") or "unnamed"),
            api=None,
        )
    except (KeyError, ValidationError) as exc:
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


def _missing(rows: list[dict[str, Any]], vmid: int | None, name: str | None) -> str:
    asked = f"id {vmid}" if vmid is not None else f"the name {name}"
    if not rows:
        return (
            f"No guest has {asked}: this token sees no guest at all. It may lack VM.Audit on /vms;"
            " with privilege separation a token needs permissions of its own."
        )
    near = sorted(rows, key=lambda row: _distance(row, vmid, name))[:CANDIDATES]
    listed = "; ".join(map(_line, near))
    return (
        f"No guest that this token may see has {asked}. Nearest of {len(rows)}: {listed}."
        " proxmox_get_vms lists all of them."
    )


def _distance(row: dict[str, Any], vmid: int | None, name: str | None) -> tuple[float, int]:
    own = row["vmid"] if isinstance(row.get("vmid"), int) else 0
    if vmid is not None:
        return abs(own - vmid), own
    sought, other = (name or "").lower(), str(row.get("name", "")).lower()
    shared = len(set(sought) & set(other)) / max(1, len(set(sought) | set(other)))
    return (0 if sought in other or other.startswith(sought[:3]) else 1) - shared, own


def _line(row: dict[str, Any]) -> str:
    kind = KIND_WORDS.get(row.get("type", ""), "guest")
    return f"{row.get('vmid')} {row.get('name', '')} ({kind} on {row.get('node')})"
