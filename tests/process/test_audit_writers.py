"""Several processes and threads on one audit trail, and writers that are killed on the way."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxmox_mcp.toolkit.audit import Trail, read
from proxmox_mcp.toolkit.tampering import Verdict, verify

KILLS = 12
BOUND = 60
"""Seconds after which anything awaited here has failed."""

WRITERS = """
import sys, threading
from pathlib import Path
from proxmox_mcp.toolkit.audit import Trail

trail, process, count = Trail(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])

def write(thread):
    for number in range(count):
        text = "ä" * (97 * number % 1500)
        trail.append({"writer": [process, thread], "number": number, "text": text})

threads = [threading.Thread(target=write, args=(each,)) for each in range(int(sys.argv[4]))]
sys.stdin.read()  # all of them set off together
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

TIRELESS = """
import itertools, sys
from pathlib import Path
from proxmox_mcp.toolkit.audit import Trail

trail, run = Trail(Path(sys.argv[1])), int(sys.argv[2])
for number in itertools.count():
    trail.append({"run": run, "number": number, "text": "x" * 20_000})
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""

TORN = """
import os, signal, sys
from pathlib import Path
from proxmox_mcp.toolkit.audit import Trail

real = os.write

def half(descriptor, data):
    real(descriptor, data[: int(sys.argv[2])])
    os.kill(os.getpid(), signal.SIGKILL)

os.write = half
Trail(Path(sys.argv[1])).append({"number": -1})
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def started(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  our own text
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture
def tireless(file: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two writers that go on until they are killed."""
    workers = [started(TIRELESS, file, run) for run in range(2)]
    yield workers
    for worker in workers:
        worker.kill()
        worker.communicate(timeout=BOUND)


def test_four_processes_of_two_threads_lose_and_mix_nothing(file: Path) -> None:
    count = 40
    workers = [started(WRITERS, file, process, count, 2) for process in range(4)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.stdin = None
    said = [worker.communicate(timeout=BOUND) for worker in workers]

    assert said == [(b"", b"")] * 4
    assert verify(file) == Verdict(4 * 2 * count, (), ())
    each_in_order = {
        (process, thread): list(range(count)) for process in range(4) for thread in range(2)
    }
    found: dict[tuple[int, int], list[int]] = {}
    for _, record in read(file):
        assert record["text"] == "ä" * (97 * record["number"] % 1500)
        process, thread = record["writer"]
        found.setdefault((process, thread), []).append(record["number"])
    assert found == each_in_order


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
def test_writers_killed_in_full_run_leave_a_trail_that_verifies_and_goes_on(file: Path) -> None:
    chance = random.Random(11)  # noqa: S311  where a kill strikes is no secret
    for run in range(KILLS):
        worker = started(TIRELESS, file, run)
        assert worker.stdout is not None
        promised = [int(worker.stdout.readline()) for _ in range(chance.randrange(1, 12))]
        worker.kill()
        said, complaint = worker.communicate(timeout=BOUND)
        promised += [int(line) for line in said.splitlines()]
        assert complaint == b""

        assert verify(file).faults == ()
        kept = {record["number"] for _, record in read(file) if record.get("run") == run}
        assert kept >= set(promised)
        Trail(file).append({"after": run})
        assert verify(file) == Verdict(verify(file).lines, (), ())

    assert [record["after"] for _, record in read(file) if "after" in record] == list(range(KILLS))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9")
@pytest.mark.parametrize("kept", [1, 40, 80])
def test_writers_killed_in_the_middle_of_a_write_one_after_another_cost_one_line(
    file: Path, kept: int
) -> None:
    Trail(file).append({"number": 0})

    for _ in range(2):
        started(TORN, file, kept).communicate(timeout=BOUND)
        assert verify(file).faults == ()
    Trail(file).append({"number": 1})

    assert verify(file) == Verdict(verify(file).lines, (), ())
    assert [record["number"] for _, record in read(file)] == [0, 1]
    *_, last = file.read_bytes().splitlines()
    assert json.loads(last)["after_torn"] is True


def test_a_trail_can_be_verified_while_others_write_to_it(
    file: Path, tireless: list[subprocess.Popen[bytes]]
) -> None:
    for worker in tireless:
        assert worker.stdout is not None
        worker.stdout.readline()

    seen = list[int]()
    while len(seen) < 20:
        verdict = verify(file)
        assert verdict.faults == ()
        seen.append(verdict.lines)

    assert seen == sorted(seen)
    assert seen[0] < seen[-1]
