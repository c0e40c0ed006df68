from typing import Any

import pytest
from mcp.client import Client

from proxmox_mcp import server
from proxmox_mcp.config import Settings
from proxmox_mcp.simulator import TOKENS, Cluster, Request
from tests.conftest import Connect, text
from tests.wire import answer, silence


async def listed(client: Client, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("proxmox_task_list", arguments)
    assert result.structured_content is not None, text(result)
    return dict(result.structured_content)


async def status(client: Client, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("proxmox_task_status", arguments)
    assert result.structured_content is not None, text(result)
    return dict(result.structured_content)


async def upid_of(client: Client, state: str) -> str:
    tasks = (await listed(client))["tasks"]
    return next(str(task["upid"]) for task in tasks if task["state"] == state)


@pytest.fixture
def speed() -> float:
    """The cluster's own pace: the backup that runs from the start takes fifteen seconds."""
    return 1


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_whole_cluster_is_listed_newest_first(connect: Connect, mode: str) -> None:
    async with connect(mode=mode) as client:
        tasks = (await listed(client))["tasks"]

    assert [(task["type"], task["state"]) for task in tasks] == [
        ("vzdump", "running"),
        ("vzdump", "warnings"),
        ("vzdump", "failed"),
        ("qmstart", "ok"),
    ]
    assert tasks[2]["error"] == "job errors"
    assert "duration_s" not in tasks[0]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"running": True}, ["running"]),
        ({"errors": True}, ["failed"]),
        ({"node": "pve1"}, ["warnings", "ok"]),
        ({"vmid": 100}, ["ok"]),
        ({"task_type": "qmstart"}, ["ok"]),
        ({"node": "pve3"}, []),
    ],
)
async def test_tasks_are_filtered(
    client: Client, filters: dict[str, Any], expected: list[str]
) -> None:
    assert [task["state"] for task in (await listed(client, **filters))["tasks"]] == expected


async def test_pages_go_on_where_the_last_one_ended(client: Client) -> None:
    first = await listed(client, limit=3)
    second = await listed(client, limit=3, cursor=first["next_cursor"])

    assert [task["state"] for task in first["tasks"]] == ["running", "warnings", "failed"]
    assert [task["state"] for task in second["tasks"]] == ["ok"]
    assert "next_cursor" not in second


async def test_an_offline_node_is_named_and_the_others_are_listed(
    client: Client, cluster: Cluster
) -> None:
    cluster.take_offline("pve2")

    page = await listed(client)

    assert page["nodes_missing"] == ["pve2"]
    assert [task["node"] for task in page["tasks"]] == ["pve1", "pve1"]


async def test_a_node_that_breaks_off_is_named_and_the_others_are_listed(
    client: Client, cluster: Cluster
) -> None:
    cluster.intercept = lambda request: (
        silence(596, "Connection timed out") if request.path == "/nodes/pve2/tasks" else None
    )

    page = await listed(client)

    assert page["nodes_missing"] == ["pve2"]
    assert len(page["tasks"]) == 2


async def test_a_named_node_that_is_offline_is_an_error(client: Client, cluster: Cluster) -> None:
    cluster.take_offline("pve2")

    result = await client.call_tool("proxmox_task_list", {"node": "pve2"})

    assert result.is_error
    assert "Node pve2: No route to host" in text(result)


async def test_running_and_errors_exclude_each_other(client: Client, cluster: Cluster) -> None:
    result = await client.call_tool("proxmox_task_list", {"running": True, "errors": True})

    assert result.is_error
    assert "exclude each other" in text(result)
    assert cluster.requests == []


@pytest.mark.parametrize("speed", [50])
async def test_waiting_for_a_task_reports_progress_and_tells_its_end(
    connect: Connect,
) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    # The SDK's in-memory transport of the modern era carries no progress token.
    async with connect(mode="legacy") as client:
        upid = await upid_of(client, "running")
        result = await client.call_tool(
            "proxmox_task_status",
            {"upid": upid, "wait": 20, "includeLogs": True},
            progress_callback=listen,
        )

    end = result.structured_content
    assert end is not None
    assert end["state"] == "ok"
    assert end["log"][-1] == "TASK OK"
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})
    assert any(total == 100 and "GiB" in str(words) for _, total, words in told)


