"""Logging in with a password, and what one may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxmox_mcp.simulator.accounts import WORLD
from proxmox_mcp.simulator.parameters import boolean, required, string
from proxmox_mcp.simulator.privileges import Rights, refused
from proxmox_mcp.simulator.routing import Call, Table
from proxmox_mcp.simulator.tickets import csrf_token, login, new_ticket
from proxmox_mcp.simulator.wire import died

CAPABILITIES = {
    "access": "/access",
    "dc": "/",
    "nodes": "/nodes",
    "sdn": "/sdn",
    "storage": "/storage",
    "vms": "/vms",
}
WORD = r"(?^:[A-Za-z][A-Za-z0-9\.\-_]+)"
WHOEVER = rf"(?^:^(?^:[^\s:/]+)\@{WORD}(?:!{WORD})?$)"

table = Table()


@table.add(
    "POST",
    "/access/ticket",
    parameters={
        "username": required(string(max_length=64)),
        "password": required(string()),
        "realm": string(format="pve-realm", max_length=32),
        "new-format": boolean(),
    },
)
def create_ticket(call: Call) -> dict[str, Any]:
    """Exchange a password, or a ticket that is still good, for a new ticket."""
    username = str(call.values["username"])
    if "@" not in username:
        username = f"{username}@{call.get('realm', 'pam')}"
    account = login(call.center.accounts, username, call.values["password"], call.center.now)
    rights = call.rights.of(account)
    return {
        "username": account.userid,
        "ticket": new_ticket(account, call.center.now),
        "CSRFPreventionToken": csrf_token(account, int(call.center.now)),
        "clustername": call.center.name,
        "cap": {
            area: dict.fromkeys(sorted(rights.on(path)), 1) for area, path in CAPABILITIES.items()
        },
    }


@table.add(
    "GET",
    "/access/permissions",
    parameters={"path": string(), "userid": string(pattern=WHOEVER)},
)
def permissions(call: Call) -> dict[str, dict[str, int]]:
    """Privileges by path: one's own, those of one's own tokens, or those of anybody."""
    rights = call.rights
    me = rights.account.full
    asked = call.get("userid", me)
    user, _, token = asked.partition("!")
    own_token = bool(token) and user == me and call.center.since(8)
    if asked != me and not own_token:
        rights.demand("/access", ["Sys.Audit"])
    # Nobody by that name has no right, which is no error.
    return rights.of(call.center.accounts.find(asked) or WORLD).listing(call.get("path"))


def own_or_user_modify(rights: Rights, given: Mapping[str, Any], _version: float) -> None:
    """The user in the path itself, which none of its tokens is, or who may modify users."""
    userid = given["userid"]
    known = rights.accounts.find(userid) is not None
    himself = rights.account.full == userid
    if rights.is_root or (known and (himself or rights.has("/access/groups", "User.Modify"))):
        return
    raise refused()


@table.add("GET", "/access/users/{userid}/token/{tokenid}", own_or_user_modify)
def token(call: Call) -> dict[str, Any]:
    """Whether a token has privilege separation, when it ends, and its comment."""
    userid, tokenid = call.values["userid"], call.values["tokenid"]
    if call.center.accounts.find(userid) is None:
        raise died(f"no such user ('{userid}')")
    found = call.center.accounts.find(f"{userid}!{tokenid}")
    if found is None:
        raise died(f"no such token '{tokenid}' for user '{userid}'")
    shown: dict[str, Any] = {"privsep": int(found.privsep), "expire": 0}
    return shown | ({"comment": found.comment} if found.comment else {})
