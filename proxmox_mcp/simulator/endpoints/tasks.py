"""Tasks: listing, status, log, and stopping one."""

from __future__ import annotations

import re
from typing import Any

from proxmox_mcp.simulator.parameters import boolean, choice, integer, string
from proxmox_mcp.simulator.routing import ANY_VMID, Call, Table
from proxmox_mcp.simulator.tasks import Task, outcome
from proxmox_mcp.simulator.wire import Page, invalid

USUAL = 50  # entries and lines, when no limit is given

table = Table()


@table.add(
    "GET",
    "/nodes/{node}/tasks",
    parameters={
        "errors": boolean(),
        "limit": integer(0),
        "since": integer(),
        "source": choice("archive", "active", "all"),
        "start": integer(0),
        "statusfilter": string(format="pve-task-status-type-list"),
        "typefilter": string(),
        "until": integer(),
        "userfilter": string(),
        "vmid": ANY_VMID,
    },
)
def index(call: Call) -> Page:
    """Tasks of one node, the latest first; those still running only when asked for."""
    found = [task for task in call.center.tasks.newest(node=call.node) if _wanted(call, task)]
    # Running tasks stand before the finished ones, whenever they were started.
    found.sort(key=lambda task: task.end is not None)
    start, limit = call.get("start", 0), call.get("limit", USUAL)
    return Page([_listed(task) for task in found[start : start + limit]], len(found))


def _wanted(call: Call, task: Task) -> bool:
    source = call.get("source", "archive")
    ended = task.end is not None
    auditor = call.rights.has(f"/nodes/{call.node}", "Sys.Audit")
    states = set(re.split(r"[,;\s\0]+", call.get("statusfilter", "")))
    if not ended and (call.get("errors") or states != {""}):
        return False
    return all(
        (
            source == "all" or ended == (source == "archive"),
            auditor or call.owns(task),
            "vmid" not in call.values or task.id == str(call.values["vmid"]),
            call.get("typefilter", task.type) == task.type,
            call.get("userfilter", "") in task.user,
            task.start >= call.get("since", 0),
            "until" not in call.values or task.start <= call.values["until"],
            not call.get("errors") or task.status != "OK",
            states == {""} or outcome(task.status) in states,
        )
    )


def _listed(task: Task) -> dict[str, Any]:
    shown = task.identity()
    if task.end is None:
        return shown | {"status": "RUNNING"}
    return shown | {"endtime": task.end, "status": task.status}


def _find(call: Call, privilege: str = "Sys.Audit") -> Task:
    task = call.center.tasks.find(call.values["upid"])
    if not call.owns(task):
        call.rights.demand(f"/nodes/{call.node}", [privilege])
    if task.node != call.node:
        raise invalid(upid="no such task")
    return task


@table.add("GET", "/nodes/{node}/tasks/{upid}/status")
def status(call: Call) -> dict[str, Any]:
    """Whether a task runs still; `exitstatus` is there only once it does not."""
    task = _find(call)
    if task.end is None:
        return task.identity() | {"status": "running"}
    return task.identity() | {"status": "stopped", "exitstatus": task.status}


@table.add(
    "GET",
    "/nodes/{node}/tasks/{upid}/log",
    parameters={"download": boolean(), "limit": integer(0), "start": integer(0)},
)
def log(call: Call) -> Page:
    """The lines of a task's log, numbered from one."""
    lines = _find(call).log or ["no content"]
    start, limit = call.get("start", 0), call.get("limit", USUAL) or len(lines)
    part = lines[start : start + limit]
    return Page([{"n": start + i, "t": text} for i, text in enumerate(part, 1)], len(lines))


@table.add("DELETE", "/nodes/{node}/tasks/{upid}")
def stop(call: Call) -> None:
    """Interrupt a task; null as well when it has ended already."""
    call.center.tasks.stop(_find(call, "Sys.Modify"))
