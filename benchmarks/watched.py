"""The real server with an eye on its event loop: when it stood still, and for how long.

``python -m benchmarks.watched FILE`` serves as ``proxmox-mcp`` does. Each time that the loop comes
later than it should, a line goes into the file: when, by how much, and how much processor time the
process took meanwhile, in seconds. The smaller of the two is what the server's own work, parsing in
its threads included, has kept the loop from; the rest was waiting for a busy machine.
"""

import sys
import time
from pathlib import Path
from typing import Any, TextIO

import anyio

from proxmox_mcp.__main__ import main
from proxmox_mcp.cli import serve

PERIOD = 0.002
WORTH_A_LINE = 0.001


def watching(file: TextIO) -> Any:
    """Return the server's main part, with a watch beside it."""
    speak = serve._speak  # noqa: SLF001 - the real one, under a watch

    async def watched(*words: Any) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_watch, file)
            await speak(*words)
            group.cancel_scope.cancel()

    return watched


async def _watch(file: TextIO) -> None:
    while True:
        began, worked = time.monotonic(), time.process_time()
        await anyio.sleep(PERIOD)
        late = time.monotonic() - began - PERIOD
        if late > WORTH_A_LINE:
            file.write(f"{began} {late} {time.process_time() - worked}\n")


if __name__ == "__main__":
    with Path(sys.argv.pop()).open("w", buffering=1) as lines:
        serve._speak = watching(lines)  # noqa: SLF001 - as above
        code = main()
    sys.exit(code)
