"""What a guest has: its configuration and its disks."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from proxmox_mcp.pve import guestconfig, trace, upid
from proxmox_mcp.pve.bridge import wire
from proxmox_mcp.pve.condition import condition
from proxmox_mcp.pve.errors import NotFound, Refused
from proxmox_mcp.pve.fields import AtNode, ConfigKey, DiskKey, GuestRef, OfKind, Wait
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.guestconfig import SECRET, Change
from proxmox_mcp.pve.locate import Guest, locate
from proxmox_mcp.pve.oversight import Loss, plain
from proxmox_mcp.toolkit.declare import GUEST, Toolset
from proxmox_mcp.toolkit.outcome import Outcome, already, finished, told
from proxmox_mcp.toolkit.results import GIB, Result, Row
from proxmox_mcp.toolkit.text import Line, Text

toolset = Toolset(
    "resources", search="config configuration cores memory disk resize grow tags change settings"
)

CONTROLS = frozenset({"delete", "revert", "digest"})
"""What is sent with a change of configuration and is no key of it."""


class GuestConfig(Result):
    """A guest's configuration, by what its keys are about."""

    guest: Line
    config: dict[str, dict[Line, Text]] = Field(description="By group; secrets are masked.")
    pending: dict[Line, Text] | None = Field(
        None, description="Values that wait for a full stop and start; empty: to be deleted."
    )


@toolset.reads("Guest configuration", "VM.Audit on /vms/{vmid}")
async def proxmox_vm_config_get(
    pve: Pve, *, vmid: GuestRef, node: AtNode = None, type: OfKind = None
) -> GuestConfig:
    """Show a guest's whole configuration, grouped, and which changes wait for a restart."""
    guest = await locate(pve, vmid, node=node, kind=type)
    rows = await pve.rows(guest.api.pending.get)
    config = {str(row["key"]): row["value"] for row in rows if "value" in row}
    return GuestConfig(
        guest=str(guest),
        config=guestconfig.grouped(guest.kind, config),
        pending=_pending(rows) or None,
    )


