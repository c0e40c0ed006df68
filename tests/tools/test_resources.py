"""A guest's configuration read and changed, and its disks grown."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Answer, Cluster, Request
from proxmox_mcp.simulator.state import GIB
from tests.conftest import Connect, schema_faults, serve, text
from tests.tools.calls import called, refused
from tests.wire import answer

HUSH = "correct-horse-battery-staple"


@asynccontextmanager
async def release(version: str) -> AsyncIterator[tuple[Client, Cluster]]:
    """A client on a cluster of that version; its requests are held against the schema too."""
    cluster = Cluster(version=version, speed=500)
    async with Client(serve(cluster)) as client:
        yield client, cluster
    assert schema_faults(cluster.requests) == []


def before(method: str, end: str, act: Callable[[], object]) -> Callable[[Request], Answer | None]:
    """Let something happen just before the first such request is answered."""
    due = [act]

    def intercept(request: Request) -> Answer | None:
        if due and request.method == method and request.path.endswith(end):
            due.pop()()
        return None

    return intercept


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait for a task looks every few milliseconds."""
    monkeypatch.setattr("proxmox_mcp.pve.upid.POLL_SECONDS", (0.01, 0.05))


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_vms_configuration_is_shown_in_groups(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    raw = cluster.guest(100).config

    async with connect(mode=mode) as client:
        shown = await called(client, "vm_config_get", vmid="web-01")

    assert shown == {
        "guest": "VM 100 (web-01) on pve1",
        "config": {
            "cpu": {"cores": "2"},
            "memory": {"memory": "4096"},
            "disks": {"scsi0": raw["scsi0"], "scsihw": "virtio-scsi-pci"},
            "networks": {"net0": raw["net0"]},
            "boot": {"boot": "order=scsi0;net0"},
            "options": {
                "agent": "1",
                "description": "Shop front end",
                "name": "web-01",
                "ostype": "l26",
                "smbios1": raw["smbios1"],
                "tags": "prod;web",
                "vmgenid": raw["vmgenid"],
            },
            "other": {"meta": raw["meta"]},
        },
    }
    assert [(each.method, each.path) for each in cluster.requests] == [
        ("GET", "/cluster/resources"),
        ("GET", "/nodes/pve1/qemu/100/pending"),
    ]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_containers_configuration_is_shown_in_groups(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    raw = cluster.guest(111).config

    async with connect(mode=mode) as client:
        shown = await called(client, "vm_config_get", vmid=111)

    assert shown["guest"] == "container 111 (proxy-01) on pve3"
    assert shown["config"] == {
        "cpu": {"cores": "2"},
        "memory": {"memory": "512", "swap": "512"},
        "disks": {"rootfs": raw["rootfs"]},
        "networks": {"net0": raw["net0"]},
        "options": {
            "arch": "amd64",
            "hostname": "proxy-01",
            "ostype": "debian",
            "unprivileged": "1",
        },
    }


@pytest.mark.parametrize("vmid", [100, 103, 104, 108, 109, 110, 111, 112])
async def test_every_key_is_shown_exactly_once(client: Client, cluster: Cluster, vmid: int) -> None:
    shown = await called(client, "vm_config_get", vmid=vmid)

    names = Counter(name for group in shown["config"].values() for name in group)
    assert names == Counter(list(cluster.guest(vmid).config))
    values = {name: value for group in shown["config"].values() for name, value in group.items()}
    assert values == {name: str(value) for name, value in cluster.guest(vmid).config.items()}


async def test_what_waits_for_a_restart_stands_beside_what_holds(
    client: Client, cluster: Cluster
) -> None:
    cluster.guest(100).pending = {"memory": "8192", "balloon": 1024, "agent": None}

    shown = await called(client, "vm_config_get", vmid=100)

    assert shown["pending"] == {"memory": "8192", "balloon": "1024", "agent": ""}
    assert shown["config"]["memory"] == {"memory": "4096"}
    assert shown["config"]["options"]["agent"] == "1"


async def test_a_password_is_masked_whether_it_holds_or_waits(
    client: Client, cluster: Cluster
) -> None:
    cluster.guest(100).config |= {"cipassword": HUSH, "ciuser": "admin"}
    cluster.guest(100).pending = {"cipassword": f"{HUSH}-2"}

    result = await client.call_tool("proxmox_vm_config_get", {"vmid": 100})

    assert result.structured_content is not None
    assert result.structured_content["config"]["cloud_init"] == {
        "cipassword": "***",
        "ciuser": "admin",
    }
    assert result.structured_content["pending"] == {"cipassword": "***"}
    assert HUSH not in text(result)


async def test_a_password_that_is_to_go_is_shown_as_such(client: Client, cluster: Cluster) -> None:
    cluster.guest(100).config["cipassword"] = HUSH
    cluster.guest(100).pending = {"cipassword": None}

    assert (await called(client, "vm_config_get", vmid=100))["pending"] == {"cipassword": ""}


async def test_notes_are_cleaned_and_keep_their_lines(client: Client, cluster: Cluster) -> None:
    cluster.guest(100).config["description"] = "one\ntwo\x1b[31m\u202e"

    shown = await called(client, "vm_config_get", vmid=100)

    assert shown["config"]["options"]["description"] == "one\ntwo"


async def test_a_missing_privilege_is_named(connect: Connect) -> None:
    async with connect(credentials=TOKENS["audit"]) as client:
        said = await refused(client, "vm_config_update", vmid=100, config={"cores": 4})

    assert "VM.Config.CPU" in said
    assert "/vms/100" in said


# --- changing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_stopped_vm_is_changed_at_once_with_old_and_new(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    digest = cluster.guest(107).digest

    async with connect(mode=mode) as client:
        done = await called(
            client,
            "vm_config_update",
            vmid=107,
            config={"cores": 4, "memory": 4096, "onboot": True},
            delete=["tags"],
        )

    sent = {"cores": "4", "memory": "4096", "onboot": "1", "delete": "tags", "digest": digest}
    assert cluster.writes == [("POST", "/nodes/pve2/qemu/107/config", sent)]
    config = cluster.guest(107).config
    assert (config["cores"], config["memory"], config["onboot"]) == (4, "4096", 1)
    assert "tags" not in config
    assert done == {
        "state": "ok",
        "done": "VM 107 (cache) on pve2: configuration changed.",
        "upid": done["upid"],
        "destructive": ["tags"],
        "changed": {
            "cores": {"before": "2", "after": "4"},
            "memory": {"before": "2048", "after": "4096"},
            "onboot": {"after": "1"},
            "tags": {"before": "test"},
        },
    }
    assert done["upid"].startswith("UPID:pve2:")
    assert ":qmconfig:107:" in done["upid"]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_container_is_changed_without_a_task(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    digest = cluster.guest(103).digest

    async with connect(mode=mode) as client:
        done = await called(
            client, "vm_config_update", vmid=103, config={"cores": 4, "swap": 0}, delete=["tags"]
        )

    sent = {"cores": "4", "swap": "0", "delete": "tags", "digest": digest}
    assert cluster.writes == [("PUT", "/nodes/pve1/lxc/103/config", sent)]
    assert (cluster.guest(103).config["cores"], cluster.guest(103).config["swap"]) == (4, 0)
    assert "tags" not in cluster.guest(103).config
    assert done == {
        "state": "ok",
        "done": "container 103 (cache) on pve1: configuration changed.",
        "destructive": ["tags"],
        "changed": {
            "cores": {"before": "2", "after": "4"},
            "swap": {"before": "512", "after": "0"},
            "tags": {"before": "prod"},
        },
    }


async def test_a_running_vm_is_told_what_waits_for_a_restart(
    client: Client, cluster: Cluster
) -> None:
    done = await called(
        client,
        "vm_config_update",
        vmid=100,
        config={"memory": 8192, "description": "new"},
        delete=["agent"],
    )

    assert done["changed"] == {
        "memory": {"before": "4096", "after": "8192"},
        "description": {"before": "Shop front end", "after": "new"},
        "agent": {"before": "1"},
    }
    assert done["pending"] == {"memory": "8192", "agent": ""}
    guest = cluster.guest(100)
    assert guest.pending == {"memory": "8192", "agent": None}
    assert (guest.config["memory"], guest.config["agent"], guest.config["description"]) == (
        "4096",
        "1",
        "new",
    )


async def test_a_running_container_is_told_what_waits_for_a_restart(
    client: Client, cluster: Cluster
) -> None:
    done = await called(
        client, "vm_config_update", vmid=111, config={"timezone": "host", "memory": 1024}
    )

    assert done["pending"] == {"timezone": "host"}
    assert done["changed"] == {
        "timezone": {"after": "host"},
        "memory": {"before": "512", "after": "1024"},
    }
    assert cluster.guest(111).pending == {"timezone": "host"}


async def test_only_what_was_touched_is_reported_as_waiting(
    client: Client, cluster: Cluster
) -> None:
    cluster.guest(100).pending = {"memory": "8192"}

    done = await called(client, "vm_config_update", vmid=100, config={"cores": 4})

    assert done["pending"] == {"cores": "4"}
    assert done["changed"] == {"cores": {"before": "2", "after": "4"}}


async def test_a_waiting_change_is_taken_back(client: Client, cluster: Cluster) -> None:
    cluster.guest(100).pending = {"memory": "8192", "agent": None, "cores": 4}
    digest = cluster.guest(100).digest

    done = await called(client, "vm_config_update", vmid=100, revert=["memory", "agent"])

    sent = {"revert": "memory,agent", "digest": digest}
    assert cluster.writes == [("POST", "/nodes/pve1/qemu/100/config", sent)]
    assert cluster.guest(100).pending == {"cores": 4}
    assert done["changed"] == {
        "memory": {"before": "8192", "after": "4096"},
        "agent": {"after": "1"},
    }
    assert "pending" not in done


async def test_a_containers_waiting_change_is_taken_back(client: Client, cluster: Cluster) -> None:
    cluster.guest(103).pending = {"timezone": "host"}
    digest = cluster.guest(103).digest

    await called(client, "vm_config_update", vmid=103, revert=["timezone"])

    sent = {"revert": "timezone", "digest": digest}
    assert cluster.writes == [("PUT", "/nodes/pve1/lxc/103/config", sent)]
    assert cluster.guest(103).pending == {}


async def test_what_was_so_before_is_not_reported_as_changed(
    client: Client, cluster: Cluster
) -> None:
    cluster.guest(103).config["description"] = "as ever"
    same = {"cores": 2, "description": "as ever"}

    done = await called(client, "vm_config_update", vmid=103, config=same, delete=["startup"])

    assert "changed" not in done
    assert cluster.guest(103).config["cores"] == 2


async def test_a_disk_taken_out_is_detached_and_only_an_unused_one_is_erased(
    client: Client, cluster: Cluster
) -> None:
    volid = "local-lvm:vm-107-disk-0"

    await called(client, "vm_config_update", vmid=107, delete=["scsi0"])

    assert cluster.guest(107).config["unused0"] == volid
    assert cluster.center.volume("pve2", volid) is not None

    done = await called(client, "vm_config_update", vmid=107, delete=["unused0"])

    assert done["changed"] == {"unused0": {"before": volid}}
    assert "unused0" not in cluster.guest(107).config
    assert cluster.center.volume("pve2", volid) is None
    assert [write[2]["delete"] for write in cluster.writes] == ["scsi0", "unused0"]


async def test_a_new_disk_is_reported_with_the_volume_that_was_made(
    client: Client, cluster: Cluster
) -> None:
    done = await called(client, "vm_config_update", vmid=107, config={"scsi1": "local-lvm:8"})

    assert done["changed"] == {"scsi1": {"after": "local-lvm:vm-107-disk-1,size=8G"}}
    assert cluster.guest(107).config["scsi1"] == "local-lvm:vm-107-disk-1,size=8G"


@pytest.mark.parametrize(
    ("vmid", "change", "said"),
    [
        (100, {"config": {"memroy": 4096}}, "a VM has no key 'memroy', perhaps memory"),
        (103, {"config": {"hostnam": "x"}}, "a container has no key 'hostnam', perhaps hostname"),
        (103, {"config": {"scsi0": "local-lvm:8"}}, "no key 'scsi0' (it is one of a VM's)"),
        (100, {"config": {"rootfs": "local:8"}}, "no key 'rootfs' (it is one of a container's)"),
        (100, {"config": {"cores": 0}}, "cores must be at least 1"),
        (100, {"config": {"cores": True}}, "cores must be a whole number"),
        (100, {"config": {"cores": 2.5}}, "cores must be a whole number"),
        (100, {"config": {"shares": 50_001}}, "shares must be at most 50000"),
        (100, {"config": {"onboot": "yes"}}, "onboot must be true or false"),
        (100, {"config": {"bios": "uefi"}}, "bios must be one of: seabios, ovmf"),
        (100, {"config": {"lock": "backup"}}, "lock: only root@pam may set it, on the node"),
        (100, {"config": {"template": 1}}, "template: use proxmox_vm_template"),
        (100, {"config": {"delete": "tags"}}, "delete: pass the argument delete"),
        (100, {"delete": ["tagz"]}, "a VM has no key 'tagz', perhaps tags"),
        (100, {"revert": ["core"]}, "a VM has no key 'core', perhaps cores"),
        (100, {"config": {"tags": "a"}, "delete": ["tags"]}, "tags: set and deleted at once"),
        (100, {"config": {}}, "nothing to change: give config, delete or revert"),
        (100, {}, "nothing to change: give config, delete or revert"),
        (100, {"delete": []}, "nothing to change: give config, delete or revert"),
    ],
)
async def test_a_wrong_change_is_refused_before_anything_is_sent(
    client: Client, cluster: Cluster, vmid: int, change: dict[str, Any], said: str
) -> None:
    told = await refused(client, "vm_config_update", vmid=vmid, **change)

    assert said in told
    assert "Nothing was changed." in told
    assert [request.path for request in cluster.requests] == ["/cluster/resources"]


@pytest.mark.parametrize("key", ["../access", "a b", "Cores", "", "scsi0,unused0"])
async def test_a_key_that_cannot_be_one_is_refused_at_the_door(
    client: Client, cluster: Cluster, key: str
) -> None:
    assert "Nothing was sent" in await refused(client, "vm_config_update", vmid=100, delete=[key])
    assert cluster.requests == []


@pytest.mark.parametrize("value", [True, "true", "1", 1])
@pytest.mark.parametrize(("vmid", "verb"), [(107, "POST"), (103, "PUT")])
async def test_a_switch_goes_out_as_one_however_it_was_given(
    client: Client, cluster: Cluster, vmid: int, verb: str, value: Any
) -> None:
    await called(client, "vm_config_update", vmid=vmid, config={"protection": value})

    [(method, _, sent)] = cluster.writes
    assert (method, sent["protection"]) == (verb, "1")
    assert cluster.guest(vmid).protection is True


@pytest.mark.parametrize("value", [False, "false", "0", 0])
async def test_a_switch_goes_out_as_zero_however_it_was_given(
    client: Client, cluster: Cluster, value: Any
) -> None:
    await called(client, "vm_config_update", vmid=108, config={"protection": value})

    assert cluster.writes[0][2]["protection"] == "0"
    assert cluster.guest(108).protection is False


@pytest.mark.parametrize(
    ("vmid", "verb", "said"),
    [(107, "POST", "checksum mismatch"), (103, "PUT", "detected modified configuration")],
)
async def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
    client: Client, cluster: Cluster, vmid: int, verb: str, said: str
) -> None:
    cluster.intercept = before(verb, "/config", lambda: cluster.guest(vmid).config.update(cores=7))

    told = await refused(client, "vm_config_update", vmid=vmid, config={"cores": 4})

    assert said in told
    assert "Somebody else changed it meanwhile: read it again, then repeat the change." in told
    assert cluster.guest(vmid).config["cores"] == 7
    assert len(cluster.writes) == 1


@pytest.mark.parametrize(("vmid", "lock"), [(112, "backup"), (103, "snapshot")])
async def test_a_locked_guest_is_refused_with_what_holds_it(
    client: Client, cluster: Cluster, vmid: int, lock: str
) -> None:
    cluster.guest(vmid).lock = lock

    told = await refused(client, "vm_config_update", vmid=vmid, config={"cores": 4})

    assert f"is locked ({lock}): another job holds it" in told
    assert cluster.writes == []


async def test_a_hibernated_guest_is_refused_with_the_way_out(
    client: Client, cluster: Cluster
) -> None:
    cluster.guest(107).lock = "suspended"

    told = await refused(client, "vm_config_update", vmid=107, config={"cores": 4})

    assert "is hibernated" in told
    assert "proxmox_vm_resume" in told
    assert cluster.writes == []


async def test_ssh_keys_are_sent_encoded(client: Client, cluster: Cluster) -> None:
    keys = "ssh-ed25519 AAAA+/b= me@example.com\n"

    await called(client, "vm_config_update", vmid=107, config={"sshkeys": keys})

    assert cluster.writes[0][2]["sshkeys"] == quote(keys, safe="")
    assert cluster.guest(107).config["sshkeys"] == quote(keys, safe="")


async def test_a_password_is_sent_and_never_shown(client: Client, cluster: Cluster) -> None:
    shown = []
    for secret in (HUSH, f"{HUSH}-2"):
        change = {"vmid": 107, "config": {"cipassword": secret}}
        result = await client.call_tool("proxmox_vm_config_update", change)
        assert HUSH not in str(result)
        shown.append((result.structured_content or {}).get("changed"))
    result = await client.call_tool(
        "proxmox_vm_config_update", {"vmid": 107, "delete": ["cipassword"]}
    )
    shown.append((result.structured_content or {}).get("changed"))

    assert shown == [
        {"cipassword": {"after": "***"}},
        {"cipassword": {"before": "***", "after": "***"}},
        {"cipassword": {"before": "***"}},
    ]
    assert [write[2].get("cipassword") for write in cluster.writes] == [HUSH, f"{HUSH}-2", None]


async def test_a_password_does_not_come_back_with_a_failure(
    client: Client, cluster: Cluster
) -> None:
    change = {"cipassword": HUSH, "scsi1": "nowhere:8"}

    told = await refused(client, "vm_config_update", vmid=107, config=change)

    assert "storage 'nowhere' does not exist" in told
    assert "update VM 107: -cipassword <hidden> -scsi1 nowhere:8" in told
    assert HUSH not in told
    assert "scsi1" not in cluster.guest(107).config


async def test_a_refused_password_is_not_repeated(client: Client) -> None:
    change = {"cipassword": HUSH * 500, "cores": HUSH}

    told = await refused(client, "vm_config_update", vmid=107, config=change)

    assert "cipassword must have at most 8192 characters; cores must be a whole number" in told
    assert HUSH not in told


async def test_when_the_wait_is_over_first_the_way_on_is_told(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = lambda request: (
        answer({"status": "running"}) if request.path.endswith("/status") else None
    )

    done = await called(client, "vm_config_update", vmid=107, config={"cores": 4}, wait=0)

    assert done["state"] == "running"
    assert done["next"] == (f'proxmox_task_status(upid="{done["upid"]}", wait=300) goes on waiting')
    assert "changed" not in done
    assert "accepted, not finished" in done["done"]


async def test_a_change_that_is_done_at_once_needs_no_task(
    client: Client, cluster: Cluster
) -> None:
    def at_once(request: Request) -> Answer | None:
        if request.method != "POST":
            return None
        cluster.guest(107).config["cores"] = 4
        return answer(None)

    cluster.intercept = at_once

    done = await called(client, "vm_config_update", vmid=107, config={"cores": 4})

    assert (done["state"], "upid" in done) == ("ok", False)
    assert done["changed"] == {"cores": {"before": "2", "after": "4"}}


@pytest.mark.parametrize("version", ["7.4", "8.4", "9.0", "9.2"])
async def test_every_version_takes_a_change_of_both_kinds(version: str) -> None:
    async with release(version) as (client, cluster):
        machine = await called(client, "vm_config_update", vmid=107, config={"memory": 4096})
        container = await called(client, "vm_config_update", vmid=103, config={"memory": 2048})

        assert machine["changed"] == {"memory": {"before": "2048", "after": "4096"}}
        assert container["changed"] == {"memory": {"before": "1024", "after": "2048"}}
        assert [guest.memory // 1024**2 for guest in map(cluster.guest, (107, 103))] == [4096, 2048]


# --- disks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_growing_a_vms_disk_by_so_much_is_sent_as_so_much(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    digest = cluster.guest(100).digest

    async with connect(mode=mode) as client:
        done = await called(client, "disk_resize", vmid=100, disk="scsi0", size="+50G")

    sent = {"disk": "scsi0", "size": "82G", "digest": digest}
    assert cluster.writes == [("PUT", "/nodes/pve1/qemu/100/resize", sent)]
    [disk] = cluster.guest(100).disks()
    volume = cluster.center.volume("pve1", disk.volid)
    assert volume is not None
    assert (disk.size, volume.size) == (82 * GIB, 82 * GIB)
    assert (done["state"], done["done"]) == (
        "ok",
        "VM 100 (web-01) on pve1: scsi0 grown from 32 GiB to 82 GiB.",
    )
    assert ":resize:100:" in done["upid"]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_containers_disk_is_grown(connect: Connect, cluster: Cluster, mode: str) -> None:
    digest = cluster.guest(103).digest

    async with connect(mode=mode) as client:
        done = await called(client, "disk_resize", vmid=103, disk="rootfs", size="+2G")

    sent = {"disk": "rootfs", "size": "10G", "digest": digest}
    assert cluster.writes == [("PUT", "/nodes/pve1/lxc/103/resize", sent)]
    assert cluster.guest(103).disk_size == 10 * GIB
    assert done["done"] == "container 103 (cache) on pve1: rootfs grown from 8 GiB to 10 GiB."


@pytest.mark.parametrize(
    ("size", "sent", "words"),
    [
        ("40G", "40G", "from 32 GiB to 40 GiB"),
        ("1T", "1024G", "from 32 GiB to 1024 GiB"),
        ("+1.5G", "34304M", "from 32 GiB to 33.5 GiB"),
        ("32.25G", "33024M", "from 32 GiB to 32.25 GiB"),
        ("+512M", "33280M", "from 32 GiB to 32.5 GiB"),
        ("+4K", "33554436K", "from 32 GiB to 32 GiB"),
        ("34359738880", "34359738880", "from 32 GiB to 32 GiB"),
    ],
)
async def test_a_size_is_sent_whole_and_absolute(
    client: Client, cluster: Cluster, size: str, sent: str, words: str
) -> None:
    done = await called(client, "disk_resize", vmid=100, disk="scsi0", size=size)

    assert cluster.writes[0][2]["size"] == sent
    assert done["done"].endswith(f"grown {words}.")


@pytest.mark.parametrize("size", ["32G", "+0", "+0G", "32768M", "34359738368"])
async def test_a_disk_of_that_size_is_left_alone(
    client: Client, cluster: Cluster, size: str
) -> None:
    done = await called(client, "disk_resize", vmid=100, disk="scsi0", size=size)

    assert done == {
        "state": "already",
        "done": "VM 100 (web-01) on pve1 has scsi0 at 32 GiB already; nothing was changed.",
    }
    assert cluster.writes == []


async def test_a_containers_disk_of_that_size_is_left_alone(
    client: Client, cluster: Cluster
) -> None:
    done = await called(client, "disk_resize", vmid=103, disk="rootfs", size="8G")

    assert done["state"] == "already"
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("vmid", "wanted", "said"),
    [
        (100, "scsi0 10G", "scsi0 of VM 100 (web-01) on pve1 has 32 GiB and cannot shrink to"),
        (100, "scsi0 0", "cannot shrink to 0 bytes"),
        (103, "rootfs 7.5G", "has 8 GiB and cannot shrink to 7.5 GiB"),
        (103, "rootfs 512M", "has 8 GiB and cannot shrink to 512 MiB"),
        (103, "rootfs 528K", "has 8 GiB and cannot shrink to 528 KiB"),
        (100, "scsi1 +1G", "VM 100 (web-01) on pve1 has no disk scsi1 that can grow. It has:"),
        (100, "rootfs +1G", "has no disk rootfs that can grow. It has: scsi0 (32 GiB)."),
        (103, "mp0 +1G", "has no disk mp0 that can grow. It has: rootfs (8 GiB)."),
    ],
)
async def test_what_cannot_grow_is_refused_with_what_is_there(
    client: Client, cluster: Cluster, vmid: int, wanted: str, said: str
) -> None:
    disk, size = wanted.split()

    assert said in await refused(client, "disk_resize", vmid=vmid, disk=disk, size=size)
    assert cluster.writes == []


async def test_a_cd_and_what_has_no_size_are_not_offered(client: Client, cluster: Cluster) -> None:
    cluster.guest(107).config |= {
        "ide2": "local:iso/debian.iso,media=cdrom,size=600M",
        "ide0": "local-lvm:vm-107-cloudinit,media=cdrom,size=4M",
        "scsi1": "local-lvm:vm-107-disk-1",
        "unused0": "local-lvm:vm-107-disk-2",
        "virtio0": "local-lvm:vm-107-disk-3,size=4M",
    }

    told = await refused(client, "disk_resize", vmid=107, disk="ide2", size="+1G")

    assert "has no disk ide2 that can grow. It has: scsi0 (16 GiB), virtio0 (4 MiB)." in told
    assert cluster.writes == []


async def test_a_guest_without_disks_says_none(client: Client, cluster: Cluster) -> None:
    del cluster.guest(107).config["scsi0"]

    told = await refused(client, "disk_resize", vmid=107, disk="scsi0", size="+1G")

    assert "It has: none." in told


@pytest.mark.parametrize(
    "arguments",
    [
        {"disk": "scsi0", "size": "50GB"},
        {"disk": "scsi0", "size": "-5G"},
        {"disk": "scsi0", "size": "1e3"},
        {"disk": "unused0", "size": "+1G"},
        {"disk": "../scsi0", "size": "+1G"},
    ],
)
async def test_a_size_or_disk_of_the_wrong_form_is_refused_at_the_door(
    client: Client, cluster: Cluster, arguments: dict[str, str]
) -> None:
    assert "is not of the right form" in await refused(client, "disk_resize", vmid=100, **arguments)
    assert cluster.requests == []


async def test_a_locked_guests_disk_is_left_alone(client: Client, cluster: Cluster) -> None:
    told = await refused(client, "disk_resize", vmid=112, disk="scsi0", size="+1G")

    assert "is locked (backup)" in told
    assert cluster.writes == []


@pytest.mark.parametrize(("vmid", "disk"), [(100, "scsi0"), (103, "rootfs")])
async def test_a_disk_that_somebody_else_grew_meanwhile_is_not_touched(
    client: Client, cluster: Cluster, vmid: int, disk: str
) -> None:
    def grow() -> None:
        config = cluster.guest(vmid).config
        config[disk] = config[disk].partition(",")[0] + ",size=99G"

    cluster.intercept = before("PUT", "/resize", grow)

    told = await refused(client, "disk_resize", vmid=vmid, disk=disk, size="+1G")

    assert "Somebody else changed it meanwhile: read it again" in told
    assert cluster.guest(vmid).disk_size == 99 * GIB


@pytest.mark.parametrize(
    ("version", "in_a_task"), [("7.4", False), ("8.4", True), ("9.0", True), ("9.2", True)]
)
async def test_every_version_grows_a_disk_whether_it_says_so_or_not(
    version: str, in_a_task: object
) -> None:
    async with release(version) as (client, cluster):
        done = await called(client, "disk_resize", vmid=100, disk="scsi0", size="+8G")

        assert ("upid" in done) is in_a_task
        assert (done["state"], cluster.guest(100).disk_size) == ("ok", 40 * GIB)
        container = await called(client, "disk_resize", vmid=103, disk="rootfs", size="9G")
        assert (container["state"], cluster.guest(103).disk_size) == ("ok", 9 * GIB)


async def test_disk_keys_and_deletions_are_marked_as_destructive(
    connect: Connect, cluster: Cluster
) -> None:
    cluster.guest(107).config["scsi1"] = "local-lvm:vm-107-disk-1,size=1G"
    arguments = {"vmid": 107, "config": {"cores": 3}, "delete": ["scsi1", "tags"]}
    async with connect() as client:
        result = await client.call_tool("proxmox_vm_config_update", arguments)

    assert result.structured_content is not None
    assert result.structured_content["destructive"] == ["scsi1", "tags"]


async def test_a_change_that_changes_nothing_says_so(connect: Connect) -> None:
    arguments = {"vmid": 107, "config": {"cores": 2}}
    async with connect() as client:
        result = await client.call_tool("proxmox_vm_config_update", arguments)

    assert result.structured_content is not None
    assert result.structured_content["done"].endswith("all of it was so before.")
    assert "changed" not in result.structured_content
