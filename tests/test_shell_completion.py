"""What a shell offers, position by position, and the scripts in the shells that are installed."""

import io
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxmox_mcp.cli import catalogue, completion, main, shells
from proxmox_mcp.toolkit.bind import bind
from proxmox_mcp.tools import TOOLS
from tests.process.server_process import BOUND, environment, run_program

if sys.platform != "win32":
    import pty

TOOL_NAMES = [spec.name for spec in TOOLS]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder whose catalogue is made once for all of these tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        catalogue.load()
        yield folder


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def offered(*words: str) -> dict[str, str]:
    """What is offered for the last of these words, each with what it is."""
    out = io.StringIO()
    assert completion.answer(["--", *words], main._parser(), out) == 0
    return dict(line.split("\t") for line in out.getvalue().splitlines())


# --- candidates ------------------------------------------------------------------------------


def test_the_first_word_is_a_command_that_the_parser_knows() -> None:
    found = offered("")

    listed = re.findall(r"^    ([a-z-]+)(?: |$)", main._parser().format_help(), re.MULTILINE)
    assert list(found) == listed
    assert {"call", "shell-completion", "audit", "tools"} <= set(found)
    assert "complete" not in found
    assert all(found.values())


POSITIONS: list[tuple[tuple[str, ...], list[str]]] = [
    (("ca",), ["call"]),
    (("--profile", ""), []),
    (("--profile", "call", "ca"), ["call"]),
    (("--demo", "ca"), ["call"]),
    (("--pro",), ["--profile"]),
    (("audit", ""), ["verify", "show"]),
    (("audit", "show", "--s"), ["--since"]),
    (("role", "--pve", ""), ["8", "9"]),
    (("role", ""), []),
    (("shell-completion", ""), ["bash", "zsh", "fish"]),
    (("shell-completion", "bash", ""), []),
    (("call", "proxmox_get_cl"), ["proxmox_get_cluster_status"]),
    (("call", "--j"), ["--json"]),
    (("call", "--json", "--j"), []),
    (("call", "--json", "proxmox_get_cl"), ["proxmox_get_cluster_status"]),
    (("call", "proxmox_get_cluster_status", ""), []),
    (("call", "proxmox_nosuch", ""), []),
    (("call", "proxmox_get_vms", "no"), ["node="]),
    (("call", "proxmox_get_vms", "node=x", "no"), []),
    (("call", "proxmox_get_vms", "type="), ["type=qemu", "type=lxc", "type=all"]),
    (("call", "proxmox_get_vms", "status=ru"), ["status=running"]),
    (("call", "proxmox_get_vms", "node="), []),
    (("call", "proxmox_get_vms", "nosuch="), []),
    (("call", "proxmox_vm_stop", "dry_run="), ["dry_run=true", "dry_run=false"]),
    (("call", "proxmox_vm_config_update", "co"), ["config=", "config."]),
    (("call", "proxmox_vm_config_update", "config.cores=4", "co"), ["config=", "config."]),
    (("call", "--demo", "proxmox_get_vms", "node="), ["node=pve1", "node=pve2", "node=pve3"]),
    (("--demo", "call", "proxmox_get_vms", "node=pve1"), ["node=pve1"]),
    (("call", "--demo", "proxmox_vm_stop", "vmid=10"), [f"vmid=10{n}" for n in "023456789"]),
    (("call", "--demo", "proxmox_vm_migrate", "target=pve3"), ["target=pve3"]),
    (("call", "--demo", "proxmox_get_vms", "limit="), []),
]  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), POSITIONS, ids=lambda each: " ".join(each)[:50])
def test_each_position_has_its_candidates(words: tuple[str, ...], expected: list[str]) -> None:
    assert list(offered(*words)) == expected


def test_every_tool_is_offered_with_its_title_and_every_argument_with_its_words() -> None:
    found = offered("call", "")

    assert list(found) == TOOL_NAMES
    for spec in TOOLS:
        assert found[spec.name].startswith(spec.title)
        schema = bind(spec).parameters.get("properties", {})
        arguments = offered("call", spec.name, "")
        assert {word for word in arguments if word.endswith("=")} == {f"{name}=" for name in schema}
        assert all(arguments.values())


def test_a_guest_of_the_simulated_cluster_is_offered_with_its_name() -> None:
    assert offered("call", "--demo", "proxmox_vm_stop", "vmid=100") == {"vmid=100": "web-01"}


