"""Whether a guest can move, and that it does."""

import ast
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Cluster, Request
from tests import pve_schema
from tests.conftest import Connect, serve, text
from tests.wire import answer

SCHEMA = {"7.4": "7", "8.4": "8", "9.0": "9", "9.2": "9.2"}
CONTAINERS_CHECK = "GET /nodes/pve1/lxc/103/migrate does not exist in {}"
"""Containers have a check of their own since 9; elsewhere our asking for it is answered by 501."""


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait for a task looks every few milliseconds."""
    monkeypatch.setattr("proxmox_mcp.pve.upid.POLL_SECONDS", (0.01, 0.05))


@asynccontextmanager
async def release(version: str, *, mode: str = "auto") -> AsyncIterator[tuple[Client, Cluster]]:
    """A client on a cluster of that version, whose requests are held against its schema."""
    cluster = Cluster(version=version, speed=500)
    async with Client(serve(cluster), mode=mode) as client:
        yield client, cluster
    if pve_schema.AVAILABLE:
        known = {CONTAINERS_CHECK.format(SCHEMA[version])} if version < "9" else set()
        assert faults(SCHEMA[version], cluster.requests) <= known


def faults(version: str, requests: Iterable[Request]) -> set[str]:
    return {
        problem
        for each in requests
        for problem in pve_schema.problems(version, each.method, each.path, each.params)
    }


async def called(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert result.structured_content is not None, text(result)
    return dict(result.structured_content)


async def check(client: Client, vmid: int | str, target: str = "pve2") -> dict[str, Any]:
    return await called(client, "proxmox_vm_migrate_check", vmid=vmid, target=target)


async def migrate(client: Client, vmid: int | str, target: str, **how: Any) -> dict[str, Any]:
    return await called(client, "proxmox_vm_migrate", vmid=vmid, target=target, **how)


async def refused(client: Client, vmid: int, target: str, **how: Any) -> str:
    arguments = {"vmid": vmid, "target": target} | how
    result = await client.call_tool("proxmox_vm_migrate", arguments)
    assert result.is_error, text(result)
    return text(result)


def as_call(how: str) -> tuple[str, dict[str, Any]]:
    """Read the call that a check recommends, as a model would."""
    call = ast.parse(how.replace("=true", "=True"), mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    return call.func.id, {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}


# --- checking ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_vm_on_shared_storage_can_move_while_it_runs(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    async with connect(mode=mode) as client:
        said = await check(client, "web-01")

    assert said == {
        "guest": "VM 100 (web-01) on pve1",
        "target": "pve2",
        "possible": True,
        "running": True,
        "obstacles": [],
        "allowed_nodes": ["pve2", "pve3"],
        "how": 'proxmox_vm_migrate(vmid=100, target="pve2", online=true)',
    }
    assert cluster.writes == []
    asked = [(each.path, each.param) for each in cluster.requests]
    assert ("/nodes/pve1/qemu/100/migrate", {"target": "pve2"}) in asked


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_container_can_move_by_a_restart(mode: str) -> None:
    async with release("9.0", mode=mode) as (client, cluster):
        said = await check(client, 103)

        assert said == {
            "guest": "container 103 (cache) on pve1",
            "target": "pve2",
            "possible": True,
            "running": True,
            "obstacles": [],
            "allowed_nodes": ["pve2", "pve3"],
            "how": 'proxmox_vm_migrate(vmid=103, target="pve2", restart=true)',
        }
        assert cluster.writes == []


@pytest.mark.parametrize("version", ["7.4", "8.4"])
async def test_a_container_is_checked_by_us_where_proxmox_has_no_check(version: str) -> None:
    async with release(version) as (client, cluster):
        said = await check(client, 103)

        assert (said["possible"], said["running"], said["obstacles"]) == (True, True, [])
        assert "allowed_nodes" not in said
        assert said["how"] == 'proxmox_vm_migrate(vmid=103, target="pve2", restart=true)'
        assert cluster.writes == []


@pytest.mark.parametrize(
    ("vmid", "state", "target"),
    [
        (100, {}, "pve2"),
        (102, {}, "pve2"),
        (104, {}, "pve2"),
        (107, {}, "pve1"),
        (109, {}, "pve1"),
        (110, {}, "pve3"),
        (103, {}, "pve2"),
        (103, {"status": "stopped"}, "pve2"),
    ],
    ids=["shared", "ha", "local", "stopped", "paused", "template", "container", "container off"],
)
async def test_the_call_that_a_check_names_works(
    vmid: int, state: dict[str, Any], target: str
) -> None:
    async with release("9.0") as (client, cluster):
        for name, value in state.items():
            setattr(cluster.guest(vmid), name, value)
        before = cluster.guest(vmid).status, cluster.guest(vmid).paused
        tool, arguments = as_call((await check(client, vmid, target))["how"])

        done = await called(client, tool, **arguments)

        assert done["state"] == "ok"
        after = cluster.guest(vmid)
        assert (after.node, (after.status, after.paused)) == (target, before)


async def test_local_disks_are_named_with_their_size(client: Client) -> None:
    said = await check(client, 104)

    assert said["local_disks"] == [{"volume": "local:104/vm-104-disk-0.raw", "size_gib": 16}]
    assert said["how"] == (
        'proxmox_vm_migrate(vmid=104, target="pve2", online=true, with_local_disks=true)'
    )


async def test_a_stopped_vms_local_disks_go_along_by_themselves(client: Client) -> None:
    said = await check(client, 107, "pve1")

    assert said["local_disks"] == [{"volume": "local-lvm:vm-107-disk-0", "size_gib": 16}]
    assert (said["running"], said["how"]) == (
        False,
        'proxmox_vm_migrate(vmid=107, target="pve1")',
    )


async def test_an_offline_target_is_an_obstacle_though_proxmox_allows_it(
    client: Client, cluster: Cluster
) -> None:
    cluster.take_offline("pve2")

    said = await check(client, 100)

    assert said["allowed_nodes"] == ["pve2", "pve3"]
    assert said["possible"] is False
    assert said["obstacles"] == ["Node pve2 is offline. Online: pve1, pve3. Nothing was changed."]
    assert "how" not in said


@pytest.mark.parametrize(
    ("vmid", "target", "obstacle"),
    [
        (112, "pve1", "it is locked (backup)"),
        (100, "pve1", "it is on pve1 already"),
        (100, "pve9", "There is no node pve9. Online: pve1, pve2, pve3. Nothing was changed."),
    ],
)
async def test_what_stands_in_the_way_is_an_answer_and_no_error(
    client: Client, vmid: int, target: str, obstacle: str
) -> None:
    said = await check(client, vmid, target)

    assert (said["possible"], said["obstacles"]) == (False, [obstacle])
    assert "how" not in said


async def test_a_locked_container_is_told_with_its_lock() -> None:
    async with release("9.0") as (client, cluster):
        cluster.guest(103).lock = "snapshot"

        assert (await check(client, 103))["obstacles"] == ["it is locked (snapshot)"]


async def test_every_obstacle_is_told_at_once(client: Client, cluster: Cluster) -> None:
    cluster.take_offline("pve3")
    cluster.guest(112).config["ide2"] = "local:iso/debian.iso,media=cdrom,size=600M"
    assert [each.partition(".")[0] for each in (await check(client, 112, "pve3"))["obstacles"]] == [
        "it is locked (backup)",
        "Node pve3 is offline",
    ]
    cluster.guest(112).lock = None

    said = await check(client, 112, "pve3")

    assert [each.partition(".")[0] for each in said["obstacles"]] == [
        "Node pve3 is offline",
        "local:iso/debian",
    ]


async def test_a_local_cd_is_an_obstacle_and_a_cloud_init_drive_is_none(
    client: Client, cluster: Cluster
) -> None:
    cluster.guest(107).config |= {
        "ide2": "local:iso/debian.iso,media=cdrom,size=600M",
        "ide0": "local-lvm:vm-107-cloudinit,media=cdrom,size=4M",
    }

    said = await check(client, 107, "pve1")
    assert said["obstacles"] == ["local:iso/debian.iso is a local CD image: eject it"]
    assert said["local_disks"] == [{"volume": "local-lvm:vm-107-disk-0", "size_gib": 16}]

    del cluster.guest(107).config["ide2"]

    assert (await check(client, 107, "pve1"))["possible"] is True


def told(cluster: Cluster, **more: Any) -> None:
    """Let Proxmox's check say more than the simulated one does."""
    nothing: dict[str, Any] = {"running": 1, "local_disks": [], "local_resources": []}
    cluster.intercept = lambda request: (
        answer(nothing | more) if request.path.endswith("/migrate") else None
    )


