"""One stage for one fault: a fresh cluster, a gate in front of it, and the real server as a child.

Every length of time that the server waits by its settings is a tenth of its default, and so are
the delays that faults bring; pauses that are no setting are as users have them.
"""

import hashlib
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from benchmarks.assistant import Assistant
from benchmarks.gate import HERE, Gate
from benchmarks.place import environment
from benchmarks.resolver import DOMAIN
from proxmox_mcp import simulator
from proxmox_mcp.simulator import Answer, Request

SCALE = 0.1
SPEED = 200.0
NAMES = (f"one{DOMAIN}", f"two{DOMAIN}")
LOGIN = "/access/ticket"
REFUSED = 400

SCALED: Mapping[str, str] = {
    "PROXMOX_MCP_TIMEOUT": "3.5",
    "PROXMOX_MCP_CONNECT_TIMEOUT": "1",  # a tenth would be less than a busy machine's handshake
    "PROXMOX_MCP_RETRY_DELAY": "0.05",
    "PROXMOX_MCP_RETRY_TOTAL": "3",
    "PROXMOX_ALLOW_ELEVATED": "true",
    "NO_PROXY": "*",
}

SECRETS = (simulator.CREDENTIALS["token_value"], simulator.PASSWORD["password"])


class DisturbedCluster(simulator.Cluster):
    """A simulated cluster with a hand on what arrives and on what goes back.

    Attributes:
        first: Sees each request; what it returns is the answer, and nothing is carried out.
        then: Sees each request that was carried out, and its answer, and returns what goes back.
        received: Every request.
        accepted: The changes that were accepted.
        ahead: Seconds by which its clock is ahead.
    """

    def __init__(self, **options: Any) -> None:
        self.ahead = 0.0
        self.first: Callable[[Request], Answer | None] = lambda _: None
        self.then: Callable[[Request, Answer], Answer] = lambda _, answer: answer
        self.received: list[Request] = []
        self.accepted: list[str] = []
        super().__init__(clock=lambda: time.time() + self.ahead, **options)

    def handle(self, request: Request) -> Answer:
        """Answer a request, as far as the two hands let it."""
        self.received.append(request)
        replaced = self.first(request)
        if replaced is not None:
            return replaced
        answer = super().handle(request)
        if request.method != "GET" and request.path != LOGIN and answer.status < REFUSED:
            self.accepted.append(spelled(request))
        return self.then(request, answer)

    @property
    def busy(self) -> bool:
        """Whether a task that the server started is still running."""
        return any(task.end is None and "!" in task.user for task in self.center.tasks.newest())

    def set_clock(self, seconds: float) -> None:
        """Let the clock jump; back as well, where the simulated cluster's own time would stay."""
        self.ahead += seconds
        self.center.tasks.now += seconds


def spelled(request: Request) -> str:
    """Write a request in one line, for patterns."""
    return f"{request.method} {request.path}"


@dataclass(frozen=True)
class Certificates:
    """Two certificates for the same host, of which the server is told the first."""

    files: tuple[str, str]
    fingerprint: str

    @classmethod
    def made(cls, folder: Path) -> "Certificates":
        """Make them; the keys never leave the folder."""
        authority = trustme.CA()
        files = []
        issued = [authority.issue_cert(HERE) for _ in range(2)]
        for number, certificate in enumerate(issued):
            file = folder / f"certificate-{number}.pem"
            certificate.private_key_and_cert_chain_pem.write_to_path(file)
            files.append(str(file))
        der = ssl.PEM_cert_to_DER_cert(issued[0].cert_chain_pems[0].bytes().decode())
        return cls((files[0], files[1]), hashlib.sha256(der).hexdigest())


@dataclass
class Stage:
    """What a fault may lay its hands on.

    Attributes:
        gate: The relay in front of the cluster.
        assistant: The server's process and its client.
        names: The folder of names that resolve.
        certificates: What the cluster may show.
        closing: Ends whatever was begun, when the stage is left.
        cluster: The simulated cluster.
        over: Set when the stage is left, so that whoever hangs can go.
    """

    gate: Gate
    assistant: Assistant
    names: Path
    certificates: Certificates
    closing: ExitStack
    cluster: DisturbedCluster = field(default_factory=DisturbedCluster)
    over: threading.Event = field(default_factory=threading.Event)

    def renew(self, options: Mapping[str, Any]) -> None:
        """Put a fresh cluster in the place of the present one."""
        for name in NAMES:
            (self.names / name).touch()
        self.cluster = DisturbedCluster(**{"speed": SPEED, **options})
        self.serve()
        self.gate.cut()

    def serve(self, certificate: int = 0) -> None:
        """Put a new HTTPS server behind the gate, on the same cluster."""
        file = self.certificates.files[certificate]
        server = simulator.LoopbackServer(self.cluster, certfile=file)
        self.gate.upstream = self.closing.enter_context(server).port

    def forget(self, name: str) -> None:
        """Let a name no longer resolve."""
        (self.names / name).unlink()


@contextmanager
def staged(
    folder: Path, certificates: Certificates, settings: Mapping[str, str]
) -> Iterator[Stage]:
    """Start a server behind a gate, and leave nothing behind."""
    names, home = folder / "names", folder / "home"
    names.mkdir(parents=True)
    home.mkdir()
    with ExitStack() as closing:
        gate = closing.enter_context(Gate())
        command = (sys.executable, "-m", "benchmarks.resolver", str(names))
        variables = _environment(home, gate.port, certificates.fingerprint) | dict(settings)
        assistant = closing.enter_context(Assistant(command, variables, home))
        stage = Stage(gate, assistant, names, certificates, closing)
        closing.callback(stage.over.set)
        yield stage


def _environment(home: Path, port: int, fingerprint: str) -> dict[str, str]:
    login = {
        f"PROXMOX_{name.upper()}": text
        for name, text in simulator.CREDENTIALS.items()
        if name != "host"
    }
    place = {
        "PROXMOX_HOST": HERE,
        "PROXMOX_PORT": str(port),
        "PROXMOX_FINGERPRINT": fingerprint,
    }
    return environment(home, {**place, **login, **SCALED})
