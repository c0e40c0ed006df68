"""The example cluster: a dozen guests of which each has something to show, and any number more.

Ids 101 and 200 are free, because the examples in the documentation restore to 101 and clone to
200. One name is borne by two guests. Guest 105 is being backed up when the cluster starts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.state import GIB, MIB, Guest, Node, Storage, Volume
from proxmox_mcp.simulator.vzdump import Job

DAY = 86_400.0
SAMPLE_BACKUP = "backup-storage:backup/vzdump-qemu-100-2025_11_06-14_30_00.vma.zst"
SAMPLE_TIME = 1_762_439_400  # 2025-11-06 14:30:00 UTC, as its name says
FIRST_FILLER = 1001
ROLES = ("app", "web", "db", "queue", "build", "mail", "log", "edge")


@dataclass(frozen=True, slots=True)
class Sample:
    """One guest of the example cluster; what is not said is ordinary."""

    vmid: int
    kind: str
    name: str
    node: int
    storage: str = "local-lvm"
    gib: int = 32
    memory: int = 2048
    cores: int = 2
    config: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


def _running(**more: Any) -> dict[str, Any]:
    return {"status": "running", **more}


SAMPLES = (
    Sample(
        100, "qemu", "web-01", 1, "shared-vms", memory=4096,
        config={"agent": "1", "tags": "prod;web", "description": "Shop front end"},
        state=_running(pool="production"),
    ),
    Sample(
        102, "qemu", "web-02", 1, "shared-vms",
        config={"agent": "1", "tags": "prod;web"},
        state=_running(pool="production", ha_state="started"),
    ),
    Sample(103, "lxc", "cache", 1, gib=8, memory=1024, config={"tags": "prod"}, state=_running()),
    Sample(
        104, "qemu", "legacy-01", 1, "local", gib=16,
        config={"ostype": "l24", "tags": "legacy"}, state=_running(),
    ),
    Sample(
        105, "qemu", "db-01", 2, memory=8192, cores=4,
        config={"agent": "1", "tags": "db;prod"}, state=_running(pool="production", load=0.32),
    ),
    Sample(
        106, "qemu", "db-02", 2, config={"agent": "1", "tags": "db"},
        state=_running(agent_running=False),
    ),
    Sample(107, "qemu", "cache", 2, gib=16, config={"agent": "1", "tags": "test"}),
    Sample(
        108, "qemu", "vault-01", 3, config={"agent": "1", "protection": 1, "tags": "prod"},
        state=_running(),
    ),
    Sample(
        109, "qemu", "desk-01", 3, config={"agent": "1", "ostype": "win11"},
        state=_running(paused=True),
    ),
    Sample(110, "qemu", "debian-12-template", 1, "shared-vms", gib=8, config={"agent": "1"}),
    Sample(111, "lxc", "proxy-01", 3, "local", gib=8, memory=512, state=_running()),
    Sample(112, "qemu", "build-01", 2, config={"agent": "1", "lock": "backup", "tags": "test"}),
)  # fmt: skip
TEMPLATE = 110


def furnish(center: Datacenter, *, guests: int, nodes: int) -> None:
    """Fill an empty datacenter with the example cluster and with generated guests."""
    for number in range(1, nodes + 1):
        _add_node(center, number)
    _add_storages(center)
    center.pools["production"] = "What customers use"
    for sample in SAMPLES[:guests]:
        _add_sample(center, sample)
    for index in range(guests - len(SAMPLES)):
        _add_filler(center, index)
    _add_volumes(center)
    _add_history(center)


def _add_node(center: Datacenter, number: int) -> None:
    digits = f"{center.random.getrandbits(256):064X}"
    fingerprint = ":".join(digits[i : i + 2] for i in range(0, 64, 2))
    name = f"pve{number}"
    booted = center.now - 4 * DAY - 977 * number
    center.nodes[name] = Node(name, number, f"192.0.2.{10 + number}", fingerprint, booted=booted)


def _add_storages(center: Datacenter) -> None:
    everything = ("backup", "images", "import", "iso", "rootdir", "snippets", "vztmpl")
    old = tuple(content for content in everything if content != "import")
    for storage in (
        Storage(
            "local", "dir", everything if center.since(8.3) else old, 94 * GIB,
            path="/var/lib/vz", snapshots=False, extra={"prune-backups": "keep-all=1"},
        ),
        Storage(
            "local-lvm", "lvmthin", ("images", "rootdir"), 800 * GIB,
            extra={"thinpool": "data", "vgname": "pve"},
        ),
        Storage(
            "shared-vms", "nfs", ("images", "rootdir"), 4096 * GIB, shared=True,
            path="/mnt/pve/shared-vms", extra={"server": "192.0.2.50", "export": "/vms"},
        ),
        Storage(
            "backup-storage", "nfs", ("backup",), 8192 * GIB, shared=True,
            path="/mnt/pve/backup-storage",
            extra={"server": "192.0.2.50", "export": "/backup", "prune-backups": "keep-last=3"},
        ),
        Storage(
            "pbs", "pbs", ("backup",), 16384 * GIB, shared=True,
            extra={"server": "192.0.2.51", "datastore": "main", "prune-backups": "keep-all=1"},
        ),
    ):  # fmt: skip
        center.storages[storage.name] = storage


def _node_name(center: Datacenter, number: int) -> str:
    return f"pve{(number - 1) % len(center.nodes) + 1}"


def _add_sample(center: Datacenter, sample: Sample) -> None:
    node = _node_name(center, sample.node)
    config = _config(center, sample, node) | sample.config
    guest = Guest(sample.vmid, sample.kind, node, config)
    guest.started = center.now - DAY * (1 + sample.vmid % 3) - 60.0 * sample.vmid
    for name, value in sample.state.items():
        setattr(guest, name, value)
    guest.template = sample.vmid == TEMPLATE
    center.guests[guest.vmid] = guest


def _config(center: Datacenter, sample: Sample, node: str) -> dict[str, Any]:
    disk = f"{_image(center, sample, node)},size={sample.gib}G"
    mac = center.mac()
    if sample.kind == "lxc":
        return {
            "arch": "amd64", "cores": sample.cores, "hostname": sample.name,
            "memory": sample.memory, "swap": 512, "ostype": "debian", "unprivileged": 1,
            "net0": f"name=eth0,bridge=vmbr0,firewall=1,hwaddr={mac},ip=dhcp,type=veth",
            "rootfs": disk,
        }  # fmt: skip
    # Since version 8 the memory is a property string, so even a plain number is a text.
    memory: Any = str(sample.memory) if center.since(8) else sample.memory
    return {
        "boot": "order=scsi0;net0", "cores": sample.cores, "memory": memory,
        "meta": f"creation-qemu=9.0.2,ctime={int(center.now - 30 * DAY)}",
        "name": sample.name, "net0": f"virtio={mac},bridge=vmbr0,firewall=1",
        "ostype": "l26", "scsi0": disk, "scsihw": "virtio-scsi-pci",
        "smbios1": f"uuid={center.uuid()}", "vmgenid": center.uuid(),
    }  # fmt: skip


def _image(center: Datacenter, sample: Sample, node: str) -> str:
    storage = center.storages[sample.storage]
    word = "base" if sample.vmid == TEMPLATE else "vm"
    kind = "raw" if sample.storage != "shared-vms" else "qcow2"
    folder, suffix = (f"{sample.vmid}/", f".{kind}") if storage.path else ("", "")
    volid = f"{storage.name}:{folder}{word}-{sample.vmid}-disk-0{suffix}"
    content = "rootdir" if sample.kind == "lxc" else "images"
    size = sample.gib * GIB
    born = int(center.now - 30 * DAY)
    storage.add(node, Volume(volid, content, kind, size, born, sample.vmid, used=size // 3))
    return volid


def _add_filler(center: Datacenter, index: int) -> None:
    vmid = FIRST_FILLER + index
    role = ROLES[index % len(ROLES)]
    sample = Sample(
        vmid,
        "lxc" if index % 4 == 3 else "qemu",  # noqa: PLR2004 - every fourth is a container
        f"{role}-{index // len(ROLES) + 11:02d}",
        index + 1,
        gib=8,
        memory=512 * (1 + index % 4),
        cores=1 + index % 2,
        config={"tags": "generated"},
        state=_running(load=0.01 * (index % 9)) if index % 5 else {},
    )
    _add_sample(center, sample)


def _add_volumes(center: Datacenter) -> None:
    born = int(center.now - 20 * DAY)
    for node in center.nodes:
        local = center.storages["local"]
        for name, content, kind, size in (
            ("iso/debian-12.7.0-amd64-netinst.iso", "iso", "iso", 659_554_304),
            ("vztmpl/debian-12-standard_12.7-1_amd64.tar.zst", "vztmpl", "tzst", 126_515_062),
        ):
            local.add(node, Volume(f"local:{name}", content, kind, size, born))
    web = center.guests.get(100)
    config = dict(web.config) if web else {}
    older = SAMPLE_BACKUP.replace("11_06", "11_05")
    for volid, when in ((SAMPLE_BACKUP, SAMPLE_TIME), (older, SAMPLE_TIME - 86_400)):
        volume = Volume(volid, "backup", "vma.zst", 11 * GIB + 3 * MIB, when, 100, subtype="qemu")
        volume.notes, volume.config = "web-01", config
        center.storages["backup-storage"].add("", volume)
    in_pbs = Volume("pbs:backup/ct/103/2025-11-06T02:00:00Z", "backup", "pbs-ct", 3 * GIB, 0, 103)
    in_pbs.subtype, in_pbs.ctime = "lxc", SAMPLE_TIME - 45_000
    container = center.guests.get(103)
    in_pbs.config = dict(container.config) if container else {}
    center.storages["pbs"].add("", in_pbs)


def _add_history(center: Datacenter) -> None:
    now = max(center.now, 2 * DAY)
    second = _node_name(center, 2)
    user = "root@pam"
    center.tasks.record(
        ("pve1", "qmstart", "100", f"{user}!demo"),
        start=now - DAY, lasted=2, log=[], status="OK",
    )  # fmt: skip
    center.tasks.record(
        (second, "vzdump", "112", user), start=now - 9000, lasted=35, status="job errors",
        log=[
            "INFO: starting new backup job: vzdump 112 --storage backup-storage",
            "ERROR: Backup of VM 112 failed - VM is locked (backup)",
            "INFO: Backup job finished with errors",
        ],
    )  # fmt: skip
    center.tasks.record(
        ("pve1", "vzdump", "103", user), start=now - 7200, lasted=61, status="WARNINGS: 1",
        log=["INFO: Starting Backup of VM 103 (lxc)", "WARN: unable to read notes template"],
    )  # fmt: skip
    if 105 in center.guests:  # noqa: PLR2004 - the guest that is being backed up at the start
        arguments = "105 --storage backup-storage --mode snapshot --compress zstd --remove 0"
        job = Job(second, (105,), "backup-storage", arguments, compress="zstd", prune=False)
        center.tasks.spawn(second, "vzdump", "105", user, job.plan(center))
