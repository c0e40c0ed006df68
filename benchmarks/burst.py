"""Fifty questions at once: how near they come to perfect overlap at the limiter's width.

The server is a process of its own, and so is the cluster, which takes 20 ms for each request. Cold
is the first that a fresh server does, a person's first words after its start: the list is read and
connections are made. Warm is the same again.
"""

import time
from pathlib import Path

from benchmarks import backend
from benchmarks.assistant import START_SECONDS, Assistant
from benchmarks.place import LOOSE, OURS, environment
from benchmarks.report import Figure, measured, median
from proxmox_mcp.pve.connection import Limits

CALLS = 50
LATENCY_SECONDS = 0.02
ROUNDS = 5
WARM_ROUNDS = 3
FIRST = 1001
WORDS_SECONDS = 3.0
"""Nobody's first words come sooner; meanwhile the server gets ready."""
IDEAL_MS = CALLS / Limits().max_parallel * LATENCY_SECONDS * 1000


def timed(folder: Path) -> list[Figure]:
    """Time bursts, cold and warm, in several servers one after the other."""
    cold, warm = [], []
    guests = 12 + CALLS
    with backend.running(folder, guests=guests, latency=LATENCY_SECONDS) as cluster:
        for number in range(ROUNDS):
            home = folder / f"home-{number}"
            home.mkdir()
            variables = environment(home, {**cluster.variables, **LOOSE})
            with Assistant(OURS, variables, home) as assistant:
                assistant.ask("tools/list").result(START_SECONDS)
                time.sleep(WORDS_SECONDS)
                cold.append(burst(assistant))
                warm.append(median([burst(assistant) for _ in range(WARM_ROUNDS)]))
    return [measured("burst.warm", warm, [IDEAL_MS]), measured("burst.cold", cold, [IDEAL_MS])]


def burst(assistant: Assistant) -> float:
    """Ask for the status of fifty guests at once, and return how long all took, in ms.

    Raises:
        RuntimeError: One of them failed.
    """
    began = time.perf_counter()
    asked = [
        assistant.call("proxmox_get_vm_status", {"vmid": FIRST + number}) for number in range(CALLS)
    ]
    answers = [each.result(START_SECONDS) for each in asked]
    took = (time.perf_counter() - began) * 1000
    for answer in answers:
        if answer.get("result", {}).get("isError", True):
            raise RuntimeError(f"a call of the burst failed: {answer}")
    return took
