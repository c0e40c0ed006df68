"""A client built on the SDK's first major version, in its own environment, uses our server."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.process.environments import INSTALL_SECONDS, Environment
from tests.process.server_process import BOUND, OFFERED, PROGRAM, ROOT, environment

pytestmark = pytest.mark.timeout(2 * INSTALL_SECONDS)

CLIENT = """
import asyncio, json, os, sys
from importlib.metadata import version
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

async def main():
    told = []

    async def listen(progress, total, message):
        told.append([progress, total, message])

    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:], env=dict(os.environ))
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        hello = await session.initialize()
        tools = (await session.list_tools()).tools
        guest = await session.call_tool("proxmox_get_vm_status", {"vmid": 100})
        running = await session.call_tool("proxmox_task_list", {"running": True})
        upid = running.structuredContent["tasks"][0]["upid"]
        waited = await session.call_tool(
            "proxmox_task_status", {"upid": upid, "wait": 2}, progress_callback=listen
        )
        refused = await session.call_tool("proxmox_get_vm_status", {"vmid": 999})
    print(json.dumps({
        "client": version("mcp"),
        "protocol": hello.protocolVersion,
        "tools": {tool.name: tool.outputSchema is not None for tool in tools},
        "guest": guest.structuredContent,
        "upid": upid,
        "waited": waited.structuredContent,
        "progress": told,
        "refused": [refused.isError, refused.content[0].text],
    }))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What that client got to see."""
    folder = tmp_path_factory.mktemp("old-client")
    old = Environment(sys.executable, folder / "environment")
    old.install("mcp>=1.30,<2")
    ended = subprocess.run(  # noqa: S603 - the client above
        [old.python, "-c", CLIENT, *PROGRAM, "--demo"],
        cwd=ROOT,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return dict(json.loads(ended.stdout))


def test_it_really_is_an_old_client(seen: dict[str, Any]) -> None:
    assert seen["client"].startswith("1.")
    assert seen["protocol"] == "2025-11-25"


def test_it_lists_the_tools_with_the_shape_of_their_results(seen: dict[str, Any]) -> None:
    assert list(seen["tools"]) == OFFERED
    assert seen["tools"]["proxmox_get_vms"]
    assert not seen["tools"]["proxmox_task_log"]


def test_it_gets_structured_results(seen: dict[str, Any]) -> None:
    assert (seen["guest"]["vmid"], seen["guest"]["name"]) == (100, "web-01")


def test_it_hears_how_far_a_task_is_while_it_waits(seen: dict[str, Any]) -> None:
    assert (seen["waited"]["upid"], seen["waited"]["state"]) == (seen["upid"], "running")
    steps = [progress for progress, _, _ in seen["progress"]]
    assert len(steps) >= 2
    assert steps == sorted(set(steps))
    assert all("vzdump" in message for _, _, message in seen["progress"])


def test_it_reads_why_a_call_failed(seen: dict[str, Any]) -> None:
    is_error, words = seen["refused"]
    assert is_error
    assert "999" in words
