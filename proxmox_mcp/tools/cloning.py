"""Guests made from other guests."""

from typing import Annotated, Any

from pydantic import Field

from proxmox_mcp.pve import stores, trace
from proxmox_mcp.pve.answers import whole
from proxmox_mcp.pve.condition import condition, unprotected
from proxmox_mcp.pve.errors import AlreadyTaken, BadAnswer, Refused
from proxmox_mcp.pve.fields import (
    AtNode,
    GuestName,
    GuestRef,
    NodeName,
    OfKind,
    SnapName,
    StorageId,
    Vmid,
    Wait,
)
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.locate import Guest, find, locate, must_be_online
from proxmox_mcp.pve.oversight import Loss, plain
from proxmox_mcp.toolkit.declare import GUEST, Toolset
from proxmox_mcp.toolkit.outcome import Outcome, already, carry_out, finished

toolset = Toolset("cloning", search="clone copy duplicate template deploy new vm container")

CLONE_TRIES = 3
"""So often a free id is asked for when somebody else is quicker: asking reserves nothing."""


class CloneOutcome(Outcome):
    """How a clone ended, and what it made."""

    newid: int | None = None


@toolset.changes(
    "Clone guest",
    "VM.Audit on /vms/{vmid}",
    "VM.Clone on /vms/{vmid}",
    "VM.Allocate on /vms/{newid}",
    "Datastore.AllocateSpace on /storage/{disks}",
    "SDN.Use on /sdn/zones/{zone}/{bridge} from PVE 8",
    sends=[f"POST {GUEST}/clone"],
)
async def proxmox_vm_clone(
    pve: Pve,
    *,
    vmid: GuestRef,
    newid: Annotated[Vmid | None, Field(description="Left out: the next free id.")] = None,
    name: Annotated[GuestName | None, Field(description="Name of the new guest.")] = None,
    description: Annotated[str | None, Field(max_length=8192, description="Its notes.")] = None,
    full: Annotated[
        bool | None,
        Field(description="Copy all data; false links to a template. Default: linked for those."),
    ] = None,
    target: Annotated[
        NodeName | None, Field(description="Node for it; needs shared disks.")
    ] = None,
    storage: Annotated[StorageId | None, Field(description="For its disks (full only).")] = None,
    snapname: Annotated[SnapName | None, Field(description="Clone this snapshot.")] = None,
    node: AtNode = None,
    type: OfKind = None,
    wait: Wait = 30,
) -> CloneOutcome:
    """Make a new guest from a guest or a template, also on another node.

    A full clone copies all disks and takes as long as that takes: mind wait.
    """
    guest = await locate(pve, vmid, node=node, kind=type)
    (await condition(pve, guest)).must_be_free()
    await _checked(pve, guest, newid, target, storage)
    sent: dict[str, Any] = {
        "name" if guest.kind == "qemu" else "hostname": name,
        "description": description,
        "full": full,
        "target": target,
        "storage": storage,
        "snapname": snapname,
    }
    for last in (*[False] * (CLONE_TRIES - 1), True):
        chosen = newid or await _free_id(pve)
        try:
            outcome = await carry_out(
                pve,
                guest,
                f"cloned to guest {chosen}" + (f" on {target}" if target else ""),
                guest.api.clone.post,
                wait=wait,
                newid=chosen,
                **sent,
            )
        except AlreadyTaken:
            if newid or last:
                raise
            continue  # refused before anything was made, and the id was ours to choose
        break
    pve.forget()
    return CloneOutcome(**dict(outcome), newid=chosen)


async def _checked(
    pve: Pve, guest: Guest, newid: int | None, target: str | None, storage: str | None
) -> None:
    """Refuse what would fail halfway: a taken id, a node that is down, an unfit storage."""
    if newid and (other := await find(pve, newid)):
        raise Refused(f"The id {newid} belongs to {other}: choose another, or leave newid out.")
    if target:
        await must_be_online(pve, target)
    if storage:
        content = "images" if guest.kind == "qemu" else "rootdir"
        await stores.must_hold(pve, target or guest.node, storage, content)


async def _free_id(pve: Pve) -> int:
    found = whole(await pve.send(pve.cluster_api.nextid.get))
    if found is None:
        raise BadAnswer("/cluster/nextid answered with no id: pass newid. Nothing was changed.")
    return found


@toolset.destroys(
    "Make template",
    "VM.Audit on /vms/{vmid}",
    "VM.Allocate on /vms/{vmid}",
    sends=[f"POST {GUEST}/template"],
)
async def proxmox_vm_template(
    pve: Pve, *, vmid: GuestRef, node: AtNode = None, type: OfKind = None, wait: Wait = 30
) -> Outcome:
    """Turn a guest into a template, for good: it never runs again and can only be cloned.

    The guest must be off and have no snapshots.
    """
    guest = await locate(pve, vmid, node=node, kind=type)
    now = await condition(pve, guest)
    if now.template:
        return already(guest, "is already a template")
    now.must_be_free()
    if now.state != "stopped":
        raise Refused(f"{guest} is {now.state}: shut it down first. Nothing was changed.")
    rows = await pve.rows(guest.api.snapshot.get)
    if names := [str(row["name"]) for row in rows if row["name"] != "current"]:
        raise Refused(f"{guest} has snapshots ({', '.join(names)}): delete them first.")
    await unprotected(pve, guest)
    question = f"Make {guest.plainly} a template?"
    facts = ("It never runs again, and nothing turns it back into a guest.",)
    await pve.may_lose(Loss(question, plain(guest.name), facts))
    pve.purpose = f"{guest}: made a template"
    if guest.kind == "lxc":

        async def is_template() -> bool:
            return (await condition(pve, guest)).template

        # answers nothing: its task is lost inside Proxmox
        await trace.or_look(pve, guest.api.template.post, is_template)
        return finished(guest, "is a template now")
    return await carry_out(pve, guest, "made a template", guest.api.template.post, wait=wait)
