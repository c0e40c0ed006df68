"""The simulator answers as a real Proxmox VE did: shapes key by key, refusals word by word.

recorded.json holds the few answers that this needs. A shape is the JSON types of an answer:
{"keys": {...}, "optional": [...]} for an object, {"items": ...} for a list, else the type's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxmox_mcp.simulator import Answer, Cluster
from proxmox_mcp.simulator.state import Snapshot
from tests.simulator import lab

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))
UPID = re.compile(r"UPID:pve1:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:([^:]+):([^:]*):root@pam![a-z]+:")
HOUR = 3600.0

# Keys that depend on what a guest, a storage or a kernel has, not on how Proxmox answers.
BY_CIRCUMSTANCE = frozenset({
    "tags", "lock", "pool", "hastate", "template", "serial", "parent", "notes", "protected",
    "path", "shared", "prune-backups", "server", "export", "datastore", "thinpool", "vgname",
    "ip", "subtype", "vmid", "comment", "log", "proto", "dport", "source", "ipversion", "agent",
    "secureboot", "tokenid", "pid", "description", "ide2", "serial0", "scsihw", "ostype", "boot",
    "cores",
})  # fmt: skip


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else "text"


def _differences(shape: Any, value: Any, where: str = "") -> list[str]:
    if isinstance(shape, str):
        if shape in {"nothing", "object"}:
            return []
        return [] if _kind(value) in shape.split("|") else [f"{where}: {value!r} is no {shape}"]
    if "items" in shape:
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [text for item in value for text in _differences(shape["items"], item, f"{where}[]")]
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no object"]
    known, optional = shape["keys"], set(shape.get("optional", [])) | BY_CIRCUMSTANCE
    found = [f"{where}.{key} is missing" for key in known if key not in {*value, *optional}]
    found += [f"{where}.{key} is new" for key in value if key not in {*known, *optional}]
    for key in known.keys() & value.keys():
        found += _differences(known[key], value[key], f"{where}.{key}")
    return found


def _substituted(cluster: Cluster, path: str) -> str:
    if "/tasks/UPID" not in path:
        return path
    upid = next(iter(cluster.center.tasks.all))
    return re.sub(r"UPID:.*:(?=/|$)", upid, path)


def _send(cluster: Cluster, case: dict[str, Any]) -> Answer:
    path = _substituted(cluster, case["path"]) if "upid" not in case["name"] else case["path"]
    params = [(name, value) for name, value in case["params"]]
    if case["name"] == "err_delete_with_body":
        return cluster.receive("DELETE", f"/api2/json{path}", lab.headers("demo"), b"purge=1")
    return cluster.handle(lab.request(case["method"], path, *params, sender=case["token"]))


def _body(answer: Answer) -> Any:
    if "json" in answer.headers.get("content-type", ""):
        return json.loads(answer.body)
    return answer.body.decode()


def _snapshot(vmid: int, name: str) -> Callable[[Cluster], None]:
    def prepare(cluster: Cluster) -> None:
        guest = cluster.guest(vmid)
        snapshot = Snapshot(name, "first", 1_795_337_497, dict(guest.config))
        guest.snapshots[name] = snapshot
        guest.parent = name

    return prepare


def _rules(cluster: Cluster) -> None:
    path = "/nodes/pve1/qemu/110/firewall"
    rule = [("type", "in"), ("action", "ACCEPT"), ("enable", "1")]
    ssh = [("proto", "tcp"), ("dport", "22"), ("source", "10.0.0.0/8"), ("log", "nolog")]
    for fields in ([*rule, *ssh, ("comment", "ssh")], [*rule, ("macro", "HTTPS")]):
        cluster.handle(lab.request("POST", f"{path}/rules", *fields))
    options = [("enable", "1"), ("policy_in", "DROP")]
    cluster.handle(lab.request("PUT", f"{path}/options", *options))


def _backup(cluster: Cluster) -> None:
    fields = [("vmid", "111"), ("storage", "local"), ("mode", "stop"), ("compress", "zstd")]
    cluster.center.tasks.all.clear()
    cluster.handle(lab.request("POST", "/nodes/pve1/vzdump", *fields))


def _exec(cluster: Cluster) -> None:
    path = "/nodes/pve1/qemu/110/agent/exec"
    cluster.handle(lab.request("POST", path, ("command", "sleep"), ("command", "9")))
    cluster.guest(110).processes = {124: cluster.guest(110).processes.popitem()[1]}


def _set(vmid: int, **values: Any) -> Callable[[Cluster], None]:
    def prepare(cluster: Cluster) -> None:
        for name, value in values.items():
            setattr(cluster.guest(vmid), name, value)

    return prepare


def _protect(cluster: Cluster) -> None:
    cluster.center.storages["local"].on("pve1")[lab.BACKUP].protected = True


# What the recording did before, by the beginning of a case's name.
PREPARE: dict[str, Callable[[Cluster], None]] = {
    "agent_exec_status": _exec,
    "backup.task": _backup,
    "backup_running": _backup,
    "err_agent_no_agent": _set(111, status="running", agent_running=False),
    "err_backup_delete_protected": _protect,
    "err_fw_digest": _rules,
    "err_locked": _set(111, lock="backup"),
    "err_lxc_stop_stopped": _set(210, status="stopped"),
    "err_shutdown_no_agent": _set(111, status="running", agent_running=False),
    "err_snap_duplicate": _snapshot(111, "before-upgrade"),
    "fw_": _rules,
    "ha_migrate": _set(101, status="stopped"),
    "lxc_snap_list": _snapshot(221, "s1"),
    "lxc_start": _set(210, status="stopped"),
    "resume": _set(110, paused=True),
    "snap_config": _snapshot(111, "before-upgrade"),
    "snap_delete": _snapshot(111, "before-upgrade"),
    "snap_list": _snapshot(111, "before-upgrade"),
    "snap_rollback": _snapshot(111, "before-upgrade"),
    "start_110": _set(110, status="stopped"),
    "status_locked": _set(111, lock="backup"),
    "status_paused": _set(110, paused=True),
    "template": _set(113, template=False),
}


def _prepared(name: str, version: str) -> tuple[Cluster, lab.Clock]:
    cluster, clock = lab.build(version)
    # A refused login answers three seconds late; with no speed limit one need not wait for it.
    cluster.speed = 10_000.0
    for beginning, prepare in PREPARE.items():
        if name.startswith(beginning):
            prepare(cluster)
    return cluster, clock


def _versions(case: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(version, case) for version in case["versions"]]


SHAPES = [pair for case in RECORDED["shapes"] for pair in _versions(case)]


@pytest.mark.parametrize(
    ("version", "case"), SHAPES, ids=[f"{case['name']}-{version}" for version, case in SHAPES]
)
def test_an_answer_has_the_recorded_keys_and_types(version: str, case: dict[str, Any]) -> None:
    cluster, clock = _prepared(case["name"], version)
    if case["name"].startswith("backup.task"):
        clock.pass_(HOUR)

    answer = _send(cluster, case)

    assert answer.status == 200
    assert _differences(case["shape"], json.loads(answer.body)) == []


@pytest.mark.parametrize("version", ["8.4", "9.2"])
@pytest.mark.parametrize("case", RECORDED["refusals"], ids=lambda case: case["name"])
def test_a_refusal_has_the_recorded_words(version: str, case: dict[str, Any]) -> None:
    cluster, _clock = _prepared(case["name"], version)
    later = "_9" if version == "9.2" and "reason_9" in case else ""

    answer = _send(cluster, case)

    expected = case[f"body{later}"]
    found = _body(answer)
    if case.get("type"):
        match = UPID.fullmatch(found["data"])
        assert match is not None
        assert match.groups() == (case["type"], case["id"])
        expected = found
    assert (answer.status, answer.reason, found) == (
        case["status"],
        case[f"reason{later}"],
        expected,
    )


ENDED = [case for case in RECORDED["refusals"] if case.get("type")]


@pytest.mark.parametrize("case", ENDED, ids=lambda case: case["name"])
def test_a_task_ends_as_the_recorded_one_did(case: dict[str, Any]) -> None:
    cluster, clock = _prepared(case["name"], "8.4")
    upid = json.loads(_send(cluster, case).body)["data"]
    clock.pass_(HOUR)

    status = cluster.handle(lab.request("GET", f"/nodes/pve1/tasks/{upid}/status"))

    assert json.loads(status.body)["data"]["exitstatus"] == case["exitstatus"]
