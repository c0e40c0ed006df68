"""Calling a tool in a test that knows what must come back: data, or a refusal in words."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from mcp.client import Client

from proxmox_mcp.simulator import Cluster, Request
from tests.conftest import Connect, text


def calling(prefix: str) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Return what calls a tool that must succeed, by the rest of its name, and gives its data."""

    async def call(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(f"{prefix}{tool}", arguments)
        assert not result.is_error, text(result)
        assert result.structured_content is not None
        return dict(result.structured_content)

    return call


def refusing(prefix: str) -> Callable[..., Awaitable[str]]:
    """Return what calls a tool that must not succeed, and gives what the model reads."""

    async def call(client: Client, tool: str, /, **arguments: Any) -> str:
        result = await client.call_tool(f"{prefix}{tool}", arguments)
        assert result.is_error, text(result)
        return text(result)

    return call


called, refused = calling("proxmox_"), refusing("proxmox_")


def stopped_when_looked_at(cluster: Cluster, kind: str) -> None:
    """Let somebody stop the only task of this type as soon as it is watched."""

    def intercept(request: Request) -> None:
        if "/tasks/UPID" in request.path:
            [task] = [each for each in cluster.center.tasks.newest() if each.type == kind]
            cluster.center.tasks.stop(task)

    cluster.intercept = intercept


async def cancelled(
    connect: Connect,
    cluster: Cluster,
    caplog: pytest.LogCaptureFixture,
    tool: str,
    **arguments: Any,
) -> dict[str, Any]:
    """Cancel a call while it watches its task, and return the line that it leaves in the log."""
    cluster.speed = 0.1  # no task ends while the test runs
    watching = anyio.Event()

    def intercept(request: Request) -> None:
        if "/tasks/UPID" in request.path:
            anyio.from_thread.run_sync(watching.set)

    cluster.intercept = intercept
    with caplog.at_level(logging.INFO, "proxmox_mcp"):
        async with connect() as client, anyio.create_task_group() as group:
            group.start_soon(client.call_tool, tool, {"wait": 300} | arguments)
            with anyio.fail_after(5):
                await watching.wait()
            group.cancel_scope.cancel()
    [line] = [vars(each) for each in caplog.records if each.message == "tool.finished"]
    return line
