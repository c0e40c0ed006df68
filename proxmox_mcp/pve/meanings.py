"""What an answer of Proxmox means: its status, its words and its task's end, by one table.

Many refusals arrive as HTTP 200 with a task, and only the task's exit status tells (recorded from
PVE 8.4 and 9.2): they go through the same rows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proxmox_mcp.pve.errors import (
    KIND_WORDS,
    AlreadyTaken,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OutcomeUnknown,
    ProxmoxError,
    Refused,
    TaskFailed,
    Unreachable,
    Unsupported,
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table: which answers it reads, what they are, and what to do about them."""

    error: type[ProxmoxError]
    advice: str
    text: str = ""
    status: int | None = None
    path: str = ""

    def reads(self, status: int | None, text: str, path: str) -> re.Match[str] | None:
        """Match this row against an answer; a task's exit status has no HTTP status."""
        if self.status is not None and self.status != status:
            return None
        if self.path and not re.search(self.path, path):
            return None
        # What is wrong stands at the beginning; patterns with a gap take hours over a megabyte.
        return re.search(self.text, text[:2_000], re.IGNORECASE)


# Read from top to bottom; the first row that reads the answer decides. The texts are Proxmox's own
# (recorded from 8.4.21 and 9.2.11); a row without text stands for its whole status.
MEANINGS: tuple[Meaning, ...] = (
    Meaning(
        NotAuthenticated,
        "Check user, token_name and token_value (or password), and that the token exists and has"
        " not expired; the secret is shown only once, when the token is made.",
        status=401,
    ),
    Meaning(
        NotAllowed,
        "Only root@pam with its password may do this; no token can.",
        text=r"user != root@pam|only root",
        status=403,
    ),
    Meaning(
        NotAllowed,
        "Give the token {privilege} on {path} (Datacenter > Permissions). A token with privilege"
        " separation needs its own permission, its user's is not enough.",
        text=r"\((?P<path>/[^,]*), (?P<privilege>[^)]+)\)",
        status=403,
    ),
    Meaning(
        NotAllowed,
        "The token lacks a privilege for this; see Datacenter > Permissions.",
        status=403,
    ),
    Meaning(
        NotAllowed,
        "Only root@pam with its password may do this; no token can.",
        text=r"only root (can|may)",
    ),
    Meaning(
        NotFound,
        "Its log may have been cleaned up; proxmox_task_list shows the tasks there are.",
        text=r"no such task|unable to parse worker upid",
    ),
    Meaning(Refused, "Correct the named argument.", status=400),
    Meaning(
        Unsupported,
        "This version of Proxmox does not have this call, or something between here and it cut"
        " the path.",
        status=501,
    ),
    Meaning(
        Refused,
        "No such program in the guest. Give the full path of an executable file, or pass a plain"
        " string to have it run by the guest's shell.",
        status=596,
        path=r"/agent/exec$",
        text=r"broken pipe",
    ),
    Meaning(
        Unreachable,
        "The node is offline or cut off from the rest of the cluster;"
        " proxmox_get_cluster_status shows which nodes are up.",
        status=595,
    ),
    Meaning(
        NotFound,
        "There is no node of this name; proxmox_get_nodes lists them.",
        text=r"hostname lookup '.*' failed|no such cluster node",
    ),
    Meaning(
        NotFound,
        "The guest is not there: it was deleted or moved. proxmox_get_vms shows where guests are.",
        text=r"configuration file '.*' does not exist",
    ),
    Meaning(
        Refused,
        "Another job holds the guest. Find it with proxmox_task_list (running=true) and follow it"
        " with proxmox_task_status; a lock left behind by a killed job is removed on the node with"
        " `qm unlock` or `pct unlock`.",
        text=r"(VM|CT) is locked|is locked \(",
    ),
    Meaning(
        Refused,
        "Another action on the same guest is under way; wait for it and try again.",
        text=r"can't lock file .* got timeout|trying to acquire lock",
    ),
    Meaning(
        Refused,
        "Switch the agent on in the guest's options (agent: 1), install qemu-guest-agent in the"
        " guest, then stop and start it.",
        text=r"no qemu guest agent configured",
    ),
    Meaning(
        Refused,
        "Start the service qemu-guest-agent in the guest; just after boot it takes a moment.",
        text=r"qemu guest agent is not running",
    ),
    Meaning(
        Refused,
        "The result of a finished process can be read once only, and an unknown one never.",
        text=r"agent error: invalid parameter 'pid'",
    ),
    Meaning(Refused, "The guest agent in the guest refused this.", text=r"^agent error"),
    Meaning(Refused, "It already runs; nothing was changed.", text=r"already running"),
    Meaning(Refused, "Start the guest first.", text=r"(VM|CT) \d+ (is )?not running|not running$"),
    Meaning(Refused, "Resume the guest first.", text=r"vm is paused"),
    Meaning(
        Refused,
        "Protection is on; it is switched off in the guest's options.",
        text=r"protection mode enabled|cannot remove protected",
    ),
    Meaning(
        Refused,
        "Choose another name, or delete that snapshot first.",
        text=r"snapshot name '.*' already used",
    ),
    Meaning(NotFound, "No snapshot has this name.", text=r"snapshot '.*' does not exist"),
    Meaning(
        Refused,
        "The guest's disks lie on a storage that cannot take snapshots, or something is attached"
        " that cannot be saved.",
        text=r"snapshot feature is not available",
    ),
    Meaning(
        NotFound,
        "proxmox_get_storage lists the storages.",
        text=r"storage '.*' does not exist|no such storage",
    ),
    Meaning(
        Refused,
        "The storage is not mounted or not reachable from this node.",
        text=r"storage '.*' is not (online|available)",
    ),
    Meaning(
        AlreadyTaken,
        "Choose another id, or leave it out where it may be left out.",
        text=r"already exists|already defined",
    ),
    Meaning(
        Refused,
        "Somebody else changed it meanwhile: read it again, then repeat the change.",
        text=r"detected modified configuration|checksum mismatch",
    ),
    Meaning(NotFound, "Read the list again: positions move.", text=r"no rule at position"),
    Meaning(NotFound, "", text=r"does not exist|no such"),
    Meaning(
        Unreachable,
        "The cluster has lost its quorum: most nodes must be up before anything can change.",
        text=r"no quorum",
    ),
    Meaning(
        Refused,
        "The guest did not shut down by itself in time; give it longer, or stop it hard.",
        text=r"powerdown failed - got timeout|container did not stop",
    ),
    Meaning(
        Refused, "It was stopped before its end.", text=r"interrupted by signal|received interrupt"
    ),
    Meaning(
        Refused,
        "The node that ran it restarted or died meanwhile.",
        text=r"unexpected status",
    ),
)

