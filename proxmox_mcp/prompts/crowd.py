"""All guests at once: what they add up to, and the few that stand out.

Thousands of rows take long to be brought into form and masked, and a prompt shows a dozen of them.
So they are counted where they are read, in a thread, beside everybody else's calls.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

from pydantic import Field

from proxmox_mcp.prompts.look import instead_of
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.toolkit.results import Number, Result, Row, gib, readable, short
from proxmox_mcp.toolkit.text import Line
from proxmox_mcp.tools.guests import NO_GUESTS, GuestRow, proxmox_get_vms, row_of

STAND_OUT = 15

Rows = list[dict[str, Any]]


class Given(Row, defer_build=True):
    """What the running guests of a node were given."""

    running: int
    cpus: Number
    memory_gib: Number


class Crowd(Result, defer_build=True):
    """What all guests add up to."""

    total: int
    worrying: list[GuestRow] = Field(description="Locked, or of unknown state; a few of them.")
    worrying_total: int
    given: dict[Line, Given] = Field(description="By node.")
    largest: list[GuestRow]


@instead_of(proxmox_get_vms)
async def crowd(pve: Pve) -> Crowd:
    """Count all guests, and name a few."""
    said = await pve.rows(pve.cluster_api.resources.get, type="vm")
    rows, odd = readable(said, "vmid", "type", "node")
    return await pve.aside(partial(_crowd, rows, odd or (None if said else NO_GUESTS)))


def _crowd(rows: Rows, notice: str | None) -> Crowd:
    worrying = [row for row in rows if row.get("lock") or row.get("status") == "unknown"]
    worrying.sort(key=lambda row: (not row.get("lock"), row["vmid"]))
    largest = sorted(rows, key=lambda row: (-row.get("maxmem", 0), row["vmid"]))
    return Crowd(
        notice=notice,
        total=len(rows),
        worrying=[row_of(row) for row in worrying[:STAND_OUT]],
        worrying_total=len(worrying),
        given=_given(rows),
        largest=[row_of(row) for row in largest[:STAND_OUT]],
    )


def _given(rows: Iterable[dict[str, Any]]) -> dict[str, Given]:
    running: dict[str, Rows] = defaultdict(list)
    for row in rows:
        if row.get("status") == "running":
            running[row["node"]].append(row)
    return {
        node: Given(
            running=len(here),
            cpus=short(sum(row.get("maxcpu", 0) for row in here)) or 0,
            memory_gib=gib(sum(row.get("maxmem", 0) for row in here)) or 0,
        )
        for node, here in running.items()
    }
