from typing import Any

import pytest
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Answer, Cluster, Request
from proxmox_mcp.simulator.state import GIB, Volume
from tests.conftest import NEVER_DONE, Connect, schema_faults, serve
from tests.tools import calls
from tests.wire import answer, refusal, silence

FILE = "vzdump-qemu-100-2025_11_06-14_30_00.vma.zst"
VOLID = f"backup-storage:backup/{FILE}"
OLDER = VOLID.replace("11_06", "11_05")
IN_PBS = "pbs:backup/ct/103/2025-11-06T02:00:00Z"
CONTENT = "/nodes/pve1/storage/backup-storage/content"
"""A pace at which the backup that runs from the start does not end while a test does."""


done = calls.calling("proxmox_backup_")


refused = calls.refusing("proxmox_backup_")


def has_backup(cluster: Cluster, volid: str, vmid: int, ctime: int, **more: Any) -> Volume:
    """Put a backup of a guest as it is now onto a storage, on pve1 if that is not shared."""
    guest = cluster.center.guests.get(vmid)
    node = more.pop("node", "pve1")
    kind = "qemu" if "qemu" in volid else "lxc"
    volume = Volume(volid, "backup", "zst", GIB, ctime, vmid, subtype=kind, **more)
    volume.config = dict(guest.config) if guest else {}
    cluster.center.storages[volid.partition(":")[0]].add(node, volume)
    return volume


def on(cluster: Cluster, storage: str, node: str = "pve1", vmid: int | None = None) -> list[str]:
    volumes = cluster.center.storages[storage].on(node).values()
    return [
        each.volid for each in volumes if each.content == "backup" and vmid in (None, each.vmid)
    ]


# --- making one ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("vmid", "node", "name", "prefix", "size"),
    [
        (100, "pve1", "VM 100 (web-01) on pve1", "vzdump-qemu-100-", 11.2),
        ("web-01", "pve1", "VM 100 (web-01) on pve1", "vzdump-qemu-100-", 11.2),
        (111, "pve3", "container 111 (proxy-01) on pve3", "vzdump-lxc-111-", 2.8),
    ],
)
async def test_a_backup_is_made_on_the_guests_node_and_its_archive_named(
    connect: Connect,
    cluster: Cluster,
    *,
    mode: str,
    vmid: Any,
    node: str,
    name: str,
    prefix: str,
    size: float,
) -> None:
    async with connect(mode=mode) as client:
        end = await done(client, "create", vmid=vmid, storage="backup-storage")

    number = prefix.split("-")[2]
    sent = {
        "vmid": number,
        "storage": "backup-storage",
        "mode": "snapshot",
        "compress": "zstd",
        "remove": "0",
    }
    assert cluster.writes == [("POST", f"/nodes/{node}/vzdump", sent)]
    assert (end["state"], end["done"]) == ("ok", f"{name}: backed up to backup-storage.")
    assert end["volume"].startswith(f"backup-storage:backup/{prefix}")
    assert end["volume"].endswith(".zst")
    assert end["size_gib"] == size
    assert end["volume"] in on(cluster, "backup-storage")
    assert cluster.guest(int(number)).lock is None
    assert cluster.guest(int(number)).status == "running"


async def test_what_is_asked_for_is_sent_and_ends_up_in_the_archive(
    client: Client, cluster: Cluster
) -> None:
    end = await done(
        client,
        "create",
        vmid=103,
        storage="local",
        mode="stop",
        compress="none",
        notes="{{guestname}} ({{vmid}}) before the move",
        protected=True,
    )

    sent = {
        "vmid": "103",
        "storage": "local",
        "mode": "stop",
        "compress": "0",
        "notes-template": "{{guestname}} ({{vmid}}) before the move",
        "protected": "1",
        "remove": "0",
    }
    assert cluster.writes == [("POST", "/nodes/pve1/vzdump", sent)]
    assert end["volume"].endswith(".tar")
    volume = cluster.center.storages["local"].on("pve1")[end["volume"]]
    assert (volume.notes, volume.protected) == ("cache (103) before the move", True)


@pytest.mark.parametrize(("remove", "left"), [(False, 5), (True, 3)])
async def test_older_backups_stay_unless_their_removal_is_asked_for(
    client: Client, cluster: Cluster, *, remove: bool, left: int
) -> None:
    for day in (1, 2):
        has_backup(cluster, VOLID.replace("11_06", f"10_0{day}"), 100, 1_760_000_000 + day)

    end = await done(client, "create", vmid=100, storage="backup-storage", remove=remove)

    assert cluster.writes[0][2]["remove"] == str(int(remove))
    kept = on(cluster, "backup-storage", vmid=100)
    assert len(kept) == left
    assert {end["volume"], VOLID, OLDER} <= {*kept}


