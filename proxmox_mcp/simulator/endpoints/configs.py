"""Changing a guest's config, and growing its disks.

What a running guest cannot take becomes pending. A digest that does not match is refused.
"""

from __future__ import annotations

import re
from typing import Any

from proxmox_mcp.simulator.config_keys import (
    DIGEST,
    KEYS,
    LXC_KEYS,
    QEMU_KEYS,
    is_hot,
    tidy_tags,
)
from proxmox_mcp.simulator.config_rights import Change
from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.disks import allocate, detach
from proxmox_mcp.simulator.parameters import Declared, boolean, integer
from proxmox_mcp.simulator.routing import LXC, QEMU, Call, Permission, Table, needs
from proxmox_mcp.simulator.state import DISK_KEY, MIB, Guest
from proxmox_mcp.simulator.tasks import Body, Task
from proxmox_mcp.simulator.wire import died, invalid

QEMU_PRIVILEGES = ("Disk", "CDROM", "CPU", "Memory", "Network", "HWType", "Options", "Cloudinit")
LXC_PRIVILEGES = ("Disk", "CPU", "Memory", "Network", "Options")
CONTROL = frozenset({"node", "vmid", "delete", "revert", "digest", "force", "skiplock"})
CONTROLS: Declared = {"delete": KEYS, "revert": KEYS, "digest": DIGEST}
MODIFIED = "detected modified configuration - file changed by other user? Try again."
LIST = re.compile(r"[,;\s\0]+")

table = Table()


def _any_of(names: tuple[str, ...]) -> Permission:
    return needs("/vms/{vmid}", *(f"VM.Config.{name}" for name in names), any_of=True)


QEMU_CONTROLS: Declared = {
    **QEMU_KEYS,
    **CONTROLS,
    "force": boolean(requires="delete"),
    "skiplock": boolean(),
}


@table.add("PUT", f"{QEMU}/config", _any_of(QEMU_PRIVILEGES), QEMU_CONTROLS)
def change_machine(call: Call) -> None:
    """Change a VM's config and wait until it is done."""
    guest = _checked(call)
    _apply(call, guest)


@table.add(
    "POST",
    f"{QEMU}/config",
    _any_of(QEMU_PRIVILEGES),
    {**QEMU_CONTROLS, "background_delay": integer(1, 30)},
)
def change_machine_in_background(call: Call) -> str | None:
    """Change a VM's config in a task; with a delay to wait, null says that it is done."""
    guest = _checked(call)
    options = [f"-{key} {_loggable(key, value)}" for key, value in _changes(call).items()]
    options += [f"-delete {key}" for key in _listed(call, "delete")]

    def plan(task: Task) -> Body:
        task.say(f"update VM {guest.vmid}: {' '.join(options)}")
        _apply(call, guest)
        yield from ()

    upid = call.spawn("qmconfig", plan)
    return None if call.get("background_delay") else upid


@table.add("PUT", f"{LXC}/config", _any_of(LXC_PRIVILEGES), {**LXC_KEYS, **CONTROLS})
def change_container(call: Call) -> None:
    """Change a container's config."""
    guest = _checked(call)
    for key in _listed(call, "delete"):
        if key in {"rootfs", "hostname", "memory"}:
            raise died(f"unable to delete required option '{key}'")
    _apply(call, guest)


def _changes(call: Call) -> dict[str, Any]:
    control = CONTROL | {"background_delay"}
    return {key: value for key, value in call.values.items() if key not in control}


def _loggable(key: str, value: Any) -> Any:
    return "<hidden>" if key == "cipassword" else value


def _listed(call: Call, name: str) -> list[str]:
    return [key for key in LIST.split(call.get(name, "")) if key]


def _checked(call: Call) -> Guest:
    changes = _changes(call)
    if not changes and not {"delete", "revert"} & call.values.keys():
        raise died("no options specified")
    _check_rights(call, changes)
    guest = call.guest()
    digest = call.get("digest")
    if digest and digest != guest.digest:
        raise died(
            "checksum mismatch (file change by other user?)" if call.kind == "qemu" else MODIFIED
        )
    guest.check_lock()
    _check_values(guest, changes)
    return guest


def _check_rights(call: Call, changes: dict[str, Any]) -> None:
    wish = _wish(call)
    wish.check_space(changes)
    wish.check_keys(_listed(call, "delete"))
    wish.check_keys(changes)
    wish.check_bridges(changes)
    if call.get("skiplock") and not call.rights.is_root:
        raise invalid(skiplock="Only root may use this option.")


def _wish(call: Call) -> Change:
    return Change(call.rights, call.kind, call.vmid, call.center.version)


def _check_late(call: Call, guest: Guest) -> None:
    # The worker looks at what there was and at what there is to be.
    changes, wish = _changes(call), _wish(call)
    gone = {key: guest.config[key] for key in _listed(call, "delete") if key in guest.config}
    wish.check_values(gone, verb="delete")
    former = {key: guest.config[key] for key in changes if key in guest.config}
    wish.check_values(former, verb="modify")
    wish.check_values(changes)
    if call.kind == "qemu":
        wish.check_bridges(gone | former)


def _check_values(guest: Guest, changes: dict[str, Any]) -> None:
    after = Guest(guest.vmid, guest.kind, guest.node, {**guest.config, **changes})
    if int(after.config.get("balloon", 0)) * MIB > after.memory:
        raise died("balloon value too large (must be smaller than assigned memory)")


def _apply(call: Call, guest: Guest) -> None:
    _check_late(call, guest)
    for key in _listed(call, "revert"):
        guest.pending.pop(key, None)
    for key in _listed(call, "delete"):
        _delete(call, guest, key)
    for key, value in _changes(call).items():
        _set(call.center, guest, key, value)


def _delete(call: Call, guest: Guest, key: str) -> None:
    if DISK_KEY.fullmatch(key) or key.startswith("unused"):
        detach(call.center, guest, key, erase=bool(call.get("force")))
    elif guest.running and not is_hot(guest.kind, key):
        if key in guest.config:
            guest.pending[key] = None
    else:
        guest.config.pop(key, None)
        guest.pending.pop(key, None)


def _set(center: Datacenter, guest: Guest, key: str, value: Any) -> None:
    if DISK_KEY.fullmatch(key):
        value = allocate(center, guest, value)
    if key == "tags":
        value = tidy_tags(value, center.version)
    if key.startswith("net") and guest.kind == "qemu":
        value = _with_address(center, str(value))
    if guest.running and not is_hot(guest.kind, key):
        guest.pending[key] = value
    else:
        guest.config[key] = value
        guest.pending.pop(key, None)


def _with_address(center: Datacenter, value: str) -> str:
    model, comma, rest = value.partition(",")
    return value if "=" in model else f"{model}={center.mac()}{comma}{rest}"
