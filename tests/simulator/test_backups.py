"""Backups: making, listing, protecting, deleting, restoring."""

from __future__ import annotations

from typing import Any

import pytest
from proxmoxer import ResourceException

from proxmox_mcp.simulator import TOKENS
from tests.simulator.conftest import Demo

SAMPLE = "backup-storage:backup/vzdump-qemu-100-2025_11_06-14_30_00.vma.zst"


def _volumes(demo: Demo, vmid: int = 100) -> list[dict[str, Any]]:
    storage = demo.api.nodes("pve1").storage("backup-storage")
    found: list[dict[str, Any]] = storage.content.get(content="backup", vmid=vmid)
    return found


def _backup(demo: Demo, **more: Any) -> str:
    call = {"vmid": "100", "storage": "backup-storage", "compress": "zstd"} | more
    return str(demo.api.nodes("pve1").vzdump.post(**call))


def test_a_backup_appears_when_its_task_has_ended(demo: Demo) -> None:
    options = {"notes-template": "{{guestname}} on {{node}}", "protected": 1, "remove": 0}
    upid = _backup(demo, **options)
    assert len(_volumes(demo)) == 2

    assert demo.ended(upid) == "OK"

    newest = max(_volumes(demo), key=lambda volume: int(volume["ctime"]))
    assert (newest["notes"], newest["protected"]) == ("web-01 on pve1", 1)
    assert newest["volid"].endswith("2025_11_13-02_13_20.vma.zst")


def test_a_backup_prunes_old_ones_unless_told_not_to(demo: Demo) -> None:
    for _ in range(2):
        demo.ended(_backup(demo, remove=0))
    assert len(_volumes(demo)) == 4

    upid = _backup(demo)

    assert demo.ended(upid) == "OK"
    assert len(_volumes(demo)) == 3
    assert SAMPLE not in [volume["volid"] for volume in _volumes(demo)]
    assert f"INFO: removing backup '{SAMPLE}'" in demo.log(upid)


def test_a_backup_of_a_guest_elsewhere_does_nothing_and_says_ok(demo: Demo) -> None:
    assert _backup(demo, vmid="105") == "OK"


def test_a_locked_guest_fails_the_job(demo: Demo) -> None:
    upid = demo.api.nodes("pve2").vzdump.post(vmid="112", storage="backup-storage")

    assert demo.ended(upid) == "job errors"
    assert "ERROR: Backup of VM 112 failed - VM is locked (backup)" in demo.log(upid)


def test_a_storage_that_takes_no_backups_fails_the_task(demo: Demo) -> None:
    wrong = "can't use storage 'local-lvm' for backups - wrong content type"
    text = f"could not get storage information for 'local-lvm': {wrong}"

    assert demo.ended(_backup(demo, storage="local-lvm")) == text


def test_a_restore_that_fails_leaves_no_guest(demo: Demo) -> None:
    upid = demo.api.nodes("pve1").qemu.post(vmid=101, archive=SAMPLE, storage="backup-storage")

    assert demo.ended(upid) == "storage 'backup-storage' does not support vm images"
    assert demo.api.cluster.nextid.get() == "101"


def test_a_node_makes_one_backup_at_a_time(demo: Demo) -> None:
    upid = demo.api.nodes("pve2").vzdump.post(vmid="107", storage="backup-storage")
    demo.wait(5)
    assert demo.log(upid)[-1] == "INFO: trying to get global lock - waiting..."

    assert demo.ended(upid) == "OK"


def test_auditing_alone_shows_no_backups(demo: Demo) -> None:
    auditor = demo.client(TOKENS["audit"])

    assert auditor.nodes("pve1").storage("backup-storage").content.get() == []
    assert auditor.nodes("pve1").storage("local").content.get(content="iso") != []


