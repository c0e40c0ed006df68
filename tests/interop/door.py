"""A door over HTTP to the same server, on loopback: the conformance suite knows no stdio.

It is for tests only: the package serves nothing but stdio. ``python -m tests.interop.door`` prints
its port and serves until it is terminated.
"""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from proxmox_mcp import server
from proxmox_mcp.config import Settings
from tests.process.server_process import BOUND, ROOT, environment


@contextmanager
def opened(home: Path) -> Iterator[str]:
    """Serve the simulated cluster over HTTP; yields the URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.interop.door"],
        cwd=ROOT,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        finally:
            process.kill()
            process.wait(BOUND)


def main() -> None:
    application = server.build(Settings(demo=True)).streamable_http_app(host="127.0.0.1")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(uvicorn.Config(application, log_level="error")).run([listener])


if __name__ == "__main__":
    main()
