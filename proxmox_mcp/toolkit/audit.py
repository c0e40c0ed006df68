"""The audit trail: a file that only grows, one JSON object a line, each naming the line before.

Every line begins with ``prev``, the SHA-256 of the bytes of the line before it without its newline;
the first has 64 zeros there. Beside the trail lies ``<file>.head``: how many lines there are and
the hash of the last, so that a last line cut off or changed is found as well. Around every append
``<file>.lock`` is held: several processes and threads may write to one trail.

Rule 1: nothing here truncates or rewrites the trail; what is there stays, whatever it is.
Rule 2: a crash costs at most the line that was being written. Such a torn line is ended by the
next append, whose record says ``after_torn`` and names the last whole line in ``whole``.
Rule 3: the head is one line behind at most, and never ahead: it is put right before a line is
begun. When it does not fit, the next record keeps what it said in ``head_was``, so that writing on
does not cover up that a line was cut off.
Rule 4: an error names the file and the reason, never what was to be recorded.

What this cannot do: there is no key in the chain. Who can write both files can forge a whole new
trail, or take both away; who can write the trail can add a line of their own at its end. Send
copies elsewhere. To begin a new trail, move the file and its head away together.
"""

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

LOCK_SECONDS: Final = 10.0
NOTHING_BEFORE: Final = "0" * 64
_POLL_SECONDS: Final = 0.005  # the library's own 50 ms let one busy process starve the others
_BLOCK: Final = 65_536
_LOOK_BACK: Final = 8  # lines; two crashes in a row leave two torn ones, more are nobody's crash
_OURS: Final = frozenset({"prev", "after_torn", "whole", "head_was"})
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)  # without it Windows writes \r\n


class TrailError(Exception):
    """The trail cannot be written or read; the text names the file and says why."""


# --- writing ---------------------------------------------------------------------------------


class Trail:
    """Adds records to the end of one file; making it touches nothing."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record and return when it is on the disk; blocks, for 10 seconds at most.

        An append that raises may still have left its line, whole or torn: nothing is taken back.

        Raises:
            TrailError: It cannot be written, or somebody else held the lock for too long.
        """
        with self._held() as trail:
            _add(self._file, trail, record)

    def probe(self) -> None:
        """Make sure that a record could be added, and add none.

        Raises:
            TrailError: It could not.
        """
        with self._held():
            pass

    @contextmanager
    def _held(self) -> Iterator[int]:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(self._file), _opened(self._file, os.O_RDWR | os.O_APPEND) as trail:
                yield trail
        except OSError as error:
            raise failed(self._file, "written", error) from error


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout  # noqa: PLC0415  what reads only starts without it

    lock = FileLock(f"{file}.lock", mode=0o600)
    try:
        lock.acquire(timeout=LOCK_SECONDS, poll_interval=_POLL_SECONDS)
    except Timeout:
        raise TrailError(
            f"The audit trail {file} cannot be written: another process or thread has held its"
            f" lock, {file}.lock, for {LOCK_SECONDS:g} seconds."
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CREAT | _BINARY, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def _add(file: Path, trail: int, record: Mapping[str, Any]) -> None:
    tail, head = _Tail.of(trail), Head.beside(file)
    marks = tail.marks()
    lines = _lines_before(head, tail)
    if lines is None:
        marks["head_was"] = head and asdict(head)
    elif head != (settled := Head(lines, tail.last)):
        settled.write(file)
    line = _encoded(file, {"prev": tail.last} | marks, record)
    if not tail.ended:
        _write(trail, b"\n")
    if lines is None:
        lines = _counted(trail)
    _write(trail, line + b"\n")
    Head(lines + 1, hashed(line)).write(file)


def _encoded(file: Path, own: dict[str, Any], record: Mapping[str, Any]) -> bytes:
    whole = own | {key: value for key, value in record.items() if key not in _OURS}
    try:
        text = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise TrailError(
            f"The audit trail {file} cannot be written: the record is not plain JSON data."
        ) from None
    # Half a surrogate pair has no form in UTF-8; what this puts there is JSON's own escape for it.
    return text.encode("utf-8", "backslashreplace")


def _write(descriptor: int, data: bytes) -> None:
    if os.write(descriptor, data) != len(data):
        raise OSError(errno.ENOSPC, "the disk took only a part of the line")
    os.fsync(descriptor)


def failed(file: Path, done: str, error: OSError) -> TrailError:
    """Put into words why the trail could not be read or written."""
    reason = error.strerror or type(error).__name__
    elsewhere = f" ({error.filename})" if error.filename not in (None, str(file)) else ""
    return TrailError(f"The audit trail {file} cannot be {done}: {reason}{elsewhere}.")


# --- the end of the file, and what is known of it ----------------------------------------------


def hashed(line: bytes) -> str:
    """Return the hash of a line, by which the next one names it."""
    return sha256(line).hexdigest()


def parsed(line: bytes) -> dict[str, Any] | None:
    """Read a line; None where it is torn, or no record."""
    try:
        found = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True)
