"""A walk through the server with a real client: what a newcomer watches first.

The server runs as a child process over stdio, exactly as an assistant starts it, and the client is
the MCP SDK's. Each step says what was asked, what came back, and whether that was as it should be.
On the simulated cluster it ends with a story of changes; on a real one it reads only.
"""

import os
import shlex
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import anyio
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.types import CallToolResult

from proxmox_mcp.config import Settings

COLUMNS = 80
BAR = 30
FOLLOW_SECONDS = 60
SIMULATED = "on the built-in simulated cluster, twice as fast as a real one"
QUICKLY = {"PROXMOX_MCP_DEMO_SPEED": "2"}
"""Whoever watches wants to see tasks run, and not to wait for them; only the demo has a pace."""
ELSEWHERE = "../access/users"
"""A node name that would reach another endpoint of the API, were it let through."""


class Unexpected(Exception):
    """A step did not answer as it should."""


@dataclass
class Walk:
    """The client, and where the words go."""

    client: Client
    out: TextIO
    live: bool

    def say(self, line: str = "") -> None:
        """Print a line, cut to what a narrow terminal shows."""
        self.out.write(f"{line[:COLUMNS]}\n")
        self.out.flush()

    def heading(self, number: int, words: str) -> None:
        """Begin a step."""
        self.say()
        self.say(f"{number}. {words}")

    async def ask(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that must succeed, and return its data."""
        self.say(f"   > {tool} {_shown(arguments)}".rstrip())
        result = await self.client.call_tool(tool, arguments, progress_callback=self._bar)
        if self.out.isatty() and "wait" in arguments:
            self.say()
        if result.is_error or result.structured_content is None:
            raise Unexpected(f"{tool} failed: {_text(result)}")
        return dict(result.structured_content)

    async def do(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that must carry its change out to the end, and say what it did."""
        outcome = await self.ask(tool, **arguments)
        if outcome["state"] != "ok":
            raise Unexpected(f"{tool} should have ended well: {outcome}")
        for line in _folded(outcome["done"]):
            self.say(f"   = {line}")
        return outcome

    async def refused(self, tool: str, must_say: str, **arguments: Any) -> None:
        """Call a tool that must be refused, in these words."""
        self.say(f"   > {tool} {_shown(arguments)}".rstrip())
        result = await self.client.call_tool(tool, arguments)
        said = _text(result)
        if not result.is_error or must_say not in said:
            raise Unexpected(f"{tool} should have been refused, and answered: {said}")
        for line in _folded(said):
            self.say(f"   ! {line}")

    async def _bar(self, progress: float, total: float | None, message: str | None) -> None:
        share = min(1.0, progress / total) if total else 0.0
        filled = round(BAR * share)
        line = f"   [{'#' * filled}{'.' * (BAR - filled)}] {share:4.0%} {message or ''}"[:COLUMNS]
        # In a terminal the bar grows in place; in a file each step is a line.
        self.out.write(f"\r{line:<{COLUMNS}}" if self.out.isatty() else f"{line}\n")
        self.out.flush()


def run(settings: Settings | None, flags: Mapping[str, str], out: TextIO) -> int:
    """Take the tour and return the exit code: 0 only if every step answered as it should.

    Args:
        settings: The configured cluster to walk on; None for the simulated one.
        flags: What the command line said about settings, for the child to be told as well.
        out: Where to print.
    """
    command = [sys.executable, "-m", "proxmox_mcp"]
    command += [word for name in flags for word in _flag(name, flags[name])]
    command += [] if settings else ["--demo"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        try:
            anyio.run(_walk, command, settings is not None, out, errors)
        except BaseException as error:  # noqa: BLE001 - the outermost edge, and groups nest
            reason = _innermost(error)
            errors.seek(0)
            sys.stderr.write(f"\nThe tour ended early: {reason}\n{errors.read()[-2000:]}")
            return 1
    out.writelines(f"{line}\n" for line in _farewell(settings, flags))
    return 0


def _flag(name: str, value: str) -> list[str]:
    return [f"--{name}"] if value == "true" else [f"--{name}", value]


async def _walk(command: list[str], live: bool, out: TextIO, errors: TextIO) -> None:  # noqa: FBT001
    # The whole environment: the settings may be in it, and a client passes what it was told to.
    environment = {**QUICKLY, **os.environ}
    child = StdioServerParameters(command=command[0], args=command[1:], env=environment)
    async with Client(stdio_client(child, errlog=errors)) as client:
        walk = Walk(client, out, live)
        walk.say("proxmox-mcp: a tour with a real MCP client, over stdio")
        walk.say("on your cluster, reading only" if live else SIMULATED)
        steps: tuple[tuple[str, Callable[[Walk], Awaitable[None]]], ...] = (
            ("What can an assistant do?", _tools),
            ("Is everything all right?", _health),
            ("What does it run on?", _nodes),
            ("Which guests are there?", _guests),
            ("What is going on, and how does it end?", _task),
            ("What happens to a call that must not be?", _refusals),
        )
        if not live:  # it changes things
            steps += (("How much work is a whole job? One call each.", _story),)
        for number, (words, step) in enumerate(steps, 1):
            walk.heading(number, words)
            await step(walk)


async def _tools(walk: Walk) -> None:
    listed = (await walk.client.list_tools()).tools
    if not listed:
        raise Unexpected("the server offers no tools")
    walk.say(f"   {len(listed)} tools:")
    for tool in listed:
        hints = tool.annotations
        effect = "reads" if hints and hints.read_only_hint else "changes"
        if hints and hints.destructive_hint and not hints.read_only_hint:
            effect = "destroys"
        walk.say(f"   {tool.name:<28} {effect:<9} {hints.title if hints else ''}")


async def _health(walk: Walk) -> None:
    status = await walk.ask("proxmox_get_cluster_status")
    online, offline = status["nodes_online"], status["nodes_offline"]
    walk.say(
        f"   cluster {status.get('cluster', '(standalone)')}, quorate: {status.get('quorate')}"
    )
    walk.say(f"   online: {', '.join(online)}; offline: {', '.join(offline) or 'none'}")
    memory = status["memory"]
    walk.say(f"   memory: {memory['used_gib']} of {memory['total_gib']} GiB used")


async def _nodes(walk: Walk) -> None:
    for node in (await walk.ask("proxmox_get_nodes"))["nodes"]:
        figures = f"{node.get('cpus', '?')} CPUs at {node.get('cpu_percent', '?')} %"
        memory = f"{node.get('memory_percent', '?')} % of {node.get('memory_gib', '?')} GiB"
        walk.say(f"   {node['node']:<10} {node['status']:<8} {figures:<20} {memory}")


async def _guests(walk: Walk) -> None:
    page = await walk.ask("proxmox_get_vms", limit=12)
    for guest in page["guests"]:
        kind = "VM" if guest["type"] == "qemu" else "container"
        name = guest.get("name", "")
        place = f"{guest['node']:<8} {guest['status']:<8}"
        walk.say(f"   {guest['vmid']:>6} {name:<22} {kind:<9} {place} {guest.get('tags', '')}")
    left = page["total"] - len(page["guests"])
    if left:
        walk.say(f"   ... and {left} more, for whoever asks with the cursor")


async def _task(walk: Walk) -> None:
    tasks = (await walk.ask("proxmox_task_list", running=True, limit=1))["tasks"]
    if not tasks:
        tasks = (await walk.ask("proxmox_task_list", limit=1))["tasks"]
    if not tasks:
        walk.say("   nothing has been done here yet, as far as this token may see")
        return
    task = tasks[0]
    walk.say(f"   {task['type']} of {task.get('id', '-')} on {task['node']}: {task['state']}")
    end = await walk.ask("proxmox_task_status", upid=task["upid"], wait=FOLLOW_SECONDS)
    walk.say(f"   it ended: {end['state']} {end.get('error', '')}".rstrip())
    if not walk.live and end["state"] != "ok":
        raise Unexpected(f"the simulated backup should end well, and ended {end['state']}")


async def _refusals(walk: Walk) -> None:
    await walk.refused("proxmox_get_vm_status", "Nothing was sent", vmid=100, node=ELSEWHERE)
    offered = {tool.name for tool in (await walk.client.list_tools()).tools}
    if "proxmox_execute_vm_command" not in offered:
        await walk.refused("proxmox_execute_vm_command", "allow_elevated", vmid=100, command=["id"])


async def _story(walk: Walk) -> None:
    made = await walk.do("proxmox_vm_clone", vmid="debian-12-template", name="shop-01")
    shop = made["newid"]
    await walk.do("proxmox_snapshot_create", vmid="shop-01", snapname="before-change")
    changed = await walk.do("proxmox_vm_config_update", vmid="shop-01", config={"cores": 4})
    for key, values in changed["changed"].items():
        walk.say(f"     {key}: {values.get('before')} -> {values.get('after')}")
    await walk.do("proxmox_snapshot_rollback", vmid="shop-01", snapname="before-change", start=True)
    backup = await walk.do(
        "proxmox_backup_create", vmid="shop-01", storage="backup-storage", wait=FOLLOW_SECONDS
    )
    archive = backup["volume"]
    await walk.do("proxmox_backup_restore", node="pve1", archive=archive, vmid=200, unique=True)
    await walk.do("proxmox_vm_clone", vmid=shop, name="shop-02", full=True, target="pve2")


def _shown(arguments: Mapping[str, Any]) -> str:
    words = (f"{name}={value}" for name, value in arguments.items())
    return " ".join(word if len(word) <= BAR else f"{word[:BAR]}..." for word in words)


def _text(result: CallToolResult) -> str:
    return " ".join(getattr(block, "text", "") for block in result.content)


def _folded(text: str) -> list[str]:
    return textwrap.wrap(text, COLUMNS - 6)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def own_command() -> str:
    """Return the command that starts this server, as an absolute path where there is one."""
    beside = Path(sys.executable).with_name("proxmox-mcp")
    found = str(beside) if beside.is_file() else shutil.which("proxmox-mcp")
    return shlex.quote(found) if found else f"{shlex.quote(sys.executable)} -m proxmox_mcp"


def _farewell(settings: Settings | None, flags: Mapping[str, str]) -> list[str]:
    command = own_command()
    if settings is not None:
        variables = sorted(
            place.rpartition(" ")[2]
            for place in settings.sources.values()
            if place.startswith("environment variable")
        )
        passed = "".join(f' -e {name}="${name}"' for name in variables)
        words = " ".join(shlex.quote(word) for name in flags for word in _flag(name, flags[name]))
        return [
            "",
            "Add it to Claude Code:",
            f"  claude mcp add proxmox{passed} -- {command} {words}".rstrip(),
        ]
    return [
        "",
        "Every step answered as it should. Add it to Claude Code, with this cluster:",
        f"  claude mcp add proxmox-demo -- {command} --demo",
        "and with your own (an API token from Datacenter > Permissions > API Tokens):",
        "  claude mcp add proxmox -e PROXMOX_HOST=pve.example.com \\",
        "    -e PROXMOX_USER=root@pam -e PROXMOX_TOKEN_NAME=mcp \\",
        f"    -e PROXMOX_TOKEN_VALUE=your-secret -- {command}",
    ]
