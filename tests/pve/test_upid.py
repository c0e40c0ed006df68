"""Task ids: read, refused, followed to the end and judged."""

import re
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import requests
from pydantic import TypeAdapter, ValidationError

from proxmox_mcp import simulator
from proxmox_mcp.pve.bridge import Verb
from proxmox_mcp.pve.connection import Limits
from proxmox_mcp.pve.errors import (
    BadAnswer,
    NotFound,
    OutcomeUnknown,
    ProxmoxError,
    TaskFailed,
    Unreachable,
)
from proxmox_mcp.pve.guard import Cluster, Pve
from proxmox_mcp.pve.locate import locate
from proxmox_mcp.pve.upid import (
    LOG_PAGE,
    LOOKS_LOST,
    TAIL_LINES,
    TaskId,
    Upid,
    finish,
    follow,
    judge,
    start,
)
from tests.pve.scripted import (
    FAST,
    LOST,
    RECORDED,
    Reply,
    Scripted,
    Wire,
    bridge_over,
    data,
    form,
    log_lines,
    pve_over,
    refused,
)

HEAD = "UPID:pve1:00007DED:000673AF:6B02AC62:"
TEXT = f"{HEAD}vzdump:105:root@pam!mcp:"
UPID = Upid.parse(TEXT)
RUNNING = data({"status": "running"})
DONE = data({"status": "stopped", "exitstatus": "OK"})

pytestmark = pytest.mark.usefixtures("quick_looks")


# --- reading ---------------------------------------------------------------------------------


def parts(upid: Upid) -> tuple[str, str, str, str]:
    return upid.node, upid.type, upid.id, upid.user


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TEXT, ("pve1", "vzdump", "105", "root@pam!mcp")),
        (f"{HEAD}vzdump::root@pam:", ("pve1", "vzdump", "", "root@pam")),
        (f"{HEAD}imgdel:110@local:a.b-c@pve:", ("pve1", "imgdel", "110@local", "a.b-c@pve")),
        (f"{HEAD}srvreload:networking:root@pam:", ("pve1", "srvreload", "networking", "root@pam")),
        (
            "UPID:node-2:0000abcd:123456789:6b02ac62:ha_x-y:105:u@ldap:",
            ("node-2", "ha_x-y", "105", "u@ldap"),
        ),
    ],
)
def test_a_task_id_is_read_into_its_parts(text: str, expected: tuple[str, str, str, str]) -> None:
    upid = Upid.parse(text)

    assert parts(upid) == expected
    assert str(upid) == upid.text == text
    assert upid.starttime == 0x6B02AC62


@pytest.mark.parametrize("text", [task["upid"] for task in RECORDED["tasks"]])
def test_every_recorded_task_id_is_read(text: str) -> None:
    assert Upid.parse(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}vzdump:105:root@pam",
        f"{HEAD}vzdump:105:root@pam::",
        f"{HEAD}vzdump:105:root@pam:/status",
        f"{HEAD}vzdump:105/../..:root@pam:",
        f"{HEAD}vzdump:..\\x:root@pam:",
        f"{HEAD}vzdump:105?a=b:root@pam:",
        f"{HEAD}vzdump:105#:root@pam:",
        f"{HEAD}vzdump:105%2f:root@pam:",
        f"{HEAD}vzdump:105:root@pam:\n",
        f"{HEAD}vzdump:10\n5:root@pam:",
        f" {HEAD}vzdump:105:root@pam:",
        f"{HEAD}vzdump:105::",
        f"{HEAD}:105:root@pam:",
        f"{HEAD}vz dump:105:root@pam:",
        TEXT.replace("00007DED", "0007DED"),
        TEXT.replace("00007DED", "00007DEG"),
        TEXT.replace("000673AF", "000673AFFF"),
        TEXT.replace("6B02AC62", "6B02AC6"),
        TEXT.replace("pve1", "../access"),
        TEXT.replace("pve1", ""),
        TEXT.replace("pve1", "-pve"),
        TEXT.replace("pve1", "pve.1"),
        TEXT.replace("UPID", "upid"),
        "UPID:bogus",
        "OK",
        "",
        None,
        105,
        TEXT.encode(),
        [TEXT],
    ],
)
def test_what_is_no_task_id_is_refused_without_being_repeated(text: Any) -> None:
    with pytest.raises(ValueError, match="must be a task id as Proxmox gives it") as caught:
        Upid.parse(text)

    assert "105" not in str(caught.value)


