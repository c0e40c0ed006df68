"""Stdout belongs to the protocol: from the program's first line on, it leads elsewhere.

What an import, a thread or a child prints would stand on the wire, where clients take it for a
broken message. So descriptor 1 is stderr, and the real stdout is a stream of its own, handed down
to those who have something to say there.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper


@contextmanager
def stdout_diverted() -> Iterator[TextIOWrapper]:
    """Lead descriptor 1 to stderr, for Python and for whatever writes to it directly.

    Yields:
        The real stdout.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    stdout = os.fdopen(kept, "w", encoding=sys.stdout.encoding)
    try:
        yield stdout
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        stdout.close()
