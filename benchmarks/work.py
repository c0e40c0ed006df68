"""How much work a call is, counted instead of timed: the calls of functions that Python makes.

The count is nearly the same in every run and on every machine, unlike any time; a loop over ten
times as many guests shows as ten times as many calls. Work inside one C function counts as one.
"""

import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

EVENTS = frozenset({"call", "c_call"})


class Counter:
    """Counts function calls, in this thread and in all that begin while it is on.

    A thread goes on with what was on when it began, so one counter serves for everything.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def __enter__(self) -> Self:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing in this thread; counting costs time as well."""
        sys.setprofile(None)
        try:
            yield
        finally:
            sys.setprofile(self._note)

    def _note(self, _frame: FrameType, event: str, _argument: Any) -> None:
        if event in EVENTS:
            mine = threading.get_ident()
            self._counts[mine] = self._counts.get(mine, 0) + 1

    @property
    def total(self) -> int:
        """How many calls so far."""
        return sum(self._counts.values())


async def of(counter: Counter, job: Callable[[], Awaitable[object]]) -> int:
    """Count the calls of one job."""
    before = counter.total
    await job()
    return counter.total - before