def test_files_are_offered_where_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "no blanks").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "nested").mkdir()
    tool = ("call", "proxmox_get_vms")

    assert list(offered(*tool, f"name=@{tmp_path}/no")) == [f"name=@{tmp_path}/notes.txt"]
    assert list(offered("--config", f"{tmp_path}/")) == [
        f"{tmp_path}/nested/",
        f"{tmp_path}/notes.txt",
    ]
    assert list(offered(*tool, f"name=@{tmp_path}/.h")) == [f"name=@{tmp_path}/.hidden"]
    assert offered(*tool, "name=@/nosuch/x", "name=@nosuch\0") == {}


def test_nothing_that_a_shell_or_a_terminal_could_act_on_is_offered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hostile = ["$(id)", "`id`", "a;b", "a b", "a\nb", "'", '"', "a\x1b[2J", "a|b", "a&b", "\\", "*"]
    tools = [{"name": word, "about": "a\tb\x1b[2J\nc", "arguments": {}} for word in [*hostile, "x"]]
    monkeypatch.setattr(catalogue, "load", lambda: {"tools": tools, "demo": {}})

    assert offered("call", "") == {"x": "a b[2J c"}


def test_no_words_at_all_are_answered_like_an_empty_one() -> None:
    out = io.StringIO()

    completion.answer([], main._parser(), out)

    assert out.getvalue().startswith("tools\t")


# --- the catalogue ---------------------------------------------------------------------------


def test_the_catalogue_is_kept_and_made_anew_when_the_program_has_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[int] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))

    def make() -> dict[str, Any]:
        made.append(1)
        return {"tools": [], "demo": {}}

    monkeypatch.setattr(catalogue, "_made", make)

    catalogue.load()
    catalogue.load()
    assert len(made) == 1
    monkeypatch.setattr(catalogue, "__version__", "another")
    catalogue.load()
    assert len(made) == 2
    for broken in ("{", "[]", '{"stamp": 1}', "\udc80"):
        catalogue.place().write_text(broken, encoding="utf-8", errors="surrogateescape")
        assert catalogue.load()["tools"] == []
    assert len(made) == 6
    assert list(catalogue.place().parent.iterdir()) == [catalogue.place()]


def test_a_cache_that_cannot_be_written_costs_time_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(catalogue, "_made", lambda: {"tools": [], "demo": {}})

    assert catalogue.load()["tools"] == []


def test_the_catalogue_is_private_and_holds_nothing_of_a_login(cache: Path) -> None:
    [file] = cache.rglob("completion.json")

    assert file.stat().st_mode & 0o077 == 0
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert set(kept) == {"stamp", "tools", "demo"}
    assert set(kept["demo"]) == {"guests", "nodes", "storages"}