def test_as_an_argument_a_task_id_is_text_to_the_caller_and_parsed_to_us() -> None:
    adapter: TypeAdapter[Upid] = TypeAdapter(TaskId)

    assert adapter.validate_python(TEXT) == adapter.validate_python(UPID) == UPID
    assert adapter.json_schema()["type"] == "string"
    with pytest.raises(ValidationError, match="must be a task id"):
        adapter.validate_python("../access")


@pytest.mark.parametrize(
    ("text", "words"),
    [(TEXT, "vzdump 105 on pve1"), (f"{HEAD}vzdump::root@pam:", "vzdump on pve1")],
)
def test_a_task_is_named_in_a_few_words(text: str, words: str) -> None:
    assert Upid.parse(text).about == words


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"status": "running"}, "running"),
        ({"status": "stopped", "exitstatus": "OK"}, "ok"),
        ({"status": "stopped", "exitstatus": "WARNINGS: 1"}, "warnings"),
        ({"status": "stopped", "exitstatus": "job errors"}, "failed"),
        ({"status": "stopped", "exitstatus": "OK, but no"}, "failed"),
        ({"status": "stopped", "exitstatus": "unexpected status"}, "failed"),
        ({"status": "stopped"}, "failed"),
        ({"status": "OK"}, "ok"),
        ({"status": "WARNINGS: 12"}, "warnings"),
        ({"status": "RUNNING"}, "running"),
        ({"status": "interrupted by signal"}, "failed"),
        ({}, "running"),
    ],
)
def test_a_status_or_an_entry_of_a_list_is_judged(status: dict[str, Any], state: str) -> None:
    assert judge(status) == state


# --- starting --------------------------------------------------------------------------------


async def test_what_starts_a_task_answers_with_its_id(pve: Pve) -> None:
    guest = await locate(pve, 107)

    upid = await start(pve, guest.api.status.start.post)

    assert parts(upid) == ("pve2", "qmstart", "107", "root@pam!demo")
    assert pve.notes == {"guest": "107", "upid": upid.text}


@pytest.mark.parametrize("answer", ["OK", None, "", {}, [TEXT], 1, TEXT[:-1]])
async def test_an_accepted_change_without_a_task_is_a_bad_answer(answer: Any) -> None:
    wire = Wire(data(answer))
    pve = await pve_over(wire)

    with pytest.raises(BadAnswer, match="named no task, so it is open whether anything was done"):
        await start(pve, pve.nodes("pve1").vzdump.post, vmid=105, remove=False)

    assert [form(sent) for sent in wire.sent] == [{"vmid": "105", "remove": "0"}]
    assert pve.wrote
    assert "upid" not in pve.notes


# --- following -------------------------------------------------------------------------------


async def started(pve: Pve, vmid: int, act: Callable[[Any], Verb]) -> Upid:
    guest = await locate(pve, vmid)
    return await start(pve, act(guest.api.status))


async def test_a_task_is_followed_until_it_ended_well(pve: Pve, cluster: simulator.Cluster) -> None:
    upid = await started(pve, 107, lambda power: power.start.post)

    end = await follow(pve, upid, wait=5)

    assert (end.state, end.upid, end.pending) == ("ok", upid, None)
    assert end.status["exitstatus"] == "OK"
    assert cluster.guest(107).status == "running"
    assert f"/nodes/pve2/tasks/{upid}/log" not in {request.path for request in cluster.requests}


