"""Guests moved to other nodes."""

import re
from typing import Annotated, Any

from pydantic import Field

from proxmox_mcp.pve import guestconfig
from proxmox_mcp.pve.condition import Condition, condition
from proxmox_mcp.pve.errors import ProxmoxError, Refused, Unsupported
from proxmox_mcp.pve.fields import AtNode, GuestRef, Kind, NodeName, OfKind, StorageId, Wait
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.locate import Guest, locate, must_be_online
from proxmox_mcp.pve.stores import must_hold
from proxmox_mcp.toolkit.declare import GUEST, Toolset
from proxmox_mcp.toolkit.outcome import Outcome, already, carry_out
from proxmox_mcp.toolkit.results import Number, Result, Row, gib
from proxmox_mcp.toolkit.text import Line

toolset = Toolset("migration", search="migrate move live migration evacuate node")

MIGRATE = ("VM.Audit on /vms/{vmid}", "VM.Migrate on /vms/{vmid}")

RUNNING = ("running", "paused")
"""States in which a guest has memory to carry along."""

CONTENT: dict[Kind, str] = {"qemu": "images", "lxc": "rootdir"}
"""What a storage must be for, to take a guest's disks."""

CLOUD_INIT = re.compile(r"vm-\d+-cloudinit")
"""A generated CD, by its volume's name: Proxmox makes it anew on the other node."""

Target = Annotated[NodeName, Field(description="The node to move to.")]


class LocalDisk(Row):
    """A disk that lies on one node only and would have to be copied."""

    volume: Line
    size_gib: Number | None = None
    cdrom: bool | None = None


class MigrationCheck(Result):
    """Whether a guest can move, and what stands in the way."""

    guest: Line
    target: Line
    possible: bool
    running: bool
    obstacles: list[Line] = Field(description="What must be changed before it can move.")
    local_disks: list[LocalDisk] | None = Field(None, description="These would be copied.")
    allowed_nodes: list[Line] | None = Field(None, description="Where Proxmox would let it go.")
    how: str | None = Field(None, description="The call that moves it.")


@toolset.reads(
    "Check migration",
    *MIGRATE,
    "Datastore.Audit on /storage/{disks} to see whether a container's storages are there",
)
async def proxmox_vm_migrate_check(
    pve: Pve, *, vmid: GuestRef, target: Target, node: AtNode = None, type: OfKind = None
) -> MigrationCheck:
    """Say whether a guest can move to a node, and what stands in the way. Changes nothing."""
    guest = await locate(pve, vmid, node=node, kind=type)
    now = await condition(pve, guest)
    obstacles = await _obstacles(pve, now, target)
    said = {} if now.lock else await _asked(pve, guest, target)  # it fails for a locked guest
    disks = said.get("local_disks", [])
    obstacles += _blocked(said, target)
    obstacles += [f"uses {what} of its node" for what in said.get("local_resources", [])]
    if guest.kind == "lxc":
        obstacles += await _unmovable_volumes(pve, guest, target)
    copied = [disk for disk in disks if not disk.get("cdrom")]
    obstacles += [
        f"{disk['volid']} is a local CD image: eject it"
        for disk in disks
        if disk.get("cdrom") and not CLOUD_INIT.search(disk["volid"])
    ]
    return MigrationCheck(
        guest=str(guest),
        target=target,
        possible=not obstacles,
        running=now.state in RUNNING,
        obstacles=obstacles,
        local_disks=[
            LocalDisk(volume=disk["volid"], size_gib=gib(disk.get("size"))) for disk in copied
        ]
        or None,
        allowed_nodes=said.get("allowed_nodes", said.get("allowed-nodes")),
        how=None if obstacles else _how(now, target, copied=bool(copied)),
    )


def _named(what: Any) -> str:
    """Name what blocks a node: a storage by its id, an HA resource with the rule's kind."""
    return f"{what.get('sid')} ({what.get('cause')})" if isinstance(what, dict) else str(what)


async def _asked(pve: Pve, guest: Guest, target: str) -> dict[str, Any]:
    """Ask Proxmox's own check; containers have one since 9.0.6, and then with other names."""
    try:
        return await pve.record(guest.api.migrate.get, target=target)
    except Unsupported:
        return {}


async def _obstacles(pve: Pve, now: Condition, target: str) -> list[str]:
    """Find what Proxmox's own check does not look at: it lists offline nodes as allowed."""
    found = []
    if target == now.guest.node:
        found.append(f"it is on {target} already")
    if now.lock:
        found.append(f"it is locked ({now.lock})")
    try:
        await must_be_online(pve, target)
    except ProxmoxError as error:
        found.append(str(error))
    return found


