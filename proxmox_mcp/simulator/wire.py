"""A request as it arrived, and the answer that goes back in the words of a Proxmox VE server.

Rule 1: this module knows HTTP and nothing of guests.
Rule 2: where nothing but the status line carries a text, the body stays empty, as in reality.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

PREFIX = "/api2/json"
BODY_LIMIT = {7: 64 * 1024, 8: 512 * 1024, 9: 512 * 1024}
WITHOUT_BODY = frozenset({"GET", "DELETE"})
MESSAGE_SINCE = 8.4  # pve-http-server of January 2025: before, the status line was the only text

Body = Literal["json", "plain", "empty"]


@dataclass(frozen=True, slots=True)
class Request:
    """One call below /api2/json; *params* keeps repeated keys, which Proxmox reads as a list."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def param(self) -> dict[str, str | list[str]]:
        """The arguments by name; a repeated one is a list."""
        found: dict[str, str | list[str]] = {}
        for name, value in self.params:
            before = found.get(name)
            if before is None:
                found[name] = value
            elif isinstance(before, list):
                before.append(value)
            else:
                found[name] = [before, value]
        return found


@dataclass
class Answer:
    """What goes back; *reason* is the text of the status line, where Proxmox puts its errors."""

    status: int
    reason: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """A list of which only a part was asked for: `total` stands beside `data` in the JSON."""

    data: Any
    total: int


class Refusal(Exception):
    """Proxmox says no: a status, a text and perhaps the parameters to blame."""

    def __init__(
        self,
        status: int,
        text: str,
        *,
        errors: Mapping[str, str] | None = None,
        body: Body = "json",
        newline: bool = True,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.errors = errors
        self.body = body
        self.newline = newline

    def answer(self, version: float) -> Answer:
        """The refusal as it goes over the wire of a server of that version."""
        reason = self.text.split("\n", 1)[0]
        if self.body == "empty":
            return Answer(self.status, reason)
        if self.body == "plain":
            text = self.text.encode() + b"\n"
            return Answer(self.status, reason, text, {"content-type": "text/plain;charset=UTF-8"})
        content: dict[str, Any] = {"data": None}
        if version >= MESSAGE_SINCE:
            content["message"] = self.text + ("\n" if self.newline else "")
        if self.errors:
            content["errors"] = dict(self.errors)
        return encoded(self.status, reason, content)


def encoded(status: int, reason: str, content: Any) -> Answer:
    """An answer with a JSON body."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Answer(status, reason, body, {"content-type": "application/json;charset=UTF-8"})


def success(data: Any) -> Answer:
    """A 200 with *data*, and the total beside it when it is a page."""
    if isinstance(data, Page):
        return encoded(200, "OK", {"data": data.data, "total": data.total})
    return encoded(200, "OK", {"data": data})


def died(text: str) -> Refusal:
    """What any die() in the Perl code becomes: a 500 whose reason is the message."""
    return Refusal(500, text)


def invalid(**errors: str) -> Refusal:
    """A 400 naming each wrong parameter; a dash in a name is written as two underscores."""
    named = {name.replace("__", "-"): text for name, text in errors.items()}
    return Refusal(400, "Parameter verification failed.", errors=named)


def unreachable() -> Refusal:
    """The node in the path does not answer the node that was asked."""
    return Refusal(595, "No route to host", body="empty")


def read(
    method: str, target: str, headers: Mapping[str, str], body: bytes, version: float
) -> Request:
    """The request that a transport received, or the refusal of what no handler gets to see."""
    lower = {name.lower(): value for name, value in headers.items()}
    parts = urlsplit(target)
    if body and method in WITHOUT_BODY:
        raise Refusal(501, f"Unexpected content for method '{method}'", body="plain")
    if len(body) > BODY_LIMIT[int(version)]:
        raise Refusal(501, "for data too large", body="plain")
    path = unquote(parts.path)
    if not path.startswith(PREFIX):
        raise Refusal(404, f"no such file '{path}'", body="plain")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if "json" in lower.get("content-type", ""):
        pairs += _json_pairs(body)
    else:
        pairs += parse_qsl(body.decode(), keep_blank_values=True)
    return Request(method, path.removeprefix(PREFIX).rstrip("/") or "/", tuple(pairs), lower)


def _json_pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        values = json.loads(body or b"{}")
    except ValueError as error:
        raise Refusal(500, f"malformed JSON string: {error}", body="plain") from error
    return [
        (name, str(int(item)) if isinstance(item, bool) else str(item))
        for name, value in values.items()
        for item in (value if isinstance(value, list) else [value])
    ]
