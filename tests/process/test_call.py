"""``proxmox-mcp call`` as a process of its own, in a pipe and at a terminal."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxmox_mcp.simulator import CREDENTIALS, Cluster
from tests import secrecy
from tests.process.server_process import (
    BOUND,
    NOTHING,
    ROOT,
    environment,
    https_door,
    run_program,
)
from tests.process.warm import program
from tests.test_cancellation import Hang

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.process.terminal import Terminal, at_a_terminal

SAMPLE = "backup-storage:backup/vzdump-qemu-100-2025_11_06-14_30_00.vma.zst"
DELETE = ("proxmox_backup_delete", "storage=backup-storage", f"volume={SAMPLE}")
BACKUP = ("proxmox_backup_create", "vmid=100", "storage=backup-storage")


def called(home: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Call a tool of the simulated cluster, in a pipe."""
    ended = run_program(home, "call", "--demo", *words, **more)
    assert secrecy.leaks(ended.stdout + ended.stderr) == []
    assert "Traceback" not in ended.stderr
    return ended


def recorded(home: Path) -> list[dict[str, Any]]:
    """What stands in the audit trail of the simulated cluster."""
    trails = list(home.rglob("audit-demo.jsonl"))
    return [json.loads(line) for file in trails for line in file.read_text("utf-8").splitlines()]


@contextmanager
def terminal(home: Path, *words: str, variables: Mapping[str, str] = NOTHING) -> Iterator[Terminal]:
    """Call a tool at a terminal; stdout is a pipe."""
    with at_a_terminal(home, "call", *words, variables=variables, stdout_apart=True) as call:
        yield call


# --- in a pipe -------------------------------------------------------------------------------


def test_a_read_prints_a_table_and_nothing_beside_it(tmp_path: Path) -> None:
    ended = called(tmp_path, "proxmox_get_nodes")

    assert (ended.returncode, ended.stderr) == (0, "")
    rows = [line.split()[:2] for line in ended.stdout.splitlines() if line.startswith("  ")]
    assert rows == [["node", "status"], *(["pve" + each, "online"] for each in "123")]


def test_json_is_all_of_stdout_wherever_the_flag_stands(tmp_path: Path) -> None:
    words = [
        ("--json", "proxmox_get_vms", "limit=2"),
        ("proxmox_get_vms", "--json", "limit=2"),
        ("proxmox_get_vms", "limit=2", "--json"),
    ]

    answers = [called(tmp_path, *each) for each in words]

    assert {each.stderr for each in answers} == {""}
    assert [len(json.loads(each.stdout)["guests"]) for each in answers] == [2, 2, 2]


def test_a_change_is_made_and_written_down_with_progress_on_stderr_only(tmp_path: Path) -> None:
    ended = called(tmp_path, "proxmox_vm_config_update", "vmid=web-01", "config.cores=4", "--json")

    data = json.loads(ended.stdout)
    assert ended.returncode == 0
    assert data["pending"] or data["changed"]
    begin, _ = recorded(tmp_path)
    assert begin["arguments"]["config"] == {"cores": 4}
    assert begin["client"].startswith("proxmox-mcp call ")