async def test_what_proxmox_finds_is_an_obstacle(client: Client, cluster: Cluster) -> None:
    told(
        cluster,
        local_resources=["hostpci0"],
        allowed_nodes=["pve3"],
        not_allowed_nodes={
            "pve2": {
                "unavailable_storages": ["nas", "san"],
                "unavailable-resources": [],
                "blocking-ha-resources": [{"sid": "vm:101", "cause": "resource-affinity"}],
            },
            "pve4": {"unavailable_storages": ["other"]},
        },
    )

    said = await check(client, 100)

    assert said["obstacles"] == [
        "unavailable_storages: nas, san",
        "blocking-ha-resources: vm:101 (resource-affinity)",
        "uses hostpci0 of its node",
    ]
    assert (said["possible"], said["allowed_nodes"]) == (False, ["pve3"])


async def test_a_containers_check_is_read_by_its_own_names() -> None:
    async with release("9.0") as (client, cluster):
        blocked = {"blocking-ha-resources": [{"sid": "ct:101", "cause": "node-affinity"}]}
        told(cluster, **{"allowed-nodes": ["pve3"], "not-allowed-nodes": {"pve2": blocked}})

        said = await check(client, 103)

        assert said["obstacles"] == ["blocking-ha-resources: ct:101 (node-affinity)"]
        assert said["allowed_nodes"] == ["pve3"]


