"""Starting, stopping and pausing, where VMs and containers differ."""

from __future__ import annotations

import pytest
from proxmoxer import ResourceException

from tests.simulator.conftest import Demo


def test_a_shutdown_takes_time_and_then_the_vm_is_stopped(demo: Demo) -> None:
    upid = demo.guest(104).status.shutdown.post()

    assert "exitstatus" not in demo.status(upid)
    assert demo.guest(104).status.current.get()["status"] == "running"
    demo.wait(5)
    assert demo.status(upid)["exitstatus"] == "OK"
    assert demo.guest(104).status.current.get()["status"] == "stopped"


def test_starting_a_running_vm_fails_in_the_task_and_a_container_at_once(demo: Demo) -> None:
    assert demo.ended(demo.guest(100).status.start.post()) == "VM 100 already running"
    with pytest.raises(ResourceException, match="CT 103 already running"):
        demo.guest(103).status.start.post()


def test_stopping_a_stopped_guest_is_fine_for_a_vm_only(demo: Demo) -> None:
    assert demo.ended(demo.guest(107).status.stop.post()) == "OK"
    demo.ended(demo.guest(103).status.stop.post())
    with pytest.raises(ResourceException, match="CT 103 not running"):
        demo.guest(103).status.stop.post()


def test_an_ha_managed_vm_stops_only_after_its_task_has_ended(demo: Demo) -> None:
    upid = demo.guest(102).status.stop.post()

    assert ":hastop:" in upid
    assert demo.status(upid)["exitstatus"] == "OK"
    assert demo.guest(102).status.current.get()["status"] == "running"
    demo.wait(15)
    assert demo.guest(102).status.current.get()["status"] == "stopped"
    tasks = demo.api.nodes("pve1").tasks.get(vmid=102)
    assert [task["type"] for task in tasks] == ["qmshutdown", "hastop"]


def test_a_paused_vm_refuses_shutdown_and_reboot_until_it_is_resumed(demo: Demo) -> None:
    for action in (demo.guest(109).status.shutdown, demo.guest(109).status.reboot):
        with pytest.raises(ResourceException, match="VM is paused - cannot shutdown"):
            action.post()

    assert demo.ended(demo.guest(109).status.resume.post()) == "OK"
    assert demo.guest(109).status.current.get()["qmpstatus"] == "running"
    assert demo.ended(demo.guest(109).status.shutdown.post()) == "OK"


def test_a_hibernated_vm_shows_stopped_with_a_lock_and_resume_starts_it(demo: Demo) -> None:
    demo.ended(demo.guest(100).status.suspend.post(todisk=1))
    state = demo.guest(100).status.current.get()
    assert (state["status"], state["lock"]) == ("stopped", "suspended")

    assert demo.ended(demo.guest(100).status.resume.post()) == "OK"
    state = demo.guest(100).status.current.get()
    assert (state["status"], "lock" in state) == ("running", False)


def test_a_pause_keeps_the_vm_running_for_the_list(demo: Demo) -> None:
    demo.ended(demo.guest(100).status.suspend.post())

    state = demo.guest(100).status.current.get()
    assert (state["status"], state["qmpstatus"]) == ("running", "paused")


def test_an_ha_managed_vm_cannot_be_hibernated(demo: Demo) -> None:
    with pytest.raises(ResourceException, match="Cannot suspend HA managed VM to disk"):
        demo.guest(102).status.suspend.post(todisk=1)


def test_a_shutdown_that_is_not_obeyed_fails_unless_forced(demo: Demo) -> None:
    demo.cluster.guest(104).stubborn = True

    gave_up = demo.guest(104).status.shutdown.post(timeout=10)
    assert demo.ended(gave_up) == "VM quit/powerdown failed - got timeout"
    assert demo.guest(104).status.current.get()["status"] == "running"
    assert demo.ended(demo.guest(104).status.shutdown.post(timeout=10, forceStop=1)) == "OK"
    assert demo.guest(104).status.current.get()["status"] == "stopped"


