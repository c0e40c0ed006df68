"""Does the real Claude Code command reach the server? ``python -m tests.interop.claude``.

It is asked in a home folder of its own, where nobody is logged in: adding a server and connecting
to it need neither an account nor a network. It ends with 0 even when a server fails, so what it
says is read.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.process.server_process import BOUND, ROOT, environment
from tests.process.warm import COLD

NAME = "proxmox-demo"
NEGOTIATION = {"legacy": "legacy", "modern": "auto"}
WORKS = "Connected"


def listed(claude: str, home: Path, era: str) -> str:
    """Add the simulated cluster's server, and return what Claude Code then says of it."""
    settings = {
        "MCP_PROTOCOL_NEGOTIATION": NEGOTIATION[era],
        "CLAUDE_CONFIG_DIR": str(home / "claude"),
        "PYTHONPATH": str(ROOT),
    }
    home.mkdir()

    def run(*words: str) -> str:
        ended = subprocess.run(  # noqa: S603 - Claude Code
            [claude, "mcp", *words],
            cwd=home,
            env=environment(home, settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=BOUND,
            check=False,
        )
        return ended.stdout

    added = run("add", NAME, "--", *COLD, "--demo")
    lines = run("list").splitlines()
    return next((line for line in lines if line.startswith(f"{NAME}:")), added)


def main() -> int:
    """Ask in either era, and return the exit code."""
    claude = shutil.which("claude")
    if claude is None:
        sys.stdout.write("Claude Code is not installed: `claude` is not on the path. Skipped.\n")
        return 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        said = {era: listed(claude, Path(folder) / era, era) for era in NEGOTIATION}
    sys.stdout.writelines(f"{era}: {line}\n" for era, line in said.items())
    return 0 if all(WORKS in line and "Failed" not in line for line in said.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
