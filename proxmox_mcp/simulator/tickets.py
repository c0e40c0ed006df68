"""Tickets and tokens: how a request says who it is, and the 401s of those who cannot.

A ticket is good for two hours by the cluster's clock; handed in as the password it renews itself.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from proxmox_mcp.simulator.accounts import Account, Accounts
from proxmox_mcp.simulator.wire import Refusal

LIFETIME = 7200
VAGUE = 8.0  # the version since which a refused token is not told why
SCHEME = "PVEAPIToken="
WRITES = frozenset({"POST", "PUT", "DELETE"})


def unauthorized(text: str) -> Refusal:
    """A 401 that says everything in its status line."""
    return Refusal(401, text, body="empty")


def account_of(
    accounts: Accounts, headers: Mapping[str, str], method: str, now: float, version: float
) -> Account:
    """Who sent a request."""
    credentials = headers.get("authorization", "")
    if credentials.startswith(SCHEME):
        return _by_token(accounts, credentials.removeprefix(SCHEME), version)
    ticket = _cookie(headers)
    if ticket is None:
        raise unauthorized("No ticket")
    account = by_ticket(accounts, ticket, now)
    if account is None:
        raise unauthorized("permission denied - invalid PVE ticket")
    csrf = headers.get("csrfpreventiontoken", "")
    if method in WRITES and not hmac.compare_digest(csrf, csrf_token(account, _born(csrf))):
        raise unauthorized("Permission denied - invalid csrf token")
    return account


def _by_token(accounts: Accounts, text: str, version: float) -> Account:
    name, _, secret = text.partition("=")
    account = accounts.find(name)
    if account and account.token and hmac.compare_digest(account.secret, secret):
        return account
    raise unauthorized("Authentication failed!" if version >= VAGUE else "invalid token value!")


def _cookie(headers: Mapping[str, str]) -> str | None:
    try:
        cookie = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    return cookie["PVEAuthCookie"].value if "PVEAuthCookie" in cookie else None


def _sign(kind: str, account: Account, born: int) -> str:
    text = f"{kind}:{account.userid}:{born:08X}"
    return hmac.new(account.secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _born(signed: str) -> int:
    try:
        return int(signed.partition(":")[0], 16)
    except ValueError:
        return 0


def new_ticket(account: Account, now: float) -> str:
    """A ticket for a user who has given the right password."""
    return f"PVE:{account.userid}:{int(now):08X}::{_sign('ticket', account, int(now))}"


def csrf_token(account: Account, born: int) -> str:
    """What writes must send beside the ticket, so that no foreign web page can make them."""
    return f"{born:08X}:{_sign('csrf', account, born)}"


def by_ticket(accounts: Accounts, ticket: str, now: float) -> Account | None:
    """The owner of a ticket that is genuine and not too old."""
    for account in _users(accounts):
        prefix = f"PVE:{account.userid}:"
        if ticket.startswith(prefix):
            born = _born(ticket.removeprefix(prefix))
            genuine = hmac.compare_digest(ticket, new_ticket(account, born))
            return account if genuine and now - born <= LIFETIME else None
    return None


def login(accounts: Accounts, username: str, password: str, now: float) -> Account:
    """The user who proves to be one, by password or by a ticket that is still good."""
    for account in _users(accounts):
        if account.userid == username:
            by_password = hmac.compare_digest(password, account.secret)
            if by_password or by_ticket(accounts, password, now) is account:
                return account
    raise Refusal(401, "authentication failure")


def _users(accounts: Accounts) -> list[Account]:
    """Those who have a password."""
    return [each for each in accounts.named.values() if each.secret and not each.token]
