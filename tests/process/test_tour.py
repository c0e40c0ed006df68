"""The tour as newcomers take it: on the demo, on their own cluster, and on one that is broken."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxmox_mcp import simulator
from tests.process.server_process import (
    BOUND,
    ROOT,
    environment,
    https_door,
    run_program,
    serving,
)
from tests.process.warm import COLD

COLUMNS = 80
STEPS = (
    "1. What can an assistant do?",
    "2. Is everything all right?",
    "3. What does it run on?",
    "4. Which guests are there?",
    "5. What is going on, and how does it end?",
    "6. What happens to a call that must not be?",
)


@pytest.fixture(scope="module", autouse=True)
def under_way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """The tour of the demo; its tasks take ten seconds, so the tests of other tours run first."""
    with subprocess.Popen(  # noqa: S603 - our own program
        [*COLD, "tour"],
        cwd=ROOT,
        env=environment(tmp_path_factory.mktemp("tourist")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def toured(under_way: subprocess.Popen[str]) -> list[str]:
    """The lines of a tour of the demo that went well."""
    stdout, stderr = under_way.communicate(timeout=BOUND)
    assert (under_way.returncode, stderr) == (0, "")
    return stdout.splitlines()


@pytest.fixture
def door(cluster: simulator.Cluster, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables that lead to the simulated cluster over HTTPS."""
    with https_door(cluster, tmp_path) as variables:
        yield variables


def commands(lines: list[str]) -> list[str]:
    """The commands to type, each on one line."""
    text = "\n".join(lines).replace("\\\n", "")
    return [line.strip() for line in text.splitlines() if line.strip().startswith("claude mcp add")]


def narrow(lines: list[str]) -> list[str]:
    """All lines except those of commands, which cannot be cut."""
    commands_and_their_rest = ("  claude mcp add", "    -e ")
    return [line for line in lines if not line.startswith(commands_and_their_rest)]


def test_the_live_tour_only_reads_and_ends_with_a_command_that_holds_no_secret(
    cluster: simulator.Cluster, door: dict[str, str], tmp_path: Path
) -> None:
    ended = run_program(tmp_path, "tour", "--live", variables=door)

    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert [line for line in lines if line in STEPS] == list(STEPS)
    assert max(map(len, narrow(lines))) <= COLUMNS
    assert "imulated" not in ended.stdout
    assert {request.method for request in cluster.requests} == {"GET"}
    (command,) = commands(lines)
    assert command == lines[-1].strip()
    passed = {word for word in shlex.split(command) if "=" in word}
    assert passed == {f"{name}=${name}" for name in door if name.startswith("PROXMOX_")}
    assert door["PROXMOX_TOKEN_VALUE"] not in ended.stdout


def test_a_step_that_goes_wrong_ends_the_tour_with_exit_code_1(
    cluster: simulator.Cluster, door: dict[str, str], tmp_path: Path
) -> None:
    def broken(request: simulator.Request) -> simulator.Answer | None:
        return simulator.Answer(500, "out of order") if request.path == "/nodes" else None

    cluster.intercept = broken

    ended = run_program(
        tmp_path, "tour", "--live", variables=door | {"PROXMOX_RETRY_ATTEMPTS": "1"}
    )

    assert ended.returncode == 1
    assert STEPS[1] in ended.stdout
    assert STEPS[3] not in ended.stdout
    assert commands(ended.stdout.splitlines()) == []
    assert "The tour ended early" in ended.stderr
    assert "out of order" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_live_tour_without_a_login_says_so_and_does_not_take_the_demo(tmp_path: Path) -> None:
    ended = run_program(tmp_path, "tour", "--live")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "PROXMOX_TOKEN_VALUE" in ended.stderr


def test_the_tour_of_the_demo_takes_every_step(toured: list[str]) -> None:
    assert [line for line in toured if line in STEPS] == list(STEPS)


def test_the_tour_fits_a_terminal_of_80_columns(toured: list[str]) -> None:
    assert [line for line in narrow(toured) if len(line) > COLUMNS] == []


def test_the_tour_shows_tools_nodes_and_guests(toured: list[str]) -> None:
    words = {line.split()[0] for line in toured if line.split()}
    assert {"proxmox_get_vms", "proxmox_task_stop", "pve1", "pve2", "pve3", "100"} <= words


def test_the_tour_follows_a_backup_to_its_end_with_a_growing_bar(toured: list[str]) -> None:
    end = toured.index("   it ended: ok")
    bars = [line.count("#") for line in toured[:end] if line.startswith("   [")]
    assert len(bars) >= 4
    assert bars == sorted(bars)
    assert bars[-1] > bars[0]


def test_the_tour_of_the_demo_ends_with_a_story_of_changes_one_call_each(toured: list[str]) -> None:
    begin = next(place for place, line in enumerate(toured) if line.startswith("7. "))
    done = " ".join(line.removeprefix("   = ") for line in toured[begin:] if line[:5] == "   = ")
    for words in (
        "cloned to guest 101.",
        "snapshot before-change taken.",
        "configuration changed.",
        "rolled back to snapshot before-change.",
        "backed up to backup-storage.",
        "Guest 200 on pve1: restored from backup-storage:backup/vzdump-",
        "(shop-01) on pve1: cloned to guest 113 on pve2.",
    ):
        assert words in done
    assert "     cores: 2 -> 4" in toured


def test_the_tour_shows_two_refused_calls_that_sent_nothing(toured: list[str]) -> None:
    refusals = " ".join(line.removeprefix("   ! ") for line in toured if line.startswith("   ! "))
    assert refusals.count("Nothing was sent.") == 2
    assert "allow_elevated" in refusals


def test_the_tour_ends_with_a_command_that_starts_this_server(
    toured: list[str], tmp_path: Path
) -> None:
    demo, real = commands(toured)
    assert toured[-1].strip() in real
    started = shlex.split(demo.partition(" -- ")[2])
    assert started[-1] == "--demo"
    assert shlex.split(real.partition(" -- ")[2]) == started[:-1]
    assert Path(started[0]).is_absolute()
    assert shutil.which(started[0])

    with serving(tmp_path, command=started) as server:
        assert server.initialize()["serverInfo"]["name"] == "proxmox"
        server.end_input()
        assert server.wait() == 0
