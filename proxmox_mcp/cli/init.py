"""The flags of ``proxmox-mcp init``: one for every question it would ask.

Exit codes: 0 the connection works and everything asked for was written; 1 it was, but a client
could not be told; 2 there is no connection or something is wrong, and nothing was written.

No secret is a flag, since every program on the machine can read command lines: one is typed, found,
or read from a file or stdin.
"""

import argparse
import sys
from typing import Final, TextIO

SOURCES: Final = (
    "settings",
    "environment",
    "ansible",
    "bpg",
    "telmate",
    "packer",
    "servers",
    "pve",
    "exporter",
    "file",
    "none",
)
CLIENTS: Final = ("claude-code", "claude-desktop", "vscode", "cursor", "none")
SCOPES: Final = ("user", "project", "local")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags; nothing else is imported for it."""
    parser.add_argument(
        "--profile", default=argparse.SUPPRESS, help="the profile to write (default)"
    )
    where = parser.add_argument_group("where the login comes from")
    where.add_argument("--from", dest="source", choices=SOURCES, help="take this and no other")
    where.add_argument(
        "--from-file",
        metavar="FILE",
        help="take it from this file: pve.yml, an Ansible inventory, .tfvars, .env, JSON, TOML",
    )
    where.add_argument("--host", help="host, host:port or https:// URL of one node")
    where.add_argument("--user", help="user@realm, or the whole token id user@realm!name")
    where.add_argument("--token-name", help="the API token's name, the part after the !")
    secret = where.add_mutually_exclusive_group()
    secret.add_argument("--token-value-file", metavar="FILE", help="its secret; - is stdin")
    secret.add_argument("--password-file", metavar="FILE", help="a password; - is stdin")
    trust = parser.add_argument_group("whom to trust")
    trust.add_argument("--verify-ssl", metavar="CA", help="the path of the authority, or false")
    pin = trust.add_mutually_exclusive_group()
    pin.add_argument("--pin", metavar="SHA256", help="the fingerprint that the host has to show")
    pin.add_argument("--trust-first", action="store_true", help="pin what it shows, unseen")
    client = parser.add_argument_group("which client is to start the server")
    client.add_argument("--client", choices=CLIENTS, help="carry it out; without, it is printed")
    client.add_argument("--scope", choices=SCOPES, default="user", help="for whom (user)")
    client.add_argument("--name", default="proxmox", help="its name in the client (proxmox)")
    client.add_argument("--replace", action="store_true", help="over another of that name")
    parser.add_argument("--no-test", action="store_true", help="write without connecting")
    parser.add_argument("--print", dest="dry", action="store_true", help="change nothing")
    parser.add_argument(
        "--yes",
        action="store_true",
        help="ask nothing and take what is proposed; never pins without --pin or --trust-first",
    )


def run(given: argparse.Namespace, out: TextIO) -> int:
    """Carry it out with a person at the terminal, or with flags alone."""
    from proxmox_mcp.cli import onboarding  # noqa: PLC0415 - the server starts without it
    from proxmox_mcp.cli.asking import Terminal  # noqa: PLC0415

    is_attended = not given.yes and sys.stdin.isatty()
    return onboarding.run(given, Terminal(out, sys.stdin, is_attended))
