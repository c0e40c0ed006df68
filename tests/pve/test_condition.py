"""A guest's live state, and whether a lock keeps a change from it."""

from typing import Any

import pytest

from proxmox_mcp import simulator
from proxmox_mcp.pve.condition import condition, state
from proxmox_mcp.pve.errors import NotFound, Refused, Unreachable
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.locate import Guest, locate
from tests.pve.scripted import Wire, data, pve_over


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({"status": "running"}, "running"),
        ({"status": "running", "qmpstatus": "running"}, "running"),
        ({"status": "running", "qmpstatus": "paused"}, "paused"),
        ({"status": "running", "qmpstatus": "prelaunch"}, "paused"),
        ({"status": "running", "qmpstatus": "running", "lock": "backup"}, "running"),
        ({"status": "stopped", "qmpstatus": "stopped"}, "stopped"),
        ({"status": "stopped", "lock": "backup"}, "stopped"),
        ({"status": "stopped", "lock": "suspended"}, "hibernated"),
        ({"status": "running", "lock": "suspended"}, "running"),
        ({"status": "running", "lock": "suspending"}, "running"),
        ({"status": "unknown"}, "unknown"),
        ({"status": None}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_state_is_named_from_the_live_record(now: dict[str, Any], expected: str) -> None:
    assert state(now) == expected


@pytest.mark.parametrize(
    ("vmid", "expected"),
    [
        (100, ("running", None, False, False)),
        (102, ("running", None, True, False)),
        (107, ("stopped", None, False, False)),
        (109, ("paused", None, False, False)),
        (110, ("stopped", None, False, True)),
        (111, ("running", None, False, False)),
        (112, ("stopped", "backup", False, False)),
    ],
)
async def test_a_guest_is_asked_itself(
    pve: Pve, cluster: simulator.Cluster, vmid: int, expected: tuple[str, str | None, bool, bool]
) -> None:
    guest = await locate(pve, vmid)

    now = await condition(pve, guest)

    assert (now.state, now.lock, now.ha, now.template) == expected
    assert now.guest == guest
    asked = cluster.requests[-1]
    assert (asked.method, asked.path) == (
        "GET",
        f"/nodes/{guest.node}/{guest.kind}/{vmid}/status/current",
    )


async def test_a_state_is_true_while_the_list_still_lags(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    guest = await locate(pve, 107)
    cluster.guest(107).status = "running"

    assert (await condition(pve, guest)).state == "running"


async def test_the_whole_record_is_kept(pve: Pve) -> None:
    now = await condition(pve, await locate(pve, 102))

    assert now.raw["ha"]["state"] == "started"
    assert now.raw["vmid"] == 102


@pytest.mark.parametrize("ha", [None, {}, {"managed": 0}])
async def test_a_guest_without_a_manager_says_so_in_several_ways(ha: Any) -> None:
    rows = [{"vmid": 100, "type": "qemu", "node": "pve1", "name": "web-01"}]
    pve = await pve_over(Wire(data(rows), data({"status": "running", "ha": ha})))

    assert (await condition(pve, await locate(pve, 100))).ha is False


async def test_a_guest_that_is_gone_is_not_found(pve: Pve, cluster: simulator.Cluster) -> None:
    guest = await locate(pve, 107)
    del cluster.center.guests[107]

    with pytest.raises(NotFound, match="it was deleted or moved"):
        await condition(pve, guest)


async def test_a_guest_of_an_offline_node_cannot_be_asked(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    guest = await locate(pve, 108)
    cluster.take_offline("pve3")

    with pytest.raises(Unreachable, match="VM 108 on pve3"):
        await condition(pve, guest)


async def locked(pve: Pve, cluster: simulator.Cluster, vmid: int, lock: str | None) -> Guest:
    cluster.guest(vmid).lock = lock
    return await locate(pve, vmid)


@pytest.mark.parametrize("lock", ["backup", "migrate", "snapshot", "suspending"])
@pytest.mark.parametrize("or_hibernated", [False, True])
async def test_a_lock_is_refused_with_the_way_to_the_job(
    pve: Pve, cluster: simulator.Cluster, lock: str, *, or_hibernated: bool
) -> None:
    now = await condition(pve, await locked(pve, cluster, 111, lock))

    with pytest.raises(Refused) as caught:
        now.must_be_free(or_hibernated=or_hibernated)

    assert str(caught.value) == (
        f"container 111 (proxy-01) on pve3 is locked ({lock}): another job holds it, or left the"
        " lock behind. Find it with proxmox_task_list (vmid=111, running=true) and wait for it"
        " with proxmox_task_status; nothing was changed."
    )


async def test_saved_memory_is_refused_with_the_way_to_continue(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    now = await condition(pve, await locked(pve, cluster, 107, "suspended"))

    with pytest.raises(Refused) as caught:
        now.must_be_free()

    assert "VM 107 (cache) on pve2 is hibernated, and locked (suspended)" in str(caught.value)
    assert "proxmox_vm_resume" in str(caught.value)
    assert "another job" not in str(caught.value)


async def test_saved_memory_is_no_hindrance_to_what_continues_it(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    now = await condition(pve, await locked(pve, cluster, 107, "suspended"))
    assert now.state == "hibernated"

    now.must_be_free(or_hibernated=True)


@pytest.mark.parametrize("vmid", [100, 103, 107, 109, 110])
async def test_a_free_guest_is_free(pve: Pve, vmid: int) -> None:
    now = await condition(pve, await locate(pve, vmid))
    assert now.lock is None

    now.must_be_free()
