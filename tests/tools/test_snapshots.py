from typing import Any

import pytest
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Answer, Cluster, Request
from proxmox_mcp.simulator.state import Snapshot
from tests.conftest import Connect, schema_faults, serve
from tests.tools import calls
from tests.wire import answer, refusal, silence

WEB = "/nodes/pve1/qemu/100/snapshot"
CACHE = "/nodes/pve1/lxc/103/snapshot"
TAKEN = 1_763_000_000  # 2025-11-13 02:13:20 UTC


done = calls.calling("proxmox_snapshot_")


refused = calls.refusing("proxmox_snapshot_")


def has(cluster: Cluster, vmid: int, name: str, parent: str | None = None, **more: Any) -> Snapshot:
    """Give a guest a snapshot that was taken before the test began."""
    guest = cluster.guest(vmid)
    number = len(guest.snapshots)
    config = {key: guest.config[key] for key in guest.config if key != "description"}
    shot = Snapshot(name, more.pop("description", ""), TAKEN + 60 * number, config, parent, **more)
    guest.snapshots[name] = shot
    guest.parent = name
    return shot


# --- taking ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("vmid", "path", "name"),
    [
        (100, WEB, "VM 100 (web-01) on pve1"),
        ("web-01", WEB, "VM 100 (web-01) on pve1"),
        (103, CACHE, "container 103 (cache) on pve1"),
    ],
)
async def test_a_snapshot_is_sent_once_and_told_when_it_is_there(
    connect: Connect, cluster: Cluster, *, mode: str, vmid: int | str, path: str, name: str
) -> None:
    async with connect(mode=mode) as client:
        end = await done(client, "create", vmid=vmid, snapname="before-upgrade", description="to 9")

    sent = {"snapname": "before-upgrade", "description": "to 9"}
    assert cluster.writes == [("POST", path, sent)]
    assert (end["state"], end["done"]) == ("ok", f"{name}: snapshot before-upgrade taken.")
    assert cluster.center.tasks.all[end["upid"]].status == "OK"
    shot = cluster.guest(int(path.split("/")[4])).snapshots["before-upgrade"]
    assert (shot.description, shot.vmstate) == ("to 9", False)


async def test_a_running_vm_without_memory_is_told_what_that_means(
    client: Client, cluster: Cluster
) -> None:
    cluster.guest(100).status = "stopped"

    off = await done(client, "create", vmid=100, snapname="off")
    cluster.guest(100).status = "running"
    bare = await done(client, "create", vmid=100, snapname="bare")
    full = await done(client, "create", vmid=100, snapname="full", vmstate=True)
    container = await done(client, "create", vmid=103, snapname="bare")

    assert "as after a power cut" in bare["notice"]
    assert "vmstate=true" in bare["notice"]
    assert not {"notice"} & {*off, *full, *container}
    assert cluster.writes[2] == ("POST", WEB, {"snapname": "full", "vmstate": "1"})
    assert [shot.vmstate for shot in cluster.guest(100).snapshots.values()] == [False, False, True]


@pytest.mark.parametrize(
    ("vmid", "snapname"),
    [(100, "current"), (100, "pending"), (100, "Current"), (103, "current"), (103, "vzdump")],
)
async def test_a_name_that_proxmox_keeps_for_itself_is_refused(
    client: Client, cluster: Cluster, vmid: int, snapname: str
) -> None:
    said = await refused(client, "create", vmid=vmid, snapname=snapname)

    assert f"Proxmox keeps the name {snapname} for itself: choose another" in said
    assert cluster.writes == []


@pytest.mark.parametrize(("vmid", "snapname"), [(100, "vzdump"), (103, "pending")])
async def test_a_name_that_is_kept_only_for_the_other_kind_is_free(
    client: Client, cluster: Cluster, vmid: int, snapname: str
) -> None:
    await done(client, "create", vmid=vmid, snapname=snapname)

    assert [*cluster.guest(vmid).snapshots] == [snapname]


