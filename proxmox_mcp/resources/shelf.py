"""The resources of a server: listed, found by URI, read.

A URI that leads nowhere is ``ResourceNotFoundError``, which the SDK answers with -32602 and the
URI; whatever else goes wrong is ``ResourceError``, -32603. Both say what happened in words.
"""

import logging
from collections.abc import Iterable
from typing import Any

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.types import Resource, ResourceTemplate, TextContent

from proxmox_mcp.pve.errors import NotFound
from proxmox_mcp.resources.declare import ResourceSpec
from proxmox_mcp.toolkit.bind import State, read, typed
from proxmox_mcp.toolkit.policy import Policy

log = logging.getLogger(__name__)


def _about(spec: ResourceSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "title": spec.title,
        "description": spec.description,
        "mime_type": spec.mime_type,
    }


class Shelf:
    """The resources that a policy lets a server offer.

    Attributes:
        offered: Those on offer.
        withheld: Why each of the others is not.
    """

    def __init__(self, specs: Iterable[ResourceSpec], policy: Policy) -> None:
        self._specs = tuple(specs)
        self.withheld = {
            spec.uri: f"{spec.tool.name}, whose answer it is: {why}"
            for spec in self._specs
            if (why := policy.withholds(spec.tool))
        }
        self.offered = [spec for spec in self._specs if spec.uri not in self.withheld]

    def listed(self) -> list[Resource]:
        """List those whose URI names one thing."""
        return [
            Resource(uri=spec.uri, **_about(spec)) for spec in self.offered if not spec.variables
        ]

    def templates(self) -> list[ResourceTemplate]:
        """List those whose URI has a place for an id or a name."""
        return [
            ResourceTemplate(uri_template=spec.uri, **_about(spec))
            for spec in self.offered
            if spec.variables
        ]

    def find(self, uri: str) -> tuple[ResourceSpec, dict[str, object]]:
        """Return the resource that a URI names, and what it puts in place of the variables.

        Raises:
            ResourceNotFoundError: It names none, or nothing that could exist.
            ResourceError: That resource is switched off.
        """
        for spec in self._specs:
            given = spec.named_by(uri)
            if given is None:
                continue
            if why := self.withheld.get(spec.uri):
                raise ResourceError(f"{spec.uri} is switched off ({why}). Nothing was sent.")
            try:
                return spec, typed(spec.handler, given)
            except ValueError as error:
                raise ResourceNotFoundError(f"{spec.uri}: {error}. Nothing was sent.") from None
        there = ", ".join(spec.uri for spec in self.offered)
        raise ResourceNotFoundError(f"No resource has this URI. There are: {there}.")

    async def read(self, uri: str, state: State) -> list[ReadResourceContents]:
        """Read what a URI names.

        Raises:
            ResourceError: It cannot be read; ``ResourceNotFoundError`` where there is none.
        """
        spec, arguments = self.find(uri)
        try:
            answer = await read(
                spec.tool, state, arguments, handler=spec.handler, resource=spec.uri
            )
        except ToolError as error:
            missing = isinstance(error.__cause__, NotFound)
            raise (ResourceNotFoundError if missing else ResourceError)(str(error)) from error
        except Exception as error:
            log.exception("resource.crashed", extra={"resource": spec.uri})
            raise ResourceError(
                f"{spec.uri} failed inside this server, which is a defect of it; its log has the"
                " cause."
            ) from error
        said = "".join(part.text for part in answer.content if isinstance(part, TextContent))
        return [ReadResourceContents(content=said, mime_type=spec.mime_type)]
