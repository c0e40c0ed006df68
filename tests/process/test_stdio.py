"""The server as a process: what it answers, how it ends, what it writes, and where."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

from proxmox_mcp import simulator
from proxmox_mcp.cli.serve import GRACE_SECONDS
from tests.process.server_process import (
    BOUND,
    OFFERED,
    ROOT,
    ServerProcess,
    environment,
    everything_written,
    finished,
    https_door,
    initialize_params,
    log_files,
    log_lines,
    request_line,
    run_program,
    serving,
)
from tests.process.warm import COLD, program

SECRET = "5ecret-0f-s0mebody"
HANGING = 40
LATE_SECONDS = 0.7
"""What a busy machine may add to the time that the server allows itself."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals on Windows")


@pytest.fixture
def door(cluster: simulator.Cluster, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables that lead to the simulated cluster over HTTPS."""
    with https_door(cluster, tmp_path) as variables:
        yield variables


# --- both eras -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_a_healthy_life_ends_with_its_input_and_leaves_stderr_empty(
    version: str, tmp_path: Path
) -> None:
    with serving(tmp_path, "--demo") as server:
        hello = server.initialize(version)
        tools = server.answer(server.ask("tools/list"))["result"]["tools"]
        guests = server.call("proxmox_get_vms", status="running")
        began = time.monotonic()
        server.end_input()

        assert server.wait() == 0
        assert time.monotonic() - began < GRACE_SECONDS
        assert server.stderr == ""
    last = log_lines(*log_files(tmp_path))[-1]
    assert (last["event"], last["code"]) == ("server.stopped", 0)
    assert hello["protocolVersion"] == version
    assert hello["serverInfo"]["name"] == "proxmox"
    assert [tool["name"] for tool in tools] == OFFERED
    assert 100 in {guest["vmid"] for guest in guests["structuredContent"]["guests"]}


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
async def test_the_sdks_client_is_served_in_either_era(
    mode: str, version: str, tmp_path: Path
) -> None:
    child = StdioServerParameters(
        command=COLD[0], args=[*COLD[1:], "--demo"], env=environment(tmp_path), cwd=ROOT
    )
    with (tmp_path / "stderr").open("w+") as errors:
        async with Client(stdio_client(child, errlog=errors), mode=mode) as client:
            spoken = client.protocol_version
            listed = await client.list_tools()
            result = await client.call_tool("proxmox_get_vm_status", {"vmid": 100})
        errors.seek(0)
        assert errors.read() == ""
    assert spoken == version
    assert [tool.name for tool in listed.tools] == OFFERED
    assert not result.is_error
    assert (result.structured_content or {})["name"] == "web-01"


def test_lines_that_are_no_requests_do_no_harm(tmp_path: Path) -> None:
    with serving(tmp_path, "--demo", command=program()) as server:
        server.initialize()
        for line in (
            b"",
            b"hello",
            b"\xff\xfe\x00",
            b"null",
            b"[]",
            b"{}",
            b'{"jsonrpc": "1.0", "id": 90, "method": "ping"}',
            b'{"jsonrpc": "2.0", "id": 91, "method"',
            b'{"jsonrpc": "2.0", "id": 92, "result": {}}',
            b'{"jsonrpc": "2.0", "method": "notifications/nosuch"}',
            b"[" * 100_000,
            b"x" * 1_000_000,
        ):
            server.write(line)
        unknown = server.answer(server.ask("nosuch/method"))
        nodes = server.call("proxmox_get_nodes")
        server.end_input()

        assert server.wait() == 0
    assert unknown["error"]["code"] == -32601
    assert len(nodes["structuredContent"]["nodes"]) == 3


# --- the end ---------------------------------------------------------------------------------


def interrupt(server: ServerProcess) -> None:
    server.process.send_signal(signal.SIGINT)


def terminate(server: ServerProcess) -> None:
    server.process.send_signal(signal.SIGTERM)


SIGNALS = [
    pytest.param(interrupt, 130, id="SIGINT", marks=posix),
    pytest.param(terminate, 143, id="SIGTERM", marks=posix),
]
WAYS_OUT = [pytest.param(ServerProcess.end_input, 0, id="end of input"), *SIGNALS]


@pytest.mark.parametrize(("leave", "code"), SIGNALS)
def test_a_signal_ends_an_idle_server_at_once_with_its_log_written(
    leave: Callable[[ServerProcess], None], code: int, tmp_path: Path
) -> None:
    with serving(tmp_path, "--demo") as server:
        server.initialize()
        began = time.monotonic()
        leave(server)

        assert server.wait() == code
        assert time.monotonic() - began < GRACE_SECONDS
        assert server.stderr == ""
    last = log_lines(*log_files(tmp_path))[-1]
    assert (last["event"], last["code"]) == ("server.stopped", code)


@pytest.mark.parametrize(("leave", "code"), WAYS_OUT)
def test_requests_that_hang_do_not_keep_the_server_from_leaving(
    leave: Callable[[ServerProcess], None],
    code: int,
    cluster: simulator.Cluster,
    door: dict[str, str],
    tmp_path: Path,
) -> None:
    arrived, released = threading.Semaphore(0), threading.Event()

    def hang(_: simulator.Request) -> simulator.Answer | None:
        arrived.release()
        released.wait(BOUND)
        return None

    cluster.intercept = hang
    at_once = door | {"PROXMOX_MCP_MAX_PARALLEL": str(HANGING)}
    try:
        with serving(tmp_path, variables=at_once, command=program()) as server:
            server.initialize()
            for _ in range(HANGING):
                server.ask_tool("proxmox_get_nodes")
            for _ in range(HANGING):
                assert arrived.acquire(timeout=BOUND)
            began = time.monotonic()
            leave(server)

            assert server.wait() == code
            assert time.monotonic() - began < GRACE_SECONDS + LATE_SECONDS
            assert server.stderr == ""
    finally:
        released.set()
    stopped = [
        line["code"]
        for line in log_lines(*log_files(tmp_path))
        if line["event"] == "server.stopped"
    ]
    assert stopped == [code]
    assert [line["outcome"] for line in finished(tmp_path)] == ["cancelled"] * HANGING


PARENT = """
import subprocess, sys, threading
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
server.stdin.write(sys.stdin.buffer.readline())
server.stdin.flush()
threading.Event().wait()
"""


def test_killing_the_process_that_started_it_ends_the_server(tmp_path: Path) -> None:
    parent = (sys.executable, "-c", PARENT, *COLD)
    with serving(tmp_path, "--demo", command=parent) as server:
        hello = server.answer(server.ask("initialize", initialize_params()))
        server.process.kill()

        server.stdout_ended()
    assert hello["result"]["serverInfo"]["name"] == "proxmox"
    last = log_lines(*log_files(tmp_path))[-1]
    assert (last["event"], last["code"]) == ("server.stopped", 0)


# --- stdout and stderr -----------------------------------------------------------------------

NOISE = """
import os, sys, threading, time

def chatter():
    while True:
        print("stray thread", flush=True)
        time.sleep(0.001)

class Noisy:
    def find_spec(self, name, path=None, target=None):
        if name in ("mcp.server", "requests"):
            print(f"stray print at {name}\\n", end="")  # in one piece, beside the other thread
            os.write(1, b"stray bytes\\n")
            os.system("echo stray child")
        if name == "mcp.server":
            threading.Thread(target=chatter, daemon=True).start()

sys.meta_path.insert(0, Noisy())
"""


def test_nothing_that_others_print_gets_onto_the_wire(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NOISE)
    noisy = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}

    with serving(tmp_path, "--demo", variables=noisy) as server:
        server.initialize()
        server.call("proxmox_get_nodes")
        server.end_input()

        assert server.wait() == 0  # every line of stdout was JSON-RPC
        said = server.stderr
    assert len(server.lines) == 2
    assert "stray print at mcp.server" in said
    assert "stray print at requests" in said
    assert said.count("stray bytes") == said.count("stray child") == 2
    assert said.count("stray thread") > 10


def test_without_verification_of_certificates_each_start_warns_once(
    door: dict[str, str], tmp_path: Path
) -> None:
    with serving(
        tmp_path, variables=door | {"PROXMOX_VERIFY_SSL": "false"}, command=program()
    ) as server:
        server.initialize()
        nodes = server.call("proxmox_get_nodes")
        server.end_input()

        assert server.wait() == 0
        (warning,) = server.stderr.splitlines()
    assert not nodes["isError"]
    assert "TLS verification is OFF" in warning
    assert "PROXMOX_VERIFY_SSL" in warning


HELLO = request_line(0, "initialize", initialize_params()) + "\n"


def test_without_credentials_it_says_how_to_give_them_and_that_the_demo_needs_none(
    tmp_path: Path,
) -> None:
    ended = run_program(tmp_path, said=HELLO, command=COLD)

    assert (ended.returncode, ended.stdout) == (2, "")
    for name in ("HOST", "USER", "TOKEN_NAME", "TOKEN_VALUE"):
        assert f"PROXMOX_{name}" in ended.stderr
    assert "--demo" in ended.stderr
    assert "Traceback" not in ended.stderr


BROKEN: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "half a login": (
        {"PROXMOX_HOST": "pve", "PROXMOX_TOKEN_VALUE": SECRET},
        ("user", "token_name"),
    ),
    "everything wrong at once": (
        {
            "PROXMOX_HOST": f"https://root:{SECRET}@pve",
            "PROXMOX_USER": "root",
            "PROXMOX_TOKEN_NAME": "mcp",
            "PROXMOX_TOKEN_VALUE": f"{SECRET}\n{SECRET}",
            "PROXMOX_PORT": SECRET,
            "PROXMOX_MCP_HOSTT": SECRET,
        },
        ("PROXMOX_HOST", "PROXMOX_USER", "PROXMOX_TOKEN_VALUE", "PROXMOX_PORT", "HOSTT"),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_settings_end_the_start_with_a_page_of_problems_and_no_secret(
    case: str, tmp_path: Path
) -> None:
    variables, named = BROKEN[case]

    ended = run_program(tmp_path, said=HELLO, variables=variables, command=COLD)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert [name for name in named if name not in ended.stderr] == []
    assert SECRET not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_login_that_is_refused_is_an_error_and_never_the_demo(
    cluster: simulator.Cluster, door: dict[str, str], tmp_path: Path
) -> None:
    login = {name: text for name, text in door.items() if "TOKEN" not in name}
    login |= {"PROXMOX_PASSWORD": SECRET, "PROXMOX_MCP_LOG_LEVEL": "DEBUG"}
    with serving(tmp_path, variables=login, command=program()) as server:
        server.initialize()
        result = server.call("proxmox_get_nodes")
        server.end_input()

        assert server.wait() == 0
        assert SECRET not in server.stderr
    said = result["content"][0]["text"]
    assert result["isError"]
    assert "401" in said or "password" in said
    assert "imulated" not in said
    (attempt,) = [each for each in cluster.requests if each.path == "/access/ticket"]
    assert attempt.param["password"] == SECRET
    assert [line["outcome"] for line in finished(tmp_path)] == ["NotAuthenticated"]
    assert SECRET not in everything_written(tmp_path)


# --- log files -------------------------------------------------------------------------------


def test_every_call_leaves_one_line_with_its_figures_and_no_secret(
    cluster: simulator.Cluster, door: dict[str, str], tmp_path: Path
) -> None:
    elevated = {"PROXMOX_ALLOW_ELEVATED": "true", "PROXMOX_MCP_LOG_LEVEL": "DEBUG"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("proxmox_get_nodes", {}),
        ("proxmox_get_vm_status", {"vmid": "web-01"}),
        ("proxmox_get_vm_status", {"vmid": 999}),
        ("proxmox_execute_vm_command", {"vmid": 100, "command": ["id"]}),
    ]
    with serving(tmp_path, variables=door | elevated, command=program()) as server:
        server.initialize()
        for tool, arguments in calls:
            server.call(tool, **arguments)
        server.end_input()

        assert server.wait() == 0
        assert simulator.CREDENTIALS["token_value"] not in server.stderr
    lines = finished(tmp_path)
    facts = [(line["tool"], line["effect"], line["outcome"], line.get("guest")) for line in lines]
    assert facts == [
        ("proxmox_get_nodes", "reads", "ok", None),
        ("proxmox_get_vm_status", "reads", "ok", "100"),
        ("proxmox_get_vm_status", "reads", "NotFound", None),
        ("proxmox_execute_vm_command", "changes", "ok", "100"),
    ]
    assert len({line["call"] for line in lines}) == len(calls)
    assert all(line["ms"] > 0 for line in lines)
    assert sum(line["requests"] for line in lines) == len(cluster.requests)
    sent = cluster.requests[0].headers["authorization"]
    assert simulator.CREDENTIALS["token_value"] in sent
    written = everything_written(tmp_path)
    assert simulator.CREDENTIALS["token_name"] in written
    assert simulator.CREDENTIALS["token_value"] not in written


def test_two_servers_write_one_folder_without_losing_a_line(tmp_path: Path) -> None:
    each = 30
    with serving(tmp_path, "--demo") as one, serving(tmp_path, "--demo") as other:
        both = (one, other)
        for server in both:
            server.initialize()
        asked = [
            (server, server.ask_tool("proxmox_get_vms")) for _ in range(each) for server in both
        ]
        for server, number in asked:
            assert not server.answer(number)["result"]["isError"]
        for server in both:
            server.end_input()
        assert [server.wait() for server in both] == [0, 0]

    files = log_files(tmp_path)
    assert len(files) == 2
    lines = finished(tmp_path)
    assert len({line["call"] for line in lines}) == 2 * each
    for server in both:
        (own,) = [path for path in files if path.stem.endswith(f"-{server.process.pid}")]
        events = [line["event"] for line in log_lines(own)]
        assert events[0] == "server.started"
        assert events[-1] == "server.stopped"
        assert events.count("tool.finished") == each


def test_a_call_about_a_task_is_logged_with_the_tasks_id(tmp_path: Path) -> None:
    with serving(tmp_path, "--demo", command=program()) as server:
        server.initialize()
        (task,) = server.call("proxmox_task_list", running=True)["structuredContent"]["tasks"]
        stopped = server.call("proxmox_task_stop", upid=task["upid"])
        server.end_input()
        server.wait()

    assert not stopped["isError"]
    assert finished(tmp_path)[-1].get("upid") == task["upid"]
