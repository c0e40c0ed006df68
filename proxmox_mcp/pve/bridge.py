"""Blocking proxmoxer on one side, the event loop on the other; nothing else crosses here.

Rule 1: no other module starts threads for the API.
Rule 2: only the final verb runs in a thread; attribute access on proxmoxer's chain joins a URL.
Rule 3: this module does not know what a tool is, and decides nothing about repeating a call.
Rule 4: a change that the gate does not let pass never leaves, whoever sends it.

One ``ProxmoxAPI`` serves a cluster: measured with 40 threads it gave no error and no mixed-up
answer, and it shares its connections. The limiter is our own: anyio's default one belongs to the
whole process, and Proxmox has three workers a daemon, so that more than a few calls at once only
queue up behind each other until its proxy gives up (596).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread

from proxmox_mcp.pve.circuit import Circuit
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.errors import NotAuthenticated, ProxmoxError, Refused, Unreachable
from proxmox_mcp.pve.gate import Gate
from proxmox_mcp.pve.meanings import refusal

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

Verb = Callable[..., Any]
"""A bound final verb of proxmoxer's chain, e.g. ``api.nodes("pve1").status.get``."""

Shape = Callable[[Any, str], Any]
"""Check an answer of a path, and bring it into form."""


def target(verb: Verb) -> tuple[str, str]:
    """Return method and API path of a verb, e.g. ``("GET", "/nodes/pve1/status")``."""
    resource = verb.__self__  # type: ignore[attr-defined] # a bound method of ProxmoxResource
    url: str = resource._store["base_url"]  # noqa: SLF001 - proxmoxer has no accessor
    return verb.__name__.upper(), url.partition("/api2/json")[2] or "/"


def wire(params: Mapping[str, Any]) -> dict[str, str | int | float | list[str]]:
    """Make parameters what Proxmox takes: booleans 1 and 0, nothing for None, lists of text.

    Over HTTP Proxmox refuses ``True`` ("type check ('boolean') failed"), and requests would send a
    dictionary as its keys.

    Raises:
        TypeError: For a value that has no form on the wire.
    """
    return {name: _wired(name, value) for name, value in params.items() if value is not None}


def _wired(name: str, value: Any) -> str | int | float | list[str]:
    match value:
        case bool():
            return int(value)
        case str() | int() | float():
            return value
        case list() | tuple():
            return [str(_wired(name, item)) for item in value]
        case _:
            raise TypeError(f"{name}: {type(value).__name__} has no form in Proxmox's API")


