"""A call that its client gives up: it ends at once, and the log says how far it was.

The contract: a cancelled call ends at once and its place in the limiter is free again. The one
request that it had under way cannot be called back; its thread waits for the answer, bounded by
the timeouts, and throws it away. So for that time the cluster may have one request more in hand
than max_parallel for each call given up.
"""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from mcp.client import Client

from proxmox_mcp.pve.connection import Limits
from proxmox_mcp.simulator import Answer, Cluster, Request
from tests.conftest import serve, text

BOUND = 10
"""Seconds after which something awaited here has failed."""

ONE_SLOT = Limits(retry_delay=0, max_parallel=1)


class Hang:
    """Lets requests that it is told to wait until they are let go."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.go_on = threading.Event()
        self.method, self.end = "GET", ""

    def on(self, method: str, end: str) -> None:
        """Hang the next request of this method whose path ends so."""
        self.method, self.end = method, end

    def __call__(self, request: Request) -> Answer | None:
        if self.end and request.method == self.method and request.path.endswith(self.end):
            self.end = ""
            self.arrived.set()
            self.go_on.wait(BOUND)
        return None


@pytest.fixture
def hang(cluster: Cluster) -> Iterator[Hang]:
    hanging = Hang()
    cluster.intercept = hanging
    yield hanging
    hanging.go_on.set()


async def given_up(client: Client, tool: str, arguments: dict[str, Any], until: Any) -> None:
    """Call a tool and cancel the call when *until* has happened."""
    with anyio.fail_after(BOUND):
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, tool, arguments)
            while not until():  # noqa: ASYNC110 - it happens in another thread
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()


async def last_line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """What the log says of a call, once it has ended."""
    with anyio.fail_after(BOUND):
        while not _ended(caplog):  # noqa: ASYNC110 - a log has no event to wait for
            await anyio.sleep(0.01)
    return dict(_ended(caplog)[-1].__dict__)


def _ended(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.message == "tool.finished"]


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxmox_mcp")


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_cancelled_call_frees_its_slot_while_its_request_still_hangs(
    cluster: Cluster, hang: Hang, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    hang.on("GET", "/cluster/resources")
    async with Client(serve(cluster, limits=ONE_SLOT), mode=mode) as client:
        await given_up(client, "proxmox_get_vms", {}, hang.arrived.is_set)
        line = await last_line(caplog)

        with anyio.fail_after(BOUND):
            result = await client.call_tool("proxmox_get_nodes", {})

        assert not hang.go_on.is_set()
    assert not result.is_error, text(result)
    assert (line["tool"], line["outcome"]) == ("proxmox_get_vms", "cancelled")
    assert line["ms"] < BOUND * 1000
    assert "accepted" not in line
    assert "unanswered" not in line


@pytest.fixture
def speed() -> float:
    """A backup takes seconds, so that it is still under way when its call is given up."""
    return 1


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_log_names_the_task_that_goes_on_without_its_call(
    cluster: Cluster, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = {"vmid": 103, "storage": "backup-storage", "wait": 60}

    def watched() -> bool:
        return any(
            each.path.endswith("/status") and "UPID" in each.path for each in cluster.requests
        )

    async with Client(serve(cluster), mode=mode) as client:
        await given_up(client, "proxmox_backup_create", wanted, watched)
        line = await last_line(caplog)
        status = await client.call_tool("proxmox_task_status", {"upid": line["upid"]})

    assert (line["outcome"], line["guest"]) == ("cancelled", "103")
    assert line["upid"].startswith("UPID:pve1:")
    assert line["accepted"] == ["POST /nodes/pve1/vzdump"]
    assert "unanswered" not in line
    assert (status.structured_content or {})["state"] == "running"
    assert [write[:2] for write in cluster.writes] == [("POST", "/nodes/pve1/vzdump")]


async def test_a_change_whose_answer_nobody_awaits_any_more_is_named_in_the_log(
    cluster: Cluster, hang: Hang, caplog: pytest.LogCaptureFixture
) -> None:
    hang.on("POST", "/status/stop")
    async with Client(serve(cluster), mode="legacy") as client:
        await given_up(client, "proxmox_vm_stop", {"vmid": 100}, hang.arrived.is_set)
        line = await last_line(caplog)

    assert (line["outcome"], line["guest"]) == ("cancelled", "100")
    assert line["unanswered"] == "POST /nodes/pve1/qemu/100/status/stop"
    assert "accepted" not in line
    assert "upid" not in line


async def test_a_sequence_given_up_halfway_says_what_was_accepted_before(
    cluster: Cluster, hang: Hang, caplog: pytest.LogCaptureFixture
) -> None:
    rule = {"vmid": 100, "action": "ACCEPT", "rule_type": "in", "comment": "first"}
    async with Client(serve(cluster), mode="legacy") as client:
        await client.call_tool("proxmox_firewall_rule_create", rule)
        caplog.clear()
        hang.on("PUT", "/rules/0")
        second = rule | {"pos": 1, "comment": "second"}
        await given_up(client, "proxmox_firewall_rule_create", second, hang.arrived.is_set)
        line = await last_line(caplog)

    rules = "/nodes/pve1/qemu/100/firewall/rules"
    assert (line["outcome"], line["guest"]) == ("cancelled", "100")
    assert line["accepted"] == [f"POST {rules}"]
    assert line["unanswered"] == f"PUT {rules}/0"