def test_completing_does_not_load_the_sdk_nor_the_settings(cache: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['proxmox-mcp', 'complete', '--', 'call', 'proxmox_get_cl']\n"
        "from proxmox_mcp.__main__ import main; main()\n"
        "heavy = {'mcp', 'pydantic', 'requests', 'anyio', 'proxmox_mcp.config'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )

    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", code],
        env=environment(tmp_path, {"XDG_CACHE_HOME": str(cache)}),
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "proxmox_get_cluster_status\tCluster status (reads)\n"


# --- the scripts -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shell_environment(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the command is found, and prints what completing needs."""
    folder = tmp_path_factory.mktemp("shell")
    command = folder / "proxmox-mcp"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m proxmox_mcp "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    for shell, script in shells.SCRIPTS.items():
        (folder / shell).write_text(script, encoding="utf-8")
    return environment(
        folder,
        {
            "XDG_CACHE_HOME": str(cache),
            "PATH": f"{folder}:{os.environ['PATH']}",
            "TERM": "dumb",
            "PS1": "$ ",
            "INPUTRC": os.devnull,
        },
    )


def installed(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(shell), reason=f"{shell} is not installed")


def run(shell: str, *words: str, variables: dict[str, str]) -> str:
    program = shutil.which(shell)
    assert program
    ended = subprocess.run(  # noqa: S603 - a shell of this machine, on our own script
        [program, *words],
        env=variables,
        cwd=variables["HOME"],
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.parametrize(
    ("shell", "only_read"),
    [
        pytest.param("bash", "-n", marks=installed("bash")),
        pytest.param("zsh", "-n", marks=installed("zsh")),
        pytest.param("fish", "--no-execute", marks=installed("fish")),
    ],
)
def test_the_shell_finds_no_fault_in_its_script(
    shell: str, only_read: str, shell_environment: dict[str, str]
) -> None:
    assert run(shell, only_read, shell, variables=shell_environment) == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed_whole_and_evaluates_nothing(shell: str, cache: Path) -> None:
    ended = run_program(cache, "shell-completion", shell, variables={"XDG_CACHE_HOME": str(cache)})

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == shells.SCRIPTS[shell]
    code = "\n".join(line for line in ended.stdout.splitlines() if not line.startswith("#"))
    assert not re.search(r"\beval\b|\bsource\b|\$\{\(e\)", code)


def test_a_shell_without_a_script_is_refused_with_the_ones_there_are(tmp_path: Path) -> None:
    ended = run_program(tmp_path, "shell-completion", "tcsh")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "bash" in ended.stderr


class Bash:
    """A real bash at a terminal, in which somebody types and presses the tabulator."""

    def __init__(self, variables: dict[str, str]) -> None:
        self.process, self._master = self._started(variables)
        self._said = ""

    def _started(self, variables: dict[str, str]) -> tuple[subprocess.Popen[bytes], int]:
        master, slave = pty.openpty()
        program = shutil.which("bash")
        assert program
        process = subprocess.Popen(  # noqa: S603 - a shell of this machine
            [program, "--norc", "--noprofile", "-i"],
            env=variables,
            cwd=variables["HOME"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        return process, master

    def types(self, keys: str, then: str) -> str:
        """Type, and wait until *then* is printed; returns all that was since."""
        os.write(self._master, keys.encode())
        until = time.monotonic() + BOUND
        while then not in self._said:
            ready, _, _ = select.select([self._master], [], [], max(0, until - time.monotonic()))
            assert ready, f"bash did not print {then!r} but {self._said!r}"
            self._said += os.read(self._master, 65_536).decode()
        said, self._said = self._said, ""
        return said

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=BOUND)
        os.close(self._master)


TYPED = [
    ("proxmox-mcp shell-c", "ompletion "),
    ("proxmox-mcp call proxmox_get_cl", "uster_status "),
    ("proxmox-mcp call proxmox_get_vms no", "de="),
    ("proxmox-mcp call proxmox_get_vms status=ru", "nning "),
    ("proxmox-mcp call proxmox_get_vms limit=5   status=ru", "nning "),
    ("proxmox-mcp call proxmox_vm_stop dry_run=t", "rue "),
    ("echo hello; proxmox-mcp call proxmox_get_vms type=lx", "c "),
    ("proxmox-mcp call proxmox_get_vms name=@fis", "h "),
    ("proxmox-mcp call proxmox_task_status upid=UPID:a:b: includ", "e_logs="),
    ("proxmox-mcp --config fis", "h "),
]


@installed("bash")
def test_bash_completes_what_is_typed(shell_environment: dict[str, str]) -> None:
    bash = Bash(shell_environment)
    try:
        bash.types("source bash; echo re''ady\n", "ready\r\n")
        for begun, rest in TYPED:
            bash.types(f"{begun}\t", f"{begun}{rest}")
            bash.types("\x15echo ne''xt\n", "next\r\n")
    finally:
        bash.close()


@installed("bash")
def test_bash_lists_what_is_possible_without_repeating_what_stands_there(
    shell_environment: dict[str, str],
) -> None:
    bash = Bash(shell_environment)
    try:
        bash.types("source bash; echo re''ady\n", "ready\r\n")
        said = bash.types("proxmox-mcp call proxmox_get_vms status=\t\t", "unknown")
        assert re.search(r"\r\nrunning +stopped +unknown", said)
    finally:
        bash.close()


@installed("fish")
def test_fish_completes_with_words_about_each(shell_environment: dict[str, str]) -> None:
    def asked(line: str) -> str:
        code = f"source fish; complete -C '{line}'"
        return run("fish", "--no-config", "-c", code, variables=shell_environment)

    assert asked("proxmox-mcp call proxmox_get_cl") == (
        "proxmox_get_cluster_status\tCluster status (reads)\n"
    )
    assert asked("proxmox-mcp call --demo proxmox_get_vms node=pve3") == "node=pve3\tonline\n"
    assert "limit=\tGuests per page." in asked("proxmox-mcp call proxmox_get_vms ")


@installed("zsh")
def test_zsh_is_told_words_and_which_of_them_are_not_finished(
    shell_environment: dict[str, str],
) -> None:
    code = """
        compdef() { }
        _describe() { print -rl -- "${(P@)2}" "options: ${@[3,-1]}" }
        source zsh
        words=(proxmox-mcp call proxmox_get_cl); CURRENT=3; PREFIX=proxmox_get_cl; _proxmox_mcp
        words=(proxmox-mcp call proxmox_get_vms no); CURRENT=4; PREFIX=no; _proxmox_mcp
    """

    assert run("zsh", "-fc", code, variables=shell_environment).splitlines() == [
        "proxmox_get_cluster_status:Cluster status (reads)",
        "options: ",
        "node=:Node name, e.g. pve1.",
        "options: -S",
        "",
    ]
