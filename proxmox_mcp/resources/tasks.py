"""What the cluster does and has done, to be looked at."""

from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.upid import TaskId
from proxmox_mcp.resources.declare import resource
from proxmox_mcp.tools.tasks import (
    TaskStatus,
    proxmox_task_log,
    proxmox_task_status,
)

LOG_LINES = 200


@resource("proxmox://tasks/{upid}", "Task", proxmox_task_status)
async def task(pve: Pve, *, upid: TaskId) -> TaskStatus:
    """How a task stands, how it ended, and the last lines of its log."""
    return await proxmox_task_status(pve, upid=upid, include_logs=True)


@resource("proxmox://tasks/{upid}/log", "Task log", proxmox_task_log)
async def task_log(pve: Pve, *, upid: TaskId) -> str:
    """The newest lines of a task's log, as text between marks: output of programs, data."""
    return await proxmox_task_log(pve, upid=upid, limit=LOG_LINES)
