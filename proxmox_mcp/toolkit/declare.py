"""One word at each tool says its effect: it reads, it changes, or it destroys.

A domain file makes one ``Toolset`` and puts ``@toolset.reads``, ``@toolset.changes`` or
``@toolset.destroys`` on each of its functions. All else about a tool is in that function: its
name, its words (the docstring), its parameters (annotated types) and what it does. The first
parameter is the way to the cluster, ``pve``; all others are the tool's.

The decorator returns the function unchanged, so a tool can be called and tested as what it is.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from proxmox_mcp.toolkit.needs import Need

if TYPE_CHECKING:
    from mcp.types import ToolAnnotations

GUEST = "/nodes/{node}/{kind}/{vmid}"
"""The path below which a guest's own calls lie, as a tool writes down what it sends."""

Effect = Literal["reads", "changes", "destroys"]
F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A function that clients are offered under its name, in the words of its docstring.

    Attributes:
        handler: The function.
        title: A few words for people.
    """

    handler: Callable[..., Awaitable[Any]]
    title: str

    @property
    def name(self) -> str:
        """What it is called."""
        return self.handler.__name__

    @property
    def description(self) -> str:
        """What is read to choose among its like."""
        return inspect.cleandoc(self.handler.__doc__ or "")


@dataclass(frozen=True, kw_only=True)
class ToolSpec(Declared):
    """A declared tool.

    Attributes:
        effect: What it does to the cluster.
        needs: The privileges it needs on Proxmox.
        sends: The changes it may send, e.g. ``POST /nodes/{node}/vzdump``; no other leaves.
        may_lose: With what arguments a tool that changes also loses something for good.
        elevated: Whether it is offered only where ``allow_elevated`` is set.
        repeatable: Whether doing it twice is the same as doing it once.
        toolset: The name of its domain.
        search: What people call what its domain is for.
    """

    effect: Effect
    needs: tuple[Need, ...]
    sends: tuple[str, ...]
    may_lose: str
    elevated: bool
    repeatable: bool
    toolset: str
    search: str = ""

    @property
    def loses(self) -> bool:
        """Whether something may be gone for good after it."""
        return self.effect == "destroys" or bool(self.may_lose)

    @property
    def annotations(self) -> "ToolAnnotations":
        """What MCP clients ask for; they look for the title here, too."""
        # Most commands speak no MCP, and its types take more than a second to import.
        from mcp.types import ToolAnnotations  # noqa: PLC0415

        if self.effect == "reads":
            return ToolAnnotations(title=self.title, read_only_hint=True, open_world_hint=False)
        return ToolAnnotations(
            title=self.title,
            read_only_hint=False,
            destructive_hint=self.loses,
            idempotent_hint=self.repeatable,
            open_world_hint=False,
        )


@dataclass
class Toolset:
    """The tools of one domain, in the order in which they are declared.

    Attributes:
        name: The name of its file.
        search: What people call what these tools are for: a client that loads tools on demand
            looks for it.
    """

    name: str
    search: str = ""
    tools: list[ToolSpec] = field(default_factory=list)

    def reads(self, title: str, *needs: str, elevated: bool = False) -> Callable[[F], F]:
        """Declare a tool that changes nothing."""
        return self._declare("reads", title, needs, elevated=elevated, repeatable=True)

    def changes(
        self,
        title: str,
        *needs: str,
        sends: Sequence[str],
        may_lose: str = "",
        elevated: bool = False,
        repeatable: bool = False,
    ) -> Callable[[F], F]:
        """Declare a tool that changes something that can be changed back.

        Args:
            title: A few words for people.
            *needs: The privileges it needs, as :mod:`~proxmox_mcp.toolkit.needs` reads them.
            sends: The changes it may send.
            may_lose: With what arguments it also loses something for good.
            elevated: Whether it is offered only where ``allow_elevated`` is set.
            repeatable: Whether doing it twice is the same as doing it once.
        """
        return self._declare(
            "changes",
            title,
            needs,
            sends=sends,
            may_lose=may_lose,
            elevated=elevated,
            repeatable=repeatable,
        )

    def destroys(
        self, title: str, *needs: str, sends: Sequence[str], repeatable: bool = False
    ) -> Callable[[F], F]:
        """Declare a tool after which something is gone for good: it has that confirmed first."""
        return self._declare("destroys", title, needs, sends=sends, repeatable=repeatable)

    def _declare(
        self,
        effect: Effect,
        title: str,
        needs: Sequence[str],
        *,
        sends: Sequence[str] = (),
        may_lose: str = "",
        elevated: bool = False,
        repeatable: bool = False,
    ) -> Callable[[F], F]:
        def keep(handler: F) -> F:
            spec = ToolSpec(
                handler=handler,
                title=title,
                effect=effect,
                needs=tuple(map(Need.parse, needs)),
                sends=tuple(sends),
                may_lose=may_lose,
                elevated=elevated,
                repeatable=repeatable,
                toolset=self.name,
                search=self.search,
            )
            self.tools.append(spec)
            return handler

        return keep
