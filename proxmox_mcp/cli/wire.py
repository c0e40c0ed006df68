"""Stdout belongs to the protocol: while this program loads, it is led elsewhere.

Whatever an import prints would stand on the wire before the first answer, where clients take it for
a broken message. During service the SDK does the same for itself.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stdout_diverted() -> Iterator[None]:
    """Lead descriptor 1 to stderr, for Python and for whatever writes to it directly."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