@pytest.mark.parametrize("what", ["create", "rollback", "delete", "config"])
@pytest.mark.parametrize(
    "snapname", ["2025-11-06", "a", "v1.2", "two words", "x" * 41, "../../config", "ä1", "end\n"]
)
async def test_an_illegal_name_is_refused_with_the_rule_and_without_a_request(
    client: Client, cluster: Cluster, what: str, snapname: str
) -> None:
    said = await refused(client, what, vmid=100, snapname=snapname)

    assert "snapname is not of the right form; expected: Snapshot name: a letter first" in said
    assert cluster.requests == []


@pytest.mark.parametrize("snapname", ["ab", "backup-2025", "A_b-" + "x" * 36])
async def test_a_legal_name_is_taken(client: Client, cluster: Cluster, snapname: str) -> None:
    await done(client, "create", vmid=100, snapname=snapname)

    assert [*cluster.guest(100).snapshots] == [snapname]


@pytest.mark.parametrize(("vmid", "kind"), [(100, "VM"), (103, "container")])
async def test_a_name_that_is_in_use_is_refused_before_anything_is_sent(
    client: Client, cluster: Cluster, vmid: int, kind: str
) -> None:
    has(cluster, vmid, "first")

    said = await refused(client, "create", vmid=vmid, snapname="first")

    assert f"{kind} {vmid} " in said
    assert "already has a snapshot first: choose another name" in said
    assert "proxmox_snapshot_delete" in said
    assert cluster.writes == []


@pytest.mark.parametrize(("vmid", "path"), [(100, WEB), (103, CACHE)])
async def test_a_name_that_is_taken_meanwhile_fails_the_call_with_the_task(
    client: Client, cluster: Cluster, vmid: int, path: str
) -> None:
    has(cluster, vmid, "first")
    cluster.intercept = lambda request: (
        answer([{"name": "current"}]) if (request.method, request.path) == ("GET", path) else None
    )

    said = await refused(client, "create", vmid=vmid, snapname="first")

    assert "failed: snapshot name 'first' already used. Choose another name" in said
    assert "Task id: UPID:pve1:" in said
    assert cluster.writes == [("POST", path, {"snapname": "first"})]


async def test_the_memory_of_a_container_cannot_be_saved(client: Client, cluster: Cluster) -> None:
    said = await refused(client, "create", vmid=103, snapname="first", vmstate=True)

    assert "is a container, whose memory cannot be saved: leave vmstate out" in said
    assert cluster.writes == []


@pytest.mark.parametrize(("vmid", "task"), [(104, "qmsnapshot"), (111, "vzsnapshot")])
async def test_a_storage_without_snapshots_fails_the_call_with_advice(
    client: Client, cluster: Cluster, vmid: int, task: str
) -> None:
    said = await refused(client, "create", vmid=vmid, snapname="first")

    assert f"Task {task} {vmid} on " in said
    assert "failed: snapshot feature is not available" in said
    assert "on a storage that cannot take snapshots" in said
    assert "Task id: UPID:" in said
    assert cluster.guest(vmid).snapshots == {}


async def test_a_template_takes_no_snapshot(client: Client, cluster: Cluster) -> None:
    said = await refused(client, "create", vmid=110, snapname="first")

    assert "you can't take a snapshot if it's a template" in said
    assert cluster.guest(110).snapshots == {}


# --- which guest, and whether it is free -----------------------------------------------------


@pytest.mark.parametrize("what", ["create", "list", "rollback", "delete", "config"])
@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"vmid": 100, "node": "pve2"}, 'VM 100 (web-01) on pve1 is not at node="pve2"'),
        ({"vmid": 103, "type": "qemu"}, 'pass node="pve1" and type="lxc"'),
        ({"vmid": "web-1"}, "Nearest of 12: 100 web-01"),
    ],
)
async def test_a_guest_named_wrongly_is_refused_with_where_it_is(
    client: Client, cluster: Cluster, what: str, named: dict[str, Any], words: str
) -> None:
    name = {} if what == "list" else {"snapname": "first"}

    assert words in await refused(client, what, **named, **name)

    assert all(request.path == "/cluster/resources" for request in cluster.requests)


