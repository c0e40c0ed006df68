"""A guest's id or name becomes the place where it lives now, or words that help to find it."""

from typing import Any

import anyio
import pytest

from proxmox_mcp import simulator
from proxmox_mcp.pve.errors import BadAnswer, NotFound, Refused
from proxmox_mcp.pve.fields import Kind
from proxmox_mcp.pve.guard import Cluster, Pve, guarded
from proxmox_mcp.pve.locate import CANDIDATES, MEMORY_SECONDS, Guest, locate
from tests.pve.scripted import FAST, Wire, bridge_over, data, pve_over
from tests.wire import answer

RESOURCES = "/cluster/resources"


def place(guest: Guest) -> tuple[int, str, str, str]:
    return guest.vmid, guest.kind, guest.node, guest.name


DB = (105, "qemu", "pve2", "db-01")
PROXY = (111, "lxc", "pve3", "proxy-01")


@pytest.mark.parametrize(
    ("ref", "asked", "found"),
    [
        (105, {}, DB),
        (111, {}, PROXY),
        ("db-01", {}, DB),
        ("DB-01", {}, DB),
        ("Proxy-01", {}, PROXY),
        (105, {"node": "pve2"}, DB),
        (105, {"kind": "qemu"}, DB),
        ("proxy-01", {"node": "pve3", "kind": "lxc"}, PROXY),
    ],
)
async def test_a_guest_is_found_by_id_or_by_name(
    pve: Pve, ref: int | str, asked: dict[str, Any], found: tuple[int, str, str, str]
) -> None:
    assert place(await locate(pve, ref, **asked)) == found


async def test_a_found_guest_is_the_root_of_its_api_path(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    guest = await locate(pve, 111)

    current = await pve.record(guest.api.status.current.get)

    assert current["status"] == "running"
    assert cluster.requests[-1].path == "/nodes/pve3/lxc/111/status/current"
    assert str(guest) == "container 111 (proxy-01) on pve3"
    assert pve.notes == {"guest": "111"}


async def test_a_name_that_several_bear_is_refused_with_all_of_them(pve: Pve) -> None:
    with pytest.raises(Refused) as caught:
        await locate(pve, "cache")

    assert str(caught.value) == (
        "2 guests are called cache: 103 cache (container on pve1); 107 cache (VM on pve2)."
        " Pass the vmid instead."
    )


@pytest.mark.parametrize(
    ("asked", "wrong", "right"),
    [
        ({"node": "pve1"}, 'node="pve1"', 'node="pve2" and type="qemu"'),
        ({"kind": "lxc"}, 'type="lxc"', 'node="pve2" and type="qemu"'),
        ({"node": "pve3", "kind": "lxc"}, 'node="pve3" and type="lxc"', 'node="pve2"'),
    ],
)
async def test_a_wrong_place_is_refused_with_the_right_one(
    pve: Pve, asked: dict[str, Any], wrong: str, right: str
) -> None:
    with pytest.raises(Refused) as caught:
        await locate(pve, 105, **asked)

    assert f"VM 105 (db-01) on pve2 is not at {wrong}." in str(caught.value)
    assert right in str(caught.value)
    assert "Nothing was done." in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "said", "nearest"),
    [
        (101, "the id 101", "100 web-01 (VM on pve1); 102 web-02 (VM on pve1)"),
        ("db-1", "the name db-1", "105 db-01 (VM on pve2); 106 db-02 (VM on pve2)"),
        ("proxy", "the name proxy", "111 proxy-01 (container on pve3)"),
    ],
)
async def test_an_unknown_guest_is_answered_with_the_nearest_ones(
    pve: Pve, asked: int | str, said: str, nearest: str
) -> None:
    with pytest.raises(NotFound) as caught:
        await locate(pve, asked)

    message = str(caught.value)
    assert f"No guest that this token may see has {said}." in message
    assert f"Nearest of 12: {nearest}" in message
    assert message.count(" on pve") == CANDIDATES
    assert "proxmox_get_vms lists all of them" in message


async def test_case_does_not_matter_on_either_side() -> None:
    row = {"vmid": 105, "type": "qemu", "node": "pve1", "name": "DB-Main"}

    assert place(await locate(await pve_over(Wire(data([row]))), "db-main"))[3] == "DB-Main"


async def test_a_name_that_holds_what_was_asked_is_nearer_than_one_of_the_same_letters() -> None:
    rows = [
        {"vmid": 100, "type": "qemu", "node": "pve1", "name": "bew"},
        {"vmid": 101, "type": "qemu", "node": "pve1", "name": "web-frontend-01"},
    ]

    with pytest.raises(NotFound, match=r"Nearest of 2: 101 web-frontend-01 .*; 100 bew "):
        await locate(await pve_over(Wire(data(rows))), "web")


async def test_a_token_that_sees_no_guest_is_told_which_privilege_it_may_lack(
    cluster: simulator.Cluster,
) -> None:
    adapter = simulator.SimulatorAdapter(cluster)
    pve = Pve(Cluster(bridge_over(adapter, **simulator.TOKENS["nobody"]), FAST))
    await pve.open()

    with pytest.raises(NotFound, match=r"sees no guest at all\. It may lack VM\.Audit on /vms"):
        await locate(pve, 105)


