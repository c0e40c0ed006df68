r"""Serve the simulated cluster on this machine, for curl or any other client.

A certificate, as proxmoxer always speaks HTTPS:

    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem

    python -m proxmox_mcp.simulator --cert cert.pem --key key.pem
"""

from __future__ import annotations

import argparse
import sys
import threading

from proxmox_mcp.simulator import CREDENTIALS, Cluster, LoopbackServer


def main() -> None:
    """Read the arguments, serve until interrupted."""
    arguments = _parser().parse_args()
    if not arguments.http and not (arguments.cert and arguments.key):
        _parser().error("give --cert and --key, or --http for plain HTTP")
    cluster = Cluster(
        seed=arguments.seed,
        guests=arguments.guests,
        offline=arguments.offline,
        version=arguments.pve,
    )
    server = LoopbackServer(
        cluster,
        certfile=None if arguments.http else arguments.cert,
        keyfile=None if arguments.http else arguments.key,
        port=arguments.port,
    )
    with server:
        sys.stdout.write(f"A simulated cluster, nothing real, at {server.url}\n")
        sys.stdout.write(f"{_curl(server.url)}\n")
        sys.stdout.flush()
        try:
            wait()
        except KeyboardInterrupt:
            sys.stdout.write("\n")


def wait() -> None:
    """Do nothing until the user has had enough."""
    threading.Event().wait()


def _curl(url: str) -> str:
    token = "{user}!{token_name}={token_value}".format_map(CREDENTIALS)
    return f"curl -k -H 'Authorization: PVEAPIToken={token}' {url}/api2/json/nodes"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m proxmox_mcp.simulator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=8006)
    parser.add_argument("--cert", help="the certificate, in a PEM file")
    parser.add_argument("--key", help="its private key, in a PEM file")
    parser.add_argument("--http", action="store_true", help="plain HTTP, without a certificate")
    parser.add_argument("--guests", type=int, default=12, help="how many guests (12)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other figures")
    parser.add_argument("--pve", choices=("7.4", "8.4", "9.0"), default="9.0", help="its version")
    parser.add_argument("--offline", action="append", default=[], help="a node that is down")
    return parser


if __name__ == "__main__":
    main()
