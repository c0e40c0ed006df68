"""A second, independent Proxmox: the package fakepve, served over TLS on loopback.

It is another's reading of Proxmox's sources, with Proxmox's own schema in it, so an error that our
simulator and our code have in common does not pass here. It is AGPL and for tests only.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import parse_qsl

import pytest
from anyio.from_thread import start_blocking_portal
from fakepve import FakePve  # type: ignore[import-untyped] # it has no types
from fakepve.certs import make_cert  # type: ignore[import-untyped] # as above
from mcp.client import Client

from proxmox_mcp import server
from proxmox_mcp.config import Settings
from proxmox_mcp.pve.connection import Connection, Limits
from proxmox_mcp.toolkit.policy import Policy

GIB = 1024**3
LOOPBACK = "127.0.0.1"
API = "/api2/json"
LOGIN = "/access/ticket"
PASSWORD = {"user": "root@pam", "password": "secret"}
TOKEN = {"user": "root@pam", "token_name": "mcp", "token_value": "made-up"}
LOGINS = {"password": PASSWORD, "token": TOKEN}
BACKUPS = {
    100: "backup/vzdump-qemu-100-2025_11_06-14_30_00.vma.zst",
    103: "backup/vzdump-lxc-103-2025_11_06-14_30_00.tar.zst",
}
BACKED_UP = 1_762_439_400  # 2025-11-06 14:30:00 UTC, as their names say


class Judge:
    """The other Proxmox, with what a test may want to know of it.

    Attributes:
        pve: fakepve's own object: its state may be looked at and changed.
        fingerprint: Of the certificate that it shows.
    """

    def __init__(self, pve: Any, fingerprint: str) -> None:
        self.pve = pve
        self.fingerprint = fingerprint

    @property
    def writes(self) -> list[tuple[str, str, dict[str, str]]]:
        """Every request that could change something, logins excepted; a DELETE's are not kept."""
        return [
            (method, path.removeprefix(API), dict(parse_qsl(body.decode())))
            for method, path, body in list(self.pve.requests)
            if method != "GET" and path != API + LOGIN
        ]

    @property
    def logins(self) -> int:
        """How often somebody asked for a ticket."""
        return sum(path == API + LOGIN for _, path, _ in self.pve.requests)

    def guest(self, vmid: int) -> Any:
        """A guest's state."""
        return self.pve.guest(vmid)

    def volumes(self, storage: str) -> dict[str, Any]:
        """What lies on a storage, by name."""
        return dict(self.pve.storages[storage]["volumes"])


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, bytes]:
    """A self-signed certificate as a Proxmox has one: its file, its key's, and what it says."""
    folder = str(tmp_path_factory.mktemp("fakepve"))
    cert, key, der = make_cert(folder, hosts=(LOOPBACK,))
    return cert, key, der


@pytest.fixture
def time_scale() -> float:
    """How many seconds one of Proxmox's takes; with 0 a task has ended when its id is answered."""
    return 0


@pytest.fixture
def fakepve(certificate: tuple[str, str, bytes], time_scale: float) -> Iterator[Any]:
    """The other Proxmox, as it comes, on a loop and a port of its own."""
    pve = FakePve(user=PASSWORD["user"], password=PASSWORD["password"], host=LOOPBACK, port=0)
    pve.time_scale = time_scale
    with start_blocking_portal("asyncio") as portal:
        portal.call(pve.start, *certificate[:2])
        yield pve
        portal.call(hang_up, pve)


async def hang_up(pve: Any) -> None:
    """Stop serving. Clients keep connections open for the next call, so those are cut."""
    for connection in pve.runner.server.connections:
        connection.transport.abort()
    await pve.stop()
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture
def judge(fakepve: Any, certificate: tuple[str, str, bytes]) -> Iterator[Judge]:
    """Three nodes of which one is down, a VM and a container that run, and a backup of each."""
    fakepve.add_node("pve2")
    fakepve.add_node("pve3", online=False)
    fakepve.apitokens["root@pam!mcp"] = TOKEN["token_value"]
    fakepve.storages["shared"] = {
        "type": "nfs", "active": 1, "shared": 1, "content": "images,rootdir,backup", "files": set(),
        "path": "/mnt/pve/shared", "server": "192.0.2.50", "export": "/shared", "avail": 500 * GIB,
        "volumes": {
            name: {"content": "backup", "size": GIB, "ctime": BACKED_UP, "vmid": vmid,
                   "format": name.partition(".")[2]}
            for vmid, name in BACKUPS.items()
        },
    }  # fmt: skip
    fakepve.storages["shared"]["volumes"]["100/vm-100-disk-0.qcow2"] = {
        "content": "images", "size": 32 * GIB, "format": "qcow2", "vmid": 100, "ctime": BACKED_UP,
    }  # fmt: skip
    disk = "shared:100/vm-100-disk-0.qcow2,size=32G"
    net = "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1"
    config = {"scsi0": disk, "net0": net, "cores": 2, "memory": 2048, "agent": 1, "ostype": "l26"}
    fakepve.add_vm(100, "web-01", status="running", config=config).agent = {}
    config = {"rootfs": "local-lvm:vm-103-disk-0,size=8G", "cores": 2, "memory": 1024}
    config |= {"net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:02,ip=dhcp,type=veth"}
    fakepve.add_ct(103, "cache", status="running", config=config)
    found = Judge(fakepve, hashlib.sha256(certificate[2]).hexdigest())
    yield found
    # fakepve takes True for a boolean, which Proxmox refuses: so it is looked at here.
    sent = {value for _, _, params in found.writes for value in params.values()}
    assert sent.isdisjoint({"True", "False", "None"})


class Enter(Protocol):
    def __call__(
        self, *, mode: str = "auto", **login: Any
    ) -> AbstractAsyncContextManager[Client]: ...


@pytest.fixture
def enter(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Open a client on the real server, over the real proxmoxer and TLS, on the other Proxmox."""
    monkeypatch.setenv("NO_PROXY", judge.pve.host)

    @asynccontextmanager
    async def opened(*, mode: str = "auto", **login: Any) -> AsyncIterator[Client]:
        given = {"host": judge.pve.host, "port": judge.pve.port, "timeout": 10.0}
        given |= {"fingerprint": judge.fingerprint} | (login or TOKEN)
        limits = Limits(retry_delay=0, rate_per_second=1000)
        policy = Policy(allow_elevated=True)
        settings = Settings(connection=Connection(**given), policy=policy, limits=limits)
        async with Client(server.build(settings), mode=mode) as client:
            yield client

    return opened


@pytest.fixture
async def client(enter: Enter) -> AsyncIterator[Client]:
    """A client that has logged in with a token."""
    async with enter() as opened:
        yield opened
