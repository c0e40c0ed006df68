"""Questions to a person at a terminal; where nobody sits, the flag that would have answered."""

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from proxmox_mcp.toolkit.text import clean


class Stop(Exception):
    """The end before anything was written; the message says why, `code` is the exit code."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


def _hidden(prompt: str) -> str:
    return getpass.getpass(prompt)  # on the terminal itself, never on stdout


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where questions are written and answers come from."""

    out: TextIO
    typed: TextIO
    is_attended: bool
    ask_secret: Callable[[str], str] = _hidden

    def say(self, text: str = "") -> None:
        """Write one or more lines; what came from files cannot steer the terminal."""
        self.out.write(f"{clean(text)}\n")
        self.out.flush()

    def text(self, question: str, flag: str, default: str | None = None) -> str:
        """Ask until there is an answer, or take the default for an empty one."""
        self._need(question, flag)
        shown = f" [{default}]" if default else ""
        while True:
            self.out.write(f"{question}{shown}: ")
            self.out.flush()
            line = self.typed.readline()
            if not line:
                raise EOFError
            if answer := line.strip():
                return answer
            if default is not None:
                return default

    def yes(self, question: str, *, default: bool) -> bool:
        """Ask for yes or no."""
        words = "yes" if default else "no"
        return self.text(f"{question} (yes or no)", "--yes", words).lower() in ("y", "yes")

    def secret(self, question: str, flag: str) -> str:
        """Ask for a secret, which is not shown."""
        self._need(question, flag)
        while not (answer := self.ask_secret(f"{question} (not shown): ").strip()):
            pass
        return answer

    def _need(self, question: str, flag: str) -> None:
        if not self.is_attended:
            text = f"{question}: nobody can be asked here, so give {flag}"
            raise Stop(2, text)
