"""What the server does under faults, one row for each, on a simulated cluster behind real TLS.

``python -m benchmarks.faults`` prints the table and writes it to docs/faults.md; a wrong row makes
it exit with 1. Words given after it choose the rows whose names hold one of them, and write
nothing.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import tables
from benchmarks.rows import Fault, Row, played
from benchmarks.stage import LOGIN, NAMES, Certificates, Stage
from benchmarks.strikes import (
    afterwards,
    at,
    both,
    cut_all,
    cut_request,
    half_a_json,
    half_an_answer,
    html,
    instead,
    late,
    shut,
)
from benchmarks.subjects import (
    CONFIG,
    CONFIG_READ,
    CONTAINER,
    HEALTH,
    LISTING,
    LOG,
    NODES,
    READ,
    READ_TASK,
    RULE,
    SNAPSHOT,
    SNAPSHOT_ARGUMENTS,
    STOP,
    STORAGE,
    TASKS,
)
from proxmox_mcp import simulator
from proxmox_mcp.simulator import Answer

DOCUMENT = Path(__file__).parents[1] / "docs" / "faults.md"
LANES = 4
"""So many servers are under way at once: most of a row is waiting."""

HOUR = 3600.0
TEN_SECONDS = 10.0
FOR_EVER = 30.0
NOTHING_SENT = "Nothing was sent"
WITH_PASSWORD = {
    "PROXMOX_USER": simulator.PASSWORD["user"],
    "PROXMOX_PASSWORD": simulator.PASSWORD["password"],
    "PROXMOX_TOKEN_NAME": "",
    "PROXMOX_TOKEN_VALUE": "",
}
WITH_NAMES = {"PROXMOX_HOST": NAMES[0]}
WITH_TWO_NAMES = {"PROXMOX_HOST": NAMES[0], "PROXMOX_MCP_HOSTS": NAMES[1]}
Action = Callable[[Stage], None]
HALF_A_LOGIN = Answer(200, "OK", b'{"data":{"tick', {"content-type": "application/json"})
REASONS = {
    500: "got no worker upid - start worker failed",
    503: "Service Unavailable",
    595: "No route to host",
    596: "Connection timed out",
    597: "broken pipe",
    599: "Too many redirections",
}


def refused(status: int) -> Answer:
    """One of Proxmox's own refusals, which says everything in its status line."""
    return Answer(status, REASONS[status])


def _replaced_by(status: int, _: Answer) -> Answer:
    return refused(status)


# --- what happens to a cluster ---------------------------------------------------------------


def clock_jumps(seconds: float) -> Action:
    """Set the cluster's clock."""

    def jump(stage: Stage) -> None:
        stage.cluster.set_clock(seconds)

    return jump


def other_certificate(stage: Stage) -> None:
    """Renew the certificate, as an administrator or an attacker would."""
    stage.serve(certificate=1)
    stage.gate.cut()


def name_gone(stage: Stage) -> None:
    """Let the first name no longer resolve, and end the connections made by it."""
    stage.forget(NAMES[0])
    stage.gate.cut()


def restarted(stage: Stage) -> None:
    """Restart the API's daemon: refused for half a second, then another process answers."""
    stage.gate.shut()
    stage.over.wait(0.5)
    stage.serve()
    stage.gate.open()


def node_lost(name: str) -> Action:
    """Let a node vanish."""

    def vanish(stage: Stage) -> None:
        stage.cluster.take_offline(name)

    return vanish


def locked(stage: Stage) -> None:
    """Let another job lock the guest."""
    stage.cluster.guest(100).lock = "backup"


def held(stage: Stage) -> None:
    """Let another job hold the guest's lock file for two seconds of the cluster's."""
    stage.cluster.speed = 5.0
    guest = stage.cluster.guest(100)
    guest.held = True

    def free() -> None:
        guest.held = False

    stage.cluster.center.tasks.after(2.0, free)


def slowly(stage: Stage) -> None:
    """Let tasks take long enough to be watched."""
    stage.cluster.speed = 0.5


