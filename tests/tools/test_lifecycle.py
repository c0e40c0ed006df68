from typing import Any

import pytest
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Answer, Cluster, Request
from proxmox_mcp.simulator.state import Process
from tests.conftest import Connect, schema_faults, serve
from tests.tools import calls
from tests.wire import answer, refusal, silence

WEB = "/nodes/pve1/qemu/100"
SPARE = "/nodes/pve2/qemu/107"
PROXY = "/nodes/pve3/lxc/111"
DESK = "/nodes/pve3/qemu/109"
VERBS = ("start", "stop", "shutdown", "reboot", "suspend", "resume", "reset")


done = calls.calling("proxmox_vm_")


refused = calls.refusing("proxmox_vm_")


def put(cluster: Cluster, vmid: int, state: str) -> None:
    """Bring a guest into a state, as if by somebody else and long ago."""
    guest = cluster.guest(vmid)
    guest.status = "stopped" if state in ("stopped", "hibernated") else "running"
    guest.paused = state == "paused"
    guest.lock = "suspended" if state == "hibernated" else None


def state_of(cluster: Cluster, vmid: int) -> str:
    guest = cluster.guest(vmid)
    if guest.lock == "suspended":
        return "hibernated"
    return "paused" if guest.paused else guest.status


# --- the main path of each, on both kinds ----------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("verb", "before", "vmid", "sent", "words", "after"),
    [
        ("start", "stopped", 107, (SPARE, {}), "VM 107 (cache) on pve2: started.", "running"),
        ("start", "hibernated", 107, (SPARE, {}), "VM 107 (cache) on pve2: started.", "running"),
        (
            "start",
            "stopped",
            111,
            (PROXY, {}),
            "container 111 (proxy-01) on pve3: started.",
            "running",
        ),
        ("stop", "running", 100, (WEB, {}), "VM 100 (web-01) on pve1: stopped.", "stopped"),
        ("stop", "paused", 109, (DESK, {}), "VM 109 (desk-01) on pve3: stopped.", "stopped"),
        (
            "stop",
            "running",
            111,
            (PROXY, {}),
            "container 111 (proxy-01) on pve3: stopped.",
            "stopped",
        ),
        ("shutdown", "running", 100, (WEB, {}), "VM 100 (web-01) on pve1: shut down.", "stopped"),
        (
            "shutdown",
            "running",
            111,
            (PROXY, {}),
            "container 111 (proxy-01) on pve3: shut down.",
            "stopped",
        ),
        (
            "suspend",
            "running",
            100,
            (WEB, {"todisk": "1"}),
            "VM 100 (web-01) on pve1: hibernated: memory saved to disk, switched off.",
            "hibernated",
        ),
        ("resume", "paused", 109, (DESK, {}), "VM 109 (desk-01) on pve3: resumed.", "running"),
        ("resume", "hibernated", 107, (SPARE, {}), "VM 107 (cache) on pve2: resumed.", "running"),
        ("reset", "running", 100, (WEB, {}), "VM 100 (web-01) on pve1: reset.", "running"),
    ],
)
async def test_each_action_is_sent_once_and_told_when_its_task_has_ended(
    connect: Connect,
    cluster: Cluster,
    *,
    mode: str,
    verb: str,
    before: str,
    vmid: int,
    sent: tuple[str, dict[str, str]],
    words: str,
    after: str,
) -> None:
    put(cluster, vmid, before)
    path, params = sent

    async with connect(mode=mode) as client:
        end = await done(client, verb, vmid=vmid)

    assert (end["state"], end["done"]) == ("ok", words)
    assert end["upid"] in cluster.center.tasks.all
    assert cluster.center.tasks.all[end["upid"]].status == "OK"
    assert cluster.writes == [("POST", f"{path}/status/{verb}", params)]
    assert state_of(cluster, vmid) == after


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(("vmid", "path"), [(100, WEB), (111, PROXY)])
async def test_a_reboot_is_over_when_the_guest_runs_again(
    connect: Connect, cluster: Cluster, mode: str, vmid: int, path: str
) -> None:
    cluster.speed = 20  # slow enough to be seen between down and up
    before = cluster.guest(vmid).started

    async with connect(mode=mode) as client:
        end = await done(client, "reboot", vmid=vmid, timeout=90)

    guest = cluster.guest(vmid)
    assert end["state"] == "ok"
    assert str(end["done"]).endswith("on " + guest.node + ": rebooted.")
    assert guest.running
    assert guest.started > before
    assert cluster.writes == [("POST", f"{path}/status/reboot", {"timeout": "90"})]


