"""Virtual machines and containers: which there are, and how one is doing."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from proxmox_mcp.pve.condition import condition
from proxmox_mcp.pve.fields import AtNode, GuestRef, Kind, NodeName, OfKind
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.locate import locate
from proxmox_mcp.toolkit.declare import Toolset
from proxmox_mcp.toolkit.results import (
    Cursor,
    Number,
    Page,
    Result,
    Row,
    gib,
    paged,
    percent,
    position,
    readable,
    short,
)
from proxmox_mcp.toolkit.text import Line

toolset = Toolset(
    "guests", search="list find vm virtual machine container lxc guest status cpu memory"
)

NO_GUESTS = "This token sees no guest at all: there is none, or it lacks VM.Audit on /vms."
Status = Literal["running", "stopped", "unknown"]


class GuestRow(Row):
    """One guest, short enough for a list of them."""

    vmid: int
    name: Line | None = None
    type: Kind
    node: Line
    status: Line
    mem_gib: Number | None = None
    tags: Line | None = None
    pool: Line | None = None
    lock: Line | None = None
    template: bool | None = None


class Guests(Page):
    """Guests in the order of their ids."""

    total: int = Field(description="How many match in all.")
    guests: list[GuestRow]


@toolset.reads(
    "List guests",
    "VM.Audit on /vms/{vmid} to see guests",
    "Pool.Audit on /pool/{pool} to see pools",
)
async def proxmox_get_vms(
    pve: Pve,
    *,
    node: NodeName | None = None,
    type: Annotated[
        Literal["qemu", "lxc", "all"], Field(description="VMs (qemu), containers (lxc) or both.")
    ] = "all",
    status: Annotated[Status | None, Field(description="State; unknown = node is down.")] = None,
    name: Annotated[
        str | None, Field(max_length=255, description="Name or pattern, e.g. web-*.")
    ] = None,
    tag: Annotated[str | None, Field(max_length=255, description="A tag it has.")] = None,
    pool: Annotated[str | None, Field(max_length=255, description="Its pool.")] = None,
    limit: Annotated[int, Field(ge=1, le=1000, description="Guests per page.")] = 50,
    cursor: Cursor = None,
) -> Guests:
    """List virtual machines and containers of the whole cluster, filtered, a page at a time.

    Costs one request whatever the cluster's size. States are some ten seconds old;
    proxmox_get_vm_status is live.
    """
    after = position(cursor, int)
    rows = await pve.rows(pve.cluster_api.resources.get, type="vm")
    wanted = {"node": node, "type": None if type == "all" else type, "status": status, "pool": pool}

    def fits(row: dict[str, Any]) -> bool:
        return (
            all(row.get(key) == value for key, value in wanted.items() if value is not None)
            and (name is None or fnmatchcase(row.get("name", "").lower(), name.lower()))
            and (tag is None or tag.lower() in _tags(row))
        )

    return await pve.aside(partial(_page, rows, fits, limit, after))


def _page(
    rows: list[dict[str, Any]],
    fits: Callable[[dict[str, Any]], bool],
    limit: int,
    after: Sequence[Any] | None,
) -> Guests:
    """Cut a page out of the whole list; of thousands it takes so long that others would wait."""
    known, odd = readable(rows, "vmid", "type", "node")
    matching = [row for row in known if fits(row)]
    shown, more = paged(matching, lambda row: [row["vmid"]], limit, after)
    return Guests(
        total=len(matching),
        next_cursor=more,
        guests=[row_of(row) for row in shown],
        notice=odd or (None if known else NO_GUESTS),
    )


def _tags(row: dict[str, Any]) -> list[str]:
    # 8.4 joins them with a comma in places, 9 with a semicolon
    return str(row.get("tags", "")).lower().replace(",", ";").split(";")


def row_of(row: dict[str, Any]) -> GuestRow:
    """Put one entry of the cluster's list into form."""
    return GuestRow(
        vmid=row["vmid"],
        name=row.get("name"),
        type=row["type"],
        node=row["node"],
        status=row.get("status", "unknown"),
        mem_gib=gib(row.get("maxmem")),
        tags=row.get("tags") or None,
        pool=row.get("pool"),
        lock=row.get("lock"),
        template=True if row.get("template") else None,
    )


class GuestStatus(Result):
    """One guest as it is now."""

    vmid: int
    name: Line | None = None
    type: Kind
    node: Line
    status: Line = Field(description="running, stopped, paused, or hibernated (saved to disk)")
    lock: Line | None = Field(None, description="The job that holds it; it can't be changed now.")
    uptime_s: int | None = None
    cpus: Number | None = None
    cpu_percent: Number | None = Field(None, description="Of its own CPUs.")
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    disk_used_bytes: int | None = Field(None, description="Containers only; a VM's is not known.")
    disk_total_bytes: int | None = None
    net_in_bytes: int | None = Field(None, description="Since it started.")
    net_out_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_write_bytes: int | None = None
    agent: bool | None = Field(None, description="Whether the guest agent is switched on.")
    ha_state: Line | None = Field(None, description="What the HA manager wants; absent: not HA.")
    tags: Line | None = None
    template: bool | None = None
    machine: Line | None = None
    qemu_version: Line | None = None


@toolset.reads("Guest status", "VM.Audit on /vms/{vmid}")
async def proxmox_get_vm_status(
    pve: Pve,
    *,
    vmid: GuestRef,
    node: AtNode = None,
    type: OfKind = None,
) -> GuestStatus:
    """Show one guest's live state and use of CPU, memory, disk and network.

    The state is asked of the guest itself and never lags.
    """
    guest = await locate(pve, vmid, node=node, kind=type)
    how = await condition(pve, guest)
    now, high_availability = how.raw, how.raw.get("ha") or {}
    return GuestStatus(
        vmid=guest.vmid,
        name=now.get("name", guest.name),
        type=guest.kind,
        node=guest.node,
        status=how.state,
        lock=now.get("lock"),
        uptime_s=now.get("uptime"),
        cpus=short(now.get("cpus")),
        cpu_percent=percent(now.get("cpu")),
        memory_used_bytes=now.get("mem"),
        memory_total_bytes=now.get("maxmem"),
        disk_used_bytes=now.get("disk") if guest.kind == "lxc" else None,
        disk_total_bytes=now.get("maxdisk"),
        net_in_bytes=now.get("netin"),
        net_out_bytes=now.get("netout"),
        disk_read_bytes=now.get("diskread"),
        disk_write_bytes=now.get("diskwrite"),
        agent=bool(now.get("agent")) if guest.kind == "qemu" else None,
        ha_state=high_availability.get("state") if high_availability.get("managed") else None,
        tags=now.get("tags") or None,
        template=True if now.get("template") else None,
        machine=now.get("running-machine"),
        qemu_version=now.get("running-qemu"),
    )
