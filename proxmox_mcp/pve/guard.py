"""One call's way to the cluster: how often it is tried, how fast, and what it has sent.

Rule 1: a write is sent once. A handler is tried again only while nothing but GETs has left, and a
write that certainly never left (no connection was made) counts as not sent.
Rule 2: the rate limit counts requests, not calls, and is one for the cluster. A call waits its turn
and gives up at once when the turn would come too late.
Rule 3: whatever must hold for every request stands here or below, where no tool can forget it.
Rule 4: a change passes, in this order: the gate (what this server may change at all), the rules
over guests and nodes, the end of a dry run, and the audit trail. Where one says no, nothing leaves.
Rule 5: what loses something for good leaves only after its tool has had the loss confirmed, or has
said that nothing is lost.

Retrying is tenacity's, which is better tested than a loop of ours; what may be retried is ours.
"""

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_any,
    stop_before_delay,
    wait_random_exponential,
)

from proxmox_mcp.pve.answers import RESOURCES, as_record, as_rows
from proxmox_mcp.pve.bounds import Bounds
from proxmox_mcp.pve.bridge import Bridge, Shape, Verb, target, wire
from proxmox_mcp.pve.bucket import Bucket
from proxmox_mcp.pve.connection import Limits
from proxmox_mcp.pve.errors import (
    NotFound,
    OutcomeUnknown,
    ProxmoxError,
    Refused,
    TooBusy,
    Unreachable,
)
from proxmox_mcp.pve.gate import NO_LOSSES, loses
from proxmox_mcp.pve.memory import Memory
from proxmox_mcp.pve.oversight import Loss, Nobody, OnlyPlanned, Oversight, Sent
from proxmox_mcp.pve.rules import Rules

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Report = Callable[[float, float | None, str], Awaitable[None]]
"""Tell whoever asked how far a wait has come: done, total if known, and a line of words."""

POOL_RIGHTS_SECONDS = 60
"""How long it is remembered whether the token sees a pool."""


class Cluster:
    """What all calls to one cluster share: bridge, rate limit, rules, and answers just read."""

    def __init__(
        self,
        bridge: Bridge,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        *,
        rules: Rules | None = None,
    ) -> None:
        self.bridge = bridge
        self.limits = limits
        self.rules = rules or Rules()
        self.bucket = Bucket(limits.rate_per_second, limits.rate_burst, clock)
        self.memory = Memory(clock)


