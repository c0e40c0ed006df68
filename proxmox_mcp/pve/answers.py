"""The shapes an answer may have: what is in none of them is no answer.

Perl keeps no types, so a guest named 007 may arrive as a number and a figure as a text; and what
answers may be of a version that nobody here has seen. Every known field therefore is brought into
the form that it has in Proxmox's schema, and one that cannot be is taken out as though it had not
been said: an unknown figure is left out of a list, and does not take the list down. Where a reader
cannot do without a field, reading it says which one is missing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from proxmox_mcp.pve.errors import BadAnswer

RESOURCES = "/cluster/resources"
YEAR_10000 = 253_402_300_800
LARGEST = 2**63


class Listing(list[Any]):
    """A list that knows more than its entries.

    Attributes:
        total: How many there are in all: Proxmox says so beside ``data``.
        by_key: The guests in it, to find them by; None where it is not the cluster's list of them.
    """

    total: int | None = None
    by_key: "Index | None" = None


Index = dict[int | str, list[dict[str, Any]]]
"""Guests by their id, and by their name in lower case."""


class Record(dict[str, Any]):
    """An object out of an answer, read strictly.

    Attributes:
        path: Which part of the API gave it.
    """

    __slots__ = ("path",)  # a cluster's list has thousands of them
    path: str

    def __missing__(self, field: str) -> Any:
        raise BadAnswer(
            f"{self.path} answered with an entry whose field {field} is missing or of the wrong"
            " form."
        )


def total_of(rows: list[Any]) -> int | None:
    """Return how many there are in all, *rows* being a part of them; None where it is not said."""
    return rows.total if isinstance(rows, Listing) else None


def as_rows(answer: Any, path: str) -> Listing:
    """Check that an answer is a list of objects, and bring their fields into form.

    Raises:
        BadAnswer: It is something else.
    """
    if not isinstance(answer, list):
        raise BadAnswer(f"{path} should answer with a list and answered with {_shape(answer)}.")
    odd = next((row for row in answer if not isinstance(row, dict)), None)
    if odd is not None or None in answer:
        raise BadAnswer(
            f"{path} should answer with a list of objects and answered with a list with"
            f" {_shape(odd)} in it."
        )
    rows = Listing(_formed(row, path) for row in answer)
    rows.total = total_of(answer)
    if path == RESOURCES:
        rows.by_key = _indexed(rows)
    return rows


def _indexed(rows: list[dict[str, Any]]) -> Index:
    index: Index = {}
    for row in rows:
        for key in (row.get("vmid"), str(row.get("name", "")).lower()):
            if key is not None:
                index.setdefault(key, []).append(row)
    return index


def as_record(answer: Any, path: str) -> dict[str, Any]:
    """Check that an answer is one object, and bring its fields into form.

    Raises:
        BadAnswer: It is something else.
    """
    if isinstance(answer, dict):
        return _formed(answer, path)
    raise BadAnswer(f"{path} should answer with an object and answered with {_shape(answer)}.")


def _shape(answer: Any) -> str:
    return "nothing" if answer is None else f"a {type(answer).__name__}"


def number(value: Any) -> int | float | None:
    """Read a figure, also one written as text; None where it is none.

    >>> number("0.58"), number([]), number(float("nan"))
    (0.58, None, None)
    """
    if type(value) is str:
        try:
            value = float(value) if len(value) <= len(str(LARGEST)) else None
        except ValueError:
            return None
    if type(value) is not int and type(value) is not float:  # True is an int as well, and no figure
        return None
    return value if -LARGEST < value < LARGEST else None  # what is no number is not between them


def whole(value: Any) -> int | None:
    """Read a whole number; None where it is none."""
    read = number(value)
    if type(read) is int:
        return read
    return int(read) if read is not None and read == int(read) else None


def moment(value: Any) -> int | None:
    """Read seconds since 1970; None where no calendar has them."""
    read = number(value)
    return int(read) if read is not None and 0 <= read < YEAR_10000 else None


def words(value: Any) -> str | None:
    """Read a text; a name of digits may have come as a number."""
    if isinstance(value, str):
        return value
    return None if number(value) is None else str(value)


def _texts(value: Any) -> list[str] | None:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else None


def _fields(*names: str, read: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    return dict.fromkeys(names, read)


READERS: Mapping[str, Callable[[Any], Any]] = {
    **_fields("vmid", "pos", "n", "pid", "exitcode", "signal", "uptime", "sockets", read=whole),
    **_fields("mem", "maxmem", "disk", "maxdisk", "used", "total", "size", "netin", read=whole),
    **_fields("netout", "diskread", "diskwrite", read=whole),
    **_fields("cpu", "maxcpu", "cpus", "wait", read=number),
    **_fields("starttime", "endtime", "ctime", "snaptime", read=moment),
    **_fields("name", "type", "node", "status", "qmpstatus", "lock", "tags", "pool", read=words),
    **_fields("storage", "plugintype", "content", "volid", "notes", "upid", "id", read=words),
    **_fields("user", "exitstatus", "t", "digest", "parent", "description", "key", read=words),
    **_fields("action", "macro", "proto", "source", "sport", "dest", "dport", read=words),
    **_fields("iface", "log", "comment", "state", "release", "mode", "model", read=words),
    **_fields("pveversion", "kversion", "running-machine", "running-qemu", read=words),
    **_fields("out-data", "err-data", read=words),
    **_fields("allowed_nodes", "allowed-nodes", "local_resources", read=_texts),
}
"""What a field is, by its name, wherever it stands but in a configuration."""

OBJECTS = frozenset(
    {"ha", "cpuinfo", "memory", "swap", "rootfs", "ksm", "current-kernel", "boot-info"}
    | {"verification", "not_allowed_nodes", "not-allowed-nodes"}
)
CONFIGURATIONS = ("/config", "/pending", "/options")
"""There every key is a guest's own, and its value is shown as it is."""


_TEXTS = frozenset(name for name, read in READERS.items() if read is words)
_FIGURES = frozenset(name for name, read in READERS.items() if read in (whole, number))


def _formed(answer: Mapping[str, Any], path: str) -> Record:
    record = Record(answer)
    record.path = path
    read = _read_own if path.endswith(CONFIGURATIONS) else _read
    for name, value in answer.items():
        # Most are as they should be. In a list of thousands that has to be seen at a glance.
        if type(value) is str and name in _TEXTS:
            continue
        if type(value) is int and name in _FIGURES and -LARGEST < value < LARGEST:
            continue
        kept = read(name, value, path)
        if kept is None:
            del record[name]
        elif kept is not value:
            record[name] = kept
    return record


def _read(name: str, value: Any, path: str) -> Any:
    if reader := READERS.get(name):
        return reader(value)
    if type(value) is dict:
        return _formed(value, path)
    if name == "local_disks":
        return as_rows(value, path)
    return None if name in OBJECTS else value


def _read_own(name: str, value: Any, _path: str) -> Any:
    return words(value) if name in ("digest", "key") else value
