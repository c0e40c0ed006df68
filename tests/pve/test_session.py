"""Logging in, staying logged in, and what the session under proxmoxer refuses."""

import json
import logging
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
import requests
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from proxmox_mcp import simulator
from proxmox_mcp.pve import session
from proxmox_mcp.pve.answers import Listing, as_record, as_rows, total_of
from proxmox_mcp.pve.bridge import Bridge
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.errors import (
    BadAnswer,
    NotAuthenticated,
    OutcomeUnknown,
    ProxmoxError,
    Unreachable,
)
from proxmox_mcp.pve.session import RENEW_AFTER_SECONDS, open_api
from proxmox_mcp.simulator import Answer, Request
from tests.pve.scripted import (
    LOGIN,
    LOST,
    PASSWORD,
    SECRET,
    TOKEN,
    Reply,
    Wire,
    bridge_over,
    data,
    form,
    refused,
)

LOGIN_PATH = "/access/ticket"
TICKET = data({"ticket": "PVE:root@pam:1::x", "CSRFPreventionToken": "1:c", "username": "root@pam"})
CHALLENGE = data({"ticket": "PVE:!tfa!x", "CSRFPreventionToken": "0:c", "NeedTFA": 1})
REFUSED_TICKET = Answer(401, "permission denied - invalid PVE ticket")


class Clock:
    """Hours that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time by which tickets are renewed."""
    time = Clock()
    monkeypatch.setattr("proxmox_mcp.pve.session.time", SimpleNamespace(monotonic=time))
    return time


def with_password(cluster: simulator.Cluster, **settings: Any) -> Bridge:
    connection = Connection(**simulator.PASSWORD | settings)
    return Bridge(connection, max_parallel=40, adapter=simulator.SimulatorAdapter(cluster))


async def nodes(bridge: Bridge, times: int = 1) -> list[Any]:
    api = await bridge.open()
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await bridge.call(api.nodes.get))

    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(ask)
    return answers


def logins(cluster: simulator.Cluster) -> list[dict[str, Any]]:
    return [request.param for request in cluster.requests if request.path == LOGIN_PATH]


GIVEN = {"username": "root@pam", "password": simulator.PASSWORD["password"]}


async def test_forty_calls_at_once_share_one_login(cluster: simulator.Cluster) -> None:
    answers = await nodes(with_password(cluster), times=40)

    assert len(answers) == 40
    assert logins(cluster) == [GIVEN]


async def test_a_ticket_is_kept_for_an_hour_and_then_renewed_once_for_all(
    cluster: simulator.Cluster, clock: Clock
) -> None:
    bridge = with_password(cluster)
    await nodes(bridge)
    clock.now += RENEW_AFTER_SECONDS - 1
    await nodes(bridge, times=40)
    assert logins(cluster) == [GIVEN]

    clock.now += 1
    answers = await nodes(bridge, times=40)

    assert len(answers) == 40
    assert logins(cluster) == [GIVEN, GIVEN]


async def test_a_login_outlives_more_than_two_idle_hours(clock: Clock) -> None:
    cluster = simulator.Cluster(clock=clock, speed=50)
    bridge = with_password(cluster)
    await nodes(bridge)

    clock.now += 3 * 3600

    assert len(await nodes(bridge)) == 1
    assert logins(cluster) == [GIVEN, GIVEN]


async def test_a_ticket_that_ran_out_while_the_machine_slept_is_replaced() -> None:
    cluster_time = Clock()
    cluster = simulator.Cluster(clock=cluster_time, speed=500)
    bridge = with_password(cluster)
    await nodes(bridge)

    cluster_time.now += 3 * 3600  # the clock of this machine stood still

    assert len(await nodes(bridge)) == 1
    assert [request.path for request in cluster.requests] == [
        LOGIN_PATH, "/nodes", "/nodes", LOGIN_PATH, "/nodes",
    ]  # fmt: skip


async def test_a_change_refused_for_its_ticket_is_carried_out_once_after_a_new_login(
    cluster: simulator.Cluster,
) -> None:
    bridge = with_password(cluster)
    await nodes(bridge)
    refusals = [REFUSED_TICKET]
    cluster.intercept = lambda request: (
        refusals.pop() if refusals and request.method == "POST" else None
    )
    api = await bridge.open()

    upid = await bridge.call(api.nodes("pve2").qemu(107).status.start.post)

    start: tuple[str, str, dict[str, Any]] = ("POST", "/nodes/pve2/qemu/107/status/start", {})
    assert cluster.writes == [start, start]
    assert logins(cluster) == [GIVEN, GIVEN]
    assert [task for task in cluster.center.tasks.all if ":qmstart:107:" in task] == [upid]


async def test_many_calls_refused_at_once_share_one_new_login(cluster: simulator.Cluster) -> None:
    bridge = with_password(cluster)
    await nodes(bridge)
    old = cluster.requests[-1].headers["cookie"]
    cluster.intercept = lambda request: (
        REFUSED_TICKET
        if request.headers.get("cookie") == old and len(logins(cluster)) == 1
        else None
    )

    answers = await nodes(bridge, times=10)

    assert len(answers) == 10
    assert logins(cluster) == [GIVEN, GIVEN]


