"""The tools as a shell completes them, kept as JSON: asking the program itself takes a second.

The file lies in the user's cache folder and is made anew when the program has changed. It holds
nothing of anybody's cluster, only the tools, and the guests, nodes and storages of the simulated
one. A file that cannot be read or written costs time and nothing else.

Nothing that brings the SDK is imported here before it is needed.
"""

import hashlib
import json
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from platformdirs import user_cache_dir

from proxmox_mcp import __version__

PACKAGE: Final = Path(__file__).resolve().parents[1]
DEMO: Final = {
    "guests": ("proxmox_get_vms", "vmid", "name"),
    "nodes": ("proxmox_get_nodes", "node", "status"),
    "storages": ("proxmox_get_storage", "storage", "type"),
}
"""What the simulated cluster has: the tool that lists it, the word to type, what tells it apart."""


def load() -> dict[str, Any]:
    """Return the catalogue, from the file where it is not stale."""
    file, stamp = place(), _stamp()
    with suppress(OSError, ValueError):
        kept = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(kept, dict) and kept.get("stamp") == stamp:
            return kept
    made = {"stamp": stamp} | _made()
    with suppress(OSError):
        _keep(file, json.dumps(made))
    return made


def place() -> Path:
    """Return where the file is."""
    return Path(user_cache_dir("proxmox-mcp", appauthor=False)) / "completion.json"


def _stamp() -> str:
    """Stand for the program as it is: in a working copy it changes and its version does not."""
    found = [__version__]
    for path in sorted(PACKAGE.rglob("*.py")):
        with suppress(OSError):
            facts = path.stat()
            found.append(f"{path} {facts.st_mtime_ns} {facts.st_size}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def _keep(file: Path, text: str) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Several shells may complete at once: each reads the old file or a whole new one.
    descriptor, beside = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(beside).replace(file)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise


# --- made anew -------------------------------------------------------------------------------


def _made() -> dict[str, Any]:
    from proxmox_mcp.toolkit.contract import listed  # noqa: PLC0415
    from proxmox_mcp.tools import TOOLS  # noqa: PLC0415

    return {
        "tools": [
            {
                "name": spec.name,
                "about": f"{spec.title} ({'elevated, ' if spec.elevated else ''}{spec.effect})",
                "arguments": listed(spec).input_schema.get("properties", {}),
            }
            for spec in TOOLS
        ],
        "demo": _demo(),
    }


def _demo() -> dict[str, list[list[str]]]:
    import anyio  # noqa: PLC0415

    logging.disable()  # nobody called a tool
    try:
        return anyio.run(_simulated)
    finally:
        logging.disable(logging.NOTSET)


async def _simulated() -> dict[str, list[list[str]]]:
    from mcp.client import Client  # noqa: PLC0415

    from proxmox_mcp import server  # noqa: PLC0415
    from proxmox_mcp.config import Settings  # noqa: PLC0415

    found = {}
    async with Client(server.build(Settings(demo=True))) as client:
        for what, (tool, word, about) in DEMO.items():
            data = (await client.call_tool(tool, {})).structured_content or {}
            rows = {str(row[word]): str(row.get(about, "")) for row in data.get(what, ())}
            found[what] = [[each, told] for each, told in rows.items()]
    return found
