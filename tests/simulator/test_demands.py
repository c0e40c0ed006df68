"""What an action takes beyond the right to its endpoint: space, bridges, keys, other guests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from proxmoxer import ResourceException

from proxmox_mcp.simulator.seed import SAMPLE_BACKUP
from tests.simulator.conftest import Demo

SPACE = {"/storage": ["Datastore.AllocateSpace"]}
BRIDGE = {"/sdn/zones/localnetwork": ["SDN.Use"]}


def _client(demo: Demo, *acls: Mapping[str, list[str]], vms: str = "") -> Any:
    acl = {"/vms": vms.split()} if vms else {}
    for more in acls:
        acl |= more
    return demo.client(demo.cluster.grant("mcp@pve", "one", acl))


def _refusal(call: Any, **arguments: Any) -> str:
    with pytest.raises(ResourceException) as caught:
        call(**arguments)
    return f"{caught.value.status_code} {caught.value.content}"


def _lacks(path: str, privilege: str) -> str:
    return f"403 Permission check failed ({path}, {privilege})"


# --- copies ----------------------------------------------------------------------------------


def test_a_clone_takes_space_on_the_storages_of_the_source(demo: Demo) -> None:
    client = _client(demo, BRIDGE, vms="VM.Clone VM.Allocate")

    said = _refusal(client.nodes("pve1").qemu(100).clone.post, newid=200)
    assert said == _lacks("/storage/shared-vms", "Datastore.AllocateSpace")
    said = _refusal(client.nodes("pve1").qemu(110).clone.post, newid=200, full=0)
    assert said == _lacks("/storage/shared-vms", "Datastore.AllocateSpace")
    said = _refusal(client.nodes("pve1").lxc(103).clone.post, newid=200, storage="local")
    assert said == _lacks("/storage/local", "Datastore.AllocateSpace")


def test_a_clone_takes_the_use_of_its_bridges_since_version_eight(demo: Demo) -> None:
    old = Demo(version="7.4")
    for each, ends in ((demo, False), (old, True)):
        client = _client(each, SPACE, vms="VM.Clone VM.Allocate")
        clone = client.nodes("pve1").qemu(100).clone.post
        if ends:
            assert clone(newid=200).startswith("UPID:")
        else:
            said = _refusal(clone, newid=200)
            assert said == _lacks("/sdn/zones/localnetwork/vmbr0", "SDN.Use")


def test_a_clone_without_a_place_for_the_copy_is_refused_without_a_word_on_which(
    demo: Demo,
) -> None:
    client = _client(demo, SPACE, BRIDGE, vms="VM.Clone")

    said = _refusal(client.nodes("pve1").qemu(100).clone.post, newid=200, pool="production")

    assert said == "403 Permission check failed"


def test_a_right_on_the_pool_is_enough_for_a_clone_into_it(demo: Demo) -> None:
    pool = {"/pool/production": ["VM.Allocate", "VM.Clone"]}
    client = _client(demo, SPACE, BRIDGE, pool)
    clone = client.nodes("pve1").qemu(100).clone.post

    assert clone(newid=200, pool="production").startswith("UPID:")
    assert _refusal(clone, newid=201) == "403 Permission check failed"


def test_a_pool_that_does_not_exist_is_a_refusal_of_rights(demo: Demo) -> None:
    said = _refusal(demo.guest(100).clone.post, newid=200, pool="absent")

    assert said == "403 Permission check failed (pool 'absent' does not exist)"


# --- restoring -------------------------------------------------------------------------------


def test_a_restore_to_the_old_storages_fails_in_its_task_without_space_there(demo: Demo) -> None:
    backups = {"/storage/backup-storage": ["Datastore.AllocateSpace"]}
    client = _client(demo, BRIDGE, backups, vms="VM.Allocate VM.Backup")

    upid = client.nodes("pve1").qemu.post(vmid=101, archive=SAMPLE_BACKUP)

    said = demo.ended(upid)
    assert said == "Permission check failed (/storage/shared-vms, Datastore.AllocateSpace)"
    assert 101 not in demo.cluster.center.guests


def test_a_guests_own_backup_is_restored_over_it_with_little(demo: Demo) -> None:
    demo.cluster.guest(100).status = "stopped"
    client = _client(demo, BRIDGE, {"/storage/shared-vms": ["Datastore.AllocateSpace"]},
                     vms="VM.Backup")  # fmt: skip
    restore = client.nodes("pve1").qemu.post

    assert _refusal(restore, vmid=100, archive=SAMPLE_BACKUP) == "403 Permission check failed"
    assert demo.ended(restore(vmid=100, archive=SAMPLE_BACKUP, force=1)) == "OK"


def test_a_restore_names_the_right_to_the_backup_that_is_missing(demo: Demo) -> None:
    client = _client(demo, BRIDGE, SPACE, vms="VM.Allocate")

    said = _refusal(client.nodes("pve1").qemu.post, vmid=101, archive=SAMPLE_BACKUP)

    assert said == _lacks("/vms/100", "VM.Backup")


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ({"cores": 4}, "VM.Config.CPU"),
        ({"name": "other"}, "VM.Config.Options"),
        ({"start": 1}, "VM.PowerMgmt"),
    ],
)
def test_a_restore_that_changes_the_config_takes_the_right_to_that(
    demo: Demo, given: dict[str, Any], lacking: str
) -> None:
    client = _client(demo, BRIDGE, SPACE, vms="VM.Allocate VM.Backup")

    said = _refusal(client.nodes("pve1").qemu.post, vmid=101, archive=SAMPLE_BACKUP, **given)

    assert said == _lacks("/vms/101", lacking)


def test_a_new_container_takes_space_and_a_privileged_one_the_right_to_the_host(
    demo: Demo,
) -> None:
    template = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
    create = _client(demo, vms="VM.Allocate").nodes("pve1").lxc.post
    said = _refusal(create, vmid=101, ostemplate=template)
    assert said == _lacks("/storage/local", "Datastore.AllocateSpace")

    create = _client(demo, SPACE, vms="VM.Allocate").nodes("pve1").lxc.post
    said = _refusal(create, vmid=101, ostemplate=template, unprivileged=0)
    assert said == _lacks("/", "Sys.Modify")


# --- backups ---------------------------------------------------------------------------------


def test_a_backup_without_the_right_to_the_guest_fails_only_in_its_task(demo: Demo) -> None:
    client = _client(demo, SPACE, vms="VM.Audit")

    upid = client.nodes("pve1").vzdump.post(vmid="104", storage="local")

    assert demo.ended(upid) == "Permission check failed (/vms/104, VM.Backup)"


def test_a_backup_of_all_passes_over_guests_without_the_right(demo: Demo) -> None:
    client = _client(demo, SPACE, {"/vms/104": ["VM.Backup"]})

    upid = client.nodes("pve1").vzdump.post(all=1, storage="local")

    assert demo.ended(upid) == "OK"
    assert [line for line in demo.log(upid) if "Starting Backup" in line] == [
        "INFO: Starting Backup of VM 104 (qemu)"
    ]


def test_stopping_other_backups_takes_the_right_to_the_node(demo: Demo) -> None:
    client = _client(demo, SPACE, vms="VM.Backup")

    said = _refusal(client.nodes("pve1").vzdump.post, vmid="104", stop=1)

    assert said == _lacks("/nodes/pve1", "Sys.Modify")


def test_a_backups_config_takes_the_right_to_the_guest_even_from_the_storages_owner(
    demo: Demo,
) -> None:
    extract = "/nodes/pve1/vzdump/extractconfig"
    owner = _client(demo, {"/storage": ["Datastore.Allocate"]}, vms="VM.Audit")

    assert _refusal(owner(extract).get, volume=SAMPLE_BACKUP) == _lacks("/vms/100", "VM.Backup")


def test_a_backup_that_is_not_there_takes_the_same_rights_as_one_that_is(demo: Demo) -> None:
    absent = SAMPLE_BACKUP.replace("2025", "2024")
    content = "/nodes/pve1/storage/backup-storage/content"
    client = _client(demo, SPACE, vms="VM.Backup")

    assert demo.ended(client(content)(absent).delete()) == "OK"
    client = _client(demo, vms="VM.Backup")
    said = _refusal(client(content)(absent).delete)
    assert said == _lacks("/storage/backup-storage", "Datastore.AllocateSpace")


def test_a_disk_is_listed_for_auditors_of_the_storage_who_may_change_the_guests_disks(
    demo: Demo,
) -> None:
    content = "/nodes/pve1/storage/shared-vms/content"
    see = {"/storage": ["Datastore.Audit"]}

    assert _client(demo, see, vms="VM.Config.Disk")(content).get() != []
    assert _client(demo, SPACE, vms="VM.Config.Disk")(content).get() == []


# --- config ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "held", "lacking"),
    [
        ({"boot": "order=scsi0"}, "VM.Config.Options", "VM.Config.Disk"),
        ({"bios": "ovmf"}, "VM.Config.HWType", "VM.Config.Options"),
        ({"hotplug": "disk"}, "VM.Config.Options", "VM.Config.HWType"),
        ({"tablet": 0}, "VM.Config.Options", "VM.Config.HWType"),
        ({"net0": "virtio,bridge=vmbr0"}, "VM.Config.Options", "VM.Config.Network"),
        ({"ciuser": "me"}, "VM.Config.Options", "VM.Config.Cloudinit|VM.Config.Network"),
        ({"serial0": "socket"}, "VM.Config.Options", "VM.Config.HWType"),
        ({"scsi1": "local-lvm:4"}, "VM.Config.Options", "VM.Config.Disk"),
        ({"delete": "scsi0"}, "VM.Config.CDROM", "VM.Config.Disk"),
    ],
)
def test_a_key_takes_the_privilege_of_its_kind(
    demo: Demo, given: dict[str, Any], held: str, lacking: str
) -> None:
    client = _client(demo, SPACE, BRIDGE, vms=held)

    said = _refusal(client.nodes("pve2").qemu(107).config.put, **given)

    assert said == _lacks("/vms/107", lacking)


@pytest.mark.parametrize("privilege", ["VM.Config.Cloudinit", "VM.Config.Network"])
def test_cloud_init_is_changed_with_either_of_two_privileges(demo: Demo, privilege: str) -> None:
    client = _client(demo, vms=privilege)

    client.nodes("pve2").qemu(107).config.put(nameserver="192.0.2.1", ipconfig0="ip=dhcp")

    assert demo.cluster.guest(107).config["nameserver"] == "192.0.2.1"


def test_the_order_of_starting_takes_the_right_to_the_host_for_vms_alone(demo: Demo) -> None:
    client = _client(demo, vms="VM.Config.Options")

    said = _refusal(client.nodes("pve2").qemu(107).config.put, startup="order=1")
    assert said == _lacks("/", "Sys.Modify")
    client.nodes("pve1").lxc(103).config.put(startup="order=1")


def test_a_new_disk_takes_space_and_a_card_the_use_of_its_bridge(demo: Demo) -> None:
    client = _client(demo, vms="VM.Config.Disk VM.Config.Network")
    vm, container = client.nodes("pve2").qemu(107), client.nodes("pve1").lxc(103)

    said = _refusal(vm.config.put, scsi1="local-lvm:4")
    assert said == _lacks("/storage/local-lvm", "Datastore.AllocateSpace")
    said = _refusal(vm.config.put, net1="virtio,bridge=vmbr0,tag=7")
    assert said == _lacks("/sdn/zones/localnetwork/vmbr0/7", "SDN.Use")
    said = _refusal(container.config.put, net1="name=eth1,bridge=vmbr1")
    assert said == _lacks("/sdn/zones/localnetwork/vmbr1", "SDN.Use")


def test_taking_a_cd_out_takes_the_right_to_cds_alone(demo: Demo) -> None:
    demo.cluster.guest(107).config["ide2"] = "none,media=cdrom"
    client = _client(demo, vms="VM.Config.CDROM")

    client.nodes("pve2").qemu(107).config.put(delete="ide2")

    assert "ide2" not in demo.cluster.guest(107).config


def test_in_the_background_a_drive_is_refused_by_the_task(demo: Demo) -> None:
    client = _client(demo, SPACE, vms="VM.Config.Options")

    upid = client.nodes("pve2").qemu(107).config.post(scsi1="local-lvm:4")

    assert demo.ended(upid) == "Permission check failed (/vms/107, VM.Config.Disk)"


@pytest.mark.parametrize(
    ("guest", "given", "said"),
    [
        ("pve2/qemu/107", {"hookscript": "local:snippets/x.sh"},
         "500 only root can set 'hookscript' config"),
        ("pve1/lxc/103", {"hookscript": "local:snippets/x.sh"},
         "403 Permission check failed (changing the hookscript is only allowed for root@pam)"),
        ("pve2/qemu/107", {"serial0": "/dev/ttyS0"},
         "500 only root can set 'serial0' config for real devices"),
    ],
)  # fmt: skip
def test_some_keys_are_for_root_itself(
    demo: Demo, guest: str, given: dict[str, str], said: str
) -> None:
    assert _refusal(demo.api(f"/nodes/{guest}/config").put, **given) == said


# --- elsewhere -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"), [("qemu/104", "targetstorage"), ("lxc/103", "target-storage")]
)
def test_moving_to_another_storage_takes_space_there(demo: Demo, kind: str, name: str) -> None:
    migrate = _client(demo, vms="VM.Migrate")(f"/nodes/pve1/{kind}/migrate")

    said = _refusal(migrate.post, target="pve2", **{name: "local:shared-vms"})

    assert said == _lacks("/storage/shared-vms", "Datastore.AllocateSpace")


def test_stopping_overrules_only_shutdowns_that_one_may_stop() -> None:
    demo = Demo(version="9.0")
    demo.cluster.guest(104).stubborn = True
    upid = demo.guest(104).status.shutdown.post(timeout=300)
    demo.wait(2)
    stop = _client(demo, vms="VM.PowerMgmt").nodes("pve1").qemu(104).status.stop.post

    stop(**{"overrule-shutdown": 1})
    assert demo.status(upid)["status"] == "running"
    demo.guest(104).status.stop.post(**{"overrule-shutdown": 1})
    demo.wait(1)
    assert demo.status(upid)["status"] == "stopped"


def test_the_guest_agent_is_asked_with_what_each_version_calls_it() -> None:
    for version, privilege in (("8.4", "VM.Monitor"), ("9.0", "VM.GuestAgent.Unrestricted")):
        demo = Demo(version=version)
        lacking = _client(demo, vms="VM.Audit").nodes("pve1").qemu(100).agent
        assert _refusal(lacking("exec").post, command=["id"]) == _lacks("/vms/100", privilege)
        allowed = _client(demo, vms=privilege).nodes("pve1").qemu(100).agent
        assert allowed("exec").post(command=["id"])["pid"] > 0


def test_the_clusters_list_shows_storages_to_auditors_and_pools_to_theirs(demo: Demo) -> None:
    client = _client(demo, SPACE, vms="VM.Audit")
    assert client.cluster.resources.get(type="storage") == []
    assert len(client.nodes("pve1").storage.get()) == len(demo.cluster.center.storages)
    assert not any("pool" in each for each in client.cluster.resources.get(type="vm"))

    client = _client(demo, {"/storage": ["Datastore.Audit"], "/pool": ["Pool.Audit"]},
                     vms="VM.Audit")  # fmt: skip
    assert client.cluster.resources.get(type="storage") != []
    assert any("pool" in each for each in client.cluster.resources.get(type="vm"))