HOSTILE: dict[str, dict[str, Any]] = {
    "node above": {"node": "../access"},
    "node with a query": {"node": "pve1?x=1"},
    "node with a fragment": {"node": "pve1#"},
    "no node": {"node": ""},
    "node of nothing": {"node": None},
    "kind above": {"type": "../../access"},
    "unknown kind": {"type": "storage"},
    "id too small": {"vmid": 1},
}


@pytest.mark.parametrize("harm", HOSTILE)
async def test_an_entry_that_cannot_be_a_guest_is_a_bad_answer_and_nothing_goes_there(
    harm: str,
) -> None:
    row = {"vmid": 105, "type": "qemu", "node": "pve1", "name": "db-01"} | HOSTILE[harm]
    wire = Wire(data([row]))
    pve = await pve_over(wire)

    with pytest.raises(BadAnswer, match="holds an entry that cannot be one"):
        await locate(pve, "db-01")

    assert wire.asked == [f"GET {RESOURCES}"]


@pytest.mark.parametrize("key", ["vmid", "type", "node"])
async def test_an_entry_without_its_place_is_a_bad_answer(key: str) -> None:
    row = {"vmid": 105, "type": "qemu", "node": "pve1", "name": "db-01"}
    del row[key]

    with pytest.raises(BadAnswer):
        await locate(await pve_over(Wire(data([row]))), "db-01")


async def test_odd_entries_do_not_hide_the_others() -> None:
    odd: list[dict[str, Any]] = [
        {"vmid": 101, "type": "qemu", "node": "pve1"},
        {"vmid": 102, "type": "qemu", "node": "pve1", "name": None},
        {"vmid": 103, "type": "qemu", "node": "pve1", "name": 2026},
        {"type": "qemu", "node": "pve1", "vmid": None},
    ]
    row = {"vmid": 105, "type": "qemu", "node": "pve1", "name": "db-01"}
    wire = Wire(data([*odd, row]))

    assert (await locate(await pve_over(wire), "db-01")).vmid == 105
    assert (await locate(await pve_over(wire), 101)).name == "unnamed"
    with pytest.raises(NotFound, match="No guest that this token may see has the id 999"):
        await locate(await pve_over(wire), 999)


async def test_lookups_within_seconds_share_one_request(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    async with anyio.create_task_group() as group:
        for vmid in (100, 102, 105):
            group.start_soon(locate, pve, vmid)
    await locate(pve, "proxy-01")

    assert [(request.path, request.param) for request in cluster.requests] == [
        (RESOURCES, {"type": "vm"})
    ]


async def test_a_lookup_after_those_seconds_asks_again(cluster: simulator.Cluster) -> None:
    now = 0.0
    adapter = simulator.SimulatorAdapter(cluster)
    bridge = bridge_over(adapter, **simulator.CREDENTIALS)
    pve = Pve(Cluster(bridge, FAST, clock=lambda: now))
    await pve.open()
    await locate(pve, 105)
    now += MEMORY_SECONDS + 0.1

    await locate(pve, 105)

    assert [request.path for request in cluster.requests] == [RESOURCES] * 2


async def test_a_guest_made_since_the_last_lookup_is_found() -> None:
    old = {"vmid": 105, "type": "qemu", "node": "pve1", "name": "db-01"}
    new = {"vmid": 101, "type": "lxc", "node": "pve2", "name": "fresh"}
    wire = Wire(data([old]), data([old, new]))
    pve = await pve_over(wire)
    await locate(pve, 105)

    assert place(await locate(pve, "fresh")) == (101, "lxc", "pve2", "fresh")
    assert wire.asked == [f"GET {RESOURCES}"] * 2


async def test_an_unknown_guest_is_asked_for_once_where_nothing_was_remembered(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    with pytest.raises(NotFound):
        await locate(pve, 101)

    assert [request.path for request in cluster.requests] == [RESOURCES]


async def test_a_guest_that_moved_meanwhile_is_found_where_it_is_now(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    @guarded
    async def config(pve: Pve, vmid: int, kind: Kind) -> dict[str, Any]:
        guest = await locate(pve, vmid, kind=kind)
        return await pve.record(guest.api.config.get)

    await locate(pve, 107)
    cluster.guest(107).node = "pve3"

    assert (await config(Pve(pve.cluster), 107, "qemu"))["name"] == "cache"
    assert [request.path for request in cluster.requests] == [
        RESOURCES,
        "/nodes/pve2/qemu/107/config",
        RESOURCES,
        "/nodes/pve3/qemu/107/config",
    ]


async def test_a_guest_just_made_is_found_by_name_though_the_list_does_not_know_it_yet(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    cluster.speed = 0.001  # the list is refreshed once in ten thousand seconds
    await locate(pve, 100)
    cluster.guest(107).name = "fresh"
    nameless = [
        {"vmid": row["vmid"], "type": row["type"], "node": row["node"], "status": "unknown"}
        if row["vmid"] == 107
        else row
        for row in await pve.rows(pve.cluster_api.resources.get, type="vm")
    ]
    cluster.intercept = lambda request: answer(nameless) if request.path == RESOURCES else None

    assert place(await locate(pve, "fresh"))[:3] == (107, "qemu", "pve2")


async def test_a_nameless_guest_on_a_dead_node_hides_no_other(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    cluster.take_offline("pve3")
    row = {"type": "qemu", "status": "unknown"}
    rows = [row | {"vmid": 108, "node": "pve3"}, row | {"vmid": 107, "node": "pve2"}]
    cluster.intercept = lambda request: answer(rows) if request.path == RESOURCES else None

    assert (await locate(pve, "cache")).vmid == 107
