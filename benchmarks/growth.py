"""How work grows with the cluster: no worse than linear, and not at all where memory serves.

Work is counted in calls of Python functions (see work.py), on recorded answers, so that the
simulated cluster's own work is not in it. A cold find knows another cluster's list.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mcp.client import Client

from benchmarks import work
from benchmarks.place import Recorded, called, client_on, direct
from benchmarks.report import Figure, measured
from proxmox_mcp import simulator
from proxmox_mcp.pve.connection import Connection

SIZES = (100, 1_000, 10_000)
NODES = (3, 32)
NAME, VMID = "app-11", 1001
"""A guest that the small cluster has not, so that nothing is remembered of it."""

ROUNDS = 7
Job = Callable[[Client], Awaitable[str]]


def _list(client: Client) -> Awaitable[str]:
    return called(client, "proxmox_get_vms", name="web-*")


def _health(client: Client) -> Awaitable[str]:
    return called(client, "proxmox_get_cluster_status")


def _find(client: Client) -> Awaitable[str]:
    return called(client, "proxmox_get_vm_status", vmid=NAME)


@dataclass(frozen=True)
class Counts:
    """Calls of Python functions on one cluster."""

    list: int
    health: int
    cold: int
    warm: int


async def counted(counter: work.Counter, guests: int, nodes: int = 3) -> Counts:
    """Count the work of each call on one cluster."""
    with counter.paused():
        few, many = Recorded(simulator.Cluster()), _recorded(guests, nodes)
    async with client_on(few) as client:
        await _list(client)  # what is done once is done on the small cluster
        await _health(client)
        await called(client, "proxmox_get_vm_status", vmid="web-01")
        few.answers = many.answers
        cold = await work.of(counter, lambda: _find(client))
        warm = await work.of(counter, lambda: _find(client))
        list_ = await work.of(counter, lambda: _list(client))
        health = await work.of(counter, lambda: _health(client))
    return Counts(list_, health, cold, warm)


def _recorded(guests: int, nodes: int) -> Recorded:
    adapter = Recorded(simulator.Cluster(guests=guests, nodes=nodes))
    api = direct(Connection(**simulator.CREDENTIALS), adapter)
    api.cluster.status.get()
    api.cluster.resources.get()
    api.cluster.resources.get(type="vm")
    api.nodes("pve1").qemu(VMID).status.current.get()
    return adapter


async def exact(counter: work.Counter) -> list[Figure]:
    """Compare the counts of clusters of several sizes."""
    small, middle, large = [await counted(counter, size) for size in SIZES]
    few, many = [await counted(counter, SIZES[0], nodes) for nodes in NODES]
    pairs = {
        "growth.list": (large.list, middle.list),
        "growth.list.small": (middle.list, small.list),
        "growth.health": (large.health, middle.health),
        "growth.health.small": (middle.health, small.health),
        "growth.nodes": (many.health, few.health),
        "growth.cold": (large.cold, middle.cold),
        "growth.warm": (large.warm, small.warm),
    }
    return [Figure(key=key, value=more, yardstick=less) for key, (more, less) in pairs.items()]


async def timed() -> list[Figure]:
    """Compare times in the same manner, in interleaved rounds."""
    small, middle, large = [Recorded(simulator.Cluster(guests=size)) for size in SIZES]
    async with client_on(small) as few, client_on(middle) as some, client_on(large) as many:
        listed = await _rounds(_list, many, some)
        found = await _rounds(_find, many, few)
    return [measured("growth.time.list", *listed), measured("growth.time.warm", *found)]


async def _rounds(job: Job, one: Client, other: Client) -> tuple[list[float], list[float]]:
    times: tuple[list[float], list[float]] = ([], [])
    for client in (one, other):
        await job(client)
    for _ in range(ROUNDS):
        for client, kept in zip((one, other), times, strict=True):
            if job is _find:
                await job(client)  # what is remembered may have grown too old meanwhile
            began = time.perf_counter()
            await job(client)
            kept.append((time.perf_counter() - began) * 1000)
    return times
