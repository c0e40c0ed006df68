"""One row of the table: a fault, a tool, what came of it, and whether that is right.

A row is wrong where a change was carried out twice, where the answer says something else than what
the simulated cluster's state shows, where it came later than its bound, where other calls stood
still meanwhile, or where a secret or a traceback was shown.
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.assistant import START_SECONDS
from benchmarks.stage import SECRETS, Certificates, DisturbedCluster, Stage, staged
from proxmox_mcp.simulator import Answer

Told = Literal["answered", "failed", "done", "not done", "unknown", "under way", "nothing"]
"""What the model is told of a read, and of a change; ``nothing``: no answer within the bound."""

GRACE_SECONDS = 5.0
"""How much longer than its bound a row is waited for, before its answer counts as none."""

OTHERS_SECONDS = 2.0
"""A ping and a tools/list that take longer stood still: whoever hangs, hangs for 3.5 s or more."""

LOOK_SECONDS = 0.1
NODES, GUEST = "proxmox_get_nodes", "proxmox_get_vm_status"
NOBODY = 999_999_999
NO_LIST = Answer(500, "no list")

# What a model reads from a failed change, in the words of our messages; the first that fits.
_WORDS: tuple[tuple[Told, str], ...] = (
    ("under way", r"task goes on without being watched"),
    ("unknown", r"it may have happened|open whether|look at what became of it"),
    ("not done", ""),
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A tool and how to see what it did.

    Attributes:
        tool: Its name.
        arguments: What it is given, or how to find that in the cluster.
        hits: The request that matters, as a pattern over ``METHOD /path``.
        before: The last request before it.
        sees: What a good answer to a read holds.
        is_done: Whether the change shows in the cluster; None for a read.
    """

    tool: str
    arguments: Mapping[str, Any] | Callable[[DisturbedCluster], Mapping[str, Any]]
    hits: str
    before: str
    sees: str = ""
    is_done: Callable[[DisturbedCluster], bool] | None = None


