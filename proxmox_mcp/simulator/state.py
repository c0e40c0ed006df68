"""What the cluster consists of: nodes, guests, storages and volumes, as plain mutable objects.

Rule 1: nothing here speaks HTTP or checks a right; it is what the endpoints look at and change.
Rule 2: a guest's `config` is what its file holds, in the types in which Proxmox answers it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from proxmox_mcp.simulator.wire import Refusal, died

GIB = 1024**3
MIB = 1024**2
DISK_KEY = re.compile(r"(ide|scsi|virtio|sata|efidisk|tpmstate|mp)\d+|rootfs")
SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
UNIT = {"": 1, "K": 1024, "M": MIB, "G": GIB, "T": 1024 * GIB}
NO_RULES = "da39a3ee5e6b4b0d3255bfef95601890afd80709"  # the SHA-1 of an empty file


@dataclass(eq=False)
class Firewall:
    """The rules of a guest, a node or the cluster, in order, and its options."""

    rules: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Changes whenever rules or options do."""
        if not self.rules and not self.options:
            return NO_RULES
        return fingerprint([self.rules, self.options])


@dataclass(eq=False)
class Node:
    """One server of the cluster."""

    name: str
    nodeid: int
    ip: str
    fingerprint: str
    cpus: int = 16
    memory: int = 64 * GIB
    disk: int = 94 * GIB
    booted: float = 0.0
    online: bool = True
    firewall: Firewall = field(default_factory=Firewall)


@dataclass(eq=False)
class Snapshot:
    """A guest's past: its config of then and, for a VM, perhaps its memory."""

    name: str
    description: str
    time: int
    config: dict[str, Any]
    parent: str | None = None
    vmstate: bool = False


@dataclass(eq=False)
class Process:
    """A program that the guest agent runs; it is forgotten once its end was reported."""

    ends: float
    exitcode: int
    out: bytes
    err: bytes


