"""The rows as a table to read in a terminal, and as a document that changes only with behaviour."""

import re
from collections.abc import Iterable

from benchmarks.rows import OTHERS_SECONDS, Row

WIDTH = 120
PREFIX = "proxmox_"
BUCKETS = (5, 9, 15)
QUOTED = 160
HEAD = ("fault", "tool", "R", "W", "acc.", "told", "ms", "others", "")
FORM = "{:<51} {:<19} {:>3} {:>3} {:>4}  {:<9} {:>6} {:>7}  {}"

# What differs from run to run, and says nothing about behaviour.
_PASSING = (
    (r"UPID:[^\s\"]+", "UPID:…"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:8006"),
    (r"bench\.invalid:\d+", "bench.invalid:8006"),
    (r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", "AB:CD:…"),
    (r"for \d+ s", "for … s"),
    (r"again in \d+ s", "again in … s"),
    (r"\d{4}-\d\d-\d\dT[\d:+Z-]+", "…"),
    (r'("(?:uptime_s|cpu_percent|memory_percent|memory_used_bytes)"):[^,}]+', r"\1:…"),
    (r'"load":\[[^]]*\]', '"load":…'),
    (r"<(/?)log-[0-9a-f]+>", r"<\1log-…>"),
    (r"x{40,}", "xxx…"),
)

INTRODUCTION = """\
# What happens under faults

`make faults` writes this page: the real server as a process, a simulated cluster behind real TLS,
and between them a relay that fails byte by byte. One fault a row, each with a fresh
cluster; a wrong row fails the run.

- **requests**: what reached the cluster, questions + changes (a renewed login counts as one).
  **accepted**: how often the cluster accepted the change.
- **told**: what the model is told of the change. It is held against the simulated cluster's real
  state (**truth**) and against what could be known: `unknown` is right only where nobody can tell.
- **others**: whether `ping` and `tools/list` were answered within two seconds all the while.
- A row is wrong where a change was carried out twice, the answer was false, late or missing, other
  calls stood still, or a secret or a traceback was shown.
- Waits that are settings are a tenth of their defaults, and so is what the faults delay: a timeout
  of 3.5 s stands for one of 35 s, a storage that lists after 2 s for one that takes 20 s.
"""


def printed(rows: Iterable[Row]) -> str:
    """Lay the rows out for 120 columns: figures in one line, what the model read in the next."""
    lines = [FORM.format(*HEAD)]
    for row in rows:
        cells = _cells(row)
        lines.append(FORM.format(*cells).rstrip())
        lines.append("    " + cut(row.text, WIDTH - 4))
        lines += [f"    WRONG: {words}" for words in row.wrong]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[object, ...]:
    return (
        row.fault.name,
        row.fault.subject.tool.removeprefix(PREFIX),
        row.reads,
        row.writes,
        row.accepted if row.truth else "-",
        row.told,
        round(row.seconds * 1000),
        "went on" if row.others <= OTHERS_SECONDS else "stood",
        "WRONG" if row.wrong else "",
    )


def document(rows: Iterable[Row]) -> str:
    """Write the page."""
    head = "| fault | tool | requests | accepted | told | truth | took | others | the model read |"
    lines = [INTRODUCTION, head, "|" + " --- |" * head.count(" |")]
    lines += ["| " + " | ".join(_columns(row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _columns(row: Row) -> tuple[str, ...]:
    return (
        row.fault.name,
        f"`{row.fault.subject.tool}`",
        f"{_some(row.reads)} + {row.writes}",
        str(row.accepted) if row.truth else "-",
        row.told,
        row.truth or "-",
        bucket(row.seconds),
        "went on" if row.others <= OTHERS_SECONDS else "stood still",
        _quoted(row.text),
    )


def _some(requests: int) -> str:
    # How often a task is looked at depends on the moment.
    return str(requests) if requests < 4 else "4 or more"  # noqa: PLR2004 - as above


def bucket(seconds: float) -> str:
    """Say roughly how long something took.

    >>> bucket(0.4)
    '< 5 s'
    """
    return next((f"< {limit} s" for limit in BUCKETS if seconds < limit), f"> {BUCKETS[-1]} s")


def _quoted(text: str) -> str:
    return cut(text, QUOTED).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def cut(text: str, width: int) -> str:
    """Bring a text into one line of this width.

    >>> cut("one   two three", 9)
    'one two…'
    """
    line = " ".join(steady(text).split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def steady(text: str) -> str:
    """Take out what differs from run to run.

    >>> steady("the connection to 127.0.0.1:40123 broke")
    'the connection to 127.0.0.1:8006 broke'
    """
    for pattern, words in _PASSING:
        text = re.sub(pattern, words, text)
    return text