def long_task(stage: Stage) -> None:
    """Have a snapshot under way that takes two seconds."""
    slowly(stage)
    stage.assistant.call(SNAPSHOT.tool, {**SNAPSHOT_ARGUMENTS, "wait": 0}).result(TEN_SECONDS)
    stage.cluster.received.clear()
    stage.cluster.accepted.clear()


def gone_for_three_calls(stage: Stage) -> None:
    """Refuse connections until the circuit is open."""
    stage.gate.shut()
    for _ in range(3):
        stage.assistant.call("proxmox_get_nodes", {}).result(TEN_SECONDS)


def back_after_the_pause(stage: Stage) -> None:
    """Open the circuit, bring the cluster back, and let the circuit's pause pass."""
    gone_for_three_calls(stage)
    stage.gate.open()
    stage.over.wait(5.2)


def long_notes(stage: Stage) -> None:
    """Give a guest half a megabyte of notes."""
    stage.cluster.guest(100).config["description"] = "x" * 512 * 1024


def long_log(stage: Stage) -> None:
    """Put a task with 2,000 lines into the history."""
    lines = [f"line {number} of a log that nobody wants to read whole" for number in range(2000)]
    now = stage.cluster.center.now
    where = ("pve1", "vzdump", "100", "root@pam")
    stage.cluster.center.tasks.record(
        where, start=now - 60, lasted=60, log=lines, status="job errors"
    )


def not_utf8(answer: Answer) -> Answer:
    """Put bytes into an answer that are no UTF-8."""
    body = answer.body.replace(b"web-0", b"\xff\xfe\x80web-0").replace(b"UPID:", b"\xffUPID:")
    return Answer(answer.status, answer.reason, body, answer.headers)


# --- the rows --------------------------------------------------------------------------------

LATE = (
    Fault(name="answer 1.5 s late", subject=READ, strike=late(1.5, after=True), told="answered"),
    Fault(name="answer 1.5 s late", subject=STOP, strike=late(1.5, after=True), told="done"),
    Fault(
        name="answer never",
        subject=READ,
        strike=late(FOR_EVER, after=False),
        told="failed",
        says="gave no answer within",
        within=12,
        requests=4,
    ),
    Fault(
        name="answer never, not carried out",
        subject=STOP,
        strike=late(FOR_EVER, after=False),
        told="unknown",
        within=15,
    ),
    Fault(
        name="answer never, carried out",
        subject=STOP,
        strike=late(FOR_EVER, after=True),
        told="done",
        within=15,
    ),
    Fault(
        name="answer never, carried out",
        subject=CONTAINER,
        strike=late(FOR_EVER, after=True),
        told="done",
        within=15,
    ),
    Fault(
        name="storage listing after 2 s",
        subject=STORAGE,
        strike=late(2, after=True),
        told="answered",
        requests=1,
    ),
    Fault(
        name="storage listing never",
        subject=STORAGE,
        strike=late(FOR_EVER, after=False),
        told="failed",
        within=12,
        requests=3,
    ),
)

REFUSED = (
    Fault(
        name="connection refused",
        alone=True,
        subject=READ,
        strike=at("start", shut),
        told="failed",
        says=NOTHING_SENT,
        requests=0,
    ),
    Fault(
        name="connection refused",
        alone=True,
        subject=STOP,
        strike=at("start", shut),
        told="not done",
        says=NOTHING_SENT,
        requests=0,
    ),
    Fault(
        name="refused just before the change",
        alone=True,
        subject=STOP,
        strike=at("before", shut),
        told="not done",
        says=NOTHING_SENT,
    ),
    Fault(
        name="name of the first of two hosts gone",
        subject=READ,
        strike=at("start", name_gone),
        told="answered",
        settings=WITH_TWO_NAMES,
    ),
    Fault(
        name="refused three times, a fourth call",
        alone=True,
        subject=READ,
        strike=at("start", gone_for_three_calls),
        told="failed",
        says="has not answered for .* is tried again in",
        within=1,
        requests=0,
    ),
    Fault(
        name="refused three times, a change",
        alone=True,
        subject=STOP,
        strike=at("start", gone_for_three_calls),
        told="not done",
        says="has not answered for .* is tried again in",
        within=1,
        requests=0,
    ),
    Fault(
        name="back after the circuit's pause",
        alone=True,
        subject=READ,
        strike=at("start", back_after_the_pause),
        told="answered",
    ),
)