async def test_the_demo_runs_its_tasks_as_fast_as_it_is_told() -> None:
    async with Client(server.build(Settings(demo=True, demo_speed=1000))) as client:
        newest = (await listed(client))["tasks"][0]
        end = await status(client, upid=newest["upid"], wait=5)

    assert end["type"] == "vzdump"
    assert end["state"] == "ok"


async def test_when_the_wait_is_over_first_the_task_is_still_running(client: Client) -> None:
    end = await status(client, upid=await upid_of(client, "running"), wait=0)

    assert end["state"] == "running"
    assert "error" not in end


async def test_a_failed_task_tells_why_with_its_last_lines(client: Client) -> None:
    end = await status(client, upid=await upid_of(client, "failed"))

    assert (end["state"], end["error"]) == ("failed", "job errors")
    assert any("ERROR" in line for line in end["log"])


async def test_a_failed_task_of_a_known_kind_comes_with_advice(
    client: Client, cluster: Cluster
) -> None:
    upid = await upid_of(client, "ok")
    record = {"status": "stopped", "exitstatus": "VM is locked (backup)", "upid": upid}
    cluster.intercept = lambda request: (
        answer(record) if request.path.endswith("/status") and "/tasks/" in request.path else None
    )

    end = await status(client, upid=upid)

    assert end["state"] == "failed"
    assert "Another job holds the guest" in end["advice"]


async def test_warnings_are_a_success_with_something_to_read(client: Client) -> None:
    end = await status(client, upid=await upid_of(client, "warnings"))

    assert (end["state"], end["error"]) == ("warnings", "WARNINGS: 1")
    assert any("WARN" in line for line in end["log"])


@pytest.mark.parametrize("tool", ["status", "log", "stop"])
async def test_a_task_is_looked_for_on_the_node_in_its_id(
    client: Client, cluster: Cluster, tool: str
) -> None:
    upid = await upid_of(client, "running")
    before = len(cluster.requests)

    wrong = await client.call_tool(f"proxmox_task_{tool}", {"upid": upid, "node": "pve1"})

    assert wrong.is_error
    assert "ran on pve2" in text(wrong)
    assert len(cluster.requests) == before


async def test_an_unknown_task_is_not_found(client: Client) -> None:
    upid = "UPID:pve1:00000001:00000001:60000000:qmstart:110:root@pam:"

    result = await client.call_tool("proxmox_task_status", {"upid": upid})

    assert result.is_error
    assert "no such task" in text(result)
    assert "proxmox_task_list" in text(result)


# --- logs ------------------------------------------------------------------------------------


async def test_a_log_is_text_between_marks_that_cannot_be_forged(client: Client) -> None:
    upid = await upid_of(client, "failed")

    first, second = [await client.call_tool("proxmox_task_log", {"upid": upid}) for _ in "ab"]

    head, mark, *lines = text(first).splitlines()
    assert head.startswith("Log of vzdump 112 on pve2: lines 1 to ")
    assert lines[-1] == mark.replace("<", "</")
    assert mark != text(second).splitlines()[1]
    assert first.structured_content is None


def long_log(lines: int) -> Any:
    def intercept(request: Request) -> Any:
        if not request.path.endswith("/log"):
            return None
        start, limit = int(str(request.param["start"])), int(str(request.param["limit"]))
        rows = [{"n": n + 1, "t": f"line {n + 1}"} for n in range(start, min(start + limit, lines))]
        return answer(rows, total=lines)

    return intercept


async def test_the_newest_lines_of_a_long_log_take_two_requests(
    client: Client, cluster: Cluster
) -> None:
    upid = await upid_of(client, "ok")
    cluster.intercept = long_log(2_000)
    before = len(cluster.requests)

    said = text(await client.call_tool("proxmox_task_log", {"upid": upid, "limit": 3}))

    assert "lines 1998 to 2000 of 2000 (start=1997)" in said
    assert "line 1998\nline 1999\nline 2000" in said
    assert len(cluster.requests) - before == 2


