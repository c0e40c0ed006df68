"""The rules of ``allow`` and ``protect`` held against every request, whichever tool sends it.

Rule 1: what a request touches is read from its path and parameters, and what that is from the
cluster: a change is judged by the guest's state of this moment, not by the list that lags.
Rule 2: what is about to be made or moved (a clone, a restored guest, a guest on another node) is
judged by what it will be.
Rule 3: lists show only what may be touched.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from proxmox_mcp.pve.answers import words
from proxmox_mcp.pve.errors import KIND_WORDS, NotFound, Refused
from proxmox_mcp.pve.rules import Facts, Rules, tags

Rows = list[dict[str, Any]]

_GUEST = re.compile(r"/nodes/(?P<node>[^/]+)/(?P<kind>qemu|lxc)/(?P<vmid>\d+)(?P<below>/.*)?")
_TASK = re.compile(r"/nodes/(?P<node>[^/]+)/tasks/(?P<upid>UPID:[^/]+)(?:/.*)?")
_NODE = re.compile(r"/nodes/(?P<node>[^/]+)(?:/.*)?")
_VOLUME = re.compile(r"(?:vzdump-(?:qemu|lxc)-|backup/(?:vm|ct)/|(?:vm|base|subvol)-)(\d+)[-/]")
_MAKES = re.compile(r"/nodes/(?P<node>[^/]+)/(?P<kind>qemu|lxc)")


class Ask(Protocol):
    """How the cluster is asked, beside the rules."""

    async def guests(self, max_age: float) -> Rows:
        """Return the cluster's list of guests."""

    async def config(self, node: str, kind: str, vmid: int) -> Mapping[str, Any]:
        """Return a guest's configuration, as of now."""

    async def archived(self, node: str, volume: str) -> str:
        """Return the configuration that a backup holds, as text."""

    async def sees_pool(self, pool: str) -> bool:
        """Return whether the list of guests says who is in a pool."""

    async def aside(self, work: Callable[[], Rows]) -> Rows:
        """Do heavy work beside the event loop."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What a request is about, as far as it says: guests that exist, and one that will."""

    guests: tuple[int, ...] = ()
    node: str | None = None

    @classmethod
    def by(cls, path: str, params: Mapping[str, Any]) -> "Touched":
        """Read it from a request's path and parameters."""
        guests: list[Any] = []
        if found := _GUEST.fullmatch(path):
            guests.append(found["vmid"])
        elif found := _TASK.fullmatch(path):
            guests.append(found["upid"].split(":")[6])
        elif path.endswith("/vzdump"):
            guests += re.split(r"[,;\s]+", str(params.get("vmid", "")))
        for volume in (path, str(params.get("volume", ""))):
            if "/content/" in path or volume is not path:
                guests += _VOLUME.findall(volume)
        node = _NODE.fullmatch(path)
        ids = tuple(int(each) for each in guests if str(each).isdecimal())
        return cls(ids, node["node"] if node else None)


