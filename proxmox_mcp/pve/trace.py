"""What became of a change whose answer was lost: looked for, never guessed and never sent again.

A change that runs as a task leaves one in the node's task list, with its type, its guest, its user
and the second in which it began. That second is the node's own; the ``Date`` of its answers says
how its clock differs from ours. A change without a task shows in the state it was to bring about.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from proxmox_mcp.pve.bridge import Verb, target
from proxmox_mcp.pve.errors import NotDone, OutcomeUnknown, ProxmoxError
from proxmox_mcp.pve.guard import Pve

LOOK_AFTER_SECONDS = (0.5, 1.0, 2.0, 3.0)
"""The pauses before each look: a daemon that is busy starts the task a moment later."""

CLOCK_SECONDS = 1
"""Both clocks are read in whole seconds."""

DRIFT_SECONDS = 2
"""A clock that has moved further than this was set, and dates no longer say what came first."""

# What a change starts, by method and the end of its path. HA-managed guests get a request instead.
TASK_TYPES: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("POST", r"/status/start$", frozenset({"qmstart", "vzstart", "hastart"})),
    ("POST", r"/status/stop$", frozenset({"qmstop", "vzstop", "hastop"})),
    ("POST", r"/status/shutdown$", frozenset({"qmshutdown", "vzshutdown", "hastop"})),
    ("POST", r"/status/reboot$", frozenset({"qmreboot", "vzreboot"})),
    ("POST", r"/status/suspend$", frozenset({"qmsuspend", "qmpause", "vzsuspend"})),
    ("POST", r"/status/resume$", frozenset({"qmresume", "vzresume", "qmstart"})),
    ("POST", r"/status/reset$", frozenset({"qmreset"})),
    ("POST", r"/snapshot$", frozenset({"qmsnapshot", "vzsnapshot"})),
    ("POST", r"/rollback$", frozenset({"qmrollback", "vzrollback"})),
    ("DELETE", r"/snapshot/[^/]+$", frozenset({"qmdelsnapshot", "vzdelsnapshot"})),
    ("POST", r"/vzdump$", frozenset({"vzdump"})),
    ("POST", r"/clone$", frozenset({"qmclone", "vzclone"})),
    ("POST", r"/template$", frozenset({"qmtemplate"})),
    ("POST", r"/config$", frozenset({"qmconfig"})),
    ("PUT", r"/resize$", frozenset({"resize"})),
    ("POST", r"/migrate$", frozenset({"qmigrate", "vzmigrate", "hamigrate"})),
    ("POST", r"/qemu$", frozenset({"qmrestore", "qmcreate"})),
    ("POST", r"/lxc$", frozenset({"vzrestore", "vzcreate"})),
    ("DELETE", r"/content/.+$", frozenset({"imgdel"})),
)


def types_of(method: str, path: str) -> frozenset[str]:
    """Return the types of task that a change may start; none where it starts no task.

    >>> sorted(types_of("POST", "/nodes/pve1/qemu/100/clone"))
    ['qmclone', 'vzclone']
    """
    fits = (types for verb, end, types in TASK_TYPES if verb == method and re.search(end, path))
    return next(fits, frozenset())


def subject_of(path: str, params: Mapping[str, Any]) -> str | None:
    """Return the id that the task of a change bears, a vmid; None where it has another form."""
    if found := re.search(r"/(?:qemu|lxc)/(\d+)/", path):
        return found[1]
    return str(params["vmid"]) if "vmid" in params else None


async def task(
    pve: Pve, verb: Verb, params: Mapping[str, Any], sent_at: float, lost: OutcomeUnknown
) -> str:
    """Find the task that a change has started, whose answer was lost, and return its id.

    Args:
        pve: The call's way to the cluster.
        verb: What was sent.
        params: What was sent along.
        sent_at: When, by the node's clock, in seconds since 1970.
        lost: How the answer was lost.

    Raises:
        NotDone: The connection broke and no task was started: it was not carried out.
        OutcomeUnknown: No task is there, but the request may still be waiting; or nobody can say,
            because the node does not tell or a clock was set meanwhile.
    """
    method, path = target(verb)
    types, subject = types_of(method, path), subject_of(path, params)
    node, looked = path.split("/")[2], False
    began, dated = anyio.current_time(), pve.cluster.bridge.server_time()
    for pause in LOOK_AFTER_SECONDS:
        await anyio.sleep(pause)
        try:
            rows = await pve.rows(pve.nodes(node).tasks.get, source="all", limit=50, vmid=subject)
        except ProxmoxError:
            looked = False  # the node is still busy with whatever lost the answer
            continue
        looked = True
        found = [row for row in rows if _is_it(row, types, subject, pve.identity, sent_at)]
        if found:
            return str(max(found, key=lambda row: row["starttime"])["upid"])
    drift = pve.cluster.bridge.server_time() - dated - (anyio.current_time() - began)
    if not looked or lost.queued or not types or abs(drift) > DRIFT_SECONDS:
        raise lost
    pve.found_out(verb, done=False)
    raise NotDone(
        f"{lost.said}. The change was not carried out: its answer was lost, and {node} has started"
        " no task for it since. It may be tried again."
    )


def _is_it(
    row: Mapping[str, Any], types: frozenset[str], subject: str | None, user: str, sent_at: float
) -> bool:
    return (
        row.get("type") in types
        and subject in (None, row.get("id"))
        and str(row.get("upid", "")).split(":")[-2:-1] == [user]
        and row.get("starttime", 0) >= int(sent_at) - CLOCK_SECONDS
    )


async def or_look(
    pve: Pve, verb: Verb, /, is_done: Callable[[], Awaitable[bool | None]], **params: Any
) -> Any:
    """Send a change without a task; where its answer is lost, look at the state it is about.

    Args:
        pve: The call's way to the cluster.
        verb: The chain's final verb.
        is_done: Look whether the change has happened: yes, no, or (None) nobody can tell.
        **params: What is sent along.

    Raises:
        NotDone: The answer was lost, and nothing has changed.
        OutcomeUnknown: The answer was lost, and it cannot be told what happened.
    """
    try:
        return await pve.send(verb, **params)
    except OutcomeUnknown as lost:
        await anyio.sleep(LOOK_AFTER_SECONDS[0])
        try:
            done = await is_done()
        except ProxmoxError:
            done = None
        if done:
            pve.found_out(verb, done=True)
            return None
        if done is False and not lost.queued:
            pve.found_out(verb, done=False)
            raise NotDone(
                f"{lost.said}. The change was not carried out: its answer was lost, and nothing has"
                " changed. It may be tried again."
            ) from lost
        raise
