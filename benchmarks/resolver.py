"""Runs the server with a resolver of its own, so that a name can go while it runs.

``python -m benchmarks.resolver FOLDER``: a name resolves to this machine while FOLDER holds a file
of that name. Nothing is asked of any real name server.
"""

import socket
import sys
from pathlib import Path
from typing import Any

from proxmox_mcp.__main__ import main

DOMAIN = ".bench.invalid"


def install(folder: Path) -> None:
    """Answer for the bench's own names; all others resolve as ever."""
    ask = socket.getaddrinfo

    def answer(host: Any, *rest: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if not name.endswith(DOMAIN):
            return ask(host, *rest, **named)
        if not (folder / name).exists():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return ask("127.0.0.1", *rest, **named)

    socket.getaddrinfo = answer


if __name__ == "__main__":
    install(Path(sys.argv.pop(1)))
    sys.exit(main())
