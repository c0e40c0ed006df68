"""What a token may do, as Proxmox itself says: ``GET /access/permissions``, read and asked.

The answer has, by path, each privilege and whether it holds below that path too. It names the paths
at the top and those with an entry of their own (also through a pool); every other path has what the
nearest of these above it passes down (PVE::RPCEnvironment, ``get_effective_permissions``). An entry
without rights (NoAccess) on any other path is not in the answer: ask about that path itself.

Rule 1: what only a pool gives is told with a 0, and is held on that path all the same.
Rule 2: a right on something that is known not to be there is no right.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

_ALWAYS_LISTED = frozenset({"/", "/access", "/nodes", "/pool", "/storage", "/vms"})
"""Paths that are in the answer, of 8.4 and 9.2, whenever anything is held on them: where one is
not, an entry without rights (NoAccess) cuts off what those above it pass down."""

_FITS = {"backups": frozenset({"backup"}), "disks": frozenset({"images", "rootdir"})}
"""What a storage must be for, by the variable that stands for it in a path."""

_SEEN_WITH = {"vms": "VM.Audit", "storage": "Datastore.Audit", "nodes": ""}
"""The right with which the cluster's list shows what has a path of its own; a node is always."""


MOST_NAMED = 6
"""More paths than these are counted, where they are put into words."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a right is held: on these paths alone or, with *everywhere*, on all but these."""

    everywhere: bool
    paths: frozenset[str] = frozenset()

    def __and__(self, other: Self) -> "Reach":
        """Where both are held."""
        match self.everywhere, other.everywhere:
            case True, True:
                return Reach(everywhere=True, paths=self.paths | other.paths)
            case True, False:
                return Reach(everywhere=False, paths=other.paths - self.paths)
            case False, True:
                return Reach(everywhere=False, paths=self.paths - other.paths)
            case _:
                return Reach(everywhere=False, paths=self.paths & other.paths)

    def __bool__(self) -> bool:
        return self.everywhere or bool(self.paths)

    def __str__(self) -> str:
        listed = sorted(self.paths, key=_by_number)
        more = len(listed) - MOST_NAMED
        named = ", ".join(listed[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        if self.everywhere:
            return f"not on {named}" if named else "everywhere"
        return f"only on {named}" if named else "nowhere"


EVERYWHERE = Reach(everywhere=True)
NOWHERE = Reach(everywhere=False)


class Permissions:
    """One token's privileges by path, and the things that these paths may name.

    Args:
        listed: What ``/access/permissions`` answered.
        resources: What ``/cluster/resources`` shows to the same token.
    """

    def __init__(
        self, listed: Mapping[str, Any], resources: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        self._listed = {
            path: {name: bool(passed) for name, passed in held.items()}
            for path, held in listed.items()
            if isinstance(held, Mapping)
        }
        self._there: dict[str, frozenset[str]] = {}
        for row in resources:
            path, content = _path(row), str(row.get("content", "")).split(",")
            self._there[path] = self._there.get(path, frozenset()).union(content)

    def on(self, path: str) -> frozenset[str]:
        """Return the privileges on one path."""
        if path in self._listed:
            return frozenset(self._listed[path])
        while path not in _ALWAYS_LISTED:
            path = path.rpartition("/")[0] or "/"
            if path in self._listed:
                return self._passed(path)
        return frozenset()

    def where(self, template: str, *privileges: str) -> Reach:
        """Return where one of these privileges is held on a path such as ``/vms/{vmid}``.

        A guest that is yet to be made, ``/vms/{newid}``, has whatever id is free then: a right on
        single ids, or on a pool that the call does not name, does not reach it.
        """
        wanted = frozenset(privileges)
        area, _, variable = template.partition("/{")
        if not variable:
            return EVERYWHERE if wanted & self.on(template) else NOWHERE
        everywhere = bool(wanted & self._passed_below(area or "/"))
        if variable == "newid}":
            return EVERYWHERE if everywhere else NOWHERE
        depth = template.count("/")
        with_entry = [path for path in self._listed if path.startswith(f"{area}/")]
        held = {path for path in with_entry if wanted & self._held(path, depth)}
        if everywhere:
            return Reach(everywhere=True, paths=frozenset(with_entry) - held)
        fit = (path for path in held if self._fits(path, variable.rstrip("}")))
        return Reach(everywhere=False, paths=frozenset(fit))

    def _held(self, path: str, depth: int) -> frozenset[str]:
        """What an entry gives to the things of this depth: above them, only what it passes on."""
        return self.on(path) if path.count("/") >= depth else self._passed(path)

    def _passed(self, path: str) -> frozenset[str]:
        return frozenset(name for name, passed in self._listed[path].items() if passed)

    def _passed_below(self, area: str) -> frozenset[str]:
        return self._passed(area) if area in self._listed else self.on(area)

    def _fits(self, path: str, variable: str) -> bool:
        """Whether a path may name what is meant, as far as is known."""
        if not self._there:
            return True
        content = self._there.get(path)
        if content is None:
            seen_with = _SEEN_WITH.get(path.split("/")[1])
            return seen_with is None or (seen_with != "" and seen_with not in self.on(path))
        return variable not in _FITS or bool(content & _FITS[variable])


def _path(row: Mapping[str, Any]) -> str:
    match row.get("type"):
        case "qemu" | "lxc":
            return f"/vms/{row.get('vmid')}"
        case "storage":
            return f"/storage/{row.get('storage')}"
        case "node":
            return f"/nodes/{row.get('node')}"
        case other:
            return f"/{other}"


def _by_number(path: str) -> tuple[str, int, str]:
    area, _, name = path.rpartition("/")
    return area, int(name) if name.isdecimal() else 0, name
