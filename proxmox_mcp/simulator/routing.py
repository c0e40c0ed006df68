"""From method and path to the function that answers: the table of endpoints and its decorator.

Rule 1: Proxmox looks for the handler first (501), then for the right (403), then for the node
        (500 or 595) and only then at the arguments (400); so do we, in `Cluster`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.parameters import Declared, integer, string
from proxmox_mcp.simulator.privileges import FINER_AGENT, Rights
from proxmox_mcp.simulator.state import Guest
from proxmox_mcp.simulator.tasks import Plan, Task

QEMU = "/nodes/{node}/qemu/{vmid}"
LXC = "/nodes/{node}/lxc/{vmid}"

VMID = (
    integer(1, format="pve-vmid", required=True, before=8.0),
    integer(100, 999_999_999, format="pve-vmid", required=True, since=8.0),
)
ANY_VMID = (
    integer(1, format="pve-vmid", before=8.0),
    integer(100, 999_999_999, format="pve-vmid", since=8.0),
)
SNAPNAME = string(format="pve-configid", max_length=40, required=True)

# The parameters that stand in paths. Those that the schema calls optional are marked where used.
IN_PATH: Declared = {
    "node": string(format="pve-node", required=True),
    "vmid": VMID,
    "storage": string(format="pve-storage-id", required=True),
    "upid": string(required=True),
    "snapname": SNAPNAME,
    "pos": integer(0),
    "volume": string(required=True),
    "userid": string(format="pve-userid", max_length=64, required=True),
    "tokenid": string(pattern=r"(?^:[A-Za-z][A-Za-z0-9\.\-_]+)", required=True),
}


@dataclass(eq=False)
class Call:
    """One request on its way through an endpoint: who, where, and the checked arguments."""

    center: Datacenter
    rights: Rights
    node: str
    kind: str
    values: dict[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or the default where it was not given."""
        return self.values.get(name, default)

    @property
    def vmid(self) -> int:
        """The guest in the path."""
        return int(self.values["vmid"])

    def guest(self) -> Guest:
        """The guest in the path, or the refusal."""
        return self.center.guest(self.node, self.kind, self.vmid)

    def owns(self, task: Task) -> bool:
        """Whether a task is the caller's: a user's are those of its tokens too, not vice versa."""
        account = self.rights.account
        return task.user == account.full or (not account.token and task.userid == account.userid)

    def spawn(self, task: str, plan: Plan, *, target: str | int | None = None) -> str:
        """Start a task on this node for the guest in the path or for another *target*."""
        name = str(self.vmid if target is None else target)
        return self.center.tasks.spawn(self.node, task, name, self.rights.account.full, plan)


Permission = Callable[[Rights, Mapping[str, Any], float], None]
Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path."""

    method: str
    template: str
    parameters: Declared
    permission: Permission | None
    handler: Handler
    since: float
    pattern: re.Pattern[str]

    @property
    def kind(self) -> str:
        """The kind of guest in the path: qemu, lxc or nothing."""
        parts = self.template.split("/")
        return parts[3] if len(parts) > 3 and parts[3] in {"qemu", "lxc"} else ""  # noqa: PLR2004


@dataclass
class Table:
    """The endpoints of one module, in the order in which they are written."""

    endpoints: list[Endpoint] = field(default_factory=list)

    def add(
        self,
        method: str,
        template: str,
        permission: Permission | None = None,
        parameters: Declared | None = None,
        *,
        since: float = 7.0,
    ) -> Callable[[Handler], Handler]:
        """Let the decorated function answer this method of this path."""
        names = re.findall(r"{(\w+)}", template)
        declared = {name: IN_PATH[name] for name in names} | dict(parameters or {})
        pattern = _pattern(template)

        def register(handler: Handler) -> Handler:
            self.endpoints.append(
                Endpoint(method, template, declared, permission, handler, since, pattern)
            )
            return handler

        return register

    def both(
        self,
        method: str,
        below: str,
        permission: Permission | None = None,
        parameters: Declared | None = None,
    ) -> Callable[[Handler], Handler]:
        """The same, for VMs and for containers alike."""

        def register(handler: Handler) -> Handler:
            for base in (QEMU, LXC):
                self.add(method, base + below, permission, parameters)(handler)
            return handler

        return register


def needs(path: str, *privileges: str, any_of: bool = False) -> Permission:
    """The privileges that a call needs on a path, which may name arguments in braces."""

    def check(rights: Rights, given: Mapping[str, Any], _version: float) -> None:
        rights.demand(path.format_map(given), privileges, any_of=any_of)

    return check


def needs_agent(*since_9: str) -> Permission:
    """VM.Monitor up to version 8, the finer privileges since."""

    def check(rights: Rights, given: Mapping[str, Any], version: float) -> None:
        wanted = since_9 if version >= FINER_AGENT else ("VM.Monitor",)
        rights.demand(f"/vms/{given['vmid']}", wanted, any_of=len(wanted) > 1)

    return check


def _pattern(template: str) -> re.Pattern[str]:
    # A volume id has slashes of its own; everything else ends at the next one.
    escaped = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    wide = escaped.replace("{volume}", "(?P<volume>.+)")
    return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", wide))


def find(
    endpoints: Iterable[Endpoint], method: str, path: str, version: float
) -> tuple[Endpoint, dict[str, str]] | None:
    """The endpoint for a request, with the arguments from its path."""
    for endpoint in endpoints:
        if endpoint.method == method and endpoint.since <= version:
            match = endpoint.pattern.fullmatch(path)
            if match:
                return endpoint, match.groupdict()
    return None
