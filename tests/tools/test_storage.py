from typing import Any

import pytest
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Cluster
from tests.conftest import Connect, text


async def storages(client: Client, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("proxmox_get_storage", arguments)
    assert result.structured_content is not None, text(result)
    return dict(result.structured_content)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_whole_cluster_costs_one_request(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    async with connect(mode=mode) as client:
        rows = (await storages(client))["storages"]

    assert len(cluster.requests) == 1
    assert [(row["storage"], row.get("node")) for row in rows if row["storage"] == "local"] == [
        ("local", node) for node in [row["node"] for row in rows if row["storage"] == "local"]
    ]
    assert {row["node"] for row in rows if row["storage"] == "local"} == {"pve1", "pve2", "pve3"}
    used = [row.get("used_percent", 0) for row in rows]
    assert used == sorted(used, reverse=True)


async def test_a_shared_storage_is_one_row_and_names_where_it_is_missing(
    client: Client, cluster: Cluster
) -> None:
    cluster.take_offline("pve3")

    rows = (await storages(client))["storages"]

    shared = [row for row in rows if row["storage"] == "backup-storage"]
    assert len(shared) == 1
    assert shared[0]["status"] == "available"
    assert shared[0]["content"] == ["backup"]
    assert shared[0]["missing_on"] == ["pve3"]
    assert "node" not in shared[0]


async def test_one_node_is_asked_live(client: Client, cluster: Cluster) -> None:
    rows = (await storages(client, node="pve2"))["storages"]

    assert [request.path for request in cluster.requests] == ["/nodes/pve2/storage"]
    assert {row["status"] for row in rows} == {"available"}
    local = next(row for row in rows if row["storage"] == "local")
    assert local["node"] == "pve2"
    assert local["total_gib"] == 94


async def test_no_visible_storage_says_which_privilege_may_be_missing(connect: Connect) -> None:
    async with connect(credentials=TOKENS["nobody"]) as client:
        answer = await storages(client)

    assert answer["storages"] == []
    assert "Datastore.Audit" in answer["notice"]


async def test_storages_are_filtered_by_content_and_paged(client: Client) -> None:
    first = await storages(client, content="backup", limit=3)
    second = await storages(client, content="backup", limit=3, cursor=first["next_cursor"])

    rows = first["storages"] + second["storages"]
    assert first["total"] == len(rows) == 5
    assert all("backup" in row["content"] for row in rows)
    assert "next_cursor" not in second
