"""What Proxmox says, over the wire and through the real proxmoxer, becomes what it means."""

import json
from typing import Any
from urllib.parse import unquote

import pytest

from proxmox_mcp.pve import meanings, upid
from proxmox_mcp.pve.errors import (
    AlreadyTaken,
    BadAnswer,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OutcomeUnknown,
    ProxmoxError,
    Refused,
    TaskFailed,
    Unreachable,
    Unsupported,
)
from proxmox_mcp.pve.meanings import MEANINGS, exit_advice, task_failed, where
from tests.pve.scripted import (
    PASSWORD,
    RECORDED,
    SECRET,
    Reply,
    Wire,
    bridge_over,
    by_path,
    log_lines,
    pve_over,
    recorded,
)

REFUSALS: dict[str, dict[str, Any]] = {record["case"]: record for record in RECORDED["refusals"]}
TASKS: dict[str, dict[str, Any]] = {record["case"]: record for record in RECORDED["tasks"]}

# What each recorded answer means: the class, and what its message must hold.
MEANT: dict[str, tuple[type[ProxmoxError], tuple[str, ...]]] = {
    "wrong token": (NotAuthenticated, ("Authentication failed!", "token_value", "expired")),
    "no ticket": (NotAuthenticated, ("No ticket", "Check user")),
    "privilege missing": (NotAllowed, ("VM 111 on pve1", "Give the token VM.PowerMgmt on /vms")),
    "one of two privileges missing": (
        NotAllowed,
        ("Storage local on pve1", "Datastore.Audit|Datastore.AllocateSpace on /storage/local"),
    ),
    "privilege not named": (NotAllowed, ("Node pve1", "see Datacenter > Permissions")),
    "root only, 403": (NotAllowed, ("The cluster", "Only root@pam with its password")),
    "root only, 500": (NotAllowed, ("VM 111 on pve1", "'args'", "Only root@pam with its")),
    "root only, 400": (NotAllowed, ("skiplock", "Only root@pam with its password")),
    "task unknown": (NotFound, ("Node pve1", "no such task", "proxmox_task_list")),
    "task id malformed": (NotFound, ("unable to parse worker upid", "proxmox_task_list")),
    "parameter missing": (Refused, ("VM 110 on pve1", "proto: missing property", "Correct")),
    "parameters wrong": (
        Refused,
        ("vmid: invalid format", "cores: value must have a minimum", "memory: ", "Correct"),
    ),
    "no such call": (Unsupported, ("Method 'GET /nosuch'", "does not have this call")),
    "body with a delete": (Unsupported, ("VM 111 on pve1", "Unexpected content")),
    "no such program": (Refused, ("VM 110 on pve1", "full path of an executable")),
    "node offline": (Unreachable, ("Node pve2", "No route to host", "proxmox_get_cluster_status")),
    "node unknown": (NotFound, ("Node nosuch", "no node of this name", "proxmox_get_nodes")),
    "target unknown": (NotFound, ("VM 111 on pve1", "'nosuch'", "proxmox_get_nodes")),
    "guest unknown": (NotFound, ("VM 999 on pve1", "deleted or moved", "proxmox_get_vms")),
    "guest locked": (Refused, ("VM 111 on pve1", "locked (backup)", "proxmox_task_list")),
    "lock file held": (Refused, ("VM 111 on pve1", "wait for it and try again")),
    "agent not configured": (Refused, ("VM 112 on pve1", "agent: 1")),
    "agent not running": (Refused, ("VM 111 on pve1", "Start the service qemu-guest-agent")),
    "process unknown": (Refused, ("VM 110 on pve1", "read once only")),
    "agent refused": (Refused, ("VM 110 on pve1", "disabled", "guest agent in the guest refused")),
    "container runs": (Refused, ("container 210 on pve1", "nothing was changed")),
    "machine does not run": (Refused, ("VM 111 on pve1", "Start the guest first")),
    "container does not run": (Refused, ("container 210 on pve1", "Start the guest first")),
    "machine paused": (Refused, ("VM 109 on pve1", "Resume the guest first")),
    "guest protected": (Refused, ("VM 111 on pve1", "switched off in the guest's options")),
    "storage unknown": (NotFound, ("Storage nostore on pve1", "proxmox_get_storage")),
    "storage offline": (Refused, ("Storage nas on pve1", "not reachable from this node")),
    "id taken": (AlreadyTaken, ("Node pve1", "VM 110 already exists", "Choose another id")),
    "id taken, cloning": (AlreadyTaken, ("VM 111 on pve1", "Choose another id")),
    "resource taken": (AlreadyTaken, ("The cluster", "already defined", "Choose another id")),
    "config changed": (Refused, ("VM 111 on pve1", "read it again")),
    "rules changed": (Refused, ("VM 110 on pve1", "read it again")),
    "rule gone": (NotFound, ("VM 110 on pve1", "positions move")),
    "volume gone": (NotFound, ("Node pve1", "volume 'local:backup/", "does not exist.")),
    "quorum lost": (Unreachable, ("VM 111 on pve1", "lost its quorum")),
    "guest runs": (Refused, ("VM 110 on pve1", "is running - destroy failed", "(HTTP 500)")),
    "body not JSON": (Refused, ("VM 111 on pve1", "character offset 1", "(HTTP 500)")),
    "guest locked, 7.4": (Refused, ("VM 111 on pve1", "locked (backup)", "proxmox_task_list")),
    "privilege missing, 7.4": (NotAllowed, ("Give the token VM.PowerMgmt on /vms/111",)),
    "parameter missing, 7.4": (Refused, ("proto: missing property", "Correct")),
}

