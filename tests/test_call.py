"""A tool called from a shell: what is typed becomes arguments, and an answer becomes words."""

import io
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from proxmox_mcp.cli import arguments, call, manual, rendering
from proxmox_mcp.cli.progress import EVERY_SECONDS, Progress
from proxmox_mcp.config import Settings
from proxmox_mcp.logs import LogSettings
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.simulator import CREDENTIALS, Cluster, SimulatorAdapter
from proxmox_mcp.toolkit.bind import bind
from proxmox_mcp.toolkit.policy import Policy
from proxmox_mcp.tools import TOOLS
from tests import secrecy, test_parity
from tests.conftest import FAST
from tests.test_parity import FACTS, PREFIX, ROWS, SUBJECTS, Row

HUSH = "hush-5up3r-s3cr3t-passphrase"
SAMPLE = "backup-storage:backup/vzdump-qemu-100-2025_11_06-14_30_00.vma.zst"


@pytest.fixture(autouse=True)
def loop_never_blocks() -> None:
    """A call is a process of its own with one client in it: that one may import, and print."""


@pytest.fixture
def cluster() -> Cluster:
    """A simulated cluster on which every task has ended when somebody looks."""
    return Cluster(speed=1_000_000)


class Shell:
    """Whoever types ``proxmox-mcp call``: no terminal, and everything printed is kept."""

    def __init__(self, cluster: Cluster, errors: pytest.CaptureFixture[str]) -> None:
        self._cluster = cluster
        self._errors = errors
        self.code = -1
        self.stdout = self.stderr = ""

    def types(self, tool: str, *words: str, flags: str = "", **settings: Any) -> int:
        said: dict[str, Any] = {"allow_elevated": True} | settings
        log = LogSettings(level=said.pop("level", "INFO"))
        out = io.StringIO()
        self._errors.readouterr()
        wish = call.Wish(
            tool=PREFIX + tool,
            words=words,
            as_json="--json" in flags,
            yes="--yes" in flags,
            quiet="--quiet" in flags,
        )
        chosen = Settings(
            connection=Connection(**CREDENTIALS), limits=FAST, policy=Policy(**said), log=log
        )
        self.code = call.run(chosen, wish, out, adapter=SimulatorAdapter(self._cluster))
        self.stdout, self.stderr = out.getvalue(), self._errors.readouterr().err
        assert secrecy.leaks(self.stdout + self.stderr) == []
        return self.code


