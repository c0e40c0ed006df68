"""A wire that answers what it is told, under the real proxmoxer, and keeps what was sent."""

import io
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from proxmox_mcp.pve.bridge import Bridge
from proxmox_mcp.pve.circuit import Circuit
from proxmox_mcp.pve.connection import Connection, Limits
from proxmox_mcp.pve.guard import Cluster, Pve

SECRET = "0d6c7a1e-made-up-token-secret"
PASSWORD = "made-up password"
TOKEN: dict[str, Any] = {
    "host": "pve.example.com",
    "user": "root@pam",
    "token_name": "mcp",
    "token_value": SECRET,
}
LOGIN: dict[str, Any] = {"host": "pve.example.com", "user": "root@pam", "password": PASSWORD}
FAST = Limits(retry_delay=0)


@dataclass(frozen=True)
class Reply:
    """One HTTP answer as it comes over the wire."""

    status: int = 200
    reason: str = "OK"
    body: bytes = b'{"data":null}'
    headers: dict[str, str] = field(default_factory=dict)


Scripted = Reply | Exception | Callable[[requests.PreparedRequest], Reply]

LOST = requests.ConnectionError("Connection aborted.")
"""What requests raises when a connection breaks after the request went out."""


def data(value: Any, **beside: Any) -> Reply:
    body = json.dumps({"data": value} | beside).encode()
    return Reply(body=body, headers={"content-type": "application/json;charset=UTF-8"})


def refused(status: int, text: str) -> Reply:
    body = json.dumps({"data": None, "message": f"{text}\n"}).encode()
    return Reply(status, text, body, {"content-type": "application/json;charset=UTF-8"})


class Wire(BaseAdapter):
    """Gives its answers in turn, the last one for ever; what it is asked stands in ``sent``."""

    def __init__(self, *answers: Scripted) -> None:
        super().__init__()
        self._answers = list(answers)
        self._lock = threading.Lock()
        self.sent: list[requests.PreparedRequest] = []

    @property
    def asked(self) -> list[str]:
        """Method and API path of each request."""
        return [
            f"{sent.method} {sent.path_url.partition('?')[0].removeprefix('/api2/json')}"
            for sent in self.sent
        ]

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        with self._lock:
            self.sent.append(request)
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return response(request, answer if isinstance(answer, Reply) else answer(request))

    def close(self) -> None:
        """Nothing is open."""


def response(request: requests.PreparedRequest, reply: Reply) -> requests.Response:
    made = requests.Response()
    made.status_code, made.reason, made.request = reply.status, reply.reason, request
    made.headers = CaseInsensitiveDict(reply.headers)
    made.raw = io.BytesIO(reply.body)
    made.url = request.url or ""
    return made


def form(request: requests.PreparedRequest) -> dict[str, str]:
    """What a request carries, in its query or its body."""
    body = request.body or b""
    text = body.decode() if isinstance(body, bytes) else str(body)
    return dict(parse_qsl(urlsplit(request.url or "").query) + parse_qsl(text))


def bridge_over(wire: BaseAdapter, **connection: Any) -> Bridge:
    # What a circuit does with many silences has a test of its own.
    patient = Circuit(silences=1_000_000)
    return Bridge(Connection(**(connection or TOKEN)), adapter=wire, circuit=patient)


async def pve_over(wire: BaseAdapter, limits: Limits = FAST) -> Pve:
    pve = Pve(Cluster(bridge_over(wire), limits))
    await pve.open()
    return pve


RECORDED = json.loads(Path(__file__).with_name("wire.json").read_text(encoding="utf-8"))


def recorded(record: dict[str, Any]) -> Reply:
    body = record["body"].encode()
    return Reply(record["status"], record["reason"], body, record["headers"])


def by_path(answers: dict[str, Any]) -> Callable[[requests.PreparedRequest], Reply]:
    """Answer with the data that stands under the end of the path."""

    def answer(request: requests.PreparedRequest) -> Reply:
        path = request.path_url.partition("?")[0]
        return data(next(value for end, value in answers.items() if path.endswith(end)))

    return answer


def log_lines(texts: Iterable[str]) -> list[dict[str, Any]]:
    return [{"n": n, "t": text} for n, text in enumerate(texts, 1)]
