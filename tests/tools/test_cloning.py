from typing import Any

import pytest
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Answer, Cluster, Request
from proxmox_mcp.simulator.state import Guest, Snapshot
from tests.conftest import Connect, schema_faults, serve, text
from tests.tools import calls
from tests.wire import answer, silence

WEB = "/nodes/pve1/qemu/100/clone"
CACHE = "/nodes/pve1/lxc/103/clone"
BASE = "/nodes/pve1/qemu/110/clone"


done = calls.calling("proxmox_vm_")


refused = calls.refusing("proxmox_vm_")


def stopped(cluster: Cluster, vmid: int) -> Guest:
    guest = cluster.guest(vmid)
    guest.status = "stopped"
    return guest


def has_snapshot(cluster: Cluster, vmid: int, name: str) -> None:
    guest = cluster.guest(vmid)
    guest.snapshots[name] = Snapshot(name, "", 1_763_000_000, dict(guest.config))
    guest.parent = name


def log_of(cluster: Cluster, end: dict[str, Any]) -> list[str]:
    return cluster.center.tasks.all[end["upid"]].log


# --- clones ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("vmid", "path", "name_key", "words"),
    [
        (100, WEB, "name", "VM 100 (web-01) on pve1: cloned to guest 200."),
        ("web-01", WEB, "name", "VM 100 (web-01) on pve1: cloned to guest 200."),
        (103, CACHE, "hostname", "container 103 (cache) on pve1: cloned to guest 200."),
    ],
)
async def test_a_clone_is_sent_once_and_told_when_the_new_guest_is_there(
    connect: Connect,
    cluster: Cluster,
    *,
    mode: str,
    vmid: Any,
    path: str,
    name_key: str,
    words: str,
) -> None:
    source = stopped(cluster, int(path.split("/")[4]))

    async with connect(mode=mode) as client:
        end = await done(
            client, "clone", vmid=vmid, newid=200, name="copy-02", description="made for a test"
        )

    sent = {"newid": "200", name_key: "copy-02", "description": "made for a test"}
    assert cluster.writes == [("POST", path, sent)]
    assert (end["state"], end["done"], end["newid"]) == ("ok", words, 200)
    assert cluster.center.tasks.all[end["upid"]].status == "OK"
    copy = cluster.guest(200)
    assert (copy.name, copy.kind, copy.node, copy.lock) == ("copy-02", source.kind, "pve1", None)
    assert copy.config["description"] == "made for a test"
    assert copy.status == "stopped"


async def test_the_new_guest_is_found_by_the_very_next_call(
    client: Client, cluster: Cluster
) -> None:
    await client.call_tool("proxmox_get_vm_status", {"vmid": 100})  # the list is remembered now

    await done(client, "clone", vmid=110, newid=200)
    result = await client.call_tool("proxmox_get_vm_status", {"vmid": 200})

    assert not result.is_error, text(result)
    assert cluster.requests[-1].path == "/nodes/pve1/qemu/200/status/current"


async def test_a_name_that_two_guests_bear_from_now_on_means_neither(
    client: Client, cluster: Cluster
) -> None:
    await client.call_tool("proxmox_get_vm_status", {"vmid": "web-01"})

    await done(client, "clone", vmid=110, newid=200, name="web-01")
    cluster.center.broadcast_turn = -1  # names reach the list with pvestatd's next round

    assert "2 guests are called web-01" in await refused(client, "stop", vmid="web-01")
    assert len(cluster.writes) == 1


async def test_without_newid_the_next_free_id_is_taken_and_told(
    client: Client, cluster: Cluster
) -> None:
    end = await done(client, "clone", vmid=110)

    assert end["newid"] == 101
    assert end["done"].endswith("cloned to guest 101.")
    assert cluster.writes == [("POST", BASE, {"newid": "101"})]
    assert cluster.guest(101).name == "Copy-of-VM-debian-12-template"


@pytest.mark.parametrize(("vmid", "path"), [(100, WEB), (103, CACHE)])
async def test_an_id_that_somebody_else_took_meanwhile_is_replaced_by_the_next(
    client: Client, cluster: Cluster, vmid: int, path: str
) -> None:
    stopped(cluster, vmid)

    def intercept(request: Request) -> None:
        if request.method == "POST":
            cluster.center.guests.setdefault(101, Guest(101, "qemu", "pve2", {"name": "quicker"}))

    cluster.intercept = intercept

    end = await done(client, "clone", vmid=vmid)

    assert end["newid"] == 113
    assert cluster.writes == [("POST", path, {"newid": "101"}), ("POST", path, {"newid": "113"})]
    assert cluster.guest(101).name == "quicker"
    assert cluster.guest(113).kind == cluster.guest(vmid).kind


