"""The official API schema of Proxmox VE as a judge of calls; nothing of it is kept in this project.

Where the data is: the folder named by PVE_API_SCHEMA, else ../shared/pve-api beside the
repository. Where it is not, AVAILABLE is False and the tests that need it skip.

What is judged: method and path, names, missing ones, types, enumerations, patterns, limits and
lengths. Formats, by name or as property strings, are left to the server.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

VERSIONS = ("7", "8", "9", "9.2")
FOLDER = Path(
    os.environ.get("PVE_API_SCHEMA")
    or Path(__file__).resolve().parent.parent.parent / "shared" / "pve-api"
)
AVAILABLE = all((FOLDER / f"pve-{version}.json.gz").is_file() for version in VERSIONS)
REASON = f"the official schema is not in {FOLDER.name}/; set PVE_API_SCHEMA to its folder"

INTEGER = re.compile(r"[+-]?\d+\Z")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?\Z")
PERL_GROUP = re.compile(r"\(\?\^[a-z]*:")  # how Perl prints an embedded regular expression


@cache
def endpoints(version: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Every endpoint of a version by method and path."""
    with gzip.open(FOLDER / f"pve-{version}.json.gz", "rt", encoding="utf-8") as file:
        return {(each["method"], each["path"]): each for each in json.load(file)["endpoints"]}


@cache
def _patterns(version: str, method: str) -> list[tuple[re.Pattern[str], str]]:
    paths = sorted(path for each, path in endpoints(version) if each == method)
    # A fixed word is a better match than a parameter, so paths with fewer of those come first.
    paths.sort(key=lambda path: path.count("{"))
    return [(_pattern(path), path) for path in paths]


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"{([\w-]+)}", path)
    text = ""
    for index, part in enumerate(parts):
        if index % 2 == 0:
            text += re.escape(part)
        else:
            # A volume id contains slashes itself.
            text += f"(?P<{part.replace('-', '_')}>{'.+' if part == 'volume' else '[^/]+'})"
    return re.compile(text)


def find(version: str, method: str, path: str) -> tuple[dict[str, Any], dict[str, str]] | None:
    """The endpoint that a path belongs to, and the parameters in the path."""
    for pattern, template in _patterns(version, method):
        match = pattern.fullmatch(path)
        if match:
            named = {name.replace("_", "-"): value for name, value in match.groupdict().items()}
            return endpoints(version)[method, template], named
    return None


def problems(version: str, method: str, path: str, params: Iterable[tuple[str, str]]) -> list[str]:
    """What is wrong with a call under the schema of that version; nothing is an empty list."""
    found = find(version, method, path)
    if found is None:
        return [f"{method} {path} does not exist in {version}"]
    endpoint, in_path = found
    known: dict[str, dict[str, Any]] = endpoint["params"]
    given: dict[str, list[str]] = {name: [value] for name, value in in_path.items()}
    for name, value in params:
        given.setdefault(name, []).append(str(value))
    wrong = [
        f"{name} is missing"
        for name, schema in known.items()
        if not schema.get("optional") and "[n]" not in name and name not in given
    ]
    for name, values in given.items():
        schema = parameter(known, name)
        if schema is not None:
            wrong += [f"{name}: {text}" for text in _value_problems(schema, values)]
        elif not endpoint.get("additional"):
            wrong.append(f"{name} is unknown")
    return wrong


def parameter(known: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any] | None:
    """The schema of a parameter; net0 is an instance of `net[n]`."""
    if name in known:
        return known[name]
    match = re.fullmatch(r"(.*?)\d+", name)
    return known.get(f"{match[1]}[n]") if match else None


def _value_problems(schema: Mapping[str, Any], values: list[str]) -> list[str]:
    kind = schema.get("type", "string")
    if kind == "array":
        return []
    packed = str(schema.get("format", "")).endswith("list")  # 7 packs repeated keys into one
    if len(values) > 1 and not packed:
        return ["given more than once"]
    value = values[0]
    if kind == "boolean":
        return [] if value in {"0", "1"} else [f"{value!r} is not 0 or 1"]
    if kind in {"integer", "number"}:
        return _number_problems(schema, kind, value)
    return _text_problems(schema, value)


def _number_problems(schema: Mapping[str, Any], kind: str, value: str) -> list[str]:
    if not (INTEGER if kind == "integer" else NUMBER).match(value):
        return [f"{value!r} is not a {kind}"]
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and float(value) < low:
        return [f"{value} is below {low}"]
    if high is not None and float(value) > high:
        return [f"{value} is above {high}"]
    return []


def _text_problems(schema: Mapping[str, Any], value: str) -> list[str]:
    wrong = []
    if schema.get("enum") and value not in schema["enum"]:
        wrong.append(f"{value!r} is none of {', '.join(schema['enum'][:9])}")
    pattern = schema.get("pattern")
    if pattern and not re.fullmatch(PERL_GROUP.sub("(?:", pattern), value):
        wrong.append(f"{value!r} does not match {pattern}")
    if len(value) < schema.get("minLength", 0):
        wrong.append(f"shorter than {schema['minLength']}")
    if len(value) > schema.get("maxLength", len(value)):
        wrong.append(f"longer than {schema['maxLength']}")
    return wrong
