"""Prints the interop table; ``--write`` also writes it to docs/interop.md.

It ends with 1 when a cell is not as it should be, or when the page does not say what was seen.
"""

import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.interop import conformance, door
from tests.interop.facts import CANNOT, COLUMNS, OK, SPOKEN
from tests.interop.node import INSTALLED, NEEDED
from tests.interop.rows import ROWS, Row
from tests.process.server_process import ROOT

DOCUMENT = ROOT / "docs" / "interop.md"
LANES = 4
"""So many clients are under way at once: half of each one's time is waiting for tasks."""

HEAD = f"""\
# Who can use it

`make interop` makes this page: it installs the clients of others, lets each use the real server on
the simulated cluster, and fails when a cell is not `{OK}` or this page says something else.
`make interop WRITE=1` writes it anew.

Two eras: clients of the *legacy* one shake hands ({SPOKEN["legacy"]} and before), those of the
*modern* one send everything with each request ({SPOKEN["modern"]}). `{CANNOT}` stands where a
client has no way to do it, or the protocol no such thing.

- **tools**: exactly those on offer are listed; a refused call is a failure, with its reason.
- **structured results**: a guest's state as data, held by the client against the tool's schema.
- **progress**: steps arrive while a task is waited for.
- **elicitation**: a snapshot is to be deleted: after a no it is still there, after a yes not.
- **resources**, **prompts**, **completion**: listed, read, filled in.

All over stdio, the server started by the client:
"""

BETWEEN = f"""\
The protocol's conformance suite, as far as it is about servers in general; the rest of it asks for
tools, resources and prompts that only its own example server has. It knows no stdio, so the tests
open a door over HTTP, on loopback, to the same server object. {conformance.TITLE}:
"""

Table = Sequence[Sequence[str]]


def _markdown(head: Sequence[str], body: Table) -> str:
    lines = (head, ["---"] * len(head), *body)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _clients(pool: ThreadPoolExecutor, folder: Path) -> Table:
    homes = [folder / str(number) for number in range(len(ROWS))]
    seen = pool.map(Row.cells, ROWS, homes)
    return [[row.client, row.era, *cells.values()] for row, cells in zip(ROWS, seen, strict=True)]


def _conformance(folder: Path) -> Table:
    with door.opened(folder) as url:
        seen = [conformance.verdicts(url, version, folder) for version in conformance.VERSIONS]
    return [[scenario, *(each[scenario] for each in seen)] for scenario in seen[0]]


def _seen() -> tuple[Table, Table]:
    """Let all clients and the conformance suite use servers."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary,
        ThreadPoolExecutor(LANES) as pool,
    ):
        conformed = pool.submit(_conformance, Path(temporary) / "conformance")
        return _clients(pool, Path(temporary)), conformed.result()


def _page(clients: Table, scenarios: Table) -> str:
    tables = (
        _markdown(["client", "era", *COLUMNS], clients),
        _markdown(["scenario", *conformance.VERSIONS], scenarios),
    )
    return "\n".join((HEAD, tables[0], BETWEEN, tables[1]))


def main(words: Sequence[str]) -> int:
    """Print the table, and return the exit code."""
    if not INSTALLED.exists():
        sys.stderr.write(f"{NEEDED}\n")
        return 1
    clients, scenarios = _seen()
    page = _page(clients, scenarios)
    sys.stdout.write(page)
    if "--write" in words:
        DOCUMENT.write_text(page, "utf-8")
    marks = [cell for _, _, *row in clients for cell in row]
    marks += [cell for _, *row in scenarios for cell in row]
    if wrong := [cell for cell in marks if cell not in {OK, CANNOT}]:
        sys.stderr.write(f"\n{len(wrong)} cells are not {OK}.\n")
        return 1
    if page != DOCUMENT.read_text("utf-8"):
        sys.stderr.write("\ndocs/interop.md says something else: make interop WRITE=1\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
