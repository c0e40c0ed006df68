"""A dry run: all is checked, nothing is sent, and what would be sent is what is sent then."""

import itertools
import json
import logging
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jsonschema  # type: ignore[import-untyped] # comes with mcp
import pytest
from mcp import types
from mcp.client import Client

from proxmox_mcp import simulator
from proxmox_mcp.config import Settings
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.tools import TOOLS
from tests import likely as likely_calls
from tests.conftest import Connect, serve, text
from tests.likely import BACKUP, likely, prepared
from tests.tools.calls import called, refused

CHANGING = [spec for spec in TOOLS if spec.effect != "reads"]
SECRET_WORD = "correct-horse-battery"
NOTICE = "Dry run: this server sends no change."

each_change = pytest.mark.parametrize("spec", CHANGING, ids=lambda spec: spec.name)
both_eras = pytest.mark.parametrize("mode", ["legacy", "auto"])


@pytest.fixture(autouse=True)
def same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every prepared cluster of a test is the same one, digests and task ids included."""
    began = float(int(time.time()))

    def cluster(**named: Any) -> simulator.Cluster:
        steps = itertools.count()
        return simulator.Cluster(clock=lambda: began + next(steps) / 1000, **named)

    stand_in = SimpleNamespace(Cluster=cluster, CREDENTIALS=simulator.CREDENTIALS)
    monkeypatch.setattr(likely_calls, "simulator", stand_in)


class Asked:
    """A person who is asked all the same says no, and it is seen."""

    def __init__(self) -> None:
        self.questions: list[str] = []

    async def __call__(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        del context
        self.questions.append(str(params))
        return types.ElicitResult(action="decline")


def written() -> str:
    file = Settings().trail
    return file.read_text() if file.exists() else ""


async def planned(
    cluster: simulator.Cluster,
    tool: str,
    arguments: dict[str, Any],
    mode: str = "auto",
    **more: Any,
) -> dict[str, Any]:
    """Make a dry call that must get through, and return what it says."""
    asked = Asked()
    async with Client(serve(cluster, **more), mode=mode, elicitation_callback=asked) as client:
        [schema] = [
            each.output_schema for each in (await client.list_tools()).tools if each.name == tool
        ]
        result = await client.call_tool(tool, {"dry_run": True} | arguments)
    assert not result.is_error, text(result)
    assert result.structured_content is not None
    jsonschema.validate(result.structured_content, schema or {})
    assert json.loads(text(result)) == result.structured_content
    assert cluster.writes == []
    assert asked.questions == []
    assert written() == ""
    return dict(result.structured_content)


def on_the_wire(call: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    params = call.get("params", {})
    # What is repeated once cannot be told from what is not repeated.
    plain = {name: v[0] if isinstance(v, list) and len(v) == 1 else v for name, v in params.items()}
    return call["method"], call["path"], plain


# --- what would be sent ----------------------------------------------------------------------


@both_eras
@each_change
async def test_what_a_dry_run_tells_is_what_the_same_call_sends_then(
    spec: ToolSpec, mode: str
) -> None:
    dry_cluster, upid = prepared()
    told = await planned(dry_cluster, spec.name, likely(spec, upid), mode)
    cluster, same = prepared()
    assert same == upid

    async with Client(serve(cluster, confirm="off"), mode=mode) as client:
        result = await client.call_tool(spec.name, likely(spec, upid))

    assert not result.is_error, text(result)
    assert [on_the_wire(call) for call in told["would_send"]] == cluster.writes
    words = str(told.get("done", told.get("notice")))
    assert words.startswith("Dry run, nothing was sent. It would be: ")
    assert "as would_send says" not in words
    assert told.get("state", "dry_run") == "dry_run"


@each_change
async def test_what_would_be_lost_is_told_where_it_would_be_asked_about(spec: ToolSpec) -> None:
    cluster, upid = prepared()
    asked = Asked()

    told = await planned(cluster, spec.name, likely(spec, upid))
    async with Client(serve(cluster), mode="legacy", elicitation_callback=asked) as client:
        await client.call_tool(spec.name, likely(spec, upid))

    lost = told.get("would_lose", [])
    assert bool(lost) is (spec.effect == "destroys")
    assert len(asked.questions) == bool(lost)
    assert all(line in asked.questions[0] for line in lost)


REPLACED = {"vmid": 107, "config": {"scsi0": "local-lvm:8"}, "delete": ["tags"]}
LOSING: list[tuple[str, dict[str, Any], str]] = [
    ("proxmox_vm_config_update", REPLACED, "is replaced by another volume"),
    ("proxmox_vm_config_update", {"vmid": 107, "delete": ["scsi0"]}, "is detached"),
    (
        "proxmox_vm_config_update",
        {"vmid": 108, "config": {"protection": False}},
        "Its protection is taken off",
    ),
    (
        "proxmox_backup_create",
        {"vmid": 100, "storage": "backup-storage", "remove": True},
        "It has 2 backups there",
    ),
    (
        "proxmox_backup_restore",
        {"node": "pve2", "archive": BACKUP, "vmid": 107, "force": True},
        "Its disks are erased for good: scsi0.",
    ),
]


@both_eras
@pytest.mark.parametrize("confirm", ["ask", "strict", "off"])
@pytest.mark.parametrize(("tool", "arguments", "lost"), LOSING)
async def test_a_change_that_would_lose_something_says_so_and_asks_for_nothing(
    tool: str, arguments: dict[str, Any], lost: str, confirm: str, mode: str
) -> None:
    cluster, _ = prepared()

    told = await planned(cluster, tool, arguments, mode, confirm=confirm)

    assert any(lost in line for line in told["would_lose"])
    assert told["would_lose"][0].endswith("?")
    assert told["would_send"]


async def test_a_dry_run_says_what_each_key_is_and_what_it_would_be() -> None:
    cluster, _ = prepared()
    config = {"cores": 4, "memory": 8192, "sockets": 2}
    arguments = {"vmid": 100, "config": config, "delete": ["tags"], "revert": ["balloon"]}

    told = await planned(cluster, "proxmox_vm_config_update", arguments)

    assert told["done"] == (
        "Dry run, nothing was sent. It would be: VM 100 (web-01) on pve1: cores from 2 to 4, memory"
        " from 4096 to 8192, sockets from unset to 2, tags taken out, the waiting change of balloon"
        " dropped"
    )
    [only] = told["would_send"]
    sent = only["params"]
    digest = cluster.guest(100).digest
    assert sent == {key: str(value) for key, value in config.items()} | {
        "delete": "tags",
        "revert": "balloon",
        "digest": digest,
    }


async def test_a_rule_that_goes_further_down_lists_both_calls() -> None:
    rule = {"vmid": 100, "action": "ACCEPT", "rule_type": "in", "pos": 1, "comment": "new"}
    dry_cluster, _ = prepared()
    told = await planned(dry_cluster, "proxmox_firewall_rule_create", rule)
    cluster, _ = prepared()

    async with Client(serve(cluster)) as client:
        await called(client, "firewall_rule_create", **rule)

    first, (method, path, params) = cluster.writes
    digest = params.pop("digest")  # it is that of the rules after the first call
    assert len(digest) == 40
    assert [on_the_wire(call) for call in told["would_send"]] == [first, (method, path, params)]
    assert "rule created at position 1" in told["done"]


async def test_a_command_of_several_words_is_told_as_it_would_be_sent() -> None:
    arguments = {"vmid": 100, "command": ["ls", "-l", "a b"], "wait": 0}
    dry_cluster, _ = prepared()
    told = await planned(dry_cluster, "proxmox_execute_vm_command", arguments)
    cluster, _ = prepared()

    async with Client(serve(cluster)) as client:
        await called(client, "execute_vm_command", **arguments)

    [call] = told["would_send"]
    assert call["params"] == {"command": ["ls", "-l", "a b"]}
    assert on_the_wire(call) == cluster.writes[0]


async def test_text_of_several_lines_is_told_as_it_would_be_sent() -> None:
    note = "first\n\nthird, " + "long " * 1_000
    cluster, _ = prepared()
    arguments = {"vmid": 100, "snapname": "noted", "description": note}

    told = await planned(cluster, "proxmox_snapshot_create", arguments)

    assert told["would_send"][0]["params"] == {"snapname": "noted", "description": note}


async def test_an_id_that_the_server_chooses_is_told() -> None:
    cluster, _ = prepared()

    told = await planned(cluster, "proxmox_vm_clone", {"vmid": 110, "name": "copy"})

    [call] = told["would_send"]
    assert call["params"]["newid"] == "101"
    assert "cloned to guest 101" in told["done"]


# --- secrets ---------------------------------------------------------------------------------


KEY = f"ssh-ed25519 {SECRET_WORD}AAAAC3Nza web@example.invalid"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("vm_config_update", {"vmid": 100, "config": {"cipassword": SECRET_WORD}}),
        ("vm_config_update", {"vmid": 100, "config": {"sshkeys": KEY}}),
        ("vm_config_update", {"vmid": 100, "config": {"description": f"password: {SECRET_WORD}"}}),
        ("snapshot_create", {"vmid": 100, "snapname": "ab", "description": f"pwd={SECRET_WORD}"}),
        ("execute_vm_command", {"vmid": 100, "command": f"login --token={SECRET_WORD}"}),
        ("execute_vm_command", {"vmid": 100, "command": ["login", f"password={SECRET_WORD}"]}),
        (
            "firewall_rule_create",
            {"vmid": 100, "action": "DROP", "rule_type": "in", "comment": f"secret={SECRET_WORD}"},
        ),
    ],
)
async def test_a_secret_is_masked_wherever_it_would_stand_in_the_answer(
    tool: str, arguments: dict[str, Any]
) -> None:
    cluster, _ = prepared()

    told = await planned(cluster, f"proxmox_{tool}", arguments)

    assert SECRET_WORD not in json.dumps(told)
    assert "***" in json.dumps(told["would_send"])


async def test_an_old_value_with_a_secret_in_it_is_masked_too() -> None:
    cluster, _ = prepared()
    cluster.guest(100).config |= {
        "description": f"password: {SECRET_WORD}",
        "cipassword": "**********",
    }
    config = {"description": "nothing", "cipassword": "new"}

    told = await planned(cluster, "proxmox_vm_config_update", {"vmid": 100, "config": config})

    assert SECRET_WORD not in json.dumps(told)
    assert "cipassword set" in told["done"]
    assert "cipassword from" not in told["done"]


# --- checks ----------------------------------------------------------------------------------


Prepare = Callable[[simulator.Cluster], object]
NOTHING: Prepare = id
BAD: dict[str, tuple[str, dict[str, Any], Prepare, str]] = {
    "no such guest": ("vm_start", {"vmid": 999}, NOTHING, "No guest that this token may see"),
    "elsewhere": ("vm_start", {"vmid": 100, "node": "pve2"}, NOTHING, "is not at"),
    "locked": ("vm_start", {"vmid": 112}, NOTHING, "is locked (backup)"),
    "not a name": ("snapshot_create", {"vmid": 100, "snapname": "1"}, NOTHING, "right form"),
    "kept name": ("snapshot_create", {"vmid": 100, "snapname": "current"}, NOTHING, "for itself"),
    "taken name": ("snapshot_create", {"vmid": 100, "snapname": "before"}, NOTHING, "already has"),
    "no snapshot": ("snapshot_rollback", {"vmid": 100, "snapname": "no"}, NOTHING, "no snapshot"),
    "protected": (
        "snapshot_delete",
        {"vmid": 100, "snapname": "before"},
        lambda made: setattr(made.guest(100), "protection", True),
        "is protected",
    ),
    "runs": ("vm_template", {"vmid": 104}, NOTHING, "is running"),
    "unfit storage": ("backup_create", {"vmid": 100, "storage": "local-lvm"}, NOTHING, "backup"),
    "id in use": ("vm_clone", {"vmid": 110, "newid": 100}, NOTHING, "belongs to"),
    "over a running guest": (
        "backup_restore",
        {"node": "pve1", "archive": BACKUP, "vmid": 100, "force": True},
        NOTHING,
        "is running",
    ),
    "no such backup": (
        "backup_restore",
        {"node": "pve1", "archive": BACKUP.replace("11_06", "11_04"), "vmid": 101},
        NOTHING,
        "There is no backup",
    ),
    "protected backup": (
        "backup_delete",
        {"volume": BACKUP},
        lambda made: setattr(
            made.center.storages["backup-storage"].on("pve1")[BACKUP], "protected", True
        ),
        "is protected",
    ),
    "no such key": ("vm_config_update", {"vmid": 100, "config": {"cors": 4}}, NOTHING, "no key"),
    "shrinks": ("disk_resize", {"vmid": 100, "disk": "scsi0", "size": "1G"}, NOTHING, "shrink"),
    "no such disk": (
        "disk_resize",
        {"vmid": 100, "disk": "sata5", "size": "1G"},
        NOTHING,
        "no disk",
    ),
    "no such rule": ("firewall_rule_delete", {"vmid": 100, "pos": 9}, NOTHING, "no rule at"),
    "beyond the end": (
        "firewall_rule_create",
        {"vmid": 100, "action": "DROP", "rule_type": "in", "pos": 9},
        NOTHING,
        "pos can be 0 to 1",
    ),
    "no agent": ("execute_vm_command", {"vmid": 103, "command": ["id"]}, NOTHING, "no guest agent"),
    "not a task": ("task_stop", {"upid": "UPID:x"}, NOTHING, "must be a task id"),
    "no node": ("vm_migrate", {"vmid": 100, "target": "pve9"}, NOTHING, "pve9"),
}


@pytest.mark.parametrize("named", BAD)
async def test_a_dry_run_refuses_a_bad_call_in_the_same_words(named: str) -> None:
    tool, arguments, prepare, words = BAD[named]
    cluster, _ = prepared()
    prepare(cluster)

    async with Client(serve(cluster, confirm="off")) as client:
        dry = await refused(client, tool, dry_run=True, **arguments)
        wet = await refused(client, tool, **arguments)

    assert words in dry
    assert dry == wet
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protect": ["100"]}, "is protected by the rule 100"),
        ({"allow": ["103"]}, "Only what fits allow is shown here"),
        ({"read_only": True}, "is switched off"),
        ({"disable_tools": ["proxmox_vm_stop"]}, "is switched off"),
    ],
)
async def test_a_dry_run_goes_no_further_than_the_settings(
    settings: dict[str, Any], words: str
) -> None:
    cluster, _ = prepared()

    async with Client(serve(cluster, **settings)) as client:
        said = await refused(client, "vm_stop", vmid=100, dry_run=True)

    assert words in said
    assert cluster.writes == []


async def test_where_nothing_would_change_a_dry_run_says_what_the_call_would_say() -> None:
    cluster, _ = prepared()
    async with Client(serve(cluster)) as client:
        dry = await called(client, "vm_stop", vmid=107, dry_run=True)
        wet = await called(client, "vm_stop", vmid=107)

    assert dry == wet
    assert dry["state"] == "already"
    assert "would_send" not in dry


async def test_every_tool_that_changes_can_be_run_dry_and_no_other() -> None:
    cluster, _ = prepared()
    async with Client(serve(cluster), mode="legacy") as client:
        tools = (await client.list_tools()).tools
        reading = await refused(client, "get_nodes", dry_run=True)

    dry = {tool.name for tool in tools if "dry_run" in tool.input_schema["properties"]}
    assert dry == {spec.name for spec in TOOLS if spec.effect != "reads"}
    assert 'has no argument "dry_run"' in reading


async def test_the_log_says_that_a_call_was_only_planned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster, _ = prepared()
    with caplog.at_level(logging.INFO, "proxmox_mcp"):
        await planned(cluster, "proxmox_vm_stop", {"vmid": 100})

    [line] = [vars(each) for each in caplog.records if each.message == "tool.finished"]
    assert (line["outcome"], line["guest"]) == ("planned", "100")
    assert not {"accepted", "unanswered"} & line.keys()


# --- a server that only plans ----------------------------------------------------------------


@pytest.mark.parametrize("said", [{}, {"dry_run": False}, {"dry_run": True}], ids=str)
@each_change
async def test_a_dry_server_sends_nothing_whatever_the_call_says(
    spec: ToolSpec, said: dict[str, Any]
) -> None:
    cluster, upid = prepared()
    asked = Asked()

    async with Client(serve(cluster, dry_run=True), elicitation_callback=asked) as client:
        result = await client.call_tool(spec.name, likely(spec, upid) | said)

    assert not result.is_error, text(result)
    assert cluster.writes == []
    assert asked.questions == []
    assert written() == ""
    data = result.structured_content or {}
    assert data["would_send"]
    assert data["notice"].startswith(NOTICE)
    if "done" not in data:
        assert "nothing was sent. It would be: " in data["notice"]


@both_eras
async def test_a_dry_server_says_so_in_every_answer(
    connect: Connect, cluster: simulator.Cluster, mode: str
) -> None:
    upid = next(iter(cluster.center.tasks.all))
    async with connect(mode=mode, dry_run=True) as client:
        data = await called(client, "get_nodes")
        log = text(await client.call_tool("proxmox_task_log", {"upid": upid}))
        already = await called(client, "vm_stop", vmid=107)
        error = await refused(client, "vm_start", vmid=999)

    assert data["notice"].startswith(NOTICE)
    assert log.endswith(NOTICE)
    assert already["notice"].startswith(NOTICE)
    assert error.endswith(NOTICE)
