"""Where figures are taken: the assembled server in this process, or as a process of its own.

Rule 1: what is compared stands on the same cluster, over the same transport, in the same run.
Rule 2: nothing is bounded here that would hide a cost: the rate limit never makes anybody wait.
"""

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.client import Client
from proxmoxer import ProxmoxAPI
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter

from proxmox_mcp import server, simulator
from proxmox_mcp.config import Settings
from proxmox_mcp.pve.connection import Connection, Limits
from proxmox_mcp.toolkit.policy import Policy

ROOT = Path(__file__).parents[1]
WITHOUT_TURNS = Limits(rate_burst=1_000_000)
LOOSE: Mapping[str, str] = {"PROXMOX_MCP_RATE_BURST": "1000000"}


def on(cluster: simulator.Cluster) -> BaseAdapter:
    """Lead to a cluster in this process."""
    return simulator.SimulatorAdapter(cluster)


class Recorded(BaseAdapter):
    """A transport that asks a cluster once, and repeats what it answered.

    What the simulated cluster itself costs then does not count, nor does what lies behind it.

    Attributes:
        answers: By method and path; another one's, to become another cluster.
    """

    def __init__(self, cluster: simulator.Cluster) -> None:
        super().__init__()
        self._cluster = on(cluster)
        self.answers: dict[tuple[str | None, str], Response] = {}

    def send(self, request: PreparedRequest, *_options: Any, **_named: Any) -> Response:
        """Answer one prepared request."""
        asked = (request.method, request.path_url)
        if asked not in self.answers:
            answer = self._cluster.send(request)
            _ = answer.content  # read now, so that it can be read again
            self.answers[asked] = answer
        return self.answers[asked]

    def close(self) -> None:
        """Nothing is open."""


def assembled(
    adapter: BaseAdapter | None, connection: Connection | None = None
) -> server.ProxmoxServer:
    """Assemble the real server with all toolsets; nobody is asked to confirm."""
    settings = Settings(
        connection=connection or Connection(**simulator.CREDENTIALS),
        limits=WITHOUT_TURNS,
        policy=Policy(allow_elevated=True, confirm="off"),
    )
    return server.build(settings, adapter=adapter)


@asynccontextmanager
async def client_on(
    adapter: BaseAdapter | None, connection: Connection | None = None
) -> AsyncIterator[Client]:
    """A client in this process on a server in this process."""
    async with Client(assembled(adapter, connection), mode="legacy") as client:
        yield client


def direct(connection: Connection, adapter: BaseAdapter | None = None) -> Any:
    """Return the root of proxmoxer's own chain, as somebody has it who uses it without us."""
    secret = connection.token_value
    api = ProxmoxAPI(
        connection.host,
        port=connection.port,
        user=connection.user,
        token_name=connection.token_name,
        token_value=secret.get_secret_value() if secret else "",
        verify_ssl=connection.verify_ssl,
    )
    if adapter:
        session = api._store["session"]  # noqa: SLF001 - it has no accessor
        session.mount("https://", adapter)
        session.trust_env = False  # as in our own, where a transport is given
    return api


async def called(client: Client, tool: str, **arguments: Any) -> str:
    """Call a tool that must succeed, and return the text that a model reads.

    Raises:
        RuntimeError: It did not succeed; a figure of a failure would be none.
    """
    result = await client.call_tool(tool, arguments)
    said = str(getattr(result.content[0], "text", ""))
    if result.is_error:
        raise RuntimeError(f"{tool} {arguments}: {said}")
    return said


def size(data: Any) -> int:
    """Return how many bytes something takes as compact JSON.

    >>> size({"é": 1})
    8
    """
    return len(json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode())


def environment(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """What a server finds that is started by somebody without settings."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        **variables,
    }


OURS = (sys.executable, "-m", "proxmox_mcp")
BARE = (sys.executable, "-m", "benchmarks.bare")
NOWHERE: Mapping[str, str] = {
    "PROXMOX_HOST": "127.0.0.1",
    "PROXMOX_USER": "nobody@pve",
    "PROXMOX_TOKEN_NAME": "none",
    "PROXMOX_TOKEN_VALUE": "00000000-0000-0000-0000-000000000000",
    "PROXMOX_ALLOW_ELEVATED": "true",
}
"""Settings for a server that is never asked to call anybody."""
