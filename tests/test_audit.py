"""The audit trail: what is written, what tampering is found, what a crash leaves, what is shown."""

import errno
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from proxmox_mcp.cli import audit as command
from proxmox_mcp.toolkit import audit, tampering
from proxmox_mcp.toolkit.audit import Trail, TrailError, read
from proxmox_mcp.toolkit.tampering import Fault, verify

CONTENT = "7f3c1b9e-not-for-errors"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit.jsonl"


@pytest.fixture
def written(file: Path) -> Path:
    """A trail of six lines."""
    trail = Trail(file)
    for number in range(6):
        trail.append({"number": number})
    return file


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True)


def head(file: Path) -> Path:
    return file.with_name(f"{file.name}.head")


def numbers(file: Path) -> list[int]:
    return [record["number"] for _, record in read(file)]


def faults(file: Path) -> dict[int, str]:
    return {fault.line: fault.text for fault in verify(file).faults}


# --- lines -----------------------------------------------------------------------------------


def test_every_line_holds_the_hash_of_the_bytes_before_it(written: Path) -> None:
    before = "0" * 64
    for number, line in enumerate(lines(written)):
        assert line == b'{"prev":"%s","number":%d}\n' % (before.encode(), number)
        before = sha256(line[:-1]).hexdigest()

    assert json.loads(head(written).read_text()) == {"lines": 6, "last": before}
    assert verify(written) == tampering.Verdict(6, (), ())


def test_a_trail_that_has_recorded_nothing_touches_nothing(file: Path) -> None:
    Trail(file)

    assert not file.parent.exists()
    assert verify(file) == tampering.Verdict(0, (), ())


@pytest.mark.parametrize("text", ["zwei\nZeilen", "größe 磁盘 🖥", "\u2028\x85\x1b[31m", "\ud800"])
def test_any_text_stays_on_its_line_and_comes_back_as_it_was(file: Path, text: str) -> None:
    Trail(file).append({"name": text, text: {"deep": [text]}})

    (record,) = [record for _, record in read(file)]
    assert (record["name"], record[text]) == (text, {"deep": [text]})
    assert file.read_bytes().count(b"\n") == 1
    assert verify(file).faults == ()


def test_text_is_stored_as_utf8_for_those_who_search_it(file: Path) -> None:
    Trail(file).append({"name": "größe"})

    assert '"name":"größe"' in file.read_text(encoding="utf-8")


def test_a_record_cannot_pose_as_a_link_of_the_chain(file: Path) -> None:
    Trail(file).append(
        {"prev": "me", "after_torn": True, "whole": "me", "head_was": None, "number": 1}
    )

    assert [set(record) for _, record in read(file)] == [{"prev", "number"}]
    assert verify(file).faults == ()


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 400_000])
def test_a_line_longer_than_a_block_is_chained_like_any_other(file: Path, size: int) -> None:
    for number in range(3):
        Trail(file).append({"number": number, "text": "x" * size})

    assert verify(file) == tampering.Verdict(3, (), ())


