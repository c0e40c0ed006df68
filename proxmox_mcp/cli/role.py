"""The commands that make a token with just the rights that the tools on offer need."""

import re
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from proxmox_mcp.config import Settings
from proxmox_mcp.toolkit.needs import Need, granted
from proxmox_mcp.tools import TOOLS

COLUMNS = 80
ROLE = "ProxmoxMCP"
ROOT = "root@pam"

# As Proxmox has them (pve-userid, pve-tokenid): nothing in them ends a comment or a line.
_USER = re.compile(r"[^\s:/@!#]+@[A-Za-z][A-Za-z0-9._-]+")
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9._-]+")


def commands(settings: Settings, versions: Iterable[int], user: str, token: str) -> str:
    """Return the lines to run as root on a node, for each version of Proxmox asked for.

    Raises:
        ValueError: Proxmox has no user or token of such a name.
    """
    if not _USER.fullmatch(user):
        raise ValueError("--user is a name and its realm, such as mcp@pve.")
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            "--token is a name without its user: a letter, then letters, digits, . _ or -."
        )
    wanted = [(version, privileges(settings, version)) for version in versions]
    if not any(names for _, names in wanted):
        return "# No tool is on offer that needs a right: any token will do.\n"
    if len({tuple(names) for _, names in wanted}) == 1:
        named = " or ".join(str(version) for version, _ in wanted)
        blocks = [_block(named, wanted[0][1], user, token)]
    else:
        blocks = [_block(f"{number}", names, user, token) for number, names in wanted]
    return "\n".join(blocks)


def privileges(settings: Settings, version: float) -> dict[str, list[Need]]:
    """Return what the tools on offer need on this version, and what for."""
    offered = (spec for spec in TOOLS if settings.policy.withholds(spec) is None)
    return granted((need for spec in offered for need in spec.needs), version)


def _block(version: str, wanted: Mapping[str, list[Need]], user: str, token: str) -> str:
    lines = [
        f"# As root on a node of Proxmox VE {version}:",
        *_made(wanted, user, token),
        *_comment(
            "`pveum user token add` prints the token's secret, as value, and never again. Put it"
            " into .secrets.toml as token_value, or into the environment as PROXMOX_TOKEN_VALUE;"
            " beside it, or in settings.toml:"
        ),
        f"#     user = {_toml(user)}",
        f"#     token_name = {_toml(token)}",
        *_comment("Where the role is there already: `pveum role modify` instead of `role add`."),
        *_comment(
            "Instead of / a narrower path narrows what the token reaches, such as /pool/lab or"
            " /vms/105. Give what lies elsewhere (/storage, /nodes, /sdn) there as well, and see"
            " with proxmox-mcp check what that leaves."
        ),
        *_spare(wanted),
    ]
    return "\n".join(lines) + "\n"


def _made(wanted: Iterable[str], user: str, token: str) -> Iterator[str]:
    """Give the commands in an order that works: what is named in one is made in one before it."""
    named, full = shlex.quote(user), shlex.quote(f"{user}!{token}")
    yield f'pveum role add {ROLE} --privs "{" ".join(wanted)}"'
    if user != ROOT:  # it is there, and has every right
        yield f"pveum user add {named} --comment proxmoxer-mcp"
        yield f"pveum acl modify / --users {named} --roles {ROLE}"
    yield f"pveum user token add {named} {shlex.quote(token)} --privsep 1"
    yield f"pveum acl modify / --tokens {full} --roles {ROLE}"


def _toml(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text,
        COLUMNS,
        initial_indent="# ",
        subsequent_indent="#   ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _spare(wanted: Mapping[str, list[Need]]) -> list[str]:
    """Say which privileges are only for something, for whoever wants to give less."""
    lines = [
        f"  {name}: {'; '.join(sorted({need.when for need in needs}))}"
        for name, needs in wanted.items()
        if all(need.when for need in needs)
    ]
    if not lines:
        return []
    head = "May be left out, if this is not wanted:"
    return [line for text in (head, *lines) for line in _comment(text)]