async def test_a_reset_restarts_what_ran_inside(client: Client, cluster: Cluster) -> None:
    cluster.guest(100).processes[2001] = Process(ends=9e9, exitcode=0, out=b"", err=b"")

    await done(client, "reset", vmid=100)

    assert cluster.guest(100).processes == {}


@pytest.mark.parametrize("version", ["7.4", "8.4", "9.0", "9.2"])
async def test_every_supported_version_switches_power(version: str) -> None:
    cluster = Cluster(version=version, speed=500)
    async with Client(serve(cluster)) as client:
        for vmid, verbs in (
            (100, ("suspend", "resume", "reset", "reboot", "shutdown", "start", "stop")),
            (103, ("reboot", "shutdown", "start", "stop")),
        ):
            for verb in verbs:
                assert (await done(client, verb, vmid=vmid))["state"] == "ok"

    assert [path.rpartition("/")[2] for _, path, _ in cluster.writes] == [
        *("suspend", "resume", "reset", "reboot", "shutdown", "start", "stop"),
        *("reboot", "shutdown", "start", "stop"),
    ]
    assert [cluster.guest(vmid).status for vmid in (100, 103)] == ["stopped", "stopped"]
    assert schema_faults(cluster.requests) == []


# --- which guest -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "path"),
    [
        ({"vmid": 100}, WEB),
        ({"vmid": "100"}, WEB),
        ({"vmid": "web-01"}, WEB),
        ({"vmid": "proxy-01", "type": "lxc"}, PROXY),
        ({"vmid": 111, "node": "pve3", "type": "lxc"}, PROXY),
    ],
)
async def test_a_guest_is_named_by_id_or_by_name(
    client: Client, cluster: Cluster, named: dict[str, Any], path: str
) -> None:
    assert (await done(client, "stop", **named))["state"] == "ok"

    assert cluster.writes == [("POST", f"{path}/status/stop", {})]
    assert cluster.guest(int(path.rpartition("/")[2])).status == "stopped"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"vmid": 100, "node": "pve2"}, 'not at node="pve2". Leave node and type out'),
        ({"vmid": 100, "type": "lxc"}, 'or pass node="pve1" and type="qemu"'),
        ({"vmid": "cache"}, "2 guests are called cache"),
        ({"vmid": 999}, "No guest that this token may see has the id 999"),
        ({"vmid": 110}, "is a template and never runs: make a guest with proxmox_vm_clone"),
    ],
)
async def test_a_guest_that_is_not_meant_or_never_runs_is_refused_before_anything_is_sent(
    client: Client, cluster: Cluster, verb: str, named: dict[str, Any], words: str
) -> None:
    assert words in await refused(client, verb, **named)

    assert cluster.writes == []


async def test_a_container_template_is_refused_like_any(client: Client, cluster: Cluster) -> None:
    put(cluster, 103, "stopped")
    cluster.guest(103).template = True

    said = await refused(client, "start", vmid=103)

    assert "container 103 (cache) on pve1 is a template and never runs" in said
    assert cluster.writes == []


# --- already so, locked, not possible --------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "state", "words"),
    [
        ("start", "running", "already runs"),
        ("stop", "stopped", "is already stopped"),
        ("shutdown", "stopped", "is already stopped"),
    ],
)
async def test_what_is_already_so_is_said_alike_of_both_kinds_and_nothing_is_sent(
    client: Client, cluster: Cluster, verb: str, state: str, words: str
) -> None:
    for vmid, name in ((100, "VM 100 (web-01) on pve1"), (103, "container 103 (cache) on pve1")):
        put(cluster, vmid, state)

        end = await done(client, verb, vmid=vmid)

        assert end == {"state": "already", "done": f"{name} {words}; nothing was changed."}
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("verb", "state", "arguments", "words"),
    [
        ("stop", "hibernated", {}, "is already hibernated"),
        ("shutdown", "hibernated", {}, "is already hibernated"),
        ("suspend", "hibernated", {}, "is already hibernated"),
        ("suspend", "hibernated", {"todisk": False}, "is already hibernated"),
        ("suspend", "paused", {"todisk": False}, "is already paused"),
        ("resume", "running", {}, "already runs"),
    ],
)
async def test_a_vm_that_is_already_so_stays_as_it_is(
    client: Client,
    cluster: Cluster,
    *,
    verb: str,
    state: str,
    arguments: dict[str, Any],
    words: str,
) -> None:
    put(cluster, 100, state)

    end = await done(client, verb, vmid=100, **arguments)

    said = f"VM 100 (web-01) on pve1 {words}; nothing was changed."
    assert end == {"state": "already", "done": said}
    assert cluster.writes == []
    assert state_of(cluster, 100) == state


