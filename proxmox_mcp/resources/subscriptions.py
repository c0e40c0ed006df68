"""Who subscribed to a guest or a task is told when it changes.

Since 2026-07-28 a client names the URIs when it opens ``subscriptions/listen``. The SDK serves
that, and acknowledges every URI; one that cannot be followed is acknowledged too and never heard
of. Before, there are ``resources/subscribe`` and ``resources/unsubscribe``. The SDK's ``MCPServer``
does not serve these; its low-level server lets them be added, and so they are served here. A URI
that cannot be followed is refused there.

A guest, a task and a task's log are followed by looking. A guest's configuration and snapshots are
told of only when a tool of this server may have changed them; cluster, nodes and storages, whose
figures are different at every look, are not followed.

Rule 1: the cluster is looked at only while somebody follows something: one request for all guests,
one for all tasks of a node.
Rule 2: what is told is "look again", never what it is now; it may be told once too often.
Rule 3: what a guest is doing comes from the cluster's list, which is up to ten seconds old and does
not tell a paused guest from a running one.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver.exceptions import ResourceError
from mcp.server.subscriptions import ResourceUpdated, SubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams

from proxmox_mcp.pve.errors import ProxmoxError
from proxmox_mcp.pve.guard import Cluster, Pve
from proxmox_mcp.pve.upid import Upid, judge
from proxmox_mcp.resources import guests, tasks
from proxmox_mcp.resources.shelf import Shelf
from proxmox_mcp.toolkit.bind import State

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
FIRST_LOOK_SECONDS = 3.0
"""A subscription is confirmed after this time, also where the cluster has not answered yet."""

MOST_FOLLOWED: Final = 500
LOOKED_AT = frozenset({guests.guest.uri, tasks.task.uri, tasks.task_log.uri})
TOLD_OF = frozenset({guests.guest_config.uri, guests.guest_snapshots.uri})
SHOWS = ("status", "lock", "node", "name", "tags", "pool", "template", "hastate")
"""What of an entry in the cluster's list is a state, and no figure."""

ENDED = "ended"
Tell = Callable[[str], Awaitable[None]]


@dataclass
class Followed:
    """One URI that somebody follows.

    Attributes:
        about: The guest's id or name, or the task.
        looked_at: Whether the cluster is asked for its state.
        tells: Who is told, and how often each has subscribed.
        seen: Its state at the last look; None before the first.
    """

    about: int | str | Upid
    looked_at: bool
    tells: Counter[Tell] = field(default_factory=Counter)
    seen: Any = None


