"""The simulated cluster as one object: a request goes in, the answer of a Proxmox VE comes out.

Rule 1: one request at a time changes anything, and all waiting is done outside the lock.
Rule 2: the order of refusals is that of the real server: 401, 501, 403, 595, 400, then the rest.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from proxmox_mcp.simulator import parameters, routing, tickets, wire
from proxmox_mcp.simulator.accounts import ACCOUNTS, EVERYTHING, SECRET, WORLD, Account
from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.endpoints import ENDPOINTS
from proxmox_mcp.simulator.parameters import Parameter
from proxmox_mcp.simulator.privileges import Rights, roles
from proxmox_mcp.simulator.routing import Call, Endpoint
from proxmox_mcp.simulator.seed import furnish
from proxmox_mcp.simulator.state import Guest
from proxmox_mcp.simulator.tasks import Tasks
from proxmox_mcp.simulator.wire import Answer, Refusal, Request

HOST = "pve1.demo.invalid"
PENALTY = 3.0  # every 401 is answered this late, so that guessing is slow
LOGIN = "/access/ticket"


def _credentials(account: Account) -> dict[str, Any]:
    return {
        "host": HOST,
        "user": account.userid,
        "token_name": account.token,
        "token_value": account.secret,
    }


TOKENS: dict[str, dict[str, Any]] = {
    account.token: _credentials(account) for account in ACCOUNTS if account.token
}
CREDENTIALS = TOKENS.pop("demo")
PASSWORD: dict[str, Any] = {"host": HOST, "user": "root@pam", "password": SECRET}


class Cluster:
    """A stateful Proxmox VE cluster that exists only in memory.

    Args:
        seed: The same seed and clock give the same answers.
        guests: How many guests; the first twelve are the example cluster, the rest fill it up.
        nodes: How many nodes, named pve1, pve2 and so on.
        offline: Nodes that do not answer.
        version: 7.4, 8.4 or 9.0: what it accepts, demands and answers.
        clock: The time, in seconds since 1970.
        speed: Divides every duration: tasks, the delay of a 401, the age of cached figures.
        latency: Seconds that every request takes.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        guests: int = 12,
        nodes: int = 3,
        offline: Collection[str] = (),
        version: str = "9.0",
        clock: Callable[[], float] = time.time,
        speed: float = 1.0,
        latency: float = 0.0,
    ) -> None:
        self.requests: list[Request] = []
        self.intercept: Callable[[Request], Answer | None] | None = None
        self.latency = latency
        self.version = float(version)
        self._clock = clock
        self._lock = threading.RLock()
        self._roles = roles(self.version)
        self._known: dict[int, dict[str, Parameter]] = {}
        randomness = random.Random(seed)  # noqa: S311 - wanted: the same at every run
        self.center = Datacenter(self.version, Tasks(clock(), speed), randomness)
        furnish(self.center, guests=guests, nodes=nodes)
        for name in offline:
            self.take_offline(name)

    @property
    def writes(self) -> list[tuple[str, str, dict[str, str | list[str]]]]:
        """Every request that could change something, logins excepted."""
        return [
            (request.method, request.path, request.param)
            for request in list(self.requests)
            if request.method != "GET" and request.path != LOGIN
        ]

    @property
    def speed(self) -> float:
        """What every duration is divided by; it may be changed at any time."""
        return self.center.tasks.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self.center.tasks.speed = speed

    def take_offline(self, node: str) -> None:
        """Let a node vanish: everything below /nodes/{node} is 595 from now on."""
        self.center.nodes[node].online = False

    def bring_online(self, node: str) -> None:
        """Let a node answer again."""
        self.center.nodes[node].online = True

    def grant(
        self,
        userid: str,
        token: str,
        privileges: Mapping[str, Collection[str]],
        *,
        secret: str | None = None,
        privsep: bool = True,
    ) -> dict[str, Any]:
        """Make a token with exactly these privileges by path, and answer its credentials.

        A path without privileges is one without access, as the role NoAccess makes it.
        A user that is not there yet is made as well: with every right, or, where the token has
        no privilege separation, with these. With separation, one that is there limits the token.
        The same token again has its rights replaced.
        """
        unknown = set().union(*privileges.values()) - self._roles[EVERYTHING]
        if unknown:
            raise ValueError(f"{self.version} has no privilege {', '.join(sorted(unknown))}")
        accounts = self.center.accounts
        with self._lock:
            made = accounts.grant(userid, token, privileges, secret=secret, privsep=privsep)
        return _credentials(made)

    def guest(self, vmid: int) -> Guest:
        """A guest, to be looked at or changed by a test; due steps have happened first.

        /cluster/resources shows a change with its next round, up to ten seconds later.
        """
        with self._lock:
            self.center.tasks.advance(self._clock())
            return self.center.guests[vmid]

    def handle(self, request: Request) -> Answer:
        """Answer a request; safe from any thread."""
        with self._lock:
            self.requests.append(request)
        replaced = self.intercept(request) if self.intercept else None
        if replaced is not None:
            return replaced
        if self.latency:
            time.sleep(self.latency)
        with self._lock:
            self.center.tasks.advance(self._clock())
            answer = self._answer(request)
        if answer.status == 401:  # noqa: PLR2004 - the one status that is late
            time.sleep(PENALTY / self.speed)
        return answer

    def receive(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        """Answer what a transport has read from its wire."""
        try:
            request = wire.read(method, target, headers, body, self.version)
        except Refusal as refusal:
            with self._lock:
                self.requests.append(Request(method, target))
            return refusal.answer(self.version)
        return self.handle(request)

    def _answer(self, request: Request) -> Answer:
        try:
            return wire.success(self._call(request))
        except Refusal as refusal:
            return refusal.answer(self.version)

    def _call(self, request: Request) -> Any:
        public = request.path == LOGIN and request.method == "POST"
        account = WORLD if public else self._account(request)
        found = routing.find(ENDPOINTS, request.method, request.path, self.version)
        if found is None:
            text = f"Method '{request.method} {request.path}' not implemented"
            raise Refusal(501, text, newline=False)
        endpoint, in_path = found
        given = _merged(request.param, in_path)
        rights = Rights(account, self.center.accounts, self._roles, self.center)
        if endpoint.permission:
            endpoint.permission(rights, given, self.version)
        node = self.center.reach(in_path["node"]) if "node" in in_path else self.center.local
        values = parameters.checked(self._parameters(endpoint), given)
        return endpoint.handler(Call(self.center, rights, node, endpoint.kind, values))

    def _account(self, request: Request) -> Account:
        return tickets.account_of(
            self.center.accounts, request.headers, request.method, self._clock(), self.version
        )

    def _parameters(self, endpoint: Endpoint) -> dict[str, Parameter]:
        known = self._known.get(id(endpoint))
        if known is None:
            known = parameters.in_version(endpoint.parameters, self.version)
            self._known[id(endpoint)] = known
        return known


def _merged(given: Mapping[str, Any], in_path: Mapping[str, str]) -> dict[str, Any]:
    for name in in_path:
        if name in given:
            text = "duplicate parameter (already defined in URI)"
            raise Refusal(400, "Parameter verification failed.", errors={name: text})
    return {**given, **in_path}
