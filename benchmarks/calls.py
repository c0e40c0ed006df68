"""What the server adds to one read call: from client to server to answer, against proxmoxer alone.

The call is a guest's status by its id, warm, and the yardstick is the one request behind it, made
by plain proxmoxer in a worker thread; the two take turns. Over HTTPS a third takes its turn: a tool
of the SDK that does nothing but make that request, and so costs what no server on it can save.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread
from mcp.client import Client
from mcp.server.mcpserver import MCPServer

from benchmarks import backend, work
from benchmarks.place import Recorded, called, client_on, direct, on
from benchmarks.report import Figure, measured
from proxmox_mcp import simulator
from proxmox_mcp.pve.connection import Connection

ROUNDS = 120
WARM_UP = 10
LATENCY_SECONDS = 0.02
TOOL, VMID = "proxmox_get_vm_status", 100


async def timed(folder: Path) -> list[Figure]:
    """Time the call and its yardstick, in process and over HTTPS."""
    simulated = Connection(**simulator.CREDENTIALS)
    adapter = on(simulator.Cluster())
    async with client_on(adapter) as client:
        inside = await _rounds(_served(client), _alone(direct(simulated, adapter)))
    with backend.running(folder / "fast") as cluster:
        root = direct(cluster.connection)
        bare_server = Client(_bare(root), mode="legacy")
        async with client_on(None, cluster.connection) as ours, bare_server as bare:
            jobs = _served(ours), _alone(root), _served(bare)
            served, alone, through_sdk = await _rounds(*jobs)
    with backend.running(folder / "slow", latency=LATENCY_SECONDS) as cluster:
        async with client_on(None, cluster.connection) as ours:
            alone_there = _alone(direct(cluster.connection))
            usual = await _rounds(_served(ours), alone_there, rounds=ROUNDS // 4)
    return [
        measured("call.simulator", *inside),
        measured("call.https", served, alone),
        measured("call.https.sdk", through_sdk, alone),
        measured("call.https.added", served, alone),
        measured("call.https.usual", *usual),
    ]


async def _rounds(
    *jobs: Callable[[], Awaitable[object]], rounds: int = ROUNDS
) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in jobs]
    for number in range(WARM_UP + rounds):
        for job, kept in zip(jobs, times, strict=True):
            began = time.perf_counter()
            await job()
            if number >= WARM_UP:
                kept.append((time.perf_counter() - began) * 1000)
    return times


def _served(client: Client) -> Callable[[], Awaitable[object]]:
    return lambda: called(client, TOOL, vmid=VMID)


def _alone(root: Any) -> Callable[[], Awaitable[object]]:
    return lambda: to_thread.run_sync(partial(root.nodes("pve1").qemu(VMID).status.current.get))


def _bare(root: Any) -> MCPServer[None]:
    server: MCPServer[None] = MCPServer("bare", version="1")

    @server.tool(TOOL)
    async def status(vmid: int) -> dict[str, Any]:
        get = root.nodes("pve1").qemu(vmid).status.current.get
        answer: dict[str, Any] = await to_thread.run_sync(get)
        return answer

    return server


async def exact(counter: work.Counter) -> list[Figure]:
    """Count the work of both."""
    adapter = Recorded(simulator.Cluster())
    alone = _alone(direct(Connection(**simulator.CREDENTIALS), adapter))
    async with client_on(adapter) as client:
        counts = []
        for job in (_served(client), alone):
            for _ in range(WARM_UP):
                await job()
            counts.append(await work.of(counter, job))
    return [Figure(key="call.work", value=counts[0], yardstick=counts[1])]