async def test_what_runs_is_asked_of_the_guest_and_not_of_the_list(
    client: Client, cluster: Cluster
) -> None:
    cluster.speed = 0.01  # the list is refreshed once in a thousand seconds
    await client.call_tool("proxmox_get_vms", {})
    put(cluster, 100, "stopped")

    end = await done(client, "stop", vmid=100)

    assert end["state"] == "already"
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("verb", "vmid", "state", "lock"),
    [
        ("start", 112, "stopped", "backup"),
        ("start", 111, "stopped", "mounted"),
        ("stop", 100, "running", "migrate"),
        ("stop", 111, "running", "backup"),
        ("shutdown", 100, "running", "snapshot"),
        ("shutdown", 111, "running", "snapshot"),
        ("reboot", 100, "running", "clone"),
        ("reboot", 111, "running", "backup"),
        ("suspend", 100, "running", "suspending"),
        ("resume", 109, "paused", "backup"),
        ("reset", 100, "running", "backup"),
    ],
)
async def test_a_locked_guest_is_refused_with_the_name_of_its_lock(
    client: Client, cluster: Cluster, *, verb: str, vmid: int, state: str, lock: str
) -> None:
    put(cluster, vmid, state)
    cluster.guest(vmid).lock = lock

    said = await refused(client, verb, vmid=vmid)

    assert f"is locked ({lock})" in said
    assert f"proxmox_task_list (vmid={vmid}, running=true)" in said
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("verb", "instead"),
    [
        ("suspend", "Use proxmox_vm_shutdown"),
        ("resume", "Use proxmox_vm_start"),
        ("reset", "Use proxmox_vm_reboot, or stop and start it"),
    ],
)
async def test_what_means_nothing_to_a_container_is_refused_with_what_to_do_instead(
    client: Client, cluster: Cluster, verb: str, instead: str
) -> None:
    said = await refused(client, verb, vmid=111)

    assert "container 111 (proxy-01) on pve3 is a container and cannot be" in said
    assert instead in said
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("verb", "state", "arguments", "words"),
    [
        ("start", "paused", {}, "is paused, not off: continue it with proxmox_vm_resume"),
        ("shutdown", "paused", {}, "proxmox_vm_resume first, or force_stop"),
        ("reboot", "stopped", {}, "is stopped, so there is nothing to reboot"),
        ("reboot", "hibernated", {}, "use proxmox_vm_start"),
        ("suspend", "stopped", {}, "is stopped, so there is nothing to suspend"),
        ("suspend", "stopped", {"todisk": False}, "there is nothing to suspend"),
        ("resume", "stopped", {}, "is off, neither paused nor hibernated: use proxmox_vm_start"),
        ("reset", "stopped", {}, "is stopped, so there is nothing to reset"),
        ("reset", "hibernated", {}, "is hibernated, so there is nothing to reset"),
    ],
)
async def test_a_vm_in_the_wrong_state_is_refused_with_the_way_out(
    client: Client,
    cluster: Cluster,
    *,
    verb: str,
    state: str,
    arguments: dict[str, Any],
    words: str,
) -> None:
    put(cluster, 100, state)

    assert words in await refused(client, verb, vmid=100, **arguments)

    assert cluster.writes == []
    assert state_of(cluster, 100) == state


async def test_a_stopped_container_is_not_rebooted(client: Client, cluster: Cluster) -> None:
    put(cluster, 111, "stopped")

    said = await refused(client, "reboot", vmid=111)

    assert "is stopped, so there is nothing to reboot: use proxmox_vm_start" in said
    assert cluster.writes == []


