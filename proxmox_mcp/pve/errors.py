"""What can go wrong, in words a model can act on.

ProxmoxError
├─ NotAuthenticated  the token or password is missing, wrong or expired
├─ NotAllowed        the token lacks a privilege; ``privilege`` and ``path`` name it when known
├─ NotFound          no such guest, node, storage, snapshot or task
├─ Refused           Proxmox said no: locked, wrong state, bad parameter
│  ├─ AlreadyTaken   the id or name is in use
│  └─ NotConfirmed   a loss was to be confirmed, and was not
├─ NotRecorded       the audit trail cannot be written, so nothing was changed
├─ Unsupported       this version of Proxmox has no such call
├─ Unreachable       no answer, and nothing was changed: DNS, TLS, timeout, node down
│  └─ Untrusted      the host's certificate is not believed
├─ OutcomeUnknown    a change was sent and its answer lost: it may have happened
├─ NotDone           a change was sent and its answer lost: it has not happened
├─ BadAnswer         what answered is not Proxmox's API, or not in the shape we know
├─ TooBusy           our own rate limit would have to wait too long
└─ TaskFailed        the task ran and ended badly; carries ``upid`` and the log's last lines

Rule 1: status and text become one of these in :mod:`~proxmox_mcp.pve.meanings`, by one table; no
handler looks at the words of a message.
Rule 2: a message says what happened, where, and what to do next. It is for reading; code reads the
attributes.
Rule 3: many refusals arrive as HTTP 200 with a task, and only the task's exit status tells
(recorded from PVE 8.4 and 9.2): they go through the same table.
"""

from collections.abc import Sequence

from proxmox_mcp.pve.fields import Kind

KIND_WORDS: dict[Kind, str] = {"qemu": "VM", "lxc": "container"}


class ProxmoxError(Exception):
    """What kept a call from succeeding. ``transient``: the same GET may work in a moment."""

    transient = False
    silent = False
    """Whether it was the cluster itself that gave no answer at all."""


class NotAuthenticated(ProxmoxError):
    """The token or password is missing, wrong or expired."""


class NotAllowed(ProxmoxError):
    """The token lacks a privilege.

    Attributes:
        path: The path the privilege is missing on, e.g. ``/vms/105``, when Proxmox names it.
        privilege: One privilege, or several joined by ``|`` of which one is enough.
    """

    def __init__(self, message: str, *, path: str | None = None, privilege: str | None = None):
        super().__init__(message)
        self.path = path
        self.privilege = privilege


class NotFound(ProxmoxError):
    """No such guest, node, storage, snapshot or task."""


class Refused(ProxmoxError):
    """Proxmox understood and said no, or we did before asking it."""


class AlreadyTaken(Refused):
    """The id or name is in use; another one may work."""


class NotConfirmed(Refused):
    """A loss was to be confirmed, and was not, whoever did not do it."""


class NotRecorded(ProxmoxError):
    """The audit trail cannot be written, so the change was not made."""


class Unsupported(ProxmoxError):
    """This version of Proxmox has no such call."""


class Unreachable(ProxmoxError):
    """No answer came. ``left`` says whether the request had gone out (it was a GET then)."""

    def __init__(self, message: str, *, transient: bool = True, left: bool = False):
        super().__init__(message)
        self.transient = transient
        self.left = left


class Untrusted(Unreachable):
    """The host's certificate is not believed; nothing was sent."""

    def __init__(self, message: str):
        super().__init__(message, transient=False)


class OutcomeUnknown(ProxmoxError):
    """A change was sent and no answer came: it may have happened. It is never sent again.

    Attributes:
        said: What happened to the answer, without advice.
        queued: Whether somebody gave up waiting, so that the request may still be carried out.
    """

    def __init__(self, said: str, *, queued: bool = False) -> None:
        super().__init__(
            f"{said}. The change was sent and its answer lost, so it may have happened: look at"
            " proxmox_task_list and at the state of what it was about before sending it again."
        )
        self.said = said
        self.queued = queued


class NotDone(ProxmoxError):
    """A change was sent, its answer was lost, and it was found not to have been carried out."""


class BadAnswer(ProxmoxError):
    """What answered is not Proxmox's API, or not in the shape that its schema promises."""


class TooBusy(ProxmoxError):
    """The rate limit of this server would have had to wait longer than a call may."""


class TaskFailed(ProxmoxError):
    """A task ran and ended badly.

    Attributes:
        upid: The task's id.
        exitstatus: What Proxmox gave as its end.
        lines: The last lines of its log.
    """

    def __init__(self, message: str, *, upid: str, exitstatus: str, lines: Sequence[str] = ()):
        super().__init__(message)
        self.upid = upid
        self.exitstatus = exitstatus
        self.lines = tuple(lines)
