"""What an assistant is to the server: a process that speaks JSON-RPC through its stdin and stdout.

Rule 1: nothing here waits without a bound.
Rule 2: requests may be under way at once; a line that is no JSON-RPC is remembered as a fault.
"""

import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_SECONDS = 60.0


class Assistant:
    """A running server and the client that speaks to it.

    Attributes:
        rubbish: Lines on stdout that were no JSON-RPC.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], home: Path) -> None:
        self.rubbish: list[str] = []
        self._home = home
        self._errors = (home / "stderr").open("w+b")
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._asked = 0
        self._lock = threading.Lock()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        about = {"name": "bench", "version": "1"}
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": about}
        self.ask("initialize", hello).result(START_SECONDS)
        self._write({"method": "notifications/initialized"})
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait(START_SECONDS)
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream:
                stream.close()

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    def ask(self, method: str, params: Mapping[str, Any] | None = None) -> Future[dict[str, Any]]:
        """Send a request; its answer comes in time, or not."""
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            self._asked += 1
            self._waiting[self._asked] = answer
            self._write({"id": self._asked, "method": method, "params": dict(params or {})})
        return answer

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """Call a tool."""
        return self.ask("tools/call", {"name": tool, "arguments": dict(arguments)})

    def written(self) -> str:
        """Return everything that the server has written to its logs and to stderr."""
        files = (path for path in self._home.rglob("*") if path.is_file())
        return "".join(path.read_bytes().decode("utf-8", "replace") for path in files)

    def _write(self, message: dict[str, Any]) -> None:
        pipe = self._process.stdin
        if pipe is None:  # it was asked for
            raise RuntimeError("the server has no stdin")
        pipe.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        pipe.flush()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            try:
                message = json.loads(line)
                answer = self._waiting.pop(message["id"], None) if "id" in message else None
            except (ValueError, KeyError, TypeError):
                self.rubbish.append(line.decode("utf-8", "replace"))
                continue
            if answer:
                answer.set_result(message)
