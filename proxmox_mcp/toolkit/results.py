"""What a tool answers with: typed, compact, paged.

A result is a pydantic model with units in the names of its fields. On the wire it is the same data
twice, as ``structuredContent`` and as text, because clients differ in which of the two they show;
nothing ever stands in only one of them. What is None is left out.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from proxmox_mcp.pve.errors import Refused
from proxmox_mcp.toolkit.text import Line

T = TypeVar("T")

GIB = 1024**3

Cursor = Annotated[
    str | None,
    Field(max_length=400, description="next_cursor of the page before, unchanged."),
]


Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
"""A figure that keeps the form it was given in: 4, not 4.0."""


class Row(BaseModel):
    """One entry of a list, or one part of a result."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Result(Row):
    """What a tool answers with."""

    notice: Line | None = Field(None, description="What to know about this whole answer.")


class Page(Result):
    """A list that may be cut; where there is more, it says so."""

    next_cursor: str | None = Field(None, description="Pass as cursor for the next page.")


def readable(
    rows: Sequence[dict[str, Any]], *needed: str
) -> tuple[list[dict[str, Any]], str | None]:
    """Leave out the rows that cannot be listed, and say that there are some.

    Args:
        rows: What the cluster answered; a field that could not be read is not in its row.
        needed: The fields without which a row cannot be told from others.
    """
    known = [row for row in rows if all(field in row for field in needed)]
    left_out = len(rows) - len(known)
    if not left_out:
        return known, None
    return known, f"{left_out} entries without a readable {' or '.join(needed)} are left out."


def paged(
    items: Iterable[T], key: Callable[[T], Sequence[Any]], limit: int, after: Sequence[Any] | None
) -> tuple[list[T], str | None]:
    """Cut one page out of *items*, in the order of *key*, and return the cursor of the next one.

    The cursor is the key of the last item shown, so that a page neither repeats nor skips anything
    when items come and go between two calls.
    """
    ordered = sorted(items, key=lambda item: tuple(key(item)))
    rest = [item for item in ordered if after is None or tuple(key(item)) > tuple(after)]
    shown = rest[:limit]
    more = len(rest) > len(shown)
    return shown, _encoded(key(shown[-1])) if more else None


_BAD_CURSOR = (
    "cursor must be the next_cursor of an earlier answer of the same tool, unchanged; leave it out"
    " to begin with the first page. Nothing was done."
)


def _encoded(key: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(key)).encode()).decode().rstrip("=")


def position(cursor: str | None, *shape: type) -> list[Any] | None:
    """Read a cursor back into the key it stands for; None where there is none.

    Args:
        cursor: What the caller gave.
        shape: The types of the key's parts.

    Raises:
        Refused: It is not one that an earlier call of the same tool gave.
    """
    if cursor is None:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as exc:
        raise Refused(_BAD_CURSOR) from exc
    if not isinstance(key, list) or [type(part) for part in key] != list(shape):
        raise Refused(_BAD_CURSOR)
    return key


def short(number: Any, decimals: int = 1) -> float | int | None:
    """Round a number, and drop the ``.0`` of a whole one; None stays None."""
    if number is None:
        return None
    rounded = round(float(number), decimals)
    return int(rounded) if rounded.is_integer() else rounded


def gib(size_bytes: Any) -> float | int | None:
    """Turn bytes, as Proxmox gives them, into GiB with two decimals; None stays None."""
    return None if size_bytes is None else short(float(size_bytes) / GIB, 2)


def percent(part: Any, whole: Any = 1) -> float | int | None:
    """Return how much of *whole* is *part*, in percent with one decimal; None where unknown."""
    if part is None or not whole:
        return None
    return short(100 * float(part) / float(whole))
