"""Resources, through a client on the assembled server: listed, read, refused, in both eras."""

import json
import logging
from typing import Any

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import TextResourceContents

from proxmox_mcp import server, simulator
from proxmox_mcp.config import Settings
from proxmox_mcp.resources import RESOURCES, shelf
from tests import secrecy
from tests.conftest import Connect
from tests.tools.calls import called
from tests.wire import silence

NOTE_SECRET = "hunter2-in-the-notes"
NOT_FOUND, FAILED = -32602, -32603
JSON = "application/json"

both_eras = pytest.mark.parametrize("mode", ["legacy", "auto"])


async def content(client: Client, uri: str) -> TextResourceContents:
    [only] = (await client.read_resource(uri)).contents
    assert isinstance(only, TextResourceContents)
    assert only.uri == uri
    assert secrecy.leaks(only.text) == []
    return only


async def read(client: Client, uri: str) -> dict[str, Any]:
    found = await content(client, uri)
    assert found.mime_type == JSON
    return dict(json.loads(found.text))


async def unread(client: Client, uri: str) -> tuple[int, str]:
    with pytest.raises(MCPError) as caught:
        await client.read_resource(uri)
    assert caught.value.error.data == {"uri": uri}
    return caught.value.error.code, caught.value.error.message


async def a_task(client: Client) -> str:
    tasks = (await called(client, "task_list"))["tasks"]
    return next(str(task["upid"]) for task in tasks if task["type"] == "qmstart")


@both_eras
async def test_what_has_one_uri_is_listed_and_the_rest_are_templates(
    connect: Connect, mode: str
) -> None:
    async with connect(mode=mode) as client:
        listed = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates

    assert {each.uri: each.mime_type for each in listed} == {"proxmox://cluster": JSON}
    assert {each.uri_template: each.mime_type for each in templates} == {
        "proxmox://nodes/{node}": JSON,
        "proxmox://guests/{vmid}": JSON,
        "proxmox://guests/{vmid}/config": JSON,
        "proxmox://guests/{vmid}/snapshots": JSON,
        "proxmox://storage/{storage}": JSON,
        "proxmox://tasks/{upid}": JSON,
        "proxmox://tasks/{upid}/log": "text/plain",
    }
    for title, description in [
        *((each.title, each.description) for each in listed),
        *((each.title, each.description) for each in templates),
    ]:
        assert title
        assert (description or "").endswith(".")


