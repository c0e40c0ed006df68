"""Tokens, tickets, privileges, and what each of them gets to see."""

from __future__ import annotations

import pytest
from proxmoxer import AuthenticationError, ProxmoxAPI, ResourceException
from proxmoxer.backends import https

from proxmox_mcp.simulator import CREDENTIALS, PASSWORD, TOKENS, Request, SimulatorAdapter
from tests.simulator import lab
from tests.simulator.conftest import Demo


@pytest.fixture
def login(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Demo:
    # A ticket is fetched while the client is built, over a session of its own.
    plain = https.ProxmoxHttpSession.__init__

    def mounted(self: https.ProxmoxHttpSession, *arguments: object, **named: object) -> None:
        plain(self, *arguments, **named)
        self.mount("https://", SimulatorAdapter(demo.cluster))

    monkeypatch.setattr(https.ProxmoxHttpSession, "__init__", mounted)
    monkeypatch.setattr(https.requests, "post", _post(demo))
    return demo


def _post(demo: Demo) -> object:
    def post(url: str, **named: object) -> object:
        session = https.requests.Session()
        session.mount("https://", SimulatorAdapter(demo.cluster))
        return session.post(url, **named)

    return post


def test_a_password_gives_a_ticket_with_which_one_can_write(login: Demo) -> None:
    api = ProxmoxAPI(**PASSWORD)

    assert api.nodes("pve1").qemu(104).status.stop.post().endswith(":root@pam:")
    assert [path for _method, path, _params in login.cluster.writes] == [
        "/nodes/pve1/qemu/104/status/stop"
    ]


def test_a_wrong_password_is_refused(login: Demo) -> None:
    login.cluster.speed = 1000.0
    with pytest.raises(AuthenticationError):
        ProxmoxAPI(**(PASSWORD | {"password": "wrong"}))


def _ticket(demo: Demo, password: str) -> dict[str, str]:
    params = (("username", "root@pam"), ("password", password))
    answer = demo.cluster.handle(Request("POST", "/access/ticket", params))
    assert answer.status == 200
    found: dict[str, str] = lab.content(answer)["data"]
    return found


def test_a_ticket_renews_itself_until_it_is_two_hours_old(demo: Demo) -> None:
    demo.cluster.speed = 1000.0
    ticket = _ticket(demo, PASSWORD["password"])["ticket"]
    demo.wait(7000)
    renewed = _ticket(demo, ticket)["ticket"]
    demo.wait(7000)

    old = {"cookie": f"PVEAuthCookie={ticket}"}
    new = {"cookie": f"PVEAuthCookie={renewed}"}
    refused = demo.cluster.handle(Request("GET", "/version", (), old))
    assert (refused.status, refused.reason) == (401, "permission denied - invalid PVE ticket")
    assert demo.cluster.handle(Request("GET", "/version", (), new)).status == 200


def test_a_ticket_alone_cannot_write(demo: Demo) -> None:
    demo.cluster.speed = 1000.0
    login = _ticket(demo, PASSWORD["password"])
    cookie = {"cookie": f"PVEAuthCookie={login['ticket']}"}
    path = "/nodes/pve1/qemu/104/status/stop"

    answer = demo.cluster.handle(Request("POST", path, (), cookie))
    assert (answer.status, answer.reason) == (401, "Permission denied - invalid csrf token")
    allowed = cookie | {"csrfpreventiontoken": login["CSRFPreventionToken"]}
    assert demo.cluster.handle(Request("POST", path, (), allowed)).status == 200


def test_no_credentials_and_bad_ones_have_an_empty_body(demo: Demo) -> None:
    demo.cluster.speed = 1000.0
    anonymous = demo.cluster.handle(Request("GET", "/version"))
    assert (anonymous.status, anonymous.reason, anonymous.body) == (401, "No ticket", b"")
    forged = demo.client(CREDENTIALS | {"token_value": "guessed"})
    with pytest.raises(ResourceException) as caught:
        forged.version.get()
    assert (caught.value.status_code, caught.value.content) == (401, "Authentication failed!")


def test_nobody_sees_names_of_nodes_and_nothing_else(demo: Demo) -> None:
    nobody = demo.client(TOKENS["nobody"])

    assert [set(node) for node in nobody.nodes.get()] == [
        {"id", "type", "node", "status", "level", "ssl_fingerprint"}
    ] * 3
    assert {each["type"] for each in nobody.cluster.resources.get()} == {"node"}
    assert nobody.nodes("pve1").qemu.get() == nobody.storage.get() == []
    assert nobody.nodes("pve1").storage.get() == []
    with pytest.raises(ResourceException, match=r"Permission check failed \(/, Sys.Audit\)"):
        nobody.cluster.status.get()


def test_a_user_of_one_vm_sees_that_one(demo: Demo) -> None:
    user = demo.client(TOKENS["vmuser"])

    assert [each["vmid"] for each in user.cluster.resources.get(type="vm")] == [100]
    assert [each["vmid"] for each in user.nodes("pve1").qemu.get()] == [100]
    assert ":qmstop:100:vmuser@pve!vmuser:" in user.nodes("pve1").qemu(100).status.stop.post()


def test_permissions_are_told_by_path(demo: Demo) -> None:
    all_rights = demo.api.access.permissions.get()
    assert set(all_rights) == {
        "/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms",
        "/vms/100", "/vms/102", "/vms/105",
    }  # fmt: skip
    assert "VM.GuestAgent.Unrestricted" in all_rights["/"]
    assert "VM.Monitor" not in all_rights["/"]
    user = demo.client(TOKENS["vmuser"])
    assert set(user.access.permissions.get()) == {"/vms/100"}
    assert user.access.permissions.get(path="/vms/104") == {"/vms/104": {}}


def test_the_text_of_an_error_stands_in_the_body_since_version_eight_point_four() -> None:
    for version, keys in (("7.4", {"data"}), ("8.4", {"data", "message"})):
        cluster, _clock = lab.build(version)
        answer = cluster.handle(lab.request("GET", "/nodes/pve1/qemu/999/config"))
        assert set(lab.content(answer)) == keys
        assert answer.reason.endswith("qemu-server/999.conf' does not exist")
