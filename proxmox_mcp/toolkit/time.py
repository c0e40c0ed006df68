"""Moments, as every result writes them."""

from datetime import UTC, datetime


def iso(epoch: float) -> str:
    """Write seconds since 1970 as ``2026-11-22T10:00:00Z``."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