class Head:
    """How many lines there are, and the hash of the last."""

    lines: int = 0
    last: str = NOTHING_BEFORE

    @classmethod
    def beside(cls, file: Path) -> "Head | None":
        """Read the head of this trail; None when there is none that makes sense."""
        try:
            found = parsed(head_path(file).read_bytes())
        except FileNotFoundError:
            return None
        match found:
            case {"lines": int(lines), "last": str(last)}:
                return cls(lines, last)
        return None

    def write(self, file: Path) -> None:
        """Replace the head of this trail in one step."""
        new = Path(f"{file}.head.new")
        new.unlink(missing_ok=True)  # a crash may have left one
        with _opened(new, os.O_WRONLY | os.O_EXCL) as descriptor:
            _write(descriptor, json.dumps(asdict(self)).encode())
        os.replace(new, head_path(file))  # noqa: PTH105  one name for all the calls that can fail
        _sync_folder(file.parent)


def head_path(file: Path) -> Path:
    """Return where the head of a trail lies."""
    return Path(f"{file}.head")


def _sync_folder(folder: Path) -> None:
    """Make new names last through a power cut, where a folder can be opened at all."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class _Tail:
    """The last few lines, and whether the very last one has its newline."""

    lines: list[bytes]
    ended: bool

    @classmethod
    def of(cls, trail: int) -> "_Tail":
        """Read from the end, as little as will do."""
        blocks, newlines = list[bytes](), 0
        with open(trail, "rb", closefd=False) as file:
            start = file.seek(0, os.SEEK_END)
            while start and newlines <= _LOOK_BACK:
                size = min(_BLOCK, start)
                start -= size
                file.seek(start)
                blocks.append(file.read(size))
                newlines += blocks[-1].count(b"\n")
        *lines, rest = b"".join(reversed(blocks)).split(b"\n")[-_LOOK_BACK - 1 :]
        return cls([*lines, rest], ended=False) if rest else cls(lines, ended=True)

    @property
    def last(self) -> str:
        return hashed(self.lines[-1]) if self.lines else NOTHING_BEFORE

    @property
    def before_last(self) -> str:
        return hashed(self.lines[-2]) if len(self.lines) > 1 else NOTHING_BEFORE

    def marks(self) -> dict[str, Any]:
        """What the next record says about a torn line before it."""
        whole = [line for line in self.lines if parsed(line) is not None]
        if self.ended and whole[-1:] == self.lines[-1:]:
            return {}
        return {"after_torn": True, "whole": hashed(whole[-1]) if whole else NOTHING_BEFORE}


def _lines_before(head: Head | None, tail: _Tail) -> int | None:
    """How many lines there are by the head; None when it does not fit the end of the file."""
    if head is None:
        return None if tail.lines else 0
    if head.last == tail.last:
        return head.lines
    crashed = tail.lines and (not tail.ended or parsed(tail.lines[-1]) is not None)
    return head.lines + 1 if crashed and head.last == tail.before_last else None


def _counted(trail: int) -> int:
    with open(trail, "rb", closefd=False) as file:
        file.seek(0)
        return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))


# --- reading ---------------------------------------------------------------------------------


def read(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Go through the records, each with its line number; what is torn or no JSON is left out.

    Raises:
        TrailError: The file cannot be read, or there is none.
    """
    for number, raw in enumerate(lines_of(file), 1):
        record = parsed(raw)
        if record is not None:
            yield number, record


def lines_of(file: Path) -> Iterator[bytes]:
    """Go through the lines as they are, newline included.

    One without a newline is the last, even where more has come by now: it was torn, or is being
    written, and what follows is the rest of it and no line.
    """
    try:
        with file.open("rb") as trail:
            for line in trail:
                yield line
                if not line.endswith(b"\n"):
                    return
    except OSError as error:
        raise failed(file, "read", error) from error
