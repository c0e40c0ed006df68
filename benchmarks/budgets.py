"""What each figure may be at most: the budgets, as data.

A figure is held against its budget in one of three ways: as it is, as a ratio to its yardstick, or
as what it adds to it. Exact figures are the same in every run (bytes, requests, imports, calls of
Python functions), so ``make bench-check`` fails on them; times and memory are for a quiet machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal


@dataclass(frozen=True, slots=True)
class Budget:
    """A row of the table.

    Attributes:
        name: What is measured.
        unit: What it is measured in.
        held: What of it is held against the budget; ``shown`` means that nothing is.
        at_most: The budget.
        exact: Whether it is the same in every run.
        why: Where it is over by now and stays so: the reason. The check lets it pass.
    """

    name: str
    unit: str
    held: Literal["value", "ratio", "added", "shown"] = "shown"
    at_most: float = 0.0
    exact: bool = False
    why: str = ""


_exact = partial(Budget, exact=True)

BUDGETS: Mapping[str, Budget] = {
    "call.simulator": Budget("read call, cluster in process", "ms", "added", 3),
    "call.https": Budget(
        "read call, loopback HTTPS",
        "ms",
        "ratio",
        1.5,
        why="the SDK alone takes most of that, see the next row; a real node takes longer",
    ),
    "call.https.sdk": Budget("the same, by a bare tool of the SDK", "ms"),
    "call.https.added": Budget("ours, added time", "ms", "added", 3),
    "call.https.usual": Budget("the same, a cluster that takes 20 ms", "ms"),
    "call.work": _exact("read call, Python calls", "calls", "ratio", 3.8),
    "burst.warm": Budget("50 status calls at once, warm", "ms", "ratio", 1.6),
    "burst.cold": Budget("50 status calls at once, cold", "ms", "ratio", 2.5),
    "stall.own": Budget("longest stall in 40 calls, own work", "ms", "value", 25),
    "stall.page": Budget("the same, the list 1,000 guests a page", "ms", "value", 25),
    "stall.clock": Budget("the first by the clock, neighbours included", "ms"),
    "start.clock": Budget("spawn to first tools/list", "ms", "ratio", 1.25),
    "start.work": Budget("the same, processor time", "ms", "ratio", 1.25),
    "start.modules": _exact("modules loaded by then", "modules", "ratio", 1.4),
    "start.early": Budget(
        "modules of the first call loaded by then", "modules", "value", 0, exact=True
    ),
    "memory.start": Budget("memory after start", "MiB", "added", 40),
    "memory.growth": Budget("growth over the calls after warm-up", "MiB", "value", 2),
    "surface.tool": _exact("tools/list, model-facing, a tool", "bytes", "value", 600),
    "surface.bare": _exact("parameters without description", "parameters", "value", 0),
    "surface.wire": _exact("tools/list, the whole answer, a tool", "bytes"),
    "surface.row": _exact("guest row of proxmox_get_vms", "bytes", "value", 110),
    "surface.page": Budget(
        "its default answer on 2,000 guests", "bytes", "value", 8192, exact=True
    ),
    "requests.list": _exact("list of 10,000 guests", "requests", "value", 1),
    "requests.health": _exact("cluster status", "requests", "value", 2),
    "requests.cold": _exact("guest status by name, cold", "requests", "value", 2),
    "requests.warm": _exact("guest status by name, warm", "requests", "value", 1),
    "requests.start": Budget(
        "start by name, wait for a 3 s task", "requests", "value", 6, exact=True
    ),
    "jobs.calls": _exact("ten everyday jobs", "calls", "ratio", 0.5),
    "jobs.bytes": _exact("ten everyday jobs, read and written", "bytes", "ratio", 0.5),
    "growth.list": _exact("list, 10,000 to 1,000 guests", "calls", "ratio", 10),
    "growth.list.small": _exact("list, 1,000 to 100 guests", "calls", "ratio", 10),
    "growth.health": Budget(
        "cluster status, 10,000 to 1,000 guests", "calls", "ratio", 10, exact=True
    ),
    "growth.health.small": _exact("cluster status, 1,000 to 100", "calls", "ratio", 10),
    "growth.nodes": _exact("cluster status, 32 to 3 nodes", "calls", "ratio", 32 / 3),
    "growth.cold": _exact("find by name cold, 10,000 to 1,000", "calls", "ratio", 10),
    "growth.warm": _exact("find by name warm, 10,000 to 100", "calls", "ratio", 1.1),
    "growth.time.list": Budget("list, 10,000 to 1,000 guests, time", "ms", "ratio", 10),
    "growth.time.warm": Budget("find by name warm, 10,000 to 100, time", "ms", "ratio", 1.5),
}
