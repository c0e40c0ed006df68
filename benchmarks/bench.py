"""What the server costs, as one table: each figure against a yardstick of the same run.

``python -m benchmarks.bench`` takes all figures in under five minutes, ``--check`` only those that
are the same in every run; both end with 1 where one is over its budget. ``--markdown`` prints the
table for a document. Words given after choose the figures whose keys begin with one of them.
"""

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio

from benchmarks import (
    burst,
    calls,
    growth,
    jobs,
    memory,
    report,
    stall,
    startup,
    surface,
    traffic,
    work,
)
from benchmarks.report import Figure
from proxmox_mcp import logs
from proxmox_mcp.logs import LogSettings

Part = Callable[[Path], list[Figure]]


def _counted(_: Path) -> list[Figure]:
    # One counter for both: threads go on with what counted when they began.
    async def both() -> list[Figure]:
        with work.Counter() as counter:
            return [*await calls.exact(counter), *await growth.exact(counter)]

    return anyio.run(both)


EXACT: dict[str, Part] = {
    "surface": lambda _: anyio.run(surface.figures),
    "requests": lambda _: anyio.run(traffic.figures),
    "jobs": lambda _: anyio.run(jobs.figures),
    "start": startup.exact,
    "growth call": _counted,
}
"""By the first words of their keys."""

TIMED: dict[str, Part] = {
    "call": lambda folder: anyio.run(partial(calls.timed, folder)),
    "burst": burst.timed,
    "stall": stall.timed,
    "start memory": startup.timed,
    "memory": memory.timed,
    "growth": lambda _: anyio.run(growth.timed),
}


@contextmanager
def _logging(folder: Path) -> Iterator[None]:
    """Let servers in this process write a log, as others do: that is a part of a call."""
    logs.start(LogSettings(folder=folder / "logs"), stderr=io.StringIO())
    logs.write_aside()
    try:
        yield
    finally:
        logs.stop()


def main(words: Sequence[str] | None = None) -> int:
    """Take the figures, print the table, and return 1 where one is over its budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only what is the same in every run")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("parts", nargs="*", help="the first words of the keys that are wanted")
    wanted = parser.parse_args(words)
    parts = [*EXACT.items(), *([] if wanted.check else TIMED.items())]
    found: list[Figure] = []
    began = time.monotonic()
    if not wanted.markdown:
        print(report.heading(), flush=True)
    with tempfile.TemporaryDirectory() as place, _logging(Path(place)):
        for number, (keys, part) in enumerate(parts):
            if wanted.parts and not set(wanted.parts) & set(keys.split()):
                continue
            folder = Path(place) / str(number)
            folder.mkdir()
            found += (figures := part(folder))
            if not wanted.markdown:
                print(report.table(figures), flush=True)
    if wanted.markdown:
        print(report.markdown(found), end="")
    over = [figure.budget.name for figure in found if figure.verdict == "over"]
    print(f"{len(found)} figures in {time.monotonic() - began:.0f} s", file=sys.stderr)
    for name in over:
        print(f"over its budget: {name}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