async def test_a_backup_to_a_backup_server_is_named_as_it_names_it(
    client: Client, cluster: Cluster
) -> None:
    end = await done(client, "create", vmid=100, storage="pbs")

    assert end["volume"].startswith("pbs:backup/vm/100/")
    assert end["volume"] in on(cluster, "pbs")


@pytest.mark.parametrize("vmid", [100, 103])
@pytest.mark.parametrize(
    ("storage", "why"),
    [
        ("local-lvm", "may not hold backup (it holds images,rootdir)"),
        ("nosuch", "is not on this node, or this token may not see it"),
    ],
)
async def test_an_unfit_storage_is_refused_with_the_fit_ones(
    client: Client, cluster: Cluster, *, vmid: int, storage: str, why: str
) -> None:
    said = await refused(client, "create", vmid=vmid, storage=storage)

    assert f"Storage {storage} on pve1 {why}." in said
    assert "Fit for it: backup-storage, local, pbs. Nothing was changed." in said
    assert cluster.writes == []


@pytest.mark.parametrize("broken", [{"active": 0}, {"enabled": 0, "active": 0}])
async def test_a_storage_that_is_not_there_now_is_refused(
    client: Client, cluster: Cluster, broken: dict[str, int]
) -> None:
    rows = [
        {"storage": "backup-storage", "content": "backup", "active": 1} | broken,
        {"storage": "local", "content": "iso,backup", "active": 1, "enabled": 1},
    ]
    cluster.intercept = lambda request: (
        answer(rows) if request.path == "/nodes/pve1/storage" else None
    )

    said = await refused(client, "create", vmid=100, storage="backup-storage")

    assert "Storage backup-storage on pve1 is not active there. Fit for it: local." in said
    assert cluster.writes == []


@pytest.mark.parametrize(("vmid", "lock"), [(112, "backup"), (103, "snapshot")])
async def test_a_locked_guest_is_refused_with_the_name_of_its_lock(
    client: Client, cluster: Cluster, vmid: int, lock: str
) -> None:
    cluster.guest(vmid).lock = lock

    said = await refused(client, "create", vmid=vmid, storage="backup-storage")

    assert f"is locked ({lock})" in said
    assert f"proxmox_task_list (vmid={vmid}, running=true)" in said
    assert cluster.writes == []


async def test_a_hibernated_vm_is_to_be_resumed_first(client: Client, cluster: Cluster) -> None:
    cluster.guest(107).lock = "suspended"

    said = await refused(client, "create", vmid=107, storage="backup-storage")

    assert "is hibernated, and locked (suspended)" in said
    assert cluster.writes == []


@pytest.mark.parametrize("what", ["create", "list"])
@pytest.mark.parametrize(
    ("vmid", "words"),
    [("cache", "2 guests are called cache"), ("web-1", "Nearest of 12: 100 web-01")],
)
async def test_a_guest_named_wrongly_is_refused(
    client: Client, cluster: Cluster, what: str, vmid: str, words: str
) -> None:
    assert words in await refused(client, what, vmid=vmid, storage="backup-storage")

    assert cluster.writes == []


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"vmid": 100, "node": "pve2"}, 'VM 100 (web-01) on pve1 is not at node="pve2"'),
        ({"vmid": 103, "type": "qemu"}, 'pass node="pve1" and type="lxc"'),
        ({"vmid": 999}, "has the id 999"),
    ],
)
async def test_a_guest_that_is_not_there_is_not_backed_up(
    client: Client, cluster: Cluster, named: dict[str, Any], words: str
) -> None:
    assert words in await refused(client, "create", **named, storage="backup-storage")

    assert cluster.writes == []


@pytest.mark.parametrize(("vmid", "node"), [(100, "pve1"), (103, "pve1")])
async def test_a_lock_that_comes_meanwhile_fails_the_call_with_the_jobs_log(
    client: Client, cluster: Cluster, vmid: int, node: str
) -> None:
    def intercept(request: Request) -> None:
        if request.method == "POST":
            cluster.center.guests[vmid].lock = "migrate"

    cluster.intercept = intercept

    said = await refused(client, "create", vmid=vmid, storage="backup-storage")

    assert f"Task vzdump {vmid} on {node} failed: job errors." in said
    assert f"ERROR: Backup of VM {vmid} failed - " in said
    assert "is locked (migrate)" in said
    assert f"Task id: UPID:{node}:" in said


async def test_an_answer_without_a_task_is_no_success(client: Client, cluster: Cluster) -> None:
    # So it answers when the guest has moved to another node: done is nothing at all.
    cluster.intercept = lambda request: answer("OK") if request.method == "POST" else None

    said = await refused(client, "create", vmid=100, storage="backup-storage")

    assert "named no task" in said
    assert cluster.writes[0][:2] == ("POST", "/nodes/pve1/vzdump")


