"""proxmoxer in threads, the loop free: which work goes where, how much at once, in what form."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests
from anyio import to_thread
from proxmoxer.core import ProxmoxResource
from pytest_mock import MockerFixture

from proxmox_mcp.pve import session
from proxmox_mcp.pve.bridge import Bridge, target, wire
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.tls import PinnedAdapter
from tests.pve.scripted import TOKEN, Reply, Wire, bridge_over, data, form

PATIENCE = 5.0


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"full": True}, {"full": 1}),
        ({"full": False}, {"full": 0}),
        ({"name": None}, {}),
        ({"name": ""}, {"name": ""}),
        ({"vmid": 105, "cpulimit": 0.5}, {"vmid": 105, "cpulimit": 0.5}),
        ({"command": ["ls", "-l"]}, {"command": ["ls", "-l"]}),
        ({"vmids": (100, 101)}, {"vmids": ["100", "101"]}),
        ({"flags": [True, False]}, {"flags": ["1", "0"]}),
        ({"with-local-disks": True}, {"with-local-disks": 1}),
        ({}, {}),
    ],
)
def test_parameters_take_the_form_that_proxmox_reads(
    given: dict[str, Any], sent: dict[str, Any]
) -> None:
    made = wire(given)

    assert made == sent
    assert [type(value) for value in made.values()] == [type(value) for value in sent.values()]


@pytest.mark.parametrize(
    "value", [{"cores": 4}, {1, 2}, b"bytes", object(), [{"a": 1}], [None], range(3)]
)
def test_a_value_without_a_form_on_the_wire_is_refused_by_name(value: object) -> None:
    with pytest.raises(TypeError, match=r"^config: .* has no form in Proxmox's API"):
        wire({"config": value})


async def test_a_value_without_a_form_is_refused_before_anything_is_sent() -> None:
    sent = Wire(data(None))
    bridge = bridge_over(sent)
    api = await bridge.open()

    with pytest.raises(TypeError):
        await bridge.call(api.nodes("pve1").vzdump.post, vmid=105, config={"cores": 4})

    assert sent.sent == []


async def test_parameters_arrive_in_the_query_of_a_read_and_the_body_of_a_change() -> None:
    sent = Wire(data(None))
    bridge = bridge_over(sent)
    api = await bridge.open()

    await bridge.call(api.cluster.resources.get, type="vm", full=True, name=None)
    await bridge.call(api.nodes("pve1").qemu(105).migrate.post, target="pve2", online=True)

    assert [form(request) for request in sent.sent] == [
        {"type": "vm", "full": "1"},
        {"target": "pve2", "online": "1"},
    ]
    assert sent.sent[0].body is None
    assert "?" not in (sent.sent[1].url or "")


@pytest.mark.parametrize(
    ("prefix", "reach", "named"),
    [
        (None, lambda api: api.nodes("pve1").status.get, ("GET", "/nodes/pve1/status")),
        (None, lambda api: api.cluster.resources.get, ("GET", "/cluster/resources")),
        ("a/b", lambda api: api.nodes("pve1").qemu(105).delete, ("DELETE", "/nodes/pve1/qemu/105")),
        (None, lambda api: api.storage.post, ("POST", "/storage")),
        (None, lambda api: api.get, ("GET", "/")),
        (None, lambda api: api.nodes("pve1").config.put, ("PUT", "/nodes/pve1/config")),
    ],
)
async def test_a_verb_tells_its_method_and_path(
    prefix: str | None, reach: Callable[[Any], Any], named: tuple[str, str]
) -> None:
    bridge = bridge_over(Wire(data(None)), **TOKEN | {"path_prefix": prefix})

    assert target(reach(await bridge.open())) == named


async def test_only_the_verb_runs_in_a_thread_and_the_chain_is_built_on_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    joined, sent = list[int](), list[int]()
    join = ProxmoxResource.url_join

    def joining(self: ProxmoxResource, *parts: Any) -> Any:
        joined.append(threading.get_ident())
        return join(self, *parts)

    def answer(_: requests.PreparedRequest) -> Reply:
        sent.append(threading.get_ident())
        return data("done")

    bridge = bridge_over(Wire(answer))
    api = await bridge.open()
    monkeypatch.setattr(ProxmoxResource, "url_join", joining)

    verb = api.nodes("pve1").status.get
    chain = set(joined)

    assert await bridge.call(verb) == "done"
    assert chain == {threading.get_ident()}
    assert len(sent) == 1
    assert sent[0] != threading.get_ident()


class Doors:
    """A wire on which every request waits until it is let through."""

    def __init__(self) -> None:
        self._count = threading.Condition()
        self._open = threading.Event()
        self.inside = self.most = self.entered = 0

    def __call__(self, _: requests.PreparedRequest) -> Reply:
        with self._count:
            self.inside += 1
            self.entered += 1
            self.most = max(self.most, self.inside)
            self._count.notify_all()
        assert self._open.wait(PATIENCE)
        with self._count:
            self.inside -= 1
        return data("late")

    def let_through(self) -> None:
        self._open.set()

    def wait_until_entered(self, number: int) -> None:
        with self._count:
            assert self._count.wait_for(lambda: self.entered >= number, PATIENCE)


@pytest.mark.parametrize("width", [1, 3])
async def test_no_more_requests_are_under_way_than_allowed_however_many_ask(width: int) -> None:
    doors = Doors()
    bridge = Bridge(Connection(**TOKEN), max_parallel=width, adapter=Wire(doors))
    api = await bridge.open()
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await bridge.call(api.nodes.get))

    async with anyio.create_task_group() as group:
        for _ in range(4 * width):
            group.start_soon(ask)
        await to_thread.run_sync(doors.wait_until_entered, width)
        await anyio.sleep(0.02)
        waiting = doors.entered
        doors.let_through()

    assert waiting == width
    assert doors.most == width
    assert answers == ["late"] * 4 * width


async def test_a_cancelled_caller_stops_at_once_while_its_request_goes_on() -> None:
    doors = Doors()
    bridge = Bridge(Connection(**TOKEN), adapter=Wire(doors))
    api = await bridge.open()
    began = time.monotonic()

    async with anyio.create_task_group() as group:
        group.start_soon(bridge.call, api.nodes("pve1").vzdump.post)
        await to_thread.run_sync(doors.wait_until_entered, 1)
        group.cancel_scope.cancel()
    took = time.monotonic() - began
    inside = doors.inside
    doors.let_through()

    assert inside == 1
    assert took < PATIENCE / 2


async def test_many_first_calls_share_one_api(mocker: MockerFixture) -> None:
    opened = mocker.spy(session, "open_api")
    bridge = bridge_over(Wire(data(None)))
    roots: list[Any] = []

    async def first() -> None:
        roots.append(await bridge.open())

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(first)

    assert len(roots) == 20
    assert {id(root) for root in roots} == {id(opened.spy_return)}


async def test_a_given_adapter_is_asked_whatever_proxy_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    seen: list[Any] = []

    class Spy(Wire):
        def send(self, request: requests.PreparedRequest, *_: Any, **how: Any) -> Any:
            seen.append(dict(how["proxies"]))
            return super().send(request)

    bridge = bridge_over(Spy(data("here")))
    api = await bridge.open()

    assert await bridge.call(api.version.get) == "here"
    assert seen == [{}]


def opened_under(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> requests.Session:
    monkeypatch.setenv("HTTPS_PROXY", "http://theirs:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/theirs.pem")
    api = session.open_api(Connection(**TOKEN | settings), PinnedAdapter(None, 8))
    opened: requests.Session = api._store["session"]
    assert opened.trust_env is False  # it would look through all variables at each request
    return opened


def test_without_a_given_adapter_the_environment_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = opened_under(monkeypatch)

    assert opened.proxies["https"] == "http://theirs:3128"
    assert opened.auth.verify_ssl == "/theirs.pem"  # type: ignore[union-attr]
    adapter = opened.get_adapter("https://pve.example.com")
    assert adapter.max_retries.total == 0  # type: ignore[attr-defined]


def test_what_the_settings_say_comes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "ours.pem"
    bundle.touch()
    ours = {"https": "http://ours:3128"}
    opened = opened_under(monkeypatch, proxies=ours, verify_ssl=str(bundle))

    assert opened.proxies == ours
    assert opened.auth.verify_ssl == str(bundle)  # type: ignore[union-attr]


def test_a_host_that_the_environment_excepts_is_asked_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_PROXY", Connection(**TOKEN).host)

    assert "https" not in opened_under(monkeypatch).proxies


def test_a_host_that_is_an_ipv6_address_may_be_excepted_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost,fd00::10")

    assert opened_under(monkeypatch, host="fd00::11").proxies["https"] == "http://theirs:3128"
    assert "https" not in opened_under(monkeypatch, host="fd00::10").proxies


async def test_an_error_of_our_own_making_is_not_dressed_up_as_proxmoxs() -> None:
    bridge = bridge_over(Wire(ZeroDivisionError("a bug")))
    api = await bridge.open()

    with pytest.raises(ZeroDivisionError):
        await bridge.call(api.version.get)