async def test_a_log_is_read_from_a_given_line(client: Client, cluster: Cluster) -> None:
    upid = await upid_of(client, "ok")
    cluster.intercept = long_log(10)

    said = text(await client.call_tool("proxmox_task_log", {"upid": upid, "start": 4, "limit": 2}))

    assert "lines 5 to 6 of 10 (start=4)" in said
    assert "\nline 5\nline 6\n</log-" in said


async def test_beyond_its_end_a_log_says_so(client: Client, cluster: Cluster) -> None:
    upid = await upid_of(client, "ok")
    cluster.intercept = long_log(10)

    said = text(await client.call_tool("proxmox_task_log", {"upid": upid, "start": 50}))

    assert "no lines from start=50 on" in said


async def test_control_characters_and_ansi_in_a_log_are_taken_out(
    client: Client, cluster: Cluster
) -> None:
    upid = await upid_of(client, "ok")
    rows = [{"n": 1, "t": "\x1b[31mred\x1b[0m \u202eevil\x07"}, {"n": 2, "t": "x" * 1_000_000}]
    cluster.intercept = lambda request: (
        answer(rows, total=2) if request.path.endswith("/log") else None
    )

    said = text(await client.call_tool("proxmox_task_log", {"upid": upid}))

    assert "red evil\n" in said
    assert len(said) < 3_000


# --- stopping --------------------------------------------------------------------------------


async def test_a_running_task_is_stopped_once_and_its_end_reported(
    client: Client, cluster: Cluster
) -> None:
    upid = await upid_of(client, "running")

    result = await client.call_tool("proxmox_task_stop", {"upid": upid})

    stopped = result.structured_content
    assert stopped is not None
    assert stopped["state"] == "stopped"
    assert stopped["exitstatus"] not in ("OK", None)
    assert cluster.writes == [("DELETE", f"/nodes/pve2/tasks/{upid}", {})]


async def test_a_lock_left_behind_is_reported_with_the_way_to_remove_it(
    client: Client, cluster: Cluster
) -> None:
    upid = await upid_of(client, "running")
    locked = {"status": "running", "lock": "backup", "vmid": 105}
    cluster.intercept = lambda request: (
        answer(locked) if request.path == "/nodes/pve2/qemu/105/status/current" else None
    )

    stopped = (await client.call_tool("proxmox_task_stop", {"upid": upid})).structured_content

    assert stopped is not None
    assert stopped["guest_lock"] == "backup"
    assert "qm unlock 105" in stopped["advice"]


async def test_a_task_that_has_ended_is_not_stopped_again(client: Client, cluster: Cluster) -> None:
    upid = await upid_of(client, "ok")

    stopped = (await client.call_tool("proxmox_task_stop", {"upid": upid})).structured_content

    assert stopped is not None
    assert (stopped["state"], stopped["exitstatus"]) == ("already_ended", "OK")
    assert cluster.writes == []


async def test_stopping_somebody_elses_task_names_the_privilege(
    connect: Connect,
) -> None:
    async with connect() as client:
        upid = await upid_of(client, "running")
    async with connect(credentials=TOKENS["audit"]) as client:
        result = await client.call_tool("proxmox_task_stop", {"upid": upid})

    assert result.is_error
    assert "Sys.Modify on /nodes/pve2" in text(result)


@pytest.mark.parametrize(
    ("asked", "shown"), [({}, "lines 30 to 50 of 50 (start=29)"), ({"start": 0}, "lines 1 to 20")]
)
async def test_a_log_of_very_long_lines_is_bounded_and_says_which_it_shows(
    client: Client, cluster: Cluster, asked: dict[str, int], shown: str
) -> None:
    cluster.center.tasks.record(
        ("pve1", "vzdump", "100", "root@pam"),
        start=LONG_AGO, lasted=3, status="OK", log=["x" * 1_990] * 49,
    )  # fmt: skip
    upid = next(upid for upid, task in cluster.center.tasks.all.items() if task.start == LONG_AGO)

    said = text(await client.call_tool("proxmox_task_log", {"upid": upid, "limit": 50} | asked))

    assert shown in said
    assert len(said) < 41_000


LONG_AGO = 1_700_000_000