def test_finding_the_last_line_reads_no_more_than_the_end(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = Trail(file)
    for number in range(200):
        trail.append({"number": number})
    monkeypatch.setattr(audit, "_BLOCK", 1_000)

    descriptor = os.open(file, os.O_RDONLY)
    tail = audit._Tail.of(descriptor)
    os.close(descriptor)

    assert [line + b"\n" for line in tail.lines] == lines(file)[-len(tail.lines) :]
    assert len(tail.lines) < 12


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_only_the_owner_can_read_the_folder_and_all_that_is_in_it(file: Path) -> None:
    before = os.umask(0)
    try:
        Trail(file).append({"number": 1})
    finally:
        os.umask(before)

    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert modes == {f"audit.jsonl{suffix}": 0o600 for suffix in ("", ".head", ".lock")}


def test_the_line_and_its_head_are_synced_before_the_append_returns(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[str]()

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve().name)

    if not Path("/proc/self/fd").exists():
        pytest.skip("descriptors have no names here")
    Trail(file).append({"number": 0})
    monkeypatch.setattr(os, "fsync", fsync)

    Trail(file).append({"number": 1})

    assert synced == ["audit.jsonl", "audit.jsonl.head.new", "state"]


# --- tampering -------------------------------------------------------------------------------


def changed(number: int) -> Callable[[list[bytes]], list[bytes]]:
    def apply(was: list[bytes]) -> list[bytes]:
        line = was[number].replace(b'"number":', b'"number":9')
        return [*was[:number], line, *was[number + 1 :]]

    return apply


def without(*gone: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda was: [line for number, line in enumerate(was) if number not in gone]


def with_line(number: int, line: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda was: [*was[:number], line, *was[number:]]


FORGED = b'{"prev":"' + b"0" * 64 + b'","number":7}\n'
TAMPERING: dict[str, tuple[int, Callable[[list[bytes]], list[bytes]]]] = {
    "first changed": (2, changed(0)),
    "middle changed": (4, changed(2)),
    "last changed": (6, changed(5)),
    "first missing": (1, without(0)),
    "middle missing": (3, without(2)),
    "last missing": (6, without(5)),
    "last two missing": (5, without(4, 5)),
    "all missing": (1, without(*range(6))),
    "two exchanged": (3, lambda was: [*was[:2], was[3], was[2], *was[4:]]),
    "last two exchanged": (5, lambda was: [*was[:4], was[5], was[4]]),
    "one doubled": (3, lambda was: [*was[:2], was[1], *was[2:]]),
    "inserted first": (2, with_line(0, FORGED)),
    "inserted": (4, with_line(3, FORGED)),
    "inserted last": (7, with_line(6, FORGED)),
    "inserted, no JSON": (4, with_line(3, b"garbage\n")),
    "inserted last, no JSON": (7, with_line(6, b"garbage\n")),
    "inserted, empty": (4, with_line(3, b"\n")),
    "inserted last, empty": (7, with_line(6, b"\n")),
    "middle no JSON": (3, lambda was: [*was[:2], b"garbage\n", *was[3:]]),
    "middle no object": (3, lambda was: [*was[:2], b"[]\n", *was[3:]]),
    "middle no UTF-8": (3, lambda was: [*was[:2], b'{"a":"\xff"}\n', *was[3:]]),
    "last no JSON": (6, lambda was: [*was[:5], b"garbage\n"]),
    "last cut short": (6, lambda was: [*was[:5], was[5][:40]]),
    "one space more": (4, lambda was: [*was[:2], was[2].replace(b":", b": "), *was[3:]]),
}


@pytest.mark.parametrize(("line", "tamper"), TAMPERING.values(), ids=TAMPERING)
def test_tampering_is_found_where_it_took_place(
    written: Path, line: int, tamper: Callable[[list[bytes]], list[bytes]]
) -> None:
    written.write_bytes(b"".join(tamper(lines(written))))

    assert line in faults(written)


@pytest.mark.parametrize("tamper", [each for _, each in TAMPERING.values()], ids=TAMPERING)
def test_writing_on_does_not_cover_tampering_up(
    written: Path, tamper: Callable[[list[bytes]], list[bytes]]
) -> None:
    written.write_bytes(b"".join(tamper(lines(written))))

    for number in (10, 11, 12):
        Trail(written).append({"number": number})

    assert verify(written).faults != ()
    assert numbers(written)[-3:] == [10, 11, 12]


def test_a_line_cut_off_the_end_stays_on_record_when_another_is_added(written: Path) -> None:
    written.write_bytes(b"".join(lines(written)[:-1]))

    Trail(written).append({"number": 6})
    Trail(written).append({"number": 7})

    assert [(fault.line, "did not fit" in fault.text) for fault in verify(written).faults] == [
        (6, True)
    ]
    assert [record["head_was"]["lines"] for _, record in read(written) if "head_was" in record] == [
        6
    ]
    assert json.loads(head(written).read_text())["lines"] == 7


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"[]",
        b"no JSON",
        b'{"lines":"6","last":"x"}',
        b'{"lines":6,"last":"x"}',
        b'{"lines":-1,"last":"x"}',
    ],
)
def test_a_head_that_is_missing_or_senseless_is_a_fault_for_good(
    written: Path, content: bytes | None
) -> None:
    head(written).unlink()
    if content is not None:
        head(written).write_bytes(content)

    assert verify(written).faults != ()
    Trail(written).append({"number": 6})
    assert list(faults(written)) == [7]
    assert json.loads(head(written).read_text())["lines"] == 7


@pytest.mark.parametrize("lines_behind", [2, 6])
def test_a_head_more_than_one_line_behind_is_a_fault(written: Path, lines_behind: int) -> None:
    kept = lines(written)[: 6 - lines_behind]
    last = sha256(kept[-1][:-1]).hexdigest() if kept else audit.NOTHING_BEFORE
    head(written).write_text(json.dumps({"lines": len(kept), "last": last}))

    assert list(faults(written)) == [len(kept) + 1]


def test_a_trail_that_is_gone_is_a_fault_as_long_as_its_head_is_there(written: Path) -> None:
    written.unlink()

    assert verify(written) == tampering.Verdict(
        0, (Fault(1, "is missing: the head counts 6 lines"),), ()
    )


def test_a_file_full_of_garbage_costs_no_more_than_a_thousand_faults(written: Path) -> None:
    written.write_bytes(b"{}\n" * 5_000)

    verdict = verify(written)

    assert verdict.lines == 5_000
    assert len(verdict.faults) == tampering.MOST_FAULTS
    assert "only the first 1000" in verdict.notes[0].text


# --- crashes ---------------------------------------------------------------------------------


def test_a_line_that_is_completed_while_it_is_read_is_the_last_of_what_was_there(
    written: Path,
) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole[:-10])
    reading = audit.lines_of(written)
    seen = [next(reading) for _ in range(6)]
    with written.open("ab") as trail:
        trail.write(whole[-10:] + b'{"one":"more"}\n')

    assert list(reading) == []
    assert b"".join(seen) == whole[:-10]