async def test_a_task_that_failed_is_an_answer_to_those_who_only_follow(pve: Pve) -> None:
    upid = await started(pve, 112, lambda power: power.start.post)

    end = await follow(pve, upid, wait=5)

    assert end.state == "failed"
    assert end.lines[-1] == "TASK ERROR: VM is locked (backup)"


async def test_a_task_that_failed_is_an_error_to_those_who_started_it(pve: Pve) -> None:
    upid = await started(pve, 112, lambda power: power.start.post)

    with pytest.raises(TaskFailed) as caught:
        await finish(pve, upid, wait=5)

    assert caught.value.upid == str(upid)
    assert caught.value.exitstatus == "VM is locked (backup)"
    assert str(caught.value).startswith("Task qmstart 112 on pve2 failed: VM is locked (backup).")


class Task:
    """A task on the wire: its states in turn, and a log that is read by the page."""

    def __init__(self, *states: Scripted, log: list[list[str]] | None = None) -> None:
        self._states = list(states)
        self._logs = log or [[]]
        self.pages: list[tuple[int, int]] = []
        self.served = 0

    def __call__(self, request: requests.PreparedRequest) -> Reply:
        if request.path_url.partition("?")[0].endswith("/log"):
            return self._page(form(request))
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, Exception):
            raise state
        assert isinstance(state, Reply)
        return state

    def _page(self, asked: dict[str, str]) -> Reply:
        first, limit = int(asked["start"]), int(asked["limit"])
        self.pages.append((first, limit))
        lines = self._logs.pop(0) if len(self._logs) > 1 else self._logs[0]
        rows = log_lines(lines or ["no content"])[first : first + limit]
        if not lines:
            rows = log_lines(["no content"])  # an empty file has one line, wherever one reads
        self.served += len(rows)
        return data(rows, total=max(1, len(lines)))


async def test_a_success_with_warnings_is_a_success_with_something_to_read() -> None:
    warned = data({"status": "stopped", "exitstatus": "WARNINGS: 1"})
    pve = await pve_over(Wire(Task(warned, log=[["WARN: old", "TASK WARNINGS: 1"]])))

    end = await finish(pve, UPID, wait=5)

    assert (end.state, list(end.lines)) == ("warnings", ["WARN: old", "TASK WARNINGS: 1"])


@pytest.mark.parametrize("wait", [0, 0.01])
async def test_a_wait_that_is_over_says_that_the_task_still_runs(wait: float) -> None:
    pve = await pve_over(Wire(Task(RUNNING, log=[["INFO: 12% (1 of 8 GiB)"]])))

    with anyio.fail_after(5):
        end = await finish(pve, UPID, wait=wait)

    assert (end.state, end.status) == ("running", {"status": "running"})
    assert (list(end.lines), end.percent) == (["INFO: 12% (1 of 8 GiB)"], 12)


async def test_a_wait_of_nothing_looks_once() -> None:
    wire = Wire(Task(RUNNING, DONE))

    end = await follow(await pve_over(wire), UPID, wait=0)

    assert end.state == "running"
    assert [asked for asked in wire.asked if asked.endswith("/status")] == [
        f"GET /nodes/pve1/tasks/{TEXT}/status"
    ]


Told = list[tuple[float, float | None, str]]


async def listening(wire: Wire) -> tuple[Pve, Told]:
    told: Told = []

    async def report(done: float, total: float | None, words: str) -> None:
        told.append((done, total, words))

    pve = Pve(Cluster(bridge_over(wire), FAST), report)
    await pve.open()
    return pve, told


async def test_progress_only_rises_and_carries_the_percentage_of_the_log() -> None:
    log = [[f"INFO: {percent}% done"] for percent in (10, 10, 40, 35, 90)]
    grown = [[line for lines in log[: n + 1] for line in lines] for n in range(len(log))]
    pve, told = await listening(Wire(Task(*[RUNNING] * 5, DONE, log=grown)))

    end = await follow(pve, UPID, wait=5)

    assert end.state == "ok"
    assert end.percent == 90
    assert told == [
        (percent, 100, f"vzdump 105 on pve1: INFO: {percent}% done") for percent in (10, 40, 90)
    ]