def test_a_stop_waits_for_a_running_shutdown_unless_it_overrules_it(demo: Demo) -> None:
    demo.cluster.guest(104).stubborn = True
    blocked_by = demo.guest(104).status.shutdown.post(timeout=300)

    waiting = demo.guest(104).status.stop.post()
    demo.wait(12)
    text = "can't lock file '/var/lock/qemu-server/lock-104.conf' - got timeout"
    assert demo.status(waiting)["exitstatus"] == text

    overruling = demo.guest(104).status.stop.post(**{"overrule-shutdown": 1})
    demo.wait(2)
    assert demo.status(overruling)["exitstatus"] == "OK"
    assert demo.status(blocked_by)["exitstatus"] == "received interrupt"


def test_a_reboot_is_followed_by_a_start_of_its_own(demo: Demo) -> None:
    before = demo.guest(100).status.current.get()["uptime"]
    assert demo.ended(demo.guest(100).status.reboot.post()) == "OK"

    tasks = demo.api.nodes("pve1").tasks.get(vmid=100)
    assert [task["type"] for task in tasks][:2] == ["qmstart", "qmreboot"]
    assert demo.guest(100).status.current.get()["uptime"] < before


def test_a_container_cannot_be_reset_at_all(demo: Demo) -> None:
    with pytest.raises(ResourceException) as caught:
        demo.guest(103).status.reset.post()

    assert caught.value.status_code == 501


def test_suspending_a_container_fails_in_the_task(demo: Demo) -> None:
    assert "lxc-checkpoint" in demo.ended(demo.guest(103).status.suspend.post())


def test_options_for_root_are_refused_to_a_token_of_root(demo: Demo) -> None:
    with pytest.raises(ResourceException) as caught:
        demo.guest(100).status.start.post(skiplock=1)

    assert caught.value.errors == {"skiplock": "Only root may use this option."}


def test_the_list_of_the_cluster_is_up_to_ten_seconds_old(demo: Demo) -> None:
    def listed() -> str:
        resources = demo.api.cluster.resources.get(type="vm")
        return next(str(each["status"]) for each in resources if each["vmid"] == 104)

    assert listed() == "running"
    demo.guest(104).status.stop.post()
    demo.wait(1)
    assert demo.guest(104).status.current.get()["status"] == "stopped"
    assert listed() == "running"
    demo.wait(10)
    assert listed() == "stopped"


def test_a_container_stops_starts_and_reboots(demo: Demo) -> None:
    guest = demo.guest(103)
    for action, state in (
        (guest.status.shutdown, "stopped"),
        (guest.status.start, "running"),
        (guest.status.reboot, "running"),
        (guest.status.stop, "stopped"),
    ):
        assert demo.ended(action.post()) == "OK"
        assert guest.status.current.get()["status"] == state
    with pytest.raises(ResourceException, match="VM 103 not running"):
        guest.status.reboot.post()
    with pytest.raises(ResourceException, match="CT 103 not running"):
        guest.status.shutdown.post()


def test_a_container_that_does_not_obey_fails_its_shutdown(demo: Demo) -> None:
    demo.cluster.guest(103).stubborn = True

    assert demo.ended(demo.guest(103).status.shutdown.post(timeout=5)) == "container did not stop"


def test_an_ha_managed_container_is_only_asked_for(demo: Demo) -> None:
    demo.cluster.guest(103).ha_managed = True
    upid = demo.guest(103).status.shutdown.post()

    assert demo.log(upid) == ["Requesting HA stop for CT 103", "TASK OK"]
    demo.wait(15)
    assert demo.guest(103).status.current.get()["status"] == "stopped"
    assert ":hastart:" in demo.guest(103).status.start.post()
    demo.wait(15)
    assert demo.guest(103).status.current.get()["ha"]["state"] == "started"


def test_a_shutdown_is_as_patient_as_the_startup_option_says(demo: Demo) -> None:
    demo.cluster.guest(104).stubborn = True
    demo.guest(104).config.put(startup="order=1,down=7")
    upid = demo.guest(104).status.shutdown.post()
    demo.wait(6)
    assert demo.status(upid)["status"] == "running"
    demo.wait(1)
    assert demo.status(upid)["exitstatus"] == "VM quit/powerdown failed - got timeout"


def test_a_reset_and_a_restart_end_the_programs_of_the_agent(demo: Demo) -> None:
    agent = demo.guest(100).agent
    pid = agent.exec.post(command=["sleep", "900"])["pid"]
    assert demo.ended(demo.guest(100).status.reset.post()) == "OK"

    with pytest.raises(ResourceException, match="Invalid parameter 'pid'"):
        agent("exec-status").get(pid=pid)