@pytest.fixture
def shell(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    yield Shell(cluster, capsys)
    assert logging.getLogger("proxmox_mcp.toolkit.bind").filters == []


# --- what is typed ---------------------------------------------------------------------------

ANY_OF = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
COMMAND = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
SCALARS = [{"type": kind} for kind in ("string", "integer", "number", "boolean")]
CONFIG = {"type": "object", "additionalProperties": {"anyOf": SCALARS}}
TEXTS = {"type": "array", "items": {"type": "string"}}
SCHEMA: dict[str, Any] = {
    "properties": {
        "whole": {"type": "integer"},
        "figure": {"type": "number"},
        "on": {"type": "boolean"},
        "text": {"type": "string"},
        "kind": {"type": "string", "enum": ["qemu", "lxc"]},
        "vmid": ANY_OF,
        "command": COMMAND,
        "keys": TEXTS,
        "ids": {"type": "array", "items": {"type": "integer"}},
        "config": CONFIG,
        "with_logs": {"type": "boolean"},
        "dir": {"type": "string"},
    }
}

FORMS: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [
    (("whole=5",), {"whole": 5}),
    (("whole=-5",), {"whole": -5}),
    (("whole=+05",), {"whole": 5}),
    (("whole=five",), {"whole": "five"}),
    (("whole=5.5",), {"whole": "5.5"}),
    (("whole=",), {"whole": ""}),
    (("whole=" + "9" * 5000,), {"whole": "9" * 5000}),
    (("figure=1.50",), {"figure": 1.5}),
    (("figure=4",), {"figure": 4}),
    (("figure=1e3",), {"figure": 1000.0}),
    (("figure=nan",), {"figure": "nan"}),
    (("figure=inf",), {"figure": "inf"}),
    *(((f"on={yes}",), {"on": True}) for yes in ("true", "yes", "1", "True", "YES")),
    *(((f"on={no}",), {"on": False}) for no in ("false", "no", "0", "False", "NO")),
    (("on=perhaps",), {"on": "perhaps"}),
    (("text=105",), {"text": "105"}),
    (("text=true",), {"text": "true"}),
    (("text=a=b=c",), {"text": "a=b=c"}),
    (("text=",), {"text": ""}),
    (("text={}",), {"text": "{}"}),
    (("text=@@home",), {"text": "@home"}),
    (("kind=qemu",), {"kind": "qemu"}),
    (("vmid=105",), {"vmid": 105}),
    (("vmid=web-01",), {"vmid": "web-01"}),
    (("vmid=0105",), {"vmid": "0105"}),
    (("command=ls -l",), {"command": "ls -l"}),
    (('command=["ls", "-l"]',), {"command": ["ls", "-l"]}),
    (("command=[ -f /etc/motd ]",), {"command": "[ -f /etc/motd ]"}),
    (("command=a,b",), {"command": "a,b"}),
    (("keys=a",), {"keys": ["a"]}),
    (("keys=a, b,c",), {"keys": ["a", "b", "c"]}),
    (('keys=["a,b", "c"]',), {"keys": ["a,b", "c"]}),
    (("keys=",), {"keys": []}),
    (("keys=1,2",), {"keys": ["1", "2"]}),
    (("ids=1,2",), {"ids": [1, 2]}),
    (("ids=1,x",), {"ids": [1, "x"]}),
    (('config={"cores": 4, "onboot": true}',), {"config": {"cores": 4, "onboot": True}}),
    (("config.cores=4", "config.memory=8192"), {"config": {"cores": 4, "memory": 8192}}),
    (('config={"cores": 4}', "config.memory=8192"), {"config": {"cores": 4, "memory": 8192}}),
    (("config.onboot=true",), {"config": {"onboot": True}}),
    (("config.onboot=yes",), {"config": {"onboot": "yes"}}),
    (("config.cpulimit=1.5",), {"config": {"cpulimit": 1.5}}),
    (("config.name=007",), {"config": {"name": "007"}}),
    (("config.version=1.50",), {"config": {"version": "1.50"}}),
    (("config.net0=virtio,bridge=vmbr0",), {"config": {"net0": "virtio,bridge=vmbr0"}}),
    (("config=cores",), {"config": "cores"}),
    (("withLogs=yes",), {"with_logs": True}),
    (("with_logs=yes",), {"with_logs": True}),
    (("nosuch=5",), {"nosuch": "5"}),
    (("text.inner=5",), {"text.inner": "5"}),
    (("nosuch.inner=5",), {"nosuch.inner": "5"}),
    ((), {}),
]


@pytest.mark.parametrize(("words", "expected"), FORMS, ids=lambda each: str(each)[:40])
def test_each_form_of_an_argument_is_read_by_its_type(
    words: tuple[str, ...], expected: Mapping[str, Any]
) -> None:
    found = arguments.typed(arguments.pairs(words, io.StringIO()), SCHEMA)

    assert found == expected
    assert {name: type(each) for name, each in found.items()} == {
        name: type(each) for name, each in expected.items()
    }


BAD: list[tuple[tuple[str, ...], str]] = [
    (("text=a", "100"), "word 2 after the tool is no argument"),
    (("=5",), "word 1 after the tool is no argument"),
    (("vmid=1", "vmid=2"), "vmid is given twice"),
    (("withLogs=1", "with_logs=0"), "with_logs is given twice"),
    (("config.cores=1", "config.cores=2"), "config: a part of it is given twice"),
    (('config={"cores": 1}', "config.cores=2"), "config: a part of it is given twice"),
    (("config=cores", "config.cores=2"), "config: a part of it is given twice"),
    (("config.cores=2", 'config={"cores": 1}'), "config is given twice"),
    (('config={"cores": ',), "config: is broken JSON"),
    (("keys=[1,",), "keys: is broken JSON"),
    (("text=@nosuch/file",), "text: cannot be read: No such file"),
    (("text=@.",), "text: cannot be read: Is a directory"),
    (("text=@a\0b",), "text: what it names is no text"),
    (("text=-", "dir=-"), "stdin can be the value of one argument only"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=lambda each: str(each)[:40])
def test_a_word_that_cannot_be_read_is_named_by_its_key(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        arguments.typed(arguments.pairs(words, io.StringIO()), SCHEMA)

    assert said in str(refused.value)


@pytest.mark.parametrize(
    "words",
    [(HUSH,), (f"config={{{HUSH}",), ("text=a", f"text={HUSH}"), (f"config=x{HUSH}", "config.a=1")],
)
def test_what_was_typed_is_never_repeated(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        arguments.typed(arguments.pairs(words, io.StringIO()), SCHEMA)

    assert HUSH not in str(refused.value)


def test_a_value_comes_from_a_file_or_from_stdin_without_its_last_line_break(
    tmp_path: Path,
) -> None:
    (tmp_path / "notes.txt").write_text("first\nsecond\n", encoding="utf-8")
    (tmp_path / "config.json").write_text('{"cores": 4}\n', encoding="utf-8")
    words = [f"text=@{tmp_path}/notes.txt", f"config=@{tmp_path}/config.json", "dir=-"]

    found = arguments.typed(arguments.pairs(words, io.StringIO("from stdin\n")), SCHEMA)

    assert found == {"text": "first\nsecond", "config": {"cores": 4}, "dir": "from stdin"}


def test_a_file_may_lie_at_home_and_must_be_text_of_bounded_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").write_text("at home", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_text("x" * (arguments.MOST_CHARACTERS + 1), encoding="utf-8")

    assert arguments.pairs(["text=@~/mine"], io.StringIO()) == [("text", "at home")]
    with pytest.raises(ValueError, match="is no text in UTF-8"):
        arguments.pairs(["text=@~/binary"], io.StringIO())
    with pytest.raises(ValueError, match="has more than 1000000 characters"):
        arguments.pairs(["text=@~/long"], io.StringIO())


# --- what is printed -------------------------------------------------------------------------

ROW = {"vmid": 100, "name": "web-01", "up": True, "tags": ["a", "b"], "load": 0.5}


def test_rows_become_a_table_and_all_else_lines_with_notes_at_the_end() -> None:
    data = {
        "notice": "Simulated.",
        "next_cursor": "abc",
        "total": 2,
        "guests": [ROW, {"vmid": 7, "name": "x", "node": "pve1"}],
        "memory": {"total_bytes": 3 * 2**30, "parts": {"low": 1}},
        "uptime_s": 178_800,
        "offline": [],
        "obstacles": ["first thing", "second thing"],
        "stdout": "one\ntwo\n",
    }

    assert rendering.lines(data, None) == [
        "total: 2",
        "",
        "guests:",
        "  vmid  name    up   tags  load  node",
        "   100  web-01  yes  a, b   0.5  -",
        "     7  x       -    -        -  pve1",
        "memory:",
        "  total_bytes: 3221225472 (3.0 GiB)",
        "  parts:",
        "    low: 1",
        "uptime_s: 178800 (2 d 1 h)",
        "offline: -",
        "obstacles:",
        "  - first thing",
        "  - second thing",
        "stdout:",
        "  one",
        "  two",
        "",
        "There is more: add cursor=abc",
        "",
        "Simulated.",
    ]


@pytest.mark.parametrize("columns", [20, 40, 79])
def test_nothing_is_wider_than_the_terminal_and_a_cut_is_marked(columns: int) -> None:
    wide = {"volume": "x" * 90, "notes": "語" * 30, "size": 5, "more": {"a": "b c " * 30}}
    data = {"rows": [wide, wide], "done": "word " * 50, "text": f"{'y' * 200}\nz", "inner": wide}

    lines = rendering.lines(data, columns)

    assert max(map(rendering.cells, lines)) <= columns
    rows = lines[1:4] if lines[0] == "rows:" else []
    assert len(rows) == 3
    assert all("…" in row for row in rows[1:])
    assert " ".join(" ".join(lines).split()).count("word") == 50


def test_words_of_others_do_not_drive_the_terminal() -> None:
    data = {
        "a\x1b[2Jb": "x\x1b]0;title\x07y\u202e",
        "rows": [{"k\x1b[1m": "v\x9b"}],
        "t": "\x1b\n\x07",
    }

    text = "\n".join(rendering.lines(data, 80))

    assert text.isprintable() or all(each.isprintable() or each == "\n" for each in text)


def test_an_answer_with_nothing_in_it_has_no_lines() -> None:
    assert rendering.lines({}, 80) == []


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_in_a_terminal_the_bar_grows_in_place_and_is_taken_away() -> None:
    stream = Tty()
    progress = Progress(stream)

    await progress(25, 100, "vzdump 100: 25%\x1b[2J")
    await progress(1, None, "no total")
    progress.clear()
    progress.clear()

    assert "\r[######..................]  25% vzdump 100: 25%" in stream.getvalue()
    assert "\rno total" in stream.getvalue()
    assert "\n" not in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().endswith(" \r")


async def test_elsewhere_progress_is_a_line_every_few_seconds() -> None:
    stream, now = io.StringIO(), iter([0.0, 0.0, 1.0, 2.0, EVERY_SECONDS + 1, EVERY_SECONDS + 1])
    progress = Progress(stream, clock=lambda: next(now))

    for percent in (10, 20, 30, 40):
        await progress(percent, 100, "vzdump")
    progress.clear()

    assert stream.getvalue() == " 10% vzdump\n 40% vzdump\n"


# --- the whole call --------------------------------------------------------------------------


def typed(value: Any) -> str:
    """A value of the parity table as somebody types it."""
    return value if isinstance(value, str) else json.dumps(value)


def test_the_table_of_calls_has_every_tool_of_the_reference() -> None:
    assert {PREFIX + row.tool for row in ROWS} == set(FACTS["tools"])


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS])
def test_a_call_from_a_shell_does_what_an_assistants_does(
    cluster: Cluster, shell: Shell, row: Row
) -> None:
    test_parity.settle(cluster)
    vmid = SUBJECTS[row.kind]["vmid"]
    made = (row.prepare(cluster, vmid) if row.prepare else None) or {}
    told = test_parity.own(cluster, row) | dict(made)
    given = test_parity.arguments(row, told)

    shell.types(row.tool, *(f"{key}={typed(value)}" for key, value in given.items()),
                flags="--json --yes")  # fmt: skip

    assert shell.code == (1 if row.refused else 0), shell.stderr
    assert cluster.writes == list(test_parity.filled(row.writes, told))
    if row.refused:
        assert shell.stdout == ""
        said = shell.stderr
    else:
        data = json.loads(shell.stdout)
        compact = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        said = data["text"] if row.tool == "task_log" else compact
    assert [word for word in test_parity.filled(row.words, told) if word not in said] == []


def test_an_answer_for_people_is_a_table(shell: Shell) -> None:
    assert shell.types("get_vms", "type=lxc", "limit=1") == 0

    assert shell.stdout.splitlines()[:4] == [
        "total: 2",
        "",
        "guests:",
        "  vmid  name   type  node  status   mem_gib  tags",
    ]
    assert "There is more: add cursor=" in shell.stdout
    assert shell.stderr == ""


WRONG = [
    ("get_vms", ("limit=many",), 2, "limit must be a whole number"),
    ("get_vms", ("limit=0",), 2, "limit must be at least 1"),
    ("get_vms", ("kind=lxc",), 2, 'has no argument "kind"; it takes: cursor, limit'),
    ("get_vms", ("type.x=lxc",), 2, 'has no argument "type.x"'),
    ("get_vm_status", (), 2, "vmid is missing"),
    ("nosuch", ("a=b",), 2, "There is no tool of this name. There are: proxmox_"),
    ("get_vm_status", ("vmid=nosuch",), 1, "nosuch"),
    ("get_vm_status", ("vmid=100", "node=../x"), 2, "node is not of the right form"),
]


@pytest.mark.parametrize("level", ["INFO", "ERROR"])
@pytest.mark.parametrize(("tool", "words", "code", "said"), WRONG)
def test_wrong_words_and_failures_have_the_servers_own_sentence_and_a_code_each(
    shell: Shell, level: str, *, tool: str, words: tuple[str, ...], code: int, said: str
) -> None:
    assert shell.types(tool, *words, level=level) == code

    assert said in shell.stderr
    assert shell.stdout == ""
    assert "tool.finished" not in shell.stderr


def test_what_is_switched_off_is_refused_with_the_setting_and_not_for_its_words(
    cluster: Cluster, shell: Shell
) -> None:
    code = shell.types("vm_start", "vmid=104", "nosuch=5", read_only=True)

    assert code == 1
    assert "read_only = false" in shell.stderr
    assert cluster.writes == []


def test_without_a_terminal_a_loss_is_not_confirmed_and_yes_agrees(
    cluster: Cluster, shell: Shell
) -> None:
    words = ("storage=backup-storage", f"volume={SAMPLE}")

    assert shell.types("backup_delete", *words) == 1
    assert "Not confirmed, so nothing was sent" in shell.stderr
    assert "--yes agrees beforehand" in shell.stderr
    assert cluster.writes == []

    assert shell.types("backup_delete", *words, flags="--yes") == 0
    assert [method for method, *_ in cluster.writes] == ["DELETE"]
    assert SAMPLE in shell.stderr


def test_yes_is_no_name_where_strict_wants_one(cluster: Cluster, shell: Shell) -> None:
    words = ("storage=backup-storage", f"volume={SAMPLE}")

    assert shell.types("backup_delete", *words, flags="--yes", confirm="strict") == 1
    assert cluster.writes == []
    name = shell.stderr.rpartition('confirm="')[2].partition('"')[0]
    assert shell.types("backup_delete", *words, f"confirm={name}", confirm="strict") == 0


def records(tmp_path: Path) -> list[dict[str, Any]]:
    [trail] = tmp_path.rglob("audit.jsonl")
    return [json.loads(line) for line in trail.read_text(encoding="utf-8").splitlines()]


def test_the_audit_trail_names_this_client_and_how_a_loss_was_confirmed(
    shell: Shell, tmp_path: Path
) -> None:
    shell.types("backup_delete", "storage=backup-storage", f"volume={SAMPLE}", flags="--yes")

    begin, end = records(tmp_path)
    assert begin["client"].startswith("proxmox-mcp call ")
    assert begin["confirmed"] == "asked"
    assert (begin["event"], end["event"], end["outcome"]) == ("begin", "end", "ok")


def test_secrets_in_arguments_stay_out_of_all_that_is_written(
    cluster: Cluster, shell: Shell, tmp_path: Path
) -> None:
    code = shell.types("vm_config_update", "vmid=100", f"config.cipassword={HUSH}", flags="--json")

    assert code == 0, shell.stderr
    assert cluster.writes[0][2]["cipassword"] == HUSH
    assert HUSH not in shell.stdout + shell.stderr
    assert "cipassword" in json.dumps(records(tmp_path))


def test_a_change_that_is_not_finished_is_no_failure_and_says_how_to_wait(
    cluster: Cluster, shell: Shell
) -> None:
    cluster.speed = 1e-3

    code = shell.types("backup_create", "vmid=100", "storage=backup-storage", "wait=0",
                       flags="--json")  # fmt: skip

    assert code == 0
    upid = json.loads(shell.stdout)["upid"]
    assert f"proxmox-mcp call proxmox_task_status 'upid={upid}' wait=300" in shell.stderr


def test_a_dry_run_tells_what_would_be_sent(cluster: Cluster, shell: Shell) -> None:
    assert shell.types("vm_config_update", "vmid=100", "config.cores=4", "dry_run=yes") == 0

    assert "cores=4" in shell.stdout
    assert cluster.writes == []


def test_the_handler_hears_of_progress_only_where_it_is_shown(
    cluster: Cluster, shell: Shell
) -> None:
    cluster.speed = 50
    words = ("vmid=100", "storage=backup-storage")

    assert shell.types("backup_create", *words) == 0
    assert "vzdump 100 on pve1" in shell.stderr
    assert shell.types("backup_create", *words, flags="--quiet") == 0
    assert shell.stderr == ""


LEFT = [
    ({}, "nothing was changed"),
    ({"outcome": "cancelled", "accepted": []}, "nothing was changed"),
    ({"upid": "UPID:x!y:"}, "proxmox-mcp call proxmox_task_status 'upid=UPID:x!y:' wait=300"),
    ({"unanswered": "POST /nodes/pve1/qemu"}, "POST /nodes/pve1/qemu was under way"),
    ({"accepted": ["PUT /nodes/pve1"]}, "after its change was accepted (PUT /nodes/pve1)"),
]


@pytest.mark.parametrize(("fields", "said"), LEFT)
def test_whoever_interrupts_is_told_what_is_left_behind(fields: dict[str, Any], said: str) -> None:
    assert said in call._left_behind(fields)


# --- the manual ------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", TOOLS, ids=lambda spec: str(spec.name))
def test_a_tools_page_has_its_words_and_each_argument_with_its_default(spec: Any) -> None:
    page = manual.page(spec.name, Settings(demo=True))

    assert page is not None
    assert page.startswith(f"{spec.name}: {spec.title} ({spec.effect})\n")
    assert spec.description in page
    assert max(map(len, page.splitlines())) <= 100
    for name, schema in bind(spec).parameters.get("properties", {}).items():
        [line] = [line for line in page.splitlines() if line.startswith(f"  {name} ")]
        if isinstance(schema.get("default"), int):
            assert f"default {str(schema['default']).lower()}" in " ".join(page.split())
        assert line
    assert ("Switched off: it needs allow_elevated" in page) == spec.elevated


def test_the_list_has_what_is_on_offer_and_nothing_else() -> None:
    text = manual.listing(Settings(demo=True, policy=Policy(read_only=True)))

    names = [line.split()[0] for line in text.splitlines() if line.startswith(PREFIX)]
    assert names == [spec.name for spec in TOOLS if spec.effect == "reads" and not spec.elevated]
    assert max(map(len, text.splitlines())) <= 80


def test_there_is_no_page_on_what_does_not_exist() -> None:
    assert manual.page("proxmox_nosuch", Settings(demo=True)) is None
