"""Points in a guest's life to which it can be rolled back."""

import re
from typing import Annotated, Any

from pydantic import Field

from proxmox_mcp.pve.condition import Condition, condition, unprotected
from proxmox_mcp.pve.errors import NotFound, Refused
from proxmox_mcp.pve.fields import AtNode, GuestRef, OfKind, SnapName, Wait
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.guestconfig import shown
from proxmox_mcp.pve.locate import Guest, locate
from proxmox_mcp.pve.oversight import Loss, plain
from proxmox_mcp.toolkit.declare import GUEST, Toolset
from proxmox_mcp.toolkit.outcome import Outcome, already, carry_out
from proxmox_mcp.toolkit.results import Result, Row
from proxmox_mcp.toolkit.text import Line, Text
from proxmox_mcp.toolkit.time import iso, taken

toolset = Toolset("snapshots", search="snapshot rollback restore point before upgrade undo")

SEE = "VM.Audit on /vms/{vmid}"
SNAPSHOT = (SEE, "VM.Snapshot on /vms/{vmid}")
NOW = "current"
"""Proxmox lists the present state under this name; it is no snapshot, and none may be called so."""

RESERVED = {"qemu": {"current", "pending"}, "lxc": {"current", "vzdump"}}

NOT_OF_THE_GUEST = re.compile(r"description|lock|unused\d+")
"""What a snapshot's configuration does not take over: description is then the snapshot's own."""

WITHOUT_RAM = (
    "Taken without memory: rolled back, it is as after a power cut. vmstate=true saves memory too."
)


async def _all(pve: Pve, guest: Guest) -> list[dict[str, Any]]:
    """Read a guest's snapshots and, named `current`, its present state."""
    return await pve.rows(guest.api.snapshot.get)


async def _must_exist(pve: Pve, guest: Guest, snapname: str) -> dict[str, Any]:
    rows = [row for row in await _all(pve, guest) if row["name"] != NOW]
    found = next((row for row in rows if row["name"] == snapname), None)
    if found is None:
        names = ", ".join(str(row["name"]) for row in rows) or "none"
        raise NotFound(f"{guest} has no snapshot {snapname}. It has: {names}. Nothing was changed.")
    return found


@toolset.changes("Create snapshot", *SNAPSHOT, sends=[f"POST {GUEST}/snapshot"])
async def proxmox_snapshot_create(
    pve: Pve,
    *,
    vmid: GuestRef,
    snapname: SnapName,
    description: Annotated[str | None, Field(max_length=8192, description="What for.")] = None,
    vmstate: Annotated[bool, Field(description="Save memory too (running VMs only).")] = False,
    node: AtNode = None,
    type: OfKind = None,
    wait: Wait = 30,
) -> Outcome:
    """Take a snapshot of a guest's disks and configuration, with vmstate also of its memory."""
    guest = await locate(pve, vmid, node=node, kind=type)
    if snapname.lower() in RESERVED[guest.kind]:
        raise Refused(f"Proxmox keeps the name {snapname} for itself: choose another.")
    if vmstate and guest.kind == "lxc":
        raise Refused(f"{guest} is a container, whose memory cannot be saved: leave vmstate out.")
    now = await condition(pve, guest)
    now.must_be_free()
    if any(row["name"] == snapname for row in await _all(pve, guest)):
        raise Refused(
            f"{guest} already has a snapshot {snapname}: choose another name, or delete that one"
            " with proxmox_snapshot_delete. Nothing was changed."
        )
    sent = {"snapname": snapname, "description": description, "vmstate": vmstate or None}
    verb = guest.api.snapshot.post
    outcome = await carry_out(pve, guest, f"snapshot {snapname} taken", verb, wait=wait, **sent)
    bare = now.state == "running" and not vmstate and guest.kind == "qemu"
    return outcome.model_copy(update={"notice": WITHOUT_RAM}) if bare else outcome


class SnapshotRow(Row):
    """One snapshot, in the order of the tree."""

    name: Line
    depth: int = Field(description="How many snapshots it builds on.")
    parent: Line | None = None
    current: bool | None = Field(None, description="The present state builds on this one.")
    created: str | None = None
    memory: bool | None = Field(None, description="Memory was saved too.")
    description: Text | None = None


