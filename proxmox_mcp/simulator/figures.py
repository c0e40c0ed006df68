"""What a guest or a node shows of itself: processor, memory, traffic, and the odd forms of numbers.

Rule 1: figures follow from seed and clock, so that two runs show the same.
Rule 2: the keys are those of recorded answers, version by version.
"""

from __future__ import annotations

import math
from typing import Any

from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.state import MIB, Guest, Node

SETTLING = 5.0  # seconds after a start in which the processor figure is still a plain 0
QEMU_VERSIONS = {7: "7.2.10", 8: "9.2.0", 9: "10.0.2"}
PRESSURES = tuple(
    f"pressure{what}{how}" for what in ("cpu", "io", "memory") for how in ("some", "full")
)
BLOCK_COUNTERS = [
    "rd_bytes",
    "wr_bytes",
    "unmap_bytes",
    "rd_operations",
    "wr_operations",
    "flush_operations",
    "unmap_operations",
    "rd_merged",
    "wr_merged",
    "unmap_merged",
    "rd_total_time_ns",
    "wr_total_time_ns",
    "flush_total_time_ns",
    "unmap_total_time_ns",
    "failed_rd_operations",
    "failed_wr_operations",
    "failed_flush_operations",
    "failed_unmap_operations",
    "invalid_rd_operations",
    "invalid_wr_operations",
    "invalid_flush_operations",
    "invalid_unmap_operations",
    "idle_time_ns",
    "wr_highest_offset",
]


def uptime(guest: Guest, now: float) -> int:
    """Seconds since it was started."""
    return max(0, int(now - guest.started)) if guest.running else 0


def _wave(seed: int, now: float) -> float:
    return 1.0 + 0.4 * math.sin(seed + now / 97.0)


def processor(guest: Guest, now: float) -> float | int:
    """The share of its processors that it uses; an integer 0 when there is nothing to show."""
    if not guest.running or guest.paused or now - guest.started < SETTLING:
        return 0
    return round(guest.load * _wave(guest.vmid, now), 15)


def used_memory(guest: Guest, now: float) -> int:
    """Bytes of memory in use."""
    if not guest.running:
        return 0
    share = min(0.95, 0.35 + guest.load + 0.05 * _wave(guest.vmid, now))
    return int(guest.memory * share)


def basics(center: Datacenter, guest: Guest) -> dict[str, Any]:
    """The figures that all listings share."""
    now = center.now
    seconds, memory, disk = uptime(guest, now), used_memory(guest, now), guest.disk_size
    shown = {
        "name": guest.name,
        "status": guest.status,
        "uptime": seconds,
        "cpu": processor(guest, now),
        "mem": memory,
        "maxmem": guest.memory,
        "disk": int(disk * 0.4) if guest.kind == "lxc" and guest.running else 0,
        "maxdisk": disk,
        "netin": seconds * (900 + guest.vmid),
        "netout": seconds * (400 + guest.vmid),
    }
    if guest.kind == "qemu" and center.since(9):
        shown["memhost"] = memory
    return shown


def listed(center: Datacenter, guest: Guest) -> dict[str, Any]:
    """An entry of /nodes/{node}/qemu or /nodes/{node}/lxc."""
    shown = basics(center, guest) | {"vmid": guest.vmid, "cpus": guest.cores} | _marks(guest)
    if guest.kind == "lxc":
        swap = int(guest.config.get("swap", 512)) * MIB
        shown |= {"type": "lxc", "swap": 0, "maxswap": swap, "diskread": 0, "diskwrite": 0}
    if guest.running:
        shown["pid"] = 40_000 + guest.vmid
    if guest.running and center.since(9):
        # Numbers for a VM, texts for a container: so they are recorded.
        idle: Any = 0 if guest.kind == "qemu" else "0.00"
        shown |= dict.fromkeys(PRESSURES, idle)
    return shown


def _marks(guest: Guest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if guest.tags:
        found["tags"] = guest.tags
    if guest.lock:
        found["lock"] = guest.lock
    if guest.template:
        found["template"] = 1
    if "serial0" in guest.config:
        found["serial"] = 1
    return found


def current(center: Datacenter, guest: Guest) -> dict[str, Any]:
    """What /status/current answers."""
    shown = listed(center, guest) | {"ha": high_availability(guest)}
    if guest.kind == "qemu":
        if guest.agent:
            shown["agent"] = 1
        shown |= monitored(center, guest)
    return shown


def high_availability(guest: Guest) -> dict[str, Any]:
    """Whether the HA manager looks after it."""
    if not guest.ha_managed:
        return {"managed": 0}
    return {"managed": 1, "state": guest.ha_state, "group": None}


def monitored(center: Datacenter, guest: Guest) -> dict[str, Any]:
    """What only the QEMU monitor knows: a listing has it when asked for with `full`."""
    if not guest.running:
        return {"qmpstatus": "stopped"}
    version = QEMU_VERSIONS[center.major]
    traffic = basics(center, guest)
    disks = [disk.key for disk in guest.disks(cdroms=True)]
    return {
        "qmpstatus": "paused" if guest.paused else "running",
        "running-qemu": version,
        "running-machine": f"pc-i440fx-{version.rpartition('.')[0]}+pve0",
        "diskread": uptime(guest, center.now) * 2048,
        "diskwrite": 0,
        "proxmox-support": {
            "pbs-dirty-bitmap": True,
            "query-bitmap-info": True,
            "backup-max-workers": True,
        },
        "nics": {
            f"tap{guest.vmid}i0": {"netin": traffic["netin"], "netout": traffic["netout"]},
        },
        "blockstat": {key: _block_statistics() for key in disks},
    }


def _block_statistics() -> dict[str, Any]:
    counters: dict[str, Any] = dict.fromkeys(BLOCK_COUNTERS, 0)
    return counters | {"timed_stats": [], "account_invalid": True, "account_failed": True}


def broadcast(center: Datacenter, guest: Guest) -> dict[str, Any]:
    """What pvestatd tells the cluster about a guest every ten seconds."""
    shown = basics(center, guest)
    return shown | {
        "maxcpu": guest.cores,
        "template": 1 if guest.template else 0,
        "diskread": shown["uptime"] * 2048 if guest.kind == "qemu" else 0,
        "diskwrite": 0,
    }


def node_figures(center: Datacenter, node: Node) -> dict[str, Any]:
    """What a node shows in listings to those who may see it."""
    guests = [guest for guest in center.guests.values() if guest.node == node.name]
    load = sum(float(processor(guest, center.now)) * guest.cores for guest in guests)
    memory = sum(used_memory(guest, center.now) for guest in guests)
    return {
        "cpu": min(0.97, 0.01 + load / node.cpus),
        "maxcpu": node.cpus,
        "mem": min(node.memory, 3_221_225_472 + memory),
        "maxmem": node.memory,
        "disk": node.disk // 7,
        "maxdisk": node.disk,
        "uptime": int(center.now - node.booted),
    }