BROKEN = (
    Fault(
        name="reset before it was read, once",
        subject=READ,
        strike=at("start", cut_request),
        told="answered",
    ),
    *(
        Fault(
            name="reset before it was read",
            subject=subject,
            strike=at("before", cut_request),
            told="not done",
            within=12,
        )
        for subject in (STOP, SNAPSHOT, CONFIG, CONTAINER, RULE)
    ),
    Fault(
        name="reset after it was carried out",
        subject=READ,
        strike=at("after", cut_all),
        told="answered",
    ),
    *(
        Fault(
            name="reset after it was carried out",
            subject=subject,
            strike=at("after", cut_all),
            told="done",
        )
        for subject in (STOP, SNAPSHOT, CONFIG, CONTAINER, RULE)
    ),
    Fault(name="half an answer", subject=READ, strike=half_an_answer, told="answered"),
    Fault(name="half an answer", subject=STOP, strike=half_an_answer, told="done"),
    Fault(name="half an answer", subject=SNAPSHOT, strike=half_an_answer, told="done"),
    Fault(name="half an answer", subject=CONTAINER, strike=half_an_answer, told="done"),
    Fault(name="half a JSON text", subject=READ, strike=afterwards(half_a_json), told="answered"),
    Fault(name="half a JSON text", subject=STOP, strike=afterwards(half_a_json), told="done"),
)

PASSING = frozenset({503, 596, 597, 599})
"""After these a question is worth asking again; the other two are answers that stay."""

STATUSES = (
    tuple(
        fault
        for status in REASONS
        for fault in (
            Fault(
                name=f"{status} once",
                subject=STORAGE,
                strike=instead(refused(status), times=1),
                told="answered" if status in PASSING else "failed",
            ),
            Fault(
                name=f"{status} always",
                subject=STORAGE,
                strike=instead(refused(status)),
                told="failed",
                says=REASONS[status],
            ),
            Fault(
                name=f"{status} once, not carried out",
                subject=STOP,
                strike=instead(refused(status), times=1),
                told="unknown" if status in PASSING else "not done",
                within=12,
            ),
            Fault(
                name=f"{status} always, everywhere",
                subject=STOP,
                strike=instead(refused(status), on=""),
                told="not done",
            ),
        )
    )
    + tuple(
        Fault(
            name=f"{status} once, carried out",
            subject=SNAPSHOT,
            strike=afterwards(partial(_replaced_by, status)),
            told="done",
        )
        for status in sorted(PASSING)
    )
    + (
        Fault(
            name="596 from then on, carried out",
            subject=STOP,
            strike=both(
                afterwards(lambda _: refused(596)),
                instead(refused(596), on=r"GET .*/tasks$"),
            ),
            told="unknown",
            within=12,
        ),
    )
)

LOGINS = (
    Fault(
        name="token revoked",
        subject=READ,
        strike=instead(Answer(401, "no such token"), on=""),
        told="failed",
        says="token_name and token_value",
        requests=1,
    ),
    Fault(
        name="token revoked just before the change",
        subject=STOP,
        strike=instead(Answer(401, "no such token")),
        told="not done",
        says="token_name and token_value",
    ),
    Fault(
        name="ticket expired",
        subject=READ,
        strike=at("start", clock_jumps(3 * HOUR)),
        told="answered",
        settings=WITH_PASSWORD,
    ),
    Fault(
        name="ticket expired just before the change",
        subject=STOP,
        strike=at("before", clock_jumps(3 * HOUR)),
        told="done",
        settings=WITH_PASSWORD,
    ),
    Fault(
        name="ticket expired, half an answer to the login",
        subject=STOP,
        strike=both(at("before", clock_jumps(3 * HOUR)), instead(HALF_A_LOGIN, on=LOGIN)),
        told="not done",
        settings=WITH_PASSWORD,
    ),
    Fault(
        name="403",
        subject=READ,
        strike=instead(Answer(403, "Permission check failed (/vms/100, VM.Audit)")),
        told="failed",
        says="VM.Audit on /vms/100",
        requests=2,
    ),
    Fault(
        name="403",
        subject=STOP,
        strike=instead(Answer(403, "Permission check failed (/vms/100, VM.PowerMgmt)")),
        told="not done",
        says="VM.PowerMgmt on /vms/100",
    ),
)

