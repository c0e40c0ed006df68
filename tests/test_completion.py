"""What is offered while a URI or a prompt's argument is typed, in both eras."""

import threading
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import Completion, PromptReference, ResourceTemplateReference

from proxmox_mcp import simulator
from proxmox_mcp.prompts import PROMPTS
from proxmox_mcp.resources import RESOURCES, completion
from proxmox_mcp.tools import TOOLS
from tests.conftest import Connect, serve
from tests.wire import silence

GUESTS = "proxmox://guests/{vmid}"

both_eras = pytest.mark.parametrize("mode", ["legacy", "auto"])


async def offered(client: Client, where: str, name: str, typed: str) -> Completion:
    template = "://" in where
    ref: Any = ResourceTemplateReference(uri=where) if template else PromptReference(name=where)
    return (await client.complete(ref, {"name": name, "value": typed})).completion


async def values(client: Client, where: str, name: str, typed: str) -> list[str]:
    return (await offered(client, where, name, typed)).values


@both_eras
async def test_guests_are_offered_by_the_beginning_of_an_id_or_a_name(
    connect: Connect, mode: str
) -> None:
    async with connect(mode=mode) as client:
        by_id = await values(client, GUESTS, "vmid", "11")
        by_name = await offered(client, GUESTS, "vmid", "WEB")
        middle = await values(client, GUESTS, "vmid", "01")
        everything = await values(client, GUESTS, "vmid", "")

    assert by_id == ["110", "111", "112"]
    assert by_name.values == ["web-01", "web-02"]
    assert (by_name.total, by_name.has_more) == (2, False)
    assert middle == []
    assert everything[:4] == ["100", "web-01", "102", "web-02"]


async def test_a_name_that_two_guests_bear_is_not_offered_since_it_would_be_refused(
    client: Client,
) -> None:
    assert await values(client, GUESTS, "vmid", "cache") == []
    assert await values(client, GUESTS, "vmid", "103") == ["103"]


async def test_a_name_that_cannot_stand_in_a_uri_is_not_offered(
    client: Client, cluster: simulator.Cluster
) -> None:
    cluster.guest(100).name = "web 01/../x"
    cluster.guest(102).name = "102102"

    assert await values(client, GUESTS, "vmid", "web") == []
    assert await values(client, GUESTS, "vmid", "102") == ["102"]


@both_eras
async def test_of_many_guests_a_hundred_are_offered_and_all_are_counted(mode: str) -> None:
    many = simulator.Cluster(guests=2000)
    async with Client(serve(many), mode=mode) as client:
        found = await offered(client, GUESTS, "vmid", "1")
        narrow = await offered(client, GUESTS, "vmid", "1999")
        for word in ("w", "we", "web", "web-1"):
            assert all(each.startswith(word) for each in await values(client, GUESTS, "vmid", word))

    assert len(found.values) == 100
    assert found.total == 1011  # 100 to 112 without 101, and 1001 to 1999
    assert found.has_more is True
    assert (narrow.values, narrow.total, narrow.has_more) == (["1999"], 1, False)
    lists = [request for request in many.requests if request.path == "/cluster/resources"]
    assert len(lists) == 1


