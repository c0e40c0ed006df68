"""Who subscribed to a guest or a task is told of changes, in the way of each era."""

import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import ResourceUpdatedNotification

from proxmox_mcp import server, simulator
from proxmox_mcp.resources import subscriptions
from proxmox_mcp.resources.subscriptions import Watcher
from tests.conftest import NEVER_DONE, schema_faults, serve
from tests.tools.calls import called
from tests.wire import silence

GUEST, CONFIG = "proxmox://guests/107", "proxmox://guests/107/config"
BOUND = 10
"""Seconds after which a test has waited for nothing."""

both_eras = pytest.mark.parametrize("mode", ["legacy", "auto"])


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "POLL_SECONDS", 0.02)


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher does not look by itself, so that a test decides when it does."""
    monkeypatch.setattr(subscriptions, "POLL_SECONDS", 100_000)


@pytest.fixture
def slow() -> Iterator[simulator.Cluster]:
    """A cluster whose tasks do not end by themselves while a test runs."""
    simulated = simulator.Cluster(speed=0.05)
    yield simulated
    assert schema_faults(simulated.requests) == []


async def running(cluster: simulator.Cluster) -> str:
    """The id of the one task that runs."""
    async with Client(serve(cluster), mode="legacy") as client:
        [task] = (await called(client, "task_list", running=True))["tasks"]
    return str(task["upid"])


@pytest.fixture(autouse=True)
def watchers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Watcher]]:
    """The watchers of the servers that a test starts."""
    made: list[Watcher] = []

    def watcher(*args: Any) -> Watcher:
        made.append(Watcher(*args))
        return made[-1]

    monkeypatch.setattr(server, "Watcher", watcher)
    yield made
    assert all(each.following == frozenset() for each in made)


class Ear:
    """What a client is told, in either era."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._news = anyio.Event()

    def hear(self, uri: str) -> None:
        self.heard.append(uri)
        self._news.set()

    async def next(self) -> str:
        """Wait for what is said from now on, or was said and not yet taken."""
        with anyio.fail_after(BOUND):
            while not self.heard:
                self._news = anyio.Event()
                await self._news.wait()
        return self.heard.pop(0)


@asynccontextmanager
async def subscribed(
    mode: str, cluster: simulator.Cluster, *uris: str, **settings: Any
) -> AsyncIterator[tuple[Client, Ear]]:
    """Open a client that has subscribed to these URIs."""
    ear = Ear()

    async def notified(message: Any) -> None:
        # Since 2026 it comes twice in the client, which hands on what a stream delivers.
        if mode == "legacy" and isinstance(message, ResourceUpdatedNotification):
            ear.hear(message.params.uri)

    async with Client(serve(cluster, **settings), mode=mode, message_handler=notified) as client:
        if mode == "legacy":
            for uri in uris:
                await subscribe(client, uri)
            yield client, ear
            for uri in uris:
                await unsubscribe(client, uri)
            return
        async with anyio.create_task_group() as group:
            async with client.listen(resource_subscriptions=uris) as stream:

                async def listen() -> None:
                    async for event in stream:
                        ear.hear(getattr(event, "uri", ""))

                group.start_soon(listen)
                yield client, ear
            group.cancel_scope.cancel()
        await client.list_tools()  # by its end the stream's end has reached the server


