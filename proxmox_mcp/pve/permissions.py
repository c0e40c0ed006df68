"""What a token may do, as Proxmox itself says: ``GET /access/permissions``, read and asked.

The answer has, by path, each privilege and whether it holds below that path too. It names the paths
at the top and those with an entry of their own (also through a pool); every other path has what the
nearest of these above it passes down (PVE::RPCEnvironment, ``get_effective_permissions``).
"""

from collections.abc import Mapping
from typing import Any

EVERYWHERE = "everywhere"


class Permissions:
    """One token's privileges, by path."""

    def __init__(self, listed: Mapping[str, Any]) -> None:
        self._listed = {
            path: {name: bool(passed) for name, passed in held.items()}
            for path, held in listed.items()
            if isinstance(held, Mapping)
        }

    def on(self, path: str) -> frozenset[str]:
        """Return the privileges on one path."""
        if path in self._listed:
            return frozenset(self._listed[path])
        while path != "/":
            path = path.rpartition("/")[0] or "/"
            if path in self._listed:
                return frozenset(name for name, passed in self._listed[path].items() if passed)
        return frozenset()

    def where(self, area: str, *privileges: str) -> frozenset[str]:
        """Return where below *area* one of these privileges is held.

        ``EVERYWHERE`` stands for all of it; else they are the paths that have an entry of their
        own. For the root it is the root itself that counts.
        """
        wanted = frozenset(privileges)
        if wanted & self._passed_below(area):
            return frozenset({EVERYWHERE})
        below = f"{area.rstrip('/')}/"
        return frozenset(
            path
            for path, held in self._listed.items()
            if area != "/" and path.startswith(below) and wanted & held.keys()
        )

    def _passed_below(self, area: str) -> frozenset[str]:
        if area == "/":
            return self.on("/")
        held = self._listed.get(area)
        if held is None:
            return self.on(area)
        return frozenset(name for name, passed in held.items() if passed)
