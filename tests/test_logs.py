"""Log lines: whole, JSON, in files of one's own, and without a single secret."""

import io
import json
import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from threading import Event, Thread, get_ident
from typing import Any

import pytest
from pydantic import ValidationError
from pytest_mock import MockerFixture

from proxmox_mcp import logs
from proxmox_mcp.redaction import Redactor

SECRET = "7f3c1b9e-aaaa-bbbb-cccc-0123456789ab"
ODD_SECRET = 'pa"ss\\wörd &1'
log = logging.getLogger("proxmox_mcp.tests.child")


class Written:
    """What one test's log lines came to, in the files and on stderr."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stderr = io.StringIO()

    def start(self, *, secrets: tuple[str, ...] = (), **settings: Any) -> Path | None:
        given = logs.LogSettings(**{"folder": self.folder, "level": "DEBUG", **settings})
        return logs.start(given, secrets=secrets, stderr=self.stderr)

    def text(self, kind: str = "combined") -> str:
        files = sorted(self.folder.glob(f"{kind}-*"))
        return "".join(path.read_text(encoding="utf-8") for path in files)

    def lines(self, kind: str = "combined") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text(kind).splitlines()]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    yield Written(tmp_path / "logs")
    logs.stop()


def failing(message: str) -> None:
    raise ValueError(message)


# --- lines -----------------------------------------------------------------------------------


def test_an_event_becomes_one_json_line_with_its_fields_at_the_top(written: Written) -> None:
    combined = written.start()

    log.info("tool.finished", extra={"tool": "list_guests", "ms": 12})

    assert combined is not None
    (line,) = [json.loads(text) for text in combined.read_text().splitlines()]
    moment = line.pop("time")
    assert line == {
        "level": "INFO",
        "logger": "proxmox_mcp.tests.child",
        "event": "tool.finished",
        "pid": os.getpid(),
        "tool": "list_guests",
        "ms": 12,
    }
    assert moment.endswith("Z")
    assert len(moment) == len("2026-01-01T00:00:00.000Z")
    assert abs(datetime.fromisoformat(moment).timestamp() - time.time()) < 60


def test_a_field_named_like_one_of_our_keys_does_not_replace_it(written: Written) -> None:
    written.start()

    log.info("tool.finished", extra={"level": 9, "event": "other", "pid": 1, "time": 0})

    (line,) = written.lines()
    assert (line["level"], line["event"], line["pid"]) == ("INFO", "tool.finished", os.getpid())
    assert (line["level_"], line["event_"], line["pid_"], line["time_"]) == (9, "other", 1, 0)


def test_the_error_file_holds_warnings_and_errors_only(written: Written) -> None:
    written.start()

    log.info("quiet")
    log.warning("odd")
    log.error("bad")

    assert [line["event"] for line in written.lines()] == ["quiet", "odd", "bad"]
    assert [line["event"] for line in written.lines("error")] == ["odd", "bad"]


def test_the_level_decides_what_is_written_at_all(written: Written) -> None:
    written.start(level="error")

    log.warning("odd")
    log.error("bad")

    assert [line["event"] for line in written.lines()] == ["bad"]


CIRCLE: dict[str, Any] = {}
CIRCLE["me"] = CIRCLE


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    "value",
    [
        Unprintable(),
        [Unprintable()],
        {1: {2: object()}},
        {Unprintable(): 1},
        float("nan"),
        float("inf"),
        10**5000,
        b"\xff\x00",
        "\ud800",
        {1, 2},
        CIRCLE,
        ValueError("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_json_does_not_know_never_costs_the_line(
    written: Written, value: object
) -> None:
    written.start()

    log.info("tool.finished", extra={"value": value})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    (line,) = written.text().splitlines()
    assert json.loads(line, parse_constant=refuse)["event"] == "tool.finished"
    assert written.stderr.getvalue() == ""


def test_arguments_that_do_not_fit_the_message_do_not_cost_the_line(written: Written) -> None:
    written.start()

    for message, argument in (("%d guests on %s", "many"), ("%s", Unprintable())):
        record = log.makeRecord("x", logging.WARNING, "file", 1, message, (argument,), None)
        for handler in logs._Running.handlers:  # pytest's own handler would raise
            handler.handle(record)

    assert [line["event"] for line in written.lines()] == [
        "%d guests on %s (arguments do not fit)",
        "%s (arguments do not fit)",
    ]
    assert len(written.stderr.getvalue().splitlines()) == 2


# --- redaction -------------------------------------------------------------------------------

HOLDERS: dict[str, Callable[[str], None]] = {
    "message": lambda text: log.warning(text),  # noqa: PLW0108  the call site is the point
    "argument": lambda text: log.warning("sent %s", text),
    "repr": lambda text: log.warning("sent %r", [text]),
    "mapping argument": lambda text: log.warning("sent %(what)s", {"what": text}),
    "object argument": lambda text: log.warning("sent %s", ValueError(text)),
    "dict message": lambda text: log.warning({"what": text}),
    "field": lambda text: log.warning("sent", extra={"what": text}),
    "key": lambda text: log.warning("sent", extra={"what": {text: 1}}),
    "nested field": lambda text: log.warning("sent", extra={"a": [{"b": ({"c": text},)}]}),
    "object": lambda text: log.warning("sent", extra={"what": ValueError(text)}),
    "bytes": lambda text: log.warning("sent", extra={"what": text.encode()}),
    "traceback": lambda text: _log_traceback(text, chained=False),
    "chained traceback": lambda text: _log_traceback(text, chained=True),
}


def _log_traceback(text: str, *, chained: bool) -> None:
    try:
        try:
            failing(text)
        except ValueError as error:
            if not chained:
                raise
            raise RuntimeError("tool failed") from error
    except (ValueError, RuntimeError):
        log.exception("tool.failed")


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
@pytest.mark.parametrize("secret", [SECRET, ODD_SECRET], ids=["plain", "odd"])
def test_a_known_secret_is_masked_wherever_it_stands(
    written: Written, holder: Callable[[str], None], secret: str
) -> None:
    written.start(secrets=(secret,))

    holder(f"before {secret} after")

    everything = written.text() + written.text("error") + written.stderr.getvalue()
    assert secret not in everything
    assert json.dumps(secret)[1:-1] not in everything
    assert all("***" in json.dumps(line) for line in written.lines())
    assert "before *** after" in written.text()


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
@pytest.mark.parametrize(
    "text",
    [
        f"PVEAPIToken=root@pam!mcp={SECRET}",
        f"root@pam!mcp={SECRET}",
        f"root@pam!mcp:{SECRET}",
        f"PVE:root@pam:65A1B2C3::{SECRET}/+==",
        f"PVE%3Aroot%40pam%3A65A1B2C3%3A%3A{SECRET}",
        f"PVEAuthCookie=PVE%3Aroot%40pam%3A65A1B2C3%3A%3A{SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"'Authorization': 'PVEAPIToken=root@pam!mcp={SECRET}'",
        f"CSRFPreventionToken: 65A1B2C3:{SECRET}",
        f"Set-Cookie: a=b; c={SECRET}",
        f"username=root&password={SECRET}&x=1",
        f"{{'cipassword': '{SECRET}', 'cores': 4}}",
        f"{{'password': \"it's {SECRET}\"}}",
        f'{{"new_password": "{SECRET}"}}',
        f"https://me:{SECRET}@proxy:3128/",
    ],
)
def test_what_looks_like_a_secret_is_masked_without_being_known(
    written: Written, holder: Callable[[str], None], text: str
) -> None:
    written.start()

    holder(text)

    assert written.text("error")
    assert SECRET not in written.text() + written.text("error") + written.stderr.getvalue()


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "token_value",
        "secret",
        "password",
        "new-password",
        "cipassword",
        "ticket",
        "Authorization",
        "CSRFPreventionToken",
        "csrf_token",
        "sshkeys",
        "target-endpoint",
        "target_endpoint",
        "otp",
        "PVEAuthCookie",
        "api_key",
    ],
)
def test_a_value_under_a_telling_key_is_masked_at_any_depth(written: Written, key: str) -> None:
    written.start()

    log.warning("sent", extra={key: "hunter2-a", "given": [{"deep": {key: ["hunter2-b", 7]}}]})

    everything = written.text() + written.stderr.getvalue()
    assert "hunter2" not in everything
    (line,) = written.lines()
    assert line[key] == "***"
    assert line["given"] == [{"deep": {key: "***"}}]


@pytest.mark.parametrize(
    "text",
    [
        "UPID:pve1:00001234:0000ABCD:65A1B2C3:qmstart:100:root@pam:",
        "guest 105 is locked (backup); wait for its task",
        "password: is missing: give token_name and token_value",
        "user root@pam!mcp may not do that",
        "https://pve:8006/api2/json/nodes",
    ],
)
def test_what_is_no_secret_stays_readable(written: Written, text: str) -> None:
    written.start()

    log.info(text, extra={"token_name": "mcp", "max_tokens": 100, "tokens": 3})

    (line,) = written.lines()
    assert line["event"] == text
    assert (line["token_name"], line["max_tokens"], line["tokens"]) == ("mcp", 100, 3)


def test_a_one_time_password_is_masked_as_a_number_too(written: Written) -> None:
    written.start(secrets=("123456",))

    log.info("sent", extra={"code": 123456, "ms": 12})

    (line,) = written.lines()
    assert (line["code"], line["ms"]) == ("***", 12)


def test_a_very_short_secret_does_not_blacken_every_line(written: Written) -> None:
    written.start(secrets=("", "e", "pve"))

    log.info("pve1.reached")

    assert written.lines()[0]["event"] == "pve1.reached"


def test_a_long_blob_is_searched_for_secrets_in_no_time() -> None:
    redactor = Redactor([SECRET])
    blobs = ["x" * 300_000, "csrf" * 75_000, "a.b@" * 75_000, "PVE" * 100_000, "'\\" * 150_000]

    began = time.perf_counter()
    for blob in blobs:
        assert SECRET not in redactor.text(f"{blob} {SECRET}")
    # half a second would already be a hundred times too long
    assert time.perf_counter() - began < 5


def test_redacting_leaves_the_record_alone_for_other_handlers(
    written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    written.start(secrets=(SECRET,))
    arguments = {"list": [SECRET]}

    log.warning("sent %s", SECRET, extra={"arguments": arguments})

    assert caplog.records[0].args == (SECRET,)
    assert arguments == {"list": [SECRET]}


# --- other people's loggers ------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["proxmoxer", "proxmoxer.core", "proxmoxer.backends.https", "urllib3", "requests"],
)
def test_a_library_that_prints_requests_stays_at_warning(written: Written, name: str) -> None:
    library = logging.getLogger(name)
    library.setLevel(logging.DEBUG)
    written.start(level="DEBUG")

    library.info("POST body: {'cipassword': 'x'}")
    library.warning("pool is full")

    assert [line["event"] for line in written.lines()] == ["pool is full"]


# --- stderr ----------------------------------------------------------------------------------


def test_stderr_gets_one_short_line_for_each_warning(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    written.start()

    log.info("tool.started")
    log.warning("tool.slow", extra={"tool": "clone\nguest", "text": "x" * 9_000})
    _log_traceback("two\nlines", chained=False)

    slow, failed = written.stderr.getvalue().splitlines()
    assert slow.startswith("proxmox-mcp: warning: tool.slow tool=clone guest")
    assert len(slow) < 600
    assert failed == "proxmox-mcp: error: tool.failed (ValueError: two lines)"
    assert capsys.readouterr().out == ""


def test_a_folder_that_cannot_be_used_costs_one_line_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    written = Written(tmp_path / "file" / "logs")

    try:
        assert written.start(level="ERROR") is None
        log.error("bad")
    finally:
        logs.stop()

    fallen_back, bad = written.stderr.getvalue().splitlines()
    assert "no log files" in fallen_back
    assert bad == "proxmox-mcp: error: bad"


def test_a_file_that_fails_later_is_mentioned_once_and_without_the_line(written: Written) -> None:
    combined = written.start()
    assert combined is not None
    combined.mkdir()

    log.info("sent %s", "arguments-of-the-call")
    log.info("sent %s", "arguments-of-the-call")

    (said,) = written.stderr.getvalue().splitlines()
    assert said == "proxmox-mcp: warning: a log line was lost (IsADirectoryError)"


# --- files -----------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_only_the_owner_can_read_folder_and_files(written: Written) -> None:
    before = os.umask(0)
    try:
        written.start(max_bytes=1000)
        for number in range(20):
            log.warning("bad", extra={"number": number, "text": "x" * 100})
    finally:
        os.umask(before)

    files = list(written.folder.iterdir())
    assert len(files) > 2
    assert stat.S_IMODE(written.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_no_file_appears_before_there_is_a_line(written: Written) -> None:
    written.start()

    assert list(written.folder.iterdir()) == []


def test_rotation_keeps_every_line_whole(written: Written) -> None:
    written.start(max_bytes=2_000, backups=50)

    for number in range(200):
        log.info("tool.finished", extra={"number": number, "text": "ä" * (number % 40)})

    assert len(list(written.folder.glob("combined-*"))) > 5
    assert sorted(line["number"] for line in written.lines()) == list(range(200))


def test_rotation_keeps_no_more_than_it_is_told(written: Written) -> None:
    written.start(max_bytes=1_000, backups=2)

    for number in range(200):
        log.info("tool.finished", extra={"number": number})

    assert len(list(written.folder.glob("combined-*"))) == 3
    assert written.lines()[-1]["event"] == "tool.finished"


def test_old_files_of_ours_are_deleted_at_start_and_nothing_else(written: Written) -> None:
    written.folder.mkdir()
    old, recent = time.time() - 8 * 86_400, time.time() - 6 * 86_400
    ages = {
        "combined-20260101-000000-1.jsonl": old,
        "error-20260101-000000-1.jsonl.3": old,
        "combined-20260102-000000-1.jsonl": recent,
        "combined-notes.jsonl": old,
        "settings.toml": old,
    }
    for name, moment in ages.items():
        (written.folder / name).touch()
        os.utime(written.folder / name, (moment, moment))

    written.start(keep_days=7)

    assert {path.name for path in written.folder.iterdir()} == {
        "combined-20260102-000000-1.jsonl",
        "combined-notes.jsonl",
        "settings.toml",
    }


def test_starting_again_replaces_the_first_set(written: Written, tmp_path: Path) -> None:
    handlers = list(logging.getLogger().handlers)
    written.start()
    second = Written(tmp_path / "second")

    second.start()
    log.warning("bad")

    assert len(logging.getLogger().handlers) == len(handlers) + 3
    assert written.lines() == []
    assert written.stderr.getvalue() == ""
    assert [line["event"] for line in second.lines()] == ["bad"]


def test_stopping_leaves_the_root_logger_as_it_was(
    written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    root = logging.getLogger()
    before = (root.level, list(root.handlers))

    written.start()
    assert (root.level, root.handlers) != before
    logs.stop()
    logs.stop()

    assert (root.level, root.handlers) == before


def test_lines_written_aside_are_all_there_when_it_is_over_and_come_from_a_thread_of_their_own(
    written: Written, mocker: MockerFixture
) -> None:
    written.start()
    logs.write_aside()
    writers = set[int]()

    def noted(_: logs.JsonLines, line: dict[str, Any]) -> dict[str, Any]:
        writers.add(get_ident())
        return line

    mocker.patch.object(logs.JsonLines, "process_log_record", noted)

    for number in range(500):
        log.info("line %d", number, extra={"number": number})
    log.warning("careful")
    logs.stop()

    assert [line.get("number") for line in written.lines()] == [*range(500), None]
    assert [line["event"] for line in written.lines("error")] == ["careful"]
    assert written.stderr.getvalue() == "proxmox-mcp: warning: careful\n"
    assert len(writers) == 1
    assert get_ident() not in writers


def test_stopping_from_two_threads_at_once_loses_no_line(written: Written) -> None:
    written.start()
    logs.write_aside()
    for number in range(200):
        log.info("line", extra={"number": number})

    enders = [Thread(target=logs.stop) for _ in range(4)]
    for ender in enders:
        ender.start()
    for ender in enders:
        ender.join()

    assert [line["number"] for line in written.lines()] == list(range(200))


class Stuck(io.StringIO):
    """A pipe that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = Event()

    def write(self, text: str) -> int:
        self.let_go.wait(30)
        return len(text)