@both_eras
async def test_nodes_storages_and_tasks_are_offered(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        nodes = await values(client, "proxmox://nodes/{node}", "node", "p")
        storages = await values(client, "proxmox://storage/{storage}", "storage", "local")
        tasks = await values(client, "proxmox://tasks/{upid}", "upid", "UPID:pve2:")
        log = await values(client, "proxmox://tasks/{upid}/log", "upid", "")

    assert nodes == ["pve1", "pve2", "pve3"]
    assert storages == ["local", "local-lvm"]
    assert [upid.split(":")[5:7] for upid in tasks] == [["vzdump", "105"], ["vzdump", "112"]]
    assert len(log) == 4


async def test_tasks_that_run_come_first() -> None:
    slow = simulator.Cluster(speed=0.05)
    later = slow.center.now + 60
    where = ("pve1", "qmstop", "100", "root@pam")
    slow.center.tasks.record(where, start=later, lasted=1, log=[], status="OK")
    async with Client(serve(slow)) as client:
        found = await values(client, "proxmox://tasks/{upid}", "upid", "UPID")

    assert [upid.split(":")[5] for upid in found] == [
        "vzdump",
        "qmstop",
        "vzdump",
        "vzdump",
        "qmstart",
    ]


async def test_a_node_that_is_down_hides_only_its_own_tasks(
    client: Client, cluster: simulator.Cluster
) -> None:
    cluster.take_offline("pve2")

    found = await values(client, "proxmox://tasks/{upid}", "upid", "")

    assert found
    assert not any("UPID:pve2:" in upid for upid in found)


@both_eras
async def test_the_arguments_of_prompts_are_offered(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        guest = await values(client, "diagnose_guest", "guest", "db")
        again = await values(client, "safe_upgrade", "guest", "db")
        tool = await values(client, "why_denied", "tool", "proxmox_vm_st")
        short = await values(client, "why_denied", "tool", "vm_st")
        days = await values(client, "backup_audit", "days", "1")

    assert guest == again == ["db-01", "db-02"]
    assert tool == short == ["proxmox_vm_start", "proxmox_vm_stop"]
    assert days == ["1", "14"]


async def test_every_variable_and_every_argument_has_something_to_offer(client: Client) -> None:
    for spec in RESOURCES:
        for name in spec.variables:
            assert await values(client, spec.uri, name, ""), name
    for prompt in PROMPTS:
        for argument in prompt.arguments:
            assert await values(client, prompt.name, argument.name, ""), argument.name


async def test_letters_cost_one_request_for_all_of_them(
    client: Client, cluster: simulator.Cluster
) -> None:
    for typed in ("", "w", "we", "web", "web-", "web-0", "web-01"):
        await values(client, GUESTS, "vmid", typed)
        await values(client, "diagnose_guest", "guest", typed)

    assert [request.path for request in cluster.requests] == ["/cluster/resources"]


@both_eras
async def test_a_cluster_that_fails_offers_nothing_and_that_is_no_error(
    connect: Connect, cluster: simulator.Cluster, mode: str
) -> None:
    cluster.intercept = lambda _: silence(595, "No route to host")
    async with connect(mode=mode) as client:
        found = await offered(client, GUESTS, "vmid", "1")
        tasks = await offered(client, "proxmox://tasks/{upid}", "upid", "")
        cluster.intercept = None
        after = await values(client, GUESTS, "vmid", "100")

    assert (found.values, found.total, found.has_more) == ([], 0, False)
    assert tasks.values == []
    assert after == ["100"]


async def test_a_cluster_that_is_slow_offers_nothing_in_time(
    client: Client, cluster: simulator.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "PATIENCE_SECONDS", 0.05)
    answer = threading.Event()

    def wait(_: simulator.Request) -> None:
        answer.wait(10)

    cluster.intercept = wait
    try:
        assert await values(client, GUESTS, "vmid", "1") == []
    finally:
        answer.set()


@both_eras
async def test_only_what_the_rules_show_is_offered(connect: Connect, mode: str) -> None:
    async with connect(mode=mode, allow=["tag:db"]) as client:
        guests = await values(client, GUESTS, "vmid", "")
        tasks = await values(client, "proxmox://tasks/{upid}", "upid", "")

    assert guests == ["105", "db-01", "106", "db-02"]
    assert {upid.split(":")[6] for upid in tasks} == {"105"}


@both_eras
async def test_what_is_not_on_offer_takes_no_arguments(connect: Connect, mode: str) -> None:
    async with connect(mode=mode, allow_elevated=False) as client:
        for where, name in (
            ("proxmox://nodes/{node}", "node"),
            (GUESTS, "name"),
            ("proxmox://nosuch/{vmid}", "vmid"),
            ("nosuch", "guest"),
            ("health_check", "guest"),
        ):
            with pytest.raises(MCPError) as caught:
                await offered(client, where, name, "")
            assert caught.value.error.code == -32602


async def test_tools_that_are_withheld_are_offered_to_why_denied(connect: Connect) -> None:
    async with connect(read_only=True) as client:
        found = await values(client, "why_denied", "tool", "")

    assert found == sorted(spec.name for spec in TOOLS)