async def test_warnings_are_a_success_and_come_along(client: Client, cluster: Cluster) -> None:
    def intercept(request: Request) -> Answer | None:
        if "/tasks/UPID" not in request.path:
            return None
        if request.path.endswith("/log"):
            lines = ["INFO: starting", "WARN: no notes", "TASK WARNINGS: 1"]
            return answer([{"n": n, "t": line} for n, line in enumerate(lines, 1)], total=3)
        return answer({"status": "stopped", "exitstatus": "WARNINGS: 1"})

    cluster.intercept = intercept

    end = await done(client, "create", vmid=103, storage="local")

    assert end["state"] == "warnings"
    assert "WARN: no notes" in end["warnings"]


async def test_without_waiting_a_backup_is_a_running_task_without_an_archive(
    client: Client, cluster: Cluster
) -> None:
    cluster.speed = 0.1

    end = await done(client, "create", vmid=100, storage="backup-storage", wait=0)

    assert end["state"] == "running"
    assert end["done"].endswith(
        "accepted, not finished: backed up to backup-storage when the task ends well."
    )
    assert end["next"] == f'proxmox_task_status(upid="{end["upid"]}", wait=300) goes on waiting'
    assert not {"volume", "size_gib"} & {*end}
    assert cluster.guest(100).lock == "backup"


async def test_a_backup_whose_answer_is_lost_is_sent_once_and_found(
    client: Client, cluster: Cluster
) -> None:
    def intercept(request: Request) -> Answer | None:
        if request.method == "GET":
            return None
        cluster._answer(request)
        return silence(596, "Connection timed out")

    cluster.intercept = intercept

    end = await done(client, "create", vmid=100, storage="backup-storage")

    assert end["state"] == "ok"
    assert end["volume"] in on(cluster, "backup-storage", vmid=100)
    assert len(cluster.writes) == 1


async def test_a_listing_that_fails_after_the_backup_says_what_was_accepted(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = lambda request: (
        refusal(500, "storage 'backup-storage' is not online") if request.path == CONTENT else None
    )

    said = await refused(client, "create", vmid=103, storage="backup-storage")

    assert "is not online" in said
    assert "had its change accepted (POST /nodes/pve1/vzdump)" in said
    assert len(cluster.writes) == 1


async def test_an_older_archive_is_never_named_as_the_new_one(
    client: Client, cluster: Cluster
) -> None:
    rows = [{"volid": VOLID, "ctime": 1_762_439_400, "size": GIB, "vmid": 100}]
    cluster.intercept = lambda request: answer(rows) if request.path == CONTENT else None

    end = await done(client, "create", vmid=100, storage="backup-storage")

    assert end["state"] == "ok"
    assert not {"volume", "size_gib"} & {*end}


async def test_a_cancelled_call_logs_the_task_that_goes_on_without_it(
    connect: Connect, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    line = await calls.cancelled(
        connect, cluster, caplog, "proxmox_backup_create", vmid=100, storage="backup-storage"
    )

    task = next(each for each in cluster.center.tasks.newest() if each.type == "vzdump")
    assert (line["tool"], line["outcome"]) == ("proxmox_backup_create", "cancelled")
    assert (line["guest"], line["upid"]) == ("100", task.upid)
    assert task.end is None


# --- listing them ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("speed", [NEVER_DONE])
async def test_backups_of_all_storages_are_listed_newest_first_with_their_size(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    async with connect(mode=mode) as client:
        page = await done(client, "list")

    web = {"vmid": 100, "type": "qemu", "size_gib": 11, "notes": "web-01"}
    assert page == {
        "total": 3,
        "total_gib": 25.01,
        "backups": [
            {"volume": VOLID, "created": "2025-11-06T14:30:00Z"} | web,
            {
                "volume": IN_PBS,
                "vmid": 103,
                "type": "lxc",
                "created": "2025-11-06T02:00:00Z",
                "size_gib": 3,
            },
            {"volume": OLDER, "created": "2025-11-05T14:30:00Z"} | web,
        ],
    }
    assert cluster.writes == []


@pytest.mark.parametrize("speed", [NEVER_DONE])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"storage": "backup-storage"}, [VOLID, OLDER]),
        ({"storage": "pbs"}, [IN_PBS]),
        ({"vmid": 103}, [IN_PBS]),
        ({"vmid": "web-01"}, [VOLID, OLDER]),
        ({"node": "pve1", "storage": "backup-storage", "vmid": 100}, [VOLID, OLDER]),
        ({"node": "pve2", "storage": "local"}, []),
        ({"vmid": 999}, []),
    ],
)
async def test_backups_are_filtered_by_storage_node_and_guest(
    client: Client, filters: dict[str, Any], expected: list[str]
) -> None:
    page = await done(client, "list", **filters)

    assert [row["volume"] for row in page["backups"]] == expected
    assert page["total"] == len(expected)
    assert ("notice" in page) == (not expected)


