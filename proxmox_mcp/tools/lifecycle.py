"""Starting and stopping guests."""

from typing import Annotated

import anyio
from pydantic import Field

from proxmox_mcp.pve.condition import Condition, condition
from proxmox_mcp.pve.errors import Refused
from proxmox_mcp.pve.fields import AtNode, GuestRef, OfKind, Wait
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.locate import Guest, locate
from proxmox_mcp.toolkit.declare import GUEST, Toolset
from proxmox_mcp.toolkit.outcome import Outcome, already, carry_out

toolset = Toolset(
    "lifecycle", search="start stop shutdown reboot power on off suspend resume reset vm container"
)

UP_AGAIN_SECONDS = 0.5
"""The pause between two looks at a guest that is coming up again."""

POWER = ("VM.Audit on /vms/{vmid}", "VM.PowerMgmt on /vms/{vmid}")


def _sends(verb: str) -> list[str]:
    return [f"POST {GUEST}/status/{verb}"]


Timeout = Annotated[
    int | None,
    Field(ge=0, le=3600, description="Seconds the guest gets to shut down; else its own setting."),
]


async def _asked(pve: Pve, vmid: int | str, node: str | None, kind: OfKind) -> Condition:
    """Find the guest and ask how it is; a template has no power to switch."""
    guest = await locate(pve, vmid, node=node, kind=kind)
    now = await condition(pve, guest)
    if now.template:
        raise Refused(f"{guest} is a template and never runs: make a guest with proxmox_vm_clone.")
    return now


@toolset.changes("Start guest", *POWER, sends=_sends("start"), repeatable=True)
async def proxmox_vm_start(
    pve: Pve, *, vmid: GuestRef, node: AtNode = None, type: OfKind = None, wait: Wait = 30
) -> Outcome:
    """Start a VM or container and wait until it has started; a hibernated VM continues."""
    now = await _asked(pve, vmid, node, type)
    if now.state == "running":
        return already(now.guest, "already runs")
    if now.state == "paused":
        raise Refused(f"{now.guest} is paused, not off: continue it with proxmox_vm_resume.")
    now.must_be_free(or_hibernated=True)
    return await carry_out(pve, now.guest, "started", now.guest.api.status.start.post, wait=wait)


@toolset.changes("Stop guest hard", *POWER, sends=_sends("stop"), repeatable=True)
async def proxmox_vm_stop(
    pve: Pve, *, vmid: GuestRef, node: AtNode = None, type: OfKind = None, wait: Wait = 30
) -> Outcome:
    """Switch a guest off at once, like pulling the plug; proxmox_vm_shutdown asks it nicely.

    What was not written to disk is lost.
    """
    now = await _asked(pve, vmid, node, type)
    if now.state in ("stopped", "hibernated"):
        return already(now.guest, f"is already {now.state}")
    now.must_be_free()
    return await carry_out(pve, now.guest, "stopped", now.guest.api.status.stop.post, wait=wait)


@toolset.changes("Shut guest down", *POWER, sends=_sends("shutdown"), repeatable=True)
async def proxmox_vm_shutdown(
    pve: Pve,
    *,
    vmid: GuestRef,
    node: AtNode = None,
    type: OfKind = None,
    timeout: Timeout = None,
    force_stop: Annotated[bool, Field(description="Stop it hard when time is up.")] = False,
    wait: Wait = 30,
) -> Outcome:
    """Ask a guest to shut down cleanly and wait until it is off.

    Fails when the guest does not react in time: give it longer, or set force_stop.
    """
    now = await _asked(pve, vmid, node, type)
    if now.state in ("stopped", "hibernated"):
        return already(now.guest, f"is already {now.state}")
    if now.state == "paused" and not force_stop:
        raise Refused(
            f"{now.guest} is paused and cannot react: proxmox_vm_resume first, or force_stop."
        )
    now.must_be_free()
    sent = {"timeout": timeout, "forceStop": force_stop or None}
    return await carry_out(
        pve, now.guest, "shut down", now.guest.api.status.shutdown.post, wait=wait, **sent
    )


@toolset.changes("Reboot guest", *POWER, sends=_sends("reboot"))
async def proxmox_vm_reboot(
    pve: Pve,
    *,
    vmid: GuestRef,
    node: AtNode = None,
    type: OfKind = None,
    timeout: Timeout = None,
    wait: Wait = 30,
) -> Outcome:
    """Shut a guest down cleanly and start it again, which also applies pending configuration."""
    now = await _asked(pve, vmid, node, type)
    _must_run(now, "reboot")
    now.must_be_free()
    until = anyio.current_time() + wait
    verb = now.guest.api.status.reboot.post
    outcome = await carry_out(pve, now.guest, "rebooted", verb, wait=wait, timeout=timeout)
    if outcome.state == "running":
        return outcome
    return await _up_again(pve, now.guest, outcome, until)


