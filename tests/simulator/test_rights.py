"""Tokens of any rights: how they are made, what they inherit, and what they are told of it."""

from __future__ import annotations

from typing import Any

import pytest
from proxmoxer import ResourceException

from proxmox_mcp.simulator import PASSWORD, TOKENS, Cluster, Request
from tests.simulator import lab
from tests.simulator.conftest import Demo

AUDIT = frozenset({"VM.Audit"})


def _client(demo: Demo, acl: dict[str, Any], user: str = "mcp@pve", **options: Any) -> Any:
    return demo.client(demo.cluster.grant(user, "one", acl, **options))


def _refusal(call: Any, **arguments: Any) -> str:
    with pytest.raises(ResourceException) as caught:
        call(**arguments)
    return f"{caught.value.status_code} {caught.value.content}"


def test_a_granted_token_has_exactly_what_it_was_given(demo: Demo) -> None:
    client = _client(demo, {"/vms/100": ["VM.Audit", "VM.PowerMgmt"]})

    assert client.access.permissions.get() == {"/vms/100": {"VM.Audit": 1, "VM.PowerMgmt": 1}}
    assert ":qmstop:100:mcp@pve!one:" in client.nodes("pve1").qemu(100).status.stop.post()
    said = _refusal(client.nodes("pve1").qemu(100).snapshot.post, snapname="one")
    assert said == "403 Permission check failed (/vms/100, VM.Snapshot)"


def test_credentials_have_the_shape_of_the_tokens_that_are_there_from_the_start(demo: Demo) -> None:
    credentials = demo.cluster.grant("mcp@pve", "one", {}, secret="known")

    assert credentials.keys() == TOKENS["audit"].keys()
    assert credentials["token_value"] == "known"
    assert (credentials["user"], credentials["token_name"]) == ("mcp@pve", "one")


def test_the_same_token_again_has_its_rights_replaced(demo: Demo) -> None:
    client = _client(demo, {"/": AUDIT})
    _client(demo, {"/nodes": ["Sys.Audit"]})

    assert set(client.access.permissions.get()) == {"/nodes"}


def test_a_grant_is_known_to_its_own_cluster_only(demo: Demo) -> None:
    credentials = demo.cluster.grant("mcp@pve", "one", {"/": AUDIT})
    other = Demo(speed=1000.0)

    said = _refusal(other.client(credentials).version.get)

    assert said == "401 Authentication failed!"


def test_the_most_specific_path_decides_and_propagates(demo: Demo) -> None:
    client = _client(demo, {"/": AUDIT, "/vms": ["VM.PowerMgmt"], "/vms/103": []})

    def told(path: str) -> set[str]:
        return set(client.access.permissions.get(path=path)[path])

    assert told("/nodes/pve1") == {"VM.Audit"}
    assert told("/vms/104") == {"VM.PowerMgmt"}
    assert told("/vms/103") == set()


def test_a_separated_token_cannot_have_more_than_its_user(demo: Demo) -> None:
    client = _client(demo, {"/": ["VM.Audit", "VM.PowerMgmt"]}, user="audit@pve")

    assert client.access.permissions.get(path="/vms") == {"/vms": {"VM.Audit": 1}}


def test_a_token_without_separation_has_what_its_user_has(demo: Demo) -> None:
    of_new = _client(demo, {"/vms": AUDIT}, privsep=False)
    of_root = _client(demo, {}, user="root@pam", privsep=False)

    assert set(of_new.access.permissions.get(path="/vms")["/vms"]) == AUDIT
    assert "Sys.Modify" in of_root.access.permissions.get(path="/")["/"]
    with pytest.raises(ValueError, match="has its rights"):
        demo.cluster.grant("audit@pve", "x", {"/": AUDIT}, privsep=False)


def test_a_separated_token_of_root_has_only_its_own_rights(demo: Demo) -> None:
    client = _client(demo, {"/vms": AUDIT}, user="root@pam")

    assert client.access.permissions.get(path="/vms") == {"/vms": {"VM.Audit": 1}}
    assert client.access.permissions.get(path="/") == {"/": {}}


@pytest.mark.parametrize(
    ("version", "known", "unknown"),
    [("8.4", "VM.Monitor", "VM.GuestAgent.Audit"), ("9.0", "VM.GuestAgent.Audit", "VM.Monitor")],
)
def test_a_privilege_that_the_version_lacks_cannot_be_granted(
    version: str, known: str, unknown: str
) -> None:
    cluster = Cluster(version=version)
    cluster.grant("mcp@pve", "one", {"/vms": [known]})

    with pytest.raises(ValueError, match=f"{version} has no privilege {unknown}"):
        cluster.grant("mcp@pve", "one", {"/vms": [unknown]})


# --- pools -----------------------------------------------------------------------------------


def test_rights_on_a_pool_hold_on_its_guests(demo: Demo) -> None:
    client = _client(demo, {"/pool/production": ["VM.Audit", "VM.PowerMgmt"]})

    seen = client.cluster.resources.get(type="vm")
    assert [each["vmid"] for each in seen] == [100, 102, 105]
    assert client.nodes("pve1").qemu(100).status.stop.post().startswith("UPID:")
    said = _refusal(client.nodes("pve1").qemu(104).status.stop.post)
    assert said == "403 Permission check failed (/vms/104, VM.PowerMgmt)"