class Bounds:
    """The rules of one call."""

    def __init__(self, rules: Rules, ask: Ask) -> None:
        self.rules = rules
        self._ask = ask
        self._may_change: set[int] = set()

    async def may_read(self, path: str, params: Mapping[str, Any], identity: str) -> None:
        """Refuse to read what lies outside.

        Raises:
            NotFound: It is not among what this server may touch.
        """
        if not self.rules.allow or not path.startswith("/nodes/"):
            return
        touched = Touched.by(path, params)
        for vmid in touched.guests:
            if not self.rules.sees(await self._listed(vmid, max_age=5)):
                raise NotFound(f"Guest {vmid} {self.rules.forbids(Facts(vmid=vmid))}.")
        if _TASK.fullmatch(path) and not (touched.guests or f":{identity}:" in path):
            raise NotFound(
                f"This task is about none of the guests that are allowed ({self.rules})."
            )
        if touched.node and not self.rules.sees_node(touched.node):
            raise NotFound(f"Node {touched.node} {self.rules.forbids(Facts(node=touched.node))}.")

    async def may_change(self, path: str, params: Mapping[str, Any]) -> None:
        """Refuse to change what lies outside or is protected.

        Raises:
            Refused: The message says which rule forbids it.
        """
        if not self.rules:
            return
        touched = Touched.by(path, params)
        for vmid in touched.guests:
            await self._guest(vmid)
        if made := await self._made(path, params):
            self._must(made, f"Guest {made.vmid}")
        if not (touched.guests or made):
            self._place(touched.node)

    async def guest(self, vmid: int) -> None:
        """Refuse to change a guest; what was found holds for the rest of the call."""
        if self.rules:
            await self._guest(vmid)

    async def _guest(self, vmid: int) -> None:
        if vmid not in self._may_change:
            await self._pools_are_seen()
            self._must(await self._now(vmid), f"Guest {vmid}")
            self._may_change.add(vmid)

    async def _pools_are_seen(self) -> None:
        """A pool that the token may not see has no members in the list: then nobody is free."""
        for rule in self.rules.protect:
            if rule.about == "pool" and not await self._ask.sees_pool(rule.pattern):
                raise Refused(
                    f"Which guests the rule {rule.text} protects cannot be seen: the token needs"
                    f" Pool.Audit on /pool/{rule.pattern}. Nothing was changed."
                )

    def _must(self, facts: Facts, named: str) -> None:
        if why := self.rules.forbids(facts):
            called = f" ({facts.name})" if facts.name else ""
            raise Refused(f"{named}{called} {why}. Nothing was changed.")

    def _place(self, node: str | None) -> None:
        """A node, or the cluster as a whole, which no rule about guests opens."""
        if node:
            # The node is protected by a rule of its own only; guests' rules say nothing of it.
            self._must(Facts(node=node), f"Node {node}")
        elif self.rules.allow or self.rules.speak_of("node"):
            raise Refused(
                "This changes the whole cluster, also what the rules (allow, protect) keep from"
                " this server. Nothing was changed."
            )

    async def _listed(self, vmid: int, max_age: float) -> Facts:
        rows = await self._ask.guests(max_age)
        row = next((row for row in rows if row.get("vmid") == vmid), None)
        return Facts.of(row) if row else Facts(vmid=vmid)

    async def _now(self, vmid: int) -> Facts:
        """Read a guest's facts as they are now: its name lags in the list, its pool does not."""
        rows = await self._ask.guests(0 if self.rules.speak_of("pool", "node") else 5)
        row = next((row for row in rows if row.get("vmid") == vmid), None)
        if row is None:
            return Facts(vmid=vmid)
        facts = Facts.of(row)
        if not self.rules.speak_of("name", "tag"):
            return facts
        config = await self._ask.config(row["node"], row["type"], vmid)
        name = words(config.get("name", config.get("hostname")))
        return replace(facts, name=name or facts.name, tags=tags(config))

    async def _made(self, path: str, params: Mapping[str, Any]) -> Facts | None:
        """Foresee the guest that a request makes or moves; None where it does neither."""
        guest = _GUEST.fullmatch(path)
        if guest and guest["below"] == "/clone":
            source = await self._now(int(guest["vmid"]))
            name = params.get("name", params.get("hostname"))
            node = params.get("target", source.node)
            return replace(source, vmid=int(params["newid"]), name=name, node=node, pool=None)
        if guest and guest["below"] == "/migrate":
            return replace(await self._now(int(guest["vmid"])), node=str(params["target"]))
        if made := _MAKES.fullmatch(path):
            return await self._restored(made["node"], params)
        return None

    async def _restored(self, node: str, params: Mapping[str, Any]) -> Facts:
        vmid, volume = int(params["vmid"]), params.get("archive", params.get("ostemplate"))
        rows = await self._ask.guests(0)
        if any(row.get("vmid") == vmid for row in rows):
            await self._guest(vmid)  # what is overwritten counts as well as what comes
        facts = Facts(vmid=vmid, node=node)
        if not (volume and self.rules.speak_of("name", "tag")):
            return facts
        text = await self._ask.archived(node, str(volume))
        lines = dict(re.findall(r"^(name|hostname|tags): *(.+)$", text, re.MULTILINE))
        return replace(facts, name=lines.get("name", lines.get("hostname")), tags=tags(lines))

    async def visible(self, path: str, rows: Rows, identity: str) -> Rows:
        """Return the rows of a list that may be shown."""
        if not self.rules.allow:
            return rows
        shows = _shows(path)
        if shows is None:
            return rows
        listed = rows if path == "/cluster/resources" else await self._ask.guests(5)
        guests = _seen(self.rules, listed)
        return await self._ask.aside(
            lambda: [row for row in rows if shows(self.rules, guests, identity, row)]
        )


def _seen(rules: Rules, rows: Iterable[dict[str, Any]]) -> Callable[[int], bool]:
    there = {row["vmid"]: Facts.of(row) for row in rows if row.get("vmid") is not None}
    return lambda vmid: rules.sees(there.get(vmid) or Facts(vmid=vmid))


Sees = Callable[[int], bool]
Shows = Callable[[Rules, Sees, str, dict[str, Any]], bool]


def _resource(rules: Rules, sees: Sees, _: str, row: dict[str, Any]) -> bool:
    if row.get("type") in KIND_WORDS:
        return row.get("vmid") is not None and sees(row["vmid"])
    return rules.sees_node(row.get("node"))


def _node(rules: Rules, _sees: Sees, _: str, row: dict[str, Any]) -> bool:
    return rules.sees_node(row.get("node"))


def _task(_: Rules, sees: Sees, identity: str, row: dict[str, Any]) -> bool:
    about = str(row.get("id") or "")
    return sees(int(about)) if about.isdecimal() else f":{identity}:" in str(row.get("upid"))


def _volume(_: Rules, sees: Sees, __: str, row: dict[str, Any]) -> bool:
    return row.get("vmid") is None or sees(row["vmid"])


_SHOWS: tuple[tuple[re.Pattern[str], Shows], ...] = (
    (re.compile(r"/cluster/resources"), _resource),
    (re.compile(r"/nodes"), _node),
    (re.compile(r"/nodes/[^/]+/tasks"), _task),
    (re.compile(r"/nodes/[^/]+/storage/[^/]+/content"), _volume),
)


def _shows(path: str) -> Shows | None:
    return next((shows for form, shows in _SHOWS if form.fullmatch(path)), None)
