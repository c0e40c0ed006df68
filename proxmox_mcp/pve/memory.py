"""Answers just read: kept for seconds, and shared by calls that come together."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio


@dataclass
class Kept:
    """An answer, and the lock that makes callers share one request for it.

    Attributes:
        lock: Whoever holds it asks.
        asked: How often it was asked.
        number: Which of these the answer is to.
        at: When that came.
        answer: The answer.
    """

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    asked: int = 0
    number: int = 0
    at: float = float("-inf")
    answer: Any = None


class Memory:
    """What is remembered of one cluster, for as long as a caller finds it young enough."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[str, Kept] = {}

    async def read(
        self, key: str, max_age: float, ask: Callable[[], Awaitable[Any]]
    ) -> tuple[Any, bool]:
        """Return an answer, and whether it was asked for by somebody else.

        Args:
            key: Which answer.
            max_age: So many seconds of age are good enough. With 0, only what was asked for after
                this call came: that is as good as asking for it again.
            ask: Asks for it.
        """
        kept = self._kept.setdefault(key, Kept())
        before = kept.asked

        def good() -> bool:
            return kept.number > before or self._clock() - kept.at <= max_age

        if not good():
            async with kept.lock:
                if not good():
                    number = kept.asked = kept.asked + 1
                    kept.answer = await ask()
                    kept.at, kept.number = self._clock(), number
                    return kept.answer, False
        return kept.answer, True

    def forget(self) -> None:
        """Forget everything."""
        self._kept.clear()
