"""A cluster that does not answer is not asked again and again.

Each further call would cost its whole timeout and learn nothing. After a few silences in a row the
circuit opens: calls fail at once, in words that say since when and when it is tried again. Then one
request may probe; its answer closes the circuit, its silence opens it for twice as long.

Pure bookkeeping on a clock that is passed in; safe from several threads.
"""

import threading
import time
from collections.abc import Callable

SILENCES = 3
"""So many in a row, and the cluster is taken as gone."""

FIRST_SECONDS = 5.0
LONGEST_SECONDS = 60.0


class Circuit:
    """Whether a cluster is worth asking now."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, silences: int = SILENCES
    ) -> None:
        self._clock = clock
        self._limit = silences
        self._lock = threading.Lock()
        self._silences = 0
        self._since = 0.0
        self._until = float("-inf")
        self._pause = FIRST_SECONDS
        self._probing = False

    def refusal(self) -> str | None:
        """Say why a request should not be sent now; None lets it pass, and one probe at a time."""
        with self._lock:
            if self._silences < self._limit:
                return None
            now = self._clock()
            if now >= self._until and not self._probing:
                self._probing = True
                return None
            wait = max(0.0, self._until - now)
            when = "is being tried now" if self._probing else f"is tried again in {wait:.0f} s"
            return f"has not answered for {now - self._since:.0f} s and {when}"

    def answered(self) -> None:
        """Note that the cluster answered, whatever it said."""
        with self._lock:
            self._silences = 0
            self._pause = FIRST_SECONDS
            self._probing = False

    def silent(self) -> None:
        """Note that nothing came back."""
        with self._lock:
            now = self._clock()
            if self._silences == 0:
                self._since = now
            self._silences += 1
            if self._silences >= self._limit:
                if self._silences > self._limit and self._probing:
                    self._pause = min(2 * self._pause, LONGEST_SECONDS)
                self._until = now + self._pause
            self._probing = False

    def unasked(self) -> None:
        """Note that a request that was let pass was never sent, so that another may probe."""
        with self._lock:
            self._probing = False
