"""The tools that faults are tried on, and how the cluster shows what became of their changes."""

from collections.abc import Callable
from typing import Any

from benchmarks.rows import Subject
from benchmarks.stage import DisturbedCluster

LIST = r"GET /cluster/resources$"
STATUS = r"GET .*/status/current$"
NOTES = "as wanted"
SNAPSHOT_ARGUMENTS = {"vmid": 100, "snapname": "before-update"}


def _stopped(cluster: DisturbedCluster) -> bool:
    return not cluster.guest(100).running


def _has_snapshot(cluster: DisturbedCluster) -> bool:
    return "before-update" in cluster.guest(100).snapshots


def _has_notes(vmid: int) -> Callable[[DisturbedCluster], bool]:
    def look(cluster: DisturbedCluster) -> bool:
        return cluster.guest(vmid).config.get("description") == NOTES

    return look


def _has_rule(cluster: DisturbedCluster) -> bool:
    return any(rule.get("comment") == NOTES for rule in cluster.guest(100).firewall.rules)


def _newest_task(cluster: DisturbedCluster) -> dict[str, Any]:
    return {"upid": cluster.center.tasks.newest(node="pve1")[0].upid}


READ = Subject(
    tool="proxmox_get_vm_status",
    arguments={"vmid": 100},
    hits=STATUS,
    before=LIST,
    sees="web-01",
)
LISTING = Subject(
    tool="proxmox_get_vms",
    arguments={"limit": 1000},
    hits=LIST,
    before=LIST,
    sees="web-01",
)
NODES = Subject(
    tool="proxmox_get_nodes", arguments={}, hits=r"GET /nodes$", before=r"GET /nodes$", sees="pve1"
)
HEALTH = Subject(
    tool="proxmox_get_cluster_status", arguments={}, hits=LIST, before=LIST, sees="pve1"
)
TASKS = Subject(
    tool="proxmox_task_list", arguments={}, hits=r"GET .*/tasks$", before=r"GET /nodes$"
)
STORAGE = Subject(
    tool="proxmox_get_storage",
    arguments={"node": "pve1"},
    hits=r"GET /nodes/pve1/storage$",
    before=r"GET /nodes/pve1/storage$",
    sees="local-lvm",
)
CONFIG_READ = Subject(
    tool="proxmox_vm_config_get",
    arguments={"vmid": 100},
    hits=r"GET .*/pending$",
    before=LIST,
    sees="web-01",
)
STOP = Subject(
    tool="proxmox_vm_stop",
    arguments={"vmid": 100},
    hits=r"POST .*/status/stop$",
    before=STATUS,
    is_done=_stopped,
)
SNAPSHOT = Subject(
    tool="proxmox_snapshot_create",
    arguments=SNAPSHOT_ARGUMENTS,
    hits=r"POST .*/snapshot$",
    before=r"GET .*/snapshot$",
    is_done=_has_snapshot,
)
CONFIG = Subject(
    tool="proxmox_vm_config_update",
    arguments={"vmid": 100, "config": {"description": NOTES}},
    hits=r"POST .*/config$",
    before=r"GET .*/config$",
    is_done=_has_notes(100),
)
CONTAINER = Subject(
    tool="proxmox_vm_config_update",
    arguments={"vmid": 103, "config": {"description": NOTES}},
    hits=r"PUT .*/config$",
    before=r"GET .*/config$",
    is_done=_has_notes(103),
)
LOG = Subject(
    tool="proxmox_task_log",
    arguments=_newest_task,
    hits=r"GET .*/log$",
    before=r"GET .*/log$",
    sees="line 1999",
)
RULE = Subject(
    tool="proxmox_firewall_rule_create",
    arguments={"vmid": 100, "action": "DROP", "rule_type": "in", "comment": NOTES},
    hits=r"POST .*/firewall/rules$",
    before=r"GET .*/firewall/rules$",
    is_done=_has_rule,
)
READ_TASK = Subject(
    tool="proxmox_task_status",
    arguments=lambda cluster: {**_newest_task(cluster), "wait": 20},
    hits=r"GET .*/tasks/[^/]+/status$",
    before=r"GET .*/tasks/[^/]+/status$",
    sees="qmsnapshot",
)