def test_rights_of_the_pool_are_told_as_not_inherited_and_are_held(demo: Demo) -> None:
    client = _client(demo, {"/pool/production": AUDIT, "/vms": ["VM.PowerMgmt"]})

    told = client.access.permissions.get()

    assert told["/pool/production"] == {"VM.Audit": 1}
    assert told["/vms/102"] == {"VM.Audit": 0, "VM.PowerMgmt": 1}
    assert set(told) == {"/pool/production", "/vms", "/vms/100", "/vms/102", "/vms/105"}


def test_an_entry_of_the_guests_own_is_added_to_that_of_its_pool(demo: Demo) -> None:
    client = _client(demo, {"/pool/production": AUDIT, "/vms/100": ["VM.Backup"]})

    told = client.access.permissions.get(path="/vms/100")

    assert told == {"/vms/100": {"VM.Audit": 0, "VM.Backup": 1}}


def test_having_no_access_to_a_guest_is_not_overridden_by_its_pool(demo: Demo) -> None:
    client = _client(demo, {"/pool/production": AUDIT, "/vms/100": []})

    assert client.access.permissions.get(path="/vms/100") == {"/vms/100": {}}
    assert client.access.permissions.get(path="/vms/102") == {"/vms/102": {"VM.Audit": 0}}


def test_having_no_access_to_a_pool_takes_its_guests_away(demo: Demo) -> None:
    client = _client(demo, {"/vms": AUDIT, "/pool/production": []})

    assert client.access.permissions.get(path="/vms/100") == {"/vms/100": {}}


# --- asking ----------------------------------------------------------------------------------


def test_everybody_has_a_version_and_nobody_has_rights_to_list(demo: Demo) -> None:
    nobody = demo.client(TOKENS["nobody"])

    assert nobody.version.get()["release"] == "9.0"
    assert nobody.access.permissions.get() == {}
    assert nobody.access.permissions.get(path="/vms") == {"/vms": {}}


def test_the_rights_of_others_are_for_auditors_of_access(demo: Demo) -> None:
    auditor, nobody = demo.client(TOKENS["audit"]), demo.client(TOKENS["nobody"])

    told = auditor.access.permissions.get(userid="vmuser@pve!vmuser")
    assert set(told) == {"/vms/100"}
    assert auditor.access.permissions.get(userid="absent@pve") == {}
    said = _refusal(nobody.access.permissions.get, userid="audit@pve")
    assert said == "403 Permission check failed (/access, Sys.Audit)"
    said = _refusal(auditor.access.permissions.get, userid="no realm")
    assert said == "400 Parameter verification failed."


def test_a_token_may_ask_about_itself_and_not_about_its_user(demo: Demo) -> None:
    client = _client(demo, {"/vms": AUDIT})

    assert "/vms" in client.access.permissions.get(userid="mcp@pve!one")
    said = _refusal(client.access.permissions.get, userid="mcp@pve")
    assert said == "403 Permission check failed (/access, Sys.Audit)"


def test_what_a_token_is_takes_the_right_to_modify_users(demo: Demo) -> None:
    plain = _client(demo, {"/": ["Sys.Audit"]})
    manager = _client(demo, {"/access/groups": ["User.Modify"]}, user="manager@pve")

    own = plain.access.users("mcp@pve").token("one")
    assert _refusal(own.get) == "403 Permission check failed"
    assert manager.access.users("mcp@pve").token("one").get() == {"privsep": 1, "expire": 0}
    found = manager.access.users("admin@pve").token("sep").get()
    assert found == {"privsep": 1, "expire": 0, "comment": "Rights of its own"}
    assert manager.access.users("audit@pve").token("audit").get()["privsep"] == 0
    said = _refusal(manager.access.users("mcp@pve").token("other").get)
    assert said == "500 no such token 'other' for user 'mcp@pve'"
    said = _refusal(manager.access.users("absent@pve").token("one").get)
    assert said == "403 Permission check failed"


def _ticket(cluster: Cluster, username: str, password: str) -> dict[str, str]:
    params = (("username", username), ("password", password))
    answer = cluster.handle(Request("POST", "/access/ticket", params))
    return {"cookie": f"PVEAuthCookie={lab.content(answer)['data']['ticket']}"}


def test_root_itself_is_told_what_does_not_exist(demo: Demo) -> None:
    headers = _ticket(demo.cluster, "root@pam", PASSWORD["password"])

    def asked(path: str) -> str:
        return demo.cluster.handle(Request("GET", path, (), headers)).reason

    assert asked("/access/users/root@pam/token/demo") == "OK"
    assert asked("/access/users/absent@pve/token/one") == "no such user ('absent@pve')"


def test_a_user_without_a_password_cannot_log_in(demo: Demo) -> None:
    demo.cluster.speed = 1000.0
    params = (("username", "audit@pve"), ("password", ""))

    assert demo.cluster.handle(Request("POST", "/access/ticket", params)).status == 401