@pytest.mark.parametrize("what", ["create", "rollback", "delete"])
@pytest.mark.parametrize("vmid", [100, 103])
async def test_a_locked_guest_is_refused_with_the_name_of_its_lock(
    client: Client, cluster: Cluster, what: str, vmid: int
) -> None:
    has(cluster, vmid, "first")
    cluster.guest(vmid).lock = "backup"

    said = await refused(
        client, what, vmid=vmid, snapname="second" if what == "create" else "first"
    )

    assert "is locked (backup)" in said
    assert f"proxmox_task_list (vmid={vmid}, running=true)" in said
    assert cluster.writes == []
    assert [*cluster.guest(vmid).snapshots] == ["first"]


@pytest.mark.parametrize("what", ["create", "rollback", "delete"])
async def test_a_hibernated_vm_is_locked_too_and_the_remedy_is_to_resume_it(
    client: Client, cluster: Cluster, what: str
) -> None:
    has(cluster, 107, "first")
    cluster.guest(107).lock = "suspended"

    said = await refused(client, what, vmid=107, snapname="second" if what == "create" else "first")

    assert "VM 107 (cache) on pve2 is hibernated, and locked (suspended)" in said
    assert "continue it with proxmox_vm_resume first" in said
    assert "proxmox_task_list" not in said  # no job is to be found
    assert cluster.writes == []


# --- the tree --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_snapshots_are_listed_each_after_the_one_it_builds_on(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    has(cluster, 100, "base", description="the first")
    has(cluster, 100, "left", "base")
    has(cluster, 100, "right", "base", vmstate=True)
    has(cluster, 100, "leaf", "left")
    has(cluster, 100, "lost", "gone")
    cluster.guest(100).parent = "leaf"

    async with connect(mode=mode) as client:
        tree = await done(client, "list", vmid=100)

    assert tree == {
        "guest": "VM 100 (web-01) on pve1",
        "snapshots": [
            {
                "name": "base",
                "depth": 0,
                "created": "2025-11-13T02:13:20Z",
                "description": "the first",
            },
            {"name": "left", "depth": 1, "parent": "base", "created": "2025-11-13T02:14:20Z"},
            {
                "name": "leaf",
                "depth": 2,
                "parent": "left",
                "current": True,
                "created": "2025-11-13T02:16:20Z",
            },
            {
                "name": "right",
                "depth": 1,
                "parent": "base",
                "created": "2025-11-13T02:15:20Z",
                "memory": True,
            },
            {"name": "lost", "depth": 0, "parent": "gone", "created": "2025-11-13T02:17:20Z"},
        ],
    }
    assert cluster.writes == []


async def test_a_containers_snapshots_are_listed_like_those_of_a_vm(
    client: Client, cluster: Cluster
) -> None:
    has(cluster, 103, "first", description="why")
    has(cluster, 103, "second", "first")

    tree = await done(client, "list", vmid=103)

    assert [(row["name"], row["depth"]) for row in tree["snapshots"]] == [
        ("first", 0),
        ("second", 1),
    ]
    assert tree["snapshots"][0]["description"] == "why"  # Proxmox adds a line's end
    assert [row.get("current") for row in tree["snapshots"]] == [None, True]


async def test_the_present_state_is_no_snapshot_and_none_at_all_is_said(client: Client) -> None:
    tree = await done(client, "list", vmid=100)

    assert tree["snapshots"] == []
    assert tree["notice"] == "VM 100 (web-01) on pve1 has no snapshots."


