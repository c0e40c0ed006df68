"""What there is to call, and how each tool is called, for people at a shell."""

import textwrap
from collections.abc import Mapping
from typing import Any, Final

from proxmox_mcp.config import Settings
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.tools import TOOLS

COLUMNS: Final = 80
KINDS: Final = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "keys and values",
    "string": "text",
}
WAYS: Final = """\
Arguments are key=value. A list is a,b or JSON; an object is JSON, or config.cores=4 for each of
its keys. key=@file reads the value from a file, key=- from stdin, key=@@x is the text @x.
"""


def listing(settings: Settings) -> str:
    """Return the tools on offer, one a line, in the order in which one would learn them."""
    offered = [spec for spec in TOOLS if settings.policy.withholds(spec) is None]
    width = max((len(spec.name) for spec in offered), default=0)
    lines = [f"{spec.name:<{width}}  {spec.effect:<8}  {spec.title}" for spec in offered]
    return "\n".join([*lines, "", "How one is called: proxmox-mcp call TOOL --help"]) + "\n"


def page(name: str, settings: Settings) -> str | None:
    """Return what there is to know about a tool; None where there is none of this name."""
    spec = next((spec for spec in TOOLS if spec.name == name), None)
    return None if spec is None else "\n".join(_lines(spec, settings)) + "\n"


def _lines(spec: ToolSpec, settings: Settings) -> list[str]:
    # It brings the protocol's library along, which the list of tools need not wait for.
    from proxmox_mcp.toolkit.contract import listed  # noqa: PLC0415

    schema = listed(spec, strict=settings.policy.confirm == "strict").input_schema
    required = schema.get("required", ())
    parameters = sorted(
        schema.get("properties", {}).items(), key=lambda each: each[0] not in required
    )
    withheld = settings.policy.withholds(spec)
    lines = [f"{spec.name}: {spec.title} ({spec.effect})", "", spec.description, ""]
    lines += [_filled("", f"Switched off: {withheld}."), ""] if withheld else []
    lines += ["Arguments:" if parameters else "It has no arguments."]
    width = max((len(name) for name, _ in parameters), default=0)
    for name, each in parameters:
        text = f"{_kind(each)}; {_when(each, required=name in required)}. {_about(each)}"
        lines.append(_filled(f"  {name:<{width}}  ", text.rstrip()))
    return [*lines, "", WAYS.rstrip()] if parameters else lines


def _kind(schema: Mapping[str, Any]) -> str:
    if choices := schema.get("enum"):
        return f"one of {', '.join(choices)}"
    kinds = [KINDS[choice.get("type", "string")] for choice in schema.get("anyOf", [schema])]
    bounds = [str(schema[name]) for name in ("minimum", "maximum") if name in schema]
    return " or ".join(kinds) + (f" ({' to '.join(bounds)})" if len(bounds) > 1 else "")


def _when(schema: Mapping[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    default = schema.get("default")
    told = str(default).lower() if isinstance(default, bool) else default
    return "optional" if default is None else f"default {told}"


def _about(schema: Mapping[str, Any]) -> str:
    return str(schema.get("description", ""))


def _filled(head: str, text: str) -> str:
    return textwrap.fill(
        text,
        COLUMNS,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )
