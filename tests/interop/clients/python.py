"""A client on either major version of the Python SDK: python.py ERA COMMAND...

It runs in an environment of its own, so it imports nothing of ours. It carries out ../plan.json and
prints what it saw; ../facts.py says what should be seen.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mcp import StdioServerParameters, types

PLAN = json.loads(Path(__file__).parents[1].joinpath("plan.json").read_text("utf-8"))


def plain(answer: Any) -> dict[str, Any]:
    """An answer as it stood on the wire; the two versions spell its fields differently."""
    return dict(answer.model_dump(mode="json", by_alias=True))


def said(result: dict[str, Any]) -> dict[str, Any]:
    return {"error": bool(result.get("isError")), "text": result["content"][0]["text"]}


class Watcher:
    """The person at the client, and what they see."""

    def __init__(self) -> None:
        self.client: Any = None
        self.facts: dict[str, Any] = {"version": version("mcp")}
        self.asked: str | None = None
        self.reply = types.ElicitResult(action="cancel")

    async def answer(
        self,
        context: Any,  # noqa: ARG002 - the callback's shape
        params: types.ElicitRequestParams,
    ) -> types.ElicitResult:
        self.asked = params.message
        return self.reply

    async def see(self, name: str, looking: Awaitable[Any]) -> None:
        try:
            self.facts[name] = await looking
        except Exception as error:  # noqa: BLE001 - what it says is what was seen
            self.facts[name] = {"error": repr(error)}

    async def look(self) -> None:
        # The list first: with it the client knows what every structured result has to look like.
        await self.see("tools", self.listed("tools", "name"))
        await self.see("structured", self.data("structured"))
        await self.see("refused", self.told("refused"))
        await self.see("progress", self.progress())
        await self.see("made", self.told("make"))
        await self.see("declined", self.lose(types.ElicitResult(action="decline")))
        accept = types.ElicitResult(action="accept", content={"confirm": True})
        await self.see("accepted", self.lose(accept))
        await self.see("resources", self.listed("resources", "uri"))
        await self.see("templates", self.listed("resource_templates", "uriTemplate"))
        await self.see("resource", self.resource())
        await self.see("prompts", self.listed("prompts", "name"))
        await self.see("prompt", self.prompt())
        await self.see("completion", self.completion())

    async def call(self, step: str, progress: Any = None, **more: Any) -> dict[str, Any]:
        tool, arguments = PLAN[step]["name"], PLAN[step]["arguments"]
        result = await self.client.call_tool(tool, arguments | more, progress_callback=progress)
        return plain(result)

    async def told(self, step: str) -> dict[str, Any]:
        return said(await self.call(step))

    async def data(self, step: str) -> dict[str, Any]:
        return dict((await self.call(step))["structuredContent"])

    async def listed(self, what: str, field: str) -> list[str]:
        (answer,) = [
            rows
            for rows in plain(await getattr(self.client, f"list_{what}")()).values()
            if isinstance(rows, list)
        ]
        return [row[field] for row in answer]

    async def progress(self) -> dict[str, Any]:
        steps: list[tuple[float, float | None, str | None]] = []

        async def listen(progress: float, total: float | None, message: str | None) -> None:
            steps.append((progress, total, message))

        upid = (await self.data("running"))["tasks"][0]["upid"]
        waited = await self.call("watch", listen, upid=upid)
        return {"asked": upid, "waited": waited["structuredContent"], "steps": steps}

    async def lose(self, reply: types.ElicitResult) -> dict[str, Any]:
        self.asked, self.reply = None, reply
        result = await self.told("lose")
        left = [each["name"] for each in (await self.data("left"))["snapshots"]]
        return result | {"asked": self.asked, "left": left}

    async def resource(self) -> str:
        return str(plain(await self.client.read_resource(PLAN["resource"]))["contents"][0]["text"])

    async def prompt(self) -> str:
        wanted = PLAN["prompt"]
        got = plain(await self.client.get_prompt(wanted["name"], wanted["arguments"]))
        return str(got["messages"][0]["content"]["text"])

    async def completion(self) -> list[str]:
        wanted = PLAN["completion"]
        ref = types.PromptReference(**wanted["ref"])
        answer = plain(await self.client.complete(ref, wanted["argument"]))
        return list(answer["completion"]["values"])


@asynccontextmanager
async def first(child: StdioServerParameters, _: str, watcher: Watcher) -> AsyncIterator[Any]:
    from mcp import ClientSession  # noqa: PLC0415 - each version has its own way to connect
    from mcp.client.stdio import stdio_client  # noqa: PLC0415

    async with (
        stdio_client(child) as streams,
        ClientSession(*streams, elicitation_callback=watcher.answer) as session,
    ):
        watcher.facts["protocol"] = plain(await session.initialize())["protocolVersion"]
        yield session


@asynccontextmanager
async def second(child: StdioServerParameters, era: str, watcher: Watcher) -> AsyncIterator[Any]:
    from mcp.client import Client  # noqa: PLC0415

    mode = "auto" if era == "modern" else "legacy"
    async with Client(child, mode=mode, elicitation_callback=watcher.answer) as client:
        watcher.facts["protocol"] = client.protocol_version
        yield client


async def main(era: str, command: str, *args: str) -> None:
    watcher = Watcher()
    connect = first if watcher.facts["version"].startswith("1.") else second
    child = StdioServerParameters(command=command, args=list(args), env=dict(os.environ))
    async with connect(child, era, watcher) as watcher.client:
        await watcher.look()
    json.dump(watcher.facts, sys.stdout)


asyncio.run(main(*sys.argv[1:]))
