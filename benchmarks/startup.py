"""From spawning the server to the first list of its tools, against a bare server on the same SDK.

In the same rounds: how much memory both have then. Apart from these: which modules are loaded.
"""

import re
import resource
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.assistant import START_SECONDS, Assistant
from benchmarks.place import BARE, NOWHERE, OURS, environment
from benchmarks.report import Figure, measured
from benchmarks.soak import resident_mib

ROUNDS = 5
LATER = ("requests", "urllib3", "proxmoxer", "keyring", "proxmox_mcp.simulator")
"""The first answer needs none of these: they are loaded when a call does."""

_LOADED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)
Start = tuple[float, float, float]
"""Milliseconds by the clock, milliseconds of processor time, MiB of memory."""


def timed(folder: Path) -> list[Figure]:
    """Start both servers by turns; the first start of each is not counted."""
    starts: dict[Sequence[str], list[Start]] = {OURS: [], BARE: []}
    for number in range(ROUNDS + 1):
        for command, kept in starts.items():
            start = _started(command, folder / f"{len(kept)}-{number}-{command[-1]}")
            if number:
                kept.append(start)
    ours, bare = (list(zip(*kept, strict=True)) for kept in starts.values())
    keys = ("start.clock", "start.work", "memory.start")
    return [measured(key, *pair) for key, *pair in zip(keys, ours, bare, strict=True)]


def _started(command: Sequence[str], home: Path) -> Start:
    home.mkdir(parents=True)
    worked = _children()
    began = time.perf_counter()
    with Assistant(command, environment(home, NOWHERE), home) as assistant:
        assistant.ask("tools/list").result(START_SECONDS)
        took = time.perf_counter() - began
        memory = resident_mib(assistant.pid)
    return took * 1000, (_children() - worked) * 1000, memory


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def exact(folder: Path) -> list[Figure]:
    """Count the modules that are loaded when the first answer comes."""
    ours, bare = (loaded(command, folder / command[-1]) for command in (OURS, BARE))
    early = sorted(name for name in ours if name.startswith(LATER))
    more = Counter(name.partition(".")[0] for name in ours - bare)
    listed = ", ".join(f"{name} {count}" for name, count in more.most_common(6))
    return [
        Figure(
            key="start.modules",
            value=len(ours),
            yardstick=len(bare),
            note=f"on top of the bare server's: {listed}",
        ),
        Figure(key="start.early", value=len(early), note=", ".join(early)),
    ]


def loaded(command: Sequence[str], home: Path) -> frozenset[str]:
    """Return the modules that a server has loaded when its first answer comes."""
    home.mkdir(parents=True)
    variables = environment(home, {**NOWHERE, "PYTHONPROFILEIMPORTTIME": "1"})
    with Assistant(command, variables, home) as assistant:
        assistant.ask("tools/list").result(START_SECONDS)
        return frozenset(_LOADED.findall(assistant.written()))