def test_the_flag_for_a_dry_run_holds_for_a_call(tmp_path: Path) -> None:
    ended = called(tmp_path, "--dry-run", "proxmox_vm_stop", "vmid=100", "--json")

    assert ended.returncode == 0
    [planned] = json.loads(ended.stdout)["would_send"]
    assert (planned["method"], planned["path"]) == ("POST", "/nodes/pve1/qemu/100/status/stop")
    assert recorded(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("proxmox_get_node_status", "node=pve1"), 1, "allow_elevated"),
        (("proxmox_get_vms", "limit=x"), 2, "limit must be a whole number"),
        (("proxmox_get_vms", "limit"), 2, "word 1 after the tool is no argument"),
        (("proxmox_nosuch", "--help"), 2, "There is no tool of this name"),
        (("proxmox_get_vms", "--nosuch"), 2, "--nosuch"),
        (DELETE, 1, "--yes agrees beforehand"),
    ],
)
def test_what_goes_wrong_is_said_on_stderr_with_its_code(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    ended = called(tmp_path, *words)

    assert (ended.returncode, ended.stdout) == (code, "")
    assert said in ended.stderr
    assert recorded(tmp_path) == []


def test_yes_agrees_to_a_loss(tmp_path: Path) -> None:
    ended = called(tmp_path, *DELETE, "--yes", "--json")

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["state"] == "ok"
    assert recorded(tmp_path)[0]["confirmed"] == "asked"


def test_a_value_comes_from_stdin(tmp_path: Path) -> None:
    ended = called(tmp_path, "proxmox_get_vms", "name=-", "--json", said="db-*\n")

    assert {guest["name"] for guest in json.loads(ended.stdout)["guests"]} == {"db-01", "db-02"}


def test_the_list_and_a_tools_page_need_no_login(tmp_path: Path) -> None:
    listed, told = (
        run_program(tmp_path, "call"),
        run_program(tmp_path, "call", "proxmox_vm_clone", "--help"),
    )
    nothing = run_program(tmp_path, "call", "--help")

    assert [each.returncode for each in (listed, told, nothing)] == [0, 0, 0]
    assert "proxmox_vm_start" in listed.stdout
    assert "newid" in told.stdout
    assert nothing.stdout.startswith("usage: proxmox-mcp call")


def test_a_call_without_a_login_says_how_to_log_in(tmp_path: Path) -> None:
    ended = run_program(tmp_path, "call", "proxmox_get_vms")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "PROXMOX_HOST" in ended.stderr


def test_over_https_the_token_reaches_the_cluster_and_nobody_else(
    cluster: Cluster, tmp_path: Path
) -> None:
    with https_door(cluster, tmp_path) as variables:
        ended = run_program(
            tmp_path, "call", "proxmox_vm_stop", "vmid=100", "--json", variables=variables
        )

    assert json.loads(ended.stdout)["state"] == "ok"
    assert [path for _, path, _ in cluster.writes] == ["/nodes/pve1/qemu/100/status/stop"]
    assert CREDENTIALS["token_value"] not in ended.stdout + ended.stderr


# --- at a terminal ---------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("YES", 0), ("n", 1), ("", 1)])
def test_at_a_terminal_a_loss_is_asked_about(tmp_path: Path, answer: str, code: int) -> None:
    with terminal(tmp_path, "--demo", *DELETE, "--json") as call:
        call.hears("Do it? [y/N] ")
        assert SAMPLE in call.said
        call.types(answer)
        ended, stdout = call.ends()

    assert ended == code
    assert (stdout == "") == (code == 1)
    assert ("Not confirmed, so nothing was sent" in call.said) == (code == 1)
    assert len(recorded(tmp_path)) == (0 if code else 2)


def test_at_a_terminal_a_bar_grows_and_stdout_stays_pure(cluster: Cluster, tmp_path: Path) -> None:
    with https_door(cluster, tmp_path) as variables:
        words = (*BACKUP, "wait=60", "--json")
        with terminal(tmp_path, *words, variables=variables) as call:
            call.hears("\r[")
            code, stdout = call.ends()

    assert code == 0, call.said
    assert json.loads(stdout)["state"] == "ok"
    assert "vzdump 100 on pve1" in call.said
    assert "\n" not in call.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_change_ends_at_once_and_names_the_task_that_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    with terminal(tmp_path, "--demo", *BACKUP, "wait=60") as call:
        call.hears("vzdump 100 on pve1")
        call.process.send_signal(number)
        code, stdout = call.ends()

    assert (code, stdout) == (130, "")
    begin, end = recorded(tmp_path)
    assert (begin["event"], end["outcome"]) == ("begin", "cancelled")
    assert f"proxmox-mcp call proxmox_task_status 'upid={end['upid']}' wait=300" in call.said


def test_an_interrupt_waits_for_no_request_that_hangs(cluster: Cluster, tmp_path: Path) -> None:
    hang = Hang()
    hang.on("GET", "/nodes")
    cluster.intercept = hang
    with https_door(cluster, tmp_path) as variables:
        with terminal(tmp_path, "proxmox_get_nodes", variables=variables) as call:
            assert hang.arrived.wait(BOUND)
            call.process.send_signal(signal.SIGINT)
            code, _ = call.ends()
            assert not hang.go_on.is_set()
        hang.go_on.set()

    assert code == 130
    assert "Interrupted; nothing was changed." in call.said


def test_a_question_that_is_open_can_be_left(tmp_path: Path) -> None:
    with terminal(tmp_path, "--demo", *DELETE) as call:
        call.hears("Do it? [y/N] ")
        call.process.send_signal(signal.SIGINT)
        code, _ = call.ends()

    assert code == 130
    assert "Interrupted; nothing was changed." in call.said
    assert recorded(tmp_path) == []


def test_a_change_whose_answer_is_awaited_is_told_to_be_open(
    cluster: Cluster, tmp_path: Path
) -> None:
    hang = Hang()
    hang.on("POST", "/status/stop")
    cluster.intercept = hang
    with https_door(cluster, tmp_path) as variables:
        with terminal(tmp_path, "proxmox_vm_stop", "vmid=100", variables=variables) as call:
            assert hang.arrived.wait(BOUND)
            call.process.send_signal(signal.SIGINT)
            code, _ = call.ends()
        hang.go_on.set()

    assert code == 130
    assert "POST /nodes/pve1/qemu/100/status/stop was under way" in call.said


def test_whoever_reads_on_may_have_enough(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(  # noqa: S603 - our own program
            [*program(), "call", "--demo", "proxmox_get_vms"],
            cwd=ROOT,
            env=environment(tmp_path),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=BOUND,
            check=False,
        )
    finally:
        os.close(writing)

    assert (ended.returncode, ended.stderr) == (0, b"")
