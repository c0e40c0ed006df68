"""Calls of every tool by tokens of every kind: what really fails, or shows less, without a right.

Each call has a cluster of its own, on which it works with every right. What a token lacks shows in
an answer that is another one than that.
"""

import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from mcp.client import Client
from mcp.types import CallToolResult

from proxmox_mcp import simulator
from proxmox_mcp.pve.connection import Limits
from proxmox_mcp.simulator.privileges import roles
from proxmox_mcp.simulator.tasks import Body, Task
from proxmox_mcp.tools import TOOLS
from tests.conftest import serve, text
from tests.likely import Stand, likely

USER, TOKEN = "mcp@pve", "mcp"
AT_WILL = Limits(retry_attempts=2, retry_delay=0, rate_per_second=10_000, rate_burst=10_000)
SPECS = {spec.name: spec for spec in TOOLS}
TASKS = ("proxmox_task_status", "proxmox_task_log", "proxmox_task_stop")

PLACES = {
    "/vms/{vmid}": "/vms/100",
    "/nodes/{node}": "/nodes/pve1",
    "/storage/{disks}": "/storage/shared-vms",
    "/storage/{backups}": "/storage/backup-storage",
    "/sdn/zones/{zone}/{bridge}": "/sdn/zones/localnetwork/vmbr0",
}
"""What the calls here are about, by the path that a tool's needs have for it."""

Acl = Mapping[str, Collection[str]]
Scene = Callable[[simulator.Cluster], None]


def role(name: str, version: str) -> frozenset[str]:
    """The privileges of a built-in role."""
    return roles(float(version))[name]


def everything(version: str) -> Acl:
    return {"/": role("Administrator", version)}


# --- calls -----------------------------------------------------------------------------------


def _nothing(_: simulator.Cluster) -> None:
    pass


class Attempt(NamedTuple):
    """A call: of which tool, with what beyond its plain form, and what has happened before."""

    tool: str
    more: Mapping[str, Any] = {}
    scene: Scene = _nothing
    of_others: bool = False


def _off(cluster: simulator.Cluster) -> None:
    cluster.guest(100).status = "stopped"


def _paused(cluster: simulator.Cluster) -> None:
    cluster.guest(100).paused = True


def _bare(cluster: simulator.Cluster) -> None:
    _off(cluster)
    cluster.guest(100).snapshots.clear()


def _locked(cluster: simulator.Cluster) -> None:
    cluster.guest(103).lock = "backup"


def _walled(cluster: simulator.Cluster) -> None:
    for path in ("nodes/pve1", "cluster"):
        _as_root(cluster, f"{path}/firewall/rules", b"type=in&action=DROP")


SCENES = {"proxmox_vm_start": _off, "proxmox_vm_resume": _paused, "proxmox_vm_template": _bare}
WIDER: dict[str, dict[str, Any]] = {
    "proxmox_vm_start": {"vmid": 100},
    "proxmox_vm_resume": {"vmid": 100},
    "proxmox_vm_template": {"vmid": 100},
    "proxmox_snapshot_create": {"snapname": "fresh"},
}
PLAIN = tuple(
    Attempt(name, WIDER.get(name, {}), SCENES.get(name, _nothing)) for name in sorted(SPECS)
)
"""Every tool in its plain form, on guest 100."""

KEYS: dict[str, dict[str, Any]] = {
    "VM.Config.CPU": {"cores": 4},
    "VM.Config.Memory": {"memory": 8192},
    "VM.Config.Disk": {"scsi5": "shared-vms:1"},
    "VM.Config.CDROM": {"ide2": "none,media=cdrom"},
    "VM.Config.Network": {"net1": "virtio,bridge=vmbr0"},
    "VM.Config.HWType": {"vga": "std"},
    "VM.Config.Options": {"description": "new"},
    "VM.Config.Cloudinit": {"ide2": "shared-vms:cloudinit"},
}
"""A change of configuration for each privilege that its keys may need."""

