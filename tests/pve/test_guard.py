"""How often a call is tried, how fast, what it has sent, and what it may remember."""

import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import requests

from proxmox_mcp.pve.bucket import Bucket
from proxmox_mcp.pve.connection import Limits
from proxmox_mcp.pve.errors import (
    BadAnswer,
    NotFound,
    OutcomeUnknown,
    ProxmoxError,
    Refused,
    TooBusy,
    Unreachable,
)
from proxmox_mcp.pve.guard import Cluster, Pve, guarded
from proxmox_mcp.pve.locate import locate
from tests.pve.scripted import (
    FAST,
    LOST,
    Reply,
    Scripted,
    Wire,
    bridge_over,
    data,
    pve_over,
    refused,
)

NOT_MADE = requests.ConnectionError(ConnectionRefusedError(111, "Connection refused"))
GAVE_UP = Reply(596, "Connection timed out", b"")
NO_GUEST = refused(500, "Configuration file 'nodes/pve1/qemu-server/105.conf' does not exist")


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


# --- the bucket ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "burst", "pauses", "waits"),
    [
        (10, 3, [0, 0, 0], [0, 0, 0]),
        (10, 3, [0, 0, 0, 0, 0], [0, 0, 0, 0.1, 0.2]),
        (10, 1, [0, 0.1, 0.1], [0, 0, 0]),
        (10, 1, [0, 0.05, 0.1], [0, 0.05, 0.05]),
        (2, 2, [0, 0, 100, 0, 0], [0, 0, 0, 0, 0.5]),
        (0.5, 1, [0, 0, 4], [0, 2, 0]),
    ],
    ids=["burst", "in a row", "at the rate", "too fast", "full again, never fuller", "slow"],
)
def test_a_bucket_says_how_long_each_taker_waits(
    rate: float, burst: int, pauses: list[float], waits: list[float]
) -> None:
    clock = Clock()
    bucket = Bucket(rate, burst, clock)
    given = []
    for pause in pauses:
        clock.now += pause
        given.append(bucket.take(patience=60))

    assert given == pytest.approx(waits)


@pytest.mark.parametrize(("rate", "burst"), [(1.0, 1), (3.0, 7), (10.0, 100), (0.7, 2)])
def test_never_more_than_the_burst_and_the_rate_are_granted(rate: float, burst: int) -> None:
    clock = Clock()
    bucket = Bucket(rate, burst, clock)
    begun, used = clock.now, list[float]()
    for step in range(500):
        clock.now += (step * 7919 % 13) / 20  # an uneven pace that repeats at every run
        if (wait := bucket.take(patience=2.0)) is not None:
            used.append(clock.now + wait - begun)

    used.sort()
    assert len(used) > 10
    assert [
        (first, last)
        for first in range(len(used))
        for last in range(first, len(used))
        if last - first + 1 > burst + rate * (used[last] - used[first]) + 1e-6
    ] == []


def test_what_would_wait_too_long_is_told_so_and_takes_nothing() -> None:
    bucket = Bucket(1, 1, Clock())

    assert [bucket.take(patience=1.5) for _ in range(4)] == [0, 1, None, None]
    assert bucket.take(patience=2.5) == 2


def test_a_token_put_back_serves_the_next_taker() -> None:
    bucket = Bucket(1, 1, Clock())
    bucket.take(patience=5)
    assert bucket.take(patience=5) == 1

    bucket.put_back()

    assert bucket.take(patience=5) == 1


def test_tokens_put_back_never_overfill_the_bucket() -> None:
    bucket = Bucket(1, 1, Clock())
    bucket.put_back()
    bucket.put_back()

    assert [bucket.take(patience=5) for _ in range(2)] == [0, 1]


# --- the turn --------------------------------------------------------------------------------


async def test_a_turn_that_is_too_far_away_is_refused_at_once_and_nothing_sent() -> None:
    wire = Wire(data(1))
    pve = await pve_over(wire, Limits(rate_per_second=0.1, rate_burst=1, retry_total=5.0))
    await pve.send(pve.version.get)

    with (
        anyio.fail_after(1),
        pytest.raises(TooBusy, match=r"5 s away\. Nothing was sent"),
    ):
        await pve.send(pve.nodes("pve1").vzdump.post)

    assert wire.asked == ["GET /version"]
    assert not pve.wrote


async def test_requests_beyond_the_burst_wait_for_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    clock = Clock()
    wire = Wire(data(1))
    pve = Pve(Cluster(bridge_over(wire), Limits(rate_per_second=4, rate_burst=2), clock))
    await pve.open()

    for _ in range(4):
        await pve.send(pve.version.get)

    assert slept == [0.25, 0.5]
    assert (len(wire.asked), pve.requests) == (4, 4)