@pytest.mark.parametrize("version", ["8.4", "9.0"])
async def test_a_container_needs_its_storages_on_the_target(version: str) -> None:
    rows = [
        {"storage": name, "node": node, "content": "rootdir", "status": "available"}
        for name, node in (("local-lvm", "pve1"), ("nas", "pve1"), ("nas", "pve2"))
    ]
    async with release(version) as (client, cluster):
        cluster.guest(103).config["mp0"] = "nas:103/vm-103-disk-1.raw,mp=/srv,size=8G"
        cluster.intercept = lambda request: (
            answer(rows) if request.param.get("type") == "storage" else None
        )

        said = await check(client, 103)

        assert said["obstacles"] == [
            "storage local-lvm is not on pve2, or this token may not see it"
        ]
        assert (said["possible"], "how" in said) == (False, False)


@pytest.mark.parametrize("version", ["8.4", "9.0"])
async def test_a_directory_of_the_node_keeps_a_container_there(version: str) -> None:
    async with release(version) as (client, cluster):
        cluster.guest(103).config |= {
            "mp0": "/srv/a:b,mp=/a",
            "mp1": "/srv/c,mp=/c,shared=1",
            "mp2": "/dev/sdb1,mp=/d",
        }

        said = await check(client, 103)

        assert said["obstacles"] == [
            "mp0 is /srv/a:b of its node and not said to be shared",
            "mp2 is /dev/sdb1 of its node and not said to be shared",
        ]


async def test_a_token_that_may_not_migrate_is_told_which_privilege(connect: Connect) -> None:
    async with connect(credentials=TOKENS["audit"]) as client:
        arguments = {"vmid": 100, "target": "pve2"}
        asked = await client.call_tool("proxmox_vm_migrate_check", arguments)
        moved = await client.call_tool("proxmox_vm_migrate", arguments | {"online": True})

    for result in (asked, moved):
        assert result.is_error
        assert "VM.Migrate on /vms/100" in text(result)


async def test_a_guest_on_an_offline_node_cannot_be_asked(client: Client, cluster: Cluster) -> None:
    cluster.take_offline("pve3")

    result = await client.call_tool("proxmox_vm_migrate_check", {"vmid": 108, "target": "pve2"})

    assert result.is_error
    assert "VM 108 on pve3: No route to host" in text(result)


