"""The recipes are played, in their order, on one simulated cluster: each call must succeed."""

import io
import re
from pathlib import Path

from mcp.client import Client

from proxmox_mcp import simulator
from proxmox_mcp.cli.arguments import pairs, typed
from tests.conftest import serve, text
from tests.tools.calls import called

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recipes.md"
CALL = re.compile(r"`(proxmox_[a-z_]+)([^`]*)`")


def recipes() -> list[tuple[str, list[str]]]:
    """Every call of the table, as a tool and the words behind it."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    return [(tool, words.split()) for row in rows for tool, words in CALL.findall(row)]


async def test_every_recipe_does_what_it_says(cluster: simulator.Cluster) -> None:
    played = []
    async with Client(serve(cluster), mode="auto") as client:
        schemas = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
        failed = (await called(client, "task_list", errors=True))["tasks"][0]["upid"]
        for tool, words in recipes():
            given = [word.replace("upid=...", f"upid={failed}") for word in words]
            arguments = typed(pairs(given, io.StringIO()), schemas[tool])
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, f"{tool} {given}: {text(result)}"
            played.append(tool)

    assert len(played) >= 15
    shop = next(guest for guest in cluster.center.guests.values() if guest.name == "shop-03")
    assert str(shop.config["cores"]) == "4"
    assert "size=10G" in str(shop.config["scsi0"])
    assert cluster.guest(107).running
    assert cluster.guest(103).running  # it was only asked what would happen
    assert cluster.guest(100).node == "pve2"
