"""Certificates: what is believed, what is shown of one that is not, and that nothing was sent."""

import ssl
from functools import partial
from typing import Any

import pytest
import trustme
from anyio import to_thread

from proxmox_mcp import simulator
from proxmox_mcp.pve import tls
from proxmox_mcp.pve.bridge import Bridge
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.errors import ProxmoxError, Untrusted
from tests.pve import listeners
from tests.pve.scripted import LOGIN, SECRET, TOKEN

OTHER = ":".join(["AB"] * 32)
VERSION = b'{"data":{"version":"9.1"}}'


async def bridge_to(port: int, login: dict[str, Any] | None = None, **settings: Any) -> Bridge:
    values = (login or TOKEN) | {"host": "127.0.0.1", "port": port, "timeout": 5.0} | settings
    # A setting that names a file is looked up, which no event loop may do.
    return Bridge(await to_thread.run_sync(partial(Connection, **values)))


async def version(bridge: Bridge) -> Any:
    api = await bridge.open()
    return await bridge.call(api.version.get)


async def distrust(bridge: Bridge, method: str = "get") -> Untrusted:
    api = await bridge.open()
    with pytest.raises(ProxmoxError) as caught:
        await bridge.call(getattr(api.version, method))
    assert isinstance(caught.value, Untrusted)
    assert not caught.value.transient
    assert not caught.value.left
    return caught.value


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("login", [TOKEN, LOGIN], ids=["token", "password"])
async def test_an_unknown_certificate_is_refused_and_the_line_that_accepts_it_shown(
    login: dict[str, Any], method: str, server_side: ssl.SSLContext, fingerprint: str
) -> None:
    with listeners.tls_server(server_side, listeners.answer(VERSION)) as server:
        error = await distrust(await bridge_to(server.port, login), method)

    assert f'fingerprint = "{fingerprint}"' in str(error)
    assert 'verify_ssl = "/path/to/pve-root-ca.pem"' in str(error)
    assert f"127.0.0.1:{server.port} shows a certificate" in str(error)
    assert "nothing was sent" in str(error)
    assert [request for request in server.requests if request] == []


async def test_the_shown_line_is_what_the_settings_take(
    server_side: ssl.SSLContext,
) -> None:
    with listeners.tls_server(server_side, listeners.answer(VERSION)) as server:
        error = await distrust(await bridge_to(server.port))
        shown = str(error).partition('fingerprint = "')[2].partition('"')[0]

        assert await version(await bridge_to(server.port, fingerprint=shown)) == {"version": "9.1"}


async def test_a_certificate_of_the_named_authority_is_believed(
    server_side: ssl.SSLContext, authority_file: str
) -> None:
    with listeners.tls_server(server_side, listeners.answer(VERSION)) as server:
        answer = await version(await bridge_to(server.port, verify_ssl=authority_file))

    assert answer == {"version": "9.1"}


async def test_a_certificate_for_another_host_is_refused(
    authority: trustme.CA, authority_file: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("pve.example.com").configure_cert(context)

    with listeners.tls_server(context, listeners.answer(VERSION)) as server:
        error = await distrust(await bridge_to(server.port, verify_ssl=authority_file))

    assert "mismatch" in str(error)
    assert [request for request in server.requests if request] == []


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
async def test_no_verification_accepts_any_certificate(server_side: ssl.SSLContext) -> None:
    with listeners.tls_server(server_side, listeners.answer(VERSION)) as server:
        answer = await version(await bridge_to(server.port, verify_ssl=False))

    assert answer == {"version": "9.1"}


@pytest.mark.parametrize("verify", [True, False])
async def test_the_pinned_certificate_is_believed_whoever_signed_it(
    server_side: ssl.SSLContext, fingerprint: str, *, verify: bool
) -> None:
    with listeners.tls_server(server_side, listeners.answer(VERSION)) as server:
        answer = await version(
            await bridge_to(server.port, fingerprint=fingerprint, verify_ssl=verify)
        )

    assert answer == {"version": "9.1"}


@pytest.mark.parametrize("login", [TOKEN, LOGIN], ids=["token", "password"])
async def test_another_certificate_than_the_pinned_one_is_refused_before_anything_is_sent(
    login: dict[str, Any], server_side: ssl.SSLContext, fingerprint: str
) -> None:
    with listeners.tls_server(server_side, listeners.answer(VERSION)) as server:
        error = await distrust(await bridge_to(server.port, login, fingerprint=OTHER), "post")

    assert f"Shown: {fingerprint}. Pinned: {OTHER}." in str(error)
    assert "somebody may be in between" in str(error)
    assert [request for request in server.requests if request] == []


async def test_a_pin_outweighs_the_right_authority(
    server_side: ssl.SSLContext, authority_file: str
) -> None:
    with listeners.tls_server(server_side, listeners.answer(VERSION)) as server:
        await distrust(await bridge_to(server.port, fingerprint=OTHER, verify_ssl=authority_file))

    assert [request for request in server.requests if request] == []


@pytest.mark.parametrize("named", ["environment", "settings"])
async def test_the_pin_holds_through_a_proxy_also(
    named: str, server_side: ssl.SSLContext, fingerprint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        listeners.tls_server(server_side, listeners.answer(VERSION)) as server,
        listeners.proxy() as proxy,
    ):
        url = f"http://127.0.0.1:{proxy.port}"
        settings: dict[str, Any] = {"proxies": {"https": url}} if named == "settings" else {}
        if named == "environment":
            monkeypatch.setenv("HTTPS_PROXY", url)

        await distrust(await bridge_to(server.port, fingerprint=OTHER, **settings))
        assert [request for request in server.requests if request] == []

        answer = await version(await bridge_to(server.port, fingerprint=fingerprint, **settings))

    assert answer == {"version": "9.1"}
    assert set(proxy.tunnels) == {f"127.0.0.1:{server.port}"}


def test_a_host_that_shows_no_certificate_has_no_fingerprint(closed_port: int) -> None:
    with listeners.plain_server() as port:
        assert tls.shown_certificate("127.0.0.1", port, 2.0) is None
    assert tls.shown_certificate("127.0.0.1", closed_port, 2.0) is None


def test_the_words_for_a_host_that_shows_nothing_leave_the_pin_out(closed_port: int) -> None:
    connection = Connection(**TOKEN | {"host": "127.0.0.1", "port": closed_port})

    error = tls.untrusted(connection, "self-signed certificate")

    assert "(self-signed certificate)" in str(error)
    assert "fingerprint =" not in str(error)
    assert SECRET not in str(error)


async def test_a_whole_cluster_answers_over_pinned_https(
    cluster: simulator.Cluster, cluster_port: int, fingerprint: str
) -> None:
    bridge = await bridge_to(cluster_port, simulator.PASSWORD, fingerprint=fingerprint)
    api = await bridge.open()

    nodes = await bridge.call(api.nodes.get)

    assert {node["node"] for node in nodes} == {"pve1", "pve2", "pve3"}
    assert [request.path for request in cluster.requests] == ["/access/ticket", "/nodes"]