async def test_a_call_refused_twice_is_given_up(cluster: simulator.Cluster) -> None:
    bridge = with_password(cluster)
    await nodes(bridge)
    cluster.intercept = lambda request: REFUSED_TICKET if request.path == "/nodes" else None
    api = await bridge.open()
    before = len(cluster.requests)

    with pytest.raises(NotAuthenticated):
        await bridge.call(api.nodes.get)

    assert [request.path for request in cluster.requests[before:]] == [
        "/nodes", LOGIN_PATH, "/nodes",
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["get", "post"])
async def test_a_refused_token_is_not_tried_again(method: str) -> None:
    wire = Wire(Reply(401, "Authentication failed!", b""))
    bridge = bridge_over(wire)
    api = await bridge.open()

    with pytest.raises(NotAuthenticated):
        await bridge.call(getattr(api.nodes, method))

    assert wire.asked == [f"{method.upper()} /nodes"]


async def test_a_wrong_password_is_not_authenticated_and_nothing_else_is_sent(
    cluster: simulator.Cluster,
) -> None:
    bridge = with_password(cluster, password=PASSWORD)
    api = await bridge.open()

    with pytest.raises(NotAuthenticated) as caught:
        await bridge.call(api.nodes("pve1").vzdump.post, vmid=107)

    assert "authentication failure" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert [request.path for request in cluster.requests] == [LOGIN_PATH]


async def failed_login(wire: Wire, **settings: Any) -> ProxmoxError:
    bridge = bridge_over(wire, **LOGIN | settings)
    api = await bridge.open()
    with pytest.raises(ProxmoxError) as caught:
        await bridge.call(api.nodes("pve1").vzdump.post)
    return caught.value


async def test_a_second_factor_is_answered_with_the_one_time_password() -> None:
    wire = Wire(CHALLENGE, TICKET, data([]))
    bridge = bridge_over(wire, **LOGIN | {"otp": "123456"})
    api = await bridge.open()

    assert await bridge.call(api.nodes.get) == []

    assert [form(sent) for sent in wire.sent] == [
        {"username": "root@pam", "password": PASSWORD},
        {"username": "root@pam", "tfa-challenge": "PVE:!tfa!x", "password": "totp:123456"},
        {},
    ]
    assert wire.sent[-1].headers["Cookie"] == "PVEAuthCookie=PVE:root@pam:1::x"


async def test_a_missing_second_factor_is_said_and_no_empty_one_is_tried() -> None:
    wire = Wire(CHALLENGE)

    error = await failed_login(wire)

    assert isinstance(error, NotAuthenticated)
    assert "second factor" in str(error)
    assert "API token needs none" in str(error)
    assert wire.asked == ["POST /access/ticket"]


@pytest.mark.parametrize("second", [refused(401, "authentication failure"), data(None)])
async def test_a_second_factor_that_is_not_accepted_is_said(second: Reply) -> None:
    wire = Wire(CHALLENGE, second)

    error = await failed_login(wire, otp="123456")

    assert isinstance(error, NotAuthenticated)
    assert "second factor" in str(error)
    assert "123456" not in str(error)


@pytest.mark.parametrize(
    "failure",
    [LOST, requests.ReadTimeout("slow"), Reply(502, "Bad Gateway"), Reply(596, "Timeout")],
)
async def test_a_change_whose_login_was_lost_never_left(failure: Any) -> None:
    wire = Wire(failure)

    error = await failed_login(wire)

    assert isinstance(error, Unreachable)
    assert not isinstance(error, OutcomeUnknown)
    assert "It was only a question" in str(error)
    assert wire.asked == ["POST /access/ticket"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>", headers={"Content-Type": "text/html"}),
        Reply(302, "Found", b"", {"Location": "https://elsewhere.example.com/login"}),
    ],
)
async def test_a_login_that_something_else_answers_is_a_bad_answer(reply: Reply) -> None:
    wire = Wire(reply)

    error = await failed_login(wire)

    assert isinstance(error, BadAnswer)
    assert wire.asked == ["POST /access/ticket"]


async def test_the_csrf_token_goes_with_changes_only() -> None:
    wire = Wire(TICKET, data(None))
    bridge = bridge_over(wire, **LOGIN)
    api = await bridge.open()

    for method in ("get", "post", "put", "delete"):
        await bridge.call(getattr(api.nodes("pve1").tasks, method))

    tokens = {sent.method: sent.headers.get("CSRFPreventionToken") for sent in wire.sent[1:]}
    assert tokens == {"GET": None, "POST": "1:c", "PUT": "1:c", "DELETE": "1:c"}


async def test_a_token_goes_into_the_header_that_proxmox_reads() -> None:
    wire = Wire(data([]))
    bridge = bridge_over(wire, **TOKEN)
    api = await bridge.open()

    await bridge.call(api.nodes.get)

    assert wire.sent[0].headers["Authorization"] == f"PVEAPIToken=root@pam!mcp={SECRET}"
    assert "Cookie" not in wire.sent[0].headers