@pytest.mark.parametrize("vmid", [100, 103])
async def test_after_three_lost_races_the_call_gives_up(
    client: Client, cluster: Cluster, vmid: int
) -> None:
    stopped(cluster, vmid)
    cluster.intercept = lambda request: answer("104") if request.path == "/cluster/nextid" else None

    said = await refused(client, "clone", vmid=vmid)

    assert "already exists" in said
    assert "Choose another id, or leave it out" in said
    assert "accepted" not in said
    assert [params for _, _, params in cluster.writes] == [{"newid": "104"}] * 3


async def test_an_id_that_the_caller_chose_is_never_replaced(
    client: Client, cluster: Cluster
) -> None:
    def intercept(request: Request) -> None:
        if request.method == "POST":
            cluster.center.guests.setdefault(200, Guest(200, "qemu", "pve2", {"name": "quicker"}))

    cluster.intercept = intercept

    said = await refused(client, "clone", vmid=100, newid=200)

    assert "VM 200" in said
    assert "already exists" in said
    assert cluster.writes == [("POST", WEB, {"newid": "200"})]


@pytest.mark.parametrize("vmid", [100, 103])
@pytest.mark.parametrize(("newid", "owner"), [(111, "container 111 (proxy-01)"), (100, "VM 100")])
async def test_an_id_that_is_taken_is_refused_with_whose_it_is(
    client: Client, cluster: Cluster, *, vmid: int, newid: int, owner: str
) -> None:
    said = await refused(client, "clone", vmid=vmid, newid=newid)

    assert f"The id {newid} belongs to {owner}" in said
    assert "choose another, or leave newid out" in said
    assert cluster.writes == []


async def test_a_clone_on_another_node_is_there_in_the_end(
    client: Client, cluster: Cluster
) -> None:
    arguments = {"node": "pve1", "vmid": 100, "newid": 200, "name": "web-server-02"}

    end = await done(client, "clone", **arguments, full=True, target="pve2")

    sent = {"newid": "200", "name": "web-server-02", "full": "1", "target": "pve2"}
    assert cluster.writes == [("POST", WEB, sent)]
    assert end["done"] == "VM 100 (web-01) on pve1: cloned to guest 200 on pve2."
    assert cluster.guest(200).node == "pve2"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("pve2", "Node pve2 is offline. Online: pve1, pve3. Nothing was changed."),
        ("pve9", "There is no node pve9. Online: pve1, pve3. Nothing was changed."),
    ],
)
@pytest.mark.parametrize("vmid", [100, 103])
async def test_a_target_that_is_not_up_is_refused_before_anything_is_sent(
    client: Client, cluster: Cluster, *, vmid: int, target: str, words: str
) -> None:
    cluster.take_offline("pve2")

    assert words in await refused(client, "clone", vmid=vmid, newid=200, target=target)

    assert cluster.writes == []
    assert 200 not in cluster.center.guests


async def test_local_disks_do_not_go_to_another_node(client: Client, cluster: Cluster) -> None:
    said = await refused(client, "clone", vmid=107, newid=200, target="pve1")

    assert "can't clone VM to node 'pve1' (VM uses local storage)" in said
    assert 200 not in cluster.center.guests


@pytest.mark.parametrize(
    ("vmid", "content", "fit"),
    [(100, "images", "local, local-lvm, shared-vms"), (103, "rootdir", "local, local-lvm")],
)
async def test_a_storage_that_may_not_hold_the_disks_is_refused_with_those_that_may(
    client: Client, cluster: Cluster, *, vmid: int, content: str, fit: str
) -> None:
    unfit = await refused(client, "clone", vmid=vmid, newid=200, storage="backup-storage")
    unknown = await refused(client, "clone", vmid=vmid, newid=200, storage="nosuch")

    why = f"Storage backup-storage on pve1 may not hold {content} (it holds backup)"
    assert f"{why}. Fit for it: {fit}" in unfit
    assert "Storage nosuch on pve1 is not on this node, or this token may not see it" in unknown
    assert f"Fit for it: {fit}" in unknown
    assert cluster.writes == []


