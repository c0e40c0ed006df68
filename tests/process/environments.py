"""Empty virtual environments, and what pip puts into them."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

INSTALL_SECONDS = 300
RUNNING = sys.version_info[:2]
SUPPORTED = sorted({(3, 11), (3, 12), (3, 13), RUNNING})
SCRIPTS, SUFFIX = ("Scripts", ".exe") if sys.platform == "win32" else ("bin", "")


def interpreter(version: tuple[int, int]) -> str | None:
    """Find a Python of this version that really runs; a shim on PATH may only pretend to."""
    if version == RUNNING:
        return sys.executable
    name = "python{}.{}".format(*version)
    beside = Path.home().glob(f".pyenv/versions/{name.removeprefix('python')}.*/bin/{name}")
    return next(filter(_runs, [shutil.which(name) or "", *map(str, sorted(beside))]), None)


def _runs(python: str) -> bool:
    if not python:
        return False
    tried = subprocess.run([python, "-c", "import ssl, venv"], capture_output=True, check=False)  # noqa: S603
    return tried.returncode == 0


def checked(command: Sequence[str]) -> str:
    """Run a command that has to succeed, and return what it printed."""
    ended = subprocess.run(  # noqa: S603 - python and pip
        command,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
        env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
    )
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


class Environment:
    """A virtual environment with nothing in it but what is installed here.

    Our own pip works on it from outside, which spares each its copy; where we have none (uv makes
    environments without it) it gets one.
    """

    def __init__(self, python: str, folder: Path) -> None:
        self.scripts = folder / SCRIPTS
        self.python = str(self.scripts / f"python{SUFFIX}")
        we_have_pip = importlib.util.find_spec("pip") is not None
        checked([python, "-m", "venv", *(["--without-pip"] if we_have_pip else []), str(folder)])
        self._pip = (
            [sys.executable, "-m", "pip", "--python", self.python]
            if we_have_pip
            else [self.python, "-m", "pip"]
        )

    def install(self, requirement: str) -> None:
        """Install a distribution and what it needs; compiling all of it would take longer."""
        self.pip("install", "--quiet", "--no-compile", requirement)

    def pip(self, *words: str) -> str:
        """Let pip do something in this environment."""
        return checked([*self._pip, *words])

    def command(self, name: str) -> str:
        """Return the path of an installed command."""
        return str(self.scripts / f"{name}{SUFFIX}")
