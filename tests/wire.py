"""Answers as they stand on the wire, for tests that put one in place of the simulated cluster's."""

import json
from typing import Any

from proxmox_mcp.simulator import Answer

JSON = {"content-type": "application/json;charset=UTF-8"}


def answer(data: Any, **beside: Any) -> Answer:
    """A success with this data, and what stands beside it in the envelope."""
    return Answer(200, "OK", json.dumps({"data": data} | beside).encode(), dict(JSON))


def refusal(status: int, reason: str, **body: Any) -> Answer:
    """A refusal; since 8.4 with its whole text in ``message``."""
    envelope = {"data": None, "message": f"{reason}\n"} | body
    return Answer(status, reason, json.dumps(envelope).encode(), dict(JSON))


def silence(status: int, reason: str) -> Answer:
    """A status line and nothing else, as for 401 and 595 to 599."""
    return Answer(status, reason, b"", {})