# --- moving ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_running_vm_is_moved_live(connect: Connect, cluster: Cluster, mode: str) -> None:
    async with connect(mode=mode) as client:
        done = await migrate(client, "web-01", "pve2", online=True)
        found = await called(client, "proxmox_get_vm_status", vmid=100)

    sent = {"target": "pve2", "online": "1"}
    assert cluster.writes == [("POST", "/nodes/pve1/qemu/100/migrate", sent)]
    moved = cluster.guest(100)
    assert (moved.node, moved.status, moved.lock) == ("pve2", "running", None)
    assert done == {
        "state": "ok",
        "done": "VM 100 (web-01) on pve1: moved; it is running on pve2 now.",
        "upid": done["upid"],
    }
    assert ":qmigrate:100:" in done["upid"]
    assert found["node"] == "pve2"


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_running_container_is_restarted_on_its_new_node(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    async with connect(mode=mode) as client:
        done = await migrate(client, 103, "pve2", restart=True)

    sent = {"target": "pve2", "restart": "1"}
    assert cluster.writes == [("POST", "/nodes/pve1/lxc/103/migrate", sent)]
    assert (cluster.guest(103).node, cluster.guest(103).status) == ("pve2", "running")
    assert done["done"] == "container 103 (cache) on pve1: moved; it is running on pve2 now."
    assert ":vzmigrate:103:" in done["upid"]


async def test_a_stopped_vm_moves_with_its_local_disks(client: Client, cluster: Cluster) -> None:
    done = await migrate(client, 107, "pve1")

    assert cluster.writes == [("POST", "/nodes/pve2/qemu/107/migrate", {"target": "pve1"})]
    assert done["done"] == "VM 107 (cache) on pve2: moved; it is stopped on pve1 now."
    volid = "local-lvm:vm-107-disk-0"
    assert cluster.center.volume("pve1", volid) is not None
    assert cluster.center.volume("pve2", volid) is None


async def test_a_stopped_container_needs_no_restart(client: Client, cluster: Cluster) -> None:
    cluster.guest(111).status = "stopped"

    done = await migrate(client, 111, "pve1")

    assert cluster.writes == [("POST", "/nodes/pve3/lxc/111/migrate", {"target": "pve1"})]
    assert done["done"] == "container 111 (proxy-01) on pve3: moved; it is stopped on pve1 now."


async def test_a_running_vms_local_disks_are_copied_when_asked_for(
    client: Client, cluster: Cluster
) -> None:
    done = await migrate(client, 104, "pve2", online=True, with_local_disks=True)

    sent = {"target": "pve2", "online": "1", "with-local-disks": "1"}
    assert cluster.writes == [("POST", "/nodes/pve1/qemu/104/migrate", sent)]
    assert done["done"] == "VM 104 (legacy-01) on pve1: moved; it is running on pve2 now."
    assert cluster.center.volume("pve2", "local:104/vm-104-disk-0.raw") is not None


async def test_without_asking_local_disks_fail_the_task_and_its_log_says_why(
    client: Client, cluster: Cluster
) -> None:
    said = await refused(client, 104, "pve2", online=True)

    assert "Task qmigrate 104 on pve1 failed: migration aborted" in said
    assert "can't live migrate attached local disks without with-local-disks option" in said
    assert "Task id: UPID:pve1:" in said
    assert cluster.guest(104).node == "pve1"


@pytest.mark.parametrize(
    ("vmid", "how", "sent"),
    [
        (
            104,
            {"online": True, "with_local_disks": True},
            {"online": "1", "with-local-disks": "1", "targetstorage": "shared-vms"},
        ),
        (103, {"restart": True}, {"restart": "1", "target-storage": "shared-vms"}),
    ],
)
async def test_copied_disks_go_where_they_are_sent(
    client: Client, cluster: Cluster, vmid: int, how: dict[str, Any], sent: dict[str, str]
) -> None:
    await migrate(client, vmid, "pve2", target_storage="shared-vms", **how)

    assert [write[2] for write in cluster.writes] == [{"target": "pve2"} | sent]
    assert [disk.storage for disk in cluster.guest(vmid).disks()] == ["shared-vms"]


@pytest.mark.parametrize(
    ("vmid", "storage", "said"),
    [
        (104, "nowhere", "Storage nowhere on pve2 is not on this node, or this token may not"),
        (104, "backup-storage", "Storage backup-storage on pve2 may not hold images"),
        (103, "pbs", "may not hold rootdir (it holds backup). Fit for it: local, local-lvm,"),
    ],
)
async def test_a_storage_that_cannot_take_the_disks_is_refused_before_anything_is_sent(
    client: Client, cluster: Cluster, vmid: int, storage: str, said: str
) -> None:
    how = {"online": True, "with_local_disks": True, "restart": True, "target_storage": storage}

    assert said in await refused(client, vmid, "pve2", **how)
    assert cluster.writes == []


async def test_an_ha_managed_vm_has_moved_when_it_is_said_to(
    client: Client, cluster: Cluster
) -> None:
    done = await migrate(client, 102, "pve2", online=True)

    assert ":hamigrate:102:" in done["upid"]
    assert done["done"] == "VM 102 (web-02) on pve1: moved; it is running on pve2 now."
    assert cluster.guest(102).node == "pve2"


@pytest.mark.parametrize(
    ("vmid", "how", "said"),
    [
        (100, {}, "VM 100 (web-01) on pve1 is running: pass online=true, or shut it down first."),
        (100, {"restart": True}, "pass online=true"),
        (103, {}, "container 103 (cache) on pve1 runs, and a container cannot move while it does:"),
        (103, {"online": True}, "pass restart=true to have it stopped, moved and started there."),
    ],
)
async def test_a_running_guest_is_refused_without_saying_how(
    client: Client, cluster: Cluster, vmid: int, how: dict[str, Any], said: str
) -> None:
    assert said in await refused(client, vmid, "pve2", **how)
    assert cluster.writes == []


async def test_a_paused_vm_is_refused_without_online_and_stays_paused_with_it(
    client: Client, cluster: Cluster
) -> None:
    assert "is paused: pass online=true" in await refused(client, 109, "pve1")
    assert cluster.writes == []

    done = await migrate(client, 109, "pve1", online=True, with_local_disks=True)

    assert done["done"].endswith("moved; it is paused on pve1 now.")


@pytest.mark.parametrize(("vmid", "node"), [(100, "pve1"), (111, "pve3"), (112, "pve2")])
async def test_a_guest_that_is_there_already_is_left_alone(
    client: Client, cluster: Cluster, vmid: int, node: str
) -> None:
    done = await migrate(client, vmid, node)

    assert done["state"] == "already"
    assert done["done"].endswith("is there already; nothing was changed.")
    assert cluster.writes == []


@pytest.mark.parametrize(("vmid", "how"), [(100, {"online": True}), (103, {"restart": True})])
async def test_an_offline_target_is_refused_before_anything_is_sent(
    client: Client, cluster: Cluster, vmid: int, how: dict[str, Any]
) -> None:
    cluster.take_offline("pve2")

    said = await refused(client, vmid, "pve2", **how)

    assert "Node pve2 is offline. Online: pve1, pve3. Nothing was changed." in said
    assert cluster.writes == []


async def test_an_unknown_target_is_refused_with_the_nodes_there_are(
    client: Client, cluster: Cluster
) -> None:
    said = await refused(client, 100, "pve9", online=True)

    assert "There is no node pve9. Online: pve1, pve2, pve3." in said
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("vmid", "lock", "said"),
    [
        (112, "backup", "is locked (backup): another job holds it"),
        (103, "snapshot", "is locked (snapshot): another job holds it"),
        (107, "suspended", "is hibernated"),
    ],
)
async def test_a_locked_guest_stays(
    client: Client, cluster: Cluster, vmid: int, lock: str, said: str
) -> None:
    cluster.guest(vmid).lock = lock

    assert said in await refused(client, vmid, "pve3")
    assert cluster.writes == []


