"""Which privilege a tool needs on Proxmox, written in one line and read by people and by code.

``VM.PowerMgmt on /vms/{vmid}``: without it the tool fails. ``A|B on ...``: one of them is enough.
``... from PVE 9`` and ``... before PVE 9`` say which version asks for it. What follows ``for`` or
``to see`` is needed only then: for some arguments, or to see all there is. ``... by key`` stands
behind several of which each is needed for some keys of a configuration. ``... or Y on ...`` stands
behind a right that another one, on another path, makes good for.

A word in braces is the same thing in all needs of a tool: what reaches it is where all are held.
``{newid}`` is a guest that is yet to be made, ``{backups}`` a storage that may hold backups,
``{disks}`` one that may hold disks.

Sources: the ``perm`` expressions of Proxmox's own API schema, 7.4 to 9.2, and refusals recorded
from 8.4 and 9.2.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from proxmox_mcp.pve.permissions import EVERYWHERE, Permissions, Reach

_FORM = re.compile(
    r"(?P<privileges>[A-Za-z.]+(?:\|[A-Za-z.]+)*) on (?P<path>/\S*)"
    r"(?: or (?P<other>[A-Za-z.]+) on (?P<elsewhere>/\S*))?"
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
        other: A privilege and a path that make good for it.
        since: The first major version that asks for it.
        before: The first that does not any more.
        keyed: Whether each of them is needed for something.
        when: What it is needed for, where the tool also works without.
    """

    text: str
    privileges: tuple[str, ...]
    path: str
    other: tuple[str, str] | None = None
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
            other=(found["other"], found["elsewhere"]) if found["other"] else None,
            since=version if bound == "from" else 0,
            before=version if bound == "before" else 99,
            keyed=bool(found["keyed"]),
            when=found["when"] or "",
        )

    def holds_in(self, version: float) -> bool:
        """Whether a server of this version asks for it."""
        return self.since <= version < self.before

    def reach(self, held: Permissions) -> Reach:
        """Where a token has what is needed here."""
        if self.other and held.where(self.other[1], self.other[0]):
            return EVERYWHERE
        return held.where(self.path, *self.privileges)

    def lacks(self, held: Permissions, at: Reach) -> list[str]:
        """Say what a tool that works *at* these places cannot do there, or only at some of them."""
        if not self.keyed:
            return _shortfall(self.text, self.reach(held), at)
        reaches = {name: held.where(self.path, name) & at for name in self.privileges}
        nowhere = ", ".join(name for name, both in reaches.items() if not both)
        partly = [
            line
            for name, both in reaches.items()
            if both
            for line in _shortfall(f"{name} on {self.path} for its keys", both, at)
        ]
        return [f"{nowhere} on {self.path} for their keys", *partly] if nowhere else partly


def _shortfall(named: str, where: Reach, at: Reach) -> list[str]:
    both = where & at
    if both == at:
        return []
    return [f"{named}: {both}" if both else named]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a token can use a tool.

    Attributes:
        missing: The needs without which it fails.
        where: Where alone it works, by the needs' path; one that is not here may be any.
        less: What it cannot do or see, though it works.
    """

    missing: tuple[Need, ...] = ()
    where: Mapping[str, Reach] = field(default_factory=dict)
    less: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it works at all."""
        return not self.missing


def judge(needs: Iterable[Need], held: Permissions, version: float) -> Verdict:
    """Hold a tool's needs against what a token may do on a server of this version."""
    asked = [need for need in needs if need.holds_in(version)]
    places: dict[str, Reach] = {}
    missing: list[Need] = []
    for need in (need for need in asked if not need.when):
        both = places.get(need.path, EVERYWHERE) & need.reach(held)
        if both:
            places[need.path] = both
        else:  # held nowhere, or only where something else is not
            missing.append(need)
    if missing:
        return Verdict(missing=tuple(missing))
    return Verdict(
        where={path: reach for path, reach in places.items() if reach != EVERYWHERE},
        less=tuple(
            line
            for need in asked
            if need.when or need.keyed
            for line in need.lacks(held, places.get(need.path, EVERYWHERE))
        ),
    )


def granted(needs: Iterable[Need], version: float) -> dict[str, list[Need]]:
    """Return the privileges that a role should have, each with what asks for it.

    Of several of which one is enough it has none but one: one that is there anyway, or the first.
    """
    asked = [need for need in needs if need.holds_in(version)]
    wanted: dict[str, list[Need]] = {}
    for need in sorted(asked, key=lambda need: len(need.privileges) > 1 and not need.keyed):
        there = next((name for name in need.privileges if name in wanted), need.privileges[0])
        for privilege in need.privileges if need.keyed else (there,):
            wanted.setdefault(privilege, []).append(need)
    return dict(sorted(wanted.items()))
