"""Task ids: parsed, followed to the end, judged.

Most changes answer at once with a task id (UPID) and go on in a task, and many refusals too: a
locked guest or a used snapshot name is HTTP 200 with a task that fails. So nothing is done before
its task has ended well.

``UPID:node:pid:pstart:starttime:type:id:user@realm[!token]:``, numbers in hex. A task stays on the
node where it ran, which is the one in its id, whatever became of the guest.
"""

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

import anyio
from pydantic import BeforeValidator, WithJsonSchema

from proxmox_mcp.pve import ha, trace
from proxmox_mcp.pve.answers import total_of
from proxmox_mcp.pve.bridge import Verb
from proxmox_mcp.pve.errors import BadAnswer, OutcomeUnknown, ProxmoxError, TooBusy, Unreachable
from proxmox_mcp.pve.guard import Pve, Report
from proxmox_mcp.pve.meanings import task_failed

_FORM = re.compile(
    r"UPID:(?P<node>[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)"
    r":(?P<pid>[0-9A-Fa-f]{8}):(?P<pstart>[0-9A-Fa-f]{8,9}):(?P<starttime>[0-9A-Fa-f]{8})"
    r":(?P<type>[A-Za-z0-9_-]+):(?P<id>[A-Za-z0-9_.@+!=,~-]*):(?P<user>[A-Za-z0-9_.@+!=,~-]+):"
)
"""A path segment, so narrower than Proxmox's own form, which allows ``/ ? # %`` in id and user."""

POLL_SECONDS = (0.5, 3.0)
"""The first pause before a look at a task, and the longest; each is twice the one before."""

LOOKS_LOST = 20
"""So many looks in a row may fail, about a minute, before a wait is given up; the task goes on."""

TAIL_LINES = 10
LOG_PAGE = 500
EMPTY_LOG = "no content"
"""Proxmox's line 1 of a log that has none yet; the first real line is line 1 again."""

State = Literal["running", "ok", "warnings", "failed"]


NO_TASK = (
    "Proxmox accepted the request but named no task, so it is open whether anything was done. Look"
    " at the guest's state and at proxmox_task_list."
)


