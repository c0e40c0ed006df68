"""Many calls at once, and many servers at once: nothing is lost, and the cluster is not overrun."""

import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client

from proxmox_mcp import simulator
from proxmox_mcp.pve.connection import Limits
from tests.conftest import serve
from tests.process.server_process import (
    finished,
    https_door,
    log_files,
    log_lines,
    serving,
)
from tests.process.warm import program

CALLS = 200
SERVERS = 4
PARALLEL = 8
GATHER_SECONDS = 10
VMIDS = (100, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111)
LOOSE = {"PROXMOX_MCP_RATE_BURST": "100000"}


class Gauge:
    """How many requests a cluster has in hand at once, at most.

    The first ones wait for each other, so that as many as may be under way really are, and then a
    moment longer, in which one too many would show.
    """

    def __init__(self, full: int) -> None:
        self.most = 0
        self._now = 0
        self._full = full
        self._gathered = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, request: simulator.Request) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            if self._now >= self._full:
                self._gathered.set()
        if request.path.endswith("/status/current"):
            first = not self._gathered.is_set()
            self._gathered.wait(GATHER_SECONDS)
            time.sleep(0.1 if first else 0.001)
        with self._lock:
            self._now -= 1


def arguments(number: int) -> dict[str, Any]:
    return {"vmid": VMIDS[number % len(VMIDS)]}


async def test_200_calls_at_once_are_all_answered_and_the_limiter_holds(
    cluster: simulator.Cluster,
) -> None:
    gauge = Gauge(PARALLEL)
    cluster.intercept = gauge
    limits = Limits(retry_delay=0, rate_burst=10_000, max_parallel=PARALLEL)
    answered: dict[int, Any] = {}

    async with Client(serve(cluster, limits=limits), mode="legacy") as client:

        async def one(number: int) -> None:
            result = await client.call_tool("proxmox_get_vm_status", arguments(number))
            answered[number] = (result.structured_content or {}).get("vmid")

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for number in range(CALLS):
                    group.start_soon(one, number)

    assert answered == {number: arguments(number)["vmid"] for number in range(CALLS)}
    assert gauge.most == PARALLEL


@pytest.fixture
def speed() -> float:
    """The cluster's own pace, so that figures stay as they are meanwhile."""
    return 1


def test_200_calls_at_once_over_a_pipe_are_all_answered_and_logged(
    cluster: simulator.Cluster, tmp_path: Path
) -> None:
    gauge = Gauge(PARALLEL)
    cluster.intercept = gauge
    with (
        https_door(cluster, tmp_path) as door,
        serving(tmp_path / "home", variables=door | LOOSE, command=program()) as server,
    ):
        server.initialize()
        asked = [
            server.ask_tool("proxmox_get_vm_status", **arguments(number)) for number in range(CALLS)
        ]
        vmids = [server.answer(number)["result"]["structuredContent"]["vmid"] for number in asked]
        server.end_input()

        assert server.wait() == 0
    assert vmids == [arguments(number)["vmid"] for number in range(CALLS)]
    assert gauge.most == PARALLEL
    lines = finished(tmp_path)
    assert len({line["call"] for line in lines}) == CALLS
    assert Counter(line["guest"] for line in lines) == Counter(map(str, vmids))


def test_four_servers_on_one_cluster_and_one_log_folder_lose_nothing(
    cluster: simulator.Cluster, tmp_path: Path
) -> None:
    each = CALLS // SERVERS
    gauge = Gauge(PARALLEL)
    cluster.intercept = gauge
    with ExitStack() as stack:
        door = stack.enter_context(https_door(cluster, tmp_path))
        servers = [
            stack.enter_context(serving(tmp_path / "home", variables=door | LOOSE))
            for _ in range(SERVERS)
        ]
        for server in servers:
            server.initialize()
        asked = [
            (server, number, server.ask_tool("proxmox_get_vm_status", **arguments(number)))
            for number in range(each)
            for server in servers
        ]
        for server, number, sent in asked:
            said = server.answer(sent)["result"]
            assert said["structuredContent"]["vmid"] == arguments(number)["vmid"]
        for server in servers:
            server.end_input()
        assert [server.wait() for server in servers] == [0] * SERVERS
        pids = {str(server.process.pid) for server in servers}

    files = log_files(tmp_path)
    assert {file.stem.rpartition("-")[2] for file in files} == pids
    for file in files:
        events = [line["event"] for line in log_lines(file)]
        assert (events[0], events[-1]) == ("server.started", "server.stopped")
        assert events.count("tool.finished") == each
    assert len({line["call"] for line in finished(tmp_path)}) == CALLS
    assert gauge.most <= SERVERS * PARALLEL