async def test_without_a_percentage_progress_is_the_time_waited() -> None:
    pve, told = await listening(Wire(Task(*[RUNNING] * 4, DONE, log=[["starting"]])))

    await follow(pve, UPID, wait=7)

    assert len(told) == 4
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})
    assert {(total, words) for _, total, words in told} == {(7, "vzdump 105 on pve1: starting")}


@pytest.mark.parametrize(
    ("line", "percent"),
    [
        ("INFO:   3% (1.0 GiB of 32.0 GiB) in 3s, read: 341.3 MiB/s", 3),
        ("transferred 1.5 GiB of 8.0 GiB (18.75%)", 18.75),
        ("progress 100 %", 100),
        ("mirror-scsi0: 250.0% odd", 100),
        ("INFO: 1234% is no share", None),
        ("INFO: compression 1.5.3", None),
    ],
)
async def test_a_percentage_is_read_as_proxmox_writes_it(line: str, percent: float | None) -> None:
    end = await follow(await pve_over(Wire(Task(DONE, log=[[line]]))), UPID, wait=1, log=True)

    assert end.percent == percent


async def test_the_first_line_is_not_lost_when_the_log_was_empty_before() -> None:
    task = Task(RUNNING, RUNNING, DONE, log=[[], [], ["first", "second"]])
    pve, _ = await listening(Wire(task))

    end = await follow(pve, UPID, wait=5, log=True)

    assert list(end.lines) == ["first", "second"]


async def test_an_empty_log_has_no_lines() -> None:
    end = await follow(await pve_over(Wire(Task(DONE))), UPID, wait=1, log=True)

    assert list(end.lines) == []


@pytest.mark.parametrize(
    "failure", [LOST, Reply(596, "Connection timed out", b""), Reply(502, "Bad Gateway", b"")]
)
async def test_a_look_that_fails_in_passing_is_no_news(failure: Scripted) -> None:
    wire = Wire(Task(RUNNING, failure, failure, RUNNING, failure, DONE))

    assert (await finish(await pve_over(wire), UPID, wait=5)).state == "ok"


async def test_only_failures_in_a_row_count() -> None:
    lost = [LOST] * (LOOKS_LOST - 1)
    wire = Wire(Task(*lost, RUNNING, *lost, RUNNING, *lost, DONE))

    assert (await follow(await pve_over(wire), UPID, wait=60)).state == "ok"


async def test_a_task_that_cannot_be_looked_at_is_given_up_with_its_id() -> None:
    wire = Wire(Task(RUNNING, LOST))

    with anyio.fail_after(5), pytest.raises(Unreachable) as caught:
        await follow(await pve_over(wire), UPID, wait=60)

    assert "The task goes on without being watched; ask later with proxmox_task_status" in str(
        caught.value
    )
    assert f"Task id: {TEXT}" in str(caught.value)
    assert len(wire.asked) == 1 + LOOKS_LOST


async def test_a_look_that_fails_when_the_wait_is_over_is_told_at_once() -> None:
    wire = Wire(Task(LOST))

    with pytest.raises(Unreachable, match=re.escape(f"Task id: {TEXT}")):
        await follow(await pve_over(wire), UPID, wait=0)

    assert len(wire.asked) == 1


async def test_a_task_whose_node_went_offline_is_given_up_at_once_with_its_id() -> None:
    wire = Wire(Task(RUNNING, Reply(595, "No route to host", b"")))

    with pytest.raises(Unreachable) as caught:
        await follow(await pve_over(wire), UPID, wait=60)

    assert "No route to host" in str(caught.value)
    assert f"Task id: {TEXT}" in str(caught.value)
    assert not caught.value.transient
    assert len(wire.asked) == 2