async def test_a_lock_that_comes_meanwhile_is_told(client: Client, cluster: Cluster) -> None:
    def lock(request: Request) -> None:
        if request.method == "POST":
            cluster.guest(100).lock = "backup"

    cluster.intercept = lock

    assert "VM is locked (backup)" in await refused(client, 100, "pve2", online=True)
    assert cluster.guest(100).node == "pve1"


async def test_when_the_wait_is_over_first_the_way_on_is_told(
    client: Client, cluster: Cluster
) -> None:
    cluster.speed = 1

    done = await migrate(client, 100, "pve2", online=True, wait=0)

    assert done["state"] == "running"
    assert done["done"] == (
        "VM 100 (web-01) on pve1: accepted, not finished: moved to pve2 when the task ends well."
    )
    assert done["next"] == (f'proxmox_task_status(upid="{done["upid"]}", wait=300) goes on waiting')
    assert (cluster.guest(100).node, cluster.guest(100).lock) == ("pve1", "migrate")


@pytest.mark.parametrize("version", ["7.4", "8.4", "9.0", "9.2"])
async def test_every_version_moves_both_kinds(version: str) -> None:
    async with release(version) as (client, cluster):
        assert (await check(client, 104))["local_disks"][0]["size_gib"] == 16
        machine = await migrate(client, 104, "pve2", online=True, with_local_disks=True)
        container = await migrate(client, 103, "pve2", restart=True)

        assert (machine["state"], container["state"]) == ("ok", "ok")
        assert [cluster.guest(vmid).node for vmid in (104, 103)] == ["pve2", "pve2"]


async def test_a_task_that_ended_well_without_moving_is_not_called_a_move(
    client: Client, cluster: Cluster
) -> None:
    tasks = (await called(client, "proxmox_task_list"))["tasks"]
    ended = next(task["upid"] for task in tasks if task["state"] == "ok")
    cluster.intercept = lambda request: answer(ended) if request.method == "POST" else None

    done = await migrate(client, 100, "pve2", online=True)

    assert done["state"] == "warnings"
    assert "VM 100 (web-01) on pve1: not moved, though its task ended well" in done["done"]
    assert cluster.guest(100).node == "pve1"