def test_a_protected_backup_survives_its_deletion(demo: Demo) -> None:
    volume = demo.api.nodes("pve1").storage("backup-storage").content(SAMPLE)
    volume.put(protected=1)
    path = SAMPLE.partition(":")[2]
    refusal = f"cannot remove protected volume '{path}' on 'backup-storage'"
    assert demo.ended(volume.delete()) == refusal

    volume.put(protected=0)
    upid = volume.delete()

    assert ":imgdel:100@backup-storage:" in upid
    assert demo.ended(upid) == "OK"
    assert SAMPLE not in [each["volid"] for each in _volumes(demo)]


def test_a_vm_is_restored_to_a_free_id(demo: Demo) -> None:
    upid = demo.api.nodes("pve1").qemu.post(vmid=101, archive=SAMPLE, unique=1)
    assert demo.guest(101).status.current.get()["lock"] == "create"

    assert demo.ended(upid) == "OK"

    restored, original = demo.guest(101).config.get(), demo.guest(100).config.get()
    assert restored["name"] == "web-01"
    assert restored["scsi0"].startswith("shared-vms:101/vm-101-disk-0")
    assert restored["net0"] != original["net0"]


def test_a_restore_over_a_guest_needs_force_and_a_stopped_guest(demo: Demo) -> None:
    restore = demo.api.nodes("pve1").qemu
    with pytest.raises(ResourceException, match="VM 100 already exists on node 'pve1'"):
        restore.post(vmid=100, archive=SAMPLE)
    with pytest.raises(ResourceException, match="unable to restore VM 100 - vm is running"):
        restore.post(vmid=100, archive=SAMPLE, force=1)
    demo.ended(demo.guest(100).status.stop.post())
    demo.cluster.guest(100).protection = True
    with pytest.raises(ResourceException, match="protection mode enabled"):
        restore.post(vmid=100, archive=SAMPLE, force=1)
    demo.cluster.guest(100).protection = False

    assert demo.ended(restore.post(vmid=100, archive=SAMPLE, force=1, start=1)) == "OK"
    assert demo.guest(100).status.current.get()["status"] == "running"


def test_a_container_is_restored_from_its_own_kind_of_backup(demo: Demo) -> None:
    archive = "pbs:backup/ct/103/2025-11-06T02:00:00Z"
    upid = demo.api.nodes("pve1").lxc.post(vmid=201, ostemplate=archive, restore=1)

    assert demo.ended(upid) == "OK"
    assert demo.guest(201).config.get()["hostname"] == "cache"
    with pytest.raises(ResourceException, match="unknown backup archive type"):
        demo.api.nodes("pve1").qemu.post(vmid=202, archive=archive)


def test_a_container_goes_to_a_backup_server_under_its_own_kind_of_name(demo: Demo) -> None:
    upid = _backup(demo, vmid="103", storage="pbs")

    assert demo.ended(upid) == "OK"
    volumes = demo.api.nodes("pve1").storage("pbs").content.get(vmid=103)
    assert [volume["volid"] for volume in volumes][-1] == "pbs:backup/ct/103/2025-11-13T02:13:20Z"


def test_all_backs_up_every_guest_of_the_node(demo: Demo) -> None:
    upid = demo.api.nodes("pve3").vzdump.post(all=1, storage="backup-storage")

    assert demo.ended(upid) == "OK"
    starts = [line for line in demo.log(upid) if line.startswith("INFO: Starting Backup of VM")]
    assert [line.split()[5] for line in starts] == ["108", "109", "111"]


def test_a_container_is_created_from_a_template(demo: Demo) -> None:
    template = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
    upid = demo.api.nodes("pve1").lxc.post(
        vmid=201, ostemplate=template, hostname="fresh", rootfs="local-lvm:4", start=1
    )

    assert demo.ended(upid) == "OK"
    assert demo.guest(201).config.get()["rootfs"] == "local-lvm:vm-201-disk-0,size=4G"
    assert demo.guest(201).status.current.get()["status"] == "running"
