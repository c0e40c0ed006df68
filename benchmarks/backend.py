"""A simulated cluster behind HTTPS in a process of its own, so that its work is not taken for ours.

The child prints its port, and ends when its stdin does.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from proxmox_mcp import simulator
from proxmox_mcp.pve.connection import Connection

HERE = "127.0.0.1"


@dataclass(frozen=True)
class Backend:
    """Where the cluster is."""

    port: int
    authority: Path

    @property
    def connection(self) -> Connection:
        """The way there, for a server in this process."""
        login = simulator.CREDENTIALS | {"host": HERE}
        return Connection(**login, port=self.port, verify_ssl=str(self.authority))

    @property
    def variables(self) -> Mapping[str, str]:
        """The way there, for a server of its own."""
        return {
            "PROXMOX_HOST": HERE,
            "PROXMOX_PORT": str(self.port),
            "PROXMOX_USER": simulator.CREDENTIALS["user"],
            "PROXMOX_TOKEN_NAME": simulator.CREDENTIALS["token_name"],
            "PROXMOX_TOKEN_VALUE": simulator.CREDENTIALS["token_value"],
            "PROXMOX_VERIFY_SSL": str(self.authority),
            "NO_PROXY": "*",
        }


@contextmanager
def running(folder: Path, *, guests: int = 12, latency: float = 0.0) -> Iterator[Backend]:
    """Run a cluster until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, certificate = folder / "authority.pem", folder / "server.pem"
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(authority)
    issuer.issue_cert(HERE).private_key_and_cert_chain_pem.write_to_path(certificate)
    words = ["--guests", str(guests), "--latency", str(latency), "--cert", str(certificate)]
    child = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "benchmarks.backend", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        said = child.stdout.readline() if child.stdout else b""
        yield Backend(int(said), authority)
    finally:
        child.kill()
        child.communicate()


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--guests", type=int)
    parser.add_argument("--latency", type=float)
    parser.add_argument("--cert")
    wanted = parser.parse_args()
    cluster = simulator.Cluster(guests=wanted.guests, latency=wanted.latency, speed=1000)
    with simulator.LoopbackServer(cluster, certfile=wanted.cert) as server:
        print(server.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
