"""The clients of the table: how each is started, and what it then sees."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.interop.facts import EVERY_FACT, Facts, cells
from tests.interop.node import HERE, node, pinned, script
from tests.process.environments import Environment
from tests.process.server_process import BOUND, ROOT, environment
from tests.process.warm import COLD

PYTHON_1 = "1.30.0"
SERVER = (*COLD, "--demo")
SCRIPTS = HERE / "clients"
SDK, CLIENT = "@modelcontextprotocol/sdk", "@modelcontextprotocol/client"
INSPECTOR = "@modelcontextprotocol/inspector"
PATIENCE = 3 * BOUND
"""Seconds that a client may take; on a machine with nothing else to do it takes ten."""

LANES = 2
"""So many of the Inspector's questions are asked at once."""

PLAN: dict[str, Any] = json.loads((HERE / "plan.json").read_text("utf-8"))


@dataclass(frozen=True)
class Row:
    """One client in one era.

    Attributes:
        client: Its name and version.
        era: Which of the protocol's two eras it is told to speak.
        look: Lets it use a server, with a home folder of its own, and returns what it saw.
        needs_node: Whether it is one of those that npm installs.
    """

    client: str
    era: str
    look: Callable[[Path], Facts]
    needs_node: bool = True

    def cells(self, home: Path) -> dict[str, str]:
        """Let the client use a server, and judge what it saw."""
        return cells(self.look(home), self.era)

    def __str__(self) -> str:
        return f"{self.client}, {self.era}"


def _run(home: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a client to its end, which is a failure when it does not come."""
    home.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(  # noqa: S603 - the clients in this folder
        command,
        cwd=ROOT,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        try:
            said = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the server that it started
            said = "", f"it had not ended after {PATIENCE} s\n{process.communicate()[1]}"
    return subprocess.CompletedProcess(command, process.returncode, *said)


def _facts(home: Path, *command: str) -> Facts:
    ended = _run(home, *command, *SERVER)
    if ended.returncode:
        return {name: {"error": ended.stderr[-500:]} for name in EVERY_FACT}
    return dict(json.loads(ended.stdout))


def python_1(home: Path) -> Facts:
    """Let a client on the Python SDK 1.x use a server."""
    old = Environment(sys.executable, home / "environment")
    old.install(f"mcp=={PYTHON_1}")
    return _facts(home, old.python, str(SCRIPTS / "python.py"), "legacy")


def python_2(era: str, home: Path) -> Facts:
    """Let a client on the Python SDK that we are built on use a server."""
    return _facts(home, sys.executable, str(SCRIPTS / "python.py"), era)


def typescript(major: str, era: str, home: Path) -> Facts:
    """Let a client on the TypeScript SDK use a server."""
    return _facts(home, node(), str(SCRIPTS / "typescript.mjs"), major, era)


def inspector(era: str, home: Path) -> Facts:
    """Let the Inspector's command line use a server: a server and a process for each question."""

    def ask(*words: str) -> Any:
        command = [node(), script(INSPECTOR, "mcp-inspector"), "--cli", *SERVER, *words]
        ended = _run(home, *command, "--protocol-era", era, "--format", "json", "--quiet")
        said = ended.stdout or ended.stderr
        return json.loads(said) if said.startswith("{") else {"error": said}

    def call(step: str) -> Any:
        arguments = json.dumps(PLAN[step]["arguments"])
        named = ("--tool-name", PLAN[step]["name"], "--tool-args-json", arguments)
        return ask("--method", "tools/call", *named)

    prompt = [f"{name}={value}" for name, value in PLAN["prompt"]["arguments"].items()]
    questions: dict[str, Callable[[], Any]] = {
        "tools": partial(ask, "--method", "tools/list", "--strict"),
        "structured": partial(call, "structured"),
        "refused": partial(call, "refused"),
        "resources": partial(ask, "--method", "resources/list"),
        "templates": partial(ask, "--method", "resources/templates/list"),
        "resource": partial(ask, "--method", "resources/read", "--uri", PLAN["resource"]),
        "prompts": partial(ask, "--method", "prompts/list"),
        "prompt": partial(
            ask,
            *("--method", "prompts/get", "--prompt-name", PLAN["prompt"]["name"]),
            *("--prompt-args", *prompt),
        ),
    }
    with ThreadPoolExecutor(LANES) as pool:
        asked = {name: pool.submit(question) for name, question in questions.items()}
    return {name: _taken(name, answer.result()) for name, answer in asked.items()}


TAKE: Mapping[str, Callable[[Any], Any]] = {
    "tools": lambda said: [each["name"] for each in said["tools"]],
    "structured": lambda said: said["structuredContent"],
    "refused": lambda said: {"error": said["isError"], "text": said["content"][0]["text"]},
    "resources": lambda said: [each["uri"] for each in said["resources"]],
    "templates": lambda said: [each["uriTemplate"] for each in said["resourceTemplates"]],
    "resource": lambda said: said["contents"][0]["text"],
    "prompts": lambda said: [each["name"] for each in said["prompts"]],
    "prompt": lambda said: said["messages"][0]["content"]["text"],
}
"""How to take out of the Inspector's answers what the other clients report."""


def _taken(name: str, answer: Any) -> Any:
    return TAKE[name](answer["result"]) if "result" in answer else {"error": str(answer)}


def _rows() -> Iterator[Row]:
    yield Row(f"Python `mcp` {PYTHON_1}", "legacy", python_1, needs_node=False)
    for era in ("legacy", "modern"):
        yield Row("Python `mcp` 2.x", era, partial(python_2, era), needs_node=False)
    yield Row(f"`{SDK}` {pinned(SDK)}", "legacy", partial(typescript, "1", "legacy"))
    for era in ("legacy", "modern"):
        yield Row(f"`{CLIENT}` {pinned(CLIENT)}", era, partial(typescript, "2", era))
    for era in ("legacy", "modern"):
        yield Row(f"`{INSPECTOR}` {pinned(INSPECTOR)}, command line", era, partial(inspector, era))


ROWS: Sequence[Row] = tuple(_rows())
