"""Task lists, logs, locks and stopping."""

from __future__ import annotations

import re

import pytest
from proxmoxer import ResourceException

from proxmox_mcp.simulator import TOKENS
from tests.simulator.conftest import NOW, Demo

UPID = re.compile(r"UPID:pve1:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:qmstop:107:root@pam!demo:")


def _running(demo: Demo) -> str:
    return str(demo.api.nodes("pve2").tasks.get(source="active")[0]["upid"])


def test_a_task_id_has_nine_fields_and_tells_when_it_started(demo: Demo) -> None:
    demo.cluster.guest(107).node = "pve1"
    upid = demo.guest(107).status.stop.post()

    assert UPID.fullmatch(upid)
    assert int(upid.split(":")[4], 16) == int(NOW)


def test_the_backup_that_runs_at_the_start_locks_its_guest_and_leaves_an_archive(
    demo: Demo,
) -> None:
    upid = _running(demo)
    assert demo.guest(105).status.current.get()["lock"] == "backup"
    demo.wait(7)
    assert any(re.match(r"INFO: +\d+% \(\d+\.\d GiB of 32.0 GiB\) in 6s, ", line)
               for line in demo.log(upid))  # fmt: skip
    assert demo.status(upid)["status"] == "running"

    demo.wait(9)

    assert demo.status(upid)["exitstatus"] == "OK"
    assert demo.log(upid)[-1] == "TASK OK"
    assert "lock" not in demo.guest(105).status.current.get()
    content = demo.api.nodes("pve1").storage("backup-storage").content.get(vmid=105)
    assert [volume["format"] for volume in content] == ["vma.zst"]


def test_steps_happen_at_their_own_time_however_late_one_looks(demo: Demo) -> None:
    upid = _running(demo)
    demo.wait(3600)

    assert demo.status(upid)["exitstatus"] == "OK"
    finished = demo.api.nodes("pve2").tasks.get(vmid=105)[0]
    assert finished["endtime"] == int(NOW) + 14


def test_running_tasks_are_listed_only_when_asked_for(demo: Demo) -> None:
    tasks = demo.api.nodes("pve2").tasks
    assert [task["id"] for task in tasks.get()] == ["112"]
    assert [task["id"] for task in tasks.get(source="all")] == ["105", "112"]
    assert [task["id"] for task in tasks.get(source="active")] == ["105"]


def test_filters_of_the_task_list_narrow_it(demo: Demo) -> None:
    tasks = demo.api.nodes("pve1").tasks
    assert [task["status"] for task in tasks.get()] == ["WARNINGS: 1", "OK"]
    assert [task["status"] for task in tasks.get(errors=1)] == ["WARNINGS: 1"]
    assert [task["status"] for task in tasks.get(statusfilter="ok")] == ["OK"]
    assert [task["status"] for task in tasks.get(statusfilter="warning,error")] == ["WARNINGS: 1"]
    assert [task["type"] for task in tasks.get(typefilter="qmstart")] == ["qmstart"]
    assert [task["id"] for task in tasks.get(vmid=103)] == ["103"]
    assert [task["id"] for task in tasks.get(since=int(NOW) - 8000)] == ["103"]
    assert [task["id"] for task in tasks.get(until=int(NOW) - 8000)] == ["100"]
    assert [task["id"] for task in tasks.get(start=1, limit=1)] == ["100"]
    assert tasks.get(userfilter="nobody") == []
    assert demo.api.nodes("pve2").tasks.get(statusfilter="error")[0]["status"] == "job errors"


def test_a_log_is_read_in_parts(demo: Demo) -> None:
    upid = _running(demo)
    demo.wait()
    log = demo.api.nodes("pve2").tasks(upid).log

    assert [line["n"] for line in log.get(start=2, limit=3)] == [3, 4, 5]
    assert len(log.get(limit=0)) > 15


def test_a_stopped_backup_fails_and_unlocks_its_guest(demo: Demo) -> None:
    upid = _running(demo)
    assert demo.api.nodes("pve2").tasks(upid).delete() is None

    assert demo.status(upid)["exitstatus"] == "job errors"
    assert "lock" not in demo.guest(105).status.current.get()
    assert demo.api.nodes("pve2").tasks(upid).delete() is None


def test_a_killed_snapshot_leaves_its_lock(demo: Demo) -> None:
    upid = demo.guest(100).snapshot.post(snapname="before")
    demo.api.nodes("pve1").tasks(upid).delete()

    assert demo.guest(100).status.current.get()["lock"] == "snapshot"


def test_tasks_of_others_are_seen_by_auditors_only(demo: Demo) -> None:
    upid = _running(demo)
    auditor, nobody = demo.client(TOKENS["audit"]), demo.client(TOKENS["nobody"])

    assert auditor.nodes("pve2").tasks(upid).status.get()["status"] == "running"
    assert nobody.nodes("pve2").tasks.get(source="all") == []
    assert nobody.cluster.tasks.get() == []
    with pytest.raises(ResourceException, match=r"\(/nodes/pve2, Sys.Audit\)"):
        nobody.nodes("pve2").tasks(upid).status.get()
    with pytest.raises(ResourceException, match=r"\(/nodes/pve2, Sys.Modify\)"):
        auditor.nodes("pve2").tasks(upid).delete()


def test_a_task_is_known_on_its_own_node_only(demo: Demo) -> None:
    upid = _running(demo)

    with pytest.raises(ResourceException) as caught:
        demo.api.nodes("pve1").tasks(upid).status.get()

    assert caught.value.errors == {"upid": "no such task"}
