"""The interop table: what stands in it is so, and its judge sees what is not as it should be."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.interop import conformance, door
from tests.interop.__main__ import DOCUMENT
from tests.interop.facts import CANNOT, COLUMNS, OK, Facts, cells
from tests.interop.node import HERE, INSTALLED, NEEDED
from tests.interop.rows import ROWS, Row
from tests.process.environments import INSTALL_SECONDS
from tests.process.server_process import OFFERED, ROOT

pytestmark = pytest.mark.timeout(2 * INSTALL_SECONDS)

installed = pytest.mark.skipif(not INSTALLED.exists(), reason=NEEDED)
HERE_TOO = [row for row in ROWS if not row.needs_node and row.client.endswith("2.x")]
BY_NPM = [pytest.param(row, marks=installed) for row in ROWS if row.needs_node]
UPID = "UPID:pve2:00000513:020F5800:6B081727:vzdump:105:root@pam:"

SEEN: Facts = {
    "protocol": "2026-07-28",
    "tools": OFFERED,
    "refused": {"error": True, "text": "no guest 999"},
    "structured": {"vmid": 100, "name": "web-01"},
    "progress": {
        "asked": UPID,
        "waited": {"upid": UPID, "state": "running"},
        "steps": [[0.1, 2, "vzdump 105"], [0.5, 2, "vzdump 105"]],
    },
    "made": {"error": False, "text": "taken"},
    "declined": {"error": True, "asked": "Delete snapshot interop?", "left": ["interop"]},
    "accepted": {"error": False, "asked": "Delete snapshot interop?", "left": []},
    "resources": ["proxmox://cluster"],
    "templates": ["proxmox://guests/{vmid}"],
    "resource": "web-01",
    "prompts": ["diagnose_guest", "health_check"],
    "prompt": "guest 100",
    "completion": ["web-01"],
}


@pytest.mark.parametrize("row", [*HERE_TOO, *BY_NPM], ids=str)
def test_a_client_sees_what_there_is_to_see(row: Row, tmp_path: Path) -> None:
    seen = row.cells(tmp_path)

    assert {column: cell for column, cell in seen.items() if cell not in {OK, CANNOT}} == {}
    assert _cells_in_the_page(row) == list(seen.values())


@installed
@pytest.mark.parametrize("version", conformance.VERSIONS)
def test_the_generic_conformance_scenarios_pass(version: str, tmp_path: Path) -> None:
    with door.opened(tmp_path) as url:
        verdicts = conformance.verdicts(url, version, tmp_path)

    assert {name: said for name, said in verdicts.items() if said not in {OK, CANNOT}} == {}


def _cells_in_the_page(row: Row) -> list[str]:
    start = f"| {row.client} | {row.era} | "
    (line,) = [line for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith(start)]
    return line.removeprefix(start).removesuffix(" |").split(" | ")


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_page_shows_every_client_as_it_should_be(row: Row) -> None:
    shown = dict(zip(COLUMNS, _cells_in_the_page(row), strict=True))

    cannot = {"progress", "elicitation", "completion"} if "inspector" in row.client else set()
    assert shown == {column: CANNOT if column in cannot else OK for column in COLUMNS}


def test_the_readme_leads_to_the_page() -> None:
    assert "(docs/interop.md)" in (ROOT / "README.md").read_text("utf-8")


def test_every_package_is_pinned_and_no_address_of_a_registry_is_kept() -> None:
    package = json.loads((HERE / "package.json").read_text("utf-8"))
    asked = package["dependencies"] | package["optionalDependencies"]
    lock = (HERE / "package-lock.json").read_text("utf-8")

    assert [version for version in asked.values() if not re.match(r"\d+\.\d+\.\d+", version)] == []
    assert '"resolved"' not in lock
    assert json.loads(lock)["packages"][""]["dependencies"] == package["dependencies"]


def test_a_client_that_saw_all_is_in_order() -> None:
    assert set(cells(SEEN, "modern").values()) == {OK}


def test_a_client_that_has_no_way_to_do_it_is_not_blamed() -> None:
    seen = {name: fact for name, fact in SEEN.items() if name not in {"progress", "completion"}}

    shown = cells(seen, "modern")
    assert [column for column in COLUMNS if shown[column] == CANNOT] == ["progress", "completion"]


def test_a_client_that_came_out_in_the_other_era_has_nothing_in_order() -> None:
    assert set(cells(SEEN, "legacy").values()) == {"spoke 2026-07-28"}


DECLINED, ACCEPTED, PROGRESS = SEEN["declined"], SEEN["accepted"], SEEN["progress"]
WRONG: dict[str, tuple[str, str, Any]] = {
    "a tool is missing": ("tools", "tools", OFFERED[1:]),
    "a refusal is a success": ("tools", "refused", {"error": False, "text": "no guest 999"}),
    "another guest": ("structured results", "structured", {"vmid": 100, "name": "web-02"}),
    "no data": ("structured results", "structured", None),
    "one step": ("progress", "progress", PROGRESS | {"steps": PROGRESS["steps"][:1]}),
    "steps go back": ("progress", "progress", PROGRESS | {"steps": PROGRESS["steps"][::-1]}),
    "nobody was asked": ("elicitation", "declined", DECLINED | {"asked": None}),
    "a no deleted it": ("elicitation", "declined", DECLINED | {"left": []}),
    "a yes left it": ("elicitation", "accepted", ACCEPTED | {"left": ["interop"]}),
    "nothing to delete": ("elicitation", "made", {"error": True, "text": "exists"}),
    "an empty list": ("resources", "resources", []),
    "another resource": ("resources", "resource", "web-02"),
    "an error": ("prompts", "prompts", {"error": "Method not found"}),
    "completes nothing": ("completion", "completion", []),
    "completes to others": ("completion", "completion", ["db-01"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_as_it_should_be_shows_in_its_column_alone(case: str) -> None:
    column, fact, instead = WRONG[case]

    shown = cells(dict(SEEN) | {fact: instead}, "modern")
    assert [name for name, cell in shown.items() if cell != OK] == [column]


def test_half_of_what_a_column_needs_is_not_enough() -> None:
    seen = {name: fact for name, fact in SEEN.items() if name != "prompt"}

    assert cells(seen, "modern")["prompts"] == "nothing reported of prompt"