async def _up_again(pve: Pve, guest: Guest, outcome: Outcome, until: float) -> Outcome:
    """Wait for the start after a reboot: its task ends when the guest is down, not up."""
    while (await condition(pve, guest)).state != "running":
        if anyio.current_time() >= until:
            done = f"{guest}: shut down; Proxmox is about to start it again."
            more = f"proxmox_get_vm_status(vmid={guest.vmid}) shows when it runs"
            return outcome.model_copy(update={"state": "running", "done": done, "next": more})
        await anyio.sleep(UP_AGAIN_SECONDS)
    return outcome


@toolset.changes(
    "Suspend VM",
    *POWER,
    "VM.Config.Disk on /vms/{vmid}",
    "Datastore.AllocateSpace on /storage/{disks}",
    sends=_sends("suspend"),
    repeatable=True,
)
async def proxmox_vm_suspend(
    pve: Pve,
    *,
    vmid: GuestRef,
    node: AtNode = None,
    type: OfKind = None,
    todisk: Annotated[
        bool, Field(description="Save memory to disk and switch off; false only pauses.")
    ] = True,
    wait: Wait = 30,
) -> Outcome:
    """Hibernate a VM to disk, or with todisk=false pause it in memory; resume continues either.

    A paused VM is lost when its node restarts; a hibernated one is not.
    """
    now = await _asked(pve, vmid, node, type)
    _only_vms(
        now.guest, "suspended: it relies on CRIU, which rarely works. Use proxmox_vm_shutdown"
    )
    if now.state == "hibernated" or (now.state == "paused" and not todisk):
        return already(now.guest, f"is already {now.state}")
    _must_run(now, "suspend")
    if todisk and now.ha:
        raise Refused(
            f"{now.guest} is managed by HA, which would start it again: Proxmox does not hibernate"
            " it. todisk=false pauses it. Nothing was changed."
        )
    now.must_be_free()
    words = "hibernated: memory saved to disk, switched off" if todisk else "paused in memory"
    verb = now.guest.api.status.suspend.post
    return await carry_out(pve, now.guest, words, verb, wait=wait, todisk=todisk or None)


@toolset.changes("Resume VM", *POWER, sends=_sends("resume"), repeatable=True)
async def proxmox_vm_resume(
    pve: Pve, *, vmid: GuestRef, node: AtNode = None, type: OfKind = None, wait: Wait = 30
) -> Outcome:
    """Continue a VM that was paused or hibernated."""
    now = await _asked(pve, vmid, node, type)
    _only_vms(now.guest, "resumed, since it cannot be suspended. Use proxmox_vm_start")
    if now.state == "running":
        return already(now.guest, "already runs")
    if now.state == "stopped":
        raise Refused(f"{now.guest} is off, neither paused nor hibernated: use proxmox_vm_start.")
    now.must_be_free(or_hibernated=True)
    return await carry_out(pve, now.guest, "resumed", now.guest.api.status.resume.post, wait=wait)


@toolset.changes("Reset VM", *POWER, sends=_sends("reset"))
async def proxmox_vm_reset(
    pve: Pve, *, vmid: GuestRef, node: AtNode = None, type: OfKind = None, wait: Wait = 30
) -> Outcome:
    """Press a VM's reset button: an immediate restart without shutting down.

    What was not written to disk is lost; proxmox_vm_reboot asks it nicely.
    """
    now = await _asked(pve, vmid, node, type)
    _only_vms(now.guest, "reset. Use proxmox_vm_reboot, or stop and start it")
    _must_run(now, "reset")
    now.must_be_free()
    return await carry_out(pve, now.guest, "reset", now.guest.api.status.reset.post, wait=wait)


def _only_vms(guest: Guest, words: str) -> None:
    if guest.kind == "lxc":
        raise Refused(f"{guest} is a container and cannot be {words}. Nothing was changed.")


def _must_run(now: Condition, what: str) -> None:
    if now.state in ("stopped", "hibernated"):
        raise Refused(
            f"{now.guest} is {now.state}, so there is nothing to {what}: use proxmox_vm_start."
            " Nothing was changed."
        )
