"""Fixtures that every test may use: a simulated cluster, a server on it, and a client of it."""

import gc
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from mcp.client import Client, ClientSession

from proxmox_mcp import server, simulator
from proxmox_mcp.config import Settings
from proxmox_mcp.pve import trace, upid
from proxmox_mcp.pve.bridge import Bridge
from proxmox_mcp.pve.connection import Connection, Limits
from proxmox_mcp.pve.guard import Cluster, Pve
from proxmox_mcp.toolkit import contract
from proxmox_mcp.toolkit.policy import Policy
from proxmox_mcp.tools import TOOLS
from tests import pve_schema, secrecy

FAST = Limits(retry_delay=0)
"""No back-off between tries; everything else as users have it."""

NEVER_DONE = 0.01
"""A speed of the simulated cluster at which no task ends while a test runs."""


def pytest_sessionstart() -> None:
    """Look for nothing that could go while thousands of tests are collected, which all stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave them out of every later look as well: together a tenth of the suite's time."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def acquaint() -> None:
    """Let each client know the tools' result schemas from its start.

    The SDK's client holds each result against its schema. It lists all tools for that, and holds
    the schema against the schema of schemas, with every connection: half of a short test's time.
    """
    schemas = {spec.name: contract.listed(spec).output_schema for spec in TOOLS}
    validators: dict[str, Any] = {}
    begin = ClientSession.__init__

    def acquainted(self: ClientSession, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self._tool_output_schemas = dict(schemas)
        self._tool_output_validators = validators

    ClientSession.__init__ = acquainted  # type: ignore[method-assign]


acquaint()


@pytest.fixture(autouse=True)
def loop_never_blocks() -> Iterator[BlockBuster]:
    """A blocking call on the event loop fails the test: this is our main promise."""
    with blockbuster_ctx("proxmox_mcp") as blockbuster:
        # Measuring coverage takes a lock of its own, on whatever line it happens to be.
        blockbuster.functions["threading.Lock.acquire"].can_block_in(
            "coverage/collector.py", {"lock_data"}
        )
        yield blockbuster


@pytest.fixture(autouse=True)
def nobody_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings and variables of whoever runs the suite must not reach into it."""
    for name in list(os.environ):
        if (
            name.startswith(("PROXMOX_", "PVE_", "LOG_LEVEL", "DYNACONF"))
            and name != "PVE_API_SCHEMA"
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks, and what became of a lost change, are looked at without a person's patience."""
    monkeypatch.setattr(trace, "LOOK_AFTER_SECONDS", (0.002, 0.005, 0.01))
    monkeypatch.setattr(upid, "POLL_SECONDS", (0.005, 0.02))


@pytest.fixture(autouse=True)
def no_secret_gets_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No answer, log line, audit record or word on stderr of any test holds one of its secrets."""
    answers: list[str] = []
    real = Client.call_tool

    async def call_tool(self: Client, *args: Any, **kwargs: Any) -> Any:
        result = await real(self, *args, **kwargs)
        answers.append(result.model_dump_json())
        return result

    monkeypatch.setattr(Client, "call_tool", call_tool)
    yield
    assert secrecy.leaks("\n".join(answers)) == []
    assert secrecy.files_with_leaks(tmp_path) == []


@pytest.fixture
def speed() -> float:
    """How many times as fast as a real one the simulated cluster is."""
    return 500


@pytest.fixture
def cluster(speed: float) -> Iterator[simulator.Cluster]:
    """A simulated cluster.

    When the test is over, every request that it received is held against Proxmox's own schema.
    """
    simulated = simulator.Cluster(speed=speed)
    yield simulated
    assert schema_faults(simulated.requests) == []


def schema_faults(requests: list[simulator.Request]) -> list[str]:
    """What is wrong with these requests under any version of Proxmox's schema."""
    if not pve_schema.AVAILABLE:
        return []
    return sorted(
        {
            f"PVE {version}: {request.method} {request.path}: {problem}"
            for request in requests
            for version in pve_schema.VERSIONS
            for problem in pve_schema.problems(
                version, request.method, request.path, request.params
            )
        }
    )


class Connect(Protocol):
    def __call__(
        self, *, mode: str = "auto", **settings: Any
    ) -> AbstractAsyncContextManager[Client]: ...


@pytest.fixture
def connect(cluster: simulator.Cluster) -> Connect:
    """Open a client on the real server, over the real proxmoxer, on the simulated cluster."""

    @asynccontextmanager
    async def opened(*, mode: str = "auto", **settings: Any) -> AsyncIterator[Client]:
        async with Client(serve(cluster, **settings), mode=mode) as client:
            yield client

    return opened


def serve(cluster: simulator.Cluster, **settings: Any) -> server.ProxmoxServer:
    """Assemble the real server on a simulated cluster, with elevated tools."""
    credentials: dict[str, Any] = settings.pop("credentials", simulator.CREDENTIALS)
    said: dict[str, Any] = {"allow_elevated": True} | settings
    policy = {name: said.pop(name) for name in list(said) if name in Policy.model_fields}
    chosen: dict[str, Any] = {"limits": FAST, "policy": Policy(**policy)} | said
    return server.build(
        Settings(connection=Connection(**credentials), **chosen),
        adapter=simulator.SimulatorAdapter(cluster),
    )


@pytest.fixture
async def client(connect: Connect) -> AsyncIterator[Client]:
    """A client on a server with elevated tools."""
    async with connect() as opened:
        yield opened


@pytest.fixture
async def pve(cluster: simulator.Cluster) -> Pve:
    """One call's way to the simulated cluster, as a handler gets it."""
    bridge = Bridge(
        Connection(**simulator.CREDENTIALS), adapter=simulator.SimulatorAdapter(cluster)
    )
    opened = Pve(Cluster(bridge, FAST))
    await opened.open()
    return opened


def text(result: Any) -> str:
    """What a tool's answer says, as the model reads it."""
    return str(result.content[0].text)
