"""Looking at the audit trail: is it whole, and what has been changed, when and by whom.

Exit codes: 0 all is well; 1 the trail has faults, or there is nothing to look at.

Names, clients and task ids in it are other people's words: nothing is printed as it stands there.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TextIO

from proxmox_mcp.toolkit import audit, tampering
from proxmox_mcp.toolkit.text import clean_line

COLUMNS: Final = 120
OPEN: Final = "open (no end recorded)"
_GAP: Final = "  "
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


# --- verify ----------------------------------------------------------------------------------


def verify(file: Path, out: TextIO) -> int:
    """Print what is wrong with the trail, line by line, or that nothing is."""
    try:
        verdict = tampering.verify(file)
    except audit.TrailError as error:
        return _refused(out, str(error))
    if not verdict.faults and not file.exists():
        return _refused(out, _nothing_there(file))
    for found, word in [(fault, "") for fault in verdict.faults] + [
        (note, "note: ") for note in verdict.notes
    ]:
        where = f"line {found.line} " if found.line else ""
        _say(out, f"{file}: {word}{where}{found.text}.")
    if verdict.faults:
        return 1
    lines = "1 line" if verdict.lines == 1 else f"{verdict.lines} lines"
    _say(out, f"{file}: {lines}, nothing changed, missing or out of order.")
    return 0


# --- show ------------------------------------------------------------------------------------


def show(file: Path, out: TextIO, *, guest: str | None, since: str | None, as_json: bool) -> int:
    """Print the recorded calls, oldest first: one row each, or their records as JSON lines.

    Args:
        file: The trail.
        out: Where to print.
        guest: Only calls on the guest with this id or name.
        since: Only calls that began after this: ``30m``, ``12h``, ``1d``, ``2w`` ago, or a date
            or time as ISO writes it, in UTC unless it says otherwise.
        as_json: Print every record of these calls, in the trail's order.

    Raises:
        ValueError: *guest* or *since* makes no sense.
    """
    if guest is not None and not guest.strip():
        raise ValueError("A guest is named by its id, such as 105, or by its name.")
    earliest = None if since is None else moment(since, now=datetime.now(UTC))
    if not file.exists():
        return _refused(out, _nothing_there(file))
    try:
        calls = [call for call in _calls(file) if call.is_on(guest) and call.began_after(earliest)]
    except audit.TrailError as error:
        return _refused(out, str(error))
    for line in _raw(calls) if as_json else _table(calls):
        _say(out, line)
    return 0


def moment(since: str, *, now: datetime) -> datetime:
    """Read ``30m``, ``12h``, ``1d``, ``2w`` before *now*, or a date or time in ISO's form.

    Raises:
        ValueError: It is neither.
    """
    ago = re.fullmatch(r"([0-9]{1,9})([mhdw])", since.strip())
    try:
        if ago:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return _utc(datetime.fromisoformat(since.strip()))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{clean_line(since)!r} is no time: give how long ago, such as 30m, 12h, 1d or 2w,"
            " or a date or time, such as 2026-11-26 or 2026-11-26T10:00."
        ) from None


def _utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


@dataclass(slots=True)
class _Call:
    """The records of one call, each with its line number."""

    records: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def value(self, key: str) -> Any:
        """Return what the last record that has this key says."""
        return next((each[key] for _, each in reversed(self.records) if key in each), None)

    @property
    def began(self) -> datetime | None:
        try:
            return _utc(datetime.fromisoformat(self.records[0][1]["time"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    def is_on(self, guest: str | None) -> bool:
        """Whether any of its records names this guest."""
        names = {name for _, record in self.records for name in _guest(record.get("guest"))}
        return guest is None or guest.strip() in names

    def began_after(self, earliest: datetime | None) -> bool:
        """Whether it is recent enough; one without a readable time is never left out."""
        return earliest is None or self.began is None or self.began >= earliest

    def row(self) -> tuple[str, ...]:
        ended = any(record.get("event") == "end" for _, record in self.records)
        return (
            f"{self.began:%Y-%m-%d %H:%M:%S}" if self.began else "?",
            _word(self.value("tool")),
            " ".join(filter(None, _guest(self.value("guest")))) or "-",
            _word(self.value("outcome")) if ended else OPEN,
            _word(self.value("confirmed")),
            _word(self.value("client")),
            _word(self.value("upid")),
        )


def _guest(value: object) -> tuple[str, str]:
    """Return id and name, each empty when it is not there."""
    found = value if isinstance(value, dict) else {}
    return _word(found.get("vmid", "")), _word(found.get("name", ""))


def _calls(file: Path) -> list[_Call]:
    """Join the records of each call; one that names no call stands for itself."""
    calls = dict[str | int, _Call]()
    for number, record in audit.read(file):
        call = record.get("call")
        key = call if isinstance(call, str) else number
        calls.setdefault(key, _Call()).records.append((number, record))
    return list(calls.values())


def _raw(calls: list[_Call]) -> list[str]:
    # Escaped as JSON escapes it, hostile text reaches no terminal and is still the same text.
    records = sorted((entry for call in calls for entry in call.records), key=lambda each: each[0])
    return [json.dumps(record, separators=(",", ":")) for _, record in records]


# --- the table -------------------------------------------------------------------------------

_HEADINGS: Final = ("time (UTC)", "tool", "guest", "outcome", "confirmed", "who", "UPID")
_LEAST: Final = (19, 24, 10, 22, 9, 12, 12)  # with the gaps 120
_FIRST_TO_SHRINK: Final = (6, 5, 2, 1, 3, 4, 0)


def _table(calls: list[_Call]) -> list[str]:
    if not calls:
        return ["No recorded call matches."]
    rows = [_HEADINGS, *(call.row() for call in calls)]
    widths = _widths(rows)
    return [_GAP.join(map(_fitted, row, widths)).rstrip() for row in rows]


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    """Give every column what it wants, and take what is too much from the less telling ones."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for column in _FIRST_TO_SHRINK:
        too_much = sum(widths) + len(_GAP) * (len(widths) - 1) - COLUMNS
        if too_much > 0:
            widths[column] = max(min(_LEAST[column], widths[column]), widths[column] - too_much)
    return widths


def _fitted(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"


def _word(value: object) -> str:
    """Show a value from the trail on one line, without what drives a terminal."""
    known = isinstance(value, str | int | float)
    return " ".join(clean_line(value).split()) if known else "-"


# --- words -----------------------------------------------------------------------------------


def _nothing_there(file: Path) -> str:
    return f"{file}: nothing has been recorded there; the file does not exist."


def _refused(out: TextIO, sentence: str) -> int:
    _say(out, sentence)
    return 1


def _say(out: TextIO, line: str) -> None:
    """Write one line, with a question mark for what the terminal's encoding does not have."""
    encoding = out.encoding or "utf-8"
    out.write(line.encode(encoding, "replace").decode(encoding) + "\n")