Strike = Callable[[Stage, Subject], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the table, as it is meant to be.

    Attributes:
        name: What goes wrong.
        subject: What is asked meanwhile.
        strike: Brings the fault about, or arranges that it comes.
        told: What the model must be told.
        says: What must stand in the answer besides, as a pattern.
        within: Seconds until the answer must be there.
        requests: How many requests may reach the cluster at most.
        cluster: Options of the simulated cluster.
        settings: Settings of the server.
        alone: It leaves the server with an open circuit, and so wants one of its own.
    """

    name: str
    subject: Subject
    strike: Strike
    told: Told
    says: str = ""
    within: float = 5.0
    requests: int = 30
    cluster: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    alone: bool = False


@dataclass
class Row:
    """What came of one fault.

    Attributes:
        fault: Which one.
        told: What the model was told, in a word.
        text: What it read.
        truth: What the cluster shows of a change.
        reads: How many GETs the cluster received.
        writes: How many other requests it received.
        accepted: How often a change was accepted.
        seconds: How long the answer took.
        others: The longest that a ping or a tools/list took meanwhile, in seconds.
        wrong: What is wrong with it; empty where it is right.
    """

    fault: Fault
    told: Told
    text: str
    truth: str
    reads: int
    writes: int
    accepted: int
    seconds: float
    others: float
    wrong: list[str] = field(default_factory=list)


def played(faults: Sequence[Fault], folder: Path, certificates: Certificates) -> list[Row]:
    """Let faults happen, one after the other and each to a fresh cluster, and judge what came.

    They all meet the same server, started with the settings of the first.
    """
    rows = []
    with staged(folder, certificates, faults[0].settings) as stage:
        for fault in faults:
            stage.renew(fault.cluster)
            _warm_up(stage)
            fault.strike(stage, fault.subject)
            row = _measured(stage, fault)
            row.wrong = [*_faults(row), *_leaks(row, stage)]
            rows.append(row)
    return rows


def _warm_up(stage: Stage) -> None:
    """Come to mid-life: connected and logged in, with nothing remembered of any guest."""
    cluster, usual = stage.cluster, stage.cluster.first
    _ready(stage, NODES, {}, fails=False)
    # A guest that is in no list makes the server drop the list it remembers and ask for another.
    cluster.first = lambda request: NO_LIST if request.path == "/cluster/resources" else None
    _ready(stage, GUEST, {"vmid": NOBODY}, fails=True)
    cluster.first = usual
    cluster.received.clear()


def _ready(stage: Stage, tool: str, arguments: Mapping[str, Any], *, fails: bool) -> None:
    result = stage.assistant.call(tool, arguments).result(START_SECONDS)["result"]
    if bool(result.get("isError")) != fails:
        raise RuntimeError(f"the stage is not ready: {result}")


def _measured(stage: Stage, fault: Fault) -> Row:
    subject, cluster = fault.subject, stage.cluster
    given = subject.arguments
    arguments = given(cluster) if callable(given) else given
    began = time.monotonic()
    answer = stage.assistant.call(subject.tool, arguments)
    others = _others(stage, answer, began + fault.within + GRACE_SECONDS)
    seconds = time.monotonic() - began
    told, text = _heard(answer, reads=subject.is_done is None)
    writes = [each for each in cluster.received if each.method != "GET"]
    return Row(
        fault=fault,
        told=told,
        text=text,
        truth=_truth(subject, cluster),
        reads=len(cluster.received) - len(writes),
        writes=len(writes),
        accepted=len(cluster.accepted),
        seconds=seconds,
        others=others,
    )


def _others(stage: Stage, answer: Future[dict[str, Any]], until: float) -> float:
    """Ask other things until the answer is there, and return the longest that one of them took."""
    longest = 0.0
    while True:
        began = time.monotonic()
        asked = [stage.assistant.ask(method) for method in ("ping", "tools/list")]
        late = wait_for(asked, OTHERS_SECONDS + LOOK_SECONDS).not_done
        longest = max(longest, time.monotonic() - began)
        wait_for([answer], LOOK_SECONDS)
        if answer.done() or late or time.monotonic() >= until:
            return longest


def _heard(answer: Future[dict[str, Any]], *, reads: bool) -> tuple[Told, str]:
    try:
        result = answer.result(0)["result"]
    except TooLate:
        return "nothing", ""
    text = "\n".join(part.get("text", "") for part in result["content"])
    if result.get("isError"):
        return ("failed" if reads else claim(text)), text
    if reads:
        return "answered", text
    state = (result.get("structuredContent") or {}).get("state")
    return ("under way" if state == "running" else "done"), text


def claim(text: str) -> Told:
    """Say what a model understands of a change whose call failed.

    >>> claim("The change was sent and its answer lost, so it may have happened.")
    'unknown'
    """
    return next(told for told, words in _WORDS if re.search(words, text))


def _truth(subject: Subject, cluster: DisturbedCluster) -> str:
    if subject.is_done is None:
        return ""
    if subject.is_done(cluster):
        return "done"
    return "under way" if cluster.accepted and cluster.busy else "not done"


TRUE: Mapping[str, frozenset[str]] = {
    "done": frozenset({"done"}),
    "not done": frozenset({"not done"}),
    "unknown": frozenset({"done", "under way", "not done"}),
    "under way": frozenset({"done", "under way"}),
}
"""What may be told of a change, and of which truths it is true."""


def _faults(row: Row) -> list[str]:
    fault = row.fault
    lost_sight = (
        fault.subject.sees and row.told == "answered" and fault.subject.sees not in row.text
    )
    rules = (
        (row.told == "nothing", "no answer within its bound"),
        (row.seconds > fault.within, f"took longer than {fault.within:g} s"),
        (row.accepted > 1, f"carried out {row.accepted} times"),
        (row.accepted and not fault.subject.is_done, "a read changed something"),
        (row.truth and row.truth not in TRUE.get(row.told, ()), f"told falsely: {row.truth}"),
        (row.told != fault.told, f"should have been told: {fault.told}"),
        (not re.search(fault.says, row.text), f"does not say {fault.says}"),
        (lost_sight, f"the answer lacks {fault.subject.sees}"),
        (row.reads + row.writes > fault.requests, f"more than {fault.requests} requests"),
        (row.others > OTHERS_SECONDS, "other calls stood still meanwhile"),
    )
    return [words for broken, words in rules if broken]


def _leaks(row: Row, stage: Stage) -> list[str]:
    written = stage.assistant.written()
    shown = (row.text, written, json.dumps(stage.assistant.rubbish))
    rules = (
        (any(secret in text for secret in SECRETS for text in shown), "a secret was shown"),
        ("Traceback" in row.text or 'File "' in row.text, "a traceback was shown"),
        ("tool.crashed" in written or "Traceback" in written, "the server crashed in the call"),
        (stage.assistant.rubbish, "stdout held something else than JSON-RPC"),
    )
    return [words for broken, words in rules if broken]
