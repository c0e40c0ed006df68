"""How is a guest upgraded so that it can be taken back?"""

from functools import partial
from typing import Any

from proxmox_mcp.prompts.declare import prompt
from proxmox_mcp.prompts.diagnose_guest import (
    About,
    config_lines,
    its_node,
    its_storages,
    named_by,
    pending_lines,
    snapshot_lines,
    state_lines,
)
from proxmox_mcp.prompts.look import ALL, Look, part, place_of, some, told
from proxmox_mcp.toolkit.time import iso
from proxmox_mcp.tools.backups import proxmox_backup_list
from proxmox_mcp.tools.guests import proxmox_get_vm_status
from proxmox_mcp.tools.nodes import proxmox_get_nodes
from proxmox_mcp.tools.resources import proxmox_vm_config_get
from proxmox_mcp.tools.snapshots import proxmox_snapshot_list
from proxmox_mcp.tools.storage import proxmox_get_storage
from proxmox_mcp.tools.tasks import proxmox_task_list

BACKUPS = 5

QUESTION = """\
How is the system inside {guest} upgraded so that it can be taken back? Make a plan of these \
steps, fitted to the facts, and wait for a yes before each step that changes something:

1. Say what speaks against beginning now: a lock or a task that runs, a full storage, a node that \
is not well, changes that wait, no recent backup. What could not be read is unknown, not fine.
2. The way back: proxmox_snapshot_create (vmid={vmid}, snapname={snapname}), for a running VM with \
vmstate=true if its memory is to come back too; where its storage takes no snapshots, or beside \
it, proxmox_backup_create.
3. The upgrade itself: what to run inside it, what to note down before (versions, services, what \
listens), and whether it must be restarted.
4. What to check afterwards: proxmox_get_vm_status, the services noted before, and that its \
guest agent answers if it has one.
5. Taking it back: proxmox_snapshot_rollback (or proxmox_backup_restore). It stops the guest hard, \
and what its disks took in since then is lost. A guest with protection switched on is not rolled \
back: say so before, not after.
6. When all is well for a while: proxmox_snapshot_delete, since a snapshot grows.\
"""


@prompt("Safe upgrade", proxmox_get_vm_status, proxmox_vm_config_get)
async def safe_upgrade(look: Look, *, guest: About) -> str:
    """Upgrade a guest so that it can be taken back.

    Looks whether it is fit for that now, and has the assistant plan the snapshot, the upgrade, what
    to check afterwards and how to roll back. Nothing is changed without asking.
    """
    place = await look.must(partial(place_of, vmid=guest))
    vmid = place["vmid"]
    state, config, snapshots, backups, storages, nodes, tasks = await look.at(
        partial(proxmox_get_vm_status, vmid=vmid),
        partial(proxmox_vm_config_get, vmid=vmid),
        partial(proxmox_snapshot_list, vmid=vmid),
        partial(proxmox_backup_list, vmid=vmid, limit=BACKUPS),
        partial(proxmox_get_storage, limit=ALL),
        partial(proxmox_get_nodes, limit=ALL),
        partial(proxmox_task_list, vmid=vmid, running=True),
    )
    named = named_by(place)
    snapname = f"before-upgrade-{iso(look.now)[:10].replace('-', '')}"
    return look.page(
        [
            part("Which guest", lambda it: [told(it, "vmid", "name", "kind", "node")], place),
            part("How it is now", state_lines, state),
            part("Its configuration, what matters most", config_lines, config),
            part("Changes that wait for a stop and start", pending_lines, config),
            part("Snapshots it has", snapshot_lines, snapshots),
            part("Backups it has, newest first", backup_lines, backups),
            part("Its storages", partial(its_storages, place), config, storages),
            part("Its node", partial(its_node, place), nodes),
            part("Tasks that run on it now", running_lines, tasks),
        ],
        QUESTION.format(guest=named, vmid=vmid, snapname=snapname),
        named,
    )


def backup_lines(backups: dict[str, Any]) -> list[str]:
    """Tell of a guest's newest backups, and of storages that did not answer."""
    fields = ("created", "volume", "size_gib", "verified", "protected")
    lines = some(backups["backups"], BACKUPS, lambda row: told(row, *fields), "backups")
    missing = backups.get("storages_missing")
    silent = [f"storages that did not answer: {', '.join(missing)}"] if missing else []
    return [*silent, *(lines or ["none that this token may see"])]


def running_lines(tasks: dict[str, Any]) -> list[str]:
    """Tell what is being done with a guest."""
    missing = tasks.get("nodes_missing")
    silent = [f"nodes that could not be asked: {', '.join(missing)}"] if missing else []
    fields = ("started", "type", "node", "user", "upid")
    return [*silent, *some(tasks["tasks"], 5, lambda row: told(row, *fields), "tasks")] or ["none"]
