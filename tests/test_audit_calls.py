"""What stands in the audit trail once calls have gone through the server: before, after, and why.

A change is written down before it leaves, so that whatever happens then there is a record of it;
how it ended is written when it has. What only reads, and what is refused, leaves nothing.
"""

import io
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import requests
from anyio import to_thread
from mcp import types
from mcp.client import Client

from proxmox_mcp import server
from proxmox_mcp.cli import audit as command
from proxmox_mcp.config import Settings
from proxmox_mcp.simulator import Answer, Cluster, Request
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.toolkit.tampering import Verdict, verify
from proxmox_mcp.tools import TOOLS
from tests.conftest import Connect, serve, text
from tests.likely import BACKUP, likely, prepared
from tests.tools.calls import called, cancelled, refused

TOKEN_SECRET = "4f9c2a71-0b3d-4c55-9d1e-7a6b5c4d3e2f"
NOTED_SECRET = "hunter2-and-a-half"
RULES = "/nodes/pve1/qemu/100/firewall/rules"
RULE = {"vmid": 100, "action": "ACCEPT", "rule_type": "in"}
UPID = re.compile(r"UPID:pve\d:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:\w+:\d*:root@pam!demo:")

both_eras = pytest.mark.parametrize("mode", ["legacy", "auto"])


@pytest.fixture
def trail() -> Path:
    """Where the trail of a test is; nothing is there before the first change."""
    file = Settings().trail
    assert not file.exists()
    return file


def whole(trail: Path) -> str:
    return trail.read_text(encoding="utf-8") if trail.exists() else ""


def records(trail: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in whole(trail).splitlines()]


def events(trail: Path) -> list[str]:
    return [record["event"] for record in records(trail)]


def finished(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(each) for each in caplog.records if each.message == "tool.finished"]


# --- one call --------------------------------------------------------------------------------


@both_eras
async def test_a_change_is_told_with_who_made_it_where_to_what_and_how_it_ended(
    cluster: Cluster, trail: Path, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    who = types.Implementation(name="a client", version="1.2.3")
    at_home = serve(cluster, profile="at home")
    with caplog.at_level(logging.INFO, "proxmox_mcp"):
        async with Client(at_home, mode=mode, client_info=who) as client:
            done = await called(client, "snapshot_create", vmid="web-01", snapname="before")

    begin, end = records(trail)
    [line] = finished(caplog)
    moments = [datetime.fromisoformat(record.pop("time")) for record in (begin, end)]
    assert all(abs(moment - datetime.now(UTC)) < timedelta(minutes=1) for moment in moments)
    assert moments[0] <= moments[1]
    assert begin.pop("prev") == "0" * 64
    assert len(end.pop("prev")) == 64
    arguments = begin.pop("arguments")
    guest = {"vmid": 100, "name": "web-01", "kind": "qemu", "node": "pve1"}
    path = "/nodes/pve1/qemu/100/snapshot"
    assert begin == {
        "event": "begin",
        "call": line["call"],
        "client": "a client 1.2.3",
        "profile": "at home",
        "cluster": "pve1.demo.invalid:8006",
        "token_id": "root@pam!demo",
        "tool": "proxmox_snapshot_create",
        "effect": "changes",
        "guest": guest,
        "request": {"method": "POST", "path": path, "params": {"snapname": "before"}},
    }
    assert {key: value for key, value in arguments.items() if value not in (None, False)} == {
        "vmid": "web-01",
        "snapname": "before",
        "wait": 30,
    }
    took = end.pop("ms")
    assert 0 < took <= line["ms"] + 5_000
    assert end == {
        "event": "end",
        "call": line["call"],
        "tool": "proxmox_snapshot_create",
        "guest": guest,
        "outcome": "ok",
        "upid": done["upid"],
        "requests": [f"POST {path}"],
    }
    assert UPID.fullmatch(done["upid"])


@pytest.mark.parametrize(
    "spec", [spec for spec in TOOLS if spec.effect != "reads"], ids=lambda spec: spec.name
)
async def test_every_tool_that_changes_is_written_down_before_its_change_arrives(
    spec: ToolSpec, trail: Path
) -> None:
    made, upid = prepared()
    before: list[list[str]] = []

    def look(request: Request) -> None:
        if request.method != "GET":
            before.append(events(trail))

    made.intercept = look
    async with Client(serve(made, confirm="off"), mode="legacy") as client:
        result = await client.call_tool(spec.name, likely(spec, upid))

    assert not result.is_error, text(result)
    assert before == [["begin"]]
    assert events(trail) == ["begin", "end"]
    begin, end = records(trail)
    [(method, path, params)] = made.writes
    request = begin["request"]
    assert (request["method"], request["path"]) == (method, path)
    assert request.get("params", {}).keys() == params.keys()
    assert (begin["tool"], begin["effect"]) == (spec.name, spec.effect)
    assert begin["call"] == end["call"]
    assert (end["outcome"], end["requests"]) == ("ok", [f"{method} {path}"])
    assert begin.get("confirmed") == ("off" if spec.effect == "destroys" else None)


@pytest.mark.parametrize("spec", [s for s in TOOLS if s.effect == "reads"], ids=lambda s: s.name)
async def test_what_only_reads_leaves_nothing(spec: ToolSpec, trail: Path) -> None:
    made, upid = prepared()
    async with Client(serve(made), mode="legacy") as client:
        result = await client.call_tool(spec.name, likely(spec, upid))

    assert not result.is_error, text(result)
    assert events(trail) == []


REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "at the door": ("vm_start", {"vmid": -1}, {}),
    "unknown": ("vm_start", {"vmid": 999}, {}),
    "locked": ("vm_start", {"vmid": 112}, {}),
    "protected by a rule": ("vm_stop", {"vmid": 100}, {"protect": ["100"]}),
    "switched off": ("vm_stop", {"vmid": 100}, {"read_only": True}),
    "not confirmed": ("backup_delete", {"volume": BACKUP}, {"confirm": "strict"}),
    "no losses": ("backup_delete", {"volume": BACKUP}, {"allow_destructive": False}),
}


