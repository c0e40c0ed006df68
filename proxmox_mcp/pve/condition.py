"""What a guest is doing right now, asked of the guest itself.

The cluster's list lags ten seconds and is no ground for a decision: seconds after a start it still
says stopped. ``status/current`` is live.
"""

from dataclasses import dataclass
from typing import Any, Literal

from proxmox_mcp.pve.errors import Refused
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.locate import Guest

State = Literal["running", "stopped", "paused", "hibernated", "unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """A guest's live state.

    Attributes:
        guest: Whose.
        state: ``paused`` keeps its memory on the node; ``hibernated`` has it saved on disk.
        lock: The job that holds the guest, e.g. ``backup``; None where it is free.
        ha: Whether the HA manager decides what runs.
        template: Whether it is a template, which can only be cloned.
        raw: Proxmox's own record.
    """

    guest: Guest
    state: State
    lock: str | None
    ha: bool
    template: bool
    raw: dict[str, Any]

    def must_be_free(self, *, or_hibernated: bool = False) -> None:
        """Refuse where the guest is locked; saved memory is a lock too, though no job.

        Args:
            or_hibernated: Whether what is to be done continues a hibernated guest.

        Raises:
            Refused: It is locked; the message says by what and what to do.
        """
        if self.state == "hibernated":
            if not or_hibernated:
                raise Refused(
                    f"{self.guest} is hibernated, and locked ({self.lock}) while its memory lies on"
                    " disk: continue it with proxmox_vm_resume first; nothing was changed."
                )
        elif self.lock:
            raise Refused(
                f"{self.guest} is locked ({self.lock}): another job holds it, or left the lock"
                f" behind. Find it with proxmox_task_list (vmid={self.guest.vmid}, running=true)"
                " and wait for it with proxmox_task_status; nothing was changed."
            )


async def condition(pve: Pve, guest: Guest) -> Condition:
    """Ask a guest how it is."""
    now = await pve.record(guest.api.status.current.get)
    lock = now.get("lock")
    return Condition(
        guest=guest,
        state=state(now),
        lock=None if lock is None else str(lock),
        ha=bool((now.get("ha") or {}).get("managed")),
        template=bool(now.get("template")),
        raw=now,
    )


async def unprotected(pve: Pve, guest: Guest) -> dict[str, Any]:
    """Return a guest's configuration, after making sure that nothing keeps it from losing data.

    Proxmox's own ``protection`` keeps a guest and its disks from being removed. Here it stands
    for whatever of the guest would be gone for good.

    Raises:
        Refused: It is protected.
    """
    config = await pve.record(guest.api.config.get)
    if str(config.get("protection", 0)) == "1":
        raise Refused(
            f"{guest} is protected (its option protection): nothing of it may be lost. Where that"
            " is not meant any more, take the option off first. Nothing was changed."
        )
    return config


def state(now: dict[str, Any]) -> State:
    """Name a guest's state from its ``status/current``.

    A paused VM says ``running`` beside ``qmpstatus: paused``; a hibernated one says ``stopped`` and
    is locked ``suspended``.
    """
    if now.get("qmpstatus") in ("paused", "prelaunch"):
        return "paused"
    if now.get("lock") == "suspended" and now.get("status") == "stopped":
        return "hibernated"
    match now.get("status"):
        case "running":
            return "running"
        case "stopped":
            return "stopped"
        case _:
            return "unknown"
