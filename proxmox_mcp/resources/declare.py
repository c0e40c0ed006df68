"""What a resource is: the answer of a tool that reads, under a URI.

The decorator says the URI, as a template of RFC 6570, and the tool whose answer it is. That tool
decides whether there is such a resource at all: what a policy withholds as a tool is not to be had
under another name. The function's docstring is the description, its parameters are the URI's
variables, and their types keep what is no identifier from becoming a part of a path.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp.shared.uri_template import UriTemplate

from proxmox_mcp.toolkit.declare import Declared, ToolSpec
from proxmox_mcp.toolkit.results import Result
from proxmox_mcp.tools import TOOLS

Handler = Callable[..., Awaitable[Result | str]]
Tool = Callable[..., Awaitable[Any]]

JSON = "application/json"
TEXT = "text/plain"

SPECS: dict[Tool, ToolSpec] = {spec.handler: spec for spec in TOOLS}


@dataclass(frozen=True, kw_only=True)
class ResourceSpec(Declared):
    """A declared resource.

    Attributes:
        uri: The template of its URI.
        tool: The tool whose answer it is.
        mime_type: What comes back.
    """

    uri: str
    tool: ToolSpec
    mime_type: str

    @property
    def variables(self) -> tuple[str, ...]:
        """The names in its URI that stand for something."""
        return tuple(_parsed(self.uri).variable_names)

    def named_by(self, uri: str) -> dict[str, str] | None:
        """Return what a URI puts in place of the variables; None where it is another's."""
        found = _parsed(self.uri).match(uri)
        return None if found is None else {name: str(value) for name, value in found.items()}


@functools.cache
def _parsed(template: str) -> UriTemplate:
    return UriTemplate.parse(template)


def resource(uri: str, title: str, tool: Tool) -> Callable[[Handler], ResourceSpec]:
    """Declare a resource: where it is, and whose answer it shows.

    Args:
        uri: The template of its URI.
        title: A few words for people.
        tool: The tool that reads it.
    """

    def declared(handler: Handler) -> ResourceSpec:
        returns = inspect.signature(handler, eval_str=True).return_annotation
        return ResourceSpec(
            handler=handler,
            uri=uri,
            title=title,
            tool=SPECS[tool],
            mime_type=TEXT if returns is str else JSON,
        )

    return declared
