"""The tests' quick way to start the program is the program."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.server_process import BOUND, ROOT, environment, run_program, serving
from tests.process.warm import COLD, program

if not hasattr(os, "fork"):
    pytest.skip("there are no forks", allow_module_level=True)


@pytest.mark.parametrize(
    "words", [("--version",), ("--nosuch",), ("tools", "--json"), ("call", "proxmox_get_vms")]
)
def test_it_says_and_ends_as_when_it_starts_cold(words: tuple[str, ...], tmp_path: Path) -> None:
    warm, cold = (run_program(tmp_path, *words, command=command) for command in (None, COLD))

    assert (warm.returncode, warm.stdout, warm.stderr) == (
        cold.returncode,
        cold.stdout,
        cold.stderr,
    )


def test_a_client_that_is_killed_takes_its_program_along(tmp_path: Path) -> None:
    with serving(tmp_path, "--demo", command=program()) as server:
        server.initialize()
        server.process.kill()

        server.stdout_ended()
        assert server.process.wait(BOUND) == -signal.SIGKILL


def test_nothing_stays_when_who_started_it_has_gone(tmp_path: Path) -> None:
    script = (
        "import os; from tests.process.warm import program; print(program()[-1], flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    with subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as killed:
        assert killed.stderr
        assert killed.stderr.read() == b""  # which the Python that has started holds until it ends