def test_a_torn_line_is_a_note_until_the_next_record_ends_it(written: Path) -> None:
    torn = b'{"prev":"12'
    whole = lines(written)[-1][:-1]
    with written.open("ab") as trail:
        trail.write(torn)

    verdict = verify(written)
    assert (verdict.faults, [note.line for note in verdict.notes]) == ((), [7])

    Trail(written).append({"number": 7})

    assert lines(written)[6] == torn + b"\n"
    assert json.loads(lines(written)[7]) == {
        "prev": sha256(torn).hexdigest(),
        "after_torn": True,
        "whole": sha256(whole).hexdigest(),
        "number": 7,
    }
    assert verify(written) == tampering.Verdict(8, (), ())
    assert numbers(written) == [0, 1, 2, 3, 4, 5, 7]


def test_a_line_that_lost_only_its_newline_still_counts(file: Path) -> None:
    for number in range(3):
        Trail(file).append({"number": number})
    file.write_bytes(file.read_bytes()[:-1])

    Trail(file).append({"number": 3})

    assert verify(file) == tampering.Verdict(4, (), ())
    assert numbers(file) == [0, 1, 2, 3]


def test_what_stood_before_a_torn_line_cannot_be_taken_away(written: Path) -> None:
    with written.open("ab") as trail:
        trail.write(b'{"pr')
    Trail(written).append({"number": 7})

    written.write_bytes(b"".join(without(5)(lines(written))))

    assert "what stood before that was changed" in faults(written)[7]


class Crash(BaseException):
    """The process is gone: no except clause of the program sees it."""


