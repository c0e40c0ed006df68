"""One word at each tool says its effect: it reads, it changes, or it destroys.

A domain file makes one ``Toolset`` and puts ``@toolset.reads``, ``@toolset.changes`` or
``@toolset.destroys`` on each of its functions. All else about a tool is in that function: its
name, its words (the docstring), its parameters (annotated types) and what it does. The first
parameter is the way to the cluster, ``pve``; all others are the tool's.

The decorator returns the function unchanged, so a tool can be called and tested as what it is.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from mcp.types import ToolAnnotations

Effect = Literal["reads", "changes", "destroys"]
F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """A declared tool.

    Attributes:
        handler: The function; its name is the tool's.
        title: A few words for people.
        effect: What it does to the cluster.
        needs: The privilege it needs on Proxmox, for people who write roles.
        elevated: Whether it is offered only where ``allow_elevated`` is set.
        repeatable: Whether doing it twice is the same as doing it once.
        toolset: The name of its domain.
    """

    handler: Callable[..., Awaitable[Any]]
    title: str
    effect: Effect
    needs: str
    elevated: bool
    repeatable: bool
    toolset: str

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.handler.__name__

    @property
    def description(self) -> str:
        """What a model reads to choose between tools."""
        return inspect.cleandoc(self.handler.__doc__ or "")

    @property
    def annotations(self) -> ToolAnnotations:
        """What MCP clients ask for; they look for the title here, too."""
        if self.effect == "reads":
            return ToolAnnotations(title=self.title, read_only_hint=True, open_world_hint=False)
        return ToolAnnotations(
            title=self.title,
            read_only_hint=False,
            destructive_hint=self.effect == "destroys",
            idempotent_hint=self.repeatable,
            open_world_hint=False,
        )


@dataclass
class Toolset:
    """The tools of one domain, in the order in which they are declared."""

    name: str
    tools: list[ToolSpec] = field(default_factory=list)

    def reads(self, title: str, *, needs: str, elevated: bool = False) -> Callable[[F], F]:
        """Declare a tool that changes nothing."""
        return self._declare("reads", title, needs, elevated=elevated, repeatable=True)

    def changes(
        self, title: str, *, needs: str, elevated: bool = False, repeatable: bool = False
    ) -> Callable[[F], F]:
        """Declare a tool that changes something, and can be undone."""
        return self._declare("changes", title, needs, elevated=elevated, repeatable=repeatable)

    def destroys(
        self, title: str, *, needs: str, elevated: bool = False, repeatable: bool = False
    ) -> Callable[[F], F]:
        """Declare a tool after which something may be gone for good."""
        return self._declare("destroys", title, needs, elevated=elevated, repeatable=repeatable)

    def _declare(
        self, effect: Effect, title: str, needs: str, *, elevated: bool, repeatable: bool
    ) -> Callable[[F], F]:
        def keep(handler: F) -> F:
            spec = ToolSpec(
                handler=handler,
                title=title,
                effect=effect,
                needs=needs,
                elevated=elevated,
                repeatable=repeatable,
                toolset=self.name,
            )
            self.tools.append(spec)
            return handler

        return keep
