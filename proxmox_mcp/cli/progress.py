"""How far a call is, on stderr: a bar that grows in a terminal, now and then a line elsewhere."""

import shutil
import time
from collections.abc import Callable
from typing import Final, TextIO

from proxmox_mcp.cli.rendering import cells, fitted
from proxmox_mcp.toolkit.text import clean_line

EVERY_SECONDS: Final = 5
"""A log file that a call writes to should tell that it lives, and no more."""
_BAR: Final = 24


class Progress:
    """What a client is told while it waits.

    Args:
        stream: Where it is shown.
        clock: Tells the seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._grows = stream.isatty()
        self._last = float("-inf")
        self._shown = False

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Show how far it is."""
        words = " ".join(clean_line(message or "").split())
        share = min(1.0, max(0.0, progress / total)) if total else None
        if self._grows:
            columns = shutil.get_terminal_size().columns - 1  # a full line would break
            line = fitted(f"{_bar(share)}{words}", columns)
            self._stream.write(f"\r{line}{' ' * (columns - cells(line))}")
            self._shown = True
        elif self._clock() - self._last < EVERY_SECONDS:
            return
        else:
            self._last = self._clock()
            self._stream.write(f"{'' if share is None else f'{share:4.0%} '}{words}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Take the bar away, so that other words can stand in its place."""
        if self._shown:
            self._stream.write(f"\r{' ' * (shutil.get_terminal_size().columns - 1)}\r")
            self._stream.flush()
            self._shown = False


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    filled = round(_BAR * share)
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {share:4.0%} "
