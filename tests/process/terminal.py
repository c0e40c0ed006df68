"""The program at a terminal, and the person who sits there."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests import secrecy
from tests.process.server_process import BOUND, NOTHING, ROOT, environment
from tests.process.warm import program


class Terminal:
    """Waits for words to appear, and types.

    Attributes:
        process: The program.
        said: All that it has printed to the terminal so far.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", ours: int) -> None:
        self.process = process
        self.said = ""
        self._ours = ours
        self._heard = 0

    def hears(self, words: str) -> None:
        """Wait until these words have appeared after all that were waited for before."""
        until = time.monotonic() + BOUND
        while (found := self.said.find(words, self._heard)) < 0:
            assert self._reads(until), f"ended, or was silent, without {words!r}:\n{self.said}"
        self._heard = found + len(words)

    def types(self, line: str) -> None:
        os.write(self._ours, f"{line}\n".encode())

    def answers(self, question: str, answer: str) -> None:
        self.hears(question)
        self.types(answer)

    def ends(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what went to stdout, where that is apart."""
        until = time.monotonic() + BOUND
        while self._reads(until):
            pass
        stdout, _ = self.process.communicate(timeout=BOUND)
        apart = (stdout or b"").decode()
        assert secrecy.leaks(self.said + apart) == []
        assert "Traceback" not in self.said
        return self.process.returncode, apart

    def _reads(self, until: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, until - time.monotonic()))
        try:
            found = os.read(self._ours, 65_536) if ready else b""
        except OSError:  # how Linux says that nobody holds the other end any more
            return False
        self.said += found.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(found)


@contextmanager
def at_a_terminal(
    home: Path,
    *words: str,
    variables: Mapping[str, str] = NOTHING,
    stdout_apart: bool = False,
) -> Iterator[Terminal]:
    """Run one command line until the end of the block at the latest.

    Args:
        home: The home folder of whoever sits there.
        words: The command line.
        variables: More of its environment.
        stdout_apart: Whether stdout is a pipe, while stdin and stderr are the terminal.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [*program(), *words],
        cwd=ROOT,
        env=environment(home, variables),
        stdin=theirs,
        stdout=subprocess.PIPE if stdout_apart else theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.communicate(timeout=BOUND)
        os.close(ours)