@dataclass(frozen=True, slots=True)
class Upid:
    """A task id and what it says."""

    text: str
    node: str
    starttime: int
    type: str
    id: str
    user: str

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a task id.

        Raises:
            ValueError: It is not one; the message does not repeat it.
        """
        if isinstance(text, cls):
            return text
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(
                "must be a task id as Proxmox gives it:"
                " UPID:node:pid:pstart:starttime:type:id:user@realm:"
            )
        return cls(
            text=match[0],
            node=match["node"],
            starttime=int(match["starttime"], 16),
            type=match["type"],
            id=match["id"],
            user=match["user"],
        )

    def __str__(self) -> str:
        return self.text

    @property
    def about(self) -> str:
        """What the task is, in a few words: ``vzdump 105 on pve1``."""
        return f"{self.type} {self.id} on {self.node}".replace("  ", " ")


TaskId = Annotated[
    Upid,
    BeforeValidator(Upid.parse),
    WithJsonSchema({"type": "string", "description": "Task id: UPID:node:...:user@realm:"}),
]


def judge(status: dict[str, Any]) -> State:
    """Say how a task stands; ``WARNINGS: 1`` is a success with something to read.

    Args:
        status: An answer of ``/nodes/{node}/tasks/{upid}/status``, or an entry of a task list,
            where ``status`` is the exit status, and ``RUNNING`` or absent while the task runs.
    """
    said = str(status.get("exitstatus") or status.get("status") or "running")
    if said in ("running", "RUNNING"):
        return "running"
    if said == "OK":
        return "ok"
    return "warnings" if said.startswith("WARNINGS") else "failed"


@dataclass
class TaskEnd:
    """How far a task had come when the wait for it was over.

    Attributes:
        upid: Which task.
        state: How it stands.
        status: Proxmox's own record of it.
        lines: The last lines of its log that were read.
        percent: How much is done, where its log says so.
        pending: What an HA request still has to bring about.
    """

    upid: Upid
    state: State
    status: dict[str, Any]
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    percent: float | None = None
    pending: str | None = None


async def start(pve: Pve, verb: Verb, /, **params: Any) -> Upid:
    """Send a change that answers with a task, and return the task's id.

    Where the answer is lost, the task is looked for in the node's list.

    Raises:
        BadAnswer: Something else came back: vzdump for a guest of another node says ``OK`` and does
            nothing.
    """
    upid = await start_if_any(pve, verb, **params)
    if upid is None:
        raise BadAnswer(NO_TASK)
    return upid


async def start_if_any(pve: Pve, verb: Verb, /, **params: Any) -> Upid | None:
    """Send a change that is done at once or goes on in a task; None where it is done.

    Raises:
        BadAnswer: Something else came back than a task or nothing.
    """
    sent_at = pve.cluster.bridge.server_time()
    try:
        answer = await pve.send(verb, **params)
    except OutcomeUnknown as lost:
        answer = await trace.task(pve, verb, params, sent_at, lost)
        pve.found_out(verb, done=True)
    if answer is None:
        return None
    try:
        upid = Upid.parse(answer)
    except ValueError as exc:
        raise BadAnswer(NO_TASK) from exc
    pve.notes["upid"] = upid.text
    return upid


async def follow(
    pve: Pve, upid: Upid, wait: float, *, log: bool = False, fresh: bool = False
) -> TaskEnd:
    """Wait for a task to end, at most *wait* seconds, and tell whoever listens how far it is.

    A look that fails for a passing reason is no news: the task goes on, so the wait does too. A
    request to the HA manager is followed until the guest itself has changed.

    Args:
        pve: The call's way to the cluster.
        upid: Which task.
        wait: How many seconds at most; 0 looks once.
        log: Whether the log's last lines are wanted even where all went well.
        fresh: Whether it was started just now, so that a look before the first pause is too early.

    Raises:
        ProxmoxError: The task cannot be asked about. How it ended is in what is returned.
    """
    watch = _Watch(pve, upid, wait)
    end = TaskEnd(upid, "running", {})
    if fresh and wait:
        await watch.pause()
    while True:
        status = await watch.look()
        end.state, end.status = judge(status), status or end.status
        if end.state != "running" or watch.over:
            break
        await watch.pause()
    if log or end.state != "ok":
        await watch.log.to_the_end()
    end.lines, end.percent = watch.log.tail, watch.log.percent
    if end.state == "ok" and upid.type in ha.WANTED:
        await _follow_ha(end, watch)
    return end


async def _follow_ha(end: TaskEnd, watch: "_Watch") -> None:
    await watch.log.to_the_end()
    while True:
        missing = await ha.standing(watch.pve, end.upid.type, end.upid.id, watch.log.tail)
        if missing is None:
            return
        if watch.over:
            break
        await watch.pause(missing)
    end.state, end.pending = "running", missing


async def finish(pve: Pve, upid: Upid, wait: float) -> TaskEnd:
    """Follow a task that this call started, for which a bad end is a failure of the call.

    Raises:
        TaskFailed: The task ended badly; with the last lines of its log.
        ProxmoxError: The task cannot be asked about.
    """
    end = await follow(pve, upid, wait, fresh=True)
    if end.state == "failed":
        said = str(end.status.get("exitstatus", "no reason given"))
        lines = [line for line in end.lines if not line.startswith("TASK ERROR")]
        raise task_failed(upid.text, upid.about, said, lines)
    return end


class _Watch:
    """One wait for one task: when it is over, how long to pause, what was told."""

    def __init__(self, pve: Pve, upid: Upid, wait: float) -> None:
        self.pve = pve
        self.log = _LogReader(pve, pve.nodes(upid.node).tasks(upid.text))
        self._upid = upid
        self._wait = wait
        self._began = anyio.current_time()
        self._pause, self._longest = POLL_SECONDS
        self._lost = 0
        self._told = -1.0

    @property
    def elapsed(self) -> float:
        """Seconds since the wait began."""
        return anyio.current_time() - self._began

    @property
    def over(self) -> bool:
        """Whether the caller's patience has run out."""
        return self.elapsed >= self._wait

    async def look(self) -> dict[str, Any]:
        """Ask for the task's status; nothing where the question was lost on the way."""
        try:
            status = await self.pve.record(
                self.pve.nodes(self._upid.node).tasks(self._upid.text).status.get
            )
        except (Unreachable, TooBusy) as error:
            self._lost += 1
            passing = error.transient or error.silent
            if not passing or self._lost >= LOOKS_LOST or self.over:
                raise Unreachable(
                    f"{error} The task goes on without being watched; ask later with"
                    f" proxmox_task_status. Task id: {self._upid}",
                    transient=error.transient,
                    left=True,
                ) from error
            return {}
        self._lost = 0
        return status

    async def pause(self, words: str | None = None) -> None:
        """Tell how far it is, then sleep until the next look is due."""
        if self.pve.report:
            await self._tell(self.pve.report, words)
        await anyio.sleep(min(self._pause, max(0.0, self._wait - self.elapsed)))
        self._pause = min(self._pause * 2, self._longest)

    async def _tell(self, report: Report, words: str | None) -> None:
        await self.log.more()
        newest = words or (self.log.tail[-1] if self.log.tail else f"{self.elapsed:.0f} s")
        percent = self.log.percent
        done, total = (self.elapsed, self._wait) if percent is None else (percent, 100)
        if done > self._told:  # MCP: progress must increase with each notification
            self._told = done
            await report(done, total, f"{self._upid.about}: {newest}")


_PERCENT = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?) ?%")


class _LogReader:
    """Reads on in a task's log from where it stopped; each line is fetched once."""

    def __init__(self, pve: Pve, api: Any) -> None:
        self._pve = pve
        self._api = api
        self._at = 0
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.percent: float | None = None

    async def more(self) -> bool:
        """Fetch what is new, one page at most; True where there may be more."""
        try:
            rows = await self._pve.rows(self._api.log.get, start=self._at, limit=LOG_PAGE)
        except ProxmoxError:
            return False  # the log is company for the status, and no reason to fail
        new = [row for row in rows if int(row.get("n", 0)) > self._at and row.get("t") != EMPTY_LOG]
        for row in new:
            self._take(str(row.get("t", "")))
        self._at += len(new)
        return len(rows) >= LOG_PAGE

    async def to_the_end(self) -> None:
        """Fetch the rest, skipping what does not fit into the tail."""
        try:
            first = await self._pve.rows(self._api.log.get, start=self._at, limit=1)
        except ProxmoxError:
            return
        total = total_of(first)
        if total is not None:
            self._at = max(self._at, total - TAIL_LINES)
        while await self.more():
            pass

    def _take(self, line: str) -> None:
        if line.strip():
            self.tail.append(line)
        if found := _PERCENT.search(line):
            self.percent = min(100.0, float(found[1]))