# A proxy, Proxmox's own or another, gave up waiting: whether the work was done is open.
LOST = frozenset({502, 503, 504, 596, 597, 598, 599})


def where(path: str) -> str:
    """Name what an API path is about: a guest, a node, or the cluster.

    >>> where("/nodes/pve1/qemu/105/status/start")
    'VM 105 on pve1'
    """
    match path.strip("/").split("/"):
        case ["nodes", node, ("qemu" | "lxc") as kind, vmid, *_] if vmid.isdecimal():
            return f"{KIND_WORDS[kind]} {vmid} on {node}"
        case ["nodes", node, "storage", storage, *_]:
            return f"Storage {storage} on {node}"
        case ["nodes", node, *_]:
            return f"Node {node}"
        case _:
            return "The cluster"


def refusal(
    status: int,
    text: str,
    fields: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    path: str = "",
) -> ProxmoxError:
    """Translate an HTTP answer of 400 and above.

    Args:
        status: The HTTP status; Proxmox adds 595 to 599 for a node that does not answer.
        text: The reason of the status line, or the body's longer ``message``.
        fields: What a 400 says about each parameter.
        method: The verb: the lost answer to anything but a GET leaves the outcome open.
        path: The API path, e.g. ``/nodes/pve1/qemu/105/status/start``.
    """
    said = "; ".join([text.strip(), *(f"{k}: {v.strip()}" for k, v in (fields or {}).items())])
    for row in MEANINGS:
        if match := row.reads(status, said, path):
            return _built(row, match, f"{where(path)}: {said or f'HTTP {status}'}", status)
    if status in LOST:
        return lost(f"{where(path)}: HTTP {status} {said}", method=method, queued=True)
    return Refused(f"{where(path)}: {said or 'refused without a reason'} (HTTP {status}).")


def _built(row: Meaning, match: re.Match[str], said: str, status: int) -> ProxmoxError:
    named = match.groupdict()
    message = f"{said.rstrip('. ')}. {row.advice.format(**named)}".rstrip()
    if row.error is NotAllowed:
        return NotAllowed(message, **named)
    if row.error is Unreachable:
        # Neither an offline node nor a lost quorum comes back within the seconds of a retry.
        return Unreachable(message, transient=False, left=status not in (0, 595))
    return row.error(message)


def lost(said: str, *, method: str, queued: bool = False) -> ProxmoxError:
    """Say that a request went out and no answer came back.

    Args:
        said: What happened to the answer.
        method: The verb that was sent.
        queued: Whether somebody gave up waiting, so that it may still be carried out.
    """
    if method == "GET":
        return Unreachable(f"{said}. It was only a question; try again in a moment.", left=True)
    return OutcomeUnknown(said, queued=queued)


def task_failed(upid: str, about: str, exitstatus: str, lines: Sequence[str]) -> TaskFailed:
    """Translate the end of a task that is neither OK nor WARNINGS."""
    tail = "".join(f"\n  {line}" for line in lines)
    message = f"Task {about} failed: {exitstatus.strip().rstrip('.')}. {exit_advice(exitstatus)}"
    message = message.rstrip()
    message += f"\nTask id: {upid}" + (f"\nLast lines of its log:{tail}" if tail else "")
    return TaskFailed(message, upid=upid, exitstatus=exitstatus, lines=lines)


def exit_advice(exitstatus: str) -> str:
    """Say what to do about a task's exit status; empty where the table knows nothing."""
    rows = (row for row in MEANINGS if row.status is None and row.reads(None, exitstatus, ""))
    return next((row.advice for row in rows), "")