@pytest.mark.parametrize("speed", [NEVER_DONE])
async def test_pages_show_every_backup_once_and_the_same_total(client: Client) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = await done(client, "list", limit=1, **cursor)
        seen += [row["volume"] for row in page["backups"]]
        cursor = {"cursor": page["next_cursor"]} if "next_cursor" in page else {}
        assert (page["total"], page["total_gib"]) == (3, 25.01)

    assert seen == [VOLID, IN_PBS, OLDER]
    assert cursor == {}


async def test_a_cursor_that_nobody_gave_is_refused(client: Client, cluster: Cluster) -> None:
    assert "next_cursor of an earlier answer" in await refused(client, "list", cursor="nonsense")

    assert cluster.requests == []


@pytest.mark.parametrize("speed", [NEVER_DONE])
async def test_protection_verification_and_encryption_are_shown(
    client: Client, cluster: Cluster
) -> None:
    row = {
        "volid": "pbs:backup/vm/100/2025-11-06T13:30:00Z",
        "ctime": 1_762_435_800,
        "size": GIB,
        "vmid": 100,
        "protected": 1,
        "encrypted": "5c:1a",
        "verification": {"state": "ok", "upid": "UPID:..."},
        "notes": "nightly\x1b[31m",
    }
    cluster.intercept = lambda request: (
        answer([row]) if request.path.endswith("/storage/pbs/content") else None
    )

    page = await done(client, "list", storage="pbs")

    assert page["backups"] == [
        {
            "volume": row["volid"],
            "vmid": 100,
            "type": "qemu",
            "created": "2025-11-06T13:30:00Z",
            "size_gib": 1,
            "protected": True,
            "verified": "ok",
            "encrypted": True,
            "notes": "nightly",
        }
    ]


@pytest.mark.parametrize("speed", [NEVER_DONE])
async def test_the_storages_of_an_offline_node_are_named_and_shared_ones_asked_elsewhere(
    client: Client, cluster: Cluster
) -> None:
    has_backup(
        cluster, "local:backup/vzdump-lxc-111-2025_11_06-00_00_00.tar.zst", 111, 1, node="pve3"
    )
    cluster.take_offline("pve1")
    cluster.take_offline("pve3")

    page = await done(client, "list")

    assert page["storages_missing"] == ["local@pve1", "local@pve3"]
    assert [row["volume"] for row in page["backups"]] == [VOLID, IN_PBS, OLDER]
    asked = [request.path for request in cluster.requests if request.path.endswith("/content")]
    assert sorted(asked) == [
        "/nodes/pve2/storage/backup-storage/content",
        "/nodes/pve2/storage/local/content",
        "/nodes/pve2/storage/pbs/content",
    ]


@pytest.mark.parametrize("speed", [NEVER_DONE])
async def test_a_storage_that_does_not_answer_is_named_and_takes_nothing_down(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = lambda request: (
        refusal(500, "pbs: error fetching datastores - 500 Can't connect")
        if request.path.endswith("/storage/pbs/content")
        else None
    )

    page = await done(client, "list")

    assert page["storages_missing"] == ["pbs"]
    assert [row["volume"] for row in page["backups"]] == [VOLID, OLDER]
    assert "error fetching datastores" in await refused(client, "list", storage="pbs")


@pytest.mark.parametrize("what", ["list", "delete"])
async def test_a_storage_of_each_node_needs_the_node(
    client: Client, cluster: Cluster, what: str
) -> None:
    cluster.take_offline("pve2")  # where it may lie all the same
    cluster.take_offline("pve3")
    archive = {"volume": FILE} if what == "delete" else {}

    said = await refused(client, what, storage="local", **archive)

    assert "Storage local is not shared: pass node as well, one of pve1, pve2, pve3." in said
    assert cluster.writes == []


@pytest.mark.parametrize("what", ["list", "delete"])
@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"storage": "nosuch"}, "There is no storage nosuch that is available for backups"),
        ({"storage": "local-lvm"}, "There is no storage local-lvm that is available for backups"),
        (
            {"storage": "local", "node": "pve3"},
            "There is no storage local that is available on pve3 for backups",
        ),
    ],
)
async def test_a_storage_without_backups_is_an_error_and_no_empty_list(
    client: Client, cluster: Cluster, what: str, place: dict[str, str], words: str
) -> None:
    cluster.take_offline("pve3")
    archive = {"volume": FILE} if what == "delete" else {}

    said = await refused(client, what, **place, **archive)

    assert words in said
    assert "proxmox_get_storage lists them" in said
    assert cluster.writes == []


async def test_an_empty_list_says_which_privileges_may_be_missing(connect: Connect) -> None:
    async with connect(credentials=TOKENS["audit"]) as client:
        page = await done(client, "list")

    assert (page["total"], page["backups"]) == (0, [])
    assert "Datastore.AllocateSpace" in page["notice"]
    assert "VM.Backup" in page["notice"]


