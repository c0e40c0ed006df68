"""The whole cluster in one place: who is where, what exists, what time it is.

Rule 1: everything is looked up here, so that a missing thing is refused in the same words by all.
Rule 2: no locking: the facade lets one request in at a time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from proxmox_mcp.simulator.accounts import Accounts
from proxmox_mcp.simulator.state import Firewall, Guest, Node, Storage, Volume, no_config
from proxmox_mcp.simulator.tasks import Tasks
from proxmox_mcp.simulator.wire import died, unreachable

BROADCAST = 10.0  # seconds between two rounds of pvestatd, which feeds /cluster/resources
RELEASES = {
    7.4: ("7.4-17", "513c62be"),
    8.4: ("8.4.14", "b502d23c55afcba1"),
    9.0: ("9.0.11", "3bf5476b8a4699e2"),
    9.2: ("9.2.11", "14a22df355"),
}


@dataclass(eq=False)
class Datacenter:
    """Nodes, guests and storages by name, and the tasks that change them."""

    version: float
    tasks: Tasks
    random: random.Random
    name: str = "demo"
    nodes: dict[str, Node] = field(default_factory=dict)
    guests: dict[int, Guest] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)
    pools: dict[str, str] = field(default_factory=dict)
    accounts: Accounts = field(default_factory=Accounts)
    broadcast: dict[int, dict[str, Any]] = field(default_factory=dict)
    broadcast_turn: int = -1
    dumping: set[str] = field(default_factory=set)  # nodes on which a vzdump is at work
    firewall: Firewall = field(default_factory=Firewall)
    firewall_groups: frozenset[str] = frozenset({"webservers"})

    @property
    def major(self) -> int:
        """7, 8 or 9."""
        return int(self.version)

    def since(self, version: float) -> bool:
        """Whether this cluster is of that version or a later one."""
        return self.version >= version

    @property
    def now(self) -> float:
        """The time at which whatever happens now happens."""
        return self.tasks.now

    @property
    def local(self) -> str:
        """The node that answers the API: the first that is there."""
        return next((node.name for node in self.nodes.values() if node.online), "pve1")

    def reach(self, node: str) -> str:
        """The node that a path names, or why it cannot answer."""
        if node == "localhost":
            return self.local
        found = self.nodes.get(node)
        if found is None:
            reason = f"failed to get address info for: {node}: Name or service not known"
            raise died(f"hostname lookup '{node}' failed - {reason}")
        if not found.online:
            raise unreachable()
        return node

    def guest(self, node: str, kind: str, vmid: int) -> Guest:
        """A guest that is of this kind and on this node, or Proxmox's only word for all others."""
        guest = self.guests.get(vmid)
        if guest is None or guest.node != node or guest.kind != kind:
            raise no_config(node, kind, vmid)
        return guest

    def storage(self, name: str) -> Storage:
        """A storage by name."""
        if name not in self.storages:
            raise died(f"storage '{name}' does not exist")
        return self.storages[name]

    def volume(self, node: str, volid: str) -> Volume | None:
        """A volume by its id, as that node sees it."""
        return self.storage(volid.partition(":")[0]).on(node).get(volid)

    def guests_on(self, node: str, kind: str | None = None) -> list[Guest]:
        """The guests of a node."""
        here = [guest for guest in self.guests.values() if guest.node == node]
        return [guest for guest in here if kind in {None, guest.kind}]

    def pool_of(self, path: str) -> str | None:
        """The pool of the guest that a path of the access control list names."""
        name = path.removeprefix("/vms/")
        guest = self.guests.get(int(name)) if name != path and name.isdecimal() else None
        return f"/pool/{guest.pool}" if guest and guest.pool else None

    def pooled(self) -> list[str]:
        """The paths of all guests that are in a pool."""
        return [f"/vms/{guest.vmid}" for guest in self.guests.values() if guest.pool]

    def free_vmid(self) -> int:
        """The lowest id that nobody has."""
        vmid = 100
        while vmid in self.guests:
            vmid += 1
        return vmid

    def mac(self) -> str:
        """A network address of the range that belongs to Proxmox."""
        tail = f"{self.random.getrandbits(24):06X}"
        return f"BC:24:11:{tail[:2]}:{tail[2:4]}:{tail[4:]}"

    def uuid(self) -> str:
        """A random identifier, the same at every run with the same seed."""
        digits = f"{self.random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def free_volume(self, storage: Storage, node: str, guest: tuple[str, int], suffix: str) -> str:
        """A volume id that is not taken: `local-lvm:vm-100-disk-1`."""
        word, vmid = guest
        folder = f"{vmid}/" if storage.path else ""
        number = 0
        while True:
            volid = f"{storage.name}:{folder}{word}-{vmid}-disk-{number}{suffix}"
            if volid not in storage.on(node):
                return volid
            number += 1

    def version_answer(self) -> dict[str, Any]:
        """What GET /version says."""
        release = max(each for each in RELEASES if each <= self.version)
        version, build = RELEASES[release]
        return {"version": version, "release": str(release), "repoid": build}