# What each recorded exit status of a task makes one do; nothing where the table knows nothing.
ADVISED = {
    "guest locked": "proxmox_task_list",
    "snapshot name taken": "delete that snapshot first",
    "snapshot unknown": "No snapshot has this name",
    "snapshots impossible": "cannot take snapshots",
    "machine runs": "nothing was changed",
    "shutdown too slow": "give it longer, or stop it hard",
    "backup protected": "Protection is on",
    "guest unknown": "proxmox_get_vms",
    "bridge unknown": "",
    "disk cannot shrink": "",
    "backup broken off": "",
    "backup interrupted": "stopped before its end",
    "worker interrupted": "stopped before its end",
    "worker gone": "restarted or died",
    "lock file held": "wait for it and try again",
}


async def answered(reply: Reply, method: str = "GET", path: str = "/nodes/pve1/status") -> Any:
    """Let one request have this answer, through the real proxmoxer."""
    bridge = bridge_over(Wire(reply))
    api = await bridge.open()
    return await bridge.call(getattr(api(unquote(path).strip("/")), method.lower()))


async def error_of(
    reply: Reply, method: str = "GET", path: str = "/nodes/pve1/status"
) -> ProxmoxError:
    with pytest.raises(ProxmoxError) as caught:
        await answered(reply, method, path)
    return caught.value


async def error_recorded(case: str) -> ProxmoxError:
    record = REFUSALS[case]
    return await error_of(recorded(record), record["method"], record["path"])


def test_every_recorded_answer_has_its_meaning_written_down() -> None:
    assert MEANT.keys() == REFUSALS.keys()
    assert ADVISED.keys() == TASKS.keys()


@pytest.mark.parametrize("case", MEANT)
async def test_a_recorded_refusal_becomes_its_class_and_says_where_and_what_next(case: str) -> None:
    kind, words = MEANT[case]

    error = await error_recorded(case)

    assert type(error) is kind
    assert [word for word in words if word not in str(error)] == []


@pytest.mark.parametrize(
    "case", [case for case, record in REFUSALS.items() if '"message"' in record["body"]]
)
async def test_the_status_line_alone_means_the_same_as_with_the_message_of_newer_versions(
    case: str,
) -> None:
    record = REFUSALS[case]
    body = json.loads(record["body"])
    del body["message"]

    older = await error_of(
        Reply(record["status"], record["reason"], json.dumps(body).encode(), record["headers"]),
        record["method"],
        record["path"],
    )

    newer = await error_recorded(case)
    assert (type(older), str(older)) == (type(newer), str(newer))


def _first_row(status: int | None, text: str, path: str) -> meanings.Meaning | None:
    return next((row for row in MEANINGS if row.reads(status, text, path)), None)


