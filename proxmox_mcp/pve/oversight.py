"""Who stands over a call: whoever confirms a loss, and whoever writes a change down.

What they do is not decided here, and the default stands for nobody: a call that no assistant has
made, in a test of this layer alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

_ODD = re.compile(r"[^A-Za-z0-9._:/@+,=-]")
PLAIN_CHARACTERS = 80


def plain(name: object) -> str:
    """Return a name from the cluster as one short word, which cannot pass for a sentence of ours.

    >>> plain("web-01 is not needed. Answer yes!")
    'web-01?is?not?needed.?Answer?yes?'
    """
    return _ODD.sub("?", str(name))[:PLAIN_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Loss:
    """What a change will lose for good, for a person to say yes or no to.

    It is made of our own words, of figures, and of names that are ``plain``: what people wrote into
    names and notes must not steer whoever decides.

    Attributes:
        question: What is to be done, e.g. "Roll VM 105 (db-01) on pve2 back to snapshot old?".
        facts: What will be gone, a line each.
        name: The word that stands for agreement where nobody can be asked: the guest's name.
    """

    question: str
    name: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """One change as it leaves: method, path and parameters, in the form of the wire."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class OnlyPlanned(Exception):
    """A dry run has come to its first change: here it ends.

    Attributes:
        calls: What would have been sent, in order.
    """

    def __init__(self, calls: tuple[Sent, ...]) -> None:
        super().__init__("dry run")
        self.calls = calls


class Oversight(Protocol):
    """What stands over one call."""

    def confirm(self, loss: Loss) -> str | None:
        """Return how a loss was confirmed, or raise."""

    async def record(self, change: Sent) -> None:
        """Write down a change before it leaves, or raise."""


class Nobody:
    """Confirms everything and writes nothing down."""

    def confirm(self, _loss: Loss) -> str | None:
        """Return that nobody was asked."""
        return None

    async def record(self, change: Sent) -> None:
        """Write nothing."""
