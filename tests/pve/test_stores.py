"""Where backups lie and what a storage may hold, before anything is sent to it."""

from typing import Any

import pytest

from proxmox_mcp import simulator
from proxmox_mcp.pve import stores
from proxmox_mcp.pve.bridge import target
from proxmox_mcp.pve.errors import NotFound, Refused
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.simulator.seed import SAMPLE_BACKUP
from tests.conftest import NEVER_DONE
from tests.pve.scripted import Wire, data, form, pve_over

OLDER = SAMPLE_BACKUP.replace("11_06", "11_05")
IN_PBS = "pbs:backup/ct/103/2025-11-06T02:00:00Z"


@pytest.fixture
def speed() -> float:
    """The backup that runs from the start goes on, and is not yet among backups."""
    return NEVER_DONE


@pytest.mark.parametrize(
    ("volid", "kind"),
    [
        (SAMPLE_BACKUP, "qemu"),
        ("local:backup/vzdump-lxc-103-2025_11_06-02_00_00.tar.zst", "lxc"),
        ("vzdump-lxc-103-2025_11_06-02_00_00.tar.gz", "lxc"),
        ("pbs:backup/vm/100/2025-11-06T02:00:00Z", "qemu"),
        (IN_PBS, "lxc"),
        ("pbs:backup/host/pve1/2025-11-06T02:00:00Z", None),
        ("local:backup/vzdump-openvz-103.tar", None),
        ("local:iso/debian.iso", None),
        ("vzdump-qemu.vma", None),
        ("pbs:backup/vm/abc/2025-11-06T02:00:00Z", None),
        ("", None),
    ],
)
def test_the_kind_of_a_backup_stands_in_its_name(volid: str, kind: str | None) -> None:
    assert stores.kind_of(volid) == kind


FILE = "vzdump-qemu-100-2025_11_06-14_30_00.vma.zst"


@pytest.mark.parametrize(
    ("archive", "storage", "volid"),
    [
        (FILE, "backup-storage", SAMPLE_BACKUP),
        (f"backup/{FILE}", "backup-storage", SAMPLE_BACKUP),
        (SAMPLE_BACKUP, None, SAMPLE_BACKUP),
        (SAMPLE_BACKUP, "backup-storage", SAMPLE_BACKUP),
        (IN_PBS, None, IN_PBS),
        ("ct/103/2025-11-06T02:00:00Z", "pbs", IN_PBS),
        ("backup/ct/103/2025-11-06T02:00:00Z", "pbs", IN_PBS),
    ],
)
def test_a_file_name_becomes_a_volume_id(archive: str, storage: str | None, volid: str) -> None:
    assert stores.volume_id(archive, storage) == volid


def test_a_bare_file_name_needs_its_storage() -> None:
    with pytest.raises(Refused, match="Pass storage as well: a bare file name does not say"):
        stores.volume_id(FILE, None)


def test_a_volume_id_on_another_storage_is_refused() -> None:
    with pytest.raises(Refused, match="names the storage backup-storage, and storage is local"):
        stores.volume_id(SAMPLE_BACKUP, "local")


async def test_a_volume_is_found_below_its_own_storage(pve: Pve) -> None:
    assert target(stores.volume(pve, "pve2", SAMPLE_BACKUP).delete) == (
        "DELETE",
        f"/nodes/pve2/storage/backup-storage/content/{SAMPLE_BACKUP}",
    )


# --- what a storage may hold -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("storage", "content"),
    [("local-lvm", "images"), ("local", "backup"), ("pbs", "backup"), ("shared-vms", "rootdir")],
)
async def test_a_storage_that_holds_it_is_let_through(
    pve: Pve, cluster: simulator.Cluster, storage: str, content: str
) -> None:
    await stores.must_hold(pve, "pve1", storage, content)

    assert [(each.method, each.path) for each in cluster.requests] == [
        ("GET", "/nodes/pve1/storage")
    ]


async def test_a_storage_that_may_not_hold_it_is_refused_with_those_that_may(pve: Pve) -> None:
    with pytest.raises(Refused) as caught:
        await stores.must_hold(pve, "pve1", "local-lvm", "backup")

    assert str(caught.value) == (
        "Storage local-lvm on pve1 may not hold backup (it holds images,rootdir). Fit for it:"
        " backup-storage, local, pbs. Nothing was changed."
    )


async def test_a_storage_that_is_not_there_is_refused_with_those_that_are(pve: Pve) -> None:
    with pytest.raises(Refused) as caught:
        await stores.must_hold(pve, "pve2", "nowhere", "images")

    assert "Storage nowhere on pve2 is not on this node, or this token may not see it" in str(
        caught.value
    )
    assert "Fit for it: local, local-lvm, shared-vms." in str(caught.value)