async def test_the_storage_is_looked_for_on_the_target(client: Client, cluster: Cluster) -> None:
    await done(client, "clone", vmid=100, newid=200, target="pve3", storage="shared-vms")

    asked = [request.path for request in cluster.requests if request.path.endswith("/storage")]
    assert asked == ["/nodes/pve3/storage"]
    sent = {"newid": "200", "target": "pve3", "storage": "shared-vms"}
    assert cluster.writes == [("POST", WEB, sent)]


@pytest.mark.parametrize(("vmid", "path", "disk"), [(100, WEB, "scsi0"), (103, CACHE, "rootfs")])
async def test_the_disks_go_where_they_were_asked_to_go(
    client: Client, cluster: Cluster, *, vmid: int, path: str, disk: str
) -> None:
    stopped(cluster, vmid)

    await done(client, "clone", vmid=vmid, newid=200, full=True, storage="local")

    assert cluster.writes == [("POST", path, {"newid": "200", "full": "1", "storage": "local"})]
    assert cluster.guest(200).config[disk].startswith("local:200/")


async def test_a_template_is_cloned_linked_unless_full_is_set(
    client: Client, cluster: Cluster
) -> None:
    linked = await done(client, "clone", vmid=110, newid=200)
    full = await done(client, "clone", vmid=110, newid=201, full=True)

    assert [params for _, _, params in cluster.writes] == [
        {"newid": "200"},
        {"newid": "201", "full": "1"},
    ]
    assert log_of(cluster, linked)[0].startswith("create linked clone of drive scsi0")
    assert log_of(cluster, full)[0].startswith("create full clone of drive scsi0")
    assert not cluster.guest(200).template


@pytest.mark.parametrize("vmid", [100, 103])
async def test_a_linked_clone_of_an_ordinary_guest_is_refused(
    client: Client, cluster: Cluster, vmid: int
) -> None:
    stopped(cluster, vmid)

    said = await refused(client, "clone", vmid=vmid, newid=200, full=False)

    assert "Linked clone feature is not supported" in said
    assert [params for _, _, params in cluster.writes] == [{"newid": "200", "full": "0"}]
    assert 200 not in cluster.center.guests


@pytest.mark.parametrize(("vmid", "path"), [(100, WEB), (103, CACHE)])
async def test_a_snapshot_is_cloned_as_it_was(
    client: Client, cluster: Cluster, vmid: int, path: str
) -> None:
    has_snapshot(cluster, vmid, "first")
    cluster.guest(vmid).config["cores"] = 7

    await done(client, "clone", vmid=vmid, newid=200, snapname="first")

    assert cluster.writes == [("POST", path, {"newid": "200", "snapname": "first"})]
    assert cluster.guest(200).config["cores"] == 2


async def test_a_snapshot_that_is_not_there_is_refused(client: Client, cluster: Cluster) -> None:
    said = await refused(client, "clone", vmid=100, newid=200, snapname="first")

    assert "snapshot 'first' does not exist. No snapshot has this name" in said
    assert 200 not in cluster.center.guests


async def test_a_running_container_is_not_copied_without_a_snapshot(
    client: Client, cluster: Cluster
) -> None:
    said = await refused(client, "clone", vmid=103, newid=200)

    assert "container 103 on pve1: Cannot do full clones on a running container" in said
    assert 200 not in cluster.center.guests


@pytest.mark.parametrize("what", ["clone", "template"])
@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"vmid": 100, "node": "pve2"}, 'VM 100 (web-01) on pve1 is not at node="pve2"'),
        ({"vmid": 103, "type": "qemu"}, 'pass node="pve1" and type="lxc"'),
        ({"vmid": "cache"}, "2 guests are called cache"),
    ],
)
async def test_a_guest_named_wrongly_is_refused_with_where_it_is(
    client: Client, cluster: Cluster, what: str, named: dict[str, Any], words: str
) -> None:
    assert words in await refused(client, what, **named)

    assert cluster.writes == []


@pytest.mark.parametrize("what", ["clone", "template"])
@pytest.mark.parametrize("vmid", [107, 103])
async def test_a_locked_guest_is_refused_with_the_name_of_its_lock(
    client: Client, cluster: Cluster, what: str, vmid: int
) -> None:
    stopped(cluster, vmid).lock = "migrate"

    said = await refused(client, what, vmid=vmid)

    assert "is locked (migrate)" in said
    assert f"proxmox_task_list (vmid={vmid}, running=true)" in said
    assert cluster.writes == []