# --- restoring -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    "archive",
    [
        {"archive": FILE, "storage": "backup-storage"},
        {"archive": f"backup/{FILE}", "storage": "backup-storage"},
        {"archive": VOLID},
        {"archive": VOLID, "storage": "backup-storage"},
    ],
)
async def test_a_vm_is_restored_to_a_new_id_however_its_archive_is_named(
    connect: Connect, cluster: Cluster, mode: str, archive: dict[str, str]
) -> None:
    async with connect(mode=mode) as client:
        end = await done(client, "restore", node="pve1", vmid=101, force=False, **archive)
        shown = await client.call_tool("proxmox_get_vm_status", {"vmid": 101})

    assert cluster.writes == [("POST", "/nodes/pve1/qemu", {"archive": VOLID, "vmid": "101"})]
    assert (end["state"], end["done"]) == ("ok", f"Guest 101 on pve1: restored from {VOLID}.")
    assert cluster.center.tasks.all[end["upid"]].status == "OK"
    guest = cluster.guest(101)
    assert (guest.kind, guest.node, guest.name) == ("qemu", "pve1", "web-01")
    assert (guest.status, guest.lock) == ("stopped", None)
    assert not shown.is_error


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    "archive",
    [
        {"archive": IN_PBS},
        {"archive": "ct/103/2025-11-06T02:00:00Z", "storage": "pbs"},
        {"archive": "backup/ct/103/2025-11-06T02:00:00Z", "storage": "pbs"},
    ],
)
async def test_a_container_is_told_by_its_archives_name_and_restored_as_one(
    connect: Connect, cluster: Cluster, mode: str, archive: dict[str, str]
) -> None:
    async with connect(mode=mode) as client:
        end = await done(client, "restore", node="pve2", vmid=150, **archive)

    sent = {"ostemplate": IN_PBS, "restore": "1", "vmid": "150", "storage": "local-lvm"}
    assert cluster.writes == [("POST", "/nodes/pve2/lxc", sent)]
    assert end["done"] == f"Guest 150 on pve2: restored from {IN_PBS}."
    guest = cluster.guest(150)
    assert (guest.kind, guest.node, guest.name) == ("lxc", "pve2", "cache")


@pytest.mark.parametrize(
    ("volid", "path"),
    [
        ("backup-storage:backup/vzdump-lxc-103-2025_11_06-02_00_00.tar.zst", "/nodes/pve1/lxc"),
        ("pbs:backup/vm/100/2025-11-06T13:30:00Z", "/nodes/pve1/qemu"),
    ],
)
async def test_the_kind_is_in_the_name_on_either_sort_of_storage(
    client: Client, cluster: Cluster, volid: str, path: str
) -> None:
    has_backup(cluster, volid, 100, 5).subtype = path.rpartition("/")[2]

    await done(client, "restore", node="pve1", archive=volid, vmid=150)

    assert cluster.writes[0][1] == path
    assert cluster.guest(150).kind == path.rpartition("/")[2]


async def test_a_name_that_two_guests_bear_from_now_on_means_neither(
    client: Client, cluster: Cluster
) -> None:
    await client.call_tool("proxmox_get_vm_status", {"vmid": "web-01"})

    await done(client, "restore", node="pve1", archive=VOLID, vmid=101)
    cluster.center.broadcast_turn = -1  # names reach the list with pvestatd's next round

    said = await refused(client, "create", vmid="web-01", storage="backup-storage")
    assert "2 guests are called web-01" in said
    assert len(cluster.writes) == 1


async def test_without_vmid_the_original_id_is_used_where_it_is_free(
    client: Client, cluster: Cluster
) -> None:
    del cluster.center.guests[100]

    end = await done(client, "restore", node="pve1", archive=VOLID)

    assert cluster.writes == [("POST", "/nodes/pve1/qemu", {"archive": VOLID, "vmid": "100"})]
    assert end["done"] == f"Guest 100 on pve1: restored from {VOLID}."
    assert cluster.guest(100).name == "web-01"


@pytest.mark.parametrize(
    ("archive", "key", "path", "disk"),
    [(VOLID, "archive", "qemu", "scsi0"), (IN_PBS, "ostemplate", "lxc", "rootfs")],
)
async def test_storage_start_and_unique_are_sent_and_take_effect(
    client: Client, cluster: Cluster, *, archive: str, key: str, path: str, disk: str
) -> None:
    source = cluster.guest(100 if path == "qemu" else 103)

    await done(
        client,
        "restore",
        node="pve1",
        archive=archive,
        vmid=150,
        target_storage="local-lvm",
        start=True,
        unique=True,
    )

    sent = {key: archive, "vmid": "150", "storage": "local-lvm", "start": "1", "unique": "1"}
    sent |= {"restore": "1"} if path == "lxc" else {}
    assert cluster.writes == [("POST", f"/nodes/pve1/{path}", sent)]
    guest = cluster.guest(150)
    assert guest.running
    assert guest.config[disk].startswith("local-lvm:vm-150-disk-0")
    assert guest.config["net0"] != source.config["net0"]