@pytest.mark.parametrize("login", [TOKEN, LOGIN], ids=["token", "password"])
def test_opening_sends_nothing(login: dict[str, Any]) -> None:
    wire = Wire(data(None))

    open_api(Connection(**login), wire)

    assert wire.sent == []


def test_a_ticket_that_another_thread_has_renewed_is_not_expired_again() -> None:
    wire = Wire(TICKET, data({"ticket": "second", "CSRFPreventionToken": "2:c"}), data(None))
    login = open_api(Connection(**LOGIN), wire)._store["session"].auth
    login.get_cookies()

    login.expire("PVE:root@pam:1::x")
    login.get_cookies()
    login.expire("PVE:root@pam:1::x")

    assert login.get_cookies()["PVEAuthCookie"] == "second"
    assert wire.asked == ["POST /access/ticket"] * 2


async def test_a_foreign_cookie_is_not_taken_and_the_ticket_still_sent(
    cluster: simulator.Cluster, cluster_port: int, fingerprint: str
) -> None:
    cluster.intercept = _balanced
    bridge = Bridge(
        await to_thread.run_sync(
            lambda: Connection(
                **simulator.PASSWORD
                | {"host": "127.0.0.1", "port": cluster_port, "fingerprint": fingerprint}
            )
        )
    )
    api = await bridge.open()

    await bridge.call(api.version.get)
    await bridge.call(api.nodes.get)

    cookie = cluster.requests[-1].headers["cookie"]
    assert cookie.startswith("PVEAuthCookie=")
    assert "balancer" not in cookie
    assert len(logins(cluster)) == 1


def _balanced(request: Request) -> Answer | None:
    if request.path != "/version":
        return None
    body = json.dumps({"data": {"version": "9.1"}}).encode()
    return Answer(200, "OK", body, {"Set-Cookie": "balancer=node2; Path=/"})


@pytest.mark.parametrize(
    ("reply", "rows", "total"),
    [
        (data([{"n": 1}], total=2000), [{"n": 1}], 2000),
        (data([{"n": 1}]), [{"n": 1}], None),
        (data([], total=0), [], 0),
        (data([], total=None), [], None),
        (data([], total="7"), [], None),
    ],
)
async def test_a_list_keeps_the_total_beside_it(
    reply: Reply, rows: list[Any], total: int | None
) -> None:
    bridge = bridge_over(Wire(reply))
    api = await bridge.open()

    answer = await bridge.call(api.nodes("pve1").tasks.get)

    assert answer == rows
    assert total_of(answer) == total


async def test_an_object_with_a_total_beside_it_stays_an_object() -> None:
    bridge = bridge_over(Wire(data({"a": 1}, total=3)))
    api = await bridge.open()

    assert await bridge.call(api.version.get) == {"a": 1}


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=6)
TRAPS = st.sampled_from(["},{", '"},{"', '"}],"', "\\", '{"data":[', "\ud800", "é"])
"""Texts that look like the end of a row, or that only one of the two decoders takes."""
VALUES = st.recursive(
    SCALARS | TRAPS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TRAPS, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=4) | TRAPS, VALUES, max_size=4), max_size=8)


@given(rows=ROWS, between=st.sampled_from([",", ", "]), part=st.integers(0, 60))
def test_a_list_that_is_decoded_in_parts_is_the_same_list(
    rows: list[Any], between: str, part: int
) -> None:
    body = json.dumps({"data": rows, "total": 7}, separators=(between, ":"))
    response = requests.Response()
    response._content = body.encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "PART_BYTES", part)
        assert session._envelope(response) == json.loads(body)


@pytest.mark.parametrize("cut", [20, 40, -2, -1])
def test_a_long_list_that_was_broken_off_is_none(cut: int) -> None:
    body = json.dumps({"data": [{"n": n} for n in range(9)]}, separators=(",", ":")).encode()
    response = requests.Response()
    response._content = body[:cut]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "PART_BYTES", 10)
        assert session._envelope(response) is None


async def test_a_body_is_in_no_log_line_whatever_its_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "proxmoxer.core")
    api = await (bridge := bridge_over(Wire(data({"cipassword": "in the answer"})))).open()

    assert await bridge.call(api.version.get) == {"cipassword": "in the answer"}
    assert "output: <" in caplog.text  # proxmoxer's line
    assert "in the answer" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "shape"),
    [(None, "nothing"), ({}, "a dict"), ("OK", "a str"), ([1], "a list"), ([None], "a list")],
)
def test_what_is_no_list_of_objects_is_a_bad_answer(answer: Any, shape: str) -> None:
    with pytest.raises(BadAnswer, match=f"^/nodes should answer with a list .* {shape}"):
        as_rows(answer, "/nodes")


@pytest.mark.parametrize(
    ("answer", "shape"), [(None, "nothing"), ([], "a list"), (Listing(), "a Listing"), (7, "a int")]
)
def test_what_is_no_object_is_a_bad_answer(answer: Any, shape: str) -> None:
    with pytest.raises(BadAnswer, match=f"^/version should answer with an object .* {shape}"):
        as_record(answer, "/version")