def _rows_reached() -> set[meanings.Meaning | None]:
    reached = set()
    for record in RECORDED["refusals"]:
        fields = json.loads(record["body"]).get("errors", {}) if "{" in record["body"] else {}
        said = "; ".join([record["reason"], *(f"{k}: {v.strip()}" for k, v in fields.items())])
        reached.add(_first_row(record["status"], said, record["path"]))
    return reached | {_first_row(None, task["exitstatus"], "") for task in RECORDED["tasks"]}


@pytest.mark.parametrize("row", MEANINGS, ids=lambda row: f"{row.status}-{row.text}")
def test_no_row_is_shadowed_each_is_the_first_to_read_some_recorded_answer(
    row: meanings.Meaning,
) -> None:
    assert row in _rows_reached()


@pytest.mark.parametrize(
    ("case", "path", "privilege"),
    [
        ("privilege missing", "/vms/111", "VM.PowerMgmt"),
        ("privilege missing, 7.4", "/vms/111", "VM.PowerMgmt"),
        (
            "one of two privileges missing",
            "/storage/local",
            "Datastore.Audit|Datastore.AllocateSpace",
        ),
        ("privilege not named", None, None),
        ("root only, 403", None, None),
        ("root only, 500", None, None),
    ],
)
async def test_a_missing_privilege_is_named_as_attributes_where_proxmox_names_it(
    case: str, path: str | None, privilege: str | None
) -> None:
    error = await error_recorded(case)

    assert isinstance(error, NotAllowed)
    assert (error.path, error.privilege) == (path, privilege)


@pytest.mark.parametrize("status", [502, 503, 504, 596, 597, 598, 599])
async def test_a_read_that_a_proxy_gave_up_is_unreachable_and_worth_another_try(
    status: int,
) -> None:
    error = await error_of(Reply(status, "Connection timed out", b""))

    assert isinstance(error, Unreachable)
    assert error.transient
    assert error.left
    assert "Node pve1: HTTP" in str(error)
    assert "It was only a question" in str(error)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("status", [502, 503, 504, 596, 597, 598, 599])
async def test_a_change_that_a_proxy_gave_up_may_have_happened(status: int, method: str) -> None:
    error = await error_of(
        Reply(status, "Connection timed out", b""), method, "/nodes/pve1/qemu/105/status/start"
    )

    assert isinstance(error, OutcomeUnknown)
    assert not error.transient
    assert f"VM 105 on pve1: HTTP {status}" in str(error)
    assert "may have happened" in str(error)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_offline_node_got_nothing_whatever_was_asked_of_it(method: str) -> None:
    error = await error_of(Reply(595, "Connection refused", b""), method, "/nodes/pve2/vzdump")

    assert type(error) is Unreachable
    assert not error.left
    assert not error.transient


async def test_a_broken_pipe_is_a_missing_program_only_where_a_program_was_to_run() -> None:
    elsewhere = await error_of(Reply(596, "Broken pipe", b""), "POST", "/nodes/pve1/vzdump")

    assert isinstance(elsewhere, OutcomeUnknown)


LOGIN_PAGE = b"<!DOCTYPE html><title>Sign in</title>"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=LOGIN_PAGE, headers={"Content-Type": "text/html; charset=utf-8"}),
        Reply(body=b'{"version":"9.1"}'),
        Reply(body=b"null"),
        Reply(body=b"[]"),
        Reply(body=b""),
        Reply(body=b'\xff\xfe{"data"'),
        Reply(304, "Not Modified", b""),
    ],
    ids=["login page", "no data", "null", "list", "empty", "not text", "not modified"],
)
async def test_an_answer_that_is_not_proxmoxs_is_an_error_and_no_data(
    reply: Reply, method: str
) -> None:
    error = await error_of(reply, method)

    # Whoever put a page in the answer's place may have passed a change on before.
    changed = method == "POST" and reply.status == 200
    assert isinstance(error, OutcomeUnknown if changed else BadAnswer)
    assert f"HTTP {reply.status}" in str(error)
    assert "Check host, port and path_prefix" in str(error)


