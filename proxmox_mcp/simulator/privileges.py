"""What a user or token may do, on which path.

Rule 1: the most specific path that has an entry decides, as with inherited roles in Proxmox.
Rule 2: what is given on a pool is held on each guest in it as well.
Rule 3: a 403 names path and privileges, in the words that clients parse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from proxmox_mcp.simulator.accounts import EVERYTHING, ROOT, Account, Accounts
from proxmox_mcp.simulator.wire import Refusal


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
        EVERYTHING: frozenset(known),
        "PVEAuditor": frozenset(auditor) & known,
        "PVEVMUser": frozenset(vm_user) & known,
    }


class Pools(Protocol):
    """Who is in which pool, by the paths of the access control list."""

    def pool_of(self, path: str) -> str | None:
        """The path of the pool to which the owner of a path belongs."""

    def pooled(self) -> list[str]:
        """The paths of all that belong to a pool."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What one account may do on one version."""

    account: Account
    accounts: Accounts
    roles: Mapping[str, frozenset[str]]
    pools: Pools

    @property
    def is_root(self) -> bool:
        """Whether this is root@pam itself: a token of root is not, for a few options."""
        return self.account.full == ROOT

    def of(self, account: Account) -> Rights:
        """What another account may do."""
        return replace(self, account=account)

    def on(self, path: str) -> frozenset[str]:
        """The privileges on a path."""
        return self._held(path, pools=True)

    def _held(self, path: str, *, pools: bool) -> frozenset[str]:
        account = self.account
        if account.token is None:
            return self._given(account, path, pools=pools)
        user = self.accounts.named[account.userid]
        if not account.privsep:
            return self._given(user, path, pools=pools)
        own = self._given(account, path, pools=pools)
        return own if user.userid == ROOT else own & self._given(user, path, pools=pools)

    def _given(self, account: Account, path: str, *, pools: bool) -> frozenset[str]:
        direct = self._nearest(account, path)
        pool = self.pools.pool_of(path) if pools else None
        # An entry that gives nothing is Proxmox's NoAccess, which no pool overrides.
        if pool is None or (direct is not None and not direct):
            return direct or frozenset()
        shared = self._nearest(account, pool)
        if shared is None:
            return direct or frozenset()
        return shared | (direct or frozenset()) if shared else shared

    def _nearest(self, account: Account, path: str) -> frozenset[str] | None:
        while True:
            found = account.acl.get(path)
            if found is not None:
                return self.roles[found] if isinstance(found, str) else found
            if path == "/":
                return None
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
        held = self.on(path)
        if any_of:
            if held.isdisjoint(wanted):
                raise refused(f"{path}, {'|'.join(wanted)}")
            return
        for privilege in wanted:
            if privilege not in held:
                raise refused(f"{path}, {privilege}")

    def demand_guest(
        self, vmid: int, pool: str | None, privileges: Iterable[str], *, any_of: bool = False
    ) -> None:
        """The same on a guest that may not exist yet, or on the pool into which it is to come."""
        wanted = list(privileges)
        if pool is not None:
            path = f"/pool/{pool}"
            if self.has_any(path, *wanted) if any_of else self.has(path, *wanted):
                return
        self.demand(f"/vms/{vmid}", wanted, any_of=any_of)

    def listing(self, path: str | None) -> dict[str, dict[str, int]]:
        """What GET /access/permissions answers: each privilege with whether it is inherited on."""
        paths = {path} if path else {*TOP_PATHS, *self.accounts.paths(), *self.pools.pooled()}
        found = {each: self._flags(each) for each in sorted(paths)}
        return found if path else {each: held for each, held in found.items() if held}

    def _flags(self, path: str) -> dict[str, int]:
        # What only a pool gives is told with a 0, and is held all the same.
        inherited = self._held(path, pools=False)
        return {name: int(name in inherited) for name in sorted(self.on(path))}


def refused(detail: str | None = None) -> Refusal:
    """A 403, with path and privilege where the real one names them."""
    return Refusal(403, "Permission check failed" + (f" ({detail})" if detail else ""))