@both_eras
@pytest.mark.parametrize("named", REFUSED)
async def test_a_refused_call_leaves_nothing(
    connect: Connect, trail: Path, named: str, mode: str
) -> None:
    tool, arguments, settings = REFUSED[named]
    async with connect(mode=mode, **settings) as client:
        await refused(client, tool, **arguments)

    assert events(trail) == []


async def test_what_is_already_so_leaves_nothing(connect: Connect, trail: Path) -> None:
    async with connect() as client:
        assert (await called(client, "vm_stop", vmid=107))["state"] == "already"

    assert events(trail) == []


async def test_a_question_leaves_nothing_and_its_answer_is_the_same_call_before_and_another_now(
    cluster: Cluster, trail: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Since 2026-07-28 the client makes the call anew; before, the server goes on with it."""

    async def yes(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        del context, params
        seen.append(events(trail))
        return types.ElicitResult(action="accept", content={"confirm": True})

    seen: list[list[str]] = []
    older = BACKUP.replace("11_06", "11_05")
    with caplog.at_level(logging.INFO, "proxmox_mcp"):
        for mode, volume in (("legacy", BACKUP), ("auto", older)):
            async with Client(serve(cluster), mode=mode, elicitation_callback=yes) as client:
                await called(client, "backup_delete", volume=volume)

    assert seen == [[], ["begin", "end"]]
    begun = [record["call"] for record in records(trail) if record["event"] == "begin"]
    before, then, asked_now, now = finished(caplog)
    assert [each["outcome"] for each in (before, then, asked_now, now)] == ["asks", "ok"] * 2
    assert begun == [then["call"], now["call"]]
    assert before["call"] == then["call"]
    assert asked_now["call"] != now["call"]


# --- whose -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "guest"),
    [
        ("vm_clone", {"vmid": 110, "newid": 200}, {"vmid": 110, "name": "debian-12-template"}),
        ("backup_restore", {"node": "pve1", "archive": BACKUP, "vmid": 101}, {"vmid": 101}),
        ("backup_delete", {"volume": BACKUP}, {"vmid": 100}),
        ("firewall_rule_create", {**RULE, "wait": None}, {"vmid": 100, "name": "web-01"}),
    ],
)
async def test_a_record_names_the_guest_it_is_about(
    connect: Connect, trail: Path, tool: str, arguments: dict[str, Any], guest: dict[str, Any]
) -> None:
    given = {name: value for name, value in arguments.items() if name != "wait"}
    async with connect() as client:
        await called(client, tool, **given)

    begin = records(trail)[0]
    assert {name: begin["guest"][name] for name in guest} == guest


async def test_a_stopped_task_is_told_under_the_guest_it_was_about(trail: Path) -> None:
    made, upid = prepared()
    async with Client(serve(made)) as client:
        await called(client, "task_stop", upid=upid)

    begin, end = records(trail)
    assert begin["guest"]["vmid"] == 103
    assert begin["arguments"]["upid"] == upid
    assert end["upid"] == upid


async def test_a_change_of_the_cluster_or_a_node_names_no_guest(
    connect: Connect, trail: Path
) -> None:
    rule = {"action": "ACCEPT", "rule_type": "in"}
    async with connect() as client:
        await called(client, "firewall_rule_create", scope="cluster", **rule)
        await called(client, "firewall_rule_create", scope="node", node="pve1", **rule)

    assert [record["event"] for record in records(trail)] == ["begin", "end"] * 2
    assert not any("guest" in record for record in records(trail))


# --- secrets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments", "masked"),
    [
        (
            "execute_vm_command",
            {"vmid": 100, "command": f"curl -H 'Authorization: PVEAPIToken=a@b!c={TOKEN_SECRET}'"},
            "***",
        ),
        (
            "execute_vm_command",
            {"vmid": 100, "command": ["id", f"--token={TOKEN_SECRET}"]},
            "--token=***",
        ),
        (
            "execute_vm_command",
            {"vmid": 100, "command": ["id"], "stdin": f"only {NOTED_SECRET}"},
            f"<{len(NOTED_SECRET) + 5} characters>",
        ),
        ("vm_config_update", {"vmid": 107, "config": {"cipassword": NOTED_SECRET}}, "***"),
        (
            "vm_config_update",
            {"vmid": 107, "config": {"description": f"password: {NOTED_SECRET}"}},
            "password: ***",
        ),
        (
            "snapshot_create",
            {"vmid": 100, "snapname": "ab", "description": f"password: {NOTED_SECRET}"},
            "password: ***",
        ),
        ("firewall_rule_create", {**RULE, "comment": f"pwd={NOTED_SECRET}"}, "pwd=***"),
    ],
)
async def test_a_secret_among_the_arguments_is_masked_in_both_places(
    connect: Connect, trail: Path, tool: str, arguments: dict[str, Any], masked: str
) -> None:
    waits = {} if tool == "firewall_rule_create" else {"wait": 0}
    async with connect() as client:
        await called(client, tool, **arguments, **waits)

    begin = records(trail)[0]
    assert masked in json.dumps(begin["arguments"])
    assert masked in json.dumps(begin["request"]["params"])
    assert NOTED_SECRET not in whole(trail)
    assert TOKEN_SECRET not in whole(trail)


async def test_hostile_words_of_client_and_guest_stay_data(cluster: Cluster, trail: Path) -> None:
    words = 'x","outcome":"ok"}\n{"event":"end"} \x1b[31mred \u202e'
    who = types.Implementation(name=words, version="1")
    cluster.guest(100).name = words
    async with Client(serve(cluster), client_info=who) as client:
        await called(client, "vm_stop", vmid=100)

    begin, end = records(trail)
    assert begin["client"].startswith('x","outcome":"ok"}\n')
    assert begin["guest"]["name"] == words
    assert (begin["event"], end["event"]) == ("begin", "end")


# --- how a call ends -------------------------------------------------------------------------


async def test_a_task_that_fails_ends_its_record_so(connect: Connect, trail: Path) -> None:
    async with connect() as client:
        said = await refused(client, "snapshot_create", vmid=104, snapname="first")

    begin, end = records(trail)
    assert "snapshot feature is not available" in said
    assert (begin["event"], end["outcome"]) == ("begin", "TaskFailed")
    assert end["upid"] in said


async def test_what_proxmox_refuses_ends_its_record_so(
    connect: Connect, cluster: Cluster, trail: Path
) -> None:
    cluster.intercept = lambda request: (
        Answer(403, "Permission check failed") if request.method == "POST" else None
    )
    async with connect() as client:
        await refused(client, "vm_stop", vmid=100)

    _, end = records(trail)
    assert (end["outcome"], end["requests"]) == ("NotAllowed", [])
    assert "upid" not in end


async def test_a_call_given_up_while_it_waits_ends_as_cancelled(
    connect: Connect, cluster: Cluster, trail: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = await cancelled(
        connect, cluster, caplog, "proxmox_backup_create", vmid=103, storage="backup-storage"
    )

    begin, end = records(trail)
    assert begin["call"] == end["call"] == line["call"]
    assert (end["outcome"], end["requests"]) == ("cancelled", ["POST /nodes/pve1/vzdump"])
    assert end["upid"] == line["upid"]


async def test_a_change_whose_answer_is_lost_is_named_all_the_same(
    connect: Connect, cluster: Cluster, trail: Path
) -> None:
    def lose(request: Request) -> None:
        if request.method == "POST":
            raise requests.exceptions.ReadTimeout("no answer")
        if request.path.endswith("/tasks"):
            raise requests.exceptions.ReadTimeout("nor here")

    cluster.intercept = lose
    async with connect() as client:
        await refused(client, "vm_stop", vmid=100, wait=0)

    _, end = records(trail)
    assert end["outcome"] == "OutcomeUnknown"
    assert end["requests"] == ["POST /nodes/pve1/qemu/100/status/stop"]


async def test_a_call_that_still_waits_for_its_task_has_ended_well(
    connect: Connect, cluster: Cluster, trail: Path
) -> None:
    cluster.speed = 0.1
    async with connect() as client:
        done = await called(client, "backup_create", vmid=103, storage="backup-storage", wait=0)

    _, end = records(trail)
    assert done["state"] == "running"
    assert (end["outcome"], end["upid"]) == ("ok", done["upid"])


# --- calls of two requests -------------------------------------------------------------------


async def test_a_second_request_has_a_line_of_its_own_before_it_leaves(
    connect: Connect, cluster: Cluster, trail: Path
) -> None:
    before: list[tuple[str, list[str]]] = []

    def look(request: Request) -> None:
        if request.method != "GET":
            before.append((request.method, events(trail)))

    async with connect() as client:
        await called(client, "firewall_rule_create", comment="first", **RULE)
        begin_anew(trail)
        cluster.intercept = look
        await called(client, "firewall_rule_create", comment="second", pos=1, **RULE)

    begin, request, end = records(trail)
    assert before == [("POST", ["begin"]), ("PUT", ["begin", "request"])]
    assert begin["request"]["path"] == RULES
    assert request["call"] == begin["call"] == end["call"]
    assert request["request"]["method"] == "PUT"
    assert request["request"]["path"] == f"{RULES}/0"
    assert request["request"]["params"]["moveto"] == 2
    assert end["requests"] == [f"POST {RULES}", f"PUT {RULES}/0"]


def begin_anew(trail: Path) -> None:
    trail.unlink()
    trail.with_name(f"{trail.name}.head").unlink()


# --- a trail that cannot be written ----------------------------------------------------------


def block(trail: Path) -> None:
    trail.parent.parent.mkdir(parents=True, exist_ok=True)
    trail.parent.write_text("in the way")


UNWRITTEN: dict[str, dict[str, Any]] = {
    "vm_stop": {"vmid": 100},
    "backup_delete": {"volume": BACKUP},
    "firewall_rule_create": RULE,
}


@both_eras
@pytest.mark.parametrize("tool", UNWRITTEN)
async def test_what_cannot_be_written_down_is_not_done(
    connect: Connect, cluster: Cluster, trail: Path, tool: str, mode: str
) -> None:
    arguments = UNWRITTEN[tool]
    block(trail)
    async with connect(mode=mode) as client:
        said = await refused(client, tool, **arguments)
        reading = await called(client, "get_nodes")
        dry = await called(client, tool, dry_run=True, **arguments)

    assert said.startswith("The audit trail cannot be written, so nothing was changed: ")
    assert str(trail) in said
    assert "audit_file" in said
    assert len(reading["nodes"]) == 3
    assert dry["would_send"]
    assert cluster.writes == []


async def test_a_second_request_that_cannot_be_written_down_leaves_the_first_and_says_so(
    connect: Connect, cluster: Cluster, trail: Path
) -> None:
    def break_it(request: Request) -> None:
        if request.method == "POST":
            trail.rename(trail.with_name("elsewhere"))
            trail.mkdir()

    async with connect() as client:
        await called(client, "firewall_rule_create", comment="first", **RULE)
        cluster.intercept = break_it
        said = await refused(client, "firewall_rule_create", comment="second", pos=1, **RULE)

    assert [write[0] for write in cluster.writes] == ["POST", "POST"]
    assert "nothing more was changed" in said
    assert "nothing was changed" not in said
    assert f"had its change accepted (POST {RULES})" in said


async def test_an_end_that_cannot_be_written_down_does_not_hide_that_the_change_was_made(
    connect: Connect, cluster: Cluster, trail: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def break_it(request: Request) -> None:
        if request.method == "POST":
            trail.rename(trail.with_name("elsewhere"))
            trail.mkdir()

    cluster.intercept = break_it
    with caplog.at_level(logging.INFO, "proxmox_mcp"):
        async with connect() as client:
            done = await called(client, "vm_stop", vmid=100)

    [line] = [vars(each) for each in caplog.records if each.message == "audit.incomplete"]
    assert done["state"] == "ok"
    assert line["call"] == finished(caplog)[0]["call"]
    assert "its end is not in the audit trail" in line["why"]


# --- the file as a whole ---------------------------------------------------------------------


async def test_calls_side_by_side_leave_a_trail_that_is_whole(
    connect: Connect, cluster: Cluster, trail: Path
) -> None:
    guests = [100, 102, 103, 104, 105, 106]
    cluster.speed = 100_000
    async with connect() as client, anyio.create_task_group() as group:
        for vmid in guests:
            arguments = {"vmid": vmid, "wait": 30}
            group.start_soon(client.call_tool, "proxmox_vm_reboot", arguments)

    written = records(trail)
    calls = {record["call"] for record in written if record["event"] == "begin"}
    assert {record["call"] for record in written if record["event"] == "end"} == calls
    assert len(calls) == len(cluster.writes)
    assert await to_thread.run_sync(verify, trail) == Verdict(2 * len(calls), (), ())


async def test_what_was_written_can_be_looked_at_and_is_found_untouched(
    connect: Connect, trail: Path
) -> None:
    async with connect(confirm="off") as client:
        done = await called(client, "vm_stop", vmid=100)
        await called(client, "backup_delete", volume=BACKUP)
        await refused(client, "snapshot_create", vmid=104, snapname="first")

    verdict, table = await to_thread.run_sync(_looked_at, trail)
    assert verdict == Verdict(6, (), ())
    head, stopped, deleted, failed = table.splitlines()
    assert head.split() == ["time", "(UTC)", "tool", "guest", "outcome", "confirmed", "who", "UPID"]
    assert "proxmox_vm_stop" in stopped
    assert "100 web-01" in stopped
    assert done["upid"][:12] in stopped
    assert re.search(r"proxmox_backup_delete +100 +ok +off ", deleted)
    assert re.search(r"proxmox_snapshot_create +104 legacy-01 +TaskFailed +- ", failed)


def _looked_at(trail: Path) -> tuple[Verdict, str]:
    out = io.StringIO()
    assert command.show(trail, out, guest=None, since="1d", as_json=False) == 0
    return verify(trail), out.getvalue()


async def test_the_simulated_cluster_of_the_demo_has_a_trail_of_its_own(trail: Path) -> None:
    async with Client(server.build(Settings(demo=True))) as client:
        await called(client, "vm_stop", vmid=100, wait=0)

    [begin, _] = records(trail.with_name("audit-demo.jsonl"))
    assert begin["cluster"] == "demo"
    assert events(trail) == []


@pytest.mark.parametrize("named", ["other.jsonl", "deep/er/other.jsonl"])
async def test_the_settings_say_where_the_trail_is(
    connect: Connect, tmp_path: Path, trail: Path, named: str
) -> None:
    file = tmp_path / named
    async with connect(audit_file=file) as client:
        await called(client, "vm_stop", vmid=100)

    assert [record["event"] for record in records(file)] == ["begin", "end"]
    assert events(trail) == []