# --- rolling back ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(("vmid", "path"), [(100, WEB), (103, CACHE)])
async def test_a_rollback_puts_the_guest_back_and_says_that_it_stopped_it(
    connect: Connect, cluster: Cluster, *, mode: str, vmid: int, path: str
) -> None:
    has(cluster, vmid, "first")
    has(cluster, vmid, "second", "first")
    cluster.guest(vmid).config["cores"] = 7

    async with connect(mode=mode) as client:
        end = await done(client, "rollback", vmid=vmid, snapname="first")

    assert cluster.writes == [("POST", f"{path}/first/rollback", {})]
    assert end["done"].endswith("on pve1: rolled back to snapshot first.")
    assert end["notice"] == "it was stopped for this and is stopped now."
    guest = cluster.guest(vmid)
    assert (guest.config["cores"], guest.parent, guest.status) == (2, "first", "stopped")


@pytest.mark.parametrize(("vmid", "path"), [(100, WEB), (103, CACHE)])
async def test_start_lets_the_guest_run_afterwards(
    client: Client, cluster: Cluster, vmid: int, path: str
) -> None:
    has(cluster, vmid, "first")
    cluster.guest(vmid).status = "stopped"

    end = await done(client, "rollback", vmid=vmid, snapname="first", start=True)

    assert cluster.writes == [("POST", f"{path}/first/rollback", {"start": "1"})]
    assert end["notice"] == "it is running now."
    assert cluster.guest(vmid).running


async def test_a_snapshot_with_memory_lets_the_vm_run_by_itself(
    client: Client, cluster: Cluster
) -> None:
    has(cluster, 100, "first", vmstate=True)

    end = await done(client, "rollback", vmid=100, snapname="first")

    assert end["notice"] == "it was stopped for this and is running now."
    assert cluster.guest(100).running


async def test_a_paused_vm_is_stopped_for_a_rollback_too(client: Client, cluster: Cluster) -> None:
    has(cluster, 109, "first")

    end = await done(client, "rollback", vmid=109, snapname="first")

    assert end["notice"] == "it was stopped for this and is stopped now."
    assert (cluster.guest(109).status, cluster.guest(109).paused) == ("stopped", False)


async def test_a_start_that_follows_the_rollback_is_not_told_as_a_stop(
    client: Client, cluster: Cluster
) -> None:
    has(cluster, 100, "first")
    stopped = {"status": "stopped", "qmpstatus": "stopped", "vmid": 100}
    cluster.intercept = lambda request: (
        answer(stopped) if request.path.endswith("/status/current") and cluster.writes else None
    )

    end = await done(client, "rollback", vmid=100, snapname="first", start=True)

    assert end["notice"] == "it was stopped for this and is about to start."


@pytest.mark.parametrize("what", ["rollback", "config"])
@pytest.mark.parametrize("vmid", [100, 103])
async def test_a_snapshot_that_is_not_there_is_refused_with_those_that_are(
    client: Client, cluster: Cluster, what: str, vmid: int
) -> None:
    none = await refused(client, what, vmid=vmid, snapname="first")
    has(cluster, vmid, "one")
    has(cluster, vmid, "two", "one")
    some = await refused(client, what, vmid=vmid, snapname="current")

    assert "has no snapshot first. It has: none." in none
    assert "has no snapshot current. It has: one, two. Nothing was changed." in some
    assert cluster.writes == []


# --- deleting --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(("vmid", "path"), [(100, WEB), (103, CACHE)])
async def test_a_deleted_snapshots_children_become_those_of_its_parent(
    connect: Connect, cluster: Cluster, *, mode: str, vmid: int, path: str
) -> None:
    has(cluster, vmid, "one")
    has(cluster, vmid, "two", "one")
    has(cluster, vmid, "three", "two")

    async with connect(mode=mode) as client:
        end = await done(client, "delete", vmid=vmid, snapname="two")

    assert cluster.writes == [("DELETE", f"{path}/two", {})]
    assert end["state"] == "ok"
    assert end["done"].endswith("on pve1: snapshot two deleted.")
    shots = cluster.guest(vmid).snapshots
    assert {name: shot.parent for name, shot in shots.items()} == {"one": None, "three": "one"}


async def test_force_is_sent_when_asked_for(client: Client, cluster: Cluster) -> None:
    has(cluster, 100, "first")

    await done(client, "delete", vmid=100, snapname="first", force=True)

    assert cluster.writes == [("DELETE", f"{WEB}/first", {"force": "1"})]
    assert cluster.guest(100).snapshots == {}


