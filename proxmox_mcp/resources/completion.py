"""What may stand for a variable of a URI or an argument of a prompt, offered while it is typed.

The cluster's answers are remembered for half a minute, so that a word costs one request and not
one for each of its letters. Where the cluster does not answer, or not soon, nothing is offered, and
that is no error: whoever types does not need it.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import anyio
from mcp.types import Completion
from pydantic import TypeAdapter, ValidationError

from proxmox_mcp.pve.errors import ProxmoxError
from proxmox_mcp.pve.fields import GuestRef
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.toolkit.bind import State
from proxmox_mcp.tools import TOOLS

log = logging.getLogger(__name__)

MOST: Final = 100
"""The protocol allows no more."""

MEMORY_SECONDS: Final = 30.0
PATIENCE_SECONDS = 3.0
TASKS_OF_A_NODE: Final = 50

_REF: TypeAdapter[int | str] = TypeAdapter(GuestRef)


async def _guests(pve: Pve) -> list[str]:
    """Offer each guest's id and, where it is the only one that bears it, its name."""
    rows = await pve.rows(pve.cluster_api.resources.get, max_age=MEMORY_SECONDS, type="vm")
    known = sorted((row for row in rows if row.get("vmid") is not None), key=lambda r: r["vmid"])
    names = [str(row.get("name", "")) for row in known]
    times = Counter(name.lower() for name in names)
    offered: list[str] = []
    for row, name in zip(known, names, strict=True):
        offered.append(str(row["vmid"]))
        offered += [name] if times[name.lower()] == 1 and _is_name(name) else []
    return offered


def _is_name(name: str) -> bool:
    try:
        return isinstance(_REF.validate_python(name), str)
    except ValidationError:
        return False


async def _nodes(pve: Pve) -> list[str]:
    rows = await pve.rows(pve.nodes.get, max_age=MEMORY_SECONDS)
    return sorted(str(row["node"]) for row in rows if row.get("node"))


async def _storages(pve: Pve) -> list[str]:
    resources = pve.cluster_api.resources
    rows = await pve.rows(resources.get, max_age=MEMORY_SECONDS, type="storage")
    return sorted({str(row["storage"]) for row in rows if row.get("storage")})


async def _tasks(pve: Pve) -> list[str]:
    """Offer the tasks that run, then those that ended, newest first."""
    rows: list[dict[str, object]] = []

    async def ask(node: str) -> None:
        verb = pve.nodes(node).tasks.get
        query = {"source": "all", "limit": TASKS_OF_A_NODE}
        try:
            rows.extend(await pve.rows(verb, max_age=MEMORY_SECONDS, **query))
        except ProxmoxError:
            return  # its tasks are not offered; those of the others are

    nodes = await _nodes(pve)
    async with anyio.create_task_group() as group:
        for node in nodes:
            group.start_soon(ask, node)
    rows.sort(key=lambda row: (bool(row.get("endtime")), -int(str(row.get("starttime", 0)))))
    return list(dict.fromkeys(str(row["upid"]) for row in rows if row.get("upid")))


async def _tools(_: Pve) -> list[str]:
    return sorted(spec.name for spec in TOOLS)


async def _days(_: Pve) -> list[str]:
    return ["1", "7", "14", "30"]


OFFERS: Mapping[str, Callable[[Pve], Awaitable[list[str]]]] = {
    "vmid": _guests,
    "guest": _guests,
    "node": _nodes,
    "storage": _storages,
    "upid": _tasks,
    "tool": _tools,
    "days": _days,
}
"""What is offered for a variable or an argument, by its name."""

SPARED = "proxmox_"
"""Whoever types a tool's name may leave this out."""


async def complete(name: str, typed: str, state: State) -> Completion:
    """Offer what begins with what has been typed so far.

    Args:
        name: The variable or argument.
        typed: What has been typed.
        state: What the running server holds.
    """
    pve = Pve(state.cluster)
    found: list[str] = []
    with anyio.move_on_after(PATIENCE_SECONDS):
        try:
            await pve.open()
            found = await OFFERS[name](pve)
        except ProxmoxError as error:
            log.info("completion.failed", extra={"argument": name, "error": type(error).__name__})
    fitting = [each for each in _beginning(typed, found) if state.watch.shown(each) == each]
    return Completion(values=fitting[:MOST], total=len(fitting), has_more=len(fitting) > MOST)


def _beginning(typed: str, words: Iterable[str]) -> list[str]:
    wanted = typed.lower()
    return [
        word
        for word in words
        if word.lower().startswith(wanted) or word.lower().removeprefix(SPARED).startswith(wanted)
    ]
