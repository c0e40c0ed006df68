import pytest
import requests
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Cluster
from tests.conftest import Connect, text
from tests.wire import answer

GIB = 1024**3


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_healthy_cluster_is_described_in_two_requests(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    async with connect(mode=mode) as client:
        result = await client.call_tool("proxmox_get_cluster_status", {})

    status = result.structured_content
    assert [request.path for request in cluster.requests] == [
        "/cluster/status",
        "/cluster/resources",
    ]
    assert status is not None
    assert status["quorate"] is True
    assert status["nodes_online"] == ["pve1", "pve2", "pve3"]
    assert status["nodes_offline"] == []
    assert status["guests"] == {
        "container_running": 2,
        "template": 1,
        "vm_running": 7,
        "vm_stopped": 2,
    }


async def test_shared_storage_is_counted_once(client: Client) -> None:
    status = (await client.call_tool("proxmox_get_cluster_status", {})).structured_content
    rows = (await client.call_tool("proxmox_get_storage", {})).structured_content

    assert status is not None
    assert rows is not None
    assert len([row for row in rows["storages"] if row["storage"] == "backup-storage"]) == 1
    total = sum(row["total_gib"] for row in rows["storages"])
    assert status["storage"]["total_gib"] == pytest.approx(total)


async def test_two_directories_on_one_file_system_are_counted_once(
    client: Client, cluster: Cluster
) -> None:
    same = {
        "type": "storage",
        "node": "pve1",
        "status": "available",
        "disk": GIB,
        "maxdisk": 9 * GIB,
    }
    rows = [
        same | {"storage": "local"},
        same | {"storage": "iso"},
        same | {"storage": "x", "disk": 2},
    ]
    cluster.intercept = lambda request: (
        answer(rows) if request.path == "/cluster/resources" else None
    )

    status = (await client.call_tool("proxmox_get_cluster_status", {})).structured_content

    assert status is not None
    assert status["storage"]["total_gib"] == 18


async def test_an_offline_node_is_named_and_nothing_else_is_lost(
    client: Client, cluster: Cluster
) -> None:
    cluster.take_offline("pve3")

    status = (await client.call_tool("proxmox_get_cluster_status", {})).structured_content

    assert status is not None
    assert status["nodes_online"] == ["pve1", "pve2"]
    assert status["nodes_offline"] == ["pve3"]
    assert status["guests"]["vm_unknown"] == 2
    assert "local@pve3" in status["storage_missing"]


async def test_without_the_right_to_see_quorum_it_says_so_and_shows_the_rest(
    connect: Connect,
) -> None:
    async with connect(credentials=TOKENS["vmuser"]) as client:
        result = await client.call_tool("proxmox_get_cluster_status", {})

    status = result.structured_content
    assert status is not None
    assert "quorate" not in status
    assert "Sys.Audit on /" in status["notice"]
    assert status["nodes_online"] == ["pve1", "pve2", "pve3"]


async def test_a_standalone_node_has_quorum_and_no_cluster_name(
    client: Client, cluster: Cluster
) -> None:
    node = {"type": "node", "id": "node/pve1", "name": "pve1", "online": 1, "local": 1}
    cluster.intercept = lambda request: (
        answer([node]) if request.path == "/cluster/status" else None
    )

    status = (await client.call_tool("proxmox_get_cluster_status", {})).structured_content

    assert status is not None
    assert status["quorate"] is True
    assert "cluster" not in status


async def test_a_dead_cluster_is_an_error_and_not_an_empty_answer(
    client: Client, cluster: Cluster
) -> None:
    def refuse(_: object) -> None:
        raise requests.ConnectTimeout

    cluster.intercept = refuse

    result = await client.call_tool("proxmox_get_cluster_status", {})

    assert result.is_error
    assert result.structured_content is None
    assert "pve1.demo.invalid:8006" in text(result)
