"""The table of tools: what each does to the cluster, what it needs, whether it is on."""

import json
import textwrap
from typing import TypedDict

from proxmox_mcp.config import Settings
from proxmox_mcp.tools import TOOLS

COLUMNS = 80


class Entry(TypedDict):
    """One tool, as ``tools --json`` prints it."""

    name: str
    title: str
    toolset: str
    effect: str
    needs: str
    on: bool
    off_because: str | None


def entries(settings: Settings) -> list[Entry]:
    """Return every tool there is, in the order of the toolsets."""
    return [
        Entry(
            name=spec.name,
            title=spec.title,
            toolset=spec.toolset,
            effect=spec.effect,
            needs="; ".join(need.text for need in spec.needs),
            on=settings.policy.withholds(spec) is None,
            off_because=settings.policy.withholds(spec),
        )
        for spec in TOOLS
    ]


def listing(settings: Settings, *, as_json: bool) -> str:
    """Print the table for people, at most 80 columns wide, or as JSON."""
    rows = entries(settings)
    if as_json:
        return json.dumps(rows, indent=2) + "\n"
    width = max(len(row["name"]) for row in rows)
    lines = [f"{'tool':<{width}}  {'effect':<8}  on?  needs"]
    for row in rows:
        head = f"{row['name']:<{width}}  {row['effect']:<8}  {'on' if row['on'] else 'off':<3}  "
        lines.append(_wrapped(head, row["needs"]))
    off = sorted({row["off_because"] for row in rows if row["off_because"]})
    lines += ["", *(textwrap.fill(f"off: {why}", COLUMNS) for why in off)]
    return "\n".join(lines).rstrip() + "\n"


def _wrapped(head: str, words: str) -> str:
    return textwrap.fill(words, COLUMNS, initial_indent=head, subsequent_indent=" " * len(head))