async def test_a_paused_vm_is_not_rebooted_and_the_advice_is_to_resume_it(
    client: Client, cluster: Cluster
) -> None:
    said = await refused(client, "reboot", vmid=109)

    assert "VM is paused - cannot shutdown" in said
    assert "Resume the guest first" in said
    assert state_of(cluster, 109) == "paused"


# --- suspending ------------------------------------------------------------------------------


async def test_a_pause_sends_no_todisk_and_says_that_memory_stays_on_the_node(
    client: Client, cluster: Cluster
) -> None:
    end = await done(client, "suspend", vmid=100, todisk=False)

    assert end["done"] == "VM 100 (web-01) on pve1: paused in memory."
    assert cluster.writes == [("POST", f"{WEB}/status/suspend", {})]
    assert state_of(cluster, 100) == "paused"


async def test_a_paused_vm_can_still_be_hibernated(client: Client, cluster: Cluster) -> None:
    end = await done(client, "suspend", vmid=109, todisk=True)

    assert "hibernated" in end["done"]
    assert cluster.writes == [("POST", f"{DESK}/status/suspend", {"todisk": "1"})]
    assert state_of(cluster, 109) == "hibernated"


async def test_an_ha_managed_vm_is_not_hibernated_but_may_be_paused(
    client: Client, cluster: Cluster
) -> None:
    said = await refused(client, "suspend", vmid=102)
    assert "is managed by HA" in said
    assert "todisk=false pauses it" in said
    assert cluster.writes == []

    end = await done(client, "suspend", vmid=102, todisk=False)
    assert end["done"] == "VM 102 (web-02) on pve1: paused in memory."
    assert state_of(cluster, 102) == "paused"


# --- shutting down ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vmid", "path", "words"),
    [
        (100, WEB, "VM quit/powerdown failed - got timeout"),
        (111, PROXY, "container did not stop"),
    ],
)
async def test_a_guest_that_does_not_obey_fails_the_call_and_runs_on(
    client: Client, cluster: Cluster, vmid: int, path: str, words: str
) -> None:
    cluster.guest(vmid).stubborn = True

    said = await refused(client, "shutdown", vmid=vmid, timeout=5)

    kind = "qm" if vmid == 100 else "vz"
    assert f"Task {kind}shutdown {vmid} on {path.split('/')[2]} failed: {words}." in said
    assert f"Task id: UPID:{path.split('/')[2]}:" in said
    assert cluster.writes == [("POST", f"{path}/status/shutdown", {"timeout": "5"})]
    assert cluster.guest(vmid).status == "running"


async def test_a_failed_shutdown_comes_with_advice_and_the_logs_last_lines(
    client: Client, cluster: Cluster
) -> None:
    cluster.guest(106).stubborn = True  # its agent is configured and dead

    said = await refused(client, "shutdown", vmid=106, timeout=5)

    assert "give it longer, or stop it hard" in said
    assert "Last lines of its log:\n  QEMU Guest Agent is not running" in said
    assert "accepted" not in said  # a task that failed is no open question


@pytest.mark.parametrize(("vmid", "path"), [(100, WEB), (111, PROXY)])
async def test_force_stop_ends_a_guest_that_does_not_obey(
    client: Client, cluster: Cluster, vmid: int, path: str
) -> None:
    cluster.guest(vmid).stubborn = True

    end = await done(client, "shutdown", vmid=vmid, timeout=5, force_stop=True)

    assert end["state"] == "ok"
    sent = {"timeout": "5", "forceStop": "1"}
    assert cluster.writes == [("POST", f"{path}/status/shutdown", sent)]
    assert cluster.guest(vmid).status == "stopped"


async def test_force_stop_in_the_reference_spelling_also_ends_a_paused_vm(
    client: Client, cluster: Cluster
) -> None:
    end = await done(client, "shutdown", vmid=109, timeout=1, forceStop=True)

    assert end["state"] == "ok"
    sent = {"timeout": "1", "forceStop": "1"}
    assert cluster.writes == [("POST", f"{DESK}/status/shutdown", sent)]
    assert cluster.guest(109).status == "stopped"


async def test_a_reboot_of_a_guest_that_does_not_obey_fails_and_it_runs_on(
    client: Client, cluster: Cluster
) -> None:
    cluster.guest(100).stubborn = True
    before = cluster.guest(100).started

    said = await refused(client, "reboot", vmid=100, timeout=5)

    assert "Task qmreboot 100 on pve1 failed" in said
    assert "give it longer, or stop it hard" in said
    assert cluster.guest(100).started == before


