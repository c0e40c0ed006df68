"""Why may this not be done?"""

import difflib
from functools import partial
from typing import Annotated, Any

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from proxmox_mcp.prompts.declare import prompt
from proxmox_mcp.prompts.look import Look, looks, part
from proxmox_mcp.pve.errors import NotFound, Refused
from proxmox_mcp.pve.fields import GuestRef
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.locate import Guest, locate
from proxmox_mcp.pve.permissions import Permissions
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.toolkit.needs import Need, judge
from proxmox_mcp.toolkit.policy import Policy
from proxmox_mcp.toolkit.results import Result
from proxmox_mcp.toolkit.text import Line
from proxmox_mcp.tools import TOOLS

PREFIX = "proxmox_"
PATH_CHARACTERS = 60

QUESTION = """\
Why may {tool} not be used{on}, or may it? Who can change that, where, and what would it open \
beyond this one need?

Keep the three apart: what the settings of this server say (its administrator changes them and \
starts it anew), what the rights of its token on Proxmox are (an administrator there grants them: \
name privilege and path, the narrowest that do), and what neither explains, such as a lock or a \
state: the prompt diagnose_guest looks at that. Do not try other ways to the same end, and do not \
ask for more rights than the need names. Change nothing.\
"""


class Rights(Result, defer_build=True):
    """What a token lacks for a tool."""

    version: Line
    login: Line = Field(description="Who this server is on Proxmox.")
    guest: Line = Field(description="Which guest is meant.")
    rules: Line = Field(description="What allow and protect say of the guest.")
    here: list[Line] = Field(description="Each need of the tool, and whether it is held.")
    missing: list[Line] = Field(description="Needs of which nothing is held anywhere.")


Tool = Annotated[
    str, Field(max_length=80, description="The tool's name, with or without proxmox_ before it.")
]


@looks.reads("What a token may do")
async def rights_for(pve: Pve, *, tool: ToolSpec, vmid: GuestRef | None = None) -> Rights:
    """Hold what a tool needs against what the token has, on one guest or at all."""
    version = str((await pve.record(pve.version.get))["version"])
    number = float(".".join(version.split(".")[:2]))
    held = Permissions(await pve.record(pve.access.permissions.get))
    guest, named = await _guest(pve, vmid)
    needs = [need for need in tool.needs if need.holds_in(number)]
    return Rights(
        version=version,
        login=pve.identity,
        guest=named,
        rules=await _rules(pve, tool, guest),
        here=[_need(need, held, guest) for need in needs],
        missing=[need.text for need in judge(tool.needs, held, number).missing],
    )


async def _guest(pve: Pve, vmid: int | str | None) -> tuple[Guest | None, str]:
    """Find the guest, or say why there is none: that may be the very thing that is denied."""
    if vmid is None:
        return None, "none was named"
    try:
        guest = await locate(pve, vmid)
    except (NotFound, Refused) as error:
        return None, str(error)
    return guest, str(guest)


async def _rules(pve: Pve, tool: ToolSpec, guest: Guest | None) -> str:
    if guest is None:
        return "unknown without a guest"
    if tool.effect == "reads":
        return "no rule keeps this server from reading it"
    try:
        await pve.bounds.guest(guest.vmid)
    except Refused as refused:
        return str(refused)
    return "no rule (allow, protect) keeps this server from changing it"


def _need(need: Need, held: Permissions, guest: Guest | None) -> str:
    """Say of one need whether it is held, on the very path where that is known."""
    known = {"vmid": str(guest.vmid), "node": guest.node} if guest else {}
    path = need.path
    for name, value in known.items():
        path = path.replace(f"{{{name}}}", value)
    if "{" in path:
        return f"{need.text}: depends on {path[path.index('{') + 1 :].partition('}')[0]}"
    there = held.on(path)
    has = [each for each in need.privileges if each in there]
    enough = len(has) == len(need.privileges) if need.keyed else bool(has)
    if enough:
        return f"{need.text}: held on {path} ({', '.join(has)})"
    lacking = (" and " if need.keyed else " or ").join(
        each for each in need.privileges if each not in there
    )
    return f"{need.text}: {'held in part' if has else 'NOT HELD'} on {path}, lacks {lacking}"


@prompt("Why denied")
async def why_denied(
    look: Look,
    *,
    tool: Tool,
    guest: Annotated[
        GuestRef | None, Field(description="A guest it was to be used on, by id or name.")
    ] = None,
) -> str:
    """Why may the assistant not do this?

    Compares what a tool needs with the settings of this server and with the rights of its token on
    Proxmox, and has the assistant say who could change what.
    """
    spec = _tool(tool)
    reading = partial(rights_for, tool=spec, vmid=guest)
    rights = await look.one(reading)
    on = " on the guest that is named in the facts" if guest else ""
    return look.page(
        [
            part(
                "What the settings of this server say",
                partial(settings_lines, spec, look.state.watch.policy),
            ),
            part("The guest, and what this server's token may do on Proxmox", rights_lines, rights),
        ],
        QUESTION.format(tool=spec.name, on=on),
        spec.name,
    )


def _tool(given: str) -> ToolSpec:
    """Find a tool by its name.

    Raises:
        ToolError: There is none.
    """
    name = PREFIX + given.strip().lower().removeprefix(PREFIX)
    if found := next((spec for spec in TOOLS if spec.name == name), None):
        return found
    close = difflib.get_close_matches(name, [spec.name for spec in TOOLS], 3, 0.5)
    meant = f" Did you mean {', '.join(close)}?" if close else ""
    raise ToolError(f"There is no tool of this name.{meant}") from NotFound()


def settings_lines(spec: ToolSpec, policy: Policy) -> list[str]:
    """Tell what the settings say of a tool."""
    why = policy.withholds(spec)
    lines = [f"{spec.name} is {'switched off: ' + why if why else 'on offer'}"]
    lines.append(f"it {spec.effect}" + (", and loses something for good" if spec.loses else ""))
    if spec.loses:
        lines.append(f"a loss must be confirmed: confirm = {policy.confirm}")
    if policy.dry_run:
        lines.append("dry_run = true: no change leaves this server")
    return lines


def rights_lines(rights: dict[str, Any]) -> list[str]:
    """Tell which needs the token meets."""
    lines = [
        f"guest: {rights['guest']}",
        f"rules of this server (allow, protect): {rights['rules']}",
        f"Proxmox VE {rights['version']}, logged in as {rights['login']}",
    ]
    lines += [f"missing everywhere: {need}" for need in rights["missing"]]
    return lines + [f"needs {line}" for line in rights["here"]]
