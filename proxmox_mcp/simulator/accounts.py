"""The users and tokens of a cluster, their secrets, and what each has been given by path.

Rule 1: a token with privilege separation has what both it and its user have; one without it has
        what its user has.
Rule 2: a token of root@pam is spared the comparison with its user, as in Proxmox.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

SECRET = "5e1f-de30-made-up-for-the-demo-cluster"  # noqa: S105 - opens nothing but the simulation
ROOT = "root@pam"
EVERYTHING = "Administrator"

Grant = str | frozenset[str]  # a built-in role by name, or exactly these privileges


@dataclass(frozen=True, slots=True)
class Account:
    """A user or a token: its secret, and what it has been given by path.

    A user without a secret cannot log in; its tokens can.
    """

    userid: str
    secret: str
    token: str | None = None
    acl: Mapping[str, Grant] = field(default_factory=dict)
    privsep: bool = False
    comment: str = ""

    @property
    def full(self) -> str:
        """The name as it stands in a task id: user@realm or user@realm!token."""
        return f"{self.userid}!{self.token}" if self.token else self.userid


ACCOUNTS = (
    Account(ROOT, SECRET, acl={"/": EVERYTHING}),
    Account(ROOT, f"{SECRET}-0", "demo"),
    Account("audit@pve", "", acl={"/": "PVEAuditor"}),
    Account("audit@pve", f"{SECRET}-1", "audit"),
    Account("vmuser@pve", "", acl={"/vms/100": "PVEVMUser"}),
    Account("vmuser@pve", f"{SECRET}-2", "vmuser"),
    Account("nobody@pve", ""),
    Account("nobody@pve", f"{SECRET}-3", "nobody"),
    Account("admin@pve", "", acl={"/": EVERYTHING}),
    Account("admin@pve", f"{SECRET}-4", "sep", privsep=True, comment="Rights of its own"),
)

WORLD = Account("", "")  # whoever has not said yet who it is


@dataclass(eq=False)
class Accounts:
    """All accounts of one cluster by their full names."""

    named: dict[str, Account] = field(
        default_factory=lambda: {account.full: account for account in ACCOUNTS}
    )

    def find(self, full: str) -> Account | None:
        """A user or a token by its full name."""
        return self.named.get(full)

    def paths(self) -> set[str]:
        """Every path at which anybody has been given anything."""
        return {path for account in self.named.values() for path in account.acl}

    def grant(
        self,
        userid: str,
        token: str,
        acl: Mapping[str, Collection[str]],
        *,
        secret: str | None = None,
        privsep: bool = True,
    ) -> Account:
        """Add a token, or give an existing one these rights instead of its former ones."""
        exact = {path: frozenset(privileges) for path, privileges in acl.items()}
        if userid not in self.named:
            # A user with every right takes nothing away from a token with privilege separation.
            self._keep(Account(userid, "", acl={"/": EVERYTHING} if privsep else exact))
        elif exact and not privsep:
            raise ValueError(f"{userid} exists, and its token without privsep has its rights")
        if secret is None:
            secret = f"{SECRET}-{userid}!{token}"
        return self._keep(Account(userid, secret, token, exact if privsep else {}, privsep))

    def _keep(self, account: Account) -> Account:
        self.named[account.full] = account
        return account
