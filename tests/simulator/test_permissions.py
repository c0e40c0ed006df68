"""Every endpoint demands what the official schema says: no more, no less, in every version."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from proxmox_mcp.simulator.accounts import Account, Accounts
from proxmox_mcp.simulator.endpoints import ENDPOINTS
from proxmox_mcp.simulator.privileges import Rights, roles
from proxmox_mcp.simulator.routing import Endpoint
from proxmox_mcp.simulator.wire import Refusal
from tests import pve_schema
from tests.simulator.test_schema import RELEASE

GIVEN = {
    "node": "pve1", "vmid": 100, "newid": 200, "pool": "production", "storage": "local",
    "userid": "other@pve", "tokenid": "t", "snapname": "s", "pos": 0,
}  # fmt: skip
OPEN = ({"user": "all"}, {"user": "world"})

pytestmark = pytest.mark.skipif(not pve_schema.AVAILABLE, reason=pve_schema.REASON)

Held = frozenset[tuple[str, str]]  # path and privilege


class NoPools:
    def pool_of(self, path: str) -> str | None:
        del path
        return None

    def pooled(self) -> list[str]:
        return []


def _rights(held: Held, version: float) -> Rights:
    acl: dict[str, frozenset[str]] = {}
    for path, privilege in held:
        acl[path] = acl.get(path, frozenset()) | {privilege}
    accounts = Accounts()
    for userid in ("me@pve", "other@pve"):
        accounts.named[userid] = Account(userid, "", acl=acl)
    return Rights(accounts.named["me@pve"], accounts, roles(version), NoPools())


def _allowed(check: list[Any], held: Held, given: Mapping[str, Any]) -> bool:
    """What the schema's expression says for a user that is not the one in the path."""
    word, *rest = check
    if word == "and":
        return all(_allowed(each, held, given) for each in rest)
    if word == "or":
        return any(_allowed(each, held, given) for each in rest)
    if word == "userid-param":
        return False
    if word == "userid-group":
        return any(("/access/groups", privilege) in held for privilege in rest[0])
    path, privileges, *options = rest
    named = dict(zip(options[::2], options[1::2], strict=True))
    if named.get("require_param", "vmid") not in given:
        return False
    answers = [(path.format_map(given), privilege) in held for privilege in privileges]
    return any(answers) if named.get("any") else all(answers)


def _pairs(check: list[Any]) -> Iterator[tuple[str, str]]:
    if check[0] in {"and", "or"}:
        for each in check[1:]:
            yield from _pairs(each)
    elif check[0] == "userid-group":
        yield from (("/access/groups", privilege) for privilege in check[1])
    elif check[0] == "perm":
        yield from ((check[1].format_map(GIVEN), privilege) for privilege in check[2])


def _holdings(check: list[Any], version: float) -> Iterator[Held]:
    """Every combination of what is asked for, and every privilege alone in the same places."""
    asked = sorted(set(_pairs(check)))
    for size in range(len(asked) + 1):
        yield from map(frozenset, itertools.combinations(asked, size))
    for path in {path for path, _privilege in asked}:
        for privilege in roles(version)["Administrator"]:
            yield frozenset({(path, privilege)})


def _passes(endpoint: Endpoint, held: Held, given: Mapping[str, Any], version: float) -> bool:
    assert endpoint.permission is not None
    try:
        endpoint.permission(_rights(held, version), given, version)
    except Refusal:
        return False
    return True


@pytest.mark.parametrize("version", pve_schema.VERSIONS)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: f"{each.method} {each.template}")
def test_an_endpoint_demands_what_the_schema_demands(endpoint: Endpoint, version: str) -> None:
    official = pve_schema.endpoints(version).get((endpoint.method, endpoint.template))
    if official is None:
        return
    check = official["perm"].get("check")
    if check is None:
        assert official["perm"] in OPEN
        assert endpoint.permission is None
        return
    release = RELEASE[version]
    without_pool = {name: value for name, value in GIVEN.items() if name != "pool"}
    wrong = [
        (sorted(held), sorted(given))
        for held in _holdings(check, release)
        for given in (GIVEN, without_pool)
        if _passes(endpoint, held, given, release) != _allowed(check, held, given)
    ]
    assert wrong == []


@pytest.mark.parametrize("version", pve_schema.VERSIONS)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: f"{each.method} {each.template}")
def test_a_refusal_names_path_and_privileges_as_the_schema_orders_them(
    endpoint: Endpoint, version: str
) -> None:
    official = pve_schema.endpoints(version).get((endpoint.method, endpoint.template))
    if official is None or official["perm"].get("check", [""])[0] != "perm":
        return
    _perm, path, privileges, *options = official["perm"]["check"]
    listed = "|".join(privileges) if "any" in options else privileges[0]
    assert endpoint.permission is not None

    with pytest.raises(Refusal) as caught:
        endpoint.permission(_rights(frozenset(), RELEASE[version]), GIVEN, RELEASE[version])

    said = f"Permission check failed ({path.format_map(GIVEN)}, {listed})"
    assert caught.value.text == said
