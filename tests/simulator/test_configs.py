"""Configs, pending changes, digests and disk sizes."""

from __future__ import annotations

import pytest
from proxmoxer import ResourceException

from tests.simulator.conftest import Demo


def test_a_running_vm_keeps_memory_pending_until_its_next_start(demo: Demo) -> None:
    demo.guest(100).config.put(memory=8192, cores=4, balloon=4096, description="new")
    waiting = {each["key"]: each["pending"] for each in demo.guest(100).pending.get()
               if "pending" in each}  # fmt: skip
    assert waiting == {"memory": "8192", "cores": 4}
    assert demo.guest(100).config.get(current=1)["memory"] == "4096"
    assert demo.guest(100).config.get()["memory"] == "8192"

    demo.ended(demo.guest(100).status.stop.post())
    demo.ended(demo.guest(100).status.start.post())

    assert demo.guest(100).config.get(current=1)["memory"] == "8192"


def test_a_password_is_not_in_the_log_of_the_change(demo: Demo) -> None:
    upid = demo.guest(107).config.post(cipassword="correct-horse", ciuser="admin")
    demo.ended(upid)

    assert demo.log(upid)[0] == "update VM 107: -cipassword <hidden> -ciuser admin"


def test_a_containers_notes_end_with_their_line_wherever_they_are_read(demo: Demo) -> None:
    demo.guest(103).config.put(description="cache")

    assert demo.guest(103).config.get()["description"] == "cache\n"
    pending = {each["key"]: each.get("value") for each in demo.guest(103).pending.get()}
    assert pending["description"] == "cache\n"


def test_reverting_takes_a_pending_change_back(demo: Demo) -> None:
    demo.guest(100).config.put(memory=8192)
    demo.guest(100).config.put(revert="memory")

    assert demo.guest(100).config.get()["memory"] == "4096"


def test_a_stopped_vm_takes_everything_at_once(demo: Demo) -> None:
    demo.guest(107).config.put(memory=1024, delete="tags")

    config = demo.guest(107).config.get(current=1)
    assert (config["memory"], "tags" in config) == ("1024", False)


def test_memory_is_a_number_on_version_seven() -> None:
    assert Demo(version="7.4").guest(100).config.get()["memory"] == 4096
    assert Demo(version="8.4").guest(100).config.get()["memory"] == "4096"


@pytest.mark.parametrize(("version", "kept"), [("8.4", "web,prod"), ("9.0", "prod;web")])
def test_tags_are_sorted_since_version_nine(version: str, kept: str) -> None:
    demo = Demo(version=version)
    demo.guest(104).config.put(tags="web,prod")

    assert demo.guest(104).config.get()["tags"] == kept


def test_a_digest_of_before_is_refused(demo: Demo) -> None:
    digest = demo.guest(100).config.get()["digest"]
    demo.guest(100).config.put(description="first", digest=digest)

    with pytest.raises(ResourceException, match="checksum mismatch"):
        demo.guest(100).config.put(description="second", digest=digest)


def test_detaching_a_disk_leaves_it_unused_and_deleting_that_erases_it(demo: Demo) -> None:
    volid = "local-lvm:vm-107-disk-0"
    demo.guest(107).config.put(delete="scsi0")
    assert demo.guest(107).config.get()["unused0"] == volid

    demo.guest(107).config.put(delete="unused0")

    content = demo.api.nodes("pve2").storage("local-lvm").content.get(vmid=107)
    assert content == []


def test_naming_a_size_allocates_a_disk_each_time(demo: Demo) -> None:
    for _ in range(2):
        demo.guest(107).config.put(scsi1="local-lvm:4")

    assert demo.guest(107).config.get()["scsi1"] == "local-lvm:vm-107-disk-2,size=4G"


def test_python_booleans_are_refused(demo: Demo) -> None:
    with pytest.raises(ResourceException) as caught:
        demo.guest(100).config.put(onboot=True)

    assert caught.value.errors == {"onboot": "type check ('boolean') failed - got 'True'"}


def test_the_privilege_depends_on_the_key(demo: Demo) -> None:
    demo.cluster.guest(100)
    with pytest.raises(ResourceException, match="only root can set 'args' config"):
        demo.guest(100).config.put(args="-S")
    with pytest.raises(ResourceException, match="balloon value too large"):
        demo.guest(100).config.put(balloon=999_999)


def test_a_disk_grows_by_a_size_and_to_a_size_but_never_shrinks(demo: Demo) -> None:
    resize = demo.guest(100).resize
    assert demo.ended(resize.put(disk="scsi0", size="+50G")) == "OK"
    assert "size=82G" in demo.guest(100).config.get()["scsi0"]
    assert demo.ended(resize.put(disk="scsi0", size="82G")) == "OK"
    assert demo.ended(resize.put(disk="scsi0", size="1G")) == "shrinking disks is not supported"
    with pytest.raises(ResourceException, match="unable to shrink disk size"):
        demo.guest(103).resize.put(disk="rootfs", size="1G")
    with pytest.raises(ResourceException, match="disk is already at specified size"):
        demo.guest(103).resize.put(disk="rootfs", size="8G")


def test_version_seven_resizes_at_once_and_answers_nothing() -> None:
    demo = Demo(version="7.4")

    assert demo.guest(100).resize.put(disk="scsi0", size="+1G") is None
    assert "size=33G" in demo.guest(100).config.get()["scsi0"]
    with pytest.raises(ResourceException, match="shrinking disks is not supported"):
        demo.guest(100).resize.put(disk="scsi0", size="1G")


def test_a_change_in_the_background_is_a_task_unless_one_waits_for_it(demo: Demo) -> None:
    upid = demo.guest(107).config.post(memory=1024, delete="tags")
    assert demo.log(upid) == ["update VM 107: -memory 1024 -delete tags", "TASK OK"]

    assert demo.guest(107).config.post(memory=2048, background_delay=5) is None
    assert demo.guest(107).config.get()["memory"] == "2048"


def test_a_container_takes_memory_at_once_and_keeps_what_it_needs(demo: Demo) -> None:
    demo.guest(103).config.put(memory=2048, description="fast")
    config = demo.guest(103).config.get(current=1)
    assert (config["memory"], config["description"]) == (2048, "fast\n")

    with pytest.raises(ResourceException, match="unable to delete required option 'rootfs'"):
        demo.guest(103).config.put(delete="rootfs")
    with pytest.raises(ResourceException, match="file changed by other user"):
        demo.guest(103).config.put(memory=512, digest="0" * 40)


def test_a_container_disk_grows(demo: Demo) -> None:
    assert demo.ended(demo.guest(103).resize.put(disk="rootfs", size="+2G")) == "OK"
    assert demo.guest(103).config.get()["rootfs"].endswith("size=10G")


def test_a_new_network_card_gets_an_address(demo: Demo) -> None:
    demo.guest(107).config.put(net1="virtio,bridge=vmbr0")

    assert demo.guest(107).config.get()["net1"].startswith("virtio=BC:24:11:")


def test_a_change_of_nothing_is_refused(demo: Demo) -> None:
    with pytest.raises(ResourceException, match="no options specified"):
        demo.guest(107).config.put()