async def subscribe(client: Client, uri: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK marks what only older servers have
        await client.subscribe_resource(uri)


async def unsubscribe(client: Client, uri: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await client.unsubscribe_resource(uri)


@both_eras
async def test_the_server_says_that_it_takes_subscriptions(
    cluster: simulator.Cluster, mode: str
) -> None:
    async with Client(serve(cluster), mode=mode) as client:
        resources = client.server_capabilities.resources

    assert resources is not None
    assert resources.subscribe is True


@both_eras
async def test_a_guest_that_changes_is_told_of(cluster: simulator.Cluster, mode: str) -> None:
    async with subscribed(mode, cluster, GUEST) as (_, ear):
        assert ear.heard == []
        cluster.guest(107).lock = "backup"
        assert await ear.next() == GUEST
        cluster.guest(107).lock = None
        assert await ear.next() == GUEST


@both_eras
async def test_a_guest_that_starts_or_moves_is_told_of_by_its_name(
    cluster: simulator.Cluster, mode: str
) -> None:
    by_name = "proxmox://guests/build-01"
    async with subscribed(mode, cluster, by_name) as (_, ear):
        cluster.guest(112).status = "running"
        assert await ear.next() == by_name
        cluster.guest(112).node = "pve1"
        assert await ear.next() == by_name


@both_eras
async def test_a_guest_that_is_gone_is_told_of(cluster: simulator.Cluster, mode: str) -> None:
    async with subscribed(mode, cluster, GUEST) as (_, ear):
        del cluster.center.guests[107]
        assert await ear.next() == GUEST


@both_eras
async def test_a_task_that_ends_is_told_of_once_and_not_looked_at_again(
    slow: simulator.Cluster, watchers: list[Watcher], mode: str
) -> None:
    upid = await running(slow)
    uri = f"proxmox://tasks/{upid}"
    async with subscribed(mode, slow, uri) as (_, ear):
        slow.center.tasks.stop(slow.center.tasks.find(upid))
        assert await ear.next() == uri
        slow.requests.clear()
        await watchers[-1].look()
        assert slow.requests == []
        assert ear.heard == []


@pytest.mark.usefixtures("never")
@both_eras
async def test_what_a_tool_of_ours_changes_is_told_of_at_once(
    cluster: simulator.Cluster, mode: str
) -> None:
    other = "proxmox://guests/100/config"
    async with subscribed(mode, cluster, GUEST, CONFIG, other) as (client, ear):
        await called(client, "vm_config_update", vmid=107, config={"tags": "new"}, dry_run=True)
        assert ear.heard == []
        await called(client, "vm_config_update", vmid=107, config={"tags": "new"})
        assert {await ear.next(), await ear.next()} == {GUEST, CONFIG}
        await called(client, "get_vm_status", vmid=107)
        assert ear.heard == []


@pytest.mark.usefixtures("never")
@both_eras
async def test_all_guests_are_one_request_and_the_tasks_of_a_node_one_more(
    slow: simulator.Cluster, watchers: list[Watcher], mode: str
) -> None:
    upid = await running(slow)
    about = f"proxmox://tasks/{upid}"
    guests = [f"proxmox://guests/{vmid}" for vmid in (100, 102, 105, 107)]
    async with subscribed(mode, slow, *guests, about, f"{about}/log"):
        slow.requests.clear()
        await watchers[-1].look()

        asked = sorted(request.path for request in slow.requests)
    assert asked == ["/cluster/resources", "/nodes/pve2/tasks"]


@both_eras
async def test_nothing_is_asked_before_somebody_follows_something(
    cluster: simulator.Cluster, mode: str
) -> None:
    async with Client(serve(cluster), mode=mode) as client:
        await client.list_resources()

    assert cluster.requests == []


async def test_the_end_of_a_connection_ends_its_subscriptions(
    cluster: simulator.Cluster, watchers: list[Watcher]
) -> None:
    async with Client(serve(cluster), mode="legacy") as client:
        await subscribe(client, GUEST)
        await subscribe(client, GUEST)
        assert watchers[-1].following == {GUEST}

    assert watchers[-1].following == frozenset()


async def test_what_was_never_subscribed_to_can_be_unsubscribed(cluster: simulator.Cluster) -> None:
    async with Client(serve(cluster), mode="legacy") as client:
        await unsubscribe(client, GUEST)


async def test_two_streams_are_both_told_and_the_first_to_end_does_not_end_the_other(
    cluster: simulator.Cluster, watchers: list[Watcher]
) -> None:
    async with subscribed("auto", cluster, GUEST) as (client, ear):
        async with client.listen(resource_subscriptions=[GUEST]) as second:
            cluster.guest(107).lock = "backup"
            with anyio.fail_after(BOUND):
                await anext(second)
            assert await ear.next() == GUEST
        await client.list_tools()
        assert watchers[-1].following == {GUEST}
        cluster.guest(107).lock = None
        assert await ear.next() == GUEST


REFUSED = [
    "proxmox://cluster",
    "proxmox://nodes/pve1",
    "proxmox://storage/local",
    "proxmox://guests/..%2F..",
    "proxmox://nosuch",
]


async def test_what_cannot_be_followed_is_refused_before_2026(cluster: simulator.Cluster) -> None:
    async with Client(serve(cluster, toolsets=["guests"]), mode="legacy") as client:
        for uri in [*REFUSED, CONFIG]:
            with pytest.raises(MCPError) as caught:
                await subscribe(client, uri)
            assert caught.value.error.code == -32602
            assert caught.value.error.data == {"uri": uri}

    assert cluster.requests == []


async def test_what_cannot_be_followed_is_acknowledged_and_not_watched_since_2026(
    cluster: simulator.Cluster, watchers: list[Watcher]
) -> None:
    async with subscribed("auto", cluster, *REFUSED) as (client, ear):
        assert watchers[-1].following == frozenset()
        await client.list_tools()
        assert ear.heard == []

    assert cluster.requests == []


async def test_there_is_a_most_of_what_is_followed(
    cluster: simulator.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MOST_FOLLOWED", 1)
    async with Client(serve(cluster), mode="legacy") as client:
        await subscribe(client, GUEST)
        with pytest.raises(MCPError, match="which is the most"):
            await subscribe(client, CONFIG)


@both_eras
async def test_a_cluster_that_does_not_answer_for_a_while_ends_nothing(
    cluster: simulator.Cluster, mode: str
) -> None:
    async with subscribed(mode, cluster, GUEST) as (client, ear):
        failed = anyio.Event()

        def refuse(_: simulator.Request) -> Any:
            anyio.from_thread.run_sync(failed.set)
            return silence(595, "No route to host")

        cluster.intercept = refuse
        with anyio.fail_after(BOUND):
            await failed.wait()
        cluster.intercept = None
        cluster.guest(107).lock = "backup"
        assert await ear.next() == GUEST
        assert (await called(client, "get_vm_status", vmid=107))["lock"] == "backup"


@pytest.mark.usefixtures("never")
async def test_a_node_that_is_down_hides_how_its_tasks_are_and_nothing_else(
    slow: simulator.Cluster, watchers: list[Watcher]
) -> None:
    upid = await running(slow)
    uri = f"proxmox://tasks/{upid}"
    async with subscribed("legacy", slow, uri, "proxmox://guests/100") as (_, ear):
        slow.take_offline("pve2")
        slow.guest(100).lock = "backup"
        await watchers[-1].look()
        assert await ear.next() == "proxmox://guests/100"
        assert ear.heard == []
        slow.bring_online("pve2")


@pytest.mark.parametrize("speed", [NEVER_DONE])
async def test_rules_hold_for_what_is_followed(
    cluster: simulator.Cluster, watchers: list[Watcher]
) -> None:
    hidden, shown = "proxmox://guests/100", "proxmox://guests/105"
    async with subscribed("auto", cluster, hidden, shown, allow=["tag:db"]) as (_, ear):
        cluster.guest(100).lock = "clone"
        cluster.guest(105).lock = None
        assert await ear.next() == shown
        await watchers[-1].look()
        assert ear.heard == []


@pytest.mark.usefixtures("never")
async def test_a_defect_in_a_look_ends_neither_the_watcher_nor_the_server(
    cluster: simulator.Cluster, watchers: list[Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with subscribed("legacy", cluster, GUEST) as (client, ear):
        with monkeypatch.context() as patched:
            patched.setattr(Watcher, "_states", lambda _: 1 / 0)
            await watchers[-1].look()
        cluster.guest(107).lock = "backup"
        await watchers[-1].look()
        assert await ear.next() == GUEST
        await called(client, "get_vm_status", vmid=107)