async def test_a_caller_that_is_cancelled_while_waiting_gives_its_turn_back() -> None:
    wire = Wire(data(1))
    limits = Limits(rate_per_second=0.1, rate_burst=1, retry_total=15.0)
    clock = Clock()
    pve = Pve(Cluster(bridge_over(wire), limits, clock))
    await pve.open()
    await pve.send(pve.version.get)

    with anyio.move_on_after(0.02):
        await pve.send(pve.version.get)

    assert wire.asked == ["GET /version"]
    assert pve.cluster.bucket.take(patience=15.0) == pytest.approx(10.0)


async def test_two_calls_share_the_rate_of_the_cluster() -> None:
    wire = Wire(data(1))
    limits = Limits(rate_per_second=0.1, rate_burst=2, retry_total=5.0)
    first = await pve_over(wire, limits)
    second = Pve(first.cluster)
    await second.open()
    await first.send(first.version.get)
    await second.send(second.version.get)

    with pytest.raises(TooBusy):
        await first.send(first.version.get)


# --- trying again ----------------------------------------------------------------------------


@guarded
async def read(pve: Pve) -> Any:
    return await pve.send(pve.version.get)


@guarded
async def write(pve: Pve) -> Any:
    return await pve.send(pve.nodes("pve1").qemu(105).status.start.post)


@guarded
async def read_then_write_then_read(pve: Pve) -> Any:
    await pve.send(pve.version.get)
    await pve.send(pve.nodes("pve1").qemu(105).status.start.post)
    return await pve.send(pve.nodes("pve1").qemu(105).status.current.get)


@guarded
async def read_once(pve: Pve) -> Any:
    return await pve.send(pve.nodes("pve1").qemu(105).agent("exec-status").get, once=True, pid=1)


READ = "GET /version"
WRITE = "POST /nodes/pve1/qemu/105/status/start"
READ_AFTER = "GET /nodes/pve1/qemu/105/status/current"
ONCE = "GET /nodes/pve1/qemu/105/agent/exec-status"

Call = Callable[[Pve], Awaitable[Any]]


@pytest.mark.parametrize(
    ("call", "answers", "sent"),
    [
        (read, [LOST, GAVE_UP, data("ok")], [READ] * 3),
        (read, [NOT_MADE, NOT_MADE, data("ok")], [READ] * 3),
        (write, [NOT_MADE, NOT_MADE, data("ok")], [WRITE] * 3),
        (
            read_then_write_then_read,
            [LOST, data(1), NOT_MADE, data(1), data(1), data("ok")],
            [READ, READ, WRITE, READ, WRITE, READ_AFTER],
        ),
        (read_once, [NOT_MADE, data("ok")], [ONCE] * 2),
    ],
    ids=["read lost twice", "read refused", "write refused", "mixed", "once refused"],
)
async def test_what_changed_nothing_is_tried_again_until_it_succeeds(
    call: Call, answers: list[Scripted], sent: list[str]
) -> None:
    wire = Wire(*answers)

    assert await call(await pve_over(wire)) == "ok"
    assert wire.asked == sent


@pytest.mark.parametrize(
    ("call", "answers", "error", "sent"),
    [
        (write, [LOST, data("again")], OutcomeUnknown, [WRITE]),
        (write, [GAVE_UP, data("again")], OutcomeUnknown, [WRITE]),
        (
            read_then_write_then_read,
            [data(1), data(1), LOST, data("again")],
            Unreachable,
            [READ, WRITE, READ_AFTER],
        ),
        (
            read_then_write_then_read,
            [data(1), data(1), NOT_MADE, data("again")],
            Unreachable,
            [READ, WRITE, READ_AFTER],
        ),
        (read_once, [LOST, data("again")], Unreachable, [ONCE]),
        (read_once, [GAVE_UP, data("again")], Unreachable, [ONCE]),
        (read, [refused(500, "VM is locked (backup)"), data("again")], Refused, [READ]),
        (read, [NO_GUEST, data("again")], NotFound, [READ]),
        (read, [Reply(595, "No route to host", b""), data("again")], Unreachable, [READ]),
        (read, [Reply(body=b"<html>"), data("again")], BadAnswer, [READ]),
    ],
    ids=[
        "write lost",
        "write given up by a proxy",
        "read lost after a write",
        "read refused after a write",
        "once lost",
        "once given up",
        "refused",
        "not there",
        "node offline",
        "not proxmox",
    ],
)
async def test_what_may_have_happened_or_will_not_pass_is_sent_once(
    call: Call, answers: list[Scripted], error: type[ProxmoxError], sent: list[str]
) -> None:
    wire = Wire(*answers)

    with pytest.raises(error):
        await call(await pve_over(wire))

    assert wire.asked == sent


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_tries_are_counted(attempts: int) -> None:
    wire = Wire(LOST)

    with pytest.raises(Unreachable, match="try again in a moment"):
        await read(await pve_over(wire, Limits(retry_delay=0, retry_attempts=attempts)))

    assert wire.asked == [READ] * attempts


