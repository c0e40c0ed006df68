"""The nodes: who is there, and how each one is."""

from __future__ import annotations

from typing import Any

from proxmox_mcp.simulator import figures
from proxmox_mcp.simulator.routing import Call, Table, needs
from proxmox_mcp.simulator.state import GIB, Node

KERNELS = {7: "5.15.158-2-pve", 8: "6.8.12-15-pve", 9: "6.14.11-4-pve"}

table = Table()


@table.add("GET", "/nodes")
def index(call: Call) -> list[dict[str, Any]]:
    """All nodes by name and state; figures only for those who may audit them."""
    return [_entry(call, node) for node in call.center.nodes.values()]


def _entry(call: Call, node: Node) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": f"node/{node.name}", "type": "node", "node": node.name}
    if not node.online:
        return shown | {"status": "offline", "ssl_fingerprint": node.fingerprint}
    shown |= {"status": "online", "level": "", "ssl_fingerprint": node.fingerprint}
    if call.rights.has(f"/nodes/{node.name}", "Sys.Audit"):
        shown |= figures.node_figures(call.center, node)
    return shown


@table.add("GET", "/nodes/{node}/status", needs("/nodes/{node}", "Sys.Audit"))
def status(call: Call) -> dict[str, Any]:
    """One node in detail."""
    center = call.center
    node = center.nodes[call.node]
    shown = figures.node_figures(center, node)
    release = KERNELS[center.major]
    version = center.version_answer()
    load = shown["cpu"] * node.cpus
    disk, used = node.disk, shown["disk"]
    return {
        "cpu": shown["cpu"],
        "wait": 0.001,
        "idle": 0,
        "uptime": shown["uptime"],
        "loadavg": [f"{load * factor:.2f}" for factor in (1.1, 1.0, 0.9)],
        "memory": _memory(node, shown["mem"], available=center.since(9)),
        "swap": {"total": 8 * GIB, "used": 0, "free": 8 * GIB},
        "rootfs": {"total": disk, "used": used, "free": disk - used, "avail": disk - used - GIB},
        "ksm": {"shared": 0},
        "cpuinfo": _processor(node, extended=center.since(9)),
        "kversion": f"Linux {release} #1 SMP PREEMPT_DYNAMIC PMX",
        "current-kernel": {
            "sysname": "Linux",
            "release": release,
            "version": "#1 SMP PREEMPT_DYNAMIC PMX",
            "machine": "x86_64",
        },
        "boot-info": {"mode": "efi", "secureboot": 0},
        "pveversion": f"pve-manager/{version['version']}/{version['repoid']}",
    }


def _memory(node: Node, used: int, *, available: bool) -> dict[str, int]:
    free = node.memory - used
    shown = {"total": node.memory, "used": used, "free": free}
    return shown | ({"available": free} if available else {})


def _processor(node: Node, *, extended: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "model": "AMD EPYC 7313P 16-Core Processor",
        "sockets": 1,
        "cores": node.cpus,
        "cpus": node.cpus,
        "mhz": "3000.000",
        "user_hz": 100,
        "hvm": "1",
        "flags": "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr svm aes avx avx2",
    }
    return shown | ({"vendor": "AuthenticAMD", "family": "25"} if extended else {})