class Watcher:
    """Looks at what is followed, for as long as anything is."""

    def __init__(self, shelf: Shelf, cluster: Cluster, bus: SubscriptionBus) -> None:
        self._shelf = shelf
        self._cluster = cluster
        self._bus = bus
        self._followed: dict[str, Followed] = {}
        self._ids: dict[str, int] = {}
        self._begun = anyio.Event()
        self._failing = False

    @property
    def following(self) -> frozenset[str]:
        """The URIs that are followed now."""
        return frozenset(self._followed)

    async def follow(self, uri: str, tell: Tell) -> Callable[[], None]:
        """Have somebody told of changes, and return what ends that.

        Raises:
            ResourceError: The URI names nothing, or nothing that can be followed.
        """
        spec, arguments = self._shelf.find(uri)
        if spec.uri not in LOOKED_AT | TOLD_OF:
            raise ResourceError(f"{spec.uri} cannot be subscribed to: read it when it is needed.")
        if uri not in self._followed and len(self._followed) >= MOST_FOLLOWED:
            raise ResourceError(f"{MOST_FOLLOWED} URIs are followed already, which is the most.")
        about: Any = arguments.get("vmid", arguments.get("upid"))
        followed = self._followed.setdefault(uri, Followed(about, spec.uri in LOOKED_AT))
        followed.tells[tell] += 1
        if followed.looked_at and followed.seen is None:
            # What changes from here on is a change, so how it is must be known first.
            with anyio.move_on_after(FIRST_LOOK_SECONDS):
                await self.look()
        self._begun.set()
        return lambda: self._drop(uri, tell)

    def _drop(self, uri: str, tell: Tell) -> None:
        followed = self._followed[uri]
        followed.tells[tell] -= 1
        followed.tells += Counter()  # drops those that are at zero
        if not followed.tells:
            del self._followed[uri]

    @asynccontextmanager
    async def published(self, uris: Iterable[str]) -> AsyncIterator[None]:
        """Follow what a stream of ``subscriptions/listen`` names, while it is open."""
        ends = []
        try:
            for uri in dict.fromkeys(uris):
                try:
                    ends.append(await self.follow(uri, self._publish))
                except ResourceError as error:
                    log.info("subscription.ignored", extra={"why": str(error)})
            yield
        finally:
            for end in ends:
                end()

    async def _publish(self, uri: str) -> None:
        await self._bus.publish(ResourceUpdated(uri=uri))

    async def run(self) -> None:
        """Look again and again; sleeps where there is nothing to look at."""
        while True:
            if any(each.looked_at and each.seen != ENDED for each in self._followed.values()):
                await anyio.sleep(POLL_SECONDS)
                await self.look()
            else:
                self._begun = anyio.Event()
                await self._begun.wait()

    async def look(self) -> None:
        """Look once, and tell of what has changed; a look that fails is none."""
        try:
            states = await self._states()
        except ProxmoxError as error:
            if not self._failing:
                log.info("subscription.blind", extra={"error": type(error).__name__})
            self._failing = True
            return
        except Exception:
            # A look ends here whatever it met: nobody called it, and it must not end the server.
            log.exception("subscription.crashed")
            return
        self._failing = False
        for uri, state in states.items():
            followed = self._followed.get(uri)
            if followed is not None and followed.seen != state:
                before, followed.seen = followed.seen, state
                if before is not None:
                    await self._tell(uri, followed)

    async def _tell(self, uri: str, followed: Followed) -> None:
        for tell in list(followed.tells):
            await tell(uri)

    async def _states(self) -> dict[str, Any]:
        """Return the state of what is followed, by URI; what could not be asked is not in it."""
        looked = {uri: each.about for uri, each in self._followed.items() if _due(each)}
        running = {uri: about for uri, about in looked.items() if isinstance(about, Upid)}
        pve = Pve(self._cluster)
        await pve.open()
        states: dict[str, Any] = {}
        if len(running) < len(looked):
            found = await self._guests(pve)
            named = {uri: self._id(ref) for uri, ref in looked.items() if uri not in running}
            states |= {uri: found.get(vmid, "gone") for uri, vmid in named.items()}
        for node in {upid.node for upid in running.values()}:
            at_work = await _at_work(pve, node)
            states |= {
                uri: "running" if upid.text in at_work else ENDED
                for uri, upid in running.items()
                if upid.node == node and at_work is not None
            }
        return states

    async def _guests(self, pve: Pve) -> dict[int | None, tuple[Any, ...]]:
        rows = await pve.rows(pve.cluster_api.resources.get, type="vm")
        known = [row for row in rows if row.get("vmid") is not None]
        self._ids = {str(row["name"]).lower(): row["vmid"] for row in known if row.get("name")}
        return {row["vmid"]: tuple(row.get(name) for name in SHOWS) for row in known}

    def _id(self, ref: object) -> int | None:
        return int(str(ref)) if str(ref).isdecimal() else self._ids.get(str(ref).lower())

    async def changed(self, arguments: Mapping[str, Any]) -> None:
        """Tell that a tool may have changed what it was given, however its call ended."""
        given = {self._id(arguments[name]) for name in ("vmid", "newid") if arguments.get(name)}
        upid = str(arguments.get("upid"))
        for uri, followed in list(self._followed.items()):
            task = isinstance(followed.about, Upid)
            if upid == str(followed.about) if task else self._id(followed.about) in given - {None}:
                await self._tell(uri, followed)


def _due(followed: Followed) -> bool:
    return followed.looked_at and followed.seen != ENDED


async def _at_work(pve: Pve, node: str) -> set[str] | None:
    """Return the tasks that run on a node; None where it cannot be asked."""
    try:
        rows = await pve.rows(pve.nodes(node).tasks.get, source="active", limit=1000)
    except ProxmoxError:
        return None  # it tells when it is back; a node that is down takes no other down
    return {str(row.get("upid")) for row in rows if judge(row) == "running"}


# --- resources/subscribe, of the eras before subscriptions/listen ------------------------------


@dataclass(frozen=True, kw_only=True)
class Running(State):
    """What a running server holds, and who watches for it."""

    watcher: Watcher


async def subscribe(
    ctx: ServerRequestContext[Running], params: SubscribeRequestParams
) -> EmptyResult:
    """Serve ``resources/subscribe``; it holds until it is taken back, or the connection ends."""
    held, uri = _held(ctx), str(params.uri)
    if uri not in held:
        try:
            tell = ctx.session.send_resource_updated
            held[uri] = await ctx.lifespan_context.watcher.follow(uri, tell)
        except ResourceError as error:
            raise MCPError(INVALID_PARAMS, str(error), {"uri": uri}) from error
    return EmptyResult()


async def unsubscribe(
    ctx: ServerRequestContext[Running], params: UnsubscribeRequestParams
) -> EmptyResult:
    """Serve ``resources/unsubscribe``; what was not subscribed to is no mistake."""
    if end := _held(ctx).pop(str(params.uri), None):
        end()
    return EmptyResult()


def _held(ctx: ServerRequestContext[Running]) -> dict[str, Callable[[], None]]:
    connection = ctx.session._connection  # noqa: SLF001 - no public way leads to its end
    held: dict[str, Callable[[], None]] | None = connection.state.get("subscriptions")
    if held is None:
        held = connection.state["subscriptions"] = {}
        connection.exit_stack.callback(_end_all, held)
    return held


def _end_all(held: dict[str, Callable[[], None]]) -> None:
    while held:
        held.popitem()[1]()
