"""What a client is told of each tool, written down beforehand: one file a tool, in ``contract/``.

Making schemas out of types is what pydantic needs longest for, and a client waits for the list of
tools with everything it does. So the list is read, and a tool is made when it is first called. A
test holds every file against what its function declares; ``UPDATE_SNAPSHOTS=1`` writes it anew, so
that a change of what clients see is seen in review as well.
"""

import functools
import json
from pathlib import Path
from typing import Any, Final

from mcp.types import Tool

from proxmox_mcp.toolkit.bind import bind
from proxmox_mcp.toolkit.declare import ToolSpec

FOLDER: Final = Path(__file__).parents[1] / "contract"

# Read with the code itself: once the event loop runs, no file is read on it.
_WRITTEN: Final = {file.stem: file.read_bytes() for file in FOLDER.glob("*.json")}


def listed(spec: ToolSpec, *, strict: bool = False, prompting: bool = False) -> Tool:
    """Return what a client is told of a tool.

    Args:
        spec: What was declared.
        strict: Whether a loss is agreed to by an argument, so that there must be one.
        prompting: Whether Claude Code should prompt before each tool that may lose something.
    """
    written = None if strict and spec.loses else _written(spec.name)
    tool = written or declared(spec, strict=strict)
    if prompting and spec.loses:
        asking = {"anthropic/requiresUserInteraction": True}
        return tool.model_copy(update={"meta": (tool.meta or {}) | asking})
    return tool


def declared(spec: ToolSpec, *, strict: bool = False) -> Tool:
    """Return the same, made out of the tool's function."""
    tool = bind(spec, strict=strict)
    return Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.parameters,
        output_schema=tool.output_schema,
        annotations=tool.annotations,
        _meta=tool.meta,
    )


def text(tool: Tool) -> str:
    """Return the text of a tool's file."""
    said: dict[str, Any] = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(said, indent=2, sort_keys=True) + "\n"


@functools.cache
def _written(name: str) -> Tool | None:
    file = _WRITTEN.get(name)
    return Tool.model_validate_json(file) if file else None  # none: a tool in the making