async def test_deleting_what_is_not_there_is_already_so_for_both_kinds(
    client: Client, cluster: Cluster
) -> None:
    for vmid, name in ((100, "VM 100 (web-01) on pve1"), (103, "container 103 (cache) on pve1")):
        end = await done(client, "delete", vmid=vmid, snapname="first")

        said = f"{name} has no snapshot first; nothing was changed."
        assert end == {"state": "already", "done": said}
    assert cluster.writes == []


@pytest.mark.parametrize("what", ["rollback", "delete"])
async def test_a_snapshot_that_goes_meanwhile_fails_the_call_with_the_task(
    client: Client, cluster: Cluster, what: str
) -> None:
    there = {
        WEB: [{"name": "first", "snaptime": TAKEN}, {"name": "current", "parent": "first"}],
        f"{WEB}/first/config": {"cores": 2},
    }
    cluster.intercept = lambda request: (
        answer(there[request.path]) if request.method == "GET" and request.path in there else None
    )

    said = await refused(client, what, vmid=100, snapname="first")

    assert "failed: snapshot 'first' does not exist. No snapshot has this name" in said
    assert "Task id: UPID:pve1:" in said
    assert cluster.guest(100).running


# --- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(("vmid", "name"), [(100, "web-01"), (103, "cache")])
async def test_the_configuration_of_then_is_shown(
    connect: Connect, cluster: Cluster, *, mode: str, vmid: int, name: str
) -> None:
    has(cluster, vmid, "first", description="before it all")
    cluster.guest(vmid).config["cores"] = 7

    async with connect(mode=mode) as client:
        shown = await done(client, "config", vmid=vmid, snapname="first")

    assert shown["snapname"] == "first"
    config = shown["config"]
    assert config["cores"] == "2"
    assert config["name" if vmid == 100 else "hostname"] == name
    assert config["description"] == "before it all"
    assert not {"digest", "snaptime", "parent"} & {*config}
    assert "changed" not in shown
    assert cluster.writes == []


async def test_secrets_in_the_configuration_of_then_are_masked(
    client: Client, cluster: Cluster
) -> None:
    has(cluster, 100, "first").config["cipassword"] = "hunter2"
    cluster.guest(100).config["cipassword"] = "hunter3"

    shown = await done(client, "config", vmid=100, snapname="first")
    changed = await done(client, "config", vmid=100, snapname="first", diff=True)

    assert shown["config"]["cipassword"] == "***"
    assert "hunter" not in str(shown) + str(changed)


@pytest.mark.parametrize("vmid", [100, 103])
async def test_the_difference_names_each_key_as_it_was_and_as_it_is(
    client: Client, cluster: Cluster, vmid: int
) -> None:
    config = cluster.guest(vmid).config
    config["description"] = "the guest's own notes"
    config["nameserver"] = "192.0.2.1"
    has(cluster, vmid, "first", description="the snapshot's own words")
    config["cores"] = 7
    config["searchdomain"] = "example.net"
    config["unused0"] = "local-lvm:vm-100-disk-9"
    del config["nameserver"]

    shown = await done(client, "config", vmid=vmid, snapname="first", diff=True)

    assert shown["changed"] == {
        "cores": {"then": "2", "now": "7"},
        "nameserver": {"then": "192.0.2.1"},
        "searchdomain": {"now": "example.net"},
    }
    assert "config" not in shown


async def test_a_guest_that_has_not_changed_since_has_no_difference(
    client: Client, cluster: Cluster
) -> None:
    await done(client, "create", vmid=100, snapname="first", description="just taken")
    cluster.guest(100).lock = "backup"  # a job of now is no change of the configuration

    shown = await done(client, "config", vmid=100, snapname="first", diff=True)

    assert shown["changed"] == {}


