"""What has been changed, taken out or put into an audit trail after it was written.

How a trail is made, and what its chain cannot show, stands in :mod:`~proxmox_mcp.toolkit.audit`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proxmox_mcp.toolkit.audit import NOTHING_BEFORE, Head, failed, hashed, lines_of, parsed

MOST_FAULTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one line; line 0 stands for the trail as a whole."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many lines there are, what is wrong with them, and what is odd but no fault."""

    lines: int
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]


def verify(file: Path) -> Verdict:
    """Hold every line against the one before it, and the end against the head.

    It takes no lock and may run while others write. A file that does not exist has no lines; a
    head that is left alone shows what it had.

    Raises:
        TrailError: The trail or its head cannot be read.
    """
    try:
        check = _Check(Head.beside(file))
        if file.exists():
            for raw in lines_of(file):
                check.line(raw)
        check.end(Head.beside(file))
    except OSError as error:
        raise failed(file, "read", error) from error
    return Verdict(check.lines, tuple(check.faults), tuple(check.notes))


@dataclass(slots=True)
class _Check:
    """One walk through a trail; keeps hashes of what it has passed, not lines."""

    head: Head | None
    lines: int = 0
    last: str = NOTHING_BEFORE
    whole: str = NOTHING_BEFORE
    at_head: str = NOTHING_BEFORE
    ended: bool = True
    torn: int = 0  # the first of the unreadable lines just passed
    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)

    def line(self, raw: bytes) -> None:
        self.lines += 1
        self.ended = raw.endswith(b"\n")
        raw = raw.removesuffix(b"\n")
        record, before = parsed(raw), self.last
        self.last = hashed(raw)
        if self.head and self.lines == self.head.lines:
            self.at_head = self.last
        if record is None:
            self.torn = self.torn or self.lines
        else:
            self._record(record, before)
            self.torn, self.whole = 0, self.last

    def end(self, head_now: Head | None) -> None:
        """Judge what only the end shows; the head may have moved on since the beginning."""
        head = self.head or head_now
        known = head_now.lines if head_now else 0
        if not self.ended:
            self._note(self.lines, "is torn: its writer was stopped, or is writing it just now")
        elif self.torn and known >= self.lines:
            self._note(self.torn, "was torn when its writer was stopped; nothing follows it yet")
        elif self.torn:
            self._fault(self.torn, "is not a JSON object")
        if head is None:
            if self.lines:
                self._fault(0, "its .head file is missing or makes no sense")
        else:
            self._against_head(head, max(head.lines, known))

    def _record(self, record: dict[str, Any], before: str) -> None:
        follows = record.get("prev") == before
        after_torn = record.get("after_torn") is True
        if self.torn and not (follows and after_torn):
            self._fault(self.torn, "is not a JSON object")
        if not follows:
            self._fault(self.lines, self._does_not_follow())
        elif after_torn and record.get("whole") != self.whole:
            self._fault(self.lines, "follows a torn line, and what stood before that was changed")
        if "head_was" in record:
            self._fault(self.lines, "was added when the end of the trail did not fit its head")

    def _does_not_follow(self) -> str:
        if self.lines == 1:
            return "does not begin the trail: it was changed, or what stood before it is missing"
        return (
            f"does not follow line {self.lines - 1}: that one was changed, lines between the two"
            " are missing, or one of them was inserted or moved"
        )

    def _against_head(self, head: Head, known: int) -> None:
        if head.lines > self.lines:
            self._fault(self.lines + 1, f"is missing: the head counts {head.lines} lines")
        elif self.head and self.at_head != head.last:
            self._fault(head.lines, "is not the line that the head knows under this number")
        elif self.lines > known + 1:
            self._fault(known + 1, f"and what follows it are unknown to the head, at line {known}")

    def _fault(self, line: int, text: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(line, text))
        elif not self.notes:
            self._note(line, f"is wrong too: only the first {MOST_FAULTS} faults are listed")

    def _note(self, line: int, text: str) -> None:
        self.notes.append(Fault(line, text))
