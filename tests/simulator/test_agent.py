"""Programs run through the guest agent."""

from __future__ import annotations

from typing import Any

import pytest
from proxmoxer import ResourceException

from proxmox_mcp.simulator import TOKENS
from proxmox_mcp.simulator.userland import Context, run
from tests.simulator.conftest import Demo


def _execute(demo: Demo, *command: str, **more: Any) -> dict[str, Any]:
    agent = demo.guest(100).agent
    pid = agent.exec.post(command=list(command), **more)["pid"]
    found: dict[str, Any] = agent("exec-status").get(pid=pid)
    return found


def test_a_program_is_run_without_a_shell(demo: Demo) -> None:
    assert _execute(demo, "echo", "a  b", "$HOME")["out-data"] == "a  b $HOME\n"
    assert _execute(demo, "/usr/bin/hostname")["out-data"] == "web-01\n"
    assert _execute(demo, "false")["exitcode"] == 1


def test_input_reaches_the_program(demo: Demo) -> None:
    assert _execute(demo, "cat", **{"input-data": "hello"})["out-data"] == "hello"


def test_a_sleeping_program_has_not_exited_until_it_wakes(demo: Demo) -> None:
    agent = demo.guest(100).agent
    pid = agent.exec.post(command=["sleep", "3"])["pid"]

    assert agent("exec-status").get(pid=pid) == {"exited": 0}
    demo.wait(3)
    assert agent("exec-status").get(pid=pid)["exitcode"] == 0


def test_an_ended_program_is_forgotten_once_it_was_reported(demo: Demo) -> None:
    agent = demo.guest(100).agent
    pid = agent.exec.post(command=["true"])["pid"]
    agent("exec-status").get(pid=pid)

    with pytest.raises(ResourceException, match="Agent error: Invalid parameter 'pid'"):
        agent("exec-status").get(pid=pid)


def test_much_output_is_cut_and_marked(demo: Demo) -> None:
    status = _execute(demo, "seq", "300000")

    assert (len(status["out-data"]), status["out-truncated"]) == (1024 * 1024, 1)
    assert _execute(demo, "seq", "3")["out-truncated"] == 0


def test_a_missing_program_breaks_the_pipe(demo: Demo) -> None:
    with pytest.raises(ResourceException) as caught:
        _execute(demo, "/no/such")

    assert (caught.value.status_code, caught.value.content) == (596, "Broken pipe")


def test_the_agent_answers_only_where_it_is_configured_and_alive(demo: Demo) -> None:
    for vmid, text in (
        (104, "No QEMU guest agent configured"),
        (106, "QEMU guest agent is not running"),
        (107, "VM 107 is not running"),
        (109, "QEMU guest agent is not running"),
    ):
        with pytest.raises(ResourceException, match=text):
            demo.guest(vmid).agent.ping.post()


@pytest.mark.parametrize(
    ("version", "privilege"),
    [("7.4", "VM.Monitor"), ("8.4", "VM.Monitor"), ("9.0", "VM.GuestAgent.Unrestricted")],
)
def test_exec_needs_another_privilege_since_version_nine(version: str, privilege: str) -> None:
    demo = Demo(version=version)
    assert _execute(demo, "echo", "a", "b")["out-data"] == "a b\n"

    user = demo.client(TOKENS["vmuser"])
    with pytest.raises(ResourceException, match=rf"\(/vms/100, {privilege}\)"):
        user.nodes("pve1").qemu(100).agent.exec.post(command=["id"])


@pytest.mark.parametrize(
    ("script", "code", "out", "err"),
    [
        ("echo out; echo err >&2; exit 3", 3, "out\n", "err\n"),
        ("seq 3 | wc -l", 0, "3\n", ""),
        ("false && echo no; true && echo yes", 0, "yes\n", ""),
        ("false || echo 'a; b | c'", 0, "a; b | c\n", ""),
        ("ls /nowhere 2>/dev/null", 2, "", ""),
        ("ls /nowhere 2>&1 | wc -l", 0, "1\n", ""),
        ("nonsense", 127, "", "sh: 1: nonsense: not found\n"),
        ("echo a\necho 'b > c'", 0, "a\nb > c\n", ""),
        ("exit 4; echo never", 4, "", ""),
        ("echo hidden > /dev/null", 0, "", ""),
        (
            "cat /etc/hostname; cat nothing",
            1,
            "web-01\n",
            "cat: nothing: No such file or directory\n",
        ),
        ("uname; uname -r; whoami", 0, "Linux\n6.1.0-27-amd64\nroot\n", ""),
        ("printenv LANG; printenv HOME", 1, "C.UTF-8\n", ""),
        ("echo one two | wc -w", 0, "2\n", ""),
        ("echo 'open", 2, "", 'sh: 1: Syntax error: "\'open" unexpected\n'),
    ],
)
def test_the_shell_knows_the_usual_connections(script: str, code: int, out: str, err: str) -> None:
    outcome = run(["/bin/sh", "-c", script], Context("web-01"))

    assert outcome is not None
    assert (outcome.code, outcome.out, outcome.err) == (code, out, err)