async def test_a_stop_behind_a_shutdown_that_hangs_fails_with_what_is_in_its_way(
    client: Client, cluster: Cluster
) -> None:
    cluster.guest(100).stubborn = True
    await done(client, "shutdown", vmid=100, timeout=3600, wait=0)

    said = await refused(client, "stop", vmid=100)

    assert "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout" in said
    assert "Another action on the same guest is under way" in said
    assert cluster.guest(100).running


# --- high availability -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "before", "after", "task"),
    [
        ("start", "stopped", "running", "hastart"),
        ("stop", "running", "stopped", "hastop"),
        ("shutdown", "running", "stopped", "hastop"),
    ],
)
@pytest.mark.parametrize("vmid", [102, 103])
async def test_an_ha_managed_guest_is_followed_until_it_really_has_changed(
    client: Client, cluster: Cluster, *, vmid: int, verb: str, before: str, after: str, task: str
) -> None:
    put(cluster, vmid, before)
    cluster.guest(vmid).ha_managed = True

    end = await done(client, verb, vmid=vmid)

    assert end["state"] == "ok"
    assert f":{task}:{vmid}:" in end["upid"]
    assert cluster.guest(vmid).status == after
    assert [path.rpartition("/")[2] for _, path, _ in cluster.writes] == [verb]


@pytest.mark.parametrize("wait", [0, 1])
async def test_a_request_that_the_ha_manager_has_not_carried_out_is_never_called_done(
    client: Client, cluster: Cluster, wait: int
) -> None:
    cluster.speed = 0.1  # the manager takes eighty seconds

    end = await done(client, "stop", vmid=102, wait=wait)

    assert end["state"] == "running"
    said = "The HA manager has the request; VM 102 (web-02) on pve1 is still running."
    assert end["done"] == said
    assert end["next"] == f'proxmox_task_status(upid="{end["upid"]}", wait=300) goes on waiting'
    assert cluster.guest(102).status == "running"
    assert cluster.writes == [("POST", "/nodes/pve1/qemu/102/status/stop", {})]


# --- waiting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "shutdown", "suspend", "reboot"])
async def test_without_waiting_the_answer_is_the_task_and_the_call_that_goes_on(
    client: Client, cluster: Cluster, verb: str
) -> None:
    cluster.speed = 0.1
    put(cluster, 100, "stopped" if verb == "start" else "running")
    before = state_of(cluster, 100)

    end = await done(client, verb, vmid=100, wait=0)

    assert end["state"] == "running"
    assert "VM 100 (web-01) on pve1: accepted, not finished" in end["done"]
    assert end["next"] == f'proxmox_task_status(upid="{end["upid"]}", wait=300) goes on waiting'
    assert state_of(cluster, 100) == before
    assert cluster.center.tasks.all[end["upid"]].end is None


async def test_the_next_call_of_an_unfinished_one_goes_on_waiting_to_the_end(
    client: Client, cluster: Cluster
) -> None:
    cluster.speed = 20
    begun = await done(client, "shutdown", vmid=100, wait=0)

    result = await client.call_tool("proxmox_task_status", {"upid": begun["upid"], "wait": 300})

    assert result.structured_content is not None
    assert result.structured_content["state"] == "ok"
    assert cluster.guest(100).status == "stopped"


async def test_a_reboot_whose_start_takes_longer_than_the_wait_is_still_running(
    client: Client, cluster: Cluster
) -> None:
    stopped = {"status": "stopped", "vmid": 100, "qmpstatus": "stopped"}
    cluster.intercept = lambda request: (
        answer(stopped) if request.path.endswith("/status/current") and cluster.writes else None
    )

    end = await done(client, "reboot", vmid=100, wait=1)

    assert end["state"] == "running"
    assert "shut down; Proxmox is about to start it again" in end["done"]
    assert "proxmox_get_vm_status(vmid=100)" in end["next"]
    assert ":qmreboot:100:" in end["upid"]


