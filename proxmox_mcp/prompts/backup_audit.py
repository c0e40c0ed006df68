"""Which guests could not be restored?"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import anyio
from pydantic import Field

from proxmox_mcp.prompts.declare import prompt
from proxmox_mcp.prompts.look import Look, instead_of, part, told
from proxmox_mcp.pve import stores
from proxmox_mcp.pve.errors import ProxmoxError
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.toolkit.results import Number, Result, Row, gib, readable
from proxmox_mcp.toolkit.text import Line
from proxmox_mcp.toolkit.time import taken
from proxmox_mcp.tools.backups import SEEING, proxmox_backup_list
from proxmox_mcp.tools.guests import GuestRow, proxmox_get_vms, row_of

DAY = 86_400
SHOWN = 25
VERIFIED = "ok"

Days = Annotated[
    int, Field(ge=1, le=3650, description="A backup older than this counts as old: 7 days.")
]
Rows = list[dict[str, Any]]

QUESTION = """\
Which guests could not be restored as of the last {days} days, and what should be done about it?

Begin with what would be lost for good: guests that matter (by name, tags and state) without any \
backup, then those whose backups are old, then those that were not verified; a file on a storage \
other than a Proxmox Backup Server is never verified, so that alone says little. Templates and \
what is stopped matter less, mostly. A guest may be left out of backups on purpose: ask. For one \
guest, proxmox_backup_list (vmid) tells more; for a job that failed, proxmox_task_list \
(task_type=vzdump, errors=true). Start no backup and delete none without asking: propose \
proxmox_backup_create, guest by guest, with the storage it would go to.\
"""


class Finding(Row, defer_build=True):
    """A guest, and its newest backup if it has one."""

    guest: GuestRow
    volume: Line | None = None
    made: Line | None = Field(None, description="When, and how long ago.")
    verified: Line | None = None


class Findings(Row, defer_build=True):
    """How many guests are so, and a few of them."""

    total: int
    some: list[Finding]


class Audit(Result, defer_build=True):
    """What guests and backups, held against each other, show."""

    guests: int
    backups: int
    backups_gib: Number
    storages_missing: list[Line]
    none: Findings
    old: Findings
    recent: int
    unverified: Findings


@dataclass(frozen=True, slots=True)
class Newest:
    """A guest's entry, that of its newest backup, and the moment from which its age counts."""

    guest: dict[str, Any]
    backup: dict[str, Any] | None
    now: float

    @property
    def made(self) -> float:
        """When the newest backup was made; before all time where there is none."""
        return float(self.backup.get("ctime", 0)) if self.backup else float("-inf")

    @property
    def verified(self) -> str | None:
        """How the newest backup's last verification ended."""
        return ((self.backup or {}).get("verification") or {}).get("state")

    def finding(self) -> Finding:
        """Put it into form."""
        guest = row_of(self.guest)
        if self.backup is None:
            return Finding(guest=guest)
        made = taken(self.made, self.now)
        volume = self.backup["volid"]
        return Finding(guest=guest, volume=volume, made=made, verified=self.verified)


@instead_of(proxmox_backup_list)
async def audit(pve: Pve, *, days: int) -> Audit:
    """Hold all guests against all backups."""
    said = await pve.rows(pve.cluster_api.resources.get, type="vm")
    guests, odd = readable(said, "vmid", "type", "node")
    places, away = await stores.where_backups_lie(pve, None, None)
    backups: Rows = []

    async def ask(place: str, node: str) -> None:
        try:
            rows = await stores.backups(pve, node, place.partition("@")[0], None)
        except ProxmoxError:
            away.append(place)
        else:
            backups.extend(readable(rows, "volid")[0])

    async with anyio.create_task_group() as group:
        for place, node in places.items():
            group.start_soon(ask, place, node)
    now = pve.cluster.bridge.server_time()
    found = await pve.aside(partial(_found, guests, backups, days * DAY, now))
    return found.model_copy(update={"storages_missing": sorted(away), "notice": odd})


def _found(guests: Rows, backups: Rows, limit: float, now: float) -> Audit:
    newest: dict[Any, dict[str, Any]] = {}
    for row in sorted(backups, key=lambda row: float(row.get("ctime", 0))):
        newest[row.get("vmid")] = row
    every = [Newest(row, newest.get(row["vmid"]), now) for row in guests]
    none = [each for each in every if each.backup is None]
    none.sort(key=lambda each: _weight(each.guest))
    had = [each for each in every if each.backup is not None]
    old = sorted((each for each in had if now - each.made > limit), key=lambda each: each.made)
    recent = [each for each in had if now - each.made <= limit]
    unsure = [each for each in recent if each.verified != VERIFIED]
    unsure.sort(key=lambda each: (each.verified is None, _weight(each.guest)))
    return Audit(
        guests=len(guests),
        backups=len(backups),
        backups_gib=gib(sum(row.get("size", 0) for row in backups)) or 0,
        storages_missing=[],
        none=_some(none),
        old=_some(old),
        recent=len(recent),
        unverified=_some(unsure),
    )


def _weight(guest: dict[str, Any]) -> tuple[bool, bool, int]:
    """Put what runs first and templates last."""
    return bool(guest.get("template")), guest.get("status") != "running", int(guest["vmid"])


def _some(found: Iterable[Newest]) -> Findings:
    every = list(found)
    return Findings(total=len(every), some=[each.finding() for each in every[:SHOWN]])


@prompt("Backup audit", proxmox_get_vms, proxmox_backup_list)
async def backup_audit(look: Look, *, days: Days = 7) -> str:
    """Which guests have no recent, verified backup?

    Compares all guests with the backups on all storages, and has the assistant say what could not
    be restored and what to do about it.
    """
    [found] = await look.at(partial(audit, days=days))
    old = f"Guests whose newest backup is older than {days} days, oldest first"
    return look.page(
        [
            part("In numbers", numbers, found),
            part("Guests without any backup", lambda it: listed(it["none"]), found),
            part(old, lambda it: listed(it["old"]), found),
            part(
                "Guests with a recent backup that is not verified",
                lambda it: listed(it["unverified"]),
                found,
            ),
        ],
        QUESTION.format(days=days),
    )


def numbers(found: dict[str, Any]) -> list[str]:
    """Count what the audit found, and say what it could not see."""
    none, recent = found["none"]["total"], found["recent"]
    verified = recent - found["unverified"]["total"]
    lines = [
        f"guests: {found['guests']}, backups: {found['backups']} ({found['backups_gib']} GiB)",
        f"guests without any backup: {none}",
        f"guests whose newest backup is old: {found['old']['total']}",
        f"guests with a recent backup: {recent}, of these verified: {verified}",
    ]
    if missing := found["storages_missing"]:
        named = ", ".join(missing)
        lines.append(f"storages that did not answer, so theirs are not counted: {named}")
    return [*lines, *([f"what this token may not see counts as none: {SEEING}"] if none else [])]


def listed(findings: dict[str, Any]) -> list[str]:
    """Tell of a few guests, and how many more there are."""
    lines = [_line(each) for each in findings["some"]]
    more = findings["total"] - len(lines)
    return [*lines, *([f"and {more} more guests"] if more else [])] or ["none"]


def _line(each: dict[str, Any]) -> str:
    guest = told(each["guest"], "vmid", "name", "status", "tags", "template")
    if "volume" not in each:
        return guest
    verified = f"verification: {each.get('verified', 'none')}"
    return f"{guest}: newest backup {each['made']}, {verified}, {each['volume']}"
