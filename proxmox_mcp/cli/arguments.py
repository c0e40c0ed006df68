"""Words of a command line become a tool's arguments, each read as what its schema says it is.

    limit=5  running=yes  destructive=scsi1,net0  config='{"cores": 4}'  config.cores=4
    description=@notes.txt  input_data=-  comment=@@home

``@`` reads the value from a file, ``-`` from stdin, and ``@@`` is a text that begins with one @.
Where a text would do as well (a guest's id or name), only what can be nothing else is a number.

What cannot be read as what it should be stays text: the server refuses it, in its own words. No
message here repeats what was typed, for it may be a secret.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from proxmox_mcp.toolkit.schema import snake

MOST_CHARACTERS: Final = 1_000_000
"""No tool takes as much; a file may be endless."""

BOOLEANS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

Pairs = Sequence[tuple[str, str]]
"""What was typed, key and text, in its order."""


def pairs(words: Sequence[str], stdin: TextIO) -> Pairs:
    """Part the words into keys and texts, and fetch what stands in a file or comes from stdin.

    Raises:
        ValueError: A word is no ``key=value``, or its text cannot be had.
    """
    if sum(word.endswith("=-") for word in words) > 1:
        raise ValueError("stdin can be the value of one argument only")
    found = []
    for number, word in enumerate(words, 1):
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ValueError(
                f"word {number} after the tool is no argument: write key=value, such as vmid=105"
            )
        found.append((key, _fetched(key, text, stdin)))
    return found


def _fetched(key: str, text: str, stdin: TextIO) -> str:
    if text.startswith("@@"):
        return text[1:]
    if text != "-" and not text.startswith("@"):
        return text
    try:
        if text == "-":
            found = stdin.read(MOST_CHARACTERS + 1)
        else:
            with Path(text[1:]).expanduser().open(encoding="utf-8") as file:
                found = file.read(MOST_CHARACTERS + 1)
    except OSError as error:
        raise ValueError(f"{_plain(key)}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name or a content that is no text
        raise ValueError(f"{_plain(key)}: what it names is no text in UTF-8") from error
    if len(found) > MOST_CHARACTERS:
        raise ValueError(f"{_plain(key)}: has more than {MOST_CHARACTERS} characters")
    return found.removesuffix("\n")


def typed(given: Pairs, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given, as the tool's schema wants them.

    Args:
        given: What was typed.
        schema: The tool's parameters; empty where the tool is not on offer.

    Raises:
        ValueError: One was given twice, or is broken JSON.
    """
    properties = schema.get("properties", {})
    found: dict[str, Any] = {}
    for key, text in given:
        name, dot, inner = _named(key, properties).partition(".")
        if dot and _kind(properties.get(name, {})) == "object":
            _put_inside(found, name, inner, _read(text, _inner(properties[name])))
            continue
        name += dot + inner
        if name in found:
            raise ValueError(f"{_plain(name)} is given twice")
        try:
            found[name] = _read(text, properties.get(name, {"type": "string"}))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{name}: is broken JSON: {error.msg}, at character {error.pos + 1}"
            ) from None
    return found


def _named(key: str, properties: Mapping[str, Any]) -> str:
    head, dot, rest = key.partition(".")
    ours = head not in properties and snake(head) in properties
    return f"{snake(head)}{dot}{rest}" if ours else key


def _put_inside(found: dict[str, Any], name: str, inner: str, value: Any) -> None:
    held = found.setdefault(name, {})
    if not isinstance(held, dict) or inner in held:
        raise ValueError(f"{name}: a part of it is given twice")
    held[inner] = value


def _inner(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    each = schema.get("additionalProperties")
    return each if isinstance(each, dict) else {"type": "string"}


def _kind(schema: Mapping[str, Any]) -> str:
    return str(schema.get("type", "string"))


# --- reading by type -------------------------------------------------------------------------


def _read(text: str, schema: Mapping[str, Any]) -> Any:
    choices: Sequence[Mapping[str, Any]] = schema.get("anyOf", [schema])
    alone = len(choices) == 1
    by_kind = {_kind(choice): choice for choice in choices}
    for kind, read in READERS.items():
        if kind in by_kind:
            value = read(text, by_kind[kind], alone)
            if value is not None:
                return value
    return text


def _integer(text: str, _: Mapping[str, Any], alone: bool) -> int | None:  # noqa: FBT001
    form = r"[+-]?[0-9]{1,18}" if alone else r"0|-?[1-9][0-9]{0,17}"
    return int(text) if re.fullmatch(form, text) else None


def _number(text: str, schema: Mapping[str, Any], alone: bool) -> float | None:  # noqa: FBT001
    if (whole := _integer(text, schema, alone)) is not None:
        return whole
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and (alone or str(number) == text) else None


def _boolean(text: str, _: Mapping[str, Any], alone: bool) -> bool | None:  # noqa: FBT001
    known = alone or text in ("true", "false")
    return BOOLEANS.get(text.lower()) if known else None


def _list(text: str, schema: Mapping[str, Any], alone: bool) -> list[Any] | None:  # noqa: FBT001
    if text.lstrip().startswith("["):
        found: list[Any] | None = _json(text, list, alone=alone)
        return found
    if not alone:
        return None
    items: Iterable[str] = text.split(",") if text else ()
    return [_read(item.strip(), schema.get("items", {"type": "string"})) for item in items]


def _object(text: str, _: Mapping[str, Any], alone: bool) -> dict[str, Any] | None:  # noqa: FBT001
    return _json(text, dict, alone=alone) if text.lstrip().startswith("{") else None


def _json(text: str, form: type, *, alone: bool) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        if alone:
            raise
        return None  # [ -f /etc/motd ] is a command, and no list
    return value if isinstance(value, form) else None


Reader = Callable[[str, Mapping[str, Any], bool], Any]
READERS: Final[Mapping[str, Reader]] = {
    "object": _object,
    "array": _list,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
}
"""From what only few texts can be to what many can; whatever none of them takes is text."""


def _plain(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "?", key[:40])
