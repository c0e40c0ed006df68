"""What a prompt is: a function that gathers facts and asks a question about them.

Clients show prompts as commands for people to choose from, so a prompt's docstring is written for
a person, and so are the descriptions of its arguments. The first parameter is the look at the
cluster; all others are the prompt's, and arrive as texts.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    GetPromptResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from proxmox_mcp.prompts.look import Look, spec_of
from proxmox_mcp.pve.errors import NotFound, Refused
from proxmox_mcp.toolkit.bind import State, taking, typed
from proxmox_mcp.toolkit.declare import Declared, ToolSpec
from proxmox_mcp.toolkit.policy import Policy

log = logging.getLogger(__name__)

Handler = Callable[..., Awaitable[str]]


@dataclass(frozen=True, kw_only=True)
class PromptSpec(Declared):
    """A declared prompt.

    Attributes:
        tools: The tools that read what it is about; without one of them there is no prompt.
    """

    tools: tuple[ToolSpec, ...]

    @property
    def description(self) -> str:
        """What a person reads to choose among commands, as one paragraph."""
        return " ".join(super().description.split())

    @property
    def takes(self) -> tuple[str, ...]:
        """The names of its arguments."""
        return tuple(taking(self.handler).model_fields)

    @property
    def arguments(self) -> list[PromptArgument]:
        """What it takes."""
        schema = taking(self.handler).model_json_schema()
        return [
            PromptArgument(
                name=name,
                description=about.get("description"),
                required=name in schema.get("required", []),
            )
            for name, about in schema.get("properties", {}).items()
        ]


def prompt(title: str, *tools: Callable[..., Any]) -> Callable[[Handler], PromptSpec]:
    """Declare a prompt.

    Args:
        title: A few words for people.
        *tools: The tools without which it would have nothing to say.
    """
    specs = tuple(map(spec_of, tools))
    return lambda handler: PromptSpec(handler=handler, title=title, tools=specs)


class Booklet:
    """The prompts that a policy lets a server offer.

    Attributes:
        offered: Those on offer, by name.
        withheld: Why each of the others is not.
    """

    def __init__(self, specs: Iterable[PromptSpec], policy: Policy) -> None:
        every = {spec.name: spec for spec in specs}
        off = {
            name: [f"{tool.name}: {why}" for tool in spec.tools if (why := policy.withholds(tool))]
            for name, spec in every.items()
        }
        self.withheld = {name: "; ".join(why) for name, why in off.items() if why}
        self.offered = {name: spec for name, spec in every.items() if name not in self.withheld}

    def listed(self) -> list[Prompt]:
        """List those on offer."""
        return [
            Prompt(
                name=name,
                title=spec.title,
                description=spec.description,
                arguments=spec.arguments,
            )
            for name, spec in self.offered.items()
        ]

    async def get(self, name: str, given: Mapping[str, Any], state: State) -> GetPromptResult:
        """Gather a prompt's facts and return it.

        Raises:
            MCPError: There is no such prompt, an argument is bad, or there is nothing to tell.
        """
        spec = self._named(name)
        try:
            # A person who leaves a field of a form empty has said nothing.
            arguments = typed(spec.handler, {key: value for key, value in given.items() if value})
        except ValueError as error:
            raise MCPError(INVALID_PARAMS, f"{name}: {error}. Nothing was sent.") from None
        try:
            text = await spec.handler(Look(state, name, spec.title), **arguments)
        except ToolError as error:
            theirs = isinstance(error.__cause__, NotFound | Refused)
            raise MCPError(INVALID_PARAMS if theirs else INTERNAL_ERROR, str(error)) from error
        except Exception as error:
            log.exception("prompt.crashed", extra={"prompt": name})
            said = f"{name} failed inside this server, which is a defect of it; its log has why."
            raise MCPError(INTERNAL_ERROR, said) from error
        message = PromptMessage(role="user", content=TextContent(text=text))
        return GetPromptResult(description=spec.description, messages=[message])

    def _named(self, name: str) -> PromptSpec:
        if why := self.withheld.get(name):
            raise MCPError(INVALID_PARAMS, f"{name} is switched off ({why}). Nothing was sent.")
        if name not in self.offered:
            there = ", ".join(self.offered) or "none"
            raise MCPError(INVALID_PARAMS, f"There is no prompt of this name. There are: {there}.")
        return self.offered[name]
