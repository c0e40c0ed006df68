"""The requests session under proxmoxer: tickets that last, honest bodies, no redirects.

proxmoxer builds the URLs and the calls. What it leaves open is settled here, below every call:

* a redirect is refused (requests would turn a POST into a GET and lose the write);
* an answer that is not Proxmox's JSON is an error (proxmoxer returns a login page as data);
* a refusal keeps its whole text (since 8.4 in ``message``, which proxmoxer drops);
* a ticket is renewed once for all threads, and outlives idle hours (proxmoxer's does not);
* a body is in no log line, whatever its level;
* no cookie is taken from anybody (one foreign cookie and proxmoxer stops sending its own).
"""

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from proxmoxer import ProxmoxAPI
from proxmoxer.backends.https import JsonSerializer
from pydantic_core import from_json
from requests.adapters import BaseAdapter
from requests.auth import AuthBase
from requests.cookies import RequestsCookieJar
from requests.utils import get_environ_proxies

from proxmox_mcp.pve.answers import Listing
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.errors import BadAnswer, NotAuthenticated
from proxmox_mcp.pve.meanings import lost, refusal, where
from proxmox_mcp.pve.transport import unanswered

RENEW_AFTER_SECONDS = 3600
"""A ticket lives 7,200 s (PVE::Ticket); half of it leaves room for clocks that differ."""

LOGIN = "/access/ticket"

READ_BYTES = 1_000_000
PART_BYTES = 100_000
"""A list as long as this is decoded in parts."""

_LIST = b'{"data":['

SECOND_FACTOR = (
    "The login needs a second factor that was not given or not accepted. An API token needs none:"
    " make one under Datacenter > Permissions > API Tokens."
)


class Body(JsonSerializer):  # type: ignore[misc] # proxmoxer ships no types
    """Proxmox's JSON envelope, read strictly."""

    def loads(self, response: requests.Response) -> Any:
        """Return what stands under ``data``; keep ``total`` where there is one."""
        envelope, (method, path) = _envelope(response), _asked(response)
        if envelope is None and "json" in response.headers.get("Content-Type", ""):
            # Proxmox's own answer, broken off on the way: what it answered to has been done.
            raise lost(f"{where(path)}: half an answer came", method=method)
        if not isinstance(envelope, dict) or "data" not in envelope:
            said = _not_proxmox(response)
            if method == "GET":
                raise BadAnswer(said)
            # Whoever put a page in the answer's place may have passed the change on before.
            raise lost(said.rstrip("."), method=method)
        data = envelope["data"]
        if isinstance(data, list) and isinstance(envelope.get("total"), int):
            data = Listing(data)
            data.total = envelope["total"]
        return data

    def loads_errors(self, response: requests.Response) -> dict[str, Any]:
        """Return the parts of a refusal: ``errors`` by parameter, and the longer ``message``."""
        envelope = _envelope(response)
        return envelope if isinstance(envelope, dict) else {}


def _envelope(response: requests.Response) -> Any:
    body = response.content
    with suppress(ValueError, TypeError):  # odd, or what looked like the end of a row is in one
        if len(body) > PART_BYTES and body.startswith(_LIST):
            return _in_parts(body)
    with suppress(ValueError):
        return json.loads(body.decode("utf-8", errors="replace"))
    return None


def _in_parts(body: bytes) -> dict[str, Any]:
    """Decode a long list some hundred rows at a time, between which others get on with their calls.

    A decoder has the interpreter to itself from first to last: 25 ms for 10,000 guests, and the
    standard library's twice as long.
    """
    rows: list[Any] = []
    at = len(_LIST)
    while (end := body.find(b"},{", at + PART_BYTES)) > 0:
        rows += from_json(b"[" + body[at : end + 1] + b"]")
        at = end + len(b"},")
    rest = from_json(_LIST + body[at:])
    return dict(rest) | {"data": rows + rest["data"]}


def _asked(response: requests.Response) -> tuple[str, str]:
    """Return the method and API path that were asked; a login is a question: it changes nothing."""
    path = str(response.request.path_url).partition("/api2/json")[2]
    return ("GET" if path == LOGIN else str(response.request.method)), path


def _not_proxmox(response: requests.Response) -> str:
    kind = response.headers.get("Content-Type", "no content type").split(";")[0]
    return (
        f"What answered is not Proxmox's API (HTTP {response.status_code}, {kind}): a proxy, a"
        " login page or another service. Check host, port and path_prefix in the settings."
    )


def _refuse_redirect(response: requests.Response, *_: Any, **__: Any) -> None:
    if 300 <= response.status_code < 400:  # noqa: PLR2004 - the class of redirects
        raise BadAnswer(_not_proxmox(response) + " It wanted to redirect, which is never followed.")


class Unprinted(bytes):
    """A body that is not printed.

    proxmoxer puts each into words for a debug line, even where nobody reads that: 20 ms for a long
    one, during which everybody waits. And what is in it is nothing for a log.
    """

    def __repr__(self) -> str:
        """Say how long it is."""
        return f"<{len(self)} bytes>"


def _read_whole(response: requests.Response, *_: Any, **__: Any) -> None:
    """Read a body in few steps (requests takes 10 kB at a time), and keep it as Unprinted."""
    parts = response.iter_content(READ_BYTES)
    response._content = Unprinted(b"".join(parts))  # noqa: SLF001 - where requests keeps it