class Machine:
    """Stops at a chosen step among all that reach the disk; a write then keeps only a part."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.kept = 0.0
        self._write = os.write
        patch.setattr(os, "write", self.write)
        patch.setattr(os, "fsync", self.stepping(lambda _: None))
        patch.setattr(os, "replace", self.stepping(os.replace))

    def stops(self) -> bool:
        if self.left is not None:
            self.left -= 1
        return self.left == -1

    def write(self, descriptor: int, data: bytes) -> int:
        if self.stops():
            self._write(descriptor, data[: int(len(data) * self.kept)])
            raise Crash
        return self._write(descriptor, data)

    def stepping(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            if self.stops():
                raise Crash
            return real(*arguments)

        return step

    def crashes(self, file: Path, step: int, record: dict[str, Any], *, kept: float) -> bool:
        """Append, and stop after this many steps; tell whether there were that many."""
        self.left, self.kept = step, kept
        try:
            Trail(file).append(record)
        except Crash:
            return True
        finally:
            self.left = None
        return False


@pytest.mark.parametrize("kept", [0.02, 0.5, 1], ids=["a byte", "half a write", "a whole write"])
@pytest.mark.parametrize("before", [0, 3], ids=["new", "old"])
def test_two_crashes_at_any_step_leave_a_trail_that_verifies_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, kept: float
) -> None:
    machine = Machine(monkeypatch)
    tried = 0
    for first in range(30):
        for second in range(30):
            file = tmp_path / f"{first}-{second}" / "audit.jsonl"
            for number in range(before):
                Trail(file).append({"number": number})
            reached = machine.crashes(file, first, {"number": 100}, kept=kept)
            if not reached:
                break
            assert verify(file).faults == (), (first, "once")
            again = machine.crashes(file, second, {"number": 101}, kept=kept)
            assert verify(file).faults == (), (first, second, "twice")
            Trail(file).append({"number": 102})
            assert verify(file) == tampering.Verdict(verify(file).lines, (), ()), (first, second)
            assert {*range(before), 102} <= set(numbers(file)) <= {*range(before), 100, 101, 102}
            assert not any("head_was" in record for _, record in read(file))
            tried += 1
            if not again:
                break
        if not reached:
            break
    assert tried > 30


# --- failures --------------------------------------------------------------------------------


def refused(file: Path, record: dict[str, Any] | None = None) -> str:
    with pytest.raises(TrailError) as caught:
        Trail(file).append(record or {"secret": CONTENT})
    said = str(caught.value)
    assert str(file) in said
    assert CONTENT not in said
    assert said.endswith(".")
    return said


def test_a_path_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    assert "Is a directory" in refused(tmp_path)


def test_a_path_under_a_file_is_refused_and_the_file_named(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()

    assert f"({tmp_path / 'plain'})" in refused(tmp_path / "plain" / "audit.jsonl")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert "not a regular file" in refused(tmp_path / "pipe")


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_a_full_disk_is_said_with_its_reason(
    written: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, name, full)
        assert "No space left on device" in refused(written)

    Trail(written).append({"number": 9})
    assert verify(written).faults == ()


def test_a_line_that_fits_the_disk_only_in_part_is_a_failure_and_then_a_torn_line(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:50]))
        assert "only a part" in refused(written)

    Trail(written).append({"number": 9})
    assert verify(written) == tampering.Verdict(8, (), ())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_file_without_permission_is_said(written: Path) -> None:
    written.chmod(0o400)

    assert "Permission denied" in refused(written)


def test_a_permission_that_is_missing_is_said(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", denied)

    assert "Permission denied" in refused(written)


def test_a_lock_that_somebody_keeps_is_waited_for_with_a_bound(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "LOCK_SECONDS", 0.02)

    with FileLock(f"{written}.lock"):
        assert f"{written}.lock, for 0.02 seconds" in refused(written)

    assert verify(written) == tampering.Verdict(6, (), ())


@pytest.mark.parametrize(
    "value", [{CONTENT}, float("nan"), 10**5_000, object()], ids=["set", "nan", "huge", "object"]
)
def test_a_record_that_is_no_json_is_refused_and_leaves_nothing(
    written: Path, value: object
) -> None:
    assert "not plain JSON" in refused(written, {CONTENT: value})

    assert verify(written) == tampering.Verdict(6, (), ())


def test_reading_what_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(TrailError, match="cannot be read: Is a directory"):
        verify(tmp_path)
    with pytest.raises(TrailError, match="cannot be read: No such file"):
        list(read(tmp_path / "nothing"))


def test_nothing_of_the_package_and_no_lock_library_is_loaded_before_the_first_append() -> None:
    code = (
        "import sys, proxmox_mcp.toolkit.audit as a; a.Trail(a.Path('x'));"
        "print(sorted(m for m in sys.modules if m.startswith(('proxmox_mcp.', 'filelock', 'mcp'))))"
    )
    loaded = subprocess.run(  # noqa: S603  our own text
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )

    assert "filelock" not in loaded.stdout
    assert eval(loaded.stdout) == ["proxmox_mcp.toolkit", "proxmox_mcp.toolkit.audit"]  # noqa: S307


# --- the command: verify ---------------------------------------------------------------------


def verified(file: Path) -> tuple[int, list[str]]:
    out = io.StringIO()
    return command.verify(file, out), out.getvalue().splitlines()


def test_a_whole_trail_is_said_to_be_whole(written: Path) -> None:
    assert verified(written) == (
        0,
        [f"{written}: 6 lines, nothing changed, missing or out of order."],
    )


def test_every_fault_is_printed_with_its_line(written: Path) -> None:
    written.write_bytes(b"".join(changed(2)(without(5)(lines(written)))))

    code, said = verified(written)

    assert code == 1
    assert [line.split(" ")[:3] for line in said] == [
        [f"{written}:", "line", "4"],
        [f"{written}:", "line", "6"],
    ]


def test_a_torn_last_line_is_noted_and_no_fault(written: Path) -> None:
    with written.open("ab") as trail:
        trail.write(b'{"prev')

    code, said = verified(written)

    assert code == 0
    assert said[0].startswith(f"{written}: note: line 7 is torn")


def test_a_file_that_does_not_exist_has_nothing_recorded(file: Path) -> None:
    sentence = f"{file}: nothing has been recorded there; the file does not exist."

    assert verified(file) == (1, [sentence])
    assert shown(file) == (1, [sentence])


def test_a_trail_taken_away_from_its_head_is_a_fault_and_not_just_absent(written: Path) -> None:
    written.unlink()

    assert verified(written) == (1, [f"{written}: line 1 is missing: the head counts 6 lines."])


def test_a_trail_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    said = [f"The audit trail {tmp_path} cannot be read: Is a directory."]

    assert verified(tmp_path) == (1, said)
    assert shown(tmp_path) == (1, said)


# --- the command: show -----------------------------------------------------------------------

UPID = "UPID:pve2:00001234:0000ABCD:65A1B2C3:qmstart:105:root@pam!mcp:"


def shown(
    file: Path, *, guest: str | None = None, since: str | None = None, as_json: bool = False
) -> tuple[int, list[str]]:
    out = io.StringIO()
    code = command.show(file, out, guest=guest, since=since, as_json=as_json)
    return code, out.getvalue().splitlines()


def begin(call: str, when: datetime, **more: Any) -> dict[str, Any]:
    return {
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "event": "begin",
        "call": call,
        "client": "claude-code 2.1",
        "tool": "proxmox_vm_start",
        "guest": {"vmid": 105, "name": "db-01", "kind": "qemu", "node": "pve2"},
        "confirmed": "asked",
    } | more


def end(call: str, when: datetime, **more: Any) -> dict[str, Any]:
    return {
        "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "event": "end",
        "call": call,
        "tool": "proxmox_vm_start",
        "outcome": "ok",
        "ms": 1.5,
    } | more


@pytest.fixture
def calls(file: Path) -> Path:
    """Three calls: one that ended, one on another guest an hour ago, one still open."""
    trail = Trail(file)
    old = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    recent = datetime.now(UTC) - timedelta(hours=1)
    other = {"vmid": 200, "name": "web"}
    trail.append(begin("a", old))
    trail.append(begin("b", recent, guest=other, tool="proxmox_vm_stop"))
    trail.append({"time": "2026-01-02T03:04:06.000Z", "event": "request", "call": "a"})
    trail.append(end("a", old, upid=UPID))
    trail.append(end("b", recent, guest=other, tool="proxmox_vm_stop", outcome="failed: Refused"))
    trail.append(begin("c", recent, confirmed=None, client=None))
    return file


def test_the_table_has_one_row_a_call_oldest_first(calls: Path) -> None:
    code, (heading, *rows) = shown(calls)

    assert code == 0
    assert heading.split("  ")[0] == "time (UTC)"
    assert rows[0].startswith("2026-01-02 03:04:05  proxmox_vm_start  105 db-01  ok ")
    assert "  asked      claude-code 2.1  UPID:pve2:" in rows[0]
    assert "200 web" in rows[1]
    assert "failed: Refused" in rows[1]
    assert "open (no end recorded)" in rows[2]
    assert rows[2].split()[-3:] == ["-", "-", "-"]
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("guest", "expected"),
    [("105", ["a", "c"]), ("db-01", ["a", "c"]), ("200", ["b"]), ("web", ["b"]), ("db", [])],
)
def test_a_guest_is_chosen_by_id_or_name_with_all_records_of_its_calls(
    calls: Path, guest: str, expected: list[str]
) -> None:
    code, found = shown(calls, guest=guest, as_json=True)

    records = [json.loads(line) for line in found]
    assert code == 0
    assert sorted({record["call"] for record in records}) == expected
    assert records == [record for _, record in read(calls) if record["call"] in expected]


@pytest.mark.parametrize(
    ("since", "count"), [("30m", 0), ("2h", 2), ("1d", 2), ("2026-01-02T03:04:05", 3)]
)
def test_since_leaves_out_what_began_before(calls: Path, since: str, count: int) -> None:
    _, said = shown(calls, since=since)

    assert len([line for line in said if "proxmox_" in line]) == count


def test_nothing_that_matches_is_said_to_people_and_is_no_json(calls: Path) -> None:
    assert shown(calls, guest="999") == (0, ["No recorded call matches."])
    assert shown(calls, guest="999", as_json=True) == (0, [])


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("30m", "2026-11-26T09:30:00+00:00"),
        ("12h", "2026-11-25T22:00:00+00:00"),
        ("1d", "2026-11-25T10:00:00+00:00"),
        (" 2w ", "2026-11-12T10:00:00+00:00"),
        ("2026-11-01", "2026-11-01T00:00:00+00:00"),
        ("2026-11-01T08:00", "2026-11-01T08:00:00+00:00"),
        ("2026-11-01 08:00:00+02:00", "2026-11-01T06:00:00+00:00"),
        ("2026-11-01T08:00:00Z", "2026-11-01T08:00:00+00:00"),
    ],
)
def test_since_is_read_as_a_span_or_a_moment(since: str, expected: str) -> None:
    now = datetime(2026, 11, 26, 10, tzinfo=UTC)

    assert command.moment(since, now=now).isoformat() == expected


@pytest.mark.parametrize(
    "since", ["", "soon", "3", "3y", "-1d", "1.5h", "999999999w", "2026-13-01", "٣m", "\x1b[31m"]
)
def test_a_since_that_is_no_time_is_refused_in_a_sentence(calls: Path, since: str) -> None:
    with pytest.raises(ValueError, match=r"is no time: give how long ago, such as 30m") as caught:
        shown(calls, since=since)

    assert "\x1b" not in str(caught.value)


def test_a_guest_without_a_name_is_refused_in_a_sentence(calls: Path) -> None:
    with pytest.raises(ValueError, match="named by its id"):
        shown(calls, guest=" ")


def test_hostile_words_neither_drive_the_terminal_nor_break_the_table(file: Path) -> None:
    hostile = "\x1b[2J\x9b31m\u202ea\nb\tc\u2028d\x00" + "x" * 500
    guest = {"vmid": 105, "name": hostile}
    now = datetime.now(UTC)
    Trail(file).append(
        begin("a", now, client=hostile, tool=hostile, guest=guest, confirmed=hostile)
    )
    Trail(file).append(end("a", now, outcome=hostile, upid=hostile, tool=hostile))

    _, table = shown(file)
    _, raw = shown(file, as_json=True)

    assert len(table) == 2
    assert max(map(len, table)) <= 120
    assert all(line.isprintable() for line in table)
    assert len(raw) == 2
    assert all(line.isascii() and line.isprintable() for line in raw)
    assert json.loads(raw[0])["client"] == hostile


def test_a_row_of_the_widest_words_of_our_own_keeps_outcome_and_time_whole(file: Path) -> None:
    when = datetime(2026, 11, 26, 10, tzinfo=UTC)
    guest = {"vmid": 999_999_999, "name": "a-guest-with-a-rather-long-name"}
    wide = {"tool": "proxmox_firewall_rule_create", "guest": guest, "confirmed": "argument"}
    Trail(file).append(begin("a", when, client="some-long-client-name 12.34.56", upid=UPID, **wide))

    _, (_, row) = shown(file)

    assert len(row) <= 120
    assert row.startswith("2026-11-26 10:00:00  ")
    assert "open (no end recorded)  argument " in row
    assert row.endswith("…")


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"call": ["x"], "time": 5, "guest": "105", "tool": {}, "event": "end", "outcome": None},
        {"call": "x", "time": "never", "guest": {"vmid": [], "name": {}}},
    ],
)
def test_a_record_of_another_shape_is_shown_as_far_as_it_goes(
    file: Path, record: dict[str, Any]
) -> None:
    Trail(file).append(record)

    code, said = shown(file, since="1d")

    assert (code, len(said)) == (0, 2)
    assert said[1].startswith("?")


def test_a_terminal_without_the_letters_gets_question_marks(file: Path) -> None:
    Trail(file).append(begin("a", datetime.now(UTC), guest={"vmid": 105, "name": "größe磁"}))
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    command.show(file, out, guest=None, since=None, as_json=False)

    out.seek(0)
    assert "105 gr??e?" in out.read()
