"""Fixtures for the layer that speaks to Proxmox."""

import hashlib
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from proxmox_mcp import simulator

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy_or_authority_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that requests obeys must not reach into a test."""
    for name in list(os.environ):
        if name.lower() in {*PROXIES, "requests_ca_bundle", "curl_ca_bundle"}:
            monkeypatch.delenv(name)


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait for a task looks every few milliseconds."""
    monkeypatch.setattr("proxmox_mcp.pve.upid.POLL_SECONDS", (0.002, 0.005))


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """An authority that no machine knows."""
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    """The certificate of a server on this machine."""
    return authority.issue_cert("127.0.0.1", "localhost")


@pytest.fixture(scope="session")
def server_side(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """What a server needs to show that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
def authority_file(authority: trustme.CA, tmp_path: Path) -> str:
    """The authority as a file, as the setting verify_ssl names it."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def fingerprint(certificate: trustme.LeafCert) -> str:
    """The SHA-256 of the server's certificate, with colons, as OpenSSL shows it."""
    shown = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    return hashlib.sha256(shown).digest().hex(":").upper()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, and refuses every connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def cluster_port(
    cluster: simulator.Cluster, certificate: trustme.LeafCert, tmp_path: Path
) -> Iterator[int]:
    """A simulated cluster behind HTTPS on this machine."""
    pem = tmp_path / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
    with simulator.LoopbackServer(cluster, certfile=str(pem)) as server:
        yield server.port
