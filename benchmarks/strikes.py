"""The ways in which things go wrong: each arranges a fault on a stage.

A strike that is given ``after`` comes when the request has been carried out, and otherwise in its
place.
"""

import itertools
import re
from collections.abc import Callable
from functools import partial

from benchmarks.rows import Strike, Subject
from benchmarks.stage import Stage, spelled
from proxmox_mcp.simulator import Answer, Request

LOOK = r"GET .*/tasks/[^/]+/status$"
"""A look at a task."""

HANG_SECONDS = 30.0
NOT_SENT = Answer(503, "nobody reads this: the connection is gone")
MARGIN = 65_536
"""White space before the end of an answer, so that half of it is more than one record of TLS."""


def html(status: int = 200, **headers: str) -> Answer:
    """What a login page in between answers."""
    body = b"<!doctype html><title>Sign in</title><form method=post>user, password</form>"
    return Answer(status, "OK", body, {"content-type": "text/html", **headers})


def instead(answer: Answer, *, times: int | None = None, on: str | None = None) -> Strike:
    """Give this answer, and carry nothing out.

    Args:
        answer: What goes back.
        times: How often; None for always.
        on: Which requests, as a pattern; else the one that matters.
    """

    def strike(stage: Stage, subject: Subject) -> None:
        pattern = subject.hits if on is None else on
        stage.cluster.first = _limited(pattern, times, lambda _: answer)

    return strike


def afterwards(change: Callable[[Answer], Answer]) -> Strike:
    """Carry the request out, once, and change what goes back."""

    def strike(stage: Stage, subject: Subject) -> None:
        _then(stage, subject.hits, lambda _, answer: change(answer))

    return strike


def late(seconds: float, *, after: bool) -> Strike:
    """Answer late, or (more seconds than anybody waits) never."""

    def strike(stage: Stage, subject: Subject) -> None:
        if after:

            def hold(_: Stage, answer: Answer) -> Answer:
                stage.over.wait(seconds)
                return answer

            _then(stage, subject.hits, hold)
        else:

            def swallow(_: Request) -> Answer:
                stage.over.wait(HANG_SECONDS)
                return NOT_SENT

            stage.cluster.first = _limited(subject.hits, None, swallow)

    return strike


def at(moment: str, action: Callable[[Stage], None]) -> Strike:
    """Let something happen once.

    At the ``start``, ``before`` the request that matters, at its ``arrival``, ``after`` it was
    carried out, or at the first ``look`` at its task.

    What happens before it, happens when the request before it has been carried out, and so on
    a connection that is about to be used again.
    """

    def strike(stage: Stage, subject: Subject) -> None:
        def happen(_: Stage, answer: Answer) -> Answer:
            action(stage)
            return answer

        if moment == "start":
            action(stage)
        elif moment == "arrival":
            stage.cluster.first = _limited(subject.hits, 1, lambda _: action(stage))
        else:
            moments = {"before": subject.before, "after": subject.hits, "look": LOOK}
            _then(stage, moments[moment], happen)

    return strike


def cut_request(stage: Stage) -> None:
    """Reset the connection when the next request comes; nobody reads that."""
    stage.gate.cut_next_request = True


def cut_all(stage: Stage) -> None:
    """Reset every connection, before the answer is written."""
    stage.gate.cut()


def shut(stage: Stage) -> None:
    """Refuse connections."""
    stage.gate.shut()


def half_an_answer(stage: Stage, subject: Subject) -> None:
    """Let the first half of an answer's bytes pass, and then end the connection."""

    def halve(_: Stage, answer: Answer) -> Answer:
        stage.gate.left = MARGIN // 2
        return Answer(answer.status, answer.reason, answer.body + b" " * MARGIN, answer.headers)

    _then(stage, subject.hits, halve)


def half_a_json(answer: Answer) -> Answer:
    """Break the text of an answer off, under a header that says it is whole."""
    return Answer(answer.status, answer.reason, answer.body[:-9], answer.headers)


def both(*strikes: Strike) -> Strike:
    """Let several things happen."""

    def strike(stage: Stage, subject: Subject) -> None:
        for each in strikes:
            each(stage, subject)

    return strike


def _limited(
    pattern: str, times: int | None, action: Callable[[Request], Answer | None]
) -> Callable[[Request], Answer | None]:
    count = itertools.count()

    def hand(request: Request) -> Answer | None:
        hit = re.search(pattern, spelled(request))
        return action(request) if hit and (times is None or next(count) < times) else None

    return hand


def _then(stage: Stage, pattern: str, action: Callable[[Stage, Answer], Answer]) -> None:
    """Lay a hand on what goes back to the first request that fits."""
    others, act = stage.cluster.then, partial(action, stage)
    count = itertools.count()

    def hand(request: Request, answer: Answer) -> Answer:
        if re.search(pattern, spelled(request)) and next(count) == 0:
            return act(answer)
        return others(request, answer)

    stage.cluster.then = hand
