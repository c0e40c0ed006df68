"""The program as a process of its own: how it is started, spoken to, and what it leaves behind.

Rule 1: nothing here waits without a bound.
Rule 2: whatever a server wrote to stdout has to be JSON-RPC, line by line, in every test.
"""

import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import trustme

from proxmox_mcp import simulator
from proxmox_mcp.tools import TOOLS
from tests.process.warm import COLD, program

ROOT = Path(__file__).parents[2]
OFFERED = sorted(spec.name for spec in TOOLS if not spec.elevated)
ELEVATED = sorted(spec.name for spec in TOOLS if spec.elevated)
LATEST_LEGACY = "2025-11-25"
NOTHING: Mapping[str, str] = MappingProxyType({})
BOUND = 60
"""Seconds after which anything awaited here has failed; a start takes one or two."""

_NOT_INHERITED = ("PROXMOX_", "PVE_", "LOG_LEVEL", "DYNACONF", "PYTHONPATH")


def environment(home: Path, variables: Mapping[str, str] = NOTHING) -> dict[str, str]:
    """What a program finds that is started by somebody with this home folder and no settings."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    places = {"HOME": home, "XDG_CONFIG_HOME": home / "config", "XDG_STATE_HOME": home / "state"}
    return kept | {name: str(place) for name, place in places.items()} | dict(variables)


def run_program(
    home: Path,
    *words: str,
    said: str = "",
    variables: Mapping[str, str] = NOTHING,
    command: Sequence[str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one command line to its end, with *said* on stdin; warm unless a *command* is given."""
    return subprocess.run(  # noqa: S603 - our own program
        [*(command or program()), *words],
        cwd=ROOT,
        env=environment(home, variables),
        input=said,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=BOUND,
        check=False,
    )


def request_line(number: int, method: str, params: dict[str, Any] | None = None) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}})


def initialize_params(version: str = LATEST_LEGACY) -> dict[str, Any]:
    about = {"name": "raw", "version": "1"}
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": about}


def log_files(home: Path) -> list[Path]:
    """The main log file of every server that ran with this home folder."""
    return sorted(home.rglob("combined-*.jsonl"))


def log_lines(*files: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def finished(home: Path) -> list[dict[str, Any]]:
    """The line of every call that servers with this home folder have carried out."""
    lines = log_lines(*log_files(home))
    return [line for line in lines if line["event"] == "tool.finished"]


def everything_written(home: Path) -> str:
    """The content of every file below a home folder."""
    return "".join(
        path.read_bytes().decode("utf-8", "replace") for path in home.rglob("*") if path.is_file()
    )


@contextmanager
def https_door(cluster: simulator.Cluster, folder: Path) -> Iterator[dict[str, str]]:
    """Serve a simulated cluster over HTTPS; yields the variables that lead there with a token."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority_file, server_file = folder / "authority.pem", folder / "server.pem"
    authority.cert_pem.write_to_path(authority_file)
    certificate.private_key_and_cert_chain_pem.write_to_path(server_file)
    with simulator.LoopbackServer(cluster, certfile=str(server_file)) as server:
        yield {
            "PROXMOX_HOST": "127.0.0.1",
            "PROXMOX_PORT": str(server.port),
            "PROXMOX_USER": simulator.CREDENTIALS["user"],
            "PROXMOX_TOKEN_NAME": simulator.CREDENTIALS["token_name"],
            "PROXMOX_TOKEN_VALUE": simulator.CREDENTIALS["token_value"],
            "PROXMOX_VERIFY_SSL": str(authority_file),
            "NO_PROXY": "127.0.0.1",
        }


class ServerProcess:
    """A running server, and a client that speaks to it in raw lines.

    Attributes:
        process: The process that was started.
        home: Its home folder.
        lines: What it has written to stdout so far.
    """

    def __init__(
        self, command: Sequence[str], home: Path, variables: Mapping[str, str], cwd: Path
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.lines: list[str] = []
        self._errors = (home / f"stderr-{id(self)}").open("w+b")
        self._arrived: queue.Queue[str | None] = queue.Queue()
        self._answers: dict[object, dict[str, Any]] = {}
        self._asked = 0
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            cwd=cwd,
            env=environment(home, variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.decode())
            self._arrived.put(self.lines[-1])
        self._arrived.put(None)

    def write(self, line: bytes | str) -> None:
        """Send one line, whatever it holds."""
        assert self.process.stdin
        self.process.stdin.write((line if isinstance(line, bytes) else line.encode()) + b"\n")
        self.process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request and return its number, without waiting."""
        self._asked += 1
        self.write(request_line(self._asked, method, params))
        return self._asked

    def answer(self, number: int) -> dict[str, Any]:
        """Wait for the answer to a request: its result, or its error."""
        while number not in self._answers:
            line = self._arrived.get(timeout=BOUND)
            assert line is not None, f"the server went away: {self.stderr}"
            message = _message(line)
            self._answers[message.get("id")] = message
        return self._answers[number]

    def forget(self, number: int) -> dict[str, Any]:
        """Wait for an answer and keep nothing of it, for a client of many thousand calls."""
        answer = self.answer(number)
        del self._answers[number]
        return answer

    def initialize(self, version: str = LATEST_LEGACY) -> dict[str, Any]:
        """Shake hands as clients of the legacy era do."""
        result = self.answer(self.ask("initialize", initialize_params(version)))["result"]
        self.write('{"jsonrpc": "2.0", "method": "notifications/initialized"}')
        return dict(result)

    def ask_tool(self, tool: str, **arguments: Any) -> int:
        """Call a tool and return the request's number, without waiting."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and wait for its result."""
        return dict(self.answer(self.ask_tool(tool, **arguments))["result"])

    def end_input(self) -> None:
        """Close stdin, as a client does that has had enough."""
        assert self.process.stdin
        self.process.stdin.close()

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        code = self.process.wait(timeout=BOUND)
        self.stdout_ended()
        return code

    def stdout_ended(self) -> None:
        """Wait until nobody can write to stdout any more, and hold what was written."""
        self._reader.join(timeout=BOUND)
        assert not self._reader.is_alive(), "somebody still holds the server's stdout"
        for line in self.lines:
            _message(line)

    @property
    def stderr(self) -> str:
        """What has been written to stderr so far."""
        self._errors.seek(0)
        return self._errors.read().decode()

    def close(self) -> None:
        """Leave nothing behind, however the test ended."""
        self.process.kill()
        self.process.wait(timeout=BOUND)
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream:
                stream.close()


def _message(line: str) -> dict[str, Any]:
    message = json.loads(line)
    assert message["jsonrpc"] == "2.0"
    assert {"result", "error", "method"} & message.keys()
    return dict(message)


@contextmanager
def serving(
    home: Path,
    *words: str,
    variables: Mapping[str, str] = NOTHING,
    command: Sequence[str] = COLD,
    cwd: Path = ROOT,
) -> Iterator[ServerProcess]:
    """Run a server until the end of the block at the latest."""
    server = ServerProcess([*command, *words], home, variables, cwd)
    try:
        yield server
    finally:
        server.close()