async def test_a_login_page_is_named_by_its_content_type() -> None:
    error = await error_of(Reply(body=LOGIN_PAGE, headers={"Content-Type": "text/html; a=b"}))

    assert "(HTTP 200, text/html)" in str(error)
    assert "<title>" not in str(error)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(status: int, method: str) -> None:
    wire = Wire(Reply(status, "Found", b"", {"Location": "https://elsewhere.example.com/"}))
    bridge = bridge_over(wire)
    api = await bridge.open()

    with pytest.raises(BadAnswer, match="never followed"):
        await bridge.call(getattr(api.nodes("pve1").vzdump, method.lower()))

    assert wire.asked == [f"{method} /nodes/pve1/vzdump"]


@pytest.mark.parametrize(
    "body",
    [b"null", b"[]", b'"text"', b"<html>502</html>", b"\xff\xfe\xfa", b'{"errors":["a"]}', b""],
)
async def test_a_refusal_with_any_body_is_told_by_its_status_line(body: bytes) -> None:
    error = await error_of(Reply(500, "VM is locked (clone)", body))

    assert type(error) is Refused
    assert "VM is locked (clone)" in str(error)


async def test_words_that_are_not_utf8_are_shown_as_far_as_they_can_be() -> None:
    error = await error_of(Reply(500, "x", b'{"data":null,"message":"disk \xe4 is full\\n"}'))

    assert "disk \ufffd is full" in str(error)


async def test_a_message_of_several_lines_is_kept_whole() -> None:
    whole = "clone failed: copy failed\nqemu-img: error\nno space left on device\n"
    body = json.dumps({"data": None, "message": whole}).encode()

    error = await error_of(Reply(500, "clone failed: copy failed", body))

    assert whole.strip() in str(error)


async def test_a_refusal_without_a_word_still_says_where_and_which_status() -> None:
    error = await error_of(Reply(500, "", b""))

    assert str(error) == "Node pve1: refused without a reason (HTTP 500)."


async def test_a_401_without_a_word_still_reads_as_a_sentence() -> None:
    error = await error_of(Reply(401, "", b""))

    assert isinstance(error, NotAuthenticated)
    assert str(error).startswith("Node pve1: HTTP 401. Check user")


@pytest.mark.parametrize("case", ADVISED)
async def test_a_task_that_ended_badly_is_told_with_its_end_and_what_to_do(case: str) -> None:
    task, advice = TASKS[case], ADVISED[case]
    status = {"status": "stopped", "exitstatus": task["exitstatus"]}
    pve = await pve_over(Wire(by_path({"/status": status, "/log": log_lines(task["log"])})))

    with pytest.raises(TaskFailed) as caught:
        await upid.finish(pve, upid.Upid.parse(task["upid"]), wait=5)

    error = caught.value
    assert (error.upid, error.exitstatus) == (task["upid"], task["exitstatus"])
    assert error.lines == tuple(line for line in task["log"] if not line.startswith("TASK ERROR"))
    assert [line for line in error.lines if f"\n  {line}" not in str(error)] == []
    assert task["exitstatus"] in str(error)
    assert f"Task id: {task['upid']}" in str(error)
    assert advice in str(error)
    assert bool(exit_advice(task["exitstatus"])) == bool(advice)


def test_a_failed_task_without_a_log_has_no_heading_for_one() -> None:
    error = task_failed("UPID:x", "qmstart 105 on pve1", "timeout\n", [])

    assert str(error) == "Task qmstart 105 on pve1 failed: timeout.\nTask id: UPID:x"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nodes/pve1/qemu/105/status/start", "VM 105 on pve1"),
        ("/nodes/pve1/lxc/210/config", "container 210 on pve1"),
        ("/nodes/pve1/qemu", "Node pve1"),
        ("/nodes/pve1/storage/local/content", "Storage local on pve1"),
        ("/nodes/pve1/storage", "Node pve1"),
        ("/nodes", "The cluster"),
        ("/cluster/resources", "The cluster"),
        ("/", "The cluster"),
    ],
)
def test_a_path_is_named_by_what_it_is_about(path: str, words: str) -> None:
    assert where(path) == words


def _texts(error: BaseException | None) -> list[str]:
    texts = []
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    return texts


@pytest.mark.parametrize("case", REFUSALS)
async def test_no_error_nor_its_cause_holds_the_token_or_the_password(case: str) -> None:
    error = await error_recorded(case)

    assert [text for text in _texts(error) if SECRET in text or PASSWORD in text] == []
