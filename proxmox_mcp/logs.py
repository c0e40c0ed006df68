"""Log lines of this process: JSON to files of its own, short words to stderr, nothing to stdout.

An event is a name with fields: ``log.info("tool.finished", extra={"tool": name, "ms": ms})``.
A field may not bear the name of a LogRecord attribute (name, args, module, ...): the standard
library raises KeyError at the call, and ruff's G101 finds it before.

Rule 1: stdout belongs to the protocol; no handler here ever gets it.
Rule 2: one set of files per process. Two processes that rotate one file lose lines without a word.
Rule 3: secrets are taken out in the formatters, the one place that every logger's lines pass.
"""

import copy
import logging
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any, Final, Literal, TextIO

from platformdirs import user_log_dir
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pythonjsonlogger.core import RESERVED_ATTRS, merge_record_extra
from pythonjsonlogger.json import JsonFormatter

from proxmox_mcp.redaction import Redactor, shown

# At INFO proxmoxer prints request bodies, at DEBUG urllib3 prints URLs with their queries and the
# mcp package prints whole requests: arguments of our tools, passwords among them.
QUIET: Final = {
    "proxmoxer": logging.WARNING,
    "proxmoxer.core": logging.WARNING,
    "proxmoxer.backends.https": logging.WARNING,
    "urllib3": logging.WARNING,
    "requests": logging.WARNING,
    "mcp": logging.INFO,
}


# --- settings --------------------------------------------------------------------------------


def _folder(value: object) -> object:
    path = Path(value).expanduser() if isinstance(value, str | Path) else value
    if not isinstance(path, Path) or not path.is_absolute():
        raise ValueError("must be an absolute path: the working directory is the client's choice")
    return path


def _level(value: object) -> object:
    word = value.strip().upper() if isinstance(value, str) else value
    return "WARNING" if word == "WARN" else word


class LogSettings(BaseModel):
    """Where log files go, how much goes in and how long they stay."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    folder: Annotated[Path, BeforeValidator(_folder)] = Field(
        default_factory=lambda: Path(user_log_dir("proxmox-mcp", appauthor=False))
    )
    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_level)] = "INFO"
    keep_days: int = Field(default=14, ge=1)
    max_bytes: int = Field(default=5_000_000, ge=1_000)
    backups: int = Field(default=3, ge=1)  # with 0 the standard library never rotates at all


# --- formatters ------------------------------------------------------------------------------

_NO_FIELDS: Final = frozenset({*RESERVED_ATTRS, "taskName"})
"""What a record has by itself; everything else in it is a field of the event."""


def _settled(record: logging.LogRecord) -> logging.LogRecord:
    """Give a copy whose message is final, even if its arguments do not fit the format."""
    record = copy.copy(record)
    if not isinstance(record.msg, dict):
        try:
            record.msg = record.getMessage()
        except Exception:  # noqa: BLE001  any __str__ or format error may come out of here
            record.msg = f"{shown(record.msg)} (arguments do not fit)"
        record.args = ()
    return record


class JsonLines(JsonFormatter):
    """One JSON object a line: our own keys first, then every field of the event."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Format a copy: other handlers get the record as it came."""
        return super().format(_settled(record))

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Put our keys in; a field that bears one of these names gets a trailing underscore."""
        moment = datetime.fromtimestamp(record.created, UTC)
        log_data["time"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["event"] = record.message
        log_data["pid"] = record.process
        for key in ("exc_info", "stack_info"):
            if key in message_dict:
                log_data[key] = message_dict[key]
        fields = {k: v for k, v in message_dict.items() if k not in ("exc_info", "stack_info")}
        merge_record_extra(record, fields, reserved=_NO_FIELDS)
        for key, value in fields.items():
            log_data[f"{key}_" if key in log_data else key] = value

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Redact last, when message, fields and traceback stand together."""
        clean: dict[str, Any] = self._redactor.value(log_data)
        return clean


class ShortLine(logging.Formatter):
    """One line for a human: level, event and its fields; the traceback is in the files."""

    _LONGEST: Final = 500

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Squeeze everything onto one line, whatever line breaks the values hold."""
        record = _settled(record)
        fields = dict(record.msg) if isinstance(record.msg, dict) else {}
        merge_record_extra(record, fields, reserved=_NO_FIELDS)
        words = [] if isinstance(record.msg, dict) else [record.msg]
        words += [f"{key}={value}" for key, value in self._redactor.value(fields).items()]
        if record.exc_info and record.exc_info[1]:
            words.append(f"({type(record.exc_info[1]).__name__}: {shown(record.exc_info[1])})")
        line = " ".join(self._redactor.text(" ".join(words)).split())
        line = line if len(line) <= self._LONGEST else f"{line[: self._LONGEST]}..."
        return f"proxmox-mcp: {record.levelname.lower()}: {line}"


# --- handlers --------------------------------------------------------------------------------


def _say_once(handler: logging.Handler, stream: TextIO | None) -> None:
    """Report a failing handler; the standard library would print the unredacted arguments."""
    if stream is None or getattr(handler, "_has_failed", False):
        return
    handler._has_failed = True  # type: ignore[attr-defined]  # noqa: SLF001  our own mark
    reason = type(sys.exception()).__name__
    with suppress(OSError, ValueError):
        stream.write(f"proxmox-mcp: warning: a log line was lost ({reason})\n")


class _File(RotatingFileHandler):
    """A rotating file that only its owner may read."""

    stderr: TextIO | None = None
    _line: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line that is formatted once: it would be again, to see whether it fits."""
        try:
            super().emit(record)
        finally:
            self._line = None

    def format(self, record: logging.LogRecord) -> str:
        """Format the record under way; handlers take one after the other, under a lock."""
        if self._line is None:
            self._line = super().format(record)
        return self._line

    def _open(self) -> Any:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, self.mode, encoding="utf-8", opener=private)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  its name there
        _say_once(self, self.stderr)