@pytest.mark.parametrize(
    ("archive", "vmid", "owner"),
    [
        (VOLID, None, "VM 100 (web-01) on pve1"),
        (VOLID, 111, "container 111 (proxy-01) on pve3"),
        (IN_PBS, None, "container 103 (cache) on pve1"),
    ],
)
async def test_an_id_that_is_taken_is_refused_with_whose_it_is(
    client: Client, cluster: Cluster, archive: str, vmid: int | None, owner: str
) -> None:
    named = {} if vmid is None else {"vmid": vmid}

    said = await refused(client, "restore", node="pve1", archive=archive, **named)

    assert f"belongs to {owner}: pass another vmid, or force=true to erase" in said
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("archive", "vmid", "path", "sent"),
    [
        (VOLID, 100, "qemu", {"archive": VOLID, "vmid": "100", "force": "1"}),
        (
            IN_PBS,
            103,
            "lxc",
            {
                "ostemplate": IN_PBS,
                "restore": "1",
                "vmid": "103",
                "force": "1",
                "storage": "local-lvm",
            },
        ),
    ],
)
async def test_force_over_a_stopped_guest_erases_it_and_says_so(
    client: Client, cluster: Cluster, *, archive: str, vmid: int, path: str, sent: dict[str, str]
) -> None:
    old = cluster.guest(vmid)
    old.status, old.tags = "stopped", "of-today"
    extra = f"local-lvm:vm-{vmid}-disk-7"
    old.config["mp0" if path == "lxc" else "scsi7"] = f"{extra},size=1G"
    storage = cluster.center.storages["local-lvm"]
    storage.add("pve1", Volume(extra, "images", "raw", GIB, 1, vmid))

    end = await done(client, "restore", node="pve1", archive=archive, vmid=vmid, force=True)

    assert cluster.writes == [("POST", f"/nodes/pve1/{path}", sent)]
    assert end["done"] == f"Guest {vmid} on pve1: restored from {archive}, over what was there."
    new = cluster.guest(vmid)
    assert new is not old
    assert new.tags != "of-today"
    assert extra not in storage.on("pve1")


@pytest.mark.parametrize(
    ("archive", "vmid", "node", "changes", "words"),
    [
        (VOLID, 100, "pve1", {}, "VM 100 (web-01) on pve1 is running: stop it first"),
        (VOLID, 109, "pve3", {}, "VM 109 (desk-01) on pve3 is paused: stop it first"),
        (IN_PBS, 103, "pve1", {}, "container 103 (cache) on pve1 is running: stop it first"),
        (VOLID, 108, "pve3", {"status": "stopped"}, "VM 108 (vault-01) on pve3 is protected"),
        (
            IN_PBS,
            103,
            "pve1",
            {"status": "stopped", "protection": True},
            "container 103 (cache) on pve1 is protected",
        ),
        (VOLID, 112, "pve2", {}, "VM 112 (build-01) on pve2 is locked (backup)"),
        (VOLID, 107, "pve2", {"lock": "suspended"}, "is hibernated, and locked (suspended)"),
        (VOLID, 103, "pve1", {"status": "stopped"}, "is not a qemu on pve1"),
        (VOLID, 107, "pve1", {}, "is not a qemu on pve1: it cannot be overwritten"),
    ],
)
async def test_even_force_overwrites_nothing_that_is_in_use_or_kept(
    client: Client,
    cluster: Cluster,
    *,
    archive: str,
    vmid: int,
    node: str,
    changes: dict[str, Any],
    words: str,
) -> None:
    for name, value in changes.items():
        setattr(cluster.guest(vmid), name, value)
    before = cluster.guest(vmid)

    said = await refused(client, "restore", node=node, archive=archive, vmid=vmid, force=True)

    assert words in said
    assert cluster.writes == []
    assert cluster.guest(vmid) is before


