"""The shapes an answer may have: what is in none of them is no answer."""

from typing import Any

from proxmox_mcp.pve.errors import BadAnswer


class Listing(list[Any]):
    """A list that also knows how many there are in all: Proxmox says so beside ``data``."""

    total: int | None = None


def total_of(rows: list[Any]) -> int | None:
    """Return how many there are in all, *rows* being a part of them; None where it is not said."""
    return rows.total if isinstance(rows, Listing) else None


def as_rows(answer: Any, path: str) -> list[dict[str, Any]]:
    """Check that an answer is a list of objects.

    Raises:
        BadAnswer: It is something else.
    """
    if isinstance(answer, list) and all(isinstance(row, dict) for row in answer):
        return answer
    raise BadAnswer(f"{path} should answer with a list and answered with {_shape(answer)}.")


def as_record(answer: Any, path: str) -> dict[str, Any]:
    """Check that an answer is one object.

    Raises:
        BadAnswer: It is something else.
    """
    if isinstance(answer, dict):
        return answer
    raise BadAnswer(f"{path} should answer with an object and answered with {_shape(answer)}.")


def _shape(answer: Any) -> str:
    return "nothing" if answer is None else f"a {type(answer).__name__}"
