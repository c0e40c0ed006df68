"""How long the event loop stands still while forty calls run, one of them a list of 10,000 guests.

See watched.py for what is looked at. The yardstick is the same server with nothing to do, for as
long, just before.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import backend
from benchmarks.assistant import START_SECONDS, Assistant
from benchmarks.place import LOOSE, environment
from benchmarks.report import Figure, measured

GUESTS = 10_000
CALLS = 40
DEFAULT_PAGE, LARGEST_PAGE = 50, 1000
ROUNDS = 5
QUIET_SECONDS = 0.7
Line = tuple[float, float, float]
"""When it began, how late the loop came, how much the process worked meanwhile; in seconds."""

How = Callable[[Line], float]


def timed(folder: Path) -> list[Figure]:
    """Watch the loop in quiet and in busy times, by turns."""
    file, home = folder / "stalls", folder
    windows = []
    with backend.running(folder / "cluster", guests=GUESTS) as cluster:
        variables = environment(home, {**cluster.variables, **LOOSE})
        command = (sys.executable, "-m", "benchmarks.watched", str(file))
        with Assistant(command, variables, home) as assistant:
            _calls(assistant, DEFAULT_PAGE)  # connections are made, answers remembered
            for _ in range(ROUNDS):
                began = time.monotonic()
                time.sleep(QUIET_SECONDS)
                usual = time.monotonic()
                _calls(assistant, DEFAULT_PAGE)
                large = time.monotonic()
                _calls(assistant, LARGEST_PAGE)
                windows.append((began, usual, large, time.monotonic()))
    stalls = [_read(line) for line in file.read_text("utf-8").splitlines()]

    def longests(part: int, how: How) -> list[float]:
        return [longest(stalls, times[part], times[part + 1], how) for times in windows]

    return [
        measured("stall.own", longests(1, own), longests(0, own)),
        measured("stall.page", longests(2, own), longests(0, own)),
        measured("stall.clock", longests(1, late), longests(0, late)),
    ]


def _calls(assistant: Assistant, page: int) -> None:
    asked = [assistant.call("proxmox_get_vms", {"limit": page})]
    asked += [
        assistant.call("proxmox_get_vm_status", {"vmid": 1001 + number})
        for number in range(CALLS - 1)
    ]
    for each in asked:
        if each.result(START_SECONDS)["result"]["isError"]:
            raise RuntimeError("a call failed while the loop was watched")


def _read(line: str) -> Line:
    began, late, worked = map(float, line.split())
    return began, late, worked


def own(line: Line) -> float:
    """Return how long the loop stood still for work of its own process."""
    return min(line[1:])


def late(line: Line) -> float:
    """Return how long it stood still, for whatever reason."""
    return line[1]


def longest(stalls: Sequence[Line], begin: float, end: float, how: How) -> float:
    """Return the longest stall that began within a time, in ms.

    >>> longest([(1.0, 0.5, 0.2), (9.0, 0.7, 0.7)], 0.0, 5.0, own)
    200.0
    """
    return 1000 * max((how(line) for line in stalls if begin <= line[0] < end), default=0.0)
