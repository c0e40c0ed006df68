"""Settings written into a person's own files, with everything else in them left as it stands.

Rule 1: a file is changed line by line, and only when reading it again gives exactly what was
meant. What cannot be changed so, or cannot be read, is refused and stays as it is.
Rule 2: a file is replaced as a whole or not at all, and nobody else can read it on the way.
"""

import copy
import json
import os
import re
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from proxmox_mcp.pve.connection import SECRETS

Value = str | bool | int | float | Sequence[str]

PRIVATE: Final = 0o600
FOLDER: Final = 0o700
SETTINGS_FILE: Final = "settings.toml"
SECRETS_FILE: Final = ".secrets.toml"

OWNED: Final = (
    "host",
    "port",
    "path_prefix",
    "user",
    "token_name",
    *SECRETS,
    *(f"{secret}_file" for secret in SECRETS),
    "keyring",
    "verify_ssl",
    "fingerprint",
)
"""What makes up a connection: the new one replaces all of the old, wherever it stands."""


class CannotEdit(Exception):
    """A sentence about a file that has to be changed by hand."""


def planned(folder: Path, profile: str, values: Mapping[str, Value]) -> dict[Path, str]:
    """Return both files as they are to be; nothing is written.

    Raises:
        CannotEdit: one of them cannot be read, or not be changed without losing something.
    """
    settings, secrets = folder / SETTINGS_FILE, folder / SECRETS_FILE
    kept = _of(settings, profile) | _of(secrets, profile)
    dropped = {*OWNED, *(["hosts"] if kept.get("host") != values.get("host") else [])}
    plain = {name: value for name, value in values.items() if name not in SECRETS}
    hidden = {name: value for name, value in values.items() if name in SECRETS}
    return {
        settings: edited(text_of(settings), profile, plain, dropped, settings),
        secrets: edited(text_of(secrets), profile, hidden, dropped | plain.keys(), secrets),
    }


def edited(
    text: str, profile: str, values: Mapping[str, Value], dropped: Collection[str], path: Path
) -> str:
    """Return the text with *values* in the profile's table and *dropped* taken out of it.

    Raises:
        CannotEdit: reading the result would not give exactly that.
    """
    before = _parsed(text, path)
    meant = copy.deepcopy(before)
    name = next((each for each in before if each.lower() == profile), profile)
    table = meant.setdefault(name, {}) if values else meant.get(name, {})
    if not isinstance(table, dict):
        raise CannotEdit(f"{path}: {name} is no table there; put that right by hand")
    for setting in dropped:
        table.pop(setting, None)
    table.update(values)
    if meant == before:
        return text
    after = _with_lines(text, name, values, dropped)
    try:
        if tomllib.loads(after) == meant:
            return after
    except tomllib.TOMLDecodeError:
        pass
    raise CannotEdit(
        f"{path} is written in a way that cannot be changed without losing something: take the "
        f"connection out of [{name}] by hand, then run this again"
    )


def literal(value: Value) -> str:
    """Write one value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):  # JSON's escapes are TOML's, but for one character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int | float):
        return repr(value)
    return f"[{', '.join(literal(each) for each in value)}]"


def write(texts: Mapping[Path, str]) -> list[Path]:
    """Put the files in place and return those that were changed; both are ready before one is.

    Raises:
        OSError: the folder or a file could not be written.
    """
    changed = {path.resolve(): text for path, text in texts.items() if text != text_of(path)}
    for folder in {path.parent for path in changed}:
        folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
    ready = {path: _staged(path, text) for path, text in changed.items()}
    try:
        for path, staged in ready.items():
            staged.replace(path)
    finally:
        for staged in ready.values():
            staged.unlink(missing_ok=True)
    return [path for path in texts if path.resolve() in changed]


def _staged(path: Path, text: str) -> Path:
    """Write beside the file, readable by its owner alone."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # as 0600
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def _with_lines(text: str, name: str, values: Mapping[str, Value], dropped: Collection[str]) -> str:
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    header = re.compile(rf"""\s*\[\s*(["']?){re.escape(name)}\1\s*\]\s*(#.*)?$""")
    begin = next((number for number, line in enumerate(lines) if header.match(line)), None)
    if begin is None:
        gap = ["\n"] if lines else []
        return "".join((*lines, *gap, f"[{_bare(name)}]\n", *_assigned(values)))
    rest = range(begin + 1, len(lines))
    end = next((number for number in rest if re.match(r"\s*\[", lines[number])), len(lines))
    section, waiting = list[str](), dict(values)
    for line in lines[begin + 1 : end]:
        key = _key(line)
        if key in waiting:
            section += _assigned({key: waiting.pop(key)})
        elif key is None or key not in dropped:
            section.append(line)
    tail = len(section)
    while tail and not section[tail - 1].strip():
        tail -= 1
    section[tail:tail] = _assigned(waiting)
    return "".join((*lines[: begin + 1], *section, *lines[end:]))


def _key(line: str) -> str | None:
    found = re.match(r"""\s*(["']?)([A-Za-z0-9_-]+)\1\s*=""", line)
    return found[2] if found else None


def _assigned(values: Mapping[str, Value]) -> Iterator[str]:
    return (f"{name} = {literal(value)}\n" for name, value in values.items())


def _bare(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else literal(name)


def text_of(path: Path) -> str:
    """Return what stands in a file now, nothing where there is none.

    Raises:
        CannotEdit: it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CannotEdit(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CannotEdit(f"{path} is not UTF-8 text; it was left as it is") from None


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # its words may quote the file
        raise CannotEdit(f"{path} is not valid TOML; put that right by hand first") from None


def _of(path: Path, profile: str) -> dict[str, Any]:
    """Return what a profile holds in one file; a connection may live in either."""
    for name, table in _parsed(text_of(path), path).items():
        if name.lower() == profile and isinstance(table, dict):
            return table
    return {}
