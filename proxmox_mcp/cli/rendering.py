"""An answer's data for people: lists of rows as tables, all else as ``name: value``.

Rows are cut to the width of the terminal, with a mark where something is missing; words are folded
and never cut. Where there is no terminal there is no width, and all of it is printed.
"""

import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from proxmox_mcp.toolkit.text import clean, clean_line

CUT: Final = "…"
NOTHING: Final = "-"
_GAP: Final = "  "
_LEAST: Final = 6
_LAST: Final = ("notice", "next_cursor")
_SIZES: Final = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20))
_STEPS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))

Row = Mapping[str, Any]


def lines(data: Row, columns: int | None) -> list[str]:
    """Put an answer into lines.

    Args:
        data: The structured answer.
        columns: How wide they may be; None for any width.
    """
    found = [
        line for name in data if name not in _LAST for line in _entry(name, data[name], columns)
    ]
    if "next_cursor" in data:
        found += ["", *_folded("There is more: add cursor=", data["next_cursor"], columns)]
    if "notice" in data:
        found += ["", *_folded("", data["notice"], columns)]
    return found[1:] if found[:1] == [""] else found


def _entry(name: str, value: Any, columns: int | None) -> list[str]:
    head = clean_line(name)
    if _is_rows(value):
        return ["", f"{head}:", *_indented(table(value, _less(columns)))]
    if isinstance(value, Mapping) and value:
        inner = [line for key in value for line in _entry(key, value[key], _less(columns))]
        return [f"{head}:", *_indented(line for line in inner if line)]
    if isinstance(value, str) and "\n" in value.strip("\n"):
        text = clean(value).strip("\n").splitlines()
        return [
            f"{head}:",
            *_indented(part for line in text for part in _wrapped(line, _less(columns))),
        ]
    if isinstance(value, list) and _is_prose(value):
        return [f"{head}:", *(line for each in value for line in _folded("  - ", each, columns))]
    return _folded(f"{head}: ", f"{_cell(value)}{_measured(name, value)}", columns)


def _is_rows(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)
    )


def _is_prose(value: list[Any]) -> bool:
    return any(isinstance(each, str) and " " in each for each in value)


def _cell(value: Any) -> str:
    if value is None or (not value and isinstance(value, str | list | Mapping)):
        return NOTHING
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(_cell, value))
        case Mapping():
            return ", ".join(f"{clean_line(key)}={_cell(each)}" for key, each in value.items())
    return " ".join(clean_line(value).split())


def _measured(name: str, value: Any) -> str:
    """Say a large number a second time, as people say it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if name.endswith("_bytes"):
        sizes = (f" ({value / size:.1f} {unit})" for unit, size in _SIZES if value >= size)
        return next(sizes, "")
    if name.endswith("_s") and value >= _STEPS[-1][1]:
        return f" ({_lasting(int(value))})"
    return ""


def _lasting(seconds: int) -> str:
    words = []
    for unit, length in _STEPS:
        number, seconds = divmod(seconds, length)
        words += [f"{number} {unit}"] * bool(number)
    return " ".join(words[:2])


# --- tables ----------------------------------------------------------------------------------


def table(rows: Sequence[Row], columns: int | None) -> list[str]:
    """Put rows under the names of their fields, in the order in which those first appear."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    texts = [[clean_line(name) for name in names]]
    texts += [[_cell(row.get(name)) for name in names] for row in rows]
    widths = _widths([max(map(cells, column)) for column in zip(*texts, strict=True)], columns)
    right = [all(_is_figure(row.get(name)) for row in rows) for name in names]
    return [fitted(_GAP.join(map(_padded, row, widths, right)).rstrip(), columns) for row in texts]


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _widths(wanted: list[int], columns: int | None) -> list[int]:
    """Take what is too much from the widest column, again and again."""
    widths = list(wanted)
    room = None if columns is None else columns - len(_GAP) * (len(widths) - 1)
    while room is not None and sum(widths) > room and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _padded(text: str, width: int, right: bool) -> str:  # noqa: FBT001
    text = fitted(text, width)
    blanks = " " * (width - cells(text))
    return blanks + text if right else text + blanks


# --- widths ----------------------------------------------------------------------------------


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, columns: int | None) -> str:
    """Cut a text to a width, with a mark where something is missing."""
    if columns is None or cells(text) <= columns:
        return text
    kept, room = "", columns - len(CUT)
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        kept += character
    return f"{kept}{CUT}"


def _folded(head: str, text: str, columns: int | None) -> list[str]:
    line = f"{head}{' '.join(clean_line(text).split())}"
    return _wrapped(line, columns, " " * min(len(head), 4))


def _wrapped(line: str, columns: int | None, indent: str = "") -> list[str]:
    if columns is None or cells(line) <= columns:
        return [line]
    # textwrap counts characters: where some are two columns wide, half as many surely fit.
    width = columns if line.isascii() else max(columns // 2, 8)
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True
    )


def _indented(entries: Iterable[str]) -> list[str]:
    return [f"  {line}" if line else line for line in entries]


def _less(columns: int | None) -> int | None:
    return None if columns is None else columns - 2