class Pve:
    """What one call sees of the cluster: the chain's roots, the verbs' thread, its own footprint.

    Attributes:
        cluster: What is shared with other calls.
        requests: How many requests this call has sent.
        accepted: The changes that Proxmox accepted, e.g. ``POST /nodes/pve1/qemu/100/clone``.
        unanswered: The change that was sent and whose answer is awaited; None where none is.
        remembered: Whether an answer from memory was used.
        notes: What the log should know of this call, e.g. ``guest`` and ``upid``.
        report: Where progress goes; None where nobody listens.
        oversight: Who confirms losses, and who writes changes down.
        changing: Whether the call is to change something, so that a guest that may only be read is
            refused as soon as it is found.
        dry_run: Whether the call ends where its first change would leave.
        about: The guest that the call is about, once it is found.
        purpose: What the next change is for, in words.
        lost: What the change loses, once that is known.
        afterwards: What would follow the first change, for a dry run to tell.
    """

    def __init__(
        self,
        cluster: Cluster,
        report: Report | None = None,
        oversight: Oversight | None = None,
        *,
        changing: bool = False,
        dry_run: bool = False,
    ) -> None:
        self.cluster = cluster
        self.oversight = oversight or Nobody()
        self.changing = changing
        self.dry_run = dry_run
        self.bounds = Bounds(cluster.rules, self)
        self.about: dict[str, Any] = {}
        self.purpose = ""
        self.lost: Loss | None = None
        self.afterwards: list[Sent] = []
        self._settled = oversight is None
        self.requests = 0
        self.accepted: list[str] = []
        self.unanswered: str | None = None
        self._writes = 0
        self.remembered = False
        self.notes: dict[str, str] = {}
        self.report = report

    async def open(self) -> None:
        """Make sure that the chain has its root."""
        await self.cluster.bridge.open()

    @property
    def identity(self) -> str:
        """Who calls, as Proxmox writes it into tasks: ``user@realm!token``."""
        return self.cluster.bridge.connection.identity

    @property
    def wrote(self) -> bool:
        """Whether anything but a GET may have left."""
        return self._writes > 0

    @property
    def nodes(self) -> Any:
        """The chain below ``/nodes``."""
        return self.cluster.bridge.root.nodes

    @property
    def cluster_api(self) -> Any:
        """The chain below ``/cluster``."""
        return self.cluster.bridge.root.cluster

    @property
    def access(self) -> Any:
        """The chain below ``/access``: users, tokens and their rights."""
        return self.cluster.bridge.root.access

    @property
    def version(self) -> Any:
        """The chain below ``/version``."""
        return self.cluster.bridge.root.version

    async def send(self, verb: Verb, /, *, once: bool = False, **params: Any) -> Any:
        """Run one verb of the chain, in its turn, and return its answer.

        Args:
            verb: The bound final verb, e.g. ``guest.api.status.current.get``.
            once: A GET that changes something by being read, and so must not be repeated.
            **params: What is sent along; None is left out.

        Raises:
            ProxmoxError: Whatever kept the answer from being a good one.
        """
        return await self._allowed(verb, params, None, once=once)

    async def _allowed(
        self, verb: Verb, params: Mapping[str, Any], shape: Shape | None, *, once: bool
    ) -> Any:
        method, path = target(verb)
        if method == "GET":
            await self.bounds.may_read(path, params, self.identity)
            return await self._sent(verb, params, shape, reading=not once)
        await self._may_change(method, path, wire(params))
        answer = await self._sent(verb, params, reading=False)
        # What was accepted has been, whatever its answer looks like: that is looked at afterwards.
        return shape(answer, path) if shape else answer

    async def _sent(
        self, verb: Verb, params: Mapping[str, Any], shape: Shape | None = None, *, reading: bool
    ) -> Any:
        await self._turn()
        method, path = target(verb)
        self._writes += not reading
        self.requests += 1
        # A look for what became of a lost change is answered, and the change still is not.
        if not reading:
            self.unanswered = f"{method} {path}"
        try:
            answer = await self.cluster.bridge.call(verb, shape, **params)
        except ProxmoxError as error:
            if not reading and not isinstance(error, OutcomeUnknown):
                self.unanswered = None
            if isinstance(error, Unreachable) and not error.left:
                self._writes -= not reading
            raise
        if not reading:
            self.unanswered = None
        if method != "GET":
            self.accepted.append(f"{method} {path}")
        return answer

    def found_out(self, verb: Verb, *, done: bool) -> None:
        """Note what became of a change whose answer was lost."""
        self.unanswered = None
        if done:
            self.accepted.append("{} {}".format(*target(verb)))

    async def may_lose(self, loss: Loss | None) -> None:
        """Have confirmed what the next change loses for good; None where it loses nothing.

        Raises:
            Refused: It is not confirmed, or losses are switched off.
        """
        self.lost = loss
        if loss and not self.cluster.bridge.gate.losses:
            raise Refused(f"{loss.question} {NO_LOSSES}")
        if loss and not self.dry_run:
            confirmed = self.oversight.confirm(loss)
            self.notes |= {"confirmed": confirmed} if confirmed else {}
        self._settled = True

    async def _may_change(self, method: str, path: str, params: dict[str, Any]) -> None:
        change = Sent(method, path, params)
        if why := self.cluster.bridge.gate.refusal(method, path, params):
            raise Refused(why)
        await self.bounds.may_change(path, params)
        if self.dry_run:
            raise OnlyPlanned((change, *self.afterwards))
        if loses(method, path, params) and not self._settled:
            raise AssertionError(f"{change} loses something, and nobody has been asked")
        await self.oversight.record(change)

    async def must_be_allowed(self, verb: Verb, /, **params: Any) -> None:
        """Refuse a change that the rules forbid before anything is found out about its object.

        Raises:
            Refused: A rule forbids it; ``send`` would say so too, but later.
        """
        await self.bounds.may_change(target(verb)[1], wire(params))

    async def guests(self, max_age: float) -> list[dict[str, Any]]:
        """Return the cluster's whole list of guests, whatever the rules show of it."""
        verb = self.cluster_api.resources.get
        rows: list[dict[str, Any]] = await self._read(verb, max_age, {"type": "vm"}, as_rows)
        return rows

    async def config(self, node: str, kind: str, vmid: int) -> Mapping[str, Any]:
        """Return a guest's configuration, whatever the rules say of it."""
        verb = self.nodes(node)(kind)(vmid).config.get
        config: Mapping[str, Any] = await self._sent(verb, {}, as_record, reading=True)
        return config

    async def sees_pool(self, pool: str) -> bool:
        """Return whether this token sees who is in a pool."""
        path = f"/pool/{pool}"
        verb = self.access.permissions.get
        held = await self._read(verb, POOL_RIGHTS_SECONDS, {"path": path}, as_record)
        return "Pool.Audit" in held.get(path, {})

    async def archived(self, node: str, volume: str) -> str:
        """Return the configuration that a backup holds, as text; nothing where none is shown."""
        verb = self.nodes(node).vzdump.extractconfig.get
        try:
            return str(await self._sent(verb, {"volume": volume}, reading=True))
        except ProxmoxError:
            return ""

    async def rows(
        self, verb: Verb, /, *, max_age: float = 0, **params: Any
    ) -> list[dict[str, Any]]:
        """Read a list of objects; *max_age* seconds of age are good enough."""
        rows: list[dict[str, Any]] = await self._read(verb, max_age, params, as_rows)
        return await self.bounds.visible(target(verb)[1], rows, self.identity)

    async def record(self, verb: Verb, /, *, once: bool = False, **params: Any) -> dict[str, Any]:
        """Read one object; *once* where that changes something, so that it must not be repeated."""
        record: dict[str, Any] = await self._allowed(verb, params, as_record, once=once)
        return record

    async def _read(self, verb: Verb, max_age: float, params: dict[str, Any], shape: Shape) -> Any:
        path = target(verb)[1]
        ask = functools.partial(self._allowed, verb, params, shape, once=False)
        if not max_age and path != RESOURCES:
            return await ask()
        key = f"{path} {sorted(wire(params).items())}"
        answer, remembered = await self.cluster.memory.read(key, max_age, ask)
        self.remembered = self.remembered or remembered
        return answer

    async def aside(self, work: Callable[[], T]) -> T:
        """Do heavy work on an answer in a thread, so that nobody else's call stands still."""
        done: T = await self.cluster.bridge.aside(work)
        return done

    def forget(self) -> None:
        """Drop what is remembered, so that the next read asks the cluster."""
        self.remembered = False
        self.cluster.memory.forget()

    async def _turn(self) -> None:
        bucket, patience = self.cluster.bucket, self.cluster.limits.retry_total
        wait = bucket.take(patience)
        if wait is None:
            raise TooBusy(
                f"Too many requests to this cluster: the next turn is more than {patience:g} s"
                " away. Nothing was sent. Ask for less at once, or raise rate_per_second."
            )
        if wait:
            try:
                await anyio.sleep(wait)
            except BaseException:
                bucket.put_back()
                raise