class Bridge:
    """The one connection to a cluster, shared by every call.

    Where several hosts of the cluster are known, the next one takes over when the present one gives
    no answer. Nothing is sent anew here: whoever decides what may be repeated (the guard) finds the
    chain rooted in another host then.

    Args:
        connection: Where the cluster is and how to log in.
        max_parallel: How many requests may be under way at once.
        adapter: A transport in place of HTTPS: the simulated cluster, or a test's.
        circuit: Whether the cluster is worth asking now.
        gate: Which changes may leave.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        max_parallel: int = 8,
        adapter: "BaseAdapter | None" = None,
        circuit: Circuit | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.connection = connection
        self.gate = gate or Gate()
        self._doors = [Door(each) for each in connection.each_host()]
        self._current = 0
        self._adapter = adapter
        self._max_parallel = max_parallel
        self._threads = anyio.CapacityLimiter(max_parallel)
        self._opening = anyio.Lock()
        self._circuit = circuit or Circuit()

    @property
    def root(self) -> Any:
        """The root of proxmoxer's chain, on the host in use; ``open`` has made it."""
        return self._doors[self._current].api

    def server_time(self) -> float:
        """The cluster's clock, in seconds since 1970, as far as its answers have told."""
        return time.time() + self._doors[self._current].skew

    async def open(self) -> Any:
        """Return the root of the chain, made on first use; sends nothing."""
        if self.root is not None:
            return self.root
        async with self._opening:
            if self.root is None:
                await self._in_thread(partial(self._make, self._doors[self._current]))
        return self.root

    def _make(self, door: "Door") -> None:
        # requests and proxmoxer take 0.15 s to import: not before the first call needs them.
        from proxmox_mcp.pve.session import open_api  # noqa: PLC0415
        from proxmox_mcp.pve.tls import PinnedAdapter  # noqa: PLC0415

        adapter = self._adapter or PinnedAdapter(door.connection.fingerprint, self._max_parallel)
        environment = self._adapter is None
        door.api = open_api(door.connection, adapter, door.told_time, environment=environment)

    async def call(self, verb: Verb, shape: Shape | None = None, /, **params: Any) -> Any:
        """Run one final verb in a worker thread and return its decoded answer.

        A cancelled caller stops waiting at once; the thread finishes its one request by itself,
        bounded by the timeouts.

        Args:
            verb: The bound final verb.
            shape: Brings the answer into form, in the same thread: it may be long.
            **params: What is sent along; None is left out.

        Raises:
            ProxmoxError: Whatever kept the answer from being a good one.
        """
        return await self._in_thread(partial(self._send, verb, shape, wire(params)))

    async def aside(self, work: Callable[[], Any]) -> Any:
        """Do heavy work on an answer in a worker thread, beside the event loop."""
        return await to_thread.run_sync(work, abandon_on_cancel=True)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await to_thread.run_sync(work, limiter=self._threads, abandon_on_cancel=True)

    def _send(self, verb: Verb, shape: Shape | None, params: dict[str, Any]) -> Any:
        if forbidden := self.gate.refusal(*target(verb), params):
            raise Refused(forbidden)
        if why := self._circuit.refusal():
            error = Unreachable(f"{self._named()} {why}. Nothing was sent.", transient=False)
            error.silent = True
            raise error
        try:
            answer = self._logged_in(verb, params)
            answer = shape(answer, target(verb)[1]) if shape else answer
        except ProxmoxError as error:
            if error.silent:
                self._circuit.silent()
                self._next_host(self._door_of(verb))
            else:
                self._circuit.answered()
            raise
        except BaseException:
            self._circuit.unasked()
            raise
        self._circuit.answered()
        return answer

    def _named(self) -> str:
        return " and ".join(door.connection.address for door in self._doors)

    def _door_of(self, verb: Verb) -> "Door":
        session = verb.__self__._store["session"]  # type: ignore[attr-defined] # noqa: SLF001
        opened = (door for door in self._doors if door.api is not None)
        return next(door for door in opened if door.api._store["session"] is session)  # noqa: SLF001

    def _next_host(self, silent: "Door") -> None:
        # Several calls may fail on the same host at once: only the first of them moves on.
        if self._doors[self._current] is silent:
            following = (self._current + 1) % len(self._doors)
            if self._doors[following].api is None:
                self._make(self._doors[following])
            self._current = following

    def _logged_in(self, verb: Verb, params: dict[str, Any]) -> Any:
        login = verb.__self__._store["session"].auth  # type: ignore[attr-defined] # noqa: SLF001
        ticket = getattr(login, "_ticket", None)
        try:
            return self._translated(verb, params)
        except NotAuthenticated:
            # A 401 was refused before anything was done, so that even a change may follow the new
            # login. Happens when a laptop slept past the ticket's two hours, or the node forgot it.
            if not ticket:
                raise
            login.expire(ticket)
            return self._translated(verb, params)

    def _translated(self, verb: Verb, params: dict[str, Any]) -> Any:
        import requests  # noqa: PLC0415 - loaded by now; at the top it would slow every start
        from proxmoxer import ResourceException  # noqa: PLC0415

        from proxmox_mcp.pve.transport import unanswered  # noqa: PLC0415

        method, path = target(verb)
        try:
            return verb(**params)
        except ProxmoxError:
            raise
        except ResourceException as exc:
            said = exc.errors if isinstance(exc.errors, dict) else {}
            fields = said.get("errors")
            raise refusal(
                exc.status_code,
                str(said.get("message") or exc.content),
                fields if isinstance(fields, dict) else None,
                method=method,
                path=path,
            ) from exc
        except requests.RequestException as exc:
            asked = self._door_of(verb).connection
            raise unanswered(exc, asked, method=method, path=path) from exc


@dataclass
class Door:
    """One host of the cluster: how to reach it, its chain, and how its clock differs from ours."""

    connection: Connection
    api: Any = None
    skew: float = 0.0

    def told_time(self, date: str) -> None:
        """Take the cluster's clock from an answer's ``Date``."""
        try:
            self.skew = parsedate_to_datetime(date).timestamp() - time.time()
        except ValueError:
            return  # an answer without a readable date tells no time