@pytest.mark.parametrize("what", ["clone", "template"])
async def test_a_hibernated_vm_is_to_be_resumed_first(
    client: Client, cluster: Cluster, what: str
) -> None:
    cluster.guest(107).lock = "suspended"

    said = await refused(client, what, vmid=107)

    assert "is hibernated, and locked (suspended)" in said
    assert "continue it with proxmox_vm_resume first" in said
    assert cluster.writes == []


# --- templates -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_vm_becomes_a_template_for_good(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    async with connect(mode=mode) as client:
        end = await done(client, "template", vmid=107)
        again = await done(client, "template", vmid=107)
        started = await refused(client, "start", vmid=107)

    assert (end["state"], end["done"]) == ("ok", "VM 107 (cache) on pve2: made a template.")
    assert cluster.center.tasks.all[end["upid"]].status == "OK"
    assert again["state"] == "already"
    assert again["done"] == "VM 107 (cache) on pve2 is already a template; nothing was changed."
    assert "is a template and never runs" in started
    assert cluster.writes == [("POST", "/nodes/pve2/qemu/107/template", {})]
    assert cluster.guest(107).template
    assert cluster.guest(107).config["scsi0"].startswith("local-lvm:base-107-disk-0,")


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_container_becomes_a_template_without_a_task(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    stopped(cluster, 103)

    async with connect(mode=mode) as client:
        end = await done(client, "template", vmid=103)
        again = await done(client, "template", vmid=103)

    assert end == {"state": "ok", "done": "container 103 (cache) on pve1: is a template now."}
    assert again["state"] == "already"
    assert cluster.writes == [("POST", "/nodes/pve1/lxc/103/template", {})]
    assert cluster.guest(103).template


@pytest.mark.parametrize(("vmid", "state"), [(100, "running"), (103, "running"), (109, "paused")])
async def test_what_runs_does_not_become_a_template(
    client: Client, cluster: Cluster, vmid: int, state: str
) -> None:
    said = await refused(client, "template", vmid=vmid)

    assert f"is {state}: shut it down first. Nothing was changed." in said
    assert cluster.writes == []


@pytest.mark.parametrize("vmid", [107, 103])
async def test_what_has_snapshots_does_not_become_a_template(
    client: Client, cluster: Cluster, vmid: int
) -> None:
    stopped(cluster, vmid)
    has_snapshot(cluster, vmid, "first")
    has_snapshot(cluster, vmid, "second")

    said = await refused(client, "template", vmid=vmid)

    assert "has snapshots (first, second): delete them first" in said
    assert cluster.writes == []
    assert not cluster.guest(vmid).template


# --- waiting, and what goes wrong ------------------------------------------------------------


@pytest.mark.parametrize("vmid", [100, 103])
async def test_without_waiting_a_clone_is_told_as_a_running_task_with_the_new_id(
    client: Client, cluster: Cluster, vmid: int
) -> None:
    cluster.speed = 0.1
    stopped(cluster, vmid)

    end = await done(client, "clone", vmid=vmid, full=True, wait=0)

    assert (end["state"], end["newid"]) == ("running", 101)
    assert end["done"].endswith(
        "accepted, not finished: cloned to guest 101 when the task ends well."
    )
    assert end["next"] == f'proxmox_task_status(upid="{end["upid"]}", wait=300) goes on waiting'
    assert cluster.guest(101).lock in ("clone", "create")


async def test_without_waiting_a_template_is_told_as_a_running_task(
    client: Client, cluster: Cluster
) -> None:
    cluster.speed = 0.1

    end = await done(client, "template", vmid=107, wait=0)

    assert end["state"] == "running"
    assert not cluster.guest(107).template


async def test_a_full_clone_tells_how_many_percent_are_copied(
    connect: Connect, cluster: Cluster
) -> None:
    cluster.speed = 20
    told: list[tuple[float, float | None, str | None]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with connect(mode="legacy") as client:
        arguments = {"vmid": 100, "newid": 200, "full": True}
        await client.call_tool("proxmox_vm_clone", arguments, progress_callback=listen)

    assert any(total == 100 and "of 32.0 GiB (" in str(words) for _, total, words in told)
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})