@pytest.mark.parametrize("speed", [NEVER_DONE])
async def test_an_unknown_archive_is_refused_with_the_newest_there_are(
    client: Client, cluster: Cluster
) -> None:
    unknown = FILE.replace("2025", "2024")

    said = await refused(client, "restore", node="pve1", archive=unknown, storage="backup-storage")
    none = await refused(client, "restore", node="pve1", archive=FILE, storage="local")

    assert f"There is no backup backup-storage:backup/{unknown}" in said
    assert f"Newest of 2 on backup-storage: {VOLID}, {OLDER}. Nothing was changed." in said
    assert "Newest of 0 on local: no backup at all" in none
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"archive": FILE}, "Pass storage as well: a bare file name does not say where it lies"),
        ({"archive": VOLID, "storage": "pbs"}, "names the storage backup-storage, and storage is"),
        ({"archive": "../../access/users", "storage": "local"}, "archive is not of the right form"),
        ({"archive": "local:backup/../x"}, "archive is not of the right form"),
        ({"archive": "local:backup/x?a=b"}, "archive is not of the right form"),
    ],
)
async def test_an_archive_that_is_named_badly_is_refused_without_a_request(
    client: Client, cluster: Cluster, arguments: dict[str, str], words: str
) -> None:
    assert words in await refused(client, "restore", node="pve1", **arguments)

    assert cluster.requests == []


async def test_an_archive_that_does_not_say_whose_it_is_needs_no_guessing(
    client: Client, cluster: Cluster
) -> None:
    odd = {"volid": "backup-storage:backup/odd.vma", "ctime": 1, "size": 1}
    cluster.intercept = lambda request: answer([odd]) if request.path == CONTENT else None

    said = await refused(client, "restore", node="pve1", archive=odd["volid"])

    assert "backup-storage:backup/odd.vma does not say whose backup it is" in said
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("archive", "content", "fit"),
    [(VOLID, "images", "local, local-lvm, shared-vms"), (IN_PBS, "rootdir", "local, local-lvm")],
)
async def test_a_target_storage_that_may_not_hold_the_disks_is_refused(
    client: Client, cluster: Cluster, archive: str, content: str, fit: str
) -> None:
    said = await refused(
        client, "restore", node="pve1", archive=archive, vmid=150, target_storage="pbs"
    )

    assert f"Storage pbs on pve1 may not hold {content} (it holds backup)" in said
    assert f"Fit for it: {fit}" in said
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("node", "words"),
    [("pve3", "No route to host"), ("pve9", "There is no node of this name")],
)
async def test_a_node_that_is_not_there_restores_nothing(
    client: Client, cluster: Cluster, node: str, words: str
) -> None:
    cluster.take_offline("pve3")

    assert words in await refused(client, "restore", node=node, archive=VOLID, vmid=150)

    assert cluster.writes == []


async def test_an_archive_that_goes_meanwhile_is_refused(client: Client, cluster: Cluster) -> None:
    def intercept(request: Request) -> None:
        if request.method == "POST":
            cluster.center.storages["backup-storage"].on("").pop(VOLID)

    cluster.intercept = intercept

    said = await refused(client, "restore", node="pve1", archive=VOLID, vmid=150)

    assert f"volume '{VOLID}' does not exist" in said
    assert 150 not in cluster.center.guests


async def test_a_restore_that_is_stopped_fails_the_call_with_its_log(
    client: Client, cluster: Cluster
) -> None:
    calls.stopped_when_looked_at(cluster, "qmrestore")

    said = await refused(client, "restore", node="pve1", archive=VOLID, vmid=150)

    assert "Task qmrestore 150 on pve1 failed: received interrupt." in said
    assert "Last lines of its log:\n  restore vma archive" in said
    assert "Task id: UPID:pve1:" in said


async def test_without_waiting_a_restore_is_told_as_a_running_task(
    client: Client, cluster: Cluster
) -> None:
    cluster.speed = 0.1

    end = await done(client, "restore", node="pve1", archive=VOLID, vmid=150, wait=0)

    assert end["state"] == "running"
    assert end["done"].startswith("Guest 150 on pve1: accepted, not finished")
    assert cluster.guest(150).lock == "create"


@pytest.mark.parametrize("archive", [VOLID, IN_PBS])
async def test_a_restore_whose_answer_is_lost_is_sent_once_and_found(
    client: Client, cluster: Cluster, archive: str
) -> None:
    def intercept(request: Request) -> Answer | None:
        if request.method == "GET":
            return None
        cluster._answer(request)
        return silence(596, "Connection timed out")

    cluster.intercept = intercept

    end = await done(client, "restore", node="pve1", archive=archive, vmid=150)

    assert end["state"] == "ok"
    assert cluster.guest(150).lock is None
    assert len(cluster.writes) == 1


# --- deleting them ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("named", "volid"),
    [
        ({"volume": VOLID}, VOLID),
        ({"volume": FILE, "storage": "backup-storage", "node": "pve1"}, VOLID),
        ({"volume": IN_PBS}, IN_PBS),
        ({"volume": "ct/103/2025-11-06T02:00:00Z", "storage": "pbs"}, IN_PBS),
    ],
)
async def test_a_backup_is_deleted_however_it_is_named(
    connect: Connect, cluster: Cluster, *, mode: str, named: dict[str, str], volid: str
) -> None:
    storage = volid.partition(":")[0]
    assert volid in on(cluster, storage)

    async with connect(mode=mode) as client:
        end = await done(client, "delete", **named)

    assert cluster.writes == [("DELETE", f"/nodes/pve1/storage/{storage}/content/{volid}", {})]
    assert (end["state"], end["done"]) == ("ok", f"{volid}: deleted.")
    assert cluster.center.tasks.all[end["upid"]].status == "OK"
    assert volid not in on(cluster, storage)
    assert OLDER in on(cluster, "backup-storage")


