"""What the server adds to one read call: from client to server to answer, against proxmoxer alone.

The call is a guest's status by its id, warm, and the yardstick is the one request behind it, made
by plain proxmoxer in a worker thread; the two take turns.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread
from mcp.client import Client

from benchmarks import backend, work
from benchmarks.place import Recorded, called, client_on, direct, on
from benchmarks.report import Figure, measured
from proxmox_mcp import simulator
from proxmox_mcp.pve.connection import Connection

ROUNDS = 120
WARM_UP = 10
VMID = 100


async def timed(folder: Path) -> list[Figure]:
    """Time the call and its yardstick, in process and over HTTPS."""
    simulated = Connection(**simulator.CREDENTIALS)
    adapter = on(simulator.Cluster())
    async with client_on(adapter) as client:
        inside = await _rounds(client, direct(simulated, adapter))
    with backend.running(folder) as cluster:
        async with client_on(None, cluster.connection) as client:
            outside = await _rounds(client, direct(cluster.connection))
    return [
        measured("call.simulator", *inside),
        measured("call.https", *outside),
        measured("call.https.added", *outside),
    ]


async def _rounds(client: Client, root: Any) -> tuple[list[float], list[float]]:
    ours: list[float] = []
    alone: list[float] = []
    turns = ((_served(client), ours), (_alone(root), alone))
    for number in range(WARM_UP + ROUNDS):
        for job, kept in turns:
            began = time.perf_counter()
            await job()
            if number >= WARM_UP:
                kept.append((time.perf_counter() - began) * 1000)
    return ours, alone


def _served(client: Client) -> Callable[[], Awaitable[object]]:
    return lambda: called(client, "proxmox_get_vm_status", vmid=VMID)


def _alone(root: Any) -> Callable[[], Awaitable[object]]:
    return lambda: to_thread.run_sync(partial(root.nodes("pve1").qemu(VMID).status.current.get))


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
