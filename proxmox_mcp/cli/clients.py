"""How each MCP client is told of this server: data, one file merged, or one command run.

Rule 1: no secret is ever handed to a client, because the server reads its own files.
Rule 2: what else stands in a client's file stays, and the file as it was is kept beside it.
"""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from platformdirs import user_config_path

from proxmox_mcp.config import writing

CLAUDE_CODE: Final = "claude-code"
SCOPES: Final = ("user", "project", "local")
_SECONDS: Final = 60


class ClientError(Exception):
    """A sentence on why a client could not be told, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client that keeps its servers in a JSON file."""

    title: str
    key: str
    file: str
    is_roaming: bool = True
    project_file: str | None = None
    extra: Mapping[str, str] | None = None

    def path(self, scope: str, home: Path, here: Path) -> Path:
        """Name the file for a scope.

        Raises:
            ClientError: this client has no such scope.
        """
        if scope == "project" and self.project_file:
            return here / self.project_file
        if scope != "user":
            raise ClientError(f"{self.title} keeps no servers with the scope {scope}")
        folder = user_config_path(appauthor=False, roaming=True) if self.is_roaming else home
        return folder / self.file

    def entry(self, command: Sequence[str]) -> dict[str, Any]:
        """Return what stands under this server's name."""
        return {**(self.extra or {}), "command": command[0], "args": list(command[1:])}

    def snippet(self, name: str, command: Sequence[str]) -> str:
        """Return the JSON to add by hand."""
        return json.dumps({self.key: {name: self.entry(command)}}, indent=2)


CLIENTS: Final[Mapping[str, Client]] = {
    "claude-desktop": Client("Claude Desktop", "mcpServers", "Claude/claude_desktop_config.json"),
    "vscode": Client(
        "VS Code",
        "servers",
        "Code/User/mcp.json",
        project_file=".vscode/mcp.json",
        extra={"type": "stdio"},
    ),
    "cursor": Client(
        "Cursor",
        "mcpServers",
        ".cursor/mcp.json",
        is_roaming=False,
        project_file=".cursor/mcp.json",
    ),
}
NAMES: Final = (CLAUDE_CODE, *CLIENTS)


def command(profile: str) -> list[str]:
    """Return the command that starts this server, wherever a client stands."""
    script = Path(sys.executable).with_name(
        "proxmox-mcp.exe" if sys.platform == "win32" else "proxmox-mcp"
    )
    program = [str(script)] if script.is_file() else [sys.executable, "-m", "proxmox_mcp"]
    return program if profile == "default" else [*program, "--profile", profile]


def by_hand(name: str, command: Sequence[str], scope: str, only: str | None = None) -> str:
    """Return what to type or paste, for one client or for all."""
    blocks = []
    if only in (None, CLAUDE_CODE):
        blocks.append(f"Claude Code:\n{shlex.join(_added(name, command, scope))}")
    for key, client in CLIENTS.items():
        if only in (None, key):
            blocks.append(f"{client.title}:\n{client.snippet(name, command)}")
    return "\n\n".join(blocks)


def _added(name: str, command: Sequence[str], scope: str) -> list[str]:
    return ["claude", "mcp", "add", "--scope", scope, name, "--", *command]


def add_to_claude_code(name: str, command: Sequence[str], scope: str) -> str:
    """Run ``claude mcp add``, and return a sentence on how it went.

    Raises:
        ClientError: there is no such command, or it said no.
    """
    program = shutil.which("claude")
    if program is None:
        raise ClientError("the command claude was not found; run this where it is:")
    added = _run([program, *_added(name, command, scope)[1:]])
    if added.returncode == 0:
        return f"Claude Code knows it as {name} now (scope {scope})."
    # Whether that is this server is seen from its command; the words of a refusal may change.
    known = _run([program, "mcp", "get", name])
    if known.returncode == 0 and command[0] in known.stdout:
        return f"Claude Code knows it as {name} already; nothing was changed."
    if known.returncode == 0:
        raise ClientError(
            f"Claude Code has another server called {name}: choose a name with --name, or take "
            f"that one out with: claude mcp remove {shlex.quote(name)}"
        )
    raise ClientError("claude mcp add did not work; run it yourself to see why:")


def _run(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(  # noqa: S603 - the client's own command, words kept apart
            words,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ClientError(
            f"claude could not be run ({type(error).__name__}); run it yourself:"
        ) from None


def merged(text: str, client: Client, name: str, entry: Mapping[str, Any], *, replace: bool) -> str:
    """Return a client's file with this server in it; the same text when it is there already.

    Raises:
        ClientError: it is no plain JSON, or another server has that name.
    """
    try:
        document = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):  # comments are allowed there, and would be lost
        raise ClientError("is no plain JSON and was left as it is; add this by hand:") from None
    servers = document.setdefault(client.key, {}) if isinstance(document, dict) else None
    if not isinstance(servers, dict):
        raise ClientError("is not laid out as expected and was left as it is; add this by hand:")
    if servers.get(name) == entry:
        return text
    if name in servers and not replace:
        raise ClientError(
            f"has another server called {name}: choose a name with --name, or give --replace"
        )
    servers[name] = entry
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(path: Path, text: str) -> Path | None:
    """Put a client's file in place; returns where the file as it was is kept, if there was one."""
    backup, mode = None, 0o600
    path = path.resolve()
    if path.exists():
        mode = path.stat().st_mode & 0o777
        backup = _free(path)
        shutil.copy2(path, backup)
    path.parent.mkdir(parents=True, exist_ok=True)
    writing.write({path: text})
    path.chmod(mode)
    return backup


def _free(path: Path) -> Path:
    number = 1
    while (backup := path.with_name(f"{path.name}.bak{number}")).exists():
        number += 1
    return backup
