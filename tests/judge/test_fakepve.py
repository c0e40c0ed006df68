"""The scenarios of the reference's tools on a Proxmox that somebody else has written.

Where fakepve 0.5.0 is known to differ from Proxmox, the test says in what, and asserts what becomes
of it here. What it only pretends to do (it answers every method of the API, and models half) is
asserted as far as the request goes.
"""

from typing import Any

import pytest
from mcp.client import Client

from proxmox_mcp.pve.bridge import Bridge
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.errors import ProxmoxError, Unsupported
from proxmox_mcp.pve.guard import Cluster, Pve
from proxmox_mcp.tools import tasks
from tests.conftest import FAST, text
from tests.judge.conftest import BACKUPS, LOGINS, PASSWORD, TOKEN, Enter, Judge

KINDS = {"qemu": 100, "lxc": 103}
DISKS = {"qemu": ("scsi0", 32, 82), "lxc": ("rootfs", 8, 58)}

pytestmark = pytest.mark.timeout(30)
both = pytest.mark.parametrize("kind", KINDS)


async def ask(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(f"proxmox_{tool}", arguments)
    assert not result.is_error, text(result)
    assert result.structured_content is not None
    return dict(result.structured_content)


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(f"proxmox_{tool}", arguments)
    assert result.is_error, text(result)
    return text(result)


def at(kind: str) -> dict[str, Any]:
    """A guest, named as the reference's callers name one."""
    return {"node": "pve1", "vmid": KINDS[kind], "type": kind}


def path(kind: str, rest: str) -> str:
    return f"/nodes/pve1/{kind}/{KINDS[kind]}/{rest}"


# --- logging in ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("login", LOGINS)
async def test_one_logs_in_with_a_password_or_a_token(
    judge: Judge, enter: Enter, login: str, mode: str
) -> None:
    async with enter(mode=mode, **LOGINS[login]) as client:
        first = await ask(client, "vm_stop", vmid=100)
        second = await ask(client, "vm_start", vmid=100)

    assert (first["state"], second["state"]) == ("ok", "ok")
    assert judge.logins == (login == "password")
    assert first["upid"].endswith(":root@pam!mcp:" if login == "token" else ":root@pam:")


async def test_a_ticket_that_is_no_longer_good_is_replaced(judge: Judge, enter: Enter) -> None:
    async with enter(**PASSWORD) as client:
        await ask(client, "get_vms")
        judge.pve.revoke_tickets()
        again = await ask(client, "get_vms")

    assert again["total"] == 2
    assert judge.logins == 2


async def test_a_certificate_that_is_not_the_pinned_one_gets_no_request(
    judge: Judge, enter: Enter
) -> None:
    async with enter(fingerprint="ab" * 32, **TOKEN) as client:
        said = await refused(client, "get_vms")

    assert "fingerprint" in said
    assert judge.pve.requests == []


async def test_a_wrong_secret_is_said_to_be_one(enter: Enter) -> None:
    async with enter(**TOKEN | {"token_value": "wrong"}) as client:
        said = await refused(client, "get_vms")

    assert "token" in said
    assert "wrong" not in said


# --- looking ---------------------------------------------------------------------------------


async def test_nodes_and_cluster_are_as_they_are(client: Client) -> None:
    nodes = await ask(client, "get_nodes")
    cluster = await ask(client, "get_cluster_status")

    assert [(each["node"], each["status"]) for each in nodes["nodes"]] == [
        ("pve1", "online"),
        ("pve2", "online"),
        ("pve3", "offline"),
    ]
    assert nodes["offline"] == ["pve3"]
    # fakepve tells no load; Proxmox does.
    assert nodes["without_load"] == ["pve1", "pve2"]
    assert (cluster["cluster"], cluster["quorate"]) == ("fakecluster", True)
    assert cluster["nodes_offline"] == ["pve3"]
    assert cluster["guests"] == {"container_running": 1, "vm_running": 1}


async def test_a_nodes_figures_are_passed_on_even_where_they_are_filler(client: Client) -> None:
    # fakepve fills the fields with "fake" and 0, where Proxmox has the truth.
    status = await ask(client, "get_node_status", node="pve1")

    assert (status["node"], status["pve_version"], status["cpus"]) == ("pve1", "fake", 0)
    assert "load" not in status


async def test_a_node_that_is_down_is_said_to_be(client: Client) -> None:
    assert "No route to host" in await refused(client, "get_node_status", node="pve3")


async def test_guests_and_storages_are_listed(client: Client) -> None:
    guests = await ask(client, "get_vms", node="pve1", type="all")
    storages = await ask(client, "get_storage", node="pve1")

    assert [(each["vmid"], each["type"], each["status"]) for each in guests["guests"]] == [
        (100, "qemu", "running"),
        (103, "lxc", "running"),
    ]
    by_name = {each["storage"]: each for each in storages["storages"]}
    assert by_name["shared"]["content"] == ["backup", "images", "rootdir"]
    assert "node" not in by_name["shared"]
    assert by_name["local-lvm"]["node"] == "pve1"


# --- lifecycle -------------------------------------------------------------------------------


@both
async def test_power_is_switched_and_what_is_so_already_is_said(
    judge: Judge, client: Client, kind: str
) -> None:
    guest = judge.guest(KINDS[kind])
    states = []
    for tool in ("vm_start", "vm_stop", "vm_stop", "vm_start", "vm_reboot", "vm_shutdown"):
        more = {"timeout": 60, "forceStop": True} if tool == "vm_shutdown" else {}
        answer = await ask(client, tool, **at(kind), **more)
        states.append((tool, answer["state"], guest.status))

    assert states == [
        ("vm_start", "already", "running"),
        ("vm_stop", "ok", "stopped"),
        ("vm_stop", "already", "stopped"),
        ("vm_start", "ok", "running"),
        ("vm_reboot", "ok", "running"),
        ("vm_shutdown", "ok", "stopped"),
    ]
    assert judge.writes == [
        ("POST", path(kind, "status/stop"), {}),
        ("POST", path(kind, "status/start"), {}),
        ("POST", path(kind, "status/reboot"), {}),
        ("POST", path(kind, "status/shutdown"), {"timeout": "60", "forceStop": "1"}),
    ]
    assert "nothing to reboot" in await refused(client, "vm_reboot", **at(kind))


async def test_a_vm_is_paused_continued_and_reset(judge: Judge, client: Client) -> None:
    guest = judge.guest(100)

    await ask(client, "vm_suspend", node="pve1", vmid=100, todisk=False)
    paused = (guest.qmpstatus, (await ask(client, "get_vm_status", vmid=100))["status"])
    await ask(client, "vm_resume", node="pve1", vmid=100)
    await ask(client, "vm_reset", node="pve1", vmid=100)

    assert paused == ("paused", "paused")
    assert guest.qmpstatus == "running"
    assert [(method, where.rpartition("/")[2]) for method, where, _ in judge.writes] == [
        ("POST", "suspend"),
        ("POST", "resume"),
        ("POST", "reset"),
    ]


async def test_a_hibernated_vm_is_continued_by_a_start(judge: Judge, client: Client) -> None:
    guest = judge.guest(100)

    await ask(client, "vm_suspend", node="pve1", vmid=100)
    hibernated = (
        guest.status,
        guest.lock,
        (await ask(client, "get_vm_status", vmid=100))["status"],
    )
    # fakepve does not resume one: "not running". Proxmox itself starts it from its saved memory.
    said = await refused(client, "vm_resume", node="pve1", vmid=100)
    await ask(client, "vm_start", node="pve1", vmid=100)

    assert hibernated == ("stopped", "suspended", "hibernated")
    assert "VM 100 not running" in said
    assert (guest.status, guest.lock) == ("running", None)
    assert judge.writes[0] == ("POST", path("qemu", "status/suspend"), {"todisk": "1"})


@pytest.mark.parametrize("tool", ["vm_suspend", "vm_resume", "vm_reset"])
async def test_what_has_no_meaning_for_a_container_is_not_sent(
    judge: Judge, client: Client, tool: str
) -> None:
    said = await refused(client, tool, node="pve1", vmid=103)

    assert "container 103 (cache) on pve1" in said
    assert judge.writes == []


@both
async def test_a_locked_guest_is_left_alone(judge: Judge, client: Client, kind: str) -> None:
    judge.pve.snapshot_lock(KINDS[kind], "backup")

    said = await refused(client, "vm_stop", **at(kind))

    assert "locked (backup)" in said
    assert judge.writes == []


async def test_without_quorum_the_refusal_says_so(judge: Judge, client: Client) -> None:
    judge.pve.lose_quorum()

    said = await refused(client, "snapshot_create", **at("qemu"), snapname="before")

    assert "no quorum" in said
    assert judge.guest(100).snapshots == {}


@both
async def test_what_the_ha_manager_does_is_waited_for(
    judge: Judge, client: Client, kind: str
) -> None:
    guest = judge.guest(KINDS[kind])
    guest.ha_state = "started"

    stopped = await ask(client, "vm_stop", **at(kind))

    assert ":hastop:" in stopped["upid"]
    assert (stopped["state"], guest.status) == ("ok", "stopped")


async def test_a_task_that_fails_is_no_success(judge: Judge, client: Client) -> None:
    guest = judge.guest(100)
    guest.status, guest.start_error = "stopped", "no such disk"

    said = await refused(client, "vm_start", **at("qemu"))

    assert "no such disk" in said
    assert "UPID:pve1:" in said


# --- tasks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("time_scale", [1])
async def test_a_task_goes_on_after_the_call_and_is_waited_for_later(
    judge: Judge, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "STOP_SECONDS", 0)
    guest = judge.guest(100)
    guest.shutdown_secs = 0.8

    begun = await ask(client, "vm_shutdown", **at("qemu"), wait=0)
    # fakepve answers a stop of a task and lets it go on; Proxmox kills it within ten seconds.
    stopping = await ask(client, "task_stop", node="pve1", upid=begun["upid"])
    seen = (begun["state"], stopping["state"], guest.status)
    ended = await ask(client, "task_status", node="pve1", upid=begun["upid"], wait=10)

    assert seen == ("running", "stopping", "running")
    assert (ended["state"], guest.status) == ("ok", "stopped")
    assert judge.writes[-1] == ("DELETE", f"/nodes/pve1/tasks/{begun['upid']}", {})


async def test_tasks_are_listed_and_read(client: Client) -> None:
    upid = (await ask(client, "vm_stop", **at("qemu")))["upid"]
    other = (await ask(client, "vm_stop", **at("lxc")))["upid"]

    # fakepve heeds none of the filters errors, running and type; it heeds vmid.
    listed = await ask(client, "task_list", node="pve1", limit=20)
    of_one = await ask(client, "task_list", node="pve1", vmid=100)
    status = await ask(client, "task_status", node="pve1", upid=upid, includeLogs=True)
    log = await client.call_tool("proxmox_task_log", {"node": "pve1", "upid": upid, "start": 0})
    stopped = await ask(client, "task_stop", node="pve1", upid=upid)

    assert {each["upid"] for each in listed["tasks"]} == {upid, other}
    assert [(each["upid"], each["state"]) for each in of_one["tasks"]] == [(upid, "ok")]
    assert (status["state"], status["type"], status["log"]) == ("ok", "qmstop", ["TASK OK"])
    assert "TASK OK" in text(log)
    assert stopped["state"] == "already_ended"


# --- snapshots -------------------------------------------------------------------------------


@both
async def test_a_snapshot_is_taken_shown_gone_back_to_and_deleted(
    judge: Judge, client: Client, kind: str
) -> None:
    guest, snap = judge.guest(KINDS[kind]), at(kind) | {"snapname": "before"}
    memory = {"vmstate": True} if kind == "qemu" else {}

    await ask(client, "snapshot_create", **snap, description="Why", **memory)
    again = await refused(client, "snapshot_create", **snap)
    listed = (await ask(client, "snapshot_list", **at(kind)))["snapshots"]
    guest.config["cores"] = 8
    then = (await ask(client, "snapshot_config", **snap))["config"]
    changed = (await ask(client, "snapshot_config", **snap, diff=True))["changed"]
    await ask(client, "snapshot_rollback", **snap)
    back = (guest.config["cores"], guest.status)
    deleted = await ask(client, "snapshot_delete", **snap, force=True)
    gone = await ask(client, "snapshot_delete", **snap)

    assert "already has a snapshot before" in again
    assert [(each["name"], each["current"], each["description"]) for each in listed] == [
        ("before", True, "Why")
    ]
    assert then["cores"] == "2"
    assert changed["cores"] == {"then": "2", "now": "8"}
    assert back == (2, "stopped")
    assert (deleted["state"], gone["state"]) == ("ok", "already")
    assert guest.snapshots == {}
    sent = {"vmstate": "1"} if kind == "qemu" else {}
    assert [write[:2] for write in judge.writes] == [
        ("POST", path(kind, "snapshot")),
        ("POST", path(kind, "snapshot/before/rollback")),
        ("DELETE", path(kind, "snapshot/before")),
    ]
    assert judge.writes[0][2] == {"snapname": "before", "description": "Why"} | sent


# --- configuration and disks -----------------------------------------------------------------


async def test_a_running_vms_change_waits_for_its_restart(judge: Judge, client: Client) -> None:
    changed = await ask(client, "vm_config_update", **at("qemu"), config={"cores": 4, "onboot": 1})
    shown = await ask(client, "vm_config_get", **at("qemu"))

    guest = judge.guest(100)
    assert (guest.config["cores"], guest.pending["cores"], guest.config["onboot"]) == (2, "4", "1")
    assert changed["pending"] == {"cores": "4"}
    assert changed["changed"]["cores"] == {"before": "2", "after": "4"}
    assert shown["pending"] == {"cores": "4"}
    [(method, where, sent)] = judge.writes
    assert (method, where) == ("POST", path("qemu", "config"))
    assert (sent["cores"], sent["onboot"], len(sent["digest"])) == ("4", "1", 40)


async def test_a_containers_change_holds_at_once(judge: Judge, client: Client) -> None:
    changed = await ask(client, "vm_config_update", **at("lxc"), config={"cores": 4})
    shown = await ask(client, "vm_config_get", **at("lxc"))

    assert judge.guest(103).config["cores"] == 4
    assert changed["changed"] == {"cores": {"before": "2", "after": "4"}}
    assert shown["config"]["cpu"] == {"cores": "4"}
    assert judge.writes[0][:2] == ("PUT", path("lxc", "config"))


@both
async def test_a_disk_grows_to_an_absolute_size(judge: Judge, client: Client, kind: str) -> None:
    disk, before, after = DISKS[kind]

    grown = await ask(client, "disk_resize", **at(kind), disk=disk, size="+50G")

    assert f"from {before} GiB to {after} GiB" in grown["done"]
    [(method, where, sent)] = judge.writes
    assert (method, where) == ("PUT", path(kind, "resize"))
    assert (sent["disk"], sent["size"]) == (disk, f"{after}G")
    # fakepve only pretends to grow a VM's disk: the task ends well and nothing has changed.
    holds = before if kind == "qemu" else after
    assert f"size={holds}G" in judge.guest(KINDS[kind]).config[disk]


# --- clones and templates --------------------------------------------------------------------


@both
async def test_a_guest_is_cloned(judge: Judge, client: Client, kind: str) -> None:
    await ask(client, "vm_stop", **at(kind))

    made = await ask(
        client, "vm_clone", **at(kind), newid=200, name="copy", description="A copy", full=True
    )

    name = "name" if kind == "qemu" else "hostname"
    assert made["newid"] == 200
    assert judge.guest(200).config[name] == "copy"
    assert judge.guest(200).config["cores"] == 2
    sent = {"newid": "200", name: "copy", "description": "A copy", "full": "1"}
    assert judge.writes[-1] == ("POST", path(kind, "clone"), sent)


async def test_a_clone_gets_the_next_free_id_and_another_node(judge: Judge, client: Client) -> None:
    made = await ask(client, "vm_clone", **at("qemu"), target="pve2")

    assert made["newid"] not in (100, 103)
    assert judge.guest(made["newid"]).node == "pve2"


async def test_a_clone_from_local_storage_to_another_node_is_refused(
    judge: Judge, client: Client
) -> None:
    await ask(client, "vm_stop", **at("lxc"))

    said = await refused(client, "vm_clone", **at("lxc"), newid=200, target="pve2")

    assert "local storage" in said
    assert judge.guest(200) is None


@both
async def test_a_guest_becomes_a_template(judge: Judge, client: Client, kind: str) -> None:
    running = await refused(client, "vm_template", **at(kind))
    await ask(client, "vm_stop", **at(kind))
    made = await ask(client, "vm_template", **at(kind))
    again = await ask(client, "vm_template", **at(kind))

    assert "is running" in running
    assert (made["state"], again["state"]) == ("ok", "already")
    assert judge.guest(KINDS[kind]).template
    assert judge.writes[-1] == ("POST", path(kind, "template"), {})


# --- migration -------------------------------------------------------------------------------


async def test_a_container_is_checked_and_moved(judge: Judge, client: Client) -> None:
    able = await ask(client, "vm_migrate_check", node="pve1", vmid=103, target="pve2")
    unable = await ask(client, "vm_migrate_check", node="pve1", vmid=103, target="pve3")
    still = await refused(client, "vm_migrate", node="pve1", vmid=103, target="pve2")
    moved = await ask(client, "vm_migrate", node="pve1", vmid=103, target="pve2", restart=True)

    assert (able["possible"], able["obstacles"], able["allowed_nodes"]) == (True, [], ["pve2"])
    assert unable["possible"] is False
    assert "pve3 is offline" in unable["obstacles"][0]
    assert "restart=true" in still
    assert "running on pve2" in moved["done"]
    assert judge.guest(103).node == "pve2"
    assert judge.writes == [("POST", path("lxc", "migrate"), {"target": "pve2", "restart": "1"})]


async def test_where_there_is_no_check_for_containers_ours_is_made(
    judge: Judge, client: Client
) -> None:
    # As before 9.0.6. fakepve answers an unknown path with 404; Proxmox, and this test, with 501.
    words = "Method 'GET /nodes/pve1/lxc/103/migrate' not implemented"
    judge.pve.fail("GET", "/nodes/pve1/lxc/103/migrate", 501, words)

    able = await ask(client, "vm_migrate_check", node="pve1", vmid=103, target="pve2")

    assert (able["possible"], able["obstacles"]) == (True, [])
    assert "allowed_nodes" not in able


async def test_an_unknown_path_is_an_error_here_and_unsupported_on_proxmox(judge: Judge) -> None:
    given = {"host": judge.pve.host, "port": judge.pve.port, "fingerprint": judge.fingerprint}
    pve = Pve(Cluster(Bridge(Connection(**given, **TOKEN)), FAST))
    await pve.open()

    # fakepve: 404. Proxmox: 501, which is what this server reads as "this version cannot".
    with pytest.raises(ProxmoxError) as caught:
        await pve.send(pve.cluster_api.nosuch.get)

    assert not isinstance(caught.value, Unsupported)
    assert "404" in str(caught.value)


async def test_a_vms_check_reports_what_it_is_told(client: Client) -> None:
    # fakepve fills the lists with "fake"; so there is a local resource, and that is an obstacle.
    check = await ask(client, "vm_migrate_check", node="pve1", vmid=100, target="pve2")

    assert check["possible"] is False
    assert any("fake" in obstacle for obstacle in check["obstacles"])


async def test_a_vm_that_did_not_move_is_not_said_to_have_moved(
    judge: Judge, client: Client
) -> None:
    # fakepve only pretends to migrate a VM: the task ends well and it is where it was.
    call = {"node": "pve1", "vmid": 100, "target": "pve2", "online": True, "withLocalDisks": True}
    answer = await ask(client, "vm_migrate", **call)

    assert answer["state"] == "warnings"
    assert "not moved" in answer["done"]
    assert judge.guest(100).node == "pve1"
    sent = {"target": "pve2", "online": "1", "with-local-disks": "1"}
    assert judge.writes == [("POST", path("qemu", "migrate"), sent)]


# --- firewall --------------------------------------------------------------------------------


@both
async def test_rules_are_made_where_they_are_wanted_and_deleted(
    judge: Judge, client: Client, kind: str
) -> None:
    web = {"action": "ACCEPT", "ruleType": "in", "enable": True, "proto": "tcp", "dport": "80,443"}

    first = await ask(client, "firewall_rule_create", **at(kind), **web, source="0.0.0.0/0")
    second = await ask(
        client, "firewall_rule_create", **at(kind), action="DROP", ruleType="in", pos=1
    )
    listed = await ask(client, "firewall_rules_list", **at(kind))
    stale = await refused(client, "firewall_rule_delete", **at(kind), pos=0, digest="0" * 40)
    deleted = await ask(client, "firewall_rule_delete", **at(kind), pos=0, digest=listed["digest"])
    left = await ask(client, "firewall_rules_list", **at(kind))
    options = await ask(client, "firewall_options", **at(kind))

    assert (first["pos"], second["pos"]) == (0, 1)
    assert [(each["pos"], each["action"]) for each in listed["rules"]] == [
        (0, "ACCEPT"),
        (1, "DROP"),
    ]
    assert all(each["enabled"] for each in listed["rules"])
    assert "changed" in stale.lower()
    assert deleted["rule"]["dport"] == "80,443"
    assert [each["action"] for each in left["rules"]] == ["DROP"]
    assert options["defaults"]["enable"] == "0"
    assert len(options["no_effect_because"]) >= 2
    made = {"type": "in", "action": "ACCEPT", "enable": "1", "proto": "tcp", "dport": "80,443"}
    rules = path(kind, "firewall/rules")
    assert judge.writes[0] == ("POST", rules, made | {"source": "0.0.0.0/0"})
    assert [write[:2] for write in judge.writes[1:]] == [
        ("POST", rules),
        ("PUT", f"{rules}/0"),
        ("DELETE", f"{rules}/0"),
        ("DELETE", f"{rules}/0"),
    ]


# --- backups ---------------------------------------------------------------------------------


@both
async def test_a_backup_that_left_nothing_names_no_volume(
    judge: Judge, client: Client, kind: str
) -> None:
    # fakepve's vzdump ends well and leaves no archive: an older one must not pass for it.
    made = await ask(
        client, "backup_create", **at(kind), storage="shared", mode="snapshot", compress="zstd"
    )

    assert made["state"] == "ok"
    assert "volume" not in made
    sent = {"vmid": str(KINDS[kind]), "storage": "shared", "mode": "snapshot"}
    sent |= {"compress": "zstd", "remove": "0"}
    assert judge.writes == [("POST", "/nodes/pve1/vzdump", sent)]


async def test_a_storage_that_takes_no_backups_is_refused(judge: Judge, client: Client) -> None:
    said = await refused(client, "backup_create", **at("qemu"), storage="local-lvm")

    assert "may not hold backup" in said
    assert judge.writes == []


@both
async def test_backups_are_listed_and_deleted(judge: Judge, client: Client, kind: str) -> None:
    name, place = BACKUPS[KINDS[kind]], {"node": "pve1", "storage": "shared"}

    listed = await ask(client, "backup_list", **place, vmid=KINDS[kind])
    deleted = await ask(client, "backup_delete", **place, volume=f"shared:{name}")
    gone = await ask(client, "backup_delete", **place, volume=f"shared:{name}")

    assert [(each["volume"], each["type"]) for each in listed["backups"]] == [
        (f"shared:{name}", kind)
    ]
    assert (deleted["state"], gone["state"]) == ("ok", "already")
    assert name not in judge.volumes("shared")
    [write] = judge.writes
    assert write[:2] == ("DELETE", f"/nodes/pve1/storage/shared/content/shared:{name}")


async def test_a_container_is_restored(judge: Judge, client: Client) -> None:
    archive = BACKUPS[103].removeprefix("backup/")
    place = {"node": "pve1", "storage": "shared", "archive": archive}

    taken = await refused(client, "backup_restore", **place)
    made = await ask(client, "backup_restore", **place, vmid=101, targetStorage="local-lvm")

    assert "The id 103 belongs to container 103" in taken
    assert made["state"] == "ok"
    assert judge.guest(101).config["rootfs"].startswith("local-lvm:")
    sent = {"ostemplate": f"shared:{BACKUPS[103]}", "restore": "1", "vmid": "101"}
    assert judge.writes == [("POST", "/nodes/pve1/lxc", sent | {"storage": "local-lvm"})]


async def test_a_containers_restore_needs_a_storage_where_local_takes_no_containers(
    judge: Judge, client: Client
) -> None:
    archive = {"archive": BACKUPS[103].removeprefix("backup/"), "vmid": 101}

    # Where the backup does not tell its old storage (fakepve knows no such call), Proxmox would
    # take "local", wherever the container was before.
    said = await refused(client, "backup_restore", node="pve1", storage="shared", **archive)

    assert "Storage local on pve1 may not hold rootdir" in said
    assert "Fit for it: local-lvm, shared" in said
    assert judge.writes == []
    assert judge.guest(101) is None


async def test_a_vms_restore_is_asked_for(judge: Judge, client: Client) -> None:
    archive = BACKUPS[100].removeprefix("backup/")

    # fakepve restores containers only, and says so.
    said = await refused(
        client, "backup_restore", node="pve1", storage="shared", archive=archive, vmid=101
    )

    assert "restoring an archive is not supported" in said
    sent = {"archive": f"shared:{BACKUPS[100]}", "vmid": "101"}
    assert judge.writes == [("POST", "/nodes/pve1/qemu", sent)]


# --- commands --------------------------------------------------------------------------------


async def test_a_command_goes_to_the_agent_as_a_list(judge: Judge, client: Client) -> None:
    call = {"node": "pve1", "vmid": 100, "type": "qemu", "command": "hostname"}

    result = await ask(client, "execute_vm_command", **call)

    assert result["exited"] is True
    [(command, given), *_] = judge.guest(100).agent_requests
    assert (command, given["command"]) == ("exec", ["/bin/sh", "-c", "hostname"])


async def test_a_container_has_no_agent(judge: Judge, client: Client) -> None:
    said = await refused(client, "execute_vm_command", **at("lxc"), command="hostname")

    assert "pct exec 103" in said
    assert judge.writes == []
