"""Tasks: what a change leaves running, with its id, its log, its locks and its end.

Rule 1: a task's body is a generator. What it yields is how many seconds the next step takes.
Rule 2: steps happen at their own time, however late somebody looks; so the answers depend on
        the clock and not on how often one polls.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxmox_mcp.simulator.wire import Refusal, invalid

if TYPE_CHECKING:
    from proxmox_mcp.simulator.state import Guest

Body = Generator[float, None, None]
Plan = Callable[["Task"], Body]

TICKS = 100  # pstart counts hundredths of a second since the node booted
FIRST_PID = 1217
LOCK_FILE = {
    "qemu": "/var/lock/qemu-server/lock-{}.conf",
    "lxc": "/run/lock/lxc/pve-config-{}.lock",
}
LOCK_WAIT = 10.0  # how long a worker waits for the guest's lock file
UPID = re.compile(
    r"UPID:(?P<node>[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?):(?P<pid>[0-9A-Fa-f]{8})"
    r":(?P<pstart>[0-9A-Fa-f]{8,9}):(?P<start>[0-9A-Fa-f]{8})"
    r":(?P<type>[^:\s]+):(?P<id>[^:\s]*):(?P<user>[^:\s]+):"
)


class TaskError(Exception):
    """The worker died with this text, which becomes the task's exit status."""


@dataclass(eq=False)
class Task:
    """One task of one node, running until *end* is set."""

    upid: str
    node: str
    pid: int
    pstart: int
    start: int
    type: str
    id: str
    user: str
    body: Body | None = None
    log: list[str] = field(default_factory=list)
    warnings: int = 0
    end: int | None = None
    status: str = ""
    interrupted: str = "received interrupt"

    @property
    def userid(self) -> str:
        """Who started it, without the token."""
        return self.user.partition("!")[0]

    def say(self, *lines: str) -> None:
        """Write into the log."""
        self.log.extend(lines)

    def warn(self, line: str) -> None:
        """Write a warning; the task then ends with their number and is a success all the same."""
        self.warnings += 1
        self.log.append(f"WARN: {line}")

    def identity(self) -> dict[str, object]:
        """The fields that every listing has."""
        found: dict[str, object] = {
            "upid": self.upid,
            "node": self.node,
            "pid": self.pid,
            "pstart": self.pstart,
            "starttime": self.start,
            "type": self.type,
            "id": self.id,
            "user": self.userid,
        }
        _, bang, token = self.user.partition("!")
        return found | ({"tokenid": token} if bang else {})


@dataclass(order=True)
class _Event:
    due: float
    order: int
    action: Callable[[], None] = field(compare=False)


class Tasks:
    """All tasks of the cluster, and the agenda that carries them on."""

    def __init__(self, started: float, speed: float) -> None:
        self.now = started
        self.speed = speed
        self.all: dict[str, Task] = {}
        self._booted = started - 345_600.0
        self._agenda: list[_Event] = []
        self._order = itertools.count()
        self._pids: dict[str, int] = {}

    def spawn(self, node: str, type_: str, id_: str, user: str, plan: Plan) -> str:
        """Start a task now and answer its UPID; what it does at once is done on return."""
        task = self._create(node, type_, id_, user, self.now)
        task.body = plan(task)
        self._step(task)
        return task.upid

    def record(
        self,
        where: tuple[str, str, str, str],
        *,
        start: float,
        lasted: float,
        log: list[str],
        status: str,
    ) -> None:
        """Put a task into the history that ended before anybody looked."""
        task = self._create(*where, start)
        task.say(*log)
        self._close(task, status, start + lasted)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later, as qmeventd and the HA manager do."""
        due = self.now + seconds / self.speed
        heapq.heappush(self._agenda, _Event(due, next(self._order), action))

    def advance(self, now: float) -> None:
        """Let everything happen that is due by now, each at its own time."""
        while self._agenda and self._agenda[0].due <= now:
            event = heapq.heappop(self._agenda)
            self.now = max(self.now, event.due)
            event.action()
        self.now = max(self.now, now)

    def stop(self, task: Task) -> None:
        """Interrupt a running worker; a finished one is left as it is."""
        if task.body is None:
            return
        try:
            task.body.throw(TaskError(task.interrupted))
        except (TaskError, StopIteration) as error:
            self._end(task, str(error) if isinstance(error, TaskError) else "")
        else:
            task.body.close()
            self._end(task, task.interrupted)

    def find(self, upid: str) -> Task:
        """A task by its id, or the 400 of an id that is none or unknown."""
        if not UPID.fullmatch(upid):
            raise invalid(upid="unable to parse worker upid")
        task = self.all.get(upid)
        if task is None:
            raise invalid(upid="no such task")
        return task

    def newest(self, *, node: str | None = None) -> list[Task]:
        """Tasks of a node or of all, the latest first; history was recorded in its order."""
        found = (task for task in self.all.values() if node in {None, task.node})
        return list(found)[::-1]

    def _create(self, node: str, type_: str, id_: str, user: str, start: float) -> Task:
        pid = self._pids.get(node, FIRST_PID) + 41
        self._pids[node] = pid
        pstart = int((start - self._booted) * TICKS) & 0xFFFFFFFF
        upid = f"UPID:{node}:{pid:08X}:{pstart:08X}:{int(start):08X}:{type_}:{id_}:{user}:"
        task = Task(upid, node, pid, pstart, int(start), type_, id_, user)
        self.all[upid] = task
        return task

    def _step(self, task: Task) -> None:
        if task.body is None:
            return
        try:
            seconds = next(task.body)
        except StopIteration:
            self._end(task, "")
        except (TaskError, Refusal) as error:
            self._end(task, str(error))
        else:
            self.after(seconds, lambda: self._step(task))

    def _end(self, task: Task, error: str) -> None:
        warned = f"WARNINGS: {task.warnings}" if task.warnings else "OK"
        self._close(task, error or warned, self.now)

    @staticmethod
    def _close(task: Task, status: str, at: float) -> None:
        task.body = None
        task.end = int(at)
        task.status = status
        task.say(last_line(status))


def last_line(status: str) -> str:
    """How a task log repeats the result."""
    if status == "OK":
        return "TASK OK"
    return f"TASK {status}" if status.startswith("WARNINGS: ") else f"TASK ERROR: {status}"


def outcome(status: str) -> str:
    """The class of a result, as the statusfilter of the task list names it."""
    if status == "OK":
        return "ok"
    if status.startswith("WARNINGS: "):
        return "warning"
    return "unknown" if status == "unexpected status" else "error"


def hold(guest: Guest) -> Body:
    """Wait for the guest's lock file, which only one worker can have."""
    waited = 0.0
    while guest.held:
        if waited >= LOCK_WAIT:
            path = LOCK_FILE[guest.kind].format(guest.vmid)
            raise TaskError(f"can't lock file '{path}' - got timeout")
        yield 0.5
        waited += 0.5


@contextmanager
def holding(guest: Guest) -> Iterator[None]:
    """Have the guest's lock file while something is done to it."""
    guest.held = True
    try:
        yield
    finally:
        guest.held = False


@contextmanager
def locking(guest: Guest, lock: str) -> Iterator[None]:
    """Set `lock:` in the config; a worker that is killed leaves it there."""
    guest.lock = lock
    try:
        yield
    except TaskError as error:
        if str(error) != "received interrupt":
            guest.lock = None
        raise
    guest.lock = None