async def test_progress_is_told_while_a_shutdown_takes_its_time(
    connect: Connect, cluster: Cluster
) -> None:
    cluster.speed = 10
    told: list[tuple[float, float | None, str | None]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with connect(mode="legacy") as client:
        await client.call_tool(
            "proxmox_vm_shutdown", {"vmid": 100, "wait": 20}, progress_callback=listen
        )

    assert told
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})
    assert {total for _, total, _ in told} == {20}
    assert all(str(words).startswith("qmshutdown 100 on pve1: ") for _, _, words in told)


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "vmid", "stale", "words"),
    [
        ("start", 100, "stopped", "VM 100 already running"),
        ("start", 111, "stopped", "CT 111 already running"),
        ("reset", 107, "running", "VM 107 not running"),
        ("stop", 111, "running", "CT 111 not running"),
    ],
)
async def test_a_state_that_changes_between_look_and_act_is_told_as_it_is(
    client: Client, cluster: Cluster, *, verb: str, vmid: int, stale: str, words: str
) -> None:
    if vmid == 111 and verb == "stop":
        put(cluster, 111, "stopped")
    before = state_of(cluster, vmid)
    seen = {"status": stale, "vmid": vmid}
    cluster.intercept = lambda request: (
        answer(seen) if request.path.endswith("/status/current") else None
    )

    assert words in await refused(client, verb, vmid=vmid)

    assert len(cluster.writes) == 1
    assert state_of(cluster, vmid) == before


def losing(cluster: Cluster) -> Any:
    """Carry every change out, and lose the answer on the way back."""

    def intercept(request: Request) -> Answer | None:
        if request.method == "GET":
            return None
        cluster._answer(request)
        return silence(596, "Connection timed out")

    return intercept


@pytest.mark.parametrize(("vmid", "path"), [(100, WEB), (111, PROXY)])
async def test_a_change_whose_answer_is_lost_is_sent_once_and_found(
    client: Client, cluster: Cluster, vmid: int, path: str
) -> None:
    cluster.intercept = losing(cluster)

    end = await done(client, "stop", vmid=vmid)

    assert end["state"] == "ok"
    assert not cluster.guest(vmid).running
    assert cluster.writes == [("POST", f"{path}/status/stop", {})]


async def test_losing_sight_of_an_accepted_task_says_what_was_accepted(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = lambda request: (
        silence(595, "No route to host") if "/tasks/UPID" in request.path else None
    )

    said = await refused(client, "stop", vmid=100)

    assert "The task goes on without being watched" in said
    assert "Task id: UPID:pve1:" in said
    assert f"had its change accepted (POST {WEB}/status/stop)" in said
    assert "do not repeat it unseen" in said
    assert len(cluster.writes) == 1


async def test_losing_sight_of_a_guest_that_is_coming_up_says_what_was_accepted(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = lambda request: (
        refusal(500, "got no worker upid - start worker failed")
        if request.path.endswith("/status/current") and cluster.writes
        else None
    )

    said = await refused(client, "reboot", vmid=100)

    assert "start worker failed" in said
    assert f"had its change accepted (POST {WEB}/status/reboot)" in said


async def test_an_answer_that_names_no_task_is_no_success(client: Client, cluster: Cluster) -> None:
    cluster.intercept = lambda request: answer(None) if request.method == "POST" else None

    said = await refused(client, "start", vmid=107)

    assert "accepted the request but named no task" in said
    assert "had its change accepted (POST /nodes/pve2/qemu/107/status/start)" in said


async def test_a_guest_on_an_offline_node_says_so_and_nothing_is_sent(
    client: Client, cluster: Cluster
) -> None:
    cluster.take_offline("pve3")

    said = await refused(client, "stop", vmid=111)

    assert "container 111 on pve3: No route to host" in said
    assert cluster.writes == []


async def test_a_missing_privilege_is_named(connect: Connect, cluster: Cluster) -> None:
    async with connect(credentials=TOKENS["audit"]) as client:
        said = await refused(client, "stop", vmid=100)

    assert "VM.PowerMgmt on /vms/100" in said
    assert cluster.guest(100).status == "running"


async def test_a_cancelled_call_logs_the_task_that_goes_on_without_it(
    connect: Connect, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    line = await calls.cancelled(connect, cluster, caplog, "proxmox_vm_shutdown", vmid=100)

    task = next(each for each in cluster.center.tasks.newest() if each.type == "qmshutdown")
    assert (line["tool"], line["outcome"]) == ("proxmox_vm_shutdown", "cancelled")
    assert (line["guest"], line["upid"]) == ("100", task.upid)
    assert task.end is None
    assert len(cluster.writes) == 1
