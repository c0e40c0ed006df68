"""What became of a change whose answer was lost: found in the task list or in the state."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from mcp.client import Client

from proxmox_mcp.pve import trace
from proxmox_mcp.pve.errors import NotDone, OutcomeUnknown
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.upid import start
from proxmox_mcp.simulator import PASSWORD, Answer, Cluster, Request
from tests.conftest import Connect, text
from tests.wire import silence

BROKEN = requests.ConnectionError("Connection aborted.")
SLOW = requests.ReadTimeout("slow")


def losing(
    cluster: Cluster, how: Exception | Answer, *, carried_out: bool
) -> Callable[[Request], Answer | None]:
    """Lose the answer to the first change, after it was carried out or before."""
    lost: list[Request] = []

    def intercept(request: Request) -> Answer | None:
        if request.method == "GET" or lost:
            return None
        lost.append(request)
        if carried_out:
            cluster.handle(request)
            cluster.requests.pop()
        if isinstance(how, Exception):
            raise how
        return how

    return intercept


CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("proxmox_vm_stop", {"vmid": 100}, "stopped"),
    ("proxmox_vm_start", {"vmid": 107}, "started"),
    ("proxmox_vm_stop", {"vmid": 111}, "stopped"),
    ("proxmox_snapshot_create", {"vmid": 100, "snapname": "s1"}, "snapshot s1 taken"),
    ("proxmox_backup_create", {"vmid": 107, "storage": "backup-storage"}, "backed up"),
    ("proxmox_vm_clone", {"vmid": 110, "newid": 300}, "cloned to guest 300"),
    ("proxmox_disk_resize", {"vmid": 100, "disk": "scsi0", "size": "+1G"}, "grown from"),
    ("proxmox_vm_config_update", {"vmid": 107, "config": {"cores": 3}}, "configuration changed"),
    ("proxmox_vm_migrate", {"vmid": 100, "target": "pve2", "online": True}, "on pve2 now"),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change[0]))
@pytest.mark.parametrize("how", [BROKEN, SLOW, silence(596, "Connection timed out")])
async def test_a_change_that_was_carried_out_is_found_and_followed_to_its_end(
    client: Client, cluster: Cluster, how: Exception | Answer, change: tuple[str, Any, str]
) -> None:
    tool, arguments, words = change
    cluster.intercept = losing(cluster, how, carried_out=True)

    result = await client.call_tool(tool, arguments)

    assert result.structured_content is not None, text(result)
    assert result.structured_content["state"] == "ok"
    assert words in result.structured_content["done"]
    assert len(cluster.writes) == 1


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change[0]))
async def test_a_change_that_never_arrived_is_said_not_to_be_done(
    client: Client, cluster: Cluster, change: tuple[str, Any, str]
) -> None:
    tool, arguments, _ = change
    cluster.intercept = losing(cluster, BROKEN, carried_out=False)

    result = await client.call_tool(tool, arguments)

    assert result.is_error
    assert "was not carried out" in text(result)
    assert len(cluster.writes) == 1


@pytest.mark.parametrize("how", [SLOW, silence(596, "Connection timed out")])
async def test_a_change_that_may_still_be_waiting_stays_open(
    client: Client, cluster: Cluster, how: Exception | Answer
) -> None:
    cluster.intercept = losing(cluster, how, carried_out=False)

    result = await client.call_tool("proxmox_vm_stop", {"vmid": 100})

    assert result.is_error
    assert "it may have happened" in text(result)
    assert len(cluster.writes) == 1


async def test_where_nobody_can_look_the_outcome_stays_open(
    client: Client, cluster: Cluster
) -> None:
    lose = losing(cluster, BROKEN, carried_out=True)
    cluster.intercept = lambda request: (
        silence(596, "Connection timed out") if request.path.endswith("/tasks") else lose(request)
    )

    result = await client.call_tool("proxmox_vm_stop", {"vmid": 100})

    assert result.is_error
    assert "it may have happened" in text(result)


async def test_an_earlier_task_of_the_same_kind_is_not_taken_for_this_one(
    pve: Pve, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    verb = pve.nodes("pve1").qemu(100).snapshot.post
    earlier = await start(pve, verb, snapname="first")
    later = pve.cluster.bridge.server_time() + 30
    monkeypatch.setattr(pve.cluster.bridge, "server_time", lambda: later)
    cluster.intercept = losing(cluster, BROKEN, carried_out=False)

    with pytest.raises(NotDone):
        await start(pve, verb, snapname="second")

    assert earlier.type == "qmsnapshot"


async def test_somebody_elses_task_is_not_taken_for_ours(
    connect: Connect, cluster: Cluster
) -> None:
    async with connect(credentials=PASSWORD) as client:
        other = await client.call_tool("proxmox_vm_stop", {"vmid": 100})
    async with connect() as client:
        await client.call_tool("proxmox_vm_start", {"vmid": 100})
        cluster.intercept = losing(cluster, BROKEN, carried_out=False)
        result = await client.call_tool("proxmox_vm_stop", {"vmid": 100})

    assert not other.is_error
    assert result.is_error
    assert "was not carried out" in text(result)


@pytest.mark.parametrize(
    ("row", "ours"),
    [
        ({}, True),
        ({"type": "qmstart"}, False),
        ({"id": "101"}, False),
        ({"upid": "UPID:pve1:1:1:1:qmstop:100:root@pam:"}, False),
        ({"upid": "UPID:pve1:1:1:1:qmstop:100:root@pam!other:"}, False),
        ({"starttime": 999}, True),
        ({"starttime": 998}, False),
    ],
)
def test_a_task_is_ours_by_type_subject_user_and_time(row: dict[str, Any], *, ours: bool) -> None:
    own = {
        "type": "qmstop",
        "id": "100",
        "upid": "UPID:pve1:1:1:1:qmstop:100:root@pam!demo:",
        "starttime": 1000,
    }

    found = trace._is_it(own | row, frozenset({"qmstop"}), "100", "root@pam!demo", 1000.9)

    assert found is ours


@pytest.mark.parametrize(
    ("done", "how", "expected"),
    [
        (True, BROKEN, None),
        (True, SLOW, None),
        (False, BROKEN, NotDone),
        (False, SLOW, OutcomeUnknown),
        (None, BROKEN, OutcomeUnknown),
    ],
)
async def test_a_change_without_a_task_is_judged_by_the_state_it_was_to_bring_about(
    pve: Pve,
    cluster: Cluster,
    *,
    done: bool | None,
    how: Exception,
    expected: type[Exception] | None,
) -> None:
    cluster.intercept = losing(cluster, how, carried_out=False)

    async def is_done() -> bool | None:
        return done

    verb = pve.nodes("pve1").lxc(103).config.put
    if expected is None:
        assert await trace.or_look(pve, verb, is_done, cores=2) is None
    else:
        with pytest.raises(expected):
            await trace.or_look(pve, verb, is_done, cores=2)
    assert len(cluster.writes) == 1