async def test_tries_end_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("tenacity.time", SimpleNamespace(monotonic=clock))

    def slow(_: requests.PreparedRequest) -> Reply:
        clock.now += 12
        raise LOST

    wire = Wire(slow)
    pve = await pve_over(wire, Limits(retry_delay=0, retry_attempts=10, retry_total=30.0))

    with pytest.raises(Unreachable):
        await read(pve)

    assert wire.asked == [READ] * 3


async def test_the_pause_between_tries_grows_and_is_never_longer_than_all_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    monkeypatch.setattr("random.uniform", lambda _low, high: high)
    pve = await pve_over(Wire(LOST), Limits(retry_delay=1, retry_attempts=6, retry_total=1000.0))

    with pytest.raises(Unreachable):
        await read(pve)

    assert slept == [1, 2, 4, 8, 16]


async def test_a_bug_in_a_handler_is_not_tried_again() -> None:
    wire = Wire(data(1))

    @guarded
    async def broken(pve: Pve) -> None:
        await pve.send(pve.version.get)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await broken(await pve_over(wire))

    assert wire.asked == [READ]


async def test_a_second_write_that_never_left_does_not_unsay_the_first() -> None:
    wire = Wire(data(1), NOT_MADE, data("again"))

    @guarded
    async def twice(pve: Pve) -> Any:
        await pve.send(pve.nodes("pve1").qemu(105).status.start.post)
        return await pve.send(pve.nodes("pve1").qemu(105).status.stop.post)

    with pytest.raises(Unreachable):
        await twice(await pve_over(wire))

    assert wire.asked == [WRITE, "POST /nodes/pve1/qemu/105/status/stop"]


async def test_of_two_writes_at_once_one_that_never_left_does_not_unsay_the_other() -> None:
    def by_action(request: requests.PreparedRequest) -> Reply:
        if request.path_url.endswith("stop"):
            raise NOT_MADE
        return data("done")

    wire = Wire(by_action)
    pve = await pve_over(wire)
    power = pve.nodes("pve1").qemu(105).status
    refusals: list[Unreachable] = []

    async def stop() -> None:
        try:
            await pve.send(power.stop.post)
        except Unreachable as error:
            refusals.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        group.start_soon(pve.send, power.start.post)

    assert len(refusals) == 1
    assert pve.wrote


async def test_each_repetition_is_logged_with_what_is_known_of_the_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @guarded
    async def noted(pve: Pve) -> Any:
        pve.notes["guest"] = "105"
        return await pve.send(pve.version.get)

    with caplog.at_level(logging.INFO, "proxmox_mcp"):
        await noted(await pve_over(Wire(LOST, data(1))))

    assert [
        (record.message, vars(record)["attempt"], vars(record)["error"], vars(record)["guest"])
        for record in caplog.records
    ] == [("call.retried", 1, "Unreachable", "105")]


def test_a_guarded_handler_keeps_its_name_words_and_signature() -> None:
    async def handler(pve: Pve, vmid: int, *, wait: int = 5) -> str:
        """Start a guest."""
        return f"{vmid}{wait}{pve}"

    call = guarded(handler)

    assert (call.__name__, call.__doc__) == ("handler", "Start a guest.")
    assert inspect.signature(call) == inspect.signature(handler)


async def test_arguments_reach_the_handler_at_every_try() -> None:
    given: list[Any] = []

    @guarded
    async def handler(pve: Pve, vmid: int, *, wait: int) -> Any:
        given.append((vmid, wait))
        return await pve.send(pve.version.get)

    assert await handler(await pve_over(Wire(LOST, data("ok"))), 105, wait=3) == "ok"
    assert given == [(105, 3), (105, 3)]


# --- remembering -----------------------------------------------------------------------------


def listing(node: str) -> Reply:
    return data([{"vmid": 105, "type": "qemu", "node": node, "name": "db-01"}])


@guarded
async def status(pve: Pve) -> dict[str, Any]:
    guest = await locate(pve, 105)
    return await pve.record(guest.api.status.current.get)


RESOURCES = "GET /cluster/resources"


async def test_a_guest_that_is_not_where_memory_said_is_looked_up_afresh() -> None:
    wire = Wire(listing("pve1"), NO_GUEST, listing("pve2"), data({"status": "running"}))
    pve = await pve_over(wire)
    await locate(pve, 105)

    assert await status(Pve(pve.cluster)) == {"status": "running"}
    assert wire.asked == [
        RESOURCES,
        "GET /nodes/pve1/qemu/105/status/current",
        RESOURCES,
        "GET /nodes/pve2/qemu/105/status/current",
    ]