RULE: dict[str, Any] = {"action": "ACCEPT", "rule_type": "in", "vmid": None}
FIREWALL: dict[str, dict[str, Any]] = {
    "proxmox_firewall_rules_list": {"vmid": None},
    "proxmox_firewall_rule_create": RULE,
    "proxmox_firewall_rule_delete": {"vmid": None, "pos": 0},
    "proxmox_firewall_options": {"vmid": None},
}
SCOPES: tuple[dict[str, Any], ...] = ({"scope": "node", "node": "pve1"}, {"scope": "cluster"})
OTHER_FIREWALLS = [
    Attempt(tool, more | scope, _walled) for tool, more in FIREWALL.items() for scope in SCOPES
]
FULL = (
    *PLAIN,
    *OTHER_FIREWALLS,
    *(Attempt("proxmox_vm_config_update", {"config": config}) for config in KEYS.values()),
    *(Attempt(tool, of_others=True) for tool in TASKS),
    Attempt("proxmox_vm_config_update", {"config": {"startup": "order=2"}}),
    Attempt("proxmox_snapshot_rollback", {"start": True}),
    Attempt("proxmox_backup_restore", {"start": True}),
    Attempt("proxmox_vm_migrate", {"online": True, "target_storage": "shared-vms"}),
    Attempt("proxmox_vm_migrate_check", {"vmid": 103}),
    Attempt("proxmox_task_stop", scene=_locked),
)
"""Every tool in every form that needs a right of its own."""


# --- the stage -------------------------------------------------------------------------------


def _as_root(cluster: simulator.Cluster, path: str, form: bytes) -> None:
    user, name, value = (
        simulator.CREDENTIALS[key] for key in ("user", "token_name", "token_value")
    )
    headers = {
        "Authorization": f"PVEAPIToken={user}!{name}={value}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    made = cluster.receive("POST", f"/api2/json/{path}", headers, form)
    assert made.status == 200, made


def _endless(_: Task) -> Body:
    yield 1e9


def furnished(version: str) -> simulator.Cluster:
    """A cluster on which guest 100 has a snapshot and a firewall rule."""
    cluster = simulator.Cluster(version=version, speed=100_000)
    _as_root(cluster, "nodes/pve1/qemu/100/snapshot", b"snapname=before")
    _as_root(cluster, "nodes/pve1/qemu/100/firewall/rules", b"type=in&action=DROP")
    return cluster


@dataclass
class Stage(Stand):
    """Where one token acts."""

    version: str
    acl: Acl
    client: Client = field(init=False)

    def set_up(self) -> dict[str, Any]:
        self.cluster = furnished(self.version)
        return self.cluster.grant(USER, TOKEN, self.acl)

    async def play(self, attempt: Attempt) -> CallToolResult:
        """Make one call on a cluster of its own."""
        self.set_up()
        owner = "root@pam!demo" if attempt.of_others else f"{USER}!{TOKEN}"
        running = self.cluster.center.tasks.spawn("pve1", "vzdump", "103", owner, _endless)
        attempt.scene(self.cluster)
        arguments = likely(SPECS[attempt.tool], running) | dict(attempt.more)
        arguments |= {"wait": 20} if "wait" in arguments and attempt.tool not in TASKS else {}
        given = {name: value for name, value in arguments.items() if value is not None}
        return await self.client.call_tool(attempt.tool, given)


async def answers(version: str, acl: Acl, attempts: Iterable[Attempt]) -> list[Any]:
    """What a token with these rights is told on each of these calls."""
    async with staged(version, acl) as stage:
        return [shown(await stage.play(attempt)) for attempt in attempts]


@asynccontextmanager
async def staged(version: str, acl: Acl) -> AsyncIterator[Stage]:
    """Open a stage for a token with these rights."""
    stage = Stage(version, acl)
    credentials = stage.set_up()
    cluster = cast("simulator.Cluster", stage)
    server = serve(cluster, credentials=credentials, limits=AT_WILL, confirm="off")
    async with Client(server, mode="legacy") as stage.client:
        yield stage


def worked(result: CallToolResult) -> bool:
    """Whether a call did what it does with every right; what it cannot see is not gone already."""
    said = result.structured_content or {}
    return not result.is_error and said.get("state") != "already"


def shown(result: CallToolResult) -> Any:
    """What an answer tells, without what is another at every call: times, figures and ids."""
    if result.is_error or result.structured_content is None:
        return bool(result.is_error), _steady(text(result))
    return False, _steady(result.structured_content)


def _steady(told: Any) -> Any:
    match told:
        case dict():
            return {key: _steady(value) for key, value in told.items()}
        case list():
            return [_steady(value) for value in told]
        case str():
            return re.sub(r"UPID:\S+|(?<=log-)\w+|[\dA-Fa-f]*\d[\dA-Fa-f]*", "#", told)
        case bool() | None:
            return told
        case _:
            return bool(told)
