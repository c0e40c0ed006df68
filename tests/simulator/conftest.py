"""A demo cluster with a clock of its own, and real proxmoxer clients that talk to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from proxmoxer import ProxmoxAPI

from proxmox_mcp.simulator import CREDENTIALS, Cluster, SimulatorAdapter

NOW = 1_763_000_000.0


class Demo:
    """The example cluster, its clock, and clients of it."""

    def __init__(self, **options: Any) -> None:
        self.now = NOW
        self.cluster = Cluster(clock=lambda: self.now, **options)
        self.api = self.client(CREDENTIALS)

    def client(self, credentials: Mapping[str, Any]) -> Any:
        api = ProxmoxAPI(**credentials)
        api._store["session"].mount("https://", SimulatorAdapter(self.cluster))
        return api

    def wait(self, seconds: float = 600.0) -> None:
        self.now += seconds

    def guest(self, vmid: int) -> Any:
        """The client's view of a guest, wherever it is."""
        found = self.cluster.guest(vmid)
        return self.api.nodes(found.node)(found.kind)(vmid)

    def status(self, upid: str) -> dict[str, Any]:
        node = upid.split(":")[1]
        found: dict[str, Any] = self.api.nodes(node).tasks(upid).status.get()
        return found

    def ended(self, upid: str) -> str:
        """How a task ends, after any time it may take."""
        self.wait()
        return str(self.status(upid)["exitstatus"])

    def log(self, upid: str) -> list[str]:
        node = upid.split(":")[1]
        return [line["t"] for line in self.api.nodes(node).tasks(upid).log.get(limit=0)]


@pytest.fixture
def demo() -> Demo:
    return Demo()
