"""The references in docs/ are made from the code, and are what the code says.

`UPDATE_SNAPSHOTS=1` writes them anew.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from proxmox_mcp.config import names
from proxmox_mcp.toolkit.bind import bind
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.tools import TOOLSETS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TOOLS_HEAD = """\
Every tool, by toolset. *Needs* is what the token needs on Proxmox; *sends* is every change that the
tool may send, and no other leaves. Where a tool takes `vmid`, it takes `node` and `type` as well,
and checks them; nobody needs to give them.
"""
SETTINGS_HEAD = """\
The file [settings.toml](../settings.toml) holds all of them with their defaults. Each is also an
environment variable; a list is written there with commas.
"""
MADE = "<!-- made by tests/test_docs.py -->\n"


def tools_page() -> str:
    parts = [
        "# Tools\n",
        MADE,
        TOOLS_HEAD,
    ]
    for toolset in TOOLSETS:
        parts.append(f"## {toolset.name}\n")
        parts += [_tool(spec) for spec in toolset.tools]
    return "\n".join(parts)


def _tool(spec: ToolSpec) -> str:
    effect = f"{spec.effect}; destroys {spec.may_lose}" if spec.may_lose else spec.effect
    lines = [f"### {spec.name}\n", spec.description, "", f"* Effect: {effect}"]
    lines += ["* Elevated: offered only with `allow_elevated = true`"] if spec.elevated else []
    lines += [f"* Needs: {'; '.join(f'`{need.text}`' for need in spec.needs)}"]
    lines += [f"* Sends: {', '.join(f'`{each}`' for each in spec.sends)}"] if spec.sends else []
    schema = bind(spec).parameters
    rows = [
        f"| `{name}` | {_kind(about)} | {_default(name, about, schema)} | {about['description']} |"
        for name, about in schema["properties"].items()
    ]
    head = ["", "| parameter | type | default | |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(head + rows if rows else []), ""])


def _kind(about: dict[str, Any]) -> str:
    if "enum" in about:
        return ", ".join(f"`{word}`" for word in about["enum"])
    kinds = about.get("type") or [each.get("type", "?") for each in about.get("anyOf", [])]
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _default(name: str, about: dict[str, Any], schema: dict[str, Any]) -> str:
    if name in schema.get("required", []):
        return "required"
    default = about.get("default")
    return "" if default is None else f"`{str(default).lower()}`"


SETTING = re.compile(r"(?P<off># )?(?P<name>[a-z_]+) = (?P<value>.+)")


def settings_page() -> str:
    parts = [
        "# Settings\n",
        MADE,
        SETTINGS_HEAD,
    ]
    words: list[str] = []
    for line in (ROOT / "settings.toml").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"# --- (.+) ---", line):
            parts.append(f"\n## {heading[1].capitalize()}\n")
            parts += ["| setting | default | variable | |", "| --- | --- | --- | --- |"]
        elif found := SETTING.fullmatch(line):
            parts += [*_heading(parts), _setting(found, " ".join(words))]
        told = line.startswith("# ") and not _is_setting(line)
        words = [*words, line.removeprefix("# ")] if told else []
    return "\n".join(parts) + "\n"


def _is_setting(line: str) -> bool:
    return bool(SETTING.fullmatch(line) or line.startswith("# ---"))


def _heading(parts: list[str]) -> list[str]:
    if any(part.startswith("| setting") for part in parts):
        return []
    return ["| setting | default | variable | |", "| --- | --- | --- | --- |"]


def _setting(found: re.Match[str], words: str) -> str:
    name = found["name"]
    others = [variable for variable, setting in names.REFERENCE.items() if setting == name]
    variables = ", ".join(f"`{each}`" for each in (f"{names.OWN_PREFIX}{name.upper()}", *others))
    default = f"none, e.g. `{found['value']}`" if found["off"] else f"`{found['value']}`"
    return f"| `{name}` | {default} | {variables} | {words} |"


PAGES = {"tools.md": tools_page, "settings.md": settings_page}


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_is_the_one_that_the_code_makes(name: str) -> None:
    made = PAGES[name]()
    if os.environ.get("UPDATE_SNAPSHOTS"):
        (DOCS / name).write_text(made, encoding="utf-8")
    assert (DOCS / name).read_text(encoding="utf-8") == made


def test_the_reference_of_settings_has_every_setting() -> None:
    page = settings_page()

    assert [name for name in names.SETTINGS if f"| `{name}` |" not in page] == []


def test_every_message_that_the_troubleshooting_page_quotes_is_one_that_is_said() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    code = "".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "proxmox_mcp").rglob("*.py"))
    )
    said = re.sub(r"\s+", " ", re.sub(r'"\s*\n\s*f?"', "", code)).lower()
    quoted = re.findall(r'\*\*"([^"]+)"\*\*', page)

    assert len(quoted) >= 20
    assert [words for words in quoted if re.sub(r"\s+", " ", words).lower() not in said] == []