class TicketLogin(AuthBase):
    """Password login whose ticket is renewed once, under a lock, however many threads ask.

    It stands in for proxmoxer's own, which logs in over a separate connection that knows no pin,
    forgets the password, and so fails for ever after two idle hours.

    Attributes:
        verify_ssl: Read by proxmoxer's session for each request.
        timeout: Read by proxmoxer's session for each request.
    """

    def __init__(self, connection: Connection, login: requests.Session, url: str) -> None:
        self.verify_ssl = _verify(connection)
        self.timeout = (connection.connect_timeout, connection.timeout)
        self._connection = connection
        self._login = login
        self._url = url
        self._lock = threading.Lock()
        self._ticket = self._csrf = ""
        self._born = float("-inf")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the token that Proxmox wants with every change."""
        if request.method != "GET":
            request.headers["CSRFPreventionToken"] = self._csrf
        return request

    def get_cookies(self) -> RequestsCookieJar:
        """Return the ticket as a cookie; proxmoxer's session asks for it before each request."""
        with self._lock:
            if time.monotonic() - self._born >= RENEW_AFTER_SECONDS:
                self._renew()
            jar = RequestsCookieJar()
            jar.set("PVEAuthCookie", self._ticket)
            return jar

    def expire(self, ticket: str | None) -> None:
        """Forget a ticket that was refused, unless another thread has renewed it already."""
        with self._lock:
            if ticket == self._ticket:
                self._born = float("-inf")

    def _renew(self) -> None:
        connection = self._connection
        password = connection.password.get_secret_value() if connection.password else ""
        data = self._post({"username": connection.user, "password": password})
        if data.get("NeedTFA"):
            data = self._second_factor(data["ticket"])
        self._ticket, self._csrf = data["ticket"], data["CSRFPreventionToken"]
        self._born = time.monotonic()

    def _second_factor(self, challenge: str) -> dict[str, Any]:
        otp = self._connection.otp
        if otp is None:  # an empty one would count as a failed try, and those lock the account
            raise NotAuthenticated(SECOND_FACTOR)
        form = {
            "username": self._connection.user,
            "tfa-challenge": challenge,
            "password": f"totp:{otp.get_secret_value()}",
        }
        try:
            return self._post(form)
        except NotAuthenticated as exc:
            raise NotAuthenticated(SECOND_FACTOR) from exc

    def _post(self, form: dict[str, str]) -> dict[str, Any]:
        try:
            answer = self._login.post(
                self._url, data=form, verify=self.verify_ssl, timeout=self.timeout
            )
        except requests.RequestException as exc:
            # A login changes nothing, and the call that needed it has not left yet.
            raise unanswered(exc, self._connection, method="GET", path=LOGIN) from exc
        if not answer.ok:
            raise refusal(answer.status_code, answer.reason, method="GET", path=LOGIN)
        data = Body().loads(answer)
        if not isinstance(data, dict) or not data.get("ticket"):
            raise NotAuthenticated(SECOND_FACTOR)
        return data


def _verify(connection: Connection) -> bool | str:
    # The pin is compared instead of the chain, by the adapter.
    return False if connection.fingerprint else connection.verify_ssl


def _settled(connection: Connection) -> Connection:
    """Take from the environment what the settings leave open: proxies, and a bundle of authorities.

    requests would look through all variables again for each request, which takes a tenth of it, and
    would prefer a proxy of the environment to the one in the settings.
    """
    url = f"https://{connection.address}"
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    left_open: dict[str, Any] = {}
    if not connection.proxies:
        left_open["proxies"] = get_environ_proxies(url)
    if connection.verify_ssl is True and bundle:
        left_open["verify_ssl"] = bundle
    return connection.model_copy(update=left_open)


def open_api(
    connection: Connection,
    adapter: BaseAdapter,
    told_time: Callable[[str], None] = lambda _: None,
    *,
    environment: bool = True,
) -> ProxmoxAPI:
    """Build the one ProxmoxAPI of a cluster; sends nothing.

    Args:
        connection: Where the cluster is and how to log in.
        adapter: The transport for every request.
        told_time: Called with the ``Date`` of each answer, which is the cluster's clock.
        environment: Whether proxy and CA variables of the environment apply (HTTPS_PROXY would
            catch even a simulated cluster).
    """
    connection = _settled(connection) if environment else connection
    token = connection.token_value
    api = ProxmoxAPI(
        connection.host,
        user=connection.user,
        port=connection.port,
        # proxmoxer logs in inside its constructor when it is given a password; with a token it
        # sends nothing. So it always gets one, and a password gets our own login below.
        token_name=connection.token_name or "-",
        token_value=token.get_secret_value() if token else "-",
        verify_ssl=_verify(connection),
        timeout=(connection.connect_timeout, connection.timeout),
        path_prefix=connection.path_prefix,
        cert=connection.cert,
        proxies=connection.proxies,
    )

    def note_time(response: requests.Response, *_: Any, **__: Any) -> None:
        told_time(response.headers.get("Date", ""))

    session: requests.Session = api._store["session"]  # noqa: SLF001 - proxmoxer has no accessor
    api._store["serializer"] = Body()  # noqa: SLF001
    for each in (session, login := requests.Session()):
        each.mount("https://", adapter)
        each.trust_env = False
        each.max_redirects = 0
        each.hooks["response"] += [_refuse_redirect, note_time, _read_whole]
        each.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        each.proxies.update(connection.proxies or {})
        each.cert = connection.cert
    if connection.password:
        url = f"{api._store['base_url']}{LOGIN}"  # noqa: SLF001
        session.auth = TicketLogin(connection, login, url)
    return api