STRANGERS = (
    Fault(
        name="login page with 200",
        subject=READ,
        strike=instead(html(), on=""),
        told="failed",
        says="not Proxmox's API",
        requests=1,
    ),
    Fault(
        name="login page with 200, not carried out",
        subject=STOP,
        strike=instead(html()),
        told="not done",
        within=12,
    ),
    Fault(
        name="login page with 200, carried out",
        subject=STOP,
        strike=afterwards(lambda _: html()),
        told="done",
    ),
    Fault(
        name="redirect",
        subject=READ,
        strike=instead(html(302, location="https://127.0.0.1:1/login"), on=""),
        told="failed",
        says="redirect",
        requests=1,
    ),
    Fault(
        name="redirect",
        subject=STOP,
        strike=instead(html(302, location="https://127.0.0.1:1/login")),
        told="not done",
        within=12,
    ),
    Fault(
        name="certificate changed",
        subject=READ,
        strike=at("start", other_certificate),
        told="failed",
        says="another certificate than the pinned one",
        requests=0,
    ),
    Fault(
        name="certificate changed just before the change",
        subject=STOP,
        strike=at("before", other_certificate),
        told="not done",
        says="nothing was sent",
    ),
)

NAMES_AND_CLOCKS = (
    Fault(
        name="name does not resolve any more",
        subject=READ,
        strike=at("start", name_gone),
        told="failed",
        says="does not resolve",
        settings=WITH_NAMES,
        requests=0,
    ),
    Fault(
        name="name gone just before the change",
        subject=STOP,
        strike=at("before", name_gone),
        told="not done",
        says="does not resolve",
        settings=WITH_NAMES,
    ),
    Fault(
        name="name of the first of two hosts gone",
        subject=STOP,
        strike=at("start", name_gone),
        told="done",
        settings=WITH_TWO_NAMES,
    ),
    Fault(
        name="reset after it was carried out, second host",
        subject=STOP,
        strike=at("after", cut_all),
        told="done",
        settings=WITH_TWO_NAMES,
    ),
    *(
        Fault(
            name=f"clock {words} an hour, answer lost",
            subject=STOP,
            strike=both(at("start", clock_jumps(seconds)), at("after", cut_all)),
            told="done",
        )
        for words, seconds in (("ahead by", HOUR), ("back by", -HOUR))
    ),
    Fault(
        name="clock forward an hour within the call, answer lost",
        subject=STOP,
        strike=both(at("arrival", clock_jumps(HOUR)), at("after", cut_all)),
        told="done",
    ),
    Fault(
        name="clock back an hour within the call, answer lost",
        subject=STOP,
        strike=both(at("arrival", clock_jumps(-HOUR)), at("after", cut_all)),
        told="unknown",
        within=12,
    ),
)

WATCHED = (
    Fault(
        name="API restarted between two looks at a task",
        subject=READ_TASK,
        strike=both(at("start", long_task), at("look", restarted)),
        told="answered",
        says='"state":"ok"',
        within=12,
    ),
    Fault(
        name="API restarted between two looks at a task",
        subject=SNAPSHOT,
        strike=both(at("start", slowly), at("look", restarted)),
        told="done",
        within=12,
    ),
    Fault(
        name="node lost during a task",
        subject=SNAPSHOT,
        strike=both(at("start", slowly), at("look", node_lost("pve1"))),
        told="under way",
        says="Task id: UPID",
        within=12,
    ),
    *(
        Fault(
            name="a node is offline",
            subject=subject,
            strike=at("start", node_lost("pve3")),
            told="answered",
            says="pve3",
        )
        for subject in (NODES, HEALTH, TASKS, LISTING)
    ),
    Fault(
        name="a lock is held",
        subject=STOP,
        strike=at("start", locked),
        told="not done",
        says="backup",
    ),
    Fault(
        name="locked just before the change",
        subject=STOP,
        strike=at("before", locked),
        told="not done",
        says="is locked",
    ),
    Fault(
        name="lock file held for a while",
        subject=STOP,
        strike=at("start", held),
        told="done",
    ),
)

