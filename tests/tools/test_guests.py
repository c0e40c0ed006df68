from typing import Any

import anyio
import pytest
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Cluster
from tests.conftest import Connect, serve, text


async def listed(client: Client, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("proxmox_get_vms", arguments)
    assert result.structured_content is not None, text(result)
    return dict(result.structured_content)


def ids(page: dict[str, Any]) -> list[int]:
    return [guest["vmid"] for guest in page["guests"]]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_virtual_machines_and_containers_are_in_one_list(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    async with connect(mode=mode) as client:
        page = await listed(client)

    assert ids(page) == [100, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112]
    assert {guest["type"] for guest in page["guests"]} == {"qemu", "lxc"}
    assert page["guests"][0] == {
        "vmid": 100,
        "name": "web-01",
        "type": "qemu",
        "node": "pve1",
        "status": "running",
        "mem_gib": 4,
        "tags": "prod;web",
        "pool": "production",
    }
    assert len(cluster.requests) == 1


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": "lxc"}, [103, 111]),
        ({"type": "qemu", "node": "pve3"}, [108, 109]),
        ({"type": "all", "status": "stopped"}, [107, 110, 112]),
        ({"name": "web-*"}, [100, 102]),
        ({"name": "WEB-01"}, [100]),
        ({"name": "web"}, []),
        ({"tag": "db"}, [105, 106]),
        ({"tag": "d"}, []),
        ({"pool": "production"}, [100, 102, 105]),
        ({"pool": "production", "tag": "web", "node": "pve1"}, [100, 102]),
    ],
)
async def test_filters_are_applied_on_the_server(
    client: Client, cluster: Cluster, filters: dict[str, str], expected: list[int]
) -> None:
    page = await listed(client, **filters)

    assert ids(page) == expected
    assert page["total"] == len(expected)
    assert [(r.path, r.param) for r in cluster.requests] == [("/cluster/resources", {"type": "vm"})]


async def test_pages_show_every_guest_once_and_the_last_has_no_cursor(client: Client) -> None:
    seen: list[int] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = await listed(client, limit=5, **cursor)
        seen += ids(page)
        cursor = {"cursor": page["next_cursor"]} if "next_cursor" in page else {}

    assert seen == [100, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112]
    assert cursor == {}


async def test_a_guest_that_goes_between_two_pages_hides_no_other(
    client: Client, cluster: Cluster
) -> None:
    first = await listed(client, limit=3)
    del cluster.center.guests[102]
    await anyio.sleep(0.25)  # the list is refreshed every ten seconds, fifty times as fast here
    second = await listed(client, limit=3, cursor=first["next_cursor"])

    assert ids(first) == [100, 102, 103]
    assert ids(second) == [104, 105, 106]


@pytest.mark.parametrize("cursor", ["nonsense", "WyJhIl0", "W10", "e30", "!!!"])
async def test_a_cursor_that_nobody_gave_is_refused(
    client: Client, cluster: Cluster, cursor: str
) -> None:
    result = await client.call_tool("proxmox_get_vms", {"cursor": cursor})

    assert result.is_error
    assert "next_cursor of an earlier answer" in text(result)
    assert cluster.requests == []


async def test_a_big_cluster_costs_one_request_and_a_bounded_answer() -> None:
    big = Cluster(guests=2_000)
    async with Client(serve(big)) as client:
        result = await client.call_tool("proxmox_get_vms", {})

    assert result.structured_content is not None
    assert result.structured_content["total"] == 2_000
    assert len(result.structured_content["guests"]) == 50
    assert len(big.requests) == 1
    assert len(text(result)) < 9_000


async def test_guests_of_an_offline_node_are_listed_as_unknown(
    client: Client, cluster: Cluster
) -> None:
    cluster.take_offline("pve3")

    page = await listed(client, status="unknown")

    assert ids(page) == [108, 109, 111]


async def test_an_empty_list_says_which_privilege_may_be_missing(connect: Connect) -> None:
    async with connect(credentials=TOKENS["nobody"]) as client:
        page = await listed(client)

    assert page["total"] == 0
    assert "VM.Audit" in page["notice"]


async def test_names_from_the_cluster_are_cleaned(client: Client, cluster: Cluster) -> None:
    cluster.guest(100).name = "web\u202e-01\x1b[31m\u200b!"

    page = await listed(client)

    assert page["guests"][0]["name"] == "web-01!"


# --- one guest -------------------------------------------------------------------------------


