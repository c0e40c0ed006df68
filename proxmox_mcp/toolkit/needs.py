"""Which privilege a tool needs on Proxmox, written in one line and read by people and by code.

``VM.PowerMgmt on /vms/{vmid}``: without it the tool fails. ``A|B on ...``: one of them is enough.
``... from PVE 9`` and ``... before PVE 9`` say which version asks for it. What follows ``for`` or
``to see`` is needed only then: for some arguments, or to see all there is. ``... by key`` stands
behind several of which each is needed for some keys of a configuration.

Sources: the ``perm`` expressions of Proxmox's own API schema, 7.4 to 9.2, and refusals recorded
from 8.4 and 9.2.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from proxmox_mcp.pve.permissions import EVERYWHERE, Permissions

_FORM = re.compile(
    r"(?P<privileges>[A-Za-z.]+(?:\|[A-Za-z.]+)*) on (?P<path>/\S*)"
    r"(?: (?P<bound>from|before) PVE (?P<version>\d+))?(?P<keyed> by key)?"
    r"(?: (?P<when>(?:for|to see) .+))?"
)


@dataclass(frozen=True, slots=True)
class Need:
    """One line of a tool's needs.

    Attributes:
        text: As it was written.
        privileges: One of these is enough.
        path: Where, with parts in braces, e.g. ``/vms/{vmid}``.
        since: The first major version that asks for it.
        before: The first that does not any more.
        keyed: Whether each of them is needed for something.
        when: What it is needed for, where the tool also works without.
    """

    text: str
    privileges: tuple[str, ...]
    path: str
    since: int = 0
    before: int = 99
    keyed: bool = False
    when: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one line; a misspelt one is a mistake of ours and raises ValueError."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError(f"not a need: {text}")
        bound, version = found["bound"], int(found["version"] or 0)
        return cls(
            text,
            tuple(found["privileges"].split("|")),
            found["path"],
            since=version if bound == "from" else 0,
            before=version if bound == "before" else 99,
            keyed=bool(found["keyed"]),
            when=found["when"] or "",
        )

    def holds_in(self, version: float) -> bool:
        """Whether a server of this version asks for it."""
        return self.since <= version < self.before

    @property
    def granted(self) -> tuple[str, ...]:
        """Which privileges a role should have for it."""
        return self.privileges if self.keyed else self.privileges[:1]

    @property
    def area(self) -> str:
        """The path with its variable parts cut off: ``/vms`` for ``/vms/{vmid}``."""
        return self.path.partition("/{")[0] or "/"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a token can use a tool.

    Attributes:
        missing: The needs without which it fails, nothing of which is held.
        only_on: Where alone it works; empty where it works everywhere.
        less: What it cannot do or see, though it works.
    """

    missing: tuple[Need, ...]
    only_on: tuple[str, ...]
    less: tuple[Need, ...]

    @property
    def usable(self) -> bool:
        """Whether it works at all."""
        return not self.missing


def judge(needs: Iterable[Need], held: Permissions, version: float) -> Verdict:
    """Hold a tool's needs against what a token may do on a server of this version."""
    asked = [need for need in needs if need.holds_in(version)]
    places: dict[str, frozenset[str]] = {}
    missing: list[Need] = []
    for need in (need for need in asked if not need.when):
        where = held.where(need.area, *need.privileges)
        both = _both(places.get(need.area, frozenset({EVERYWHERE})), where)
        places[need.area] = both
        missing += [] if both else [need]
    less = [need for need in asked if need.when and not held.where(need.area, *need.privileges)]
    only = {path for where in places.values() for path in where if path != EVERYWHERE}
    return Verdict(tuple(missing), tuple(sorted(only)) if not missing else (), tuple(less))


def _both(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    if EVERYWHERE in one:
        return other
    return one if EVERYWHERE in other else one & other


def granted(needs: Iterable[Need], version: float) -> dict[str, list[Need]]:
    """Return the privileges that a role should have, each with what asks for it."""
    wanted: dict[str, list[Need]] = {}
    for need in needs:
        for privilege in need.granted if need.holds_in(version) else ():
            wanted.setdefault(privilege, []).append(need)
    return dict(sorted(wanted.items()))
