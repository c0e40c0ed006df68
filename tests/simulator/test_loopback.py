"""The simulated cluster over a real socket, with and without TLS."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import requests
import trustme
from proxmoxer import ProxmoxAPI, ResourceException

from proxmox_mcp.simulator import (
    CREDENTIALS,
    PASSWORD,
    Answer,
    Cluster,
    LoopbackServer,
    Request,
    __main__,
)
from tests.simulator import lab


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    names = {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(names["ca"])
    issued.private_key_pem.write_to_path(names["key"])
    for part in issued.cert_chain_pems:
        part.write_to_path(names["cert"], append=True)
    return names


def _https(cluster: Cluster, certificate: dict[str, str]) -> LoopbackServer:
    return LoopbackServer(cluster, certfile=certificate["cert"], keyfile=certificate["key"])


def _client(server: LoopbackServer, certificate: dict[str, str]) -> ProxmoxAPI:
    host = {"host": f"127.0.0.1:{server.port}", "verify_ssl": certificate["ca"]}
    return ProxmoxAPI(**(CREDENTIALS | host))


def test_proxmoxer_reads_and_writes_over_https(certificate: dict[str, str]) -> None:
    cluster = Cluster()
    with _https(cluster, certificate) as server:
        api = _client(server, certificate)
        assert api.version.get()["release"] == "9.0"
        volume = "backup-storage:backup/vzdump-qemu-100-2025_11_06-14_30_00.vma.zst"
        assert api.nodes("pve1").storage("backup-storage").content(volume).put(notes="a b") is None
        with pytest.raises(ResourceException, match="does not exist"):
            api.nodes("pve1").qemu(999).config.get()
        api._store["session"].close()

    written = [(method, params) for method, _path, params in cluster.writes]
    assert written == [("PUT", {"notes": "a b"})]


def test_a_login_over_https_gives_a_working_ticket(certificate: dict[str, str]) -> None:
    with _https(Cluster(), certificate) as server:
        host = {"host": f"127.0.0.1:{server.port}", "verify_ssl": certificate["ca"]}
        api = ProxmoxAPI(**(PASSWORD | host))
        upid = api.nodes("pve1").qemu(104).status.stop.post()
        api._store["session"].close()

    assert upid.endswith(":qmstop:104:root@pam:")


def test_an_error_closes_its_connection_and_success_keeps_it() -> None:
    with LoopbackServer(Cluster()) as server, requests.Session() as session:
        good = session.get(f"{server.url}/api2/json/version", headers=lab.headers("demo"))
        bad = session.get(f"{server.url}/api2/json/nosuch", headers=lab.headers("demo"))

    assert (good.status_code, good.headers.get("Connection")) == (200, None)
    assert (bad.status_code, bad.headers.get("Connection")) == (501, "close")
    assert bad.reason == "Method 'GET /nosuch' not implemented"


def test_a_server_stops_at_once_though_a_request_hangs() -> None:
    arrived, release = threading.Event(), threading.Event()

    def hang(_request: Request) -> Answer | None:
        arrived.set()
        release.wait(10)
        return None

    cluster = Cluster()
    cluster.intercept = hang
    errors: list[Exception] = []

    def ask(url: str) -> None:
        try:
            requests.get(f"{url}/api2/json/version", headers=lab.headers("demo"), timeout=10)
        except requests.ConnectionError as error:
            errors.append(error)

    with LoopbackServer(cluster) as server:
        client = threading.Thread(target=ask, args=(server.url,))
        client.start()
        assert arrived.wait(5)
        started = time.perf_counter()
    stopped = time.perf_counter() - started
    client.join(5)
    release.set()

    assert stopped < 1.0
    assert len(errors) == 1


def test_the_command_line_serves_and_says_how_to_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []

    def ask() -> None:
        told.append(capsys.readouterr().out)
        url = told[0].split()[-1]
        told.append(requests.get(url, headers=lab.headers("demo"), timeout=5).text)
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["simulator", "--http", "--port", "0", "--offline", "pve3"])
    monkeypatch.setattr(__main__, "wait", ask)
    __main__.main()

    token = "{user}!{token_name}={token_value}".format_map(CREDENTIALS)
    assert f"Authorization: PVEAPIToken={token}" in told[0]
    assert '"offline"' in told[1]