@dataclass(eq=False)
class Guest:
    """A VM or a container; tests may set any of this."""

    vmid: int
    kind: str  # qemu or lxc
    node: str
    config: dict[str, Any]
    status: str = "stopped"
    paused: bool = False
    started: float = 0.0
    agent_running: bool = True
    ha_state: str | None = None
    pool: str | None = None
    load: float = 0.05
    pending: dict[str, Any] = field(default_factory=dict)  # a value of None is a deletion
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    parent: str | None = None  # the snapshot that the present state descends from
    firewall: Firewall = field(default_factory=Firewall)
    processes: dict[int, Process] = field(default_factory=dict)
    last_pid: int = 2000
    held: bool = False  # a worker has the lock file
    stubborn: bool = False  # does not react to ACPI or SIGPWR: every shutdown times out

    @property
    def running(self) -> bool:
        """Whether it runs; a paused VM does."""
        return self.status == "running"

    @property
    def prefix(self) -> str:
        """The word in messages: VM or CT."""
        return "VM" if self.kind == "qemu" else "CT"

    @property
    def name(self) -> str:
        """Its name; a container calls it hostname."""
        return str(self.config.get(self._name_key, f"{self.prefix}{self.vmid}"))

    @name.setter
    def name(self, name: str) -> None:
        self.config[self._name_key] = name

    @property
    def _name_key(self) -> str:
        return "name" if self.kind == "qemu" else "hostname"

    @property
    def lock(self) -> str | None:
        """The `lock:` in its config: backup, clone, snapshot, suspended and so on."""
        return self.config.get("lock")

    @lock.setter
    def lock(self, lock: str | None) -> None:
        self._set("lock", lock)

    @property
    def tags(self) -> str:
        """Its tags, separated by semicolons."""
        return str(self.config.get("tags", ""))

    @tags.setter
    def tags(self, tags: str) -> None:
        self._set("tags", tags or None)

    @property
    def protection(self) -> bool:
        """Whether it is protected from removal."""
        return bool(self.config.get("protection"))

    @protection.setter
    def protection(self, protected: bool) -> None:
        self._set("protection", 1 if protected else None)

    @property
    def template(self) -> bool:
        """Whether it is a template."""
        return bool(self.config.get("template"))

    @template.setter
    def template(self, template: bool) -> None:
        self._set("template", 1 if template else None)

    @property
    def agent(self) -> bool:
        """Whether the config says that the guest agent is there."""
        value = str(self.config.get("agent", "0")).removeprefix("enabled=")
        return value.startswith("1")

    @agent.setter
    def agent(self, configured: bool) -> None:
        self._set("agent", "1" if configured else None)

    @property
    def ha_managed(self) -> bool:
        """Whether the HA manager starts and stops it."""
        return self.ha_state is not None

    @ha_managed.setter
    def ha_managed(self, managed: bool) -> None:
        self.ha_state = ("started" if self.running else "stopped") if managed else None

    def _set(self, key: str, value: Any) -> None:
        if value is None:
            self.config.pop(key, None)
        else:
            self.config[key] = value

    @property
    def cores(self) -> int:
        """How many virtual processors it has."""
        return int(self.config.get("cores", 1)) * int(self.config.get("sockets", 1))

    @property
    def memory(self) -> int:
        """Its memory in bytes, from a number or from `current=2048`."""
        default = "512"
        text = str(self.config.get("memory", default)).removeprefix("current=")
        return int(text.partition(",")[0]) * MIB

    @property
    def config_path(self) -> str:
        """Where its config file is, as error messages name it."""
        return config_path(self.node, self.kind, self.vmid)

    @property
    def digest(self) -> str:
        """The SHA-1 that every change of the config changes."""
        past = {name: snapshot.config for name, snapshot in self.snapshots.items()}
        return fingerprint([self.config, self.pending, past, self.parent])

    def disks(self, *, cdroms: bool = False) -> Iterator[Disk]:
        """Its volumes by config key, without CD drives unless asked for."""
        for key, value in self.config.items():
            if DISK_KEY.fullmatch(key):
                disk = Disk.parse(key, str(value))
                if cdroms or not disk.cdrom:
                    yield disk

    @property
    def disk_size(self) -> int:
        """The size of its first disk, which is what listings show as maxdisk."""
        return next((disk.size for disk in self.disks()), 0)

    def check_lock(self) -> None:
        """Refuse while the config is locked."""
        if self.lock:
            raise died(f"{self.prefix} is locked ({self.lock})")


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk as its config key says it: `local-lvm:vm-100-disk-0,size=32G`."""

    key: str
    volid: str
    options: tuple[str, ...]

    @classmethod
    def parse(cls, key: str, value: str) -> Disk:
        """Read a disk from its config value."""
        volid, *options = value.split(",")
        return cls(key, volid.removeprefix("file=").removeprefix("volume="), tuple(options))

    @property
    def storage(self) -> str:
        """The storage it is on."""
        return self.volid.partition(":")[0]

    @property
    def cdrom(self) -> bool:
        """Whether it is a CD drive."""
        return "media=cdrom" in self.options

    @property
    def size(self) -> int:
        """Its size in bytes."""
        for option in self.options:
            if option.startswith("size="):
                return size_in_bytes(option.removeprefix("size="))
        return 0

    def resized(self, size: int) -> str:
        """The config value with another size."""
        others = [option for option in self.options if not option.startswith("size=")]
        return ",".join([self.volid, *others, f"size={size_text(size)}"])

    def moved(self, volid: str) -> str:
        """The config value with another volume."""
        return ",".join([volid, *self.options])


@dataclass(eq=False)
class Volume:
    """An image, a backup, an ISO file or a template on a storage."""

    volid: str
    content: str
    format: str
    size: int
    ctime: int
    vmid: int | None = None
    used: int | None = None
    subtype: str | None = None
    notes: str | None = None
    protected: bool = False
    config: dict[str, Any] = field(default_factory=dict)  # the guest's, inside a backup

    @property
    def name(self) -> str:
        """The part of the id behind the storage."""
        return self.volid.partition(":")[2]


@dataclass(eq=False)
class Storage:
    """A storage; a shared one has the same volumes on every node."""

    name: str
    type: str
    content: tuple[str, ...]
    total: int
    shared: bool = False
    path: str | None = None
    snapshots: bool = True
    extra: dict[str, Any] = field(default_factory=dict)
    volumes: dict[str, dict[str, Volume]] = field(default_factory=dict)

    def on(self, node: str) -> dict[str, Volume]:
        """The volumes as that node sees them, by id."""
        return self.volumes.setdefault("" if self.shared else node, {})

    def add(self, node: str, volume: Volume) -> None:
        """Put a volume onto it."""
        self.on(node)[volume.volid] = volume

    def used(self, node: str) -> int:
        """How many bytes are taken; a tenth is taken by what is not listed."""
        volumes = self.on(node).values()
        taken = sum(v.size if v.used is None else v.used for v in volumes)
        return min(self.total, self.total // 10 + taken)

    def can_snapshot(self, volid: str) -> bool:
        """Whether a snapshot of that volume is possible here."""
        return self.snapshots or volid.endswith(".qcow2")


def config_path(node: str, kind: str, vmid: int) -> str:
    """A config file's path below /etc/pve."""
    return f"nodes/{node}/{'qemu-server' if kind == 'qemu' else 'lxc'}/{vmid}.conf"


def no_config(node: str, kind: str, vmid: int) -> Refusal:
    """No such guest here: also said for one of the other kind or on another node."""
    return died(f"Configuration file '{config_path(node, kind, vmid)}' does not exist")


def fingerprint(content: Any) -> str:
    """A SHA-1 over anything made of lists and dicts."""
    return hashlib.sha1(json.dumps(content).encode(), usedforsecurity=False).hexdigest()


@cache
def size_in_bytes(text: str) -> int:
    """Read 32G, 512M or 4096."""
    match = SIZE.fullmatch(text)
    return int(float(match[1]) * UNIT[match[2]]) if match else 0


def size_text(size: int) -> str:
    """Write a size as the config does: the largest unit that divides it."""
    for unit in "TGMK":
        if size and size % UNIT[unit] == 0:
            return f"{size // UNIT[unit]}{unit}"
    return str(size)
