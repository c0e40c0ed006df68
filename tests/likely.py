"""For every tool a call that goes all the way, and a cluster on which it does."""

import json
from dataclasses import dataclass, field
from typing import Any

from proxmox_mcp import simulator
from proxmox_mcp.toolkit.bind import bind, taken
from proxmox_mcp.toolkit.declare import ToolSpec

BACKUP = "backup-storage:backup/vzdump-qemu-100-2025_11_06-14_30_00.vma.zst"
LIKELY: dict[str, Any] = {
    "vmid": 100,
    "node": "pve1",
    "storage": "backup-storage",
    "archive": BACKUP,
    "volume": BACKUP,
    "disk": "scsi0",
    "size": "+1G",
    "snapname": "before",
    "target": "pve2",
    "action": "ACCEPT",
    "rule_type": "in",
    "command": ["id"],
    "config": {"cores": 4},
    "pos": 0,
}
"""What makes a call a sensible one; a parameter that is not named here gets what its type gives."""

ONLY_WHERE_REQUIRED = {"node", "pos"}

BESIDES: dict[str, dict[str, Any]] = {
    "proxmox_snapshot_create": {"snapname": "fresh"},
    "proxmox_backup_restore": {"vmid": 101},
    "proxmox_vm_clone": {"storage": "shared-vms", "full": True},
    "proxmox_vm_migrate": {"online": True},
    "proxmox_vm_resume": {"vmid": 109},
    "proxmox_vm_start": {"vmid": 107},
    "proxmox_vm_template": {"vmid": 107},
}
"""Where one tool wants another guest or one word more."""


def likely(spec: ToolSpec, upid: str) -> dict[str, Any]:
    """Arguments with which a tool gets past its own checks, as far as they can be guessed."""
    schema = bind(spec).parameters | {"properties": taken(bind(spec).fn_metadata.arg_model)}
    required = schema.get("required", [])
    values = LIKELY | {"upid": upid}
    arguments = {
        name: values[name] if name in values else _plain(about)
        for name, about in schema["properties"].items()
        if name in required or (name in values and name not in ONLY_WHERE_REQUIRED)
    }
    arguments |= BESIDES.get(spec.name, {})
    return arguments | ({"wait": 0} if "wait" in schema["properties"] else {})


def _plain(about: dict[str, Any]) -> Any:
    if "enum" in about:
        return about["enum"][0]
    by_type = {"integer": about.get("minimum", 1), "boolean": True, "array": [], "object": {}}
    return by_type.get(about.get("type", "string"), "a")


@dataclass
class Stand:
    """What one server takes for its cluster: whichever stands here, a new one for each call."""

    cluster: simulator.Cluster = field(init=False)

    def receive(self, *request: Any) -> simulator.Answer:
        return self.cluster.receive(*request)


def prepared() -> tuple[simulator.Cluster, str]:
    """A cluster where every tool has something to act on, and a task of it that still runs."""
    cluster = simulator.Cluster(speed=100_000)
    for path, form in (
        ("qemu/100/snapshot", b"snapname=before&description=a"),
        ("qemu/100/firewall/rules", b"type=in&action=DROP"),
    ):
        made = cluster.receive("POST", f"/api2/json/nodes/pve1/{path}", _login(), form)
        assert made.status == 200, made
    cluster.speed = 1
    backup = cluster.receive("POST", "/api2/json/nodes/pve1/vzdump", _login(), RUNNING)
    cluster.requests.clear()
    return cluster, str(json.loads(backup.body)["data"])


RUNNING = b"vmid=103&storage=backup-storage"


def _login() -> dict[str, str]:
    user, name, value = (
        simulator.CREDENTIALS[key] for key in ("user", "token_name", "token_value")
    )
    return {
        "Authorization": f"PVEAPIToken={user}!{name}={value}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
