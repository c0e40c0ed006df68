"""Requests to the HA manager: done when the guest itself has changed, and not before."""

from typing import Any

import pytest
import requests

from proxmox_mcp import simulator
from proxmox_mcp.pve.errors import Unreachable
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.ha import standing
from proxmox_mcp.pve.locate import locate
from proxmox_mcp.pve.upid import Upid, finish, follow, start
from tests.pve.scripted import LOST, Reply, Wire, data, log_lines, pve_over, refused

pytestmark = pytest.mark.usefixtures("quick_looks")

WEB = 102  # the HA manager looks after it


@pytest.fixture
def speed() -> float:
    """So slow that the manager is seen to have a request, and not yet to have carried it out."""
    return 20


MOVING = Upid.parse("UPID:pve1:00005E93:00060690:6B02AB4B:hamigrate:101:root@pam!mcp:")
MOVING_LOG = ["Requesting HA migration for VM 101 to node pve2", "TASK OK"]


async def asked(pve: Pve, action: str) -> Upid:
    guest = await locate(pve, WEB)
    return await start(pve, getattr(guest.api.status, action).post)


async def test_a_stop_is_followed_until_the_guest_is_stopped(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    upid = await asked(pve, "stop")
    assert cluster.guest(WEB).status == "running"

    end = await finish(pve, upid, wait=10)

    assert (upid.type, end.state, end.pending) == ("hastop", "ok", None)
    assert cluster.guest(WEB).status == "stopped"


async def test_a_start_is_followed_until_the_guest_runs(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    cluster.guest(WEB).status = "stopped"
    cluster.guest(WEB).ha_state = "stopped"

    upid = await asked(pve, "start")
    end = await finish(pve, upid, wait=10)

    assert (upid.type, end.state, end.pending) == ("hastart", "ok", None)
    assert cluster.guest(WEB).status == "running"


async def test_a_wait_that_is_over_first_says_what_is_still_pending(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    upid = await asked(pve, "stop")

    end = await finish(pve, upid, wait=0)

    assert end.state == "running"
    assert end.pending == (
        "The HA manager has the request; VM 102 (web-02) on pve1 is still running."
    )
    assert end.status["exitstatus"] == "OK"
    assert cluster.guest(WEB).status == "running"


async def test_what_is_pending_is_told_while_waiting(pve: Pve) -> None:
    told: list[str] = []

    async def report(_done: float, _total: float | None, words: str) -> None:
        told.append(words)

    pve.report = report
    upid = await asked(pve, "stop")

    await finish(pve, upid, wait=10)

    assert told[-1] == (
        "hastop 102 on pve1: The HA manager has the request;"
        " VM 102 (web-02) on pve1 is still running."
    )


def moving(*nodes: str, log: list[str] | None = None) -> Wire:
    """A guest that is on each of these nodes in turn, asked to move by a task that said OK."""
    waiting = list(nodes)
    lines = MOVING_LOG if log is None else log

    def answer(request: requests.PreparedRequest) -> Reply:
        path = request.path_url.partition("?")[0]
        if path.endswith("/cluster/resources"):
            node = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            return data([{"vmid": 101, "type": "qemu", "node": node, "name": "db01"}])
        if path.endswith("/log"):
            return data(log_lines(lines), total=len(lines))
        if path.endswith("/status/current"):
            return data({"status": "running"})
        return data({"status": "stopped", "exitstatus": "OK"})

    return Wire(answer)


async def test_a_migration_is_judged_by_the_node_where_the_guest_is() -> None:
    wire = moving("pve1", "pve1", "pve2")

    end = await finish(await pve_over(wire), MOVING, wait=5)

    assert (end.state, end.pending) == ("ok", None)
    assert [one for one in wire.asked if one.endswith("/current")] == [
        "GET /nodes/pve1/qemu/101/status/current",
        "GET /nodes/pve1/qemu/101/status/current",
        "GET /nodes/pve2/qemu/101/status/current",
    ]


async def test_a_managed_guest_is_followed_to_its_new_node(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    guest = await locate(pve, WEB)
    upid = await start(pve, guest.api.migrate.post, target="pve2", online=True)

    end = await finish(pve, upid, wait=20)

    assert (upid.type, end.state, end.pending) == ("hamigrate", "ok", None)
    assert cluster.guest(WEB).node == "pve2"


@pytest.mark.parametrize(
    ("node", "log", "pending"),
    [
        ("pve1", MOVING_LOG, "to move it to pve2; VM 101 (db01) on pve1 yet."),
        ("pve3", MOVING_LOG, "to move it to pve2; VM 101 (db01) on pve3 yet."),
        ("pve1", ["TASK OK"], "to move it to another node; VM 101 (db01) on pve1 yet."),
    ],
    ids=["not moved", "moved elsewhere", "target not said"],
)
async def test_a_migration_that_has_not_arrived_is_pending(
    node: str, log: list[str], pending: str
) -> None:
    end = await follow(await pve_over(moving(node, log=log)), MOVING, wait=0)

    assert end.state == "running"
    assert end.pending == f"The HA manager has the request {pending}"


@pytest.mark.parametrize(
    "broken",
    [LOST, Reply(595, "No route to host", b""), refused(500, "VM 101 does not exist")],
    ids=["lost", "node offline", "not there"],
)
async def test_a_guest_that_cannot_be_asked_is_pending_and_no_failure(broken: Any) -> None:
    def answer(request: requests.PreparedRequest) -> Reply:
        if request.path_url.endswith("/current"):
            if isinstance(broken, Exception):
                raise broken
            assert isinstance(broken, Reply)
            return broken
        return data([{"vmid": 101, "type": "qemu", "node": "pve1", "name": "db01"}])

    said = await standing(await pve_over(Wire(answer)), "hastart", "101", [])

    assert said is not None
    assert said.startswith("The HA manager has the request; the guest cannot be asked now: ")


@pytest.mark.parametrize(
    ("request_type", "status", "done"),
    [
        ("hastart", "running", True),
        ("hastart", "stopped", False),
        ("hastop", "stopped", True),
        ("hastop", "running", False),
    ],
)
async def test_the_guests_own_state_decides(request_type: str, status: str, *, done: bool) -> None:
    def answer(request: requests.PreparedRequest) -> Reply:
        if request.path_url.endswith("/current"):
            return data({"status": status})
        return data([{"vmid": 101, "type": "qemu", "node": "pve1", "name": "db01"}])

    missing = await standing(await pve_over(Wire(answer)), request_type, "101", [])

    assert (missing is None) is done


async def test_a_guest_is_looked_for_afresh_at_each_look() -> None:
    wire = moving("pve1", "pve2")
    pve = await pve_over(wire)
    await locate(pve, 101)

    assert await standing(pve, "hamigrate", "101", MOVING_LOG) is None
    assert wire.asked.count("GET /cluster/resources") == 2


@pytest.mark.parametrize("kind", ["qmstart", "qmigrate", "vzdump"])
async def test_other_tasks_are_over_when_they_end(kind: str) -> None:
    wire = moving("pve1")
    upid = Upid.parse(str(MOVING).replace("hamigrate", kind))

    end = await follow(await pve_over(wire), upid, wait=5)

    assert (end.state, end.pending) == ("ok", None)
    assert "GET /cluster/resources" not in wire.asked


async def test_a_lost_request_to_the_manager_is_not_followed() -> None:
    def answer(_: requests.PreparedRequest) -> Reply:
        raise LOST

    pve = await pve_over(Wire(answer))

    with pytest.raises(Unreachable):
        await follow(pve, MOVING, wait=0)
