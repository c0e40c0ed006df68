"""Rules over guests and nodes: which may be touched at all, and which only read.

A rule is one word: ``105``, ``100-199``, ``name:web-*``, ``tag:prod``, ``pool:core`` or
``node:pve1``. ``allow`` limits everything to the guests that one of its rules fits; ``protect``
means that what one of its rules fits is only read. They are held against facts, never against what
a caller said.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

_FORMS = {
    "name": r"[A-Za-z0-9.*?\[\]!_-]{1,255}",
    "tag": r"[A-Za-z0-9_.+-]{1,255}",
    "pool": r"[A-Za-z0-9._/-]{1,255}",
    "node": r"[A-Za-z0-9*?-]{1,63}",
}
_RANGE = re.compile(r"(?P<low>[0-9]{1,9})(?:\s*-\s*(?P<high>[0-9]{1,9}))?")
EXPECTED = "must be an id (105), a range (100-199), name:web-*, tag:prod, pool:core or node:pve1"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a guest, or of one that is about to be made; of a node only its name."""

    vmid: int | None = None
    node: str | None = None
    name: str | None = None
    tags: frozenset[str] = frozenset()
    pool: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Read them from an entry of ``/cluster/resources``."""
        return cls(row.get("vmid"), row.get("node"), row.get("name"), tags(row), row.get("pool"))


def tags(row: Mapping[str, Any]) -> frozenset[str]:
    """Return a guest's tags, in lower case; 8.4 joins them with a comma in places."""
    parts = re.split(r"[;,\s]+", str(row.get("tags") or "").lower())
    return frozenset(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, as it was written and as it is read."""

    text: str
    about: str
    pattern: str = ""
    ids: range = range(0)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a rule.

        Raises:
            ValueError: It is none; the message says what one looks like.
        """
        word = str(text).strip()
        if found := _RANGE.fullmatch(word):
            low, high = int(found["low"]), int(found["high"] or found["low"])
            if low > high:
                raise ValueError(f"{word} is a range that ends before it begins")
            return cls(word, "vmid", ids=range(low, high + 1))
        about, colon, pattern = word.partition(":")
        about, pattern = about.lower(), pattern.strip()
        if not colon or about not in _FORMS or not re.fullmatch(_FORMS[about], pattern):
            raise ValueError(EXPECTED)
        return cls(word, about, pattern if about == "pool" else pattern.lower())

    def fits(self, facts: Facts) -> bool:
        """Whether this rule is about a guest or node with these facts."""
        match self.about:
            case "vmid":
                return facts.vmid in self.ids
            case "tag":
                return self.pattern in facts.tags
            case "pool":
                # Pools may lie in pools since Proxmox 8.1, written as a path.
                return f"{facts.pool or ''}/".startswith(f"{self.pattern}/")
            case "node":
                return facts.node is not None and fnmatchcase(facts.node.lower(), self.pattern)
        return facts.name is not None and fnmatchcase(facts.name.lower(), self.pattern)


@dataclass(frozen=True, slots=True)
class Rules:
    """Both lists. Without a rule everything is allowed, and nothing is protected."""

    allow: tuple[Rule, ...] = ()
    protect: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, allow: tuple[str, ...] = (), protect: tuple[str, ...] = ()) -> Self:
        """Read both lists as they stand in the settings."""
        return cls(tuple(map(Rule.parse, allow)), tuple(map(Rule.parse, protect)))

    def __bool__(self) -> bool:
        return bool(self.allow or self.protect)

    def __str__(self) -> str:
        return ", ".join(rule.text for rule in self.allow)

    def speak_of(self, *about: str) -> bool:
        """Whether any rule is about one of these: ``tag``, ``name``, ``node`` and so on."""
        return any(rule.about in about for rule in (*self.allow, *self.protect))

    def sees(self, facts: Facts) -> bool:
        """Whether a guest may be touched at all."""
        return not self.allow or any(rule.fits(facts) for rule in self.allow)

    def sees_node(self, node: str | None) -> bool:
        """Whether a node is shown: rules about guests alone hide none."""
        by_node = [rule for rule in self.allow if rule.about == "node"]
        return not by_node or any(rule.fits(Facts(node=node)) for rule in by_node)

    def forbids(self, facts: Facts) -> str | None:
        """Say why something with these facts must not be changed; None where it may be."""
        if not self.sees(facts):
            return f"is outside of what this server may touch (allow = {self})"
        held = next((rule for rule in self.protect if rule.fits(facts)), None)
        return f"is protected by the rule {held.text}: it may only be read" if held else None