async def status(client: Client, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("proxmox_get_vm_status", arguments)
    assert result.structured_content is not None, text(result)
    return dict(result.structured_content)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    "named",
    [
        {"vmid": 100},
        {"vmid": "100"},
        {"vmid": "web-01"},
        {"vmid": "Web-01", "node": "pve1", "type": "qemu"},
        {"vmid": 100, "node": "pve1"},
    ],
)
async def test_a_guest_is_found_however_it_is_named(
    connect: Connect, cluster: Cluster, mode: str, named: dict[str, Any]
) -> None:
    async with connect(mode=mode) as client:
        now = await status(client, **named)

    assert (now["vmid"], now["name"], now["type"], now["node"]) == (100, "web-01", "qemu", "pve1")
    assert now["status"] == "running"
    assert now["memory_total_bytes"] == 4 * 1024**3
    assert [request.path for request in cluster.requests] == [
        "/cluster/resources",
        "/nodes/pve1/qemu/100/status/current",
    ]


async def test_a_container_is_found_without_saying_that_it_is_one(client: Client) -> None:
    now = await status(client, vmid=111)

    assert now["type"] == "lxc"
    assert now["disk_used_bytes"] > 0
    assert "agent" not in now


async def test_state_is_live_while_the_list_still_lags(client: Client, cluster: Cluster) -> None:
    cluster.speed = 0.01  # the list is refreshed once in a thousand seconds
    assert (await listed(client, name="web-02"))["guests"][0]["status"] == "running"
    cluster.guest(102).status = "stopped"

    assert (await status(client, vmid="web-02"))["status"] == "stopped"


@pytest.mark.parametrize(
    ("vmid", "changes", "expected"),
    [
        (109, {}, "paused"),
        (107, {}, "stopped"),
        (107, {"lock": "suspended"}, "hibernated"),
        (112, {}, "stopped"),
    ],
)
async def test_paused_and_hibernated_are_told_apart(
    client: Client, cluster: Cluster, vmid: int, changes: dict[str, Any], expected: str
) -> None:
    for name, value in changes.items():
        setattr(cluster.guest(vmid), name, value)

    assert (await status(client, vmid=vmid))["status"] == expected


async def test_a_lock_and_ha_are_shown(client: Client) -> None:
    assert (await status(client, vmid=112))["lock"] == "backup"
    assert (await status(client, vmid=102))["ha_state"] == "started"
    assert "ha_state" not in await status(client, vmid=100)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"vmid": 100, "node": "pve2"}, 'node="pve1" and type="qemu"'),
        ({"vmid": 111, "type": "qemu"}, "proxy-01) on pve3 is not at"),
        ({"vmid": "cache"}, "2 guests are called cache: 103 cache (container on pve1); 107"),
        ({"vmid": "web-1"}, "Nearest of 12: 100 web-01"),
        ({"vmid": "abc"}, "No guest that this token may see has the name abc"),
        ({"vmid": 999}, "Nearest of 12: 112 build-01"),
    ],
)
async def test_a_guest_named_wrongly_is_refused_with_the_way_out(
    client: Client, cluster: Cluster, arguments: dict[str, Any], words: str
) -> None:
    result = await client.call_tool("proxmox_get_vm_status", arguments)

    assert result.is_error
    assert words in text(result)
    assert all(request.path == "/cluster/resources" for request in cluster.requests)


async def test_a_guest_on_an_offline_node_says_that_the_node_is_down(
    client: Client, cluster: Cluster
) -> None:
    cluster.take_offline("pve3")

    result = await client.call_tool("proxmox_get_vm_status", {"vmid": 108})

    assert result.is_error
    assert "VM 108 on pve3: No route to host" in text(result)
    assert "node is offline" in text(result)


@pytest.mark.parametrize("version", ["7.4", "8.4", "9.0"])
async def test_every_supported_version_answers(version: str) -> None:
    async with Client(serve(Cluster(version=version, speed=500))) as client:
        for name in ("nodes", "vms", "storage", "cluster_status"):
            assert not (await client.call_tool(f"proxmox_get_{name}", {})).is_error
        assert (await status(client, vmid=100))["status"] == "running"
        command = {"vmid": 100, "command": ["echo", version]}
        result = await client.call_tool("proxmox_execute_vm_command", command)
        assert result.structured_content is not None
        assert result.structured_content["stdout"] == f"{version}\n"
        assert not (await client.call_tool("proxmox_task_list", {})).is_error