# --- waiting, and what goes wrong ------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("create", "snapshot second taken"),
        ("rollback", "rolled back to snapshot first"),
        ("delete", "snapshot first deleted"),
    ],
)
@pytest.mark.parametrize("vmid", [100, 103])
async def test_without_waiting_the_answer_is_the_task_and_the_call_that_goes_on(
    client: Client, cluster: Cluster, *, what: str, words: str, vmid: int
) -> None:
    cluster.speed = 0.1
    has(cluster, vmid, "first")

    snapname = "second" if what == "create" else "first"
    end = await done(client, what, vmid=vmid, snapname=snapname, wait=0)

    assert end["state"] == "running"
    assert end["done"].endswith(f"accepted, not finished: {words} when the task ends well.")
    assert end["next"] == f'proxmox_task_status(upid="{end["upid"]}", wait=300) goes on waiting'
    assert [*cluster.guest(vmid).snapshots] == ["first"]
    assert cluster.center.tasks.all[end["upid"]].end is None


@pytest.mark.parametrize("version", ["7.4", "8.4", "9.0", "9.2"])
async def test_every_supported_version_takes_rolls_back_and_deletes(version: str) -> None:
    cluster = Cluster(version=version, speed=500)
    async with Client(serve(cluster)) as client:
        for vmid in (100, 103):
            await done(client, "create", vmid=vmid, snapname="first", description="words")
            await done(client, "rollback", vmid=vmid, snapname="first", start=True)
            assert cluster.guest(vmid).running
            assert (await done(client, "list", vmid=vmid))["snapshots"][0]["current"]
            await done(client, "config", vmid=vmid, snapname="first", diff=True)
            await done(client, "delete", vmid=vmid, snapname="first", force=True)
            assert cluster.guest(vmid).snapshots == {}
    assert schema_faults(cluster.requests) == []


@pytest.mark.parametrize(
    ("what", "method", "path"),
    [
        ("create", "POST", WEB),
        ("rollback", "POST", f"{WEB}/first/rollback"),
        ("delete", "DELETE", f"{WEB}/first"),
    ],
)
async def test_a_change_whose_answer_is_lost_is_sent_once_and_found(
    client: Client, cluster: Cluster, *, what: str, method: str, path: str
) -> None:
    has(cluster, 100, "first")

    def intercept(request: Request) -> Answer | None:
        if request.method == "GET":
            return None
        cluster._answer(request)
        return silence(596, "Connection timed out")

    cluster.intercept = intercept
    snapname = "second" if what == "create" else "first"

    end = await done(client, what, vmid=100, snapname=snapname)

    assert end["state"] == "ok"
    assert [(verb, at) for verb, at, _ in cluster.writes] == [(method, path)]


async def test_a_look_that_fails_after_the_rollback_says_what_was_accepted(
    client: Client, cluster: Cluster
) -> None:
    has(cluster, 100, "first")
    cluster.intercept = lambda request: (
        refusal(500, "got timeout")
        if request.path.endswith("/status/current") and cluster.writes
        else None
    )

    said = await refused(client, "rollback", vmid=100, snapname="first")

    assert f"had its change accepted (POST {WEB}/first/rollback)" in said
    assert len(cluster.writes) == 1
    assert cluster.guest(100).parent == "first"


async def test_a_missing_privilege_is_named(connect: Connect, cluster: Cluster) -> None:
    async with connect(credentials=TOKENS["audit"]) as client:
        said = await refused(client, "create", vmid=100, snapname="first")

    assert "VM.Snapshot on /vms/100" in said
    assert cluster.guest(100).snapshots == {}


async def test_a_cancelled_call_logs_the_task_that_goes_on_without_it(
    connect: Connect, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    line = await calls.cancelled(
        connect, cluster, caplog, "proxmox_snapshot_create", vmid=103, snapname="first"
    )

    task = next(each for each in cluster.center.tasks.newest() if each.type == "vzsnapshot")
    assert (line["tool"], line["outcome"]) == ("proxmox_snapshot_create", "cancelled")
    assert (line["guest"], line["upid"]) == ("103", task.upid)
    assert len(cluster.writes) == 1
