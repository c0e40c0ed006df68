"""Who is asking, and what that token or user may do.

Rule 1: the most specific path that has an entry decides, as with inherited roles in Proxmox.
Rule 2: a 403 names path and privileges, in the words that clients parse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from proxmox_mcp.simulator.wire import Refusal

SECRET = "5e1f-de30-made-up-for-the-demo-cluster"  # noqa: S105 - opens nothing but the simulation


def _names(text: str) -> list[str]:
    return text.split()


_COMMON = _names(
    """
Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit
Group.Allocate Mapping.Audit Mapping.Modify Mapping.Use Permissions.Modify Pool.Allocate
Pool.Audit Realm.Allocate Realm.AllocateUser SDN.Allocate SDN.Audit SDN.Use Sys.AccessNetwork
Sys.Audit Sys.Console Sys.Incoming Sys.Modify Sys.PowerMgmt Sys.Syslog User.Modify VM.Allocate
VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk
VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console VM.Migrate
VM.PowerMgmt VM.Snapshot VM.Snapshot.Rollback
"""
)
_AGENT = _names(
    """
VM.GuestAgent.Audit VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite
"""
)
_SINCE_9 = [*_AGENT, "VM.GuestAgent.Unrestricted", "VM.Replicate"]
_SINCE_8 = {"Mapping.Audit", "Mapping.Modify", "Mapping.Use", "SDN.Use", "Sys.AccessNetwork"}
_AUDITOR = _names("Datastore.Audit Mapping.Audit Pool.Audit SDN.Audit Sys.Audit VM.Audit")
_VM_USER = _names("VM.Audit VM.Backup VM.Config.CDROM VM.Config.Cloudinit VM.Console VM.PowerMgmt")

MAPPINGS = 8.0  # the version that brought the privileges of _SINCE_8
FINER_AGENT = 9.0  # the version in which VM.Monitor gave way to VM.GuestAgent.*

# The paths that GET /access/permissions lists besides those with an entry of their own.
TOP_PATHS = ("/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms")


def roles(version: float) -> dict[str, frozenset[str]]:
    """The built-in roles used here, with the privileges that version knows."""
    every = [*_COMMON, *(_SINCE_9 if version >= FINER_AGENT else ["VM.Monitor"])]
    auditor = [*_AUDITOR, *(["VM.GuestAgent.Audit"] if version >= FINER_AGENT else [])]
    vm_user = [*_VM_USER, *(_AGENT if version >= FINER_AGENT else [])]
    known = {name for name in every if version >= MAPPINGS or name not in _SINCE_8}
    return {
        "Administrator": frozenset(known),
        "PVEAuditor": frozenset(auditor) & known,
        "PVEVMUser": frozenset(vm_user) & known,
    }


@dataclass(frozen=True, slots=True)
class Account:
    """A user or a token, its secret and the roles it has been given by path."""

    userid: str
    secret: str
    token: str | None = None
    acl: Mapping[str, str] = field(default_factory=dict)

    @property
    def full(self) -> str:
        """The name as it stands in a task id: user@realm or user@realm!token."""
        return f"{self.userid}!{self.token}" if self.token else self.userid


ACCOUNTS = (
    Account("root@pam", SECRET, None, {"/": "Administrator"}),
    Account("root@pam", f"{SECRET}-0", "demo", {"/": "Administrator"}),
    Account("audit@pve", f"{SECRET}-1", "audit", {"/": "PVEAuditor"}),
    Account("vmuser@pve", f"{SECRET}-2", "vmuser", {"/vms/100": "PVEVMUser"}),
    Account("nobody@pve", f"{SECRET}-3", "nobody"),
    Account("admin@pve", f"{SECRET}-4", "sep"),
)

WORLD = Account("", "")  # whoever has not said yet who it is


@dataclass(frozen=True, slots=True)
class Rights:
    """What one account may do on one version."""

    account: Account
    roles: Mapping[str, frozenset[str]]

    @property
    def is_root(self) -> bool:
        """Whether this is root@pam itself: a token of root is not, for a few options."""
        return self.account.full == "root@pam"

    def on(self, path: str) -> frozenset[str]:
        """The privileges on a path, inherited from the nearest entry above it."""
        while True:
            role = self.account.acl.get(path)
            if role is not None:
                return self.roles[role]
            if path == "/":
                return frozenset()
            path = path.rpartition("/")[0] or "/"

    def has(self, path: str, *privileges: str) -> bool:
        """Whether all of these are held."""
        return self.on(path).issuperset(privileges)

    def has_any(self, path: str, *privileges: str) -> bool:
        """Whether one of these is held."""
        return not self.on(path).isdisjoint(privileges)

    def demand(self, path: str, privileges: Iterable[str], *, any_of: bool = False) -> None:
        """Raise the 403 that Proxmox gives unless the privileges are held."""
        wanted = list(privileges)
        if self.has_any(path, *wanted) if any_of else self.has(path, *wanted):
            return
        separator = "|" if any_of else ", "
        raise refused(f"{path}, {separator.join(wanted)}")

    def listing(self, path: str | None) -> dict[str, dict[str, int]]:
        """What GET /access/permissions answers."""
        paths = [path] if path else sorted({*TOP_PATHS, *self.account.acl})
        found = {each: dict.fromkeys(sorted(self.on(each)), 1) for each in paths}
        return found if path else {each: held for each, held in found.items() if held}


def refused(detail: str | None = None) -> Refusal:
    """A 403, with path and privilege where the real one names them."""
    return Refusal(403, "Permission check failed" + (f" ({detail})" if detail else ""))