def _pending(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {
        str(row["key"]): "" if row.get("delete") else str(row.get("pending"))
        for row in rows
        if "pending" in row or row.get("delete")
    }


class Changed(Row):
    """One key, before and after."""

    before: Text | None = Field(None, description="Left out where it was not set.")
    after: Text | None = Field(None, description="Left out where it is not set now.")


class ConfigOutcome(Outcome):
    """How a change of configuration ended."""

    changed: dict[str, Changed] | None = None
    destructive: list[Line] | None = Field(
        None, description="Touched keys that stand for a disk, or were taken out."
    )
    pending: dict[Line, Text] | None = Field(
        None, description="What takes effect only after a full stop and start, or a reboot tool."
    )


@toolset.changes(
    "Change guest configuration",
    "VM.Audit on /vms/{vmid}",
    "VM.Config.CPU|VM.Config.Memory|VM.Config.Disk|VM.Config.CDROM|VM.Config.Network"
    "|VM.Config.HWType|VM.Config.Options|VM.Config.Cloudinit on /vms/{vmid} by key",
    "Datastore.AllocateSpace on /storage/{disks} for new disks",
    "SDN.Use on /sdn/zones/{zone}/{bridge} from PVE 8 for networks",
    "Sys.Modify on / for startup",
    sends=["POST /nodes/{node}/qemu/{vmid}/config", "PUT /nodes/{node}/lxc/{vmid}/config"],
    may_lose="when a disk is replaced or taken out, or protection taken off",
)
async def proxmox_vm_config_update(
    pve: Pve,
    *,
    vmid: GuestRef,
    config: Annotated[
        dict[str, str | int | float | bool] | None,
        Field(description='Proxmox\'s keys and values, e.g. {"cores": 4, "memory": 8192}.'),
    ] = None,
    delete: Annotated[list[ConfigKey] | None, Field(description="Keys to take out.")] = None,
    revert: Annotated[
        list[ConfigKey] | None, Field(description="Keys whose waiting change is dropped.")
    ] = None,
    node: AtNode = None,
    type: OfKind = None,
    wait: Wait = 30,
) -> ConfigOutcome:
    """Change keys of a guest's configuration; tells each old and new value, and what waits.

    Taking a disk out detaches it; taking out an unused one erases its data for good.
    """
    guest = await locate(pve, vmid, node=node, kind=type)
    change = guestconfig.check(guest.kind, config or {}, tuple(delete or ()), tuple(revert or ()))
    (await condition(pve, guest)).must_be_free()
    before = await pve.record(guest.api.config.get)
    sent: dict[str, Any] = {
        **change.values,
        "delete": ",".join(change.delete) or None,
        "revert": ",".join(change.revert) or None,
        "digest": before.get("digest"),
    }
    await pve.may_lose(_loss(guest, change, before))
    pve.purpose = f"{guest}: {_told_changes(change, before)}"
    outcome = await _update(pve, guest, sent, wait)
    if outcome.state == "running":
        return ConfigOutcome(**dict(outcome))
    rows = await pve.rows(guest.api.pending.get)
    after = {
        str(row["key"]): row.get("pending", row.get("value"))
        for row in rows
        if not row.get("delete")
    }
    waiting = {name: value for name, value in _pending(rows).items() if name in change.keys}
    changed = _compared(change.keys, before, after)
    if not (changed or waiting):
        outcome = outcome.model_copy(update={"done": f"{guest}: all of it was so before."})
    return ConfigOutcome(
        **dict(outcome),
        changed=changed or None,
        destructive=_destructive(guest, change) or None,
        pending=waiting or None,
    )


def _loss(guest: Guest, change: Change, before: Mapping[str, Any]) -> Loss | None:
    """Say what a change of configuration takes away for good; None where it takes nothing."""
    disks = guestconfig.DISKS[guest.kind]
    facts = [
        f"{key} ({plain(before[key])}) is "
        + ("erased for good." if key.startswith("unused") else "detached; its data is kept unused.")
        for key in change.delete
        if key in before and disks.fullmatch(key)
    ]
    facts += [
        f"{key} ({plain(before[key])}) is replaced by another volume; its data is kept unused."
        for key, value in change.values.items()
        if disks.fullmatch(key) and key in before and _volume(before[key]) != _volume(value)
    ]
    held = str(before.get("protection", 0)) == "1"
    if held and facts:
        raise Refused(
            f"{guest} is protected (its option protection): none of its disks may be taken out or"
            " replaced. Nothing was changed."
        )
    if held and ("protection" in change.delete or str(change.values.get("protection", 1)) == "0"):
        facts.append("Its protection is taken off: after that it can be removed and overwritten.")
    question = f"Change the configuration of {guest.plainly}?"
    return Loss(question, plain(guest.name), tuple(facts)) if facts else None


def _volume(disk: Any) -> str:
    return str(disk).partition(",")[0]


def _told_changes(change: Change, before: Mapping[str, Any]) -> str:
    told = [
        f"{key} set" if key in SECRET else f"{key} from {before.get(key, 'unset')} to {value}"
        for key, value in change.values.items()
    ]
    told += [f"{key} taken out" for key in change.delete]
    told += [f"the waiting change of {key} dropped" for key in change.revert]
    return ", ".join(told)


def _destructive(guest: Guest, change: Change) -> list[str]:
    disks = guestconfig.DISKS[guest.kind]
    return [key for key in change.keys if key in change.delete or disks.fullmatch(key)]


async def _update(pve: Pve, guest: Guest, sent: Mapping[str, Any], wait: float) -> Outcome:
    # A VM's PUT waits for the work and says nothing of a task; its POST is the task. A container
    # has the PUT only, which answers nothing.
    if guest.kind == "lxc":
        shows = partial(_shows, pve, guest, sent)
        await trace.or_look(pve, guest.api.config.put, shows, **sent)
        return finished(guest, "configuration changed")
    task = await upid.start_if_any(pve, guest.api.config.post, **sent)
    if task is None:
        return finished(guest, "configuration changed")
    return told(await upid.finish(pve, task, wait), guest, "configuration changed")


async def _shows(pve: Pve, guest: Guest, sent: Mapping[str, Any]) -> bool | None:
    """Look whether a container's configuration has become what was sent; None if it is a third."""
    if (await pve.record(guest.api.config.get)).get("digest") == sent["digest"]:
        return False
    rows = await pve.rows(guest.api.pending.get)
    now = {str(row["key"]): row.get("pending", row.get("value")) for row in rows}
    gone = {str(row["key"]) for row in rows if row.get("delete")}
    wanted = {key: value for key, value in sent.items() if key not in CONTROLS}
    # A container's description comes back with a line break at its end.
    kept = all(str(now.get(key)).rstrip() == str(value) for key, value in wire(wanted).items())
    taken = (key for key in str(sent["delete"] or "").split(",") if key)
    return True if kept and all(key in gone or key not in now for key in taken) else None


def _compared(
    keys: tuple[str, ...], before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Changed]:
    changed = {}
    for key in keys:
        old, new = before.get(key), after.get(key)
        # Whether a secret is still the same cannot be seen.
        if str(old) != str(new) or (key in SECRET and new is not None):
            changed[key] = Changed(before=_told(old), after=_told(new))
    return changed


def _told(value: Any) -> str | None:
    return None if value is None else str(value)


@toolset.changes(
    "Grow disk",
    "VM.Audit on /vms/{vmid}",
    "VM.Config.Disk on /vms/{vmid}",
    "Datastore.AllocateSpace on /storage/{disks}",
    sends=[f"PUT {GUEST}/resize"],
)
async def proxmox_disk_resize(
    pve: Pve,
    *,
    vmid: GuestRef,
    disk: DiskKey,
    size: Annotated[
        str,
        Field(
            pattern=r"^\+?[0-9]+(\.[0-9]+)?[KMGT]?$",
            max_length=20,
            description="+50G grows it by so much, 100G to so much. It can't shrink.",
        ),
    ],
    node: AtNode = None,
    type: OfKind = None,
    wait: Wait = 30,
) -> Outcome:
    """Grow a guest's disk. For a VM only the device grows: the guest must grow its partitions."""
    guest = await locate(pve, vmid, node=node, kind=type)
    (await condition(pve, guest)).must_be_free()
    config = await pve.record(guest.api.config.get)
    now = _size_of(guest, config, disk)
    wanted = guestconfig.size_bytes(size.removeprefix("+")) or 0
    wanted += now if size.startswith("+") else 0
    if wanted == now:
        return already(guest, f"has {disk} at {_told_size(now)} already")
    if wanted < now:
        raise Refused(
            f"{disk} of {guest} has {_told_size(now)} and cannot shrink to {_told_size(wanted)}."
        )
    # An absolute size, so that the same request a second time would change nothing.
    sent = {"disk": disk, "size": _wire_size(wanted), "digest": config.get("digest")}
    words = f"{disk} grown from {_told_size(now)} to {_told_size(wanted)}"
    pve.purpose = f"{guest}: {words}"
    task = await upid.start_if_any(pve, guest.api.resize.put, **sent)  # PVE 7 answers nothing
    if task is None:
        return finished(guest, words)
    return told(await upid.finish(pve, task, wait), guest, words)


def _size_of(guest: Guest, config: Mapping[str, Any], disk: str) -> int:
    sizes = {
        name: size
        for name, value in config.items()
        if guestconfig.DISKS[guest.kind].fullmatch(name)
        and "media=cdrom" not in str(value)
        and (size := guestconfig.disk_size(str(value))) is not None
    }
    if disk not in sizes:
        there = (
            ", ".join(f"{name} ({_told_size(size)})" for name, size in sorted(sizes.items()))
            or "none"
        )
        raise NotFound(f"{guest} has no disk {disk} that can grow. It has: {there}.")
    return sizes[disk]


def _told_size(size: int) -> str:
    for unit, factor in (("GiB", GIB), ("MiB", 1024**2), ("KiB", 1024)):
        if size >= factor:
            return f"{size / factor:.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{size} bytes"


def _wire_size(size: int) -> str:
    for unit, factor in (("G", GIB), ("M", 1024**2), ("K", 1024)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