LARGE = (
    Fault(
        name="512 KiB of notes",
        subject=CONFIG_READ,
        strike=at("start", long_notes),
        told="answered",
    ),
    Fault(
        name="512 KiB of notes",
        subject=STOP,
        strike=at("start", long_notes),
        told="done",
    ),
    Fault(
        name="512 KiB to be sent",
        subject=replace(CONFIG, arguments={"vmid": 100, "config": {"description": "x" * 600_000}}),
        strike=at("start", lambda _: None),
        told="not done",
    ),
    Fault(
        name="10,000 guests",
        subject=LISTING,
        strike=at("start", lambda _: None),
        told="answered",
        within=12,
        says="next_cursor",
        cluster={"guests": 10_000},
        requests=1,
    ),
    Fault(
        name="10,000 guests",
        subject=replace(STOP, arguments={"vmid": "web-01"}),
        strike=at("start", lambda _: None),
        told="done",
        within=12,
        cluster={"guests": 10_000},
    ),
    Fault(
        name="a log of 2,000 lines",
        subject=LOG,
        strike=at("start", long_log),
        told="answered",
        says="lines 1952 to 2001 of 2001",
    ),
    Fault(
        name="bytes that are no UTF-8",
        subject=LISTING,
        strike=afterwards(not_utf8),
        told="answered",
    ),
    Fault(
        name="bytes that are no UTF-8",
        subject=STOP,
        strike=afterwards(not_utf8),
        told="unknown",
    ),
)

FAULTS: tuple[Fault, ...] = (
    *LATE,
    *REFUSED,
    *BROKEN,
    *STATUSES,
    *LOGINS,
    *STRANGERS,
    *NAMES_AND_CLOCKS,
    *WATCHED,
    *LARGE,
)


# --- the run ---------------------------------------------------------------------------------


def run(faults: Sequence[Fault]) -> list[Row]:
    """Play every fault, several at once, and return the rows in the order of the faults.

    Large clusters come last and one by one: making their answers takes this process so long that
    it would measure itself in the rows beside them.
    """
    small = shared([fault for fault in faults if not fault.cluster])
    large = [[fault for fault in faults if fault.cluster]]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        certificates = Certificates.made(folder)
        found: dict[int, Row] = {}
        for phase, servers in enumerate((small, large if large[0] else [])):
            with ThreadPoolExecutor(LANES) as pool:
                running = [
                    pool.submit(played, each, folder / f"{phase}-{number}", certificates)
                    for number, each in enumerate(servers)
                ]
                found |= {id(row.fault): row for each in running for row in each.result()}
    return [found[id(fault)] for fault in faults]


def shared(faults: Sequence[Fault]) -> list[list[Fault]]:
    """Say which faults meet the same server: the long ones first, so that no lane waits for one."""
    servers: dict[object, list[Fault]] = {}
    for number, fault in enumerate(sorted(faults, key=lambda fault: -fault.within)):
        own = fault.alone or fault.settings
        servers.setdefault(("own", number) if own else number % LANES, []).append(fault)
    return sorted(servers.values(), key=len, reverse=True)


def main(words: Sequence[str]) -> int:
    """Run the bench and return its exit code."""
    chosen = [
        fault
        for fault in FAULTS
        if not words or any(word in f"{fault.name} {fault.subject.tool}" for word in words)
    ]
    began = time.monotonic()
    rows = run(chosen)
    print(tables.printed(rows))
    wrong = sum(bool(row.wrong) for row in rows)
    print(f"{len(rows)} rows, {wrong} wrong, {time.monotonic() - began:.0f} s")
    if not words and not wrong:
        DOCUMENT.write_text(tables.document(rows), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
