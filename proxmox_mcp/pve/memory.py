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
        number: Which of these ended last.
        failure: How that failed, if it did.
        answer: The last good answer.
        at: When it came.
    """

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    asked: int = 0
    number: int = 0
    failure: Exception | None = None
    answer: Any = None
    at: float = float("-inf")


class Memory:
    """What is remembered of one cluster, for as long as a caller finds it young enough."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[str, Kept] = {}

    async def read(
        self, key: str, max_age: float, ask: Callable[[], Awaitable[Any]]
    ) -> tuple[Any, bool]:
        """Return an answer, and whether it was asked for by somebody else.

        Who waits for what somebody else asked for shares its failure too; the next one asks anew.

        Args:
            key: Which answer.
            max_age: So many seconds of age are good enough. With 0, only what was asked for after
                this call came: that is as good as asking for it again.
            ask: Asks for it.
        """
        kept = self._kept.setdefault(key, Kept())
        before = kept.asked

        def fresh() -> bool:
            return kept.number > before

        def young() -> bool:
            return max_age > 0 and self._clock() - kept.at <= max_age

        if not (fresh() or young()):
            async with kept.lock:
                if not (fresh() or young()):
                    return await self._asked(kept, ask), False
        if fresh() and kept.failure:
            raise kept.failure
        return kept.answer, True

    async def _asked(self, kept: Kept, ask: Callable[[], Awaitable[Any]]) -> Any:
        number = kept.asked = kept.asked + 1
        kept.failure = None
        try:
            kept.answer = await ask()
        except Exception as error:
            kept.failure, kept.number = error, number
            raise
        kept.at, kept.number = self._clock(), number
        return kept.answer

    def forget(self) -> None:
        """Forget everything."""
        self._kept.clear()
