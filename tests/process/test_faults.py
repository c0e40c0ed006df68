"""A part of the fault bench, in every run of the suite; `make faults` runs all of it."""

from dataclasses import replace

import pytest

from benchmarks import faults, tables
from benchmarks.faults import FAULTS, run
from benchmarks.rows import Fault, Row, claim

STOP, UPDATE, RULE = "proxmox_vm_stop", "proxmox_vm_config_update", "proxmox_firewall_rule_create"
STATUS, SNAPSHOT = "proxmox_get_vm_status", "proxmox_snapshot_create"
SELECTION = {
    ("reset after it was carried out", STATUS),
    ("reset after it was carried out", STOP),
    ("reset after it was carried out", UPDATE),
    ("reset after it was carried out", RULE),
    ("reset before it was read", RULE),
    ("half an answer", STOP),
    ("596 once, carried out", SNAPSHOT),
    ("connection refused", STOP),
    ("refused three times, a fourth call", STATUS),
    ("login page with 200", STATUS),
    ("login page with 200, carried out", STOP),
    ("ticket expired, half an answer to the login", STOP),
    ("API restarted between two looks at a task", SNAPSHOT),
    ("clock back an hour within the call, answer lost", STOP),
    ("locked just before the change", STOP),
}


def named(fault: Fault) -> tuple[str, str]:
    return fault.name, fault.subject.tool


def word(fault: Fault) -> str:
    guest = fault.subject.arguments.get("vmid") if isinstance(fault.subject.arguments, dict) else ""
    return f"{fault.name}, {fault.subject.tool} {guest}"


CHOSEN = {word(fault): fault for fault in FAULTS if named(fault) in SELECTION}


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    """What came of the selection; all of it is under way at once."""
    return {word(row.fault): row for row in run(list(CHOSEN.values()))}


def test_the_selection_is_in_the_table() -> None:
    assert {named(fault) for fault in CHOSEN.values()} == SELECTION


@pytest.mark.parametrize("chosen", CHOSEN)
def test_the_row_is_right(rows: dict[str, Row], chosen: str) -> None:
    row = rows[chosen]

    assert row.wrong == [], tables.printed([row])


def test_a_row_that_promises_too_much_is_wrong_and_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    by_name = {fault.name: fault for fault in CHOSEN.values()}
    lost = by_name["login page with 200, carried out"]
    refused = by_name["locked just before the change"]
    lies = (
        replace(lost, told="not done"),
        replace(refused, told="done"),
        replace(refused, requests=1, says="nobody says this"),
    )
    monkeypatch.setattr(faults, "FAULTS", lies)
    monkeypatch.setattr(faults, "LANES", 1)

    code = faults.main(["change", "login"])

    assert code == 1
    printed = capsys.readouterr().out
    assert printed.count("WRONG: should have been told") == 2
    assert "WRONG: more than 1 requests" in printed
    assert "WRONG: does not say nobody says this" in printed
    assert "3 rows, 3 wrong" in printed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("The change was sent and its answer lost, so it may have happened: look at", "unknown"),
        ("The task goes on without being watched; ask later", "under way"),
        ("Before this, the call had its change accepted: look at what became of it", "unknown"),
        ("VM 100 is locked (backup)", "not done"),
    ],
)
def test_what_a_model_understands_of_a_failure_is_in_its_words(text: str, told: str) -> None:
    assert claim(text) == told