async def test_a_clone_that_is_stopped_fails_the_call_with_its_log(
    client: Client, cluster: Cluster
) -> None:
    calls.stopped_when_looked_at(cluster, "qmclone")

    said = await refused(client, "clone", vmid=100, newid=200)

    assert "Task qmclone 100 on pve1 failed: received interrupt." in said
    assert "Last lines of its log:\n  create full clone of drive scsi0" in said
    assert "Task id: UPID:pve1:" in said


@pytest.mark.parametrize(("vmid", "path"), [(100, WEB), (103, CACHE)])
async def test_a_clone_whose_answer_is_lost_is_never_sent_again_under_another_id(
    client: Client, cluster: Cluster, vmid: int, path: str
) -> None:
    stopped(cluster, vmid)

    def intercept(request: Request) -> Answer | None:
        if request.method == "GET":
            return None
        cluster._answer(request)
        return silence(596, "Connection timed out")

    cluster.intercept = intercept

    end = await done(client, "clone", vmid=vmid)

    assert (end["state"], end["newid"]) == ("ok", 101)
    assert cluster.writes == [("POST", path, {"newid": "101"})]
    assert sorted(set(cluster.center.guests) - {100, *range(102, 113)}) == [101]


async def test_a_container_template_whose_answer_is_lost_is_said_to_be_open(
    client: Client, cluster: Cluster
) -> None:
    stopped(cluster, 103)
    cluster.intercept = lambda request: (
        silence(596, "Connection timed out") if request.method == "POST" else None
    )

    said = await refused(client, "template", vmid=103)

    assert "it may have happened" in said
    assert cluster.writes == [("POST", "/nodes/pve1/lxc/103/template", {})]


async def test_a_container_template_that_was_made_is_found_though_its_answer_is_lost(
    client: Client, cluster: Cluster
) -> None:
    stopped(cluster, 103)

    def intercept(request: Request) -> Answer | None:
        if request.method == "GET":
            return None
        cluster._answer(request)
        return silence(596, "Connection timed out")

    cluster.intercept = intercept

    end = await done(client, "template", vmid=103)

    assert end["state"] == "ok"
    assert cluster.guest(103).template
    assert cluster.writes == [("POST", "/nodes/pve1/lxc/103/template", {})]


async def test_losing_sight_of_an_accepted_clone_says_what_was_accepted(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = lambda request: (
        silence(595, "No route to host") if "/tasks/UPID" in request.path else None
    )

    said = await refused(client, "clone", vmid=100, newid=200)

    assert "The task goes on without being watched" in said
    assert f"had its change accepted (POST {WEB})" in said
    assert len(cluster.writes) == 1


@pytest.mark.parametrize(
    ("what", "privilege"),
    [("clone", "VM.Clone on /vms/107"), ("template", "VM.Allocate on /vms/107")],
)
async def test_a_missing_privilege_is_named(
    connect: Connect, cluster: Cluster, what: str, privilege: str
) -> None:
    async with connect(credentials=TOKENS["audit"]) as client:
        assert privilege in await refused(client, what, vmid=107)

    assert not cluster.guest(107).template


@pytest.mark.parametrize("version", ["7.4", "8.4", "9.0", "9.2"])
async def test_every_supported_version_clones_and_makes_templates(version: str) -> None:
    cluster = Cluster(version=version, speed=500)
    async with Client(serve(cluster)) as client:
        for vmid in (100, 103):
            stopped(cluster, vmid)
            arguments = {"vmid": vmid, "name": "copy", "description": "words", "full": True}
            copy = (await done(client, "clone", **arguments))["newid"]
            assert (await done(client, "template", vmid=copy))["state"] == "ok"
            linked = (await done(client, "clone", vmid=copy, full=False))["newid"]
            assert cluster.guest(copy).template
            assert not cluster.guest(linked).template
    assert schema_faults(cluster.requests) == []


async def test_a_cancelled_call_logs_the_task_that_goes_on_without_it(
    connect: Connect, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    line = await calls.cancelled(connect, cluster, caplog, "proxmox_vm_clone", vmid=100)

    task = next(each for each in cluster.center.tasks.newest() if each.type == "qmclone")
    assert (line["tool"], line["outcome"]) == ("proxmox_vm_clone", "cancelled")
    assert (line["guest"], line["upid"]) == ("100", task.upid)
    assert len(cluster.writes) == 1
