"""The commands that make a token with just the rights that the tools on offer need."""

import shlex
import textwrap
from collections.abc import Iterable, Mapping

from proxmox_mcp.config import Settings
from proxmox_mcp.toolkit.needs import Need, granted
from proxmox_mcp.tools import TOOLS

COLUMNS = 80
ROLE = "ProxmoxMCP"


def commands(settings: Settings, versions: Iterable[int], user: str, token: str) -> str:
    """Return the lines to run as root on a node, for each version of Proxmox asked for."""
    wanted = [(version, privileges(settings, version)) for version in versions]
    same = len({tuple(named) for _, named in wanted}) == 1
    if same:
        named = " and ".join(str(version) for version, _ in wanted)
        blocks = [_block(f"Proxmox VE {named}", wanted[0][1], user, token)]
    else:
        blocks = [_block(f"Proxmox VE {number}", names, user, token) for number, names in wanted]
    return "\n".join(blocks)


def privileges(settings: Settings, version: float) -> dict[str, list[Need]]:
    """Return what the tools on offer need on this version, and what for."""
    offered = (spec for spec in TOOLS if settings.policy.withholds(spec) is None)
    return granted((need for spec in offered for need in spec.needs), version)


def _block(where: str, wanted: Mapping[str, list[Need]], user: str, token: str) -> str:
    role, named, full = shlex.quote(ROLE), shlex.quote(user), shlex.quote(f"{user}!{token}")
    lines = [
        f"# On a node, as root ({where}):",
        f'pveum role add {role} --privs "{" ".join(wanted)}"',
        f'pveum user add {named} --comment "proxmoxer-mcp"',
        f"pveum user token add {named} {shlex.quote(token)} --privsep 1",
        f"pveum acl modify / --users {named} --roles {role}",
        f"pveum acl modify / --tokens {full} --roles {role}",
        "# The third line prints the token's secret, once: it is token_value in .secrets.toml.",
        "# A narrower path than / (/vms/105, /pool/lab) narrows what the token reaches.",
    ]
    return "\n".join([*lines, *_spare(wanted)]) + "\n"


def _spare(wanted: Mapping[str, list[Need]]) -> list[str]:
    """Say which privileges are only for something, for whoever wants to give less."""
    lines = [
        f"{name}: {', '.join(sorted({need.when for need in needs}))}"
        for name, needs in wanted.items()
        if all(need.when for need in needs)
    ]
    if not lines:
        return []
    head = "# May be left out, and then is missing:"
    return [
        head,
        *(
            textwrap.fill(line, COLUMNS, initial_indent="#   ", subsequent_indent="#     ")
            for line in lines
        ),
    ]