def test_stopping_does_not_wait_for_ever_for_a_pipe_that_nobody_reads(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs._Listener, "_PATIENCE", 0.05)
    written.stderr = stuck = Stuck()
    written.start()
    logs.write_aside()
    log.warning("careful")
    handlers, writer = logs._Running.handlers, logs._Running.listener
    ending = Thread(target=logs.stop, daemon=True)
    ending.start()
    ending.join(10)

    hangs = ending.is_alive()
    stuck.let_go.set()
    assert not hangs
    assert writer is not None
    assert writer.ended()
    for handler in handlers:  # in a process that ends, nobody does
        handler.close()


PROCESS = """
import logging, sys
from pathlib import Path
from proxmox_mcp import logs

settings = logs.LogSettings(folder=Path(sys.argv[1]), max_bytes=50_000, backups=20)
logs.start(settings)
sys.stdin.read()  # all of them set off together
for number in range(int(sys.argv[3])):
    logging.getLogger("worker").info("line", extra={"worker": int(sys.argv[2]), "number": number})
logs.stop()
"""


def test_four_processes_in_one_folder_lose_no_line(tmp_path: Path) -> None:
    count = 2_000
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    workers = [
        subprocess.Popen(  # noqa: S603  our own text
            [sys.executable, "-c", PROCESS, str(tmp_path), str(worker), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
        )
        for worker in range(4)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.stdin = None
    said = [worker.communicate(timeout=60) for worker in workers]

    files = [path.read_text().splitlines() for path in tmp_path.iterdir()]
    lines = [json.loads(line) for file in files for line in file]
    assert said == [(b"", b"")] * 4
    assert {(line["worker"], line["number"]) for line in lines} == {
        (worker, number) for worker in range(4) for number in range(count)
    }
    assert len(lines) == 4 * count
    assert len(files) > 8  # rotation took place


# --- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "level"), [("debug", "DEBUG"), ("Warn", "WARNING")])
def test_a_level_is_read_in_any_case(word: Any, level: str) -> None:
    assert logs.LogSettings(level=word).level == level


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("level", "LOUD"),
        ("level", 3),
        ("folder", "logs"),
        ("folder", 3),
        ("keep_days", 0),
        ("max_bytes", 10),
        ("backups", 0),
        ("color", True),
    ],
)
def test_a_log_setting_that_makes_no_sense_is_refused(setting: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        logs.LogSettings(**{setting: value})  # type: ignore[arg-type]

    assert caught.value.errors()[0]["loc"] == (setting,)


def test_a_folder_may_start_with_the_home_sign() -> None:
    folder: Any = "~/logs"

    assert logs.LogSettings(folder=folder).folder == Path.home() / "logs"