Handler = Callable[Concatenate[Pve, P], Awaitable[T]]


def guarded(handler: Handler[P, T]) -> Handler[P, T]:
    """Give a handler retry, rate limit and translated errors; it keeps its signature.

    Tried again after a passing failure, with exponential backoff and full jitter, within
    ``limits.retry_attempts`` and ``limits.retry_total`` seconds, and only while it has sent nothing
    but GETs. A guest that is no longer where memory said is looked up afresh, once.
    """

    @functools.wraps(handler)
    async def call(pve: Pve, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async for attempt in _tries(pve):
            with attempt:
                await pve.open()
                return await handler(pve, *args, **kwargs)
        raise AssertionError("tenacity either returns or raises")

    return call


def _tries(pve: Pve) -> AsyncRetrying:
    limits = pve.cluster.limits

    def worth_another(error: BaseException) -> bool:
        if pve.wrote or not isinstance(error, ProxmoxError):
            return False
        if isinstance(error, NotFound) and pve.remembered:
            pve.forget()
            return True
        return error.transient

    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        log.info(
            "call.retried",
            extra={"attempt": state.attempt_number, "error": type(error).__name__} | pve.notes,
        )

    return AsyncRetrying(
        stop=stop_any(
            stop_after_attempt(limits.retry_attempts), stop_before_delay(limits.retry_total)
        ),
        wait=wait_random_exponential(multiplier=limits.retry_delay, max=limits.retry_total),
        retry=retry_if_exception(worth_another),
        sleep=anyio.sleep,
        before_sleep=note,
        reraise=True,
    )