class _Stderr(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  its name there
        _say_once(self, self.stream)


class _Passing(QueueHandler):
    """Hands records on as they are: they stay in this process, and formatters work on copies."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


class _Listener(QueueListener):
    """Writes what was handed on, in a thread of its own; its end has a bound."""

    _PATIENCE: Final = 1.0

    def ended(self) -> bool:
        """Have everything written, and say whether it is: nobody may be reading stderr."""
        self.enqueue_sentinel()
        if self._thread:
            self._thread.join(self._PATIENCE)
        return not (self._thread and self._thread.is_alive())


# --- start and stop --------------------------------------------------------------------------

_OURS = re.compile(r"(?:combined|error)-\d{8}-\d{6}-\d+\.jsonl(?:\.\d+)?")


class _Running:
    """The handlers now at work, what leads to them from another thread, and the level before."""

    handlers: tuple[logging.Handler, ...] = ()
    passing: logging.Handler | None = None
    listener: _Listener | None = None
    level_before: int = logging.WARNING
    ending: Final = threading.Lock()


def start(
    settings: LogSettings, *, secrets: Iterable[str] = (), stderr: TextIO | None = None
) -> Path | None:
    """Send every logger's lines to this process's files, and warnings to stderr as well.

    ``combined-*.jsonl`` gets all lines from `settings.level` up, ``error-*.jsonl`` those from
    WARNING up, so that the short file shows what led to an error. Calling it again replaces the
    first set of handlers.

    Returns:
        The path of the combined file, or None when the folder cannot be written and stderr is
        all there is.
    """
    stop()
    redactor = Redactor(secrets)
    stream = stderr or sys.stderr
    folder_fault = _prepare(settings)
    handlers = list[logging.Handler]()
    if stream is not None:  # pythonw has none
        handlers.append(_dressed(_Stderr(stream), logging.WARNING, ShortLine(redactor)))
    combined: Path | None = None
    if folder_fault is None:
        stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.jsonl"
        combined = settings.folder / f"combined-{stamp}"
        for path, level in (
            (combined, logging.DEBUG),
            (settings.folder / f"error-{stamp}", logging.WARNING),
        ):
            file = _File(
                path, maxBytes=settings.max_bytes, backupCount=settings.backups, delay=True
            )
            file.stderr = stream
            handlers.append(_dressed(file, level, JsonLines(redactor)))
    _install(handlers, settings.level)
    if folder_fault is not None and stream is not None:  # said even when the level is ERROR
        stream.write(f"proxmox-mcp: warning: no log files, {settings.folder}: {folder_fault}\n")
    return combined


def write_aside() -> None:
    """Have lines written by a thread of their own from now on.

    For a server: a slow disk then keeps no call waiting. And with each write on the event loop the
    interpreter would go to another thread, which gives it back after 5 ms where it has much to do.
    """
    root, lines = logging.getLogger(), SimpleQueue[logging.LogRecord]()
    for handler in _Running.handlers:
        root.removeHandler(handler)
    _Running.passing = _Passing(lines)
    _Running.listener = _Listener(lines, *_Running.handlers, respect_handler_level=True)
    _Running.listener.start()
    root.addHandler(_Running.passing)


def stop() -> None:
    """Flush and close what `start` opened and leave the root logger as it was before.

    The loggers in `QUIET` stay quiet: whoever logs after us must not get request bodies either.
    """
    root = logging.getLogger()
    with _Running.ending:  # two threads may end a process
        written = True
        if _Running.passing and _Running.listener:
            root.removeHandler(_Running.passing)
            written = _Running.listener.ended()
        for handler in _Running.handlers:
            root.removeHandler(handler)
            if written:  # or its thread hangs in a write, and holds the handler's lock
                with suppress(OSError, ValueError):
                    handler.flush()
                handler.close()
        if _Running.handlers:
            root.setLevel(_Running.level_before)
        _Running.handlers, _Running.passing, _Running.listener = (), None, None


def _dressed(handler: logging.Handler, level: int, formatter: logging.Formatter) -> logging.Handler:
    handler.setLevel(level)
    handler.setFormatter(formatter)
    return handler


def _install(handlers: Iterable[logging.Handler], level: str) -> None:
    root = logging.getLogger()
    _Running.level_before, _Running.handlers = root.level, tuple(handlers)
    root.setLevel(level)
    for handler in _Running.handlers:
        root.addHandler(handler)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))


def _prepare(settings: LogSettings) -> str | None:
    """Make the folder, prove that it can be written, and tidy it; say what went wrong."""
    try:
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.folder):
            pass
        _prune(settings.folder, older_than=time.time() - settings.keep_days * 86_400)
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def _prune(folder: Path, older_than: float) -> None:
    for path in folder.iterdir():
        with suppress(OSError):  # another process may be tidying the same folder
            if _OURS.fullmatch(path.name) and path.stat().st_mtime < older_than:
                path.unlink()