class Snapshots(Result):
    """A guest's snapshots as a tree: each after the one it builds on."""

    guest: Line
    snapshots: list[SnapshotRow]


@toolset.reads("List snapshots", SEE)
async def proxmox_snapshot_list(
    pve: Pve, *, vmid: GuestRef, node: AtNode = None, type: OfKind = None
) -> Snapshots:
    """List a guest's snapshots as a tree, with the one marked on which its present state builds."""
    guest = await locate(pve, vmid, node=node, kind=type)
    rows = await _all(pve, guest)
    here = next((row.get("parent") for row in rows if row["name"] == NOW), None)
    shots = {str(row["name"]): row for row in rows if row["name"] != NOW}
    ordered = _in_tree_order(shots)
    return Snapshots(
        guest=str(guest),
        snapshots=[_row(shots[name], depth, current=name == here) for name, depth in ordered],
        notice=None if shots else f"{guest} has no snapshots.",
    )


def _in_tree_order(shots: dict[str, dict[str, Any]]) -> list[tuple[str, int]]:
    """Put each snapshot after the one it builds on, siblings by age.

    >>> _in_tree_order({"b": {"parent": "a", "snaptime": 2}, "a": {"snaptime": 1}})
    [('a', 0), ('b', 1)]
    """
    children: dict[str | None, list[str]] = {}
    for name in sorted(shots, key=lambda name: shots[name].get("snaptime", 0)):
        parent = shots[name].get("parent")
        children.setdefault(parent if parent in shots else None, []).append(name)
    ordered: list[tuple[str, int]] = []
    waiting = [(name, 0) for name in reversed(children.get(None, []))]
    while waiting:
        name, depth = waiting.pop()
        ordered.append((name, depth))
        waiting += [(child, depth + 1) for child in reversed(children.get(name, []))]
    # Those that build on each other in a circle have no beginning, and are there all the same.
    placed = {name for name, _ in ordered}
    return ordered + [(name, 0) for name in shots if name not in placed]


def _row(row: dict[str, Any], depth: int, *, current: bool) -> SnapshotRow:
    taken = row.get("snaptime")
    return SnapshotRow(
        name=row["name"],
        depth=depth,
        parent=row.get("parent"),
        current=True if current else None,
        created=iso(taken) if taken else None,
        memory=True if row.get("vmstate") else None,
        description=str(row.get("description", "")).strip() or None,
    )


@toolset.destroys(
    "Roll back to snapshot",
    SEE,
    "VM.Snapshot.Rollback|VM.Snapshot on /vms/{vmid}",
    "VM.PowerMgmt on /vms/{vmid} from PVE 9 for start",
    sends=[f"POST {GUEST}/snapshot/{{snapname}}/rollback"],
)
async def proxmox_snapshot_rollback(
    pve: Pve,
    *,
    vmid: GuestRef,
    snapname: SnapName,
    start: Annotated[bool, Field(description="Start it afterwards.")] = False,
    node: AtNode = None,
    type: OfKind = None,
    wait: Wait = 30,
) -> Outcome:
    """Put a guest back to a snapshot: what its disks have taken in since is gone for good.

    A running guest is stopped hard first. It stays off afterwards unless start is set, or the
    snapshot holds its memory.
    """
    guest = await locate(pve, vmid, node=node, kind=type)
    now = await condition(pve, guest)
    now.must_be_free()
    shot = await _must_exist(pve, guest, snapname)
    await pve.may_lose(await _loss(pve, now, shot))
    verb = guest.api.snapshot(snapname).rollback.post
    words = f"rolled back to snapshot {snapname}"
    outcome = await carry_out(pve, guest, words, verb, wait=wait, start=start or None)
    if outcome.state == "running":
        return outcome
    after = (await condition(pve, guest)).state
    stopped = "it was stopped for this and " if now.state in ("running", "paused") else "it "
    # Its start is a task of its own, which the rollback's does not wait for.
    state = "is about to start" if start and after == "stopped" else f"is {after} now"
    return outcome.model_copy(update={"notice": f"{stopped}{state}."})


