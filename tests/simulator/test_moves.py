"""Clones, templates and migrations."""

from __future__ import annotations

import pytest
from proxmoxer import ResourceException

from tests.simulator.conftest import Demo


def test_a_full_clone_to_another_node_is_locked_until_it_is_done(demo: Demo) -> None:
    upid = demo.guest(100).clone.post(newid=200, name="web-server-02", full=1, target="pve2")
    assert demo.guest(200).config.get()["lock"] == "clone"

    assert demo.ended(upid) == "OK"

    copy = demo.cluster.guest(200)
    assert (copy.node, copy.name, copy.lock, copy.status) == (
        "pve2", "web-server-02", None, "stopped",
    )  # fmt: skip
    assert demo.guest(200).config.get()["net0"] != demo.guest(100).config.get()["net0"]


def test_local_disks_tie_a_clone_to_its_node(demo: Demo) -> None:
    with pytest.raises(ResourceException, match=r"can't clone VM to node 'pve2' \(VM uses local"):
        demo.guest(104).clone.post(newid=200, full=1, target="pve2")


def test_only_a_template_gets_linked_clones(demo: Demo) -> None:
    with pytest.raises(ResourceException, match="Linked clone feature is not supported for"):
        demo.guest(100).clone.post(newid=200, full=0)

    upid = demo.guest(110).clone.post(newid=200, name="from-template")
    demo.ended(upid)
    assert demo.log(upid)[0].startswith("create linked clone of drive scsi0")


def test_a_running_container_is_cloned_from_a_snapshot_only(demo: Demo) -> None:
    with pytest.raises(ResourceException, match="running container without snapshots"):
        demo.guest(103).clone.post(newid=200)

    demo.ended(demo.guest(103).snapshot.post(snapname="before"))
    assert demo.ended(demo.guest(103).clone.post(newid=200, snapname="before")) == "OK"


def test_a_template_is_one_way_and_needs_a_stopped_vm(demo: Demo) -> None:
    with pytest.raises(ResourceException, match="if VM is running"):
        demo.guest(100).template.post()

    assert demo.ended(demo.guest(107).template.post()) == "OK"

    assert demo.guest(107).config.get()["scsi0"].startswith("local-lvm:base-107-disk-0")
    assert (
        demo.ended(demo.guest(107).status.start.post()) == "you can't start a vm if it's a template"
    )
    with pytest.raises(ResourceException, match="can't convert a template to a template"):
        demo.guest(107).template.post()


def test_a_container_becomes_a_template_without_a_task(demo: Demo) -> None:
    demo.ended(demo.guest(103).status.stop.post())

    assert demo.guest(103).template.post() is None
    assert demo.guest(103).config.get()["template"] == 1


def test_a_running_vm_moves_only_online(demo: Demo) -> None:
    with pytest.raises(ResourceException, match="can't migrate running VM without --online"):
        demo.guest(100).migrate.post(target="pve2")

    assert demo.ended(demo.guest(100).migrate.post(target="pve2", online=1)) == "OK"
    assert demo.cluster.guest(100).node == "pve2"
    with pytest.raises(ResourceException, match=r"qemu-server/100\.conf' does not exist"):
        demo.api.nodes("pve1").qemu(100).config.get()


def test_local_disks_move_only_when_asked_for(demo: Demo) -> None:
    assert demo.ended(demo.guest(104).migrate.post(target="pve2", online=1)) == "migration aborted"

    options = {"with-local-disks": 1}
    assert demo.ended(demo.guest(104).migrate.post(target="pve2", online=1, **options)) == "OK"
    disks = demo.api.nodes("pve2").storage("local").content.get(content="images")
    assert [disk["vmid"] for disk in disks] == [104]


@pytest.mark.parametrize(
    "said", ["shared-vms", "local:shared-vms", "other:local-lvm,local:shared-vms"]
)
def test_local_disks_move_to_the_storage_that_is_named(demo: Demo, said: str) -> None:
    options = {"with-local-disks": 1, "targetstorage": said}
    assert demo.ended(demo.guest(104).migrate.post(target="pve2", online=1, **options)) == "OK"

    assert demo.guest(104).config.get()["scsi0"].startswith("shared-vms:104/vm-104-disk-0.qcow2,")
    assert demo.api.nodes("pve1").storage("local").content.get(content="images") == []


@pytest.mark.parametrize("said", ["1", "other:shared-vms"])
def test_local_disks_stay_on_their_storage_where_no_other_is_named(demo: Demo, said: str) -> None:
    options = {"with-local-disks": 1, "targetstorage": said}
    assert demo.ended(demo.guest(104).migrate.post(target="pve2", online=1, **options)) == "OK"

    assert demo.guest(104).config.get()["scsi0"].startswith("local:104/vm-104-disk-0.raw,")


def test_a_running_container_moves_by_a_restart(demo: Demo) -> None:
    with pytest.raises(ResourceException, match="without --online or --restart"):
        demo.guest(103).migrate.post(target="pve2")

    assert demo.ended(demo.guest(103).migrate.post(target="pve2", restart=1)) == "OK"
    moved = demo.cluster.guest(103)
    assert (moved.node, moved.status) == ("pve2", "running")


def test_an_ha_managed_vm_moves_after_its_task_has_ended(demo: Demo) -> None:
    upid = demo.guest(102).migrate.post(target="pve2", online=1)
    assert ":hamigrate:" in upid
    assert demo.status(upid)["exitstatus"] == "OK"
    assert demo.cluster.guest(102).node == "pve1"

    demo.wait(30)

    assert demo.cluster.guest(102).node == "pve2"


def test_the_check_tells_local_disks_and_nodes(demo: Demo) -> None:
    check = demo.guest(104).migrate.get(target="pve2")
    assert (check["running"], check["allowed_nodes"]) == (1, ["pve2", "pve3"])
    assert [disk["drivename"] for disk in check["local_disks"]] == ["scsi0"]
    assert demo.guest(100).migrate.get()["local_disks"] == []


def test_version_eight_has_no_check_for_containers_and_seven_less_for_vms() -> None:
    with pytest.raises(ResourceException) as caught:
        Demo(version="8.4").guest(103).migrate.get()
    assert caught.value.status_code == 501
    assert "allowed_nodes" not in Demo(version="7.4").guest(100).migrate.get()
