"""Every snippet of every document is carried out: commands, settings, configurations of clients.

Our own commands are the real ones, on the simulated cluster over HTTPS. What belongs to others
(claude, uv, pct, ...) is a stand-in that writes down how it was called, and that is looked at.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxmox_mcp import simulator
from proxmox_mcp.config import ConfigError, load
from tests.process.server_process import ROOT, environment, https_door
from tests.process.warm import program

SNIPPET = re.compile(r"^```(?P<kind>sh|toml|json)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "integrations").glob("*.md")]
)
OTHERS = (
    "claude",
    "code",
    "uv",
    "uvx",
    "pipx",
    "pip",
    "make",
    "qm",
    "pct",
    "pvesh",
    "pveum",
    "npx",
)
SECONDS = 120


def snippets(kind: str) -> list[object]:
    return [
        pytest.param(found["text"], id=f"{path.relative_to(ROOT)}:{line}")
        for path in DOCUMENTS
        for text in [path.read_text(encoding="utf-8")]
        for found in SNIPPET.finditer(text)
        if found["kind"] == kind
        for line in [text[: found.start()].count("\n") + 1]
    ]


@pytest.fixture
def door(cluster: simulator.Cluster, tmp_path: Path) -> Iterator[dict[str, str]]:
    with https_door(cluster, tmp_path) as variables:
        yield variables


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    """A folder of commands: ours is the real one, others only write down what they were told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    # A question that nobody is there to answer is answered with yes.
    ours = f'[ "$1" = init ] && set -- "$@" --yes\nexec {shlex.join(program())} "$@"\n'
    theirs = (
        f'printf "%s\\t" "${{0##*/}}" "$@" >> {tmp_path}/told\nprintf "\\n" >> {tmp_path}/told\n'
    )
    for name, words in [("proxmox-mcp", ours), *((name, theirs) for name in OTHERS)]:
        command = folder / name
        command.write_text(f"#!/bin/sh\n{words}")
        command.chmod(0o700)
    return folder


@pytest.mark.skipif(shutil.which("bash") is None, reason="the snippets are for a POSIX shell")
@pytest.mark.parametrize("snippet", snippets("sh"))
def test_the_commands_of_a_snippet_work(
    snippet: str, door: dict[str, str], stand_ins: Path, tmp_path: Path
) -> None:
    variables = door | {"PATH": f"{stand_ins}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(  # noqa: S603 - what the documents tell a reader to run
        [str(shutil.which("bash")), "-eu", "-o", "pipefail", "-c", snippet],
        env=environment(tmp_path, variables),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}"
    told = tmp_path / "told"
    for line in told.read_text(encoding="utf-8").splitlines() if told.exists() else []:
        assert_sensible(line.rstrip("\t").split("\t"))


def assert_sensible(words: list[str]) -> None:
    """What somebody else's command was told is a call that it understands."""
    match words:
        case ["claude", "mcp", "add", *rest]:
            assert "--" in rest, words
            before, command = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
            assert command[0] in ("proxmox-mcp", "uvx"), words
            assert before[-1] != "-e", words
        case ["claude", "mcp", "remove" | "list" | "get", *_]:
            pass
        case ["make", *targets]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
        case ["uv" | "pipx" | "pip", *rest]:
            named = re.split(r"[\[=<>~]", rest[-1])[0]
            assert named in ("proxmoxer-mcp", ".", "pytest", "tour"), words
        case ["uvx", "--from", package, *_]:
            assert package.startswith("proxmoxer-mcp"), words
        case ["qm" | "pct", "unlock", vmid]:
            assert vmid.isdecimal()
        case _:
            assert words[0] in OTHERS


@pytest.mark.parametrize("snippet", snippets("toml"))
def test_the_settings_of_a_snippet_are_settings(snippet: str, tmp_path: Path) -> None:
    home = tmp_path / "config"
    home.mkdir()
    text = snippet if re.search(r"^\[", snippet, re.MULTILINE) else f"[default]\n{snippet}"
    authority = tmp_path / "ca.pem"
    authority.touch()
    text = text.replace("/path/to/pve-root-ca.pem", str(authority)).replace(
        'fingerprint = "AB:CD:..."', f'fingerprint = "{"AB" * 32}"'
    )
    file = home / "settings.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    login = {"PROXMOX_HOST": "pve", "PROXMOX_USER": "root@pam"}
    login |= {"PROXMOX_TOKEN_NAME": "mcp", "PROXMOX_TOKEN_VALUE": "made-up-for-snippets"}

    try:
        load(environ=login, config_folder=home)
    except ConfigError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("snippet", snippets("json"))
def test_a_clients_configuration_is_json_that_starts_this_server(snippet: str) -> None:
    data = json.loads(snippet)
    servers = data.get("mcpServers") or data.get("servers")

    assert servers
    for server in servers.values():
        assert server["command"] in ("proxmox-mcp", "uvx")
