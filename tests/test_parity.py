"""Every tool of the reference system, for virtual machines and for containers, and every call that
its users wrote down: what is sent to the cluster, what becomes of the cluster, what is answered.

`parity.json` holds what the reference's calls look like. A row of the table below is one call. Its
expectations are complete: the writes are all that were sent, in their order, and the changes are
all by which the whole cluster differs afterwards. Where none are given, none may happen.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest.mock import ANY

import pytest
from mcp.types import CallToolResult

from proxmox_mcp.simulator import Cluster, Request
from proxmox_mcp.simulator.seed import SAMPLE_BACKUP
from proxmox_mcp.simulator.state import Snapshot, Volume
from proxmox_mcp.simulator.vzdump import Job
from proxmox_mcp.toolkit.bind import bind, checked, taken
from proxmox_mcp.toolkit.schema import snake
from proxmox_mcp.tools import TOOLS
from tests import pve_schema
from tests.conftest import Connect, schema_faults, text
from tests.wire import answer

FACTS = json.loads((Path(__file__).parent / "parity.json").read_text(encoding="utf-8"))
SOURCE = Path(__file__).resolve().parent.parent.parent / "shared" / "parity"
PREFIX = "proxmox_"

Given = Mapping[str, Any]
Preparation = Callable[[Cluster, int], Given | None]

# --- the table -------------------------------------------------------------------------------

SUBJECTS: dict[str, Given] = {
    "qemu": {
        "kind": "qemu", "vmid": 100, "is": "VM 100 (web-01) on pve1", "only": "images",
        "disk": "scsi0", "size": 32, "grown": 82, "volume": "shared-vms:100/vm-100-disk-0.qcow2",
        "image": "shared-vms:{}/vm-{}-disk-0.qcow2", "at": "",
        "archive": "vma", "storage": "backup-storage", "backup": SAMPLE_BACKUP,
    },
    "lxc": {
        "kind": "lxc", "vmid": 103, "is": "container 103 (cache) on pve1", "only": "rootdir",
        "disk": "rootfs", "size": 8, "grown": 58, "volume": "local-lvm:vm-103-disk-0",
        "image": "local-lvm:vm-{}-disk-0", "at": "pve1",
        "archive": "tar", "storage": "pbs", "backup": "pbs:backup/ct/103/2025-11-06T02:00:00Z",
    },
}  # fmt: skip
"""The two guests that the calls are about, and what is peculiar to each."""

GUEST = "/nodes/pve1/{kind}/{vmid}"
THERE = {"node": "pve1", "vmid": "{vmid}"}
AT = THERE | {"type": "{kind}"}
SNAP = {"snapname": "before-upgrade"}
RULE = {
    "action": "ACCEPT", "proto": "tcp", "dport": "80,443", "source": "0.0.0.0/0",
    "dest": "192.0.2.7", "comment": "Allow HTTP/HTTPS",
}  # fmt: skip
OLD_RULE = {"type": "in", "action": "DROP", "enable": 1}


@dataclass(frozen=True)
class Row:
    """One call. Words in braces stand for the guest's own: `{vmid}`, `{kind}`, `{disk}`.

    Attributes:
        tool: Its name, without what all names begin with.
        kind: Of the guest that it is about.
        arguments: As a caller writes them.
        words: What the answer says, each of them.
        writes: Everything that is sent and could change something.
        changes: Everything that is different in the cluster afterwards; None is gone.
        refused: Whether the answer is an error.
        prepare: What is done to the cluster before; what it returns is as good as the guest's own.
        reads: Paths that are asked for.
    """

    tool: str
    kind: str
    arguments: Given
    words: tuple[str, ...]
    writes: tuple[tuple[str, str, Given], ...] = ()
    changes: Given = field(default_factory=dict)
    refused: bool = False
    prepare: Preparation | None = None
    reads: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        ends = "refused" if self.refused else "done" if self.writes else "answered"
        return f"{self.tool}-{self.kind}-{ends}"


def both(tool: str, arguments: Given, *words: str, **more: Any) -> list[Row]:
    """The same for a virtual machine and for a container."""
    return [Row(tool, kind, arguments, words, **more) for kind in SUBJECTS]


def vm(tool: str, arguments: Given, *words: str, **more: Any) -> Row:
    return Row(tool, "qemu", arguments, words, **more)


def container(tool: str, arguments: Given, *words: str, **more: Any) -> Row:
    return Row(tool, "lxc", arguments, words, **more)


# Preparations.


def steps(*preparations: Preparation) -> Preparation:
    """One after the other."""

    def prepare(cluster: Cluster, vmid: int) -> None:
        for each in preparations:
            each(cluster, vmid)

    return prepare


def off(cluster: Cluster, vmid: int) -> None:
    cluster.guest(vmid).status = "stopped"


def paused(cluster: Cluster, vmid: int) -> None:
    cluster.guest(vmid).paused = True


def hibernated(cluster: Cluster, vmid: int) -> None:
    off(cluster, vmid)
    cluster.guest(vmid).lock = "suspended"


def locked(cluster: Cluster, vmid: int) -> None:
    cluster.guest(vmid).lock = "backup"


def with_snapshot(cluster: Cluster, vmid: int) -> None:
    """A snapshot from when it had two cores; it has eight now."""
    guest = cluster.guest(vmid)
    then = Snapshot("before-upgrade", "As it was", 1_762_000_000, dict(guest.config))
    guest.snapshots[then.name], guest.parent = then, then.name
    guest.config["cores"] = 8


def bigger(cluster: Cluster, vmid: int) -> None:
    """Eight cores, where its backup has two."""
    cluster.guest(vmid).config["cores"] = 8


def with_pending(cluster: Cluster, vmid: int) -> None:
    """A change that a restart brings about."""
    cluster.guest(vmid).pending["cores"] = 4


def without_pve3(cluster: Cluster, _: int) -> None:
    cluster.take_offline("pve3")


def with_rule(cluster: Cluster, vmid: int) -> None:
    cluster.guest(vmid).firewall.rules.append(dict(OLD_RULE))


def protected_backup(cluster: Cluster, _: int) -> None:
    cluster.center.storages["backup-storage"].on("pve1")[SAMPLE_BACKUP].protected = True


def running_task(cluster: Cluster, vmid: int) -> Given:
    """A backup that goes on for longer than any test."""
    cluster.speed = 1e-3
    job = Job("pve1", (vmid,), "backup-storage", f"{vmid} --storage backup-storage", prune=False)
    center = cluster.center
    upid = center.tasks.spawn("pve1", "vzdump", str(vmid), "root@pam!demo", job.plan(center))
    return {"upid": upid}


def ended_task(cluster: Cluster, vmid: int) -> Given:
    said = [f"line {number}" for number in range(1, 8)]
    cluster.center.tasks.record(
        ("pve1", "vzdump", str(vmid), "root@pam"),
        start=cluster.center.now - 60, lasted=5, log=said, status="job errors",
    )  # fmt: skip
    return {"upid": list(cluster.center.tasks.all)[-1]}


# Changes.


def copied(vmid: int, **otherwise: Any) -> Given:
    """A new guest that has all that the old one has, but for what is said otherwise."""
    return {"copied": {"vmid": vmid} | otherwise}


DIGEST = {"digest": "{digest}"}
POST, PUT, DELETE = "POST", "PUT", "DELETE"


def power(verb: str, **params: Any) -> dict[str, Any]:
    return {"writes": ((POST, f"{GUEST}/status/{verb}", params),)}


REFUSED: dict[str, Any] = {"refused": True}
STOPPED, RUNNING = {"{vmid} status": "stopped"}, {"{vmid} status": "running"}

MONITORING = [
    vm("get_nodes", {}, '"total":3', '"offline":[]', reads=("/nodes", "/nodes/pve3/status")),
    vm("get_node_status", {"node": "pve1"}, "pve-manager/", reads=("/nodes/pve1/status",)),
    vm("get_storage", {"node": "pve1"}, "backup-storage", reads=("/nodes/pve1/storage",)),
    vm("get_cluster_status", {}, '"quorate":true', reads=("/cluster/status",)),
    *both("get_vms", {"node": "pve1", "type": "{kind}"}, '"vmid":{vmid},', '"node":"pve1"'),
    vm("get_vms", {"type": "all"}, '"total":12', reads=("/cluster/resources",)),
    *both("get_vm_status", AT, '"vmid":{vmid},', '"running"', reads=(f"{GUEST}/status/current",)),
    *both("get_vm_status", THERE, '"vmid":{vmid},', '"type":"{kind}"'),
    vm("execute_vm_command", AT | {"command": "hostname"}, '"exit_code":0', "web-01",
       writes=((POST, f"{GUEST}/agent/exec", {"command": ["/bin/sh", "-c", "hostname"]}),)),
    container("execute_vm_command", AT | {"command": "hostname"}, "pct exec 103", **REFUSED),
]  # fmt: skip

LIFECYCLE = [
    *both("vm_start", AT, "started", prepare=off, changes=RUNNING, **power("start")),
    *both("vm_start", AT, "{is} already runs", '"already"'),
    vm("vm_start", AT, "started", prepare=hibernated,
       changes=RUNNING | {"{vmid} lock": None}, **power("start")),
    *both("vm_start", AT, "locked (backup)", prepare=steps(off, locked), **REFUSED),
    *both("vm_stop", AT, "stopped", changes=STOPPED, **power("stop")),
    *both("vm_stop", AT, "{is} is already stopped", prepare=off),
    *both("vm_shutdown", AT | {"timeout": 300}, "shut down", changes=STOPPED,
          **power("shutdown", timeout="300")),
    *both("vm_shutdown", AT | {"timeout": 60, "forceStop": True}, "shut down", changes=STOPPED,
          **power("shutdown", timeout="60", forceStop="1")),
    *both("vm_shutdown", AT, "{is} is already stopped", prepare=off),
    *both("vm_reboot", AT, "rebooted", prepare=with_pending, **power("reboot"),
          changes={"{vmid} cores": "4", "{vmid} pending cores": None}),
    *both("vm_reboot", AT, "is stopped", "proxmox_vm_start", prepare=off, **REFUSED),
    vm("vm_suspend", THERE, "hibernated", "saved to disk",
       changes=STOPPED | {"{vmid} lock": "suspended", "{vmid} vmstate": ANY,
                          "{vmid} runningmachine": ANY}, **power("suspend", todisk="1")),
    vm("vm_suspend", THERE | {"todisk": False}, "paused in memory",
       changes={"{vmid} status": "paused"}, **power("suspend")),
    vm("vm_suspend", THERE, "is stopped", "nothing to suspend", prepare=off, **REFUSED),
    container("vm_suspend", THERE, "cannot be suspended", "CRIU", "proxmox_vm_shutdown", **REFUSED),
    vm("vm_resume", THERE, "resumed", prepare=paused, changes=RUNNING, **power("resume")),
    vm("vm_resume", THERE, "resumed", prepare=hibernated,
       changes=RUNNING | {"{vmid} lock": None}, **power("resume")),
    vm("vm_resume", THERE, "already runs"),
    vm("vm_resume", THERE, "is off", "proxmox_vm_start", prepare=off, **REFUSED),
    container("vm_resume", THERE, "cannot be resumed", "proxmox_vm_start", **REFUSED),
    vm("vm_reset", THERE, "reset", **power("reset")),
    vm("vm_reset", THERE, "nothing to reset", prepare=off, **REFUSED),
    container("vm_reset", THERE, "cannot be reset", "proxmox_vm_reboot", **REFUSED),
]  # fmt: skip

SNAPSHOT = f"{GUEST}/snapshot"
BEFORE = f"{SNAPSHOT}/before-upgrade"
TAKEN = "{vmid} snapshot before-upgrade"
HAS_IT: dict[str, Any] = {"prepare": with_snapshot}

SNAPSHOTS = [
    vm("snapshot_create", AT | SNAP | {"description": "Why", "vmstate": True}, "taken",
       writes=((POST, SNAPSHOT, SNAP | {"description": "Why", "vmstate": "1"}),),
       changes={TAKEN: (None, True, "Why"), "{vmid} parent": "before-upgrade"}),
    *both("snapshot_create", AT | SNAP | {"description": "Why", "vmstate": False}, "taken",
          writes=((POST, SNAPSHOT, SNAP | {"description": "Why"}),),
          changes={TAKEN: (None, False, "Why"), "{vmid} parent": "before-upgrade"}),
    container("snapshot_create", AT | SNAP | {"vmstate": True}, "memory cannot be saved",
              **REFUSED),
    *both("snapshot_create", AT | SNAP, "already has a snapshot before-upgrade", **HAS_IT,
          **REFUSED),
    *both("snapshot_create", AT | SNAP, "locked (backup)", prepare=locked, **REFUSED),
    *both("snapshot_list", AT, '"name":"before-upgrade"', '"current":true', **HAS_IT,
          reads=(SNAPSHOT,)),
    *both("snapshot_rollback", AT | SNAP, "rolled back", **HAS_IT,
          writes=((POST, f"{BEFORE}/rollback", {}),), changes=STOPPED | {"{vmid} cores": "2"}),
    *both("snapshot_rollback", AT | SNAP, "no snapshot before-upgrade", **REFUSED),
    *both("snapshot_delete", AT | SNAP | {"force": True}, "deleted", **HAS_IT,
          writes=((DELETE, BEFORE, {"force": "1"}),), changes={TAKEN: None, "{vmid} parent": None}),
    *both("snapshot_delete", AT | SNAP, "has no snapshot before-upgrade", '"already"'),
    *both("snapshot_config", AT | SNAP, '"cores":"2"', **HAS_IT, reads=(f"{BEFORE}/config",)),
    *both("snapshot_config", AT | SNAP | {"diff": True}, '{"cores":{"then":"2","now":"8"}}',
          **HAS_IT),
    *both("snapshot_config", AT | SNAP, "no snapshot before-upgrade", **REFUSED),
]  # fmt: skip

UPID = {"node": "pve1", "upid": "{upid}"}
STATUS = "/nodes/pve1/tasks/{upid}/status"
LOG = "/nodes/pve1/tasks/{upid}/log"
GOES_ON: dict[str, Any] = {"prepare": running_task}
ENDED: dict[str, Any] = {"prepare": ended_task}

TASKS = [
    *both("task_list", {"node": "pve1", "limit": 1, "running": True}, '"upid":"{upid}"',
          '"state":"running"', **GOES_ON, reads=("/nodes/pve1/tasks",)),
    *both("task_list", {"node": "pve1", "limit": 1, "errors": True}, '"upid":"{upid}"',
          "job errors", **ENDED),
    *both("task_status", UPID | {"includeLogs": True}, '"state":"failed"', "job errors",
          '"line 7"', **ENDED, reads=(STATUS, LOG)),
    *both("task_status", UPID, '"state":"running"', **GOES_ON, reads=(STATUS,)),
    *both("task_log", UPID | {"start": 2, "limit": 3}, "line 3\nline 4\nline 5\n</log", **ENDED,
          reads=(LOG,)),
    *both("task_stop", UPID, '"state":"stopped"', "job errors", **GOES_ON,
          writes=((DELETE, "/nodes/pve1/tasks/{upid}", {}),), changes={"{vmid} lock": None}),
    *both("task_stop", UPID, '"already_ended"', "job errors", **ENDED),
]  # fmt: skip

VZDUMP = {"vmid": "{vmid}", "storage": "backup-storage", "mode": "snapshot", "remove": "0"}
CONTENT = "/nodes/pve1/storage/{storage}/content"
FROM = {"node": "pve1", "storage": "{storage}"}
FILE = {"archive": SAMPLE_BACKUP.partition("/")[2]}
CT_FILE = {"archive": "pbs:backup/ct/103/2025-11-06T02:00:00Z"}
NEW = "/backup-storage:backup/vzdump-{kind}-{vmid}-NOW.{archive}"

BACKUPS = [
    *both("backup_create", AT | {"storage": "backup-storage", "compress": "zstd"}, "backed up",
          "vzdump-{kind}-{vmid}-", writes=((POST, "/nodes/pve1/vzdump", VZDUMP |
          {"compress": "zstd"}),), changes={f"{NEW}.zst": ("backup", False)}),
    *both("backup_create", AT | {"storage": "backup-storage", "mode": "stop", "compress": "none"},
          "backed up", writes=((POST, "/nodes/pve1/vzdump", VZDUMP |
          {"mode": "stop", "compress": "0"}),), changes={NEW: ("backup", False)}),
    *both("backup_create", AT | {"storage": "local-lvm"}, "may not hold backup", "Fit for it",
          **REFUSED),
    *both("backup_list", FROM | {"vmid": "{vmid}"}, "{backup}", reads=(CONTENT,)),
    vm("backup_restore", FROM | FILE | {"vmid": 101, "force": False}, "Guest 101 on pve1: restored",
       writes=((POST, "/nodes/pve1/qemu", {"archive": SAMPLE_BACKUP, "vmid": "101"}),),
       changes=copied(101, meta=ANY)),
    vm("backup_restore", FROM | FILE | {"force": True}, "over what was there",
       writes=((POST, "/nodes/pve1/qemu",
                {"archive": SAMPLE_BACKUP, "vmid": "100", "force": "1"}),),
       prepare=steps(off, bigger), changes={"100 cores": "2"}),
    container("backup_restore", FROM | CT_FILE | {"vmid": 101, "targetStorage": "local-lvm"},
              "Guest 101 on pve1: restored", writes=((POST, "/nodes/pve1/lxc", {
                  "ostemplate": "{backup}", "restore": "1", "vmid": "101",
                  "storage": "local-lvm"}),), changes=copied(101)),
    container("backup_restore", FROM | CT_FILE | {"force": True, "targetStorage": "local-lvm"},
              "over what was there", writes=((POST, "/nodes/pve1/lxc", {
                  "ostemplate": "{backup}", "restore": "1", "vmid": "103", "force": "1",
                  "storage": "local-lvm"}),),
              prepare=steps(off, bigger), changes={"103 cores": "2"}),
    *both("backup_restore", FROM | {"archive": "{backup}"}, "The id {vmid} belongs to {is}",
          "force=true", **REFUSED),
    *both("backup_restore", FROM | {"archive": "{backup}", "force": True}, "is running",
          "stop it first", **REFUSED),
    *both("backup_restore", FROM | {"archive": "vzdump-{kind}-{vmid}-2001_01_01-00_00_00.vma"},
          "There is no backup", **REFUSED),
    *both("backup_delete", FROM | {"volume": "{backup}"}, "deleted",
          writes=((DELETE, f"{CONTENT}/{{backup}}", {}),), changes={"/{backup}": None}),
    vm("backup_delete", FROM | {"volume": "{backup}"}, "is protected", prepare=protected_backup,
       **REFUSED),
]  # fmt: skip

CLONE = f"{GUEST}/clone"
CONFIG = f"{GUEST}/config"
NAMED = {"newid": 200, "name": "web-server-02", "description": "A copy", "full": True}
SENT = {"newid": "200", "description": "A copy", "full": "1"}

CLONING = [
    vm("vm_clone", AT | NAMED | {"target": "pve2"}, "cloned to guest 200 on pve2",
       writes=((POST, CLONE, SENT | {"name": "web-server-02", "target": "pve2"}),),
       changes=copied(200, node="pve2", name="web-server-02", description="A copy", net0=ANY,
                      smbios1=ANY, vmgenid=ANY)),
    container("vm_clone", AT | NAMED, "cloned to guest 200", prepare=off,
              writes=((POST, CLONE, SENT | {"hostname": "web-server-02"}),),
              changes=copied(200, hostname="web-server-02", description="A copy", net0=ANY)),
    *both("vm_clone", AT | {"newid": 107}, "The id 107 belongs to VM 107 (cache)", **REFUSED),
    *both("vm_clone", AT | {"newid": 200, "target": "pve9"}, "There is no node pve9", **REFUSED),
    container("vm_clone", AT | {"newid": 200, "target": "pve2"}, "local storage",
              writes=((POST, CLONE, {"newid": "200", "target": "pve2"}),), **REFUSED),
    *both("vm_template", AT, "template", prepare=off, writes=((POST, f"{GUEST}/template", {}),),
          changes={"{vmid} template": "1", "{vmid} {disk}": "{base},size={size}G",
                   "{at}/{volume}": None, "{at}/{base}": ("{only}", False)}),
    *both("vm_template", AT, "is running", "shut it down first", **REFUSED),
    *both("vm_template", AT, "has snapshots (before-upgrade)", **REFUSED,
          prepare=steps(off, with_snapshot)),
]  # fmt: skip

RESOURCES = [
    *both("vm_config_get", AT, '"cpu":{"cores":"2"}', "{volume}", reads=(f"{GUEST}/pending",)),
    vm("vm_config_update", AT | {"config": {"cores": 4, "onboot": True}}, '"cores":{"before":"2",',
       writes=((POST, CONFIG, {"cores": "4", "onboot": "1"} | DIGEST),),
       changes={"{vmid} pending cores": "4", "{vmid} onboot": "1"}),
    container("vm_config_update", AT | {"config": {"cores": 4, "onboot": True}},
              '"cores":{"before":"2","after":"4"}',
              writes=((PUT, CONFIG, {"cores": "4", "onboot": "1"} | DIGEST),),
              changes={"{vmid} cores": "4", "{vmid} onboot": "1"}),
    *both("vm_config_update", AT | {"config": {"coers": 4}}, "no key 'coers'", "perhaps cores",
          **REFUSED),
    *both("disk_resize", AT | {"disk": "{disk}", "size": "+50G"}, "grown from {size} GiB to",
          writes=((PUT, f"{GUEST}/resize", {"disk": "{disk}", "size": "{grown}G"} | DIGEST),),
          changes={"{vmid} {disk}": "{volume},size={grown}G"}),
    *both("disk_resize", AT | {"disk": "{disk}", "size": "1G"}, "cannot shrink", **REFUSED),
    *both("disk_resize", AT | {"disk": "mp9", "size": "1G"}, "no disk mp9", "{disk} ({size} GiB)",
          **REFUSED),
]  # fmt: skip

MIGRATE = f"{GUEST}/migrate"
TARGET = THERE | {"target": "pve2"}
MOVED = {"{vmid} node": "pve2"}
CT_MOVED = MOVED | {"pve1/{volume}": None, "pve2/{volume}": ("rootdir", False)}

MIGRATION = [
    vm("vm_migrate_check", TARGET, '"possible":true', "online=true", reads=(MIGRATE,)),
    container("vm_migrate_check", TARGET, '"possible":true', "restart=true", reads=(MIGRATE,)),
    *both("vm_migrate_check", THERE | {"target": "pve3"}, '"possible":false', "pve3 is offline",
          prepare=without_pve3),
    vm("vm_migrate", TARGET | {"online": True, "withLocalDisks": True}, "running on pve2",
       writes=((POST, MIGRATE, {"target": "pve2", "online": "1", "with-local-disks": "1"}),),
       changes=MOVED),
    vm("vm_migrate", TARGET, "stopped on pve2", prepare=off,
       writes=((POST, MIGRATE, {"target": "pve2"}),), changes=MOVED),
    container("vm_migrate", TARGET | {"restart": True}, "running on pve2",
              writes=((POST, MIGRATE, {"target": "pve2", "restart": "1"}),), changes=CT_MOVED),
    container("vm_migrate", TARGET, "stopped on pve2", prepare=off,
              writes=((POST, MIGRATE, {"target": "pve2"}),), changes=CT_MOVED),
    vm("vm_migrate", TARGET, "is running", "online=true", **REFUSED),
    container("vm_migrate", TARGET | {"online": True, "withLocalDisks": True}, "restart=true",
              **REFUSED),
    *both("vm_migrate", THERE | {"target": "pve3"}, "pve3 is offline",
          prepare=without_pve3, **REFUSED),
]  # fmt: skip

RULES = f"{GUEST}/firewall/rules"
SWITCHES = ("/cluster/firewall/options", f"{GUEST}/firewall/options")

FIREWALL = [
    *both("firewall_rules_list", AT, '"pos":0', '"action":"DROP"', "firewall is off",
          prepare=with_rule, reads=(RULES, *SWITCHES)),
    *both("firewall_rule_create", AT | RULE | {"ruleType": "in", "enable": True}, "position 0",
          "firewall is off", prepare=with_rule, reads=SWITCHES,
          writes=((POST, RULES, RULE | {"type": "in", "enable": "1"}),),
          changes={"{vmid} rule 0": RULE | {"type": "in", "enable": 1},
                   "{vmid} rule 1": OLD_RULE}),
    *both("firewall_rule_create", AT | {"action": "REJECT", "ruleType": "out", "enable": False},
          '"enabled":false', writes=((POST, RULES,
          {"type": "out", "action": "REJECT", "enable": "0"}),), changes={"{vmid} rule 0":
          {"type": "out", "action": "REJECT", "enable": 0}}),
    *both("firewall_rule_create", AT | {"action": "ACCEPT", "ruleType": "in", "dport": "22"},
          "Ports need a protocol", **REFUSED),
    *both("firewall_rule_delete", AT | {"pos": 0}, '"action":"DROP"', prepare=with_rule,
          writes=((DELETE, f"{RULES}/0", {"digest": "{rules}"}),), changes={"{vmid} rule 0": None}),
    *both("firewall_rule_delete", AT | {"pos": 0}, "no rule at position 0", **REFUSED),
    *both("firewall_options", AT, '"policy_in":"DROP"', "own firewall is off", reads=SWITCHES),
]  # fmt: skip


def example(tool: str, arguments: Given, *words: str, **more: Any) -> Row:
    """A call that users wrote down, exactly so: for VM 100."""
    return Row(tool, "qemu", arguments, words, **more)


WROTE = {"node": "pve1", "vmid": 100}

EXAMPLES = [
    example("get_nodes", {}, '"nodes":['),
    example("vm_start", WROTE | {"type": "qemu"}, "started", prepare=off, changes=RUNNING,
            **power("start")),
    example("vm_shutdown", WROTE | {"timeout": 300}, "shut down", changes=STOPPED,
            **power("shutdown", timeout="300")),
    example("snapshot_create", WROTE | {"snapname": "backup-2025"}, "taken", "without memory",
            writes=((POST, SNAPSHOT, {"snapname": "backup-2025"}),),
            changes={"100 snapshot backup-2025": (None, False, ""), "100 parent": "backup-2025"}),
    example("snapshot_create",
            WROTE | SNAP | {"description": "Snapshot before system upgrade", "vmstate": True},
            "taken", writes=((POST, SNAPSHOT, SNAP | {
                "description": "Snapshot before system upgrade", "vmstate": "1"}),),
            changes={TAKEN: (None, True, "Snapshot before system upgrade"),
                     "100 parent": "before-upgrade"}),
    example("snapshot_rollback", WROTE | SNAP, "rolled back", **HAS_IT,
            writes=((POST, f"{BEFORE}/rollback", {}),), changes=STOPPED | {"100 cores": "2"}),
    example("backup_create",
            WROTE | {"storage": "backup-storage", "mode": "snapshot", "compress": "zstd"},
            "backed up", writes=((POST, "/nodes/pve1/vzdump", VZDUMP | {"compress": "zstd"}),),
            changes={f"{NEW}.zst": ("backup", False)}),
    example("backup_list", WROTE | {"storage": "backup-storage"}, '"total":2', SAMPLE_BACKUP),
    example("backup_restore",
            {"node": "pve1", "storage": "backup-storage", "vmid": 101, "force": False,
             "archive": "vzdump-qemu-100-2025_11_06-14_30_00.vma.zst"}, "restored",
            writes=((POST, "/nodes/pve1/qemu", {"archive": SAMPLE_BACKUP, "vmid": "101"}),),
            changes=copied(101, meta=ANY)),
    example("vm_clone",
            WROTE | {"newid": 200, "name": "web-server-02", "full": True, "target": "pve2"},
            "cloned to guest 200 on pve2", writes=((POST, CLONE, {
                "newid": "200", "name": "web-server-02", "full": "1", "target": "pve2"}),),
            changes=copied(200, node="pve2", name="web-server-02", net0=ANY, smbios1=ANY,
                           vmgenid=ANY)),
    example("vm_template", WROTE, "made a template", prepare=off,
            writes=((POST, f"{GUEST}/template", {}),),
            changes={"100 template": "1", "100 scsi0": "{base},size=32G", "/{volume}": None,
                     "/{base}": ("images", False)}),
    example("vm_config_update", WROTE | {"config": {"cores": 4, "memory": 8192, "balloon": 4096}},
            '"pending":{', writes=((POST, CONFIG, {
                "cores": "4", "memory": "8192", "balloon": "4096"} | DIGEST),),
            changes={"100 pending cores": "4", "100 pending memory": "8192",
                     "100 balloon": "4096"}),
    example("disk_resize", WROTE | {"disk": "scsi0", "size": "+50G"}, "from 32 GiB to 82 GiB",
            writes=((PUT, f"{GUEST}/resize", {"disk": "scsi0", "size": "82G"} | DIGEST),),
            changes={"100 scsi0": "{volume},size=82G"}),
    example("vm_migrate_check", WROTE | {"target": "pve2"}, '"possible":true', reads=(MIGRATE,)),
    example("vm_migrate", WROTE | {"target": "pve2", "online": True, "withLocalDisks": True},
            "running on pve2", changes=MOVED, writes=((POST, MIGRATE, {
                "target": "pve2", "online": "1", "with-local-disks": "1"}),)),
    example("firewall_rule_create",
            WROTE | {"action": "ACCEPT", "ruleType": "in", "enable": True, "proto": "tcp",
                     "dport": "80,443", "source": "0.0.0.0/0", "comment": "Allow HTTP/HTTPS"},
            "position 0", writes=((POST, RULES, {
                "type": "in", "action": "ACCEPT", "enable": "1", "proto": "tcp", "dport": "80,443",
                "source": "0.0.0.0/0", "comment": "Allow HTTP/HTTPS"}),),
            changes={"100 rule 0": {
                "type": "in", "action": "ACCEPT", "enable": 1, "proto": "tcp", "dport": "80,443",
                "source": "0.0.0.0/0", "comment": "Allow HTTP/HTTPS"}}),
    example("firewall_rules_list", WROTE, '"rules":[]', reads=(RULES,)),
]  # fmt: skip

ROWS = [
    *MONITORING, *LIFECYCLE, *SNAPSHOTS, *TASKS, *BACKUPS, *CLONING, *RESOURCES, *MIGRATION,
    *FIREWALL, *EXAMPLES,
]  # fmt: skip

# --- how a row is played ---------------------------------------------------------------------


def own(cluster: Cluster, row: Row) -> dict[str, Any]:
    """What the words in braces stand for in this row."""
    guest = cluster.guest(SUBJECTS[row.kind]["vmid"])
    told = dict(SUBJECTS[row.kind])
    told |= {"digest": guest.digest, "rules": guest.firewall.digest}
    return told | {"base": str(told["volume"]).replace("vm-", "base-")}


def filled(value: Any, told: Given) -> Any:
    """Put the guest's own in place of words in braces; an argument that is one keeps its type."""
    if isinstance(value, Mapping):
        return {filled(key, told): filled(each, told) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(filled(each, told) for each in value)
    if not isinstance(value, str):
        return value
    return re.sub(r"{(\w+)}", lambda found: str(told.get(found[1], found[0])), value)


def arguments(row: Row, told: Given) -> dict[str, Any]:
    given = dict(filled(row.arguments, told))
    return {key: int(each) if key == "vmid" else each for key, each in given.items()}


def picture(cluster: Cluster) -> dict[str, Any]:
    """The whole cluster, flat: guests with all they have, and what lies on the storages."""
    found: dict[str, Any] = {}
    for vmid, guest in cluster.center.guests.items():
        found |= {f"{vmid} {key}": str(value) for key, value in guest.config.items()}
        found |= {f"{vmid} pending {key}": str(value) for key, value in guest.pending.items()}
        found |= {
            f"{vmid} node": guest.node,
            f"{vmid} status": "paused" if guest.paused else guest.status,
            f"{vmid} parent": guest.parent,
        }
        for shot in guest.snapshots.values():
            found[f"{vmid} snapshot {shot.name}"] = (shot.parent, shot.vmstate, shot.description)
        for pos, rule in enumerate(guest.firewall.rules):
            found[f"{vmid} rule {pos}"] = dict(rule)
    for storage in cluster.center.storages.values():
        for node, volumes in storage.volumes.items():
            found |= {f"{node}/{timeless(each)}": shown(each) for each in volumes.values()}
    return {key: value for key, value in found.items() if value is not None}


def timeless(volume: Volume) -> str:
    """A volume's id; the time in the name of a backup of today is no fact of a test."""
    born_here = volume.ctime > 1_765_000_000  # the example cluster's own backups are older
    return (
        re.sub(r"\d{4}(_\d\d){2}-(\d\d_?){3}", "NOW", volume.volid) if born_here else volume.volid
    )


def shown(volume: Volume) -> tuple[str, bool]:
    return volume.content, volume.protected


def differences(before: Given, after: Given) -> dict[str, Any]:
    return {key: after.get(key) for key in {*before, *after} if before.get(key) != after.get(key)}


def expected(row: Row, told: Given, before: Given) -> dict[str, Any]:
    changes = dict(filled(row.changes, told))
    if copy := changes.pop("copied", None):
        newid, source = copy.pop("vmid"), told["vmid"]
        config = {
            key.partition(" ")[2]: value
            for key, value in before.items()
            if key.startswith(f"{source} ") and isinstance(value, str)
        }
        disk = str(told["image"]).replace("{}", str(newid))
        config |= {"status": "stopped", told["disk"]: f"{disk},size={told['size']}G"} | copy
        changes |= {f"{newid} {key}": value for key, value in config.items()}
        changes[f"{told['at']}/{disk}"] = (told["only"], False)
    return changes


def settle(cluster: Cluster) -> None:
    """Let everything end that the cluster began by itself, e.g. the backup it starts with."""
    until = time.monotonic() + 5
    while any(task.body for task in cluster.center.tasks.all.values()):
        cluster.guest(100)
        assert time.monotonic() < until, "a task of the simulated cluster does not end"


@dataclass(frozen=True)
class Played:
    """What came of a row."""

    result: CallToolResult
    before: Given
    after: Given
    told: Given


async def play(cluster: Cluster, connect: Connect, row: Row, mode: str = "auto") -> Played:
    settle(cluster)
    vmid = SUBJECTS[row.kind]["vmid"]
    made = (row.prepare(cluster, vmid) if row.prepare else None) or {}
    told = own(cluster, row) | dict(made)
    before = picture(cluster)
    async with connect(mode=mode) as client:
        result = await client.call_tool(PREFIX + row.tool, arguments(row, told))
    cluster.guest(vmid)
    return Played(result, before, picture(cluster), told)


def judge(cluster: Cluster, row: Row, played: Played) -> None:
    said = text(played.result)
    assert (played.result.is_error, said) == (row.refused, said)
    assert cluster.writes == list(filled(row.writes, played.told))
    assert differences(played.before, played.after) == expected(row, played.told, played.before)
    assert [word for word in filled(row.words, played.told) if word not in said] == [], said
    asked = {request.path for request in cluster.requests if request.method == "GET"}
    assert set(filled(row.reads, played.told)) <= asked


# --- the fixtures ----------------------------------------------------------------------------

CONTAINER_CHECK = re.compile(r"/nodes/[^/]+/lxc/\d+/migrate")


@pytest.fixture
def version() -> str:
    return "9.0"


@pytest.fixture
def cluster(version: str) -> Iterator[Cluster]:
    """A simulated cluster on which every task has ended when somebody looks.

    Every request must be valid in every version's schema. One is not, and is sent all the same:
    containers have a migration check since 9.0.6, and what older ones answer to it is expected.
    """
    simulated = Cluster(speed=1_000_000, version=version)
    yield simulated
    asked = [each for each in simulated.requests if not checks_container(each)]
    assert schema_faults(asked) == []


def checks_container(request: Request) -> bool:
    return request.method == "GET" and bool(CONTAINER_CHECK.fullmatch(request.path))


def named(rows: list[Row]) -> list[Any]:
    return [pytest.param(row, id=row.id) for row in rows]


# --- the tests -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("row", named(ROWS))
async def test_a_call_sends_what_it_says_and_the_cluster_is_as_it_says(
    cluster: Cluster, connect: Connect, row: Row, mode: str
) -> None:
    judge(cluster, row, await play(cluster, connect, row, mode))


WRITING = [row for row in ROWS if row.writes and not row.refused and row not in EXAMPLES]


@pytest.mark.parametrize("version", ["7.4", "8.4"])
@pytest.mark.parametrize("row", named(WRITING))
async def test_older_versions_get_the_same_requests_and_do_the_same(
    cluster: Cluster, connect: Connect, row: Row
) -> None:
    judge(cluster, row, await play(cluster, connect, row))


@pytest.mark.parametrize(
    ("version", "runs_as_task"), [("7.4", False), ("8.4", True), ("9.0", True)]
)
async def test_growing_a_vms_disk_is_no_task_before_version_8(
    cluster: Cluster, connect: Connect, *, runs_as_task: bool
) -> None:
    row = next(row for row in RESOURCES if row.tool == "disk_resize" and row.writes)

    played = await play(cluster, connect, row)

    answer = played.result.structured_content
    assert answer is not None
    assert answer["state"] == "ok"
    assert ("upid" in answer) == runs_as_task


@pytest.mark.parametrize(("version", "asked"), [("7.4", 501), ("8.4", 501), ("9.0", 200)])
async def test_a_containers_move_is_checked_here_where_proxmox_cannot(
    cluster: Cluster, connect: Connect, asked: int
) -> None:
    only_on_pve1 = [{"storage": "local-lvm", "node": "pve1", "type": "storage"}]
    call = {"vmid": 103, "target": "pve2"}
    async with connect() as client:
        possible = await client.call_tool("proxmox_vm_migrate_check", call)
        cluster.intercept = lambda request: (
            answer(only_on_pve1) if request.param.get("type") == "storage" else None
        )
        impossible = await client.call_tool("proxmox_vm_migrate_check", call)

    check = next(request for request in cluster.requests if checks_container(request))
    assert cluster.handle(check).status == asked
    assert possible.structured_content is not None
    assert possible.structured_content["possible"] is True
    assert ("allowed_nodes" in possible.structured_content) == (asked == 200)
    assert impossible.structured_content is not None
    assert impossible.structured_content["possible"] is False
    [obstacle] = impossible.structured_content["obstacles"]
    assert "local-lvm is not on pve2" in obstacle


@pytest.mark.skipif(not pve_schema.AVAILABLE, reason=pve_schema.REASON)
def test_the_containers_check_is_the_one_request_that_old_versions_do_not_know() -> None:
    path, params = "/nodes/pve1/lxc/103/migrate", [("target", "pve2")]

    faults = {each: pve_schema.problems(each, "GET", path, params) for each in pve_schema.VERSIONS}

    assert {each for each, found in faults.items() if found} == {"7", "8"}


# --- the table against the facts -------------------------------------------------------------


def choices(words: str) -> tuple[list[str], str | None]:
    """Read `qemu|lxc = qemu`: the choices, where it names some, and the default."""
    kind, _, default = words.partition(" = ")
    return kind.split("|") if "|" in kind else [], default or None


def typical(words: str) -> Any:
    """A value that the reference would take for an argument described so."""
    options, _ = choices(words)
    if options:
        return options[0]
    if words.startswith("string"):
        return {"string (+50G)": "+50G"}.get(words, "scsi0")
    return {"integer": 100, "boolean": True, "object": {"cores": 4}}[re.split(r"\W", words)[0]]


OUR_KINDS = {"upid": "UPID:pve1:0000053C:020F582D:6B02CA02:qmstart:100:root@pam!demo:"}
GUEST_TOOLS = {tool for tool, each in FACTS["tools"].items() if "vmid" in each["required"]}
every_fact = pytest.mark.parametrize("tool", FACTS["tools"])


def rows_of(tool: str) -> list[Row]:
    return [row for row in ROWS if PREFIX + row.tool == tool]


@every_fact
def test_the_table_has_every_argument_of_the_tool(tool: str) -> None:
    fact = FACTS["tools"][tool]
    used = [set(row.arguments) for row in rows_of(tool)]

    assert set.union(*used) >= {*fact["required"], *fact["optional"]}
    assert all(each >= set(fact["required"]) for each in used if each)


@pytest.mark.parametrize("tool", sorted(GUEST_TOOLS))
def test_the_table_has_virtual_machines_and_containers(tool: str) -> None:
    assert {row.kind for row in rows_of(tool)} == set(SUBJECTS)


@pytest.mark.parametrize("call", FACTS["calls"], ids=lambda call: str(call["tool"]))
def test_the_table_has_every_call_that_users_wrote_down(call: dict[str, Any]) -> None:
    assert [
        row.tool
        for row in EXAMPLES
        if (PREFIX + row.tool, dict(row.arguments)) == (call["tool"], call["arguments"])
    ] == [call["tool"].removeprefix(PREFIX)]


def test_there_are_no_other_tools_in_the_table_and_no_fewer_in_the_server() -> None:
    assert {PREFIX + row.tool for row in ROWS} == set(FACTS["tools"])
    assert {spec.name for spec in TOOLS} >= set(FACTS["tools"])


def test_what_the_reference_keeps_for_administrators_is_kept_for_them_here() -> None:
    theirs = {tool for tool, each in FACTS["tools"].items() if each["mode"] == "elevated"}

    assert {spec.name for spec in TOOLS if spec.elevated} == theirs


@every_fact
def test_each_argument_is_taken_with_each_of_its_choices(tool: str) -> None:
    fact = FACTS["tools"][tool]
    bound = bind(next(spec for spec in TOOLS if spec.name == tool))
    own_words = {**fact["required"], **fact["optional"]}
    least = {
        name: OUR_KINDS.get(name) or typical(fact["required"][name]) for name in fact["required"]
    }

    assert set(bound.parameters.get("required", [])) <= {snake(name) for name in fact["required"]}
    for name, words in own_words.items():
        for choice in choices(words)[0] or [OUR_KINDS.get(name) or typical(words)]:
            assert str(checked(bound, least | {name: choice})[snake(name)]) == str(choice)


@every_fact
def test_an_argument_left_out_means_what_it_meant(tool: str) -> None:
    properties = taken(
        bind(next(spec for spec in TOOLS if spec.name == tool)).fn_metadata.arg_model
    )
    for name, words in FACTS["tools"][tool]["optional"].items():
        default = choices(words)[1]
        # The reference took a guest for a VM unless told otherwise; here its kind is looked up, so
        # a VM is still found, and a container too.
        if default is not None and (name, default) != ("type", "qemu"):
            assert str(properties[snake(name)]["default"]) == default.partition(",")[0]


@pytest.mark.parametrize("kind", SUBJECTS)
async def test_a_guests_kind_may_be_left_out(
    connect: Connect, kind: Literal["qemu", "lxc"]
) -> None:
    async with connect() as client:
        found = await client.call_tool(
            "proxmox_get_vm_status", {"node": "pve1", "vmid": SUBJECTS[kind]["vmid"]}
        )

    assert found.structured_content is not None
    assert found.structured_content["type"] == kind


@pytest.mark.skipif(not SOURCE.is_dir(), reason="the list of the reference's calls is not at hand")
def test_the_facts_are_those_of_the_list_they_were_copied_from() -> None:
    tools = json.loads((SOURCE / "tools.json").read_text(encoding="utf-8"))["tools"]
    calls = json.loads((SOURCE / "calls.json").read_text(encoding="utf-8"))["calls"]
    kept = ("mode", "required", "optional")

    assert FACTS["tools"] == {each["name"]: {key: each[key] for key in kept} for each in tools}
    assert FACTS["calls"] == calls
