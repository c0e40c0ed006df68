"""What is wrong with a guest?"""

import re
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from proxmox_mcp.prompts.declare import prompt
from proxmox_mcp.prompts.look import ALL, Look, part, place_of, some, told
from proxmox_mcp.pve.fields import GuestRef
from proxmox_mcp.toolkit.results import gib
from proxmox_mcp.tools.guests import proxmox_get_vm_status
from proxmox_mcp.tools.nodes import proxmox_get_nodes
from proxmox_mcp.tools.resources import proxmox_vm_config_get
from proxmox_mcp.tools.snapshots import proxmox_snapshot_list
from proxmox_mcp.tools.storage import proxmox_get_storage
from proxmox_mcp.tools.tasks import proxmox_task_list

About = Annotated[GuestRef, Field(description="The guest's id or name, e.g. 105 or web-01.")]

HIGHLIGHTS = re.compile(
    r"cores|sockets|cpu|cpulimit|memory|balloon|swap|ostype|onboot|protection|agent|boot|machine"
    r"|bios|lock|tags|unprivileged|hookscript|rootfs|efidisk0|(?:net|ide|sata|scsi|virtio|mp)\d+"
)
VOLUME = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*):")
RECENT_TASKS = 12

QUESTION = """\
What is wrong with {guest}, if anything, and what would you do about it?

Say which of the facts point to a cause and which speak against it; what could not be read is \
unknown, not fine. To look deeper, use the tools that only read: proxmox_task_log for a task that \
failed, proxmox_get_vm_status for how it is now. Change nothing, and run nothing inside it: \
propose the next step with what it risks, and ask before taking it.\
"""


@prompt("Diagnosis", proxmox_get_vm_status)
async def diagnose_guest(look: Look, *, guest: About) -> str:
    """What is wrong with this guest?

    Gathers its state, configuration, waiting changes, snapshots, recent tasks, storages and node,
    and has the assistant find out what is the matter.
    """
    place = await look.must(partial(place_of, vmid=guest))
    vmid = place["vmid"]
    state, config, snapshots, tasks, storages, nodes = await look.at(
        partial(proxmox_get_vm_status, vmid=vmid),
        partial(proxmox_vm_config_get, vmid=vmid),
        partial(proxmox_snapshot_list, vmid=vmid),
        partial(proxmox_task_list, vmid=vmid, limit=RECENT_TASKS),
        partial(proxmox_get_storage, limit=ALL),
        partial(proxmox_get_nodes, limit=ALL),
    )
    named = named_by(place)
    return look.page(
        [
            part("Where it is", lambda it: [told(it, "vmid", "name", "kind", "node")], place),
            part("How it is now", state_lines, state),
            part("Its configuration, what matters most", config_lines, config),
            part("Changes that wait for a stop and start", pending_lines, config),
            part("Its storages", partial(its_storages, place), config, storages),
            part("Its node", partial(its_node, place), nodes),
            part("Its recent tasks, those that failed first", task_lines, tasks),
            part("Its snapshots", snapshot_lines, snapshots),
        ],
        QUESTION.format(guest=named),
        named,
    )


def named_by(place: dict[str, Any]) -> str:
    """Name a guest outside of all marks, in words that are all ours."""
    return f"guest {place['vmid']}"


def state_lines(state: dict[str, Any]) -> list[str]:
    """Tell how a guest is."""
    lines = [
        told(state, "status", "lock", "uptime_s", "ha_state", "template", "tags"),
        told(state, "cpus", "cpu_percent"),
        _used("memory", state.get("memory_used_bytes"), state.get("memory_total_bytes")),
        _used("disk", state.get("disk_used_bytes"), state.get("disk_total_bytes")),
        told(state, "machine", "qemu_version"),
    ]
    if "agent" in state:
        on = "switched on; whether it answers was not tried" if state["agent"] else "switched off"
        lines.append(f"guest agent {on}")
    return [line for line in lines if line]


def _used(what: str, used: int | None, total: int | None) -> str:
    return f"{what} {'?' if used is None else gib(used)} of {gib(total)} GiB" if total else ""


def config_lines(config: dict[str, Any]) -> list[str]:
    """Tell what of a configuration mostly explains how a guest behaves."""
    keys = _flat(config)
    return [f"{key}: {value}" for key, value in keys.items() if HIGHLIGHTS.fullmatch(key)]


def _flat(config: dict[str, Any]) -> dict[str, str]:
    return {key: value for group in config["config"].values() for key, value in group.items()}


def pending_lines(config: dict[str, Any]) -> list[str]:
    """Tell which changes do not hold yet."""
    return [
        f"{key}: {value or 'to be deleted'}" for key, value in config.get("pending", {}).items()
    ] or ["none"]


def its_storages(
    place: dict[str, Any], config: dict[str, Any], storages: dict[str, Any]
) -> list[str]:
    """Tell how full the storages are on which a guest's disks lie."""
    values = [value for key, value in _flat(config).items() if HIGHLIGHTS.fullmatch(key)]
    used = {found[1] for value in values if (found := VOLUME.match(value))}
    rows = [
        row
        for row in storages["storages"]
        if row["storage"] in used and row.get("node") in (None, place["node"])
    ]
    figures = ("storage", "status", "type", "used_percent", "used_gib", "total_gib", "missing_on")
    return [told(row, *figures) for row in rows] or ["none of them is shown to this token"]


def its_node(place: dict[str, Any], nodes: dict[str, Any]) -> list[str]:
    """Tell how a guest's node is."""
    figures = ("node", "status", "cpu_percent", "load", "memory_percent", "disk_percent")
    rows = [row for row in nodes["nodes"] if row["node"] == place["node"]]
    return [told(row, *figures) for row in rows] or ["it is not shown to this token"]


def task_lines(tasks: dict[str, Any]) -> list[str]:
    """Tell what was done with a guest lately, and where nobody could be asked."""
    rows = sorted(tasks["tasks"], key=lambda row: row["state"] != "failed")
    fields = ("started", "type", "state", "error", "node", "upid")
    missing = tasks.get("nodes_missing")
    silent = [f"nodes that could not be asked: {', '.join(missing)}"] if missing else []
    return [*silent, *(some(rows, RECENT_TASKS, lambda row: told(row, *fields), "tasks"))] or [
        "none that this token may see"
    ]


def snapshot_lines(snapshots: dict[str, Any]) -> list[str]:
    """Tell of a guest's snapshots, newest first."""
    rows = sorted(snapshots["snapshots"], key=lambda row: row.get("created", ""), reverse=True)
    fields = ("name", "created", "current", "memory", "description")
    return some(rows, 8, lambda row: told(row, *fields), "snapshots") or ["none"]
