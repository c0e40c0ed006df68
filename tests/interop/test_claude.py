"""What `make claude` makes of what Claude Code says, with a command that only says it."""

import sys
from pathlib import Path

import pytest

from tests.interop import claude

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")

LINE = f"{claude.NAME}: python -m proxmox_mcp --demo - "


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("✔ Connected", 0),
        ("✘ Failed to connect — Connection closed", 1),
        ("⏸ Pending approval", 1),
    ],
)
def test_only_a_connection_is_a_success(
    said: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "claude"
    command.write_text(f'#!/bin/sh\necho "Checking MCP server health..."\necho "{LINE}{said}"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert claude.main() == code


def test_where_it_is_not_installed_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert claude.main() == 0
    assert "not installed" in capsys.readouterr().out