async def test_a_task_started_with_the_last_turn_is_not_forgotten() -> None:
    wire = Wire(data(TEXT))
    pve = await pve_over(wire, Limits(rate_per_second=0.1, rate_burst=1, retry_total=5.0))
    upid = await start(pve, pve.nodes("pve1").vzdump.post)

    with pytest.raises(Unreachable) as caught:
        await finish(pve, upid, wait=60)

    assert "Too many requests" in str(caught.value)
    assert f"Task id: {TEXT}" in str(caught.value)
    assert wire.asked == ["POST /nodes/pve1/vzdump"]


async def test_a_task_that_nobody_knows_is_not_found_at_the_first_look() -> None:
    wire = Wire(Task(refused(500, "no such task")))

    with pytest.raises(NotFound):
        await follow(await pve_over(wire), UPID, wait=60)

    assert len(wire.asked) == 1


async def test_a_lost_answer_to_the_change_itself_is_looked_for_and_never_sent_again() -> None:
    wire = Wire(LOST)
    pve = await pve_over(wire)

    with pytest.raises(OutcomeUnknown):
        await start(pve, pve.nodes("pve1").vzdump.post)

    assert wire.asked[0] == "POST /nodes/pve1/vzdump"
    assert set(wire.asked[1:]) == {"GET /nodes/pve1/tasks"}


# --- the log ---------------------------------------------------------------------------------


async def test_of_a_long_log_only_the_end_is_fetched() -> None:
    lines = [f"line {n}" for n in range(1, 2001)]
    task = Task(DONE, log=[lines])

    end = await follow(await pve_over(Wire(task)), UPID, wait=1, log=True)

    assert list(end.lines) == lines[-TAIL_LINES:]
    assert task.pages == [(0, 1), (2000 - TAIL_LINES, LOG_PAGE)]
    assert task.served == 1 + TAIL_LINES


async def test_a_log_is_read_on_from_where_reading_stopped() -> None:
    before, after = ["one", "two"], ["one", "two", "three"]
    task = Task(RUNNING, DONE, log=[before, after])
    pve, _ = await listening(Wire(task))

    end = await follow(pve, UPID, wait=5, log=True)

    assert list(end.lines) == after
    assert task.pages == [(0, LOG_PAGE), (2, 1), (2, LOG_PAGE)]


async def test_blank_lines_of_a_log_are_left_out_but_counted() -> None:
    task = Task(RUNNING, DONE, log=[["one", "", " "], ["one", "", " ", "four"]])
    pve, _ = await listening(Wire(task))

    end = await follow(pve, UPID, wait=5, log=True)

    assert list(end.lines) == ["one", "four"]
    assert task.pages[-1] == (3, LOG_PAGE)


async def test_a_log_without_a_total_is_read_page_by_page() -> None:
    lines = [f"line {n}" for n in range(1, LOG_PAGE + 4)]

    def answer(request: requests.PreparedRequest) -> Reply:
        if request.path_url.endswith("/status"):
            return DONE
        first, limit = int(form(request)["start"]), int(form(request)["limit"])
        return data(log_lines(lines)[first : first + limit])

    wire = Wire(answer)

    end = await follow(await pve_over(wire), UPID, wait=1, log=True)

    assert list(end.lines) == lines[-TAIL_LINES:]
    assert len(wire.asked) == 4


@pytest.mark.parametrize("failure", [LOST, refused(403, "Permission check failed"), data(None)])
async def test_a_log_that_cannot_be_read_is_no_reason_to_fail(failure: Scripted) -> None:
    def answer(request: requests.PreparedRequest) -> Reply:
        if request.path_url.endswith("/status"):
            return RUNNING if len(wire.sent) < 4 else DONE
        if isinstance(failure, Exception):
            raise failure
        assert isinstance(failure, Reply)
        return failure

    wire = Wire(answer)
    pve, _ = await listening(wire)

    end = await follow(pve, UPID, wait=5, log=True)

    assert (end.state, list(end.lines)) == ("ok", [])


async def test_no_message_about_a_task_repeats_the_token() -> None:
    pve = await pve_over(Wire(Task(LOST)))

    with pytest.raises(ProxmoxError) as caught:
        await follow(pve, UPID, wait=0)

    assert "made-up" not in str(caught.value)