def entry(name: str, content: str, **more: Any) -> dict[str, Any]:
    return {"storage": name, "content": content, "active": 1, "enabled": 1} | more


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (entry("nas", "backup", active=0), "is not active there. Fit for it: other."),
        (entry("nas", "backup", enabled=0), "is not active there. Fit for it: other."),
        (entry("nas", "iso"), r"may not hold backup \(it holds iso\)"),
        (entry("nas", "backups"), r"may not hold backup \(it holds backups\)"),
    ],
)
async def test_why_a_storage_is_unfit_is_told(row: dict[str, Any], why: str) -> None:
    pve = await pve_over(Wire(data([row, entry("other", "iso,backup")])))

    with pytest.raises(Refused, match=f"Storage nas on pve1 {why}"):
        await stores.must_hold(pve, "pve1", "nas", "backup")


async def test_where_nothing_is_fit_that_is_said() -> None:
    pve = await pve_over(Wire(data([])))

    with pytest.raises(Refused, match=r"Fit for it: none\."):
        await stores.must_hold(pve, "pve1", "nas", "backup")


async def test_a_storage_that_does_not_say_whether_it_is_enabled_is() -> None:
    row = entry("nas", "backup")
    del row["enabled"]
    wire = Wire(data([row]))

    await stores.must_hold(await pve_over(wire), "pve1", "nas", "backup")

    assert wire.asked == ["GET /nodes/pve1/storage"]


# --- where backups lie -------------------------------------------------------------------------

EVERYWHERE = {
    "local@pve1": "pve1", "backup-storage": "pve1", "pbs": "pve1",
    "local@pve2": "pve2", "local@pve3": "pve3",
}  # fmt: skip


@pytest.mark.parametrize(
    ("storage", "node", "places"),
    [
        (None, None, EVERYWHERE),
        ("pbs", None, {"pbs": "pve1"}),
        ("pbs", "pve3", {"pbs": "pve3"}),
        ("local", "pve2", {"local@pve2": "pve2"}),
        (None, "pve2", {"local@pve2": "pve2", "backup-storage": "pve2", "pbs": "pve2"}),
    ],
)
async def test_each_storage_is_asked_once(
    pve: Pve, storage: str | None, node: str | None, places: dict[str, str]
) -> None:
    assert await stores.where_backups_lie(pve, storage, node) == (places, [])


async def test_a_shared_storage_is_asked_on_a_node_that_is_up_and_others_are_named(
    pve: Pve, cluster: simulator.Cluster
) -> None:
    cluster.take_offline("pve2")

    places, away = await stores.where_backups_lie(pve, None, None)

    assert places == {name: at for name, at in EVERYWHERE.items() if at != "pve2"}
    assert away == ["local@pve2"]


async def test_a_storage_of_each_node_needs_the_node(pve: Pve) -> None:
    with pytest.raises(Refused, match="local is not shared: pass node as well, one of pve1, pve2,"):
        await stores.where_backups_lie(pve, "local", None)


@pytest.mark.parametrize(
    ("storage", "node", "said"),
    [
        ("nowhere", None, "There is no storage nowhere that is available for backups"),
        ("local-lvm", None, "There is no storage local-lvm that is available for backups"),
        ("pbs", "pve9", "There is no storage pbs that is available on pve9 for backups"),
        (None, "pve9", "There is no storage for backups that is available on pve9"),
    ],
)
async def test_a_storage_without_backups_is_not_found(
    pve: Pve, storage: str | None, node: str | None, said: str
) -> None:
    with pytest.raises(NotFound) as caught:
        await stores.where_backups_lie(pve, storage, node)

    assert said in str(caught.value)
    assert "proxmox_get_storage lists them" in str(caught.value)


# --- the backups themselves --------------------------------------------------------------------


async def test_backups_are_asked_for_as_such_and_of_one_guest() -> None:
    wire = Wire(data([{"volid": SAMPLE_BACKUP}]))
    pve = await pve_over(wire)

    rows = await stores.backups(pve, "pve1", "backup-storage", 100)

    assert rows == [{"volid": SAMPLE_BACKUP}]
    assert wire.asked == ["GET /nodes/pve1/storage/backup-storage/content"]
    assert form(wire.sent[0]) == {"content": "backup", "vmid": "100"}


async def test_without_a_guest_the_backups_of_all_are_listed(pve: Pve) -> None:
    rows = await stores.backups(pve, "pve1", "backup-storage", None)

    assert {row["volid"] for row in rows} == {SAMPLE_BACKUP, OLDER}


async def test_a_backup_that_exists_is_returned(pve: Pve) -> None:
    found = await stores.must_exist(pve, "pve1", OLDER)

    assert (found["volid"], found["vmid"]) == (OLDER, 100)


async def test_a_missing_backup_is_answered_with_the_newest_that_are_there(pve: Pve) -> None:
    missing = SAMPLE_BACKUP.replace("-100-", "-999-")

    with pytest.raises(NotFound) as caught:
        await stores.must_exist(pve, "pve1", missing)

    assert str(caught.value) == (
        f"There is no backup {missing} that this token may see. Newest of 2 on backup-storage:"
        f" {SAMPLE_BACKUP}, {OLDER}. Nothing was changed."
    )


async def test_an_empty_storage_is_said_to_hold_no_backup(pve: Pve) -> None:
    with pytest.raises(NotFound, match="Newest of 0 on local: no backup at all"):
        await stores.must_exist(pve, "pve1", f"local:backup/{FILE}")
