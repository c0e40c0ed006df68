"""The small cluster on which the answers in recorded.json were recorded, built in the simulator."""

from __future__ import annotations

import json
from typing import Any

from proxmox_mcp.simulator import CREDENTIALS, TOKENS, Answer, Cluster, Request
from proxmox_mcp.simulator.state import GIB, Guest, Volume

NOW = 1_795_337_600.0  # when the recording was made
BACKUP = "local:backup/vzdump-qemu-111-2026_11_22-08_52_17.vma.zst"
ARCHIVED = 1_795_337_537


class Clock:
    """A time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def machine(vmid: int, **config: Any) -> Guest:
    known = {"memory": "256", "cores": 1, "meta": "creation-qemu=7.2.22,ctime=1795337431"}
    known |= {"smbios1": "uuid=6cc6729c-8bfb-49f2-a397-a4c7a42c2eb6"}
    known |= {"vmgenid": "c316b5ad-bd37-46fa-986a-f2616661cc52"}
    return Guest(vmid, "qemu", "pve1", known | config)


def _guests() -> list[Guest]:
    disk = {"boot": "order=scsi0;net0", "net0": "virtio=BC:24:11:3B:0C:80,bridge=vmbr0"}
    web = machine(110, name="web01", agent="1", tags="web;prod", ostype="l26", **disk)
    web.config |= {"scsi0": "local:110/vm-110-disk-0.qcow2,size=1G", "serial0": "socket"}
    web.config |= {"scsihw": "virtio-scsi-pci", "description": "sample"}
    web.config |= {"ide2": "local:iso/tiny.iso,media=cdrom,size=18392K"}
    database = machine(111, name="db01", agent="1", **disk)
    database.config["scsi0"] = "local:111/vm-111-disk-0.qcow2,size=2G"
    bare = machine(112, name="noagent")
    template = machine(113, name="tmpl", template=1)
    restored = machine(117, name="db01")
    container = Guest(
        210,
        "lxc",
        "pve1",
        {
            "hostname": "ct01", "memory": 128, "swap": 0, "ostype": "alpine", "arch": "amd64",
            "unprivileged": 1, "rootfs": "local:210/vm-210-disk-0.raw,size=1G", "cores": 2,
            "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:59:92:66,type=veth",
        },
    )  # fmt: skip
    with_snapshot = Guest(221, "lxc", "pve1", dict(container.config))
    with_snapshot.config["rootfs"] = "local-lvm:vm-221-disk-0,size=1G"
    migratable = Guest(200, "lxc", "pve1", dict(container.config), status="running")
    managed = machine(101, name="db01", agent="1")
    managed.status, managed.ha_state = "running", "started"
    elsewhere = machine(900, name="far")
    elsewhere.node = "pve2"
    web.status = container.status = "running"
    for guest in (web, container, migratable, managed):
        guest.started = NOW - 100
    return [web, database, bare, template, restored, container, with_snapshot, migratable,
            managed, elsewhere]  # fmt: skip


def build(version: str = "8.4") -> tuple[Cluster, Clock]:
    clock = Clock()
    cluster = Cluster(guests=0, nodes=2, version=version, clock=clock, offline={"pve2"})
    center = cluster.center
    center.guests = {guest.vmid: guest for guest in _guests()}
    local = center.storages["local"]
    for vmid in (110, 111):
        volid = f"local:{vmid}/vm-{vmid}-disk-0.qcow2"
        local.add("pve1", Volume(volid, "images", "qcow2", GIB, ARCHIVED, vmid, used=331_776))
    backup = Volume(BACKUP, "backup", "vma.zst", 55_308, ARCHIVED, 111, subtype="qemu")
    backup.notes, backup.config = "db01", dict(center.guests[111].config)
    local.add("pve1", backup)
    return cluster, clock


def headers(token: str) -> dict[str, str]:
    """The header for one of our tokens by name, or for whatever a client sent instead."""
    if token == "garbage":
        return {"authorization": "PVEAPIToken=garbage"}
    if "=" in token:
        return {"authorization": f"PVEAPIToken={token}"}
    known = CREDENTIALS if token == "demo" else TOKENS[token]
    text = "{user}!{token_name}={token_value}".format_map(known)
    return {"authorization": f"PVEAPIToken={text}"}


def request(method: str, path: str, *params: tuple[str, str], sender: str = "demo") -> Request:
    return Request(method, path, tuple(params), headers(sender))


def content(answer: Answer) -> Any:
    """The JSON of an answer."""
    return json.loads(answer.body)