def _blocked(said: dict[str, Any], target: str) -> list[str]:
    nodes = said.get("not_allowed_nodes", said.get("not-allowed-nodes", {}))
    reasons = nodes.get(target, {})
    if not isinstance(reasons, dict):
        return [str(reasons)]
    listed = {why: what if isinstance(what, list) else [what] for why, what in reasons.items()}
    return [f"{why}: {', '.join(map(_named, what))}" for why, what in listed.items() if what]


async def _unmovable_volumes(pve: Pve, guest: Guest, target: str) -> list[str]:
    """Find what keeps a container's volumes where they are; its own check does not say."""
    config = await pve.record(guest.api.config.get)
    values = {
        key: str(value).split(",")
        for key, value in sorted(config.items())
        if guestconfig.DISKS["lxc"].fullmatch(key)
    }
    found = [
        f"{key} is {value[0]} of its node and not said to be shared"
        for key, value in values.items()
        if value[0][:1] == "/" and "shared=1" not in value
    ]
    named = [value[0].partition(":") for value in values.values() if value[0][:1] != "/"]
    used = {storage for storage, colon, _ in named if colon}
    rows = await pve.rows(pve.cluster_api.resources.get, type="storage")
    there = {row["storage"] for row in rows if row["node"] == target}
    return found + [
        f"storage {storage} is not on {target}, or this token may not see it"
        for storage in sorted(used - there)
    ]


def _how(now: Condition, target: str, *, copied: bool) -> str:
    more = ""
    if now.state in RUNNING and now.guest.kind == "qemu":
        more = ", online=true" + (", with_local_disks=true" if copied else "")
    elif now.state in RUNNING:
        more = ", restart=true"
    return f'proxmox_vm_migrate(vmid={now.guest.vmid}, target="{target}"{more})'


@toolset.changes(
    "Migrate guest",
    *MIGRATE,
    "Datastore.AllocateSpace on /storage/{disks} for target_storage",
    sends=[f"POST {GUEST}/migrate"],
)
async def proxmox_vm_migrate(
    pve: Pve,
    *,
    vmid: GuestRef,
    target: Target,
    online: Annotated[bool, Field(description="Move a running VM without stopping it.")] = False,
    with_local_disks: Annotated[
        bool, Field(description="Copy disks that lie on its node only (running VMs).")
    ] = False,
    target_storage: Annotated[
        StorageId | None, Field(description="Where copied disks go; left out: same name.")
    ] = None,
    restart: Annotated[
        bool, Field(description="Containers: stop it, move it, start it there.")
    ] = False,
    node: AtNode = None,
    type: OfKind = None,
    wait: Wait = 30,
) -> Outcome:
    """Move a guest to another node, live or stopped, and tell where it runs in the end.

    Takes as long as its memory and local disks take to copy: mind wait.
    """
    guest = await locate(pve, vmid, node=node, kind=type)
    if target == guest.node:
        return already(guest, "is there already")
    now = await condition(pve, guest)
    now.must_be_free()
    await must_be_online(pve, target)
    _must_fit(now, online=online, restart=restart)
    if target_storage:
        await must_hold(pve, target, target_storage, CONTENT[guest.kind])
    sent: dict[str, Any] = {"target": target}
    if guest.kind == "qemu":
        sent |= {
            "online": online or None,
            "with-local-disks": with_local_disks or None,
            "targetstorage": target_storage,
        }
    else:
        sent |= {"restart": restart or None, "target-storage": target_storage}
    words = f"moved to {target}"
    outcome = await carry_out(pve, guest, words, guest.api.migrate.post, wait=wait, **sent)
    pve.forget()
    if outcome.state == "running":
        return outcome
    after = await condition(pve, await locate(pve, guest.vmid))
    if after.guest.node != target:
        done = (
            f"{guest}: not moved, though its task ended well; look again, then at the task's log."
        )
        return outcome.model_copy(update={"state": "warnings", "done": done})
    done = f"{guest}: moved; it is {after.state} on {after.guest.node} now."
    return outcome.model_copy(update={"done": done})


def _must_fit(now: Condition, *, online: bool, restart: bool) -> None:
    if now.state not in RUNNING:
        return
    if now.guest.kind == "qemu" and not online:
        raise Refused(f"{now.guest} is {now.state}: pass online=true, or shut it down first.")
    if now.guest.kind == "lxc" and not restart:
        raise Refused(
            f"{now.guest} runs, and a container cannot move while it does: pass restart=true to"
            " have it stopped, moved and started there. Nothing was changed."
        )