@both_eras
async def test_a_resource_shows_what_its_tool_answers(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        upid = await a_task(client)
        for uri, tool, arguments in (
            ("proxmox://guests/100/config", "vm_config_get", {"vmid": 100}),
            ("proxmox://guests/100/snapshots", "snapshot_list", {"vmid": 100}),
            (f"proxmox://tasks/{upid}", "task_status", {"upid": upid, "include_logs": True}),
        ):
            assert await read(client, uri) == await called(client, tool, **arguments), uri
        cluster = await read(client, "proxmox://cluster")
        node = await read(client, "proxmox://nodes/pve2")
        by_tool = await called(client, "get_node_status", node="pve2")

    assert cluster["nodes_online"] == ["pve1", "pve2", "pve3"]
    assert node.keys() == by_tool.keys()
    assert node["node"] == "pve2"


@both_eras
async def test_a_guest_is_read_by_its_id_and_by_its_name(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        by_id = await read(client, "proxmox://guests/105")
        by_name = await read(client, "proxmox://guests/db-01")

    assert (by_id["vmid"], by_id["name"]) == (by_name["vmid"], by_name["name"]) == (105, "db-01")
    assert by_id["status"] == "running"


async def test_a_name_with_dots_is_a_name(client: Client, cluster: simulator.Cluster) -> None:
    cluster.guest(100).name = "web.01.example.org"

    assert (await read(client, "proxmox://guests/web.01.example.org"))["vmid"] == 100


async def test_a_storage_is_shown_alone_and_on_each_node_that_has_its_own(client: Client) -> None:
    shared = await read(client, "proxmox://storage/pbs")
    local = await read(client, "proxmox://storage/local-lvm")

    assert [row["storage"] for row in shared["storages"]] == ["pbs"]
    assert shared["total"] == 1
    assert "next_cursor" not in shared
    assert sorted(row["node"] for row in local["storages"]) == ["pve1", "pve2", "pve3"]
    assert {row["storage"] for row in local["storages"]} == {"local-lvm"}


@both_eras
async def test_a_tasks_log_is_text_between_marks(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        tasks = (await called(client, "task_list", task_type="vzdump", errors=True))["tasks"]
        log = await content(client, f"proxmox://tasks/{tasks[0]['upid']}/log")

    assert log.mime_type == "text/plain"
    assert "ERROR: Backup of VM 112 failed - VM is locked (backup)" in log.text
    assert "<log-" in log.text


async def test_a_task_is_found_by_its_id_with_and_without_percent_signs(client: Client) -> None:
    upid = await a_task(client)
    escaped = upid.replace(":", "%3A").replace("@", "%40").replace("!", "%21")

    assert (await read(client, f"proxmox://tasks/{escaped}"))["upid"] == upid


HOSTILE = [
    "proxmox://guests/..%2F..",
    "proxmox://guests/100%2Fconfig",
    "proxmox://guests/..%2f..%2faccess%2fusers",
    "proxmox://guests/100%3Fx=1",
    "proxmox://guests/100%0A",
    "proxmox://guests/100%00",
    "proxmox://guests/",
    "proxmox://guests/99",
    "proxmox://guests/-1",
    "proxmox://guests/w%C3%ABb-01",
    "proxmox://guests/%E2%80%AE100",
    "proxmox://guests/%D9%A1%D9%A0%D9%A0",
    "proxmox://nodes/..%2Faccess",
    "proxmox://nodes/pve1%23",
    "proxmox://nodes/" + "a" * 64,
    "proxmox://storage/..",
    "proxmox://storage/local%2Fcontent",
    "proxmox://tasks/UPID:pve1",
    "proxmox://tasks/UPID:pve1:00000000:00000000:00000000:qmstart:..%2F..:root@pam:",
    "proxmox://guests/100/nosuch",
    "proxmox://nosuch",
    "file:///etc/passwd",
    "",
    "x" * 100_000,
]


@both_eras
async def test_a_hostile_uri_is_not_found_and_sends_nothing(
    connect: Connect, cluster: simulator.Cluster, mode: str
) -> None:
    async with connect(mode=mode) as client:
        for uri in HOSTILE:
            code, said = await unread(client, uri)
            assert code == NOT_FOUND, (uri[:80], said)
            assert len(said) < 700

    assert cluster.requests == []


@both_eras
async def test_what_does_not_exist_is_not_found_in_words(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        guest = await unread(client, "proxmox://guests/999")
        storage = await unread(client, "proxmox://storage/nosuch")

    assert guest[0] == storage[0] == NOT_FOUND
    assert "No guest that this token may see has the id 999. Nearest of 12:" in guest[1]
    assert "There are: backup-storage, local, local-lvm, pbs, shared-vms" in storage[1]


@both_eras
async def test_what_cannot_be_asked_fails_in_words(
    connect: Connect, cluster: simulator.Cluster, mode: str
) -> None:
    cluster.take_offline("pve3")
    async with connect(mode=mode) as client:
        away = await unread(client, "proxmox://guests/108")
        there = await read(client, "proxmox://guests/100")
        cluster.intercept = lambda _: silence(401, "No ticket")
        nobody = await unread(client, "proxmox://cluster")

    assert away[0] == nobody[0] == FAILED
    assert "pve3" in away[1]
    assert "token" in nobody[1]
    assert there["status"] == "running"


async def test_rules_hold_for_resources_as_for_tools(connect: Connect) -> None:
    async with connect(allow=["tag:db"]) as client:
        allowed = await read(client, "proxmox://guests/105")
        by_id = await unread(client, "proxmox://guests/100")
        by_config = await unread(client, "proxmox://guests/web-01/config")
        cluster = await read(client, "proxmox://cluster")

    assert allowed["vmid"] == 105
    assert by_id[0] == by_config[0] == NOT_FOUND
    assert "Only what fits allow is shown here" in by_id[1]
    assert sum(cluster["guests"].values()) == 2


@both_eras
async def test_a_resource_whose_tool_is_withheld_is_not_listed_and_says_why(
    connect: Connect, cluster: simulator.Cluster, mode: str
) -> None:
    settings = {"allow_elevated": False, "disable_tools": ["proxmox_vm_config_get"]}
    async with connect(mode=mode, **settings) as client:
        templates = (await client.list_resource_templates()).resource_templates
        node = await unread(client, "proxmox://nodes/pve1")
        config = await unread(client, "proxmox://guests/100/config")
    async with connect(mode=mode, toolsets=["snapshots"]) as client:
        few = (await client.list_resource_templates()).resource_templates
        none = (await client.list_resources()).resources
        whole = await unread(client, "proxmox://cluster")

    offered = {each.uri_template for each in templates}
    assert {spec.uri for spec in RESOURCES} - offered == {
        "proxmox://cluster",
        "proxmox://nodes/{node}",
        "proxmox://guests/{vmid}/config",
    }
    assert "allow_elevated = true" in node[1]
    assert "disable_tools in the settings names it" in config[1]
    assert [each.uri_template for each in few] == ["proxmox://guests/{vmid}/snapshots"]
    assert none == []
    assert "its toolset cluster is not among toolsets" in whole[1]
    assert cluster.requests == []


async def test_a_server_that_only_reads_offers_all_of_them(connect: Connect) -> None:
    async with connect(read_only=True) as client:
        listed = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
        await read(client, "proxmox://guests/100")

    assert len(listed) + len(templates) == len(RESOURCES)


async def test_reading_changes_nothing(client: Client, cluster: simulator.Cluster) -> None:
    upid = await a_task(client)
    for spec in RESOURCES:
        names = {"vmid": "100", "node": "pve1", "storage": "local", "upid": upid}
        uri = spec.uri.format(**names)
        await content(client, uri)

    assert cluster.writes == []


@both_eras
async def test_the_demo_says_that_nothing_is_real(mode: str) -> None:
    async with Client(server.build(Settings(demo=True)), mode=mode) as client:
        status = await read(client, "proxmox://guests/100")
        _, missing = await unread(client, "proxmox://guests/999")

    assert status["notice"] == server.DEMO_NOTICE
    assert server.DEMO_NOTICE in missing


async def test_secrets_are_masked_as_in_a_tools_answer(
    client: Client, cluster: simulator.Cluster
) -> None:
    cluster.guest(100).config["description"] = f"login admin, password: {NOTE_SECRET}"

    config = await read(client, "proxmox://guests/100/config")

    assert "password: ***" in json.dumps(config)


async def test_a_read_leaves_the_line_of_its_tool_with_the_resource(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "proxmox_mcp"):
        await read(client, "proxmox://guests/web-01")

    [line] = [vars(each) for each in caplog.records if each.message == "tool.finished"]
    assert line["tool"] == "proxmox_get_vm_status"
    assert line["resource"] == "proxmox://guests/{vmid}"
    assert (line["outcome"], line["guest"], line["requests"]) == ("ok", "100", 2)


@both_eras
async def test_a_defect_is_called_one_and_tells_nothing_of_itself(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(shelf, "read", broken)
    async with connect(mode=mode) as client:
        code, said = await unread(client, "proxmox://cluster")

    assert code == FAILED
    assert "which is a defect of it" in said
    assert "inside this server" in said
    assert "RuntimeError" not in said