async def test_a_backup_on_a_nodes_own_storage_is_deleted_on_that_node_only(
    client: Client, cluster: Cluster
) -> None:
    volid = "local:backup/vzdump-lxc-111-2025_11_06-00_00_00.tar.zst"
    for node in ("pve1", "pve3"):
        has_backup(cluster, volid, 111, 1, node=node)

    await done(client, "delete", volume=volid, node="pve3")

    assert cluster.writes == [("DELETE", f"/nodes/pve3/storage/local/content/{volid}", {})]
    assert on(cluster, "local", "pve3") == []
    assert on(cluster, "local", "pve1") == [volid]


async def test_a_protected_backup_is_refused_with_the_way_to_unprotect_it(
    client: Client, cluster: Cluster
) -> None:
    cluster.center.storages["backup-storage"].on("")[VOLID].protected = True

    said = await refused(client, "delete", volume=VOLID)

    assert f"{VOLID} is protected" in said
    assert f"`pvesh set {CONTENT}/{VOLID} --protected 0`" in said
    assert "nothing was deleted" in said
    assert cluster.writes == []


async def test_a_protection_that_comes_meanwhile_fails_the_call(
    client: Client, cluster: Cluster
) -> None:
    def intercept(request: Request) -> None:
        if request.method == "DELETE":
            cluster.center.storages["backup-storage"].on("")[VOLID].protected = True

    cluster.intercept = intercept

    said = await refused(client, "delete", volume=VOLID)

    assert "failed: cannot remove protected volume" in said
    assert "Task id: UPID:pve1:" in said
    assert VOLID in on(cluster, "backup-storage")


@pytest.mark.parametrize("speed", [NEVER_DONE])
async def test_deleting_what_is_not_there_is_already_so_and_names_the_newest(
    client: Client, cluster: Cluster
) -> None:
    unknown = VOLID.replace("2025", "2024")

    end = await done(client, "delete", volume=unknown)

    assert end["state"] == "already"
    assert f"There is no backup {unknown} that this token may see" in end["done"]
    assert f"Newest of 2 on backup-storage: {VOLID}, {OLDER}. Nothing was changed." in end["done"]
    assert cluster.writes == []


async def test_a_backup_that_the_token_cannot_see_is_not_claimed_to_be_gone(
    connect: Connect, cluster: Cluster
) -> None:
    async with connect(credentials=TOKENS["audit"]) as client:
        end = await done(client, "delete", volume=VOLID)

    assert end["state"] == "already"
    assert "that this token may see" in end["done"]
    assert (
        "Seeing a backup takes Datastore.AllocateSpace on its storage and VM.Backup"
        in end["notice"]
    )
    assert VOLID in on(cluster, "backup-storage")


async def test_without_waiting_a_deletion_is_told_as_a_running_task(
    client: Client, cluster: Cluster
) -> None:
    cluster.speed = 0.1

    end = await done(client, "delete", volume=VOLID, wait=0)

    assert end["state"] == "running"
    assert end["done"].startswith(f"{VOLID}: accepted, not finished: deleted when")


async def test_a_deletion_whose_answer_is_lost_is_sent_once_and_said_to_be_open(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = lambda request: (
        silence(596, "Connection timed out") if request.method == "DELETE" else None
    )

    said = await refused(client, "delete", volume=VOLID)

    assert "it may have happened" in said
    assert cluster.writes == [("DELETE", f"{CONTENT}/{VOLID}", {})]


@pytest.mark.parametrize("version", ["7.4", "8.4", "9.0", "9.2"])
async def test_every_supported_version_backs_up_restores_and_deletes(version: str) -> None:
    cluster = Cluster(version=version, speed=500)
    async with Client(serve(cluster)) as client:
        for vmid in (100, 103):
            named = {"vmid": vmid, "storage": "backup-storage", "notes": "{{guestname}}"}
            volume = (await done(client, "create", **named, protected=False))["volume"]
            shown = await done(client, "list", vmid=vmid, storage="backup-storage")
            assert volume == shown["backups"][0]["volume"]
            restored = {"archive": volume, "vmid": vmid + 100, "unique": True, "start": True}
            await done(client, "restore", node="pve1", **restored)
            assert cluster.guest(vmid + 100).running
            assert (await done(client, "delete", volume=volume))["state"] == "ok"
    assert schema_faults(cluster.requests) == []
