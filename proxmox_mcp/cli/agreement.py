"""A loss is put to whoever sits at the terminal, yes or no.

Nobody is asked, and the answer is no, where there is no terminal to ask at: a script says yes
beforehand, with ``--yes``.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from anyio import to_thread

from proxmox_mcp.toolkit.text import clean

YES = frozenset({"y", "yes"})


@dataclass(frozen=True)
class Asker:
    """Asks on stderr and reads from stdin.

    Attributes:
        yes: Whether the answer is given beforehand.
        before: What makes room on the terminal.
    """

    yes: bool
    before: Callable[[], None]

    async def agreed(self, question: str) -> bool:
        """Ask, and return whether the answer is yes."""
        self.before()
        _say(f"{clean(question)}\n")
        if self.yes:
            return True
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            _say("Nobody can be asked without a terminal; --yes agrees beforehand.\n")
            return False
        _say("Do it? [y/N] ")
        return (await _line()).strip().lower() in YES


async def _line() -> str:
    if sys.platform == "win32":  # consoles cannot be waited for there
        return await to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    # A terminal is readable when a line is complete; a thread in its place could not be cancelled.
    await anyio.wait_readable(sys.stdin)
    return sys.stdin.readline()


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