async def test_a_guest_that_is_gone_is_looked_up_afresh_only_once() -> None:
    wire = Wire(listing("pve1"), NO_GUEST, listing("pve1"), NO_GUEST)
    pve = await pve_over(wire)
    await locate(pve, 105)

    with pytest.raises(NotFound):
        await status(Pve(pve.cluster))

    assert wire.asked.count(RESOURCES) == 2
    assert len(wire.asked) == 4


async def test_what_was_just_read_and_is_not_there_is_not_asked_again() -> None:
    wire = Wire(listing("pve1"), NO_GUEST)

    with pytest.raises(NotFound):
        await status(await pve_over(wire))

    assert len(wire.asked) == 2


async def test_readers_at_once_share_one_request_where_some_age_is_good_enough() -> None:
    wire = Wire(listing("pve1"))
    cluster = Cluster(bridge_over(wire), FAST)
    answers: list[Any] = []

    async def ask() -> None:
        pve = Pve(cluster)
        await pve.open()
        answers.append(await pve.rows(pve.cluster_api.resources.get, max_age=5, type="vm"))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask)

    assert wire.asked == [RESOURCES]
    assert len(answers) == 10
    assert all(answer == answers[0] for answer in answers)


async def test_memory_ends_with_its_age_and_tells_by_whom_it_was_used() -> None:
    clock = Clock()
    wire = Wire(data([{"n": 1}]), data([{"n": 2}]))
    pve = Pve(Cluster(bridge_over(wire), FAST, clock))
    await pve.open()

    answers = []
    for later in (0, 5, 0.1):
        clock.now += later
        pve.remembered = False
        [row] = await pve.rows(pve.nodes.get, max_age=5)
        answers.append((row["n"], pve.remembered))

    assert answers == [(1, False), (1, True), (2, False)]


async def test_memory_is_kept_apart_by_path_and_parameters() -> None:
    wire = Wire(data([{"n": 1}]), data([{"n": 2}]), data([{"n": 3}]))
    pve = await pve_over(wire)
    resources = pve.cluster_api.resources

    answers = [
        await pve.rows(resources.get, max_age=5, type="vm"),
        await pve.rows(resources.get, max_age=5, type="node"),
        await pve.rows(pve.nodes.get, max_age=5, type="vm"),
        await pve.rows(resources.get, max_age=5, type="vm"),
    ]

    assert [rows[0]["n"] for rows in answers] == [1, 2, 3, 1]


async def test_a_read_that_failed_is_not_remembered() -> None:
    wire = Wire(LOST, data([{"n": 1}]))
    pve = await pve_over(wire)

    with pytest.raises(Unreachable):
        await pve.rows(pve.nodes.get, max_age=5)

    assert await pve.rows(pve.nodes.get, max_age=5) == [{"n": 1}]


async def test_lists_of_the_cluster_that_are_asked_for_together_are_read_twice_at_most() -> None:
    all_have_asked = threading.Event()

    def held(_: requests.PreparedRequest) -> Reply:
        assert all_have_asked.wait(timeout=10)
        return listing("pve1")

    wire = Wire(held)
    cluster = Cluster(bridge_over(wire), FAST)

    async def ask() -> None:
        pve = Pve(cluster)
        await pve.open()
        assert await pve.rows(pve.cluster_api.resources.get, type="vm")

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        all_have_asked.set()
    together = len(wire.asked)
    assert together <= 2  # the first was under way already when the others came

    await ask()
    assert len(wire.asked) == together + 1  # what is older than the question is no answer to it


async def test_a_change_was_accepted_whatever_its_answer_looks_like() -> None:
    pve = await pve_over(Wire(data(None)))

    with pytest.raises(BadAnswer):
        await pve.record(pve.nodes("pve1").qemu(105).agent("exec").post, command="id")

    assert pve.accepted == ["POST /nodes/pve1/qemu/105/agent/exec"]
    assert pve.unanswered is None


async def test_without_an_age_every_read_asks() -> None:
    wire = Wire(data({"n": 1}), data({"n": 2}))
    pve = await pve_over(wire)

    assert [await pve.record(pve.version.get) for _ in range(2)] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("root", ["nodes", "access", "version"])
async def test_each_root_of_the_chain_reaches_its_own_path(root: str) -> None:
    wire = Wire(data([]))
    pve = await pve_over(wire)

    await pve.send(getattr(pve, root).get)

    assert wire.asked == [f"GET /{root}"]
