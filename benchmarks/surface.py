"""What a model reads before and after it calls: the tools it chooses from, and a list of guests."""

from typing import Any

from benchmarks.place import client_on, on, size
from benchmarks.report import Figure
from proxmox_mcp import simulator

MANY = 2000
HEAVIEST = 3


async def figures() -> list[Figure]:
    """Weigh the tools and the list of guests."""
    return [*await _tools(), *await _guests()]


async def _tools() -> list[Figure]:
    async with client_on(on(simulator.Cluster())) as client:
        tools = (await client.list_tools()).tools
    weights = {tool.name: size(read(tool)) for tool in tools}
    unsaid = [
        f"{tool.name}.{name}"
        for tool in tools
        for name, about in tool.input_schema.get("properties", {}).items()
        if not about.get("description")
    ]
    whole = [size(tool.model_dump(mode="json", by_alias=True, exclude_none=True)) for tool in tools]
    heaviest = sorted(weights, key=lambda name: -weights[name])[:HEAVIEST]
    listed = ", ".join(f"{name.removeprefix('proxmox_')} {weights[name]}" for name in heaviest)
    total = sum(weights.values())
    return [
        Figure(
            key="surface.tool",
            value=total / len(tools),
            note=f"{len(tools)} tools, {total:,} bytes; the heaviest: {listed}",
        ),
        Figure(key="surface.bare", value=len(unsaid), note=", ".join(unsaid)),
        Figure(key="surface.wire", value=sum(whole) / len(tools)),
    ]


def read(tool: Any) -> dict[str, Any]:
    """Return of a tool what a model reads."""
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.input_schema,
    }


async def _guests() -> list[Figure]:
    async with client_on(on(simulator.Cluster(guests=MANY))) as client:
        page = await client.call_tool("proxmox_get_vms", {})
        wide = await client.call_tool("proxmox_get_vms", {"limit": 1000})
    said = str(getattr(page.content[0], "text", ""))
    rows = [size(row) for row in (wide.structured_content or {})["guests"]]
    return [
        Figure(
            key="surface.row",
            value=sum(rows) / len(rows),
            note=f"of {len(rows)} rows the shortest has {min(rows)}, the longest {max(rows)}",
        ),
        Figure(key="surface.page", value=len(said.encode())),
    ]
