"""Moments, as every result writes them."""

from datetime import UTC, datetime


def iso(epoch: float) -> str:
    """Write seconds since 1970 as ``2026-11-22T10:00:00Z``."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def ago(seconds: float) -> str:
    """Say how long something is past, in its largest whole unit.

    >>> ago(3 * 86_400 + 5)
    '3 days ago'
    """
    for unit, length in _UNITS:
        if number := int(seconds // length):
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"


def taken(epoch: float, now: float) -> str:
    """Say when something was made, as a date and as an age."""
    return f"{iso(epoch)}, {ago(now - epoch)}"
