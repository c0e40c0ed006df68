from typing import Any

import pytest
from mcp.client import Client
from mcp.types import CallToolResult

from proxmox_mcp.simulator import TOKENS, Cluster
from tests.conftest import Connect, text
from tests.wire import answer, silence


async def run(client: Client, **arguments: Any) -> CallToolResult:
    return await client.call_tool("proxmox_execute_vm_command", arguments)


def data(result: CallToolResult) -> dict[str, Any]:
    assert result.structured_content is not None, text(result)
    return dict(result.structured_content)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_list_is_run_directly_and_its_exit_code_awaited(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    async with connect(mode=mode) as client:
        said = data(await run(client, vmid=100, command=["echo", "a b", "$HOME"]))

    assert said["ran"] == "directly"
    assert (said["exited"], said["exit_code"]) == (True, 0)
    assert said["stdout"] == "a b $HOME\n"
    assert cluster.writes == [
        ("POST", "/nodes/pve1/qemu/100/agent/exec", {"command": ["echo", "a b", "$HOME"]})
    ]


async def test_a_text_is_run_by_the_guests_shell_and_says_which(
    client: Client, cluster: Cluster
) -> None:
    said = data(
        await run(client, node="pve1", vmid=100, command="echo x | cat; echo y >&2; exit 3")
    )

    assert said["ran"] == "by /bin/sh -c"
    assert (said["stdout"], said["stderr"], said["exit_code"]) == ("x\n", "y\n", 3)
    [(_, _, sent)] = cluster.writes
    assert sent["command"] == ["/bin/sh", "-c", "echo x | cat; echo y >&2; exit 3"]


async def test_a_windows_guest_runs_a_text_by_cmd(client: Client, cluster: Cluster) -> None:
    cluster.guest(109).paused = False

    await run(client, vmid="desk-01", command="dir C:\\Users")

    [(_, path, sent)] = cluster.writes
    assert path == "/nodes/pve3/qemu/109/agent/exec"
    assert sent["command"] == ["cmd.exe", "/c", "dir C:\\Users"]


async def test_input_reaches_the_command(client: Client) -> None:
    said = data(await run(client, vmid=100, command=["cat"], stdin="from here"))

    assert said["stdout"] == "from here"


@pytest.mark.parametrize("speed", [50])
async def test_when_the_wait_is_over_the_command_runs_on_and_can_be_awaited_by_pid(
    client: Client, cluster: Cluster
) -> None:
    begun = data(await run(client, vmid=100, command=["sleep", "20"], wait=0))
    ended = data(await run(client, vmid=100, pid=begun["pid"], wait=10))

    assert begun["exited"] is False
    assert "stdout" not in begun
    assert (ended["exited"], ended["exit_code"], ended["ran"]) == (True, 0, "earlier")
    assert len(cluster.writes) == 1


@pytest.mark.parametrize("speed", [50])
async def test_waiting_for_a_command_reports_progress(connect: Connect) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    # The SDK's in-memory transport of the modern era carries no progress token.
    async with connect(mode="legacy") as client:
        result = await client.call_tool(
            "proxmox_execute_vm_command",
            {"vmid": 100, "command": ["sleep", "40"], "wait": 10},
            progress_callback=listen,
        )

    assert data(result)["exited"] is True
    assert told
    assert told == sorted(told)
    assert {total for _, total, _ in told} == {10}
    assert all(str(words).startswith("pid 2002 on web-01") for _, _, words in told)


async def test_long_output_is_cut_in_the_middle_and_says_so(client: Client) -> None:
    said = data(await run(client, vmid=100, command=["seq", "20000"]))

    assert said["stdout"].startswith("1\n2\n")
    assert said["stdout"].endswith("19999\n20000\n")
    assert "characters in the middle of stdout" in said["cut"]
    assert len(said["stdout"]) < 17_000


async def test_output_that_the_agent_cut_says_so(client: Client, cluster: Cluster) -> None:
    ended = {"exited": 1, "exitcode": 0, "out-data": "x", "out-truncated": 1}
    cluster.intercept = lambda request: (
        answer(ended) if request.path.endswith("exec-status") else None
    )

    said = data(await run(client, vmid=100, command=["true"]))

    assert said["cut"] == "the end of stdout, which the guest agent cut"


async def test_a_killed_command_has_a_signal_and_no_exit_code(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = lambda request: (
        answer({"exited": 1, "signal": 9}) if request.path.endswith("exec-status") else None
    )

    said = data(await run(client, vmid=100, command=["sleep", "1"]))

    assert said["signal"] == 9
    assert "exit_code" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"vmid": 111, "command": "ls"}, "pct exec 111 -- <command>"),
        ({"vmid": 104, "command": ["ls"]}, "No QEMU guest agent configured"),
        ({"vmid": 106, "command": ["ls"]}, "qemu-guest-agent in the guest"),
        ({"vmid": 107, "command": ["ls"]}, "Start the guest first"),
        ({"vmid": 100, "command": ["/no/such"]}, "No such program in the guest"),
        ({"vmid": 100, "pid": 99_999}, "can be read once only"),
        ({"vmid": 100}, "Pass command to run one, or pid"),
        ({"vmid": 100, "command": ["ls"], "pid": 4}, "Pass command to run one, or pid"),
    ],
)
async def test_what_cannot_be_run_is_an_error_that_says_what_to_do(
    client: Client, arguments: dict[str, Any], words: str
) -> None:
    result = await run(client, **arguments)

    assert result.is_error
    assert words in text(result)


@pytest.mark.parametrize("command", ["", []])
async def test_an_empty_command_is_refused(
    client: Client, cluster: Cluster, command: str | list[str]
) -> None:
    result = await run(client, vmid=100, command=command)

    assert result.is_error
    assert "command must have at least 1" in text(result)
    assert cluster.requests == []


async def test_a_lost_answer_to_exec_is_reported_as_open_and_sent_once(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = lambda request: (
        silence(596, "Connection timed out") if request.path.endswith("agent/exec") else None
    )

    result = await run(client, vmid=100, command=["true"])

    assert result.is_error
    assert "it may have happened" in text(result)
    assert len(cluster.writes) == 1


async def test_without_the_privilege_it_is_named(connect: Connect) -> None:
    async with connect(credentials=TOKENS["audit"]) as client:
        result = await run(client, vmid=100, command=["ls"])

    assert result.is_error
    assert "VM.GuestAgent.Unrestricted on /vms/100" in text(result)
