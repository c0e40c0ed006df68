"""The simulated cluster under a real requests session: no socket, no certificate, no port.

Mount it with ``session.mount("https://", SimulatorAdapter(cluster))``. Time-outs are not kept
here: a test of those lets `Cluster.intercept` raise, or uses the loopback server.
"""

from __future__ import annotations

import io
from typing import Any

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from proxmox_mcp.simulator.cluster import Cluster
from proxmox_mcp.simulator.wire import Answer


class SimulatorAdapter(BaseAdapter):
    """Carries each request of a session to a simulated cluster."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster

    def send(
        self, request: requests.PreparedRequest, *_options: Any, **_named: Any
    ) -> requests.Response:
        """Answer one prepared request."""
        body = request.body or b""
        answer = self.cluster.receive(
            request.method or "GET",
            request.path_url,
            {str(name): str(value) for name, value in request.headers.items()},
            body.encode() if isinstance(body, str) else bytes(body),
        )
        return _response(request, answer)

    def close(self) -> None:
        """Nothing is open."""


def _response(request: requests.PreparedRequest, answer: Answer) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response.reason = answer.reason
    response.headers = CaseInsensitiveDict(answer.headers)
    response.raw = io.BytesIO(answer.body)
    response.encoding = "utf-8"
    response.url = request.url or ""
    response.request = request
    return response
