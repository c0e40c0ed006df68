"""How fast requests may follow each other: a token bucket.

Ours, because the libraries for it wait without being able to say how long it would take, and so
could not refuse at once.
"""

import time
from collections.abc import Callable


class Bucket:
    """A token bucket: *burst* requests at once, then *rate* a second.

    Pure bookkeeping on a clock that is passed in; it never sleeps.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic):
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()

    def take(self, patience: float) -> float | None:
        """Take a token, in advance if need be, and return the seconds to wait before using it.

        Returns None, and takes nothing, where that would be longer than *patience*.
        """
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        wait = max(0.0, (1 - self._tokens) / self._rate)
        if wait > patience:
            return None
        self._tokens -= 1
        return wait

    def put_back(self) -> None:
        """Return a token that was taken and not used."""
        self._tokens += 1