async def _loss(pve: Pve, now: Condition, shot: dict[str, Any]) -> Loss:
    """Say what is gone once a guest is rolled back: what its disks and keys have taken in since."""
    guest, name = now.guest, shot["name"]
    config = await unprotected(pve, guest)
    then = shown(await pve.record(guest.api.snapshot(name).config.get))
    changed = ", ".join(plain(key) for key in _differing(then, shown(config)))
    facts = [
        f"The snapshot was taken {_age(pve, shot)}.",
        "Everything its disks have taken in since is lost for good.",
        f"Settings changed since, which go back too: {changed or 'none'}.",
    ]
    if now.state in ("running", "paused"):
        facts.append(f"It is {now.state}, and is stopped hard first.")
    question = f"Roll {guest.plainly} back to snapshot {name}?"
    return Loss(question, plain(guest.name), tuple(facts))


def _age(pve: Pve, shot: dict[str, Any]) -> str:
    when = shot.get("snaptime")
    return taken(when, pve.cluster.bridge.server_time()) if when else "at an unknown time"


def _differing(then: dict[str, str], now: dict[str, str]) -> list[str]:
    return [
        key
        for key in sorted({*then, *now})
        if then.get(key) != now.get(key) and not NOT_OF_THE_GUEST.fullmatch(key)
    ]


@toolset.destroys(
    "Delete snapshot", *SNAPSHOT, sends=[f"DELETE {GUEST}/snapshot/{{snapname}}"], repeatable=True
)
async def proxmox_snapshot_delete(
    pve: Pve,
    *,
    vmid: GuestRef,
    snapname: SnapName,
    force: Annotated[
        bool, Field(description="Drop it from the configuration even if its disk part fails.")
    ] = False,
    node: AtNode = None,
    type: OfKind = None,
    wait: Wait = 30,
) -> Outcome:
    """Delete a snapshot: the guest itself does not change, but it can never go back there."""
    guest = await locate(pve, vmid, node=node, kind=type)
    (await condition(pve, guest)).must_be_free()
    try:
        shot = await _must_exist(pve, guest, snapname)
    except NotFound:
        return already(guest, f"has no snapshot {snapname}")
    await unprotected(pve, guest)
    question = f"Delete snapshot {snapname} of {guest.plainly}?"
    facts = (f"It was taken {_age(pve, shot)}.", "The guest can never go back there.")
    await pve.may_lose(Loss(question, plain(guest.name), facts))
    verb = guest.api.snapshot(snapname).delete
    words = f"snapshot {snapname} deleted"
    return await carry_out(pve, guest, words, verb, wait=wait, force=force or None)


class SnapshotConfig(Result):
    """A guest's configuration at the time of a snapshot."""

    guest: Line
    snapname: Line
    config: dict[Line, Text] | None = Field(None, description="As it was then.")
    changed: dict[Line, dict[str, Text]] | None = Field(
        None, description="By key, what it was then and what it is now; absent: not set."
    )


@toolset.reads("Snapshot configuration", SEE)
async def proxmox_snapshot_config(
    pve: Pve,
    *,
    vmid: GuestRef,
    snapname: SnapName,
    diff: Annotated[bool, Field(description="Only what has changed since.")] = False,
    node: AtNode = None,
    type: OfKind = None,
) -> SnapshotConfig:
    """Show the configuration that a snapshot holds, or with diff=true what has changed since."""
    guest = await locate(pve, vmid, node=node, kind=type)
    await _must_exist(pve, guest, snapname)
    then = shown(await pve.record(guest.api.snapshot(snapname).config.get))
    if not diff:
        return SnapshotConfig(guest=str(guest), snapname=snapname, config=then)
    now = shown(await pve.record(guest.api.config.get))
    return SnapshotConfig(
        guest=str(guest),
        snapname=snapname,
        changed={
            key: {when: each[key] for when, each in (("then", then), ("now", now)) if key in each}
            for key in _differing(then, now)
        },
    )
