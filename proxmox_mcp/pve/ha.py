"""What a high-availability request really led to.

For an HA-managed guest start, stop, shutdown and migrate only write a request; their tasks
(``hastart``, ``hastop``, ``hamigrate``) end OK at once, before anything happened, and even towards
an offline node (recorded from PVE 8.4). So the guest's own state is what tells.
"""

import re
from collections.abc import Iterable

from proxmox_mcp.pve.errors import NotFound, Unreachable
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.locate import Guest, locate

WANTED = {"hastart": "running", "hastop": "stopped", "hamigrate": "moved"}
"""What the guest should be in the end, by the type of the task."""

_TARGET = re.compile(r"to node (?P<node>[A-Za-z0-9-]+)\s*$")


async def standing(pve: Pve, request: str, vmid: str, log: Iterable[str]) -> str | None:
    """Say what is still missing from an HA request, or None when it has been carried out.

    Args:
        pve: The call's way to the cluster.
        request: The type of the task that made it, a key of ``WANTED``.
        vmid: The guest it is about.
        log: The task's log; a migration names its target there and nowhere else.
    """
    pve.forget()
    try:
        guest = await locate(pve, int(vmid))
        now = await pve.record(guest.api.status.current.get)
    except (NotFound, Unreachable) as error:
        return f"The HA manager has the request; the guest cannot be asked now: {error}"
    if request == "hamigrate":
        return _moved(guest, log)
    if now.get("status") == WANTED[request]:
        return None
    return f"The HA manager has the request; {guest} is still {now.get('status')}."


def _moved(guest: Guest, log: Iterable[str]) -> str | None:
    target = next((found["node"] for line in log if (found := _TARGET.search(line))), None)
    if guest.node == target:
        return None
    return f"The HA manager has the request to move it to {target or 'another node'}; {guest} yet."
