"""What an assistant may do here, as the administrator has said: one frozen value, never widened.

Read-only beats everything. A tool that is named in ``enable_tools`` is added to the chosen
toolsets, and to nothing else: neither elevated tools nor destruction come on by it. What is
switched off is not listed, and says when it is called which setting would turn it on.

The same bounds hold a second time where requests leave (:mod:`proxmox_mcp.pve.gate`), by method and
path: a tool that is not on offer could send nothing even if it ran.
"""

import difflib
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from proxmox_mcp.pve.connection import FROZEN
from proxmox_mcp.pve.gate import Gate
from proxmox_mcp.pve.rules import Rule, Rules
from proxmox_mcp.toolkit.declare import ToolSpec

READ_ONLY = (
    "this server only reads; it takes read_only = false in the settings, and neither --read-only"
    " nor PROXMOX_READ_ONLY=true"
)
ELEVATED = "it needs allow_elevated = true in the settings, or PROXMOX_ALLOW_ELEVATED=true"
DESTRUCTIVE = (
    "it loses something for good, which needs allow_destructive = true in the settings, or"
    " PROXMOX_MCP_ALLOW_DESTRUCTIVE=true"
)


def _rule(value: object) -> object:
    Rule.parse(str(value))
    return value


RuleText = Annotated[str, BeforeValidator(_rule)]


class Policy(BaseModel):
    """What tools are offered, which guests they may touch, and what stands before a change."""

    model_config = FROZEN

    read_only: bool = False
    allow_elevated: bool = False
    allow_destructive: bool = True
    toolsets: list[str] = Field(default_factory=list)  # empty: all of them
    enable_tools: list[str] = Field(default_factory=list)
    disable_tools: list[str] = Field(default_factory=list)
    allow: list[RuleText] = Field(default_factory=list)  # empty: everything
    protect: list[RuleText] = Field(default_factory=list)
    confirm: Literal["ask", "strict", "off"] = "ask"
    client_prompts: bool = False
    dry_run: bool = False
    show_secrets: bool = False

    @property
    def rules(self) -> Rules:
        """Which guests and nodes may be touched, and which only read."""
        return Rules.parse(tuple(self.allow), tuple(self.protect))

    def withholds(self, spec: ToolSpec) -> str | None:
        """Say why a tool is not offered, and what would turn it on; None where it is."""
        if self.read_only and spec.effect != "reads":
            return READ_ONLY
        if spec.name in self.disable_tools:
            return "disable_tools in the settings names it"
        if spec.elevated and not self.allow_elevated:
            return ELEVATED
        if spec.effect == "destroys" and not self.allow_destructive:
            return DESTRUCTIVE
        if self.toolsets and not {spec.toolset, spec.name} & {*self.toolsets, *self.enable_tools}:
            return (
                f"its toolset {spec.toolset} is not among toolsets in the settings; name it there,"
                " or this tool in enable_tools"
            )
        return None

    def gate(self, specs: Iterable[ToolSpec]) -> Gate:
        """Return the gate that lets pass what the tools on offer send, and nothing else."""
        offered = [spec for spec in specs if self.withholds(spec) is None]
        return Gate.of(
            [template for spec in offered for template in spec.sends],
            losses=self.allow_destructive,
        )

    def faults(self, specs: Iterable[ToolSpec]) -> dict[str, str]:
        """Say by setting what names no tool or toolset; a misspelt one would be a hole."""
        known = list(specs)
        names, toolsets = [spec.name for spec in known], sorted({spec.toolset for spec in known})
        checked = (
            ("toolsets", self.toolsets, toolsets),
            ("enable_tools", self.enable_tools, names),
            ("disable_tools", self.disable_tools, names),
        )
        return {
            setting: said
            for setting, given, there in checked
            if (said := _unknown(given, there, setting))
        }


def _unknown(given: Iterable[str], there: list[str], setting: str) -> str:
    wrong = [name for name in given if name not in there]
    if not wrong:
        return ""
    close = difflib.get_close_matches(wrong[0], there, 1, 0.5)
    meant = f"; did you mean {close[0]}?" if close else ""
    listed = f" There are: {', '.join(there)}." if setting == "toolsets" else ""
    return f"knows no {wrong[0][:60]!r}{meant}.{listed}"
