import threading
from collections.abc import Callable

import anyio
import pytest
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Answer, Cluster, Request
from proxmox_mcp.tools import nodes
from tests.conftest import Connect, text
from tests.wire import answer, silence


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_every_node_is_listed_with_figures_and_load(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        result = await client.call_tool("proxmox_get_nodes", {})

    listed = result.structured_content
    assert listed is not None
    assert [node["node"] for node in listed["nodes"]] == ["pve1", "pve2", "pve3"]
    assert all(len(node["load"]) == 3 for node in listed["nodes"])
    assert listed["nodes"][0]["cpus"] == 16
    assert listed["nodes"][0]["memory_gib"] == 64
    assert listed["offline"] == []


async def test_an_offline_node_has_no_figures_and_is_not_asked(
    client: Client, cluster: Cluster
) -> None:
    cluster.take_offline("pve2")

    listed = (await client.call_tool("proxmox_get_nodes", {})).structured_content

    assert listed is not None
    assert listed["nodes"][1] == {"node": "pve2", "status": "offline"}
    assert listed["offline"] == ["pve2"]
    assert "/nodes/pve2/status" not in [request.path for request in cluster.requests]


def failing(path: str, reply: Answer) -> Callable[[Request], Answer | None]:
    return lambda request: reply if request.path == path else None


async def test_a_node_that_fails_to_answer_is_named_and_the_rest_is_there(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = failing("/nodes/pve3/status", silence(595, "No route to host"))

    listed = (await client.call_tool("proxmox_get_nodes", {})).structured_content

    assert listed is not None
    assert listed["without_load"] == ["pve3"]
    assert "load" in listed["nodes"][0]
    assert "load" not in listed["nodes"][2]


async def test_a_node_that_hangs_delays_the_list_by_seconds_only(
    client: Client, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "LOAD_SECONDS", 0.2)
    over = threading.Event()

    def hang(request: Request) -> None:
        if request.path == "/nodes/pve3/status":
            over.wait(10)

    cluster.intercept = hang
    with anyio.fail_after(5):
        listed = (await client.call_tool("proxmox_get_nodes", {})).structured_content
    over.set()

    assert listed is not None
    assert listed["without_load"] == ["pve3"]
    assert listed["nodes"][2]["status"] == "online"


async def test_without_rights_names_and_states_are_shown_without_figures(
    connect: Connect,
) -> None:
    async with connect(credentials=TOKENS["nobody"]) as client:
        listed = (await client.call_tool("proxmox_get_nodes", {})).structured_content

    assert listed is not None
    assert listed["nodes"][0] == {"node": "pve1", "status": "online"}
    assert listed["without_load"] == ["pve1", "pve2", "pve3"]


async def test_one_node_is_shown_in_detail(client: Client, cluster: Cluster) -> None:
    result = await client.call_tool("proxmox_get_node_status", {"node": "pve1"})

    status = result.structured_content
    assert status is not None
    assert status["pve_version"].startswith("pve-manager/9.0")
    assert status["memory_total_bytes"] == 64 * 1024**3
    assert len(status["load"]) == 3
    assert [request.path for request in cluster.requests] == ["/nodes/pve1/status"]


async def test_an_unknown_node_is_an_error_that_points_to_the_list(client: Client) -> None:
    result = await client.call_tool("proxmox_get_node_status", {"node": "pve9"})

    assert result.is_error
    assert "proxmox_get_nodes lists them" in text(result)


async def test_node_status_names_the_missing_privilege_and_its_path(connect: Connect) -> None:
    async with connect(credentials=TOKENS["vmuser"]) as client:
        result = await client.call_tool("proxmox_get_node_status", {"node": "pve1"})

    assert result.is_error
    assert "Give the token Sys.Audit on /nodes/pve1" in text(result)


async def test_node_status_is_withheld_and_says_which_setting_turns_it_on(
    connect: Connect, cluster: Cluster
) -> None:
    async with connect(allow_elevated=False) as client:
        listed = [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("proxmox_get_node_status", {"node": "pve1"})

    assert "proxmox_get_node_status" not in listed
    assert result.is_error
    assert "allow_elevated" in text(result)
    assert cluster.requests == []


async def test_nodes_are_paged_and_only_those_shown_are_asked(
    client: Client, cluster: Cluster
) -> None:
    first = (await client.call_tool("proxmox_get_nodes", {"limit": 2})).structured_content
    assert first is not None
    asked = [request.path for request in cluster.requests]
    rest = {"limit": 2, "cursor": first["next_cursor"]}
    second = (await client.call_tool("proxmox_get_nodes", rest)).structured_content
    assert second is not None

    assert sorted(asked) == ["/nodes", "/nodes/pve1/status", "/nodes/pve2/status"]
    assert first["total"] == 3
    assert [node["node"] for node in first["nodes"] + second["nodes"]] == ["pve1", "pve2", "pve3"]
    assert "next_cursor" not in second


@pytest.mark.parametrize("loadavg", ["fake", ["a", "b", "c"], None, [None]])
async def test_an_odd_load_takes_no_other_figure_down(
    client: Client, cluster: Cluster, loadavg: object
) -> None:
    odd = answer({"uptime": 5, "cpu": 0.5, "loadavg": loadavg})
    cluster.intercept = lambda request: odd if request.path.endswith("/status") else None

    listed = (await client.call_tool("proxmox_get_nodes", {})).structured_content
    status = await client.call_tool("proxmox_get_node_status", {"node": "pve1"})

    assert listed is not None
    assert listed["without_load"] == ["pve1", "pve2", "pve3"]
    assert listed["nodes"][0]["cpus"] == 16
    assert status.structured_content == {"node": "pve1", "cpu_percent": 50, "uptime_s": 5}
