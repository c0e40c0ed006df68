"""How a change ended: done, already so, or still going on; a bad end is raised, never returned."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field

from proxmox_mcp.pve import upid
from proxmox_mcp.pve.bridge import Verb
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.locate import Guest
from proxmox_mcp.pve.oversight import Loss, Sent
from proxmox_mcp.pve.upid import TaskEnd
from proxmox_mcp.toolkit.results import Result, Row
from proxmox_mcp.toolkit.text import Line, clean_text


class PlannedCall(Row):
    """One change that a dry run did not send."""

    method: Line
    path: Line
    params: dict[str, str | list[str]] | None = None


class Change(Result):
    """What every tool answers with that changes something."""

    would_send: list[PlannedCall] | None = Field(None, description="Dry run: not sent.")
    would_lose: list[Line] | None = None

    @classmethod
    def planned(cls, purpose: str, calls: Sequence[Sent], loss: Loss | None) -> Self:
        """Tell what a dry run would have done."""
        words = f"Dry run, nothing was sent. It would be: {purpose or 'as would_send says'}"
        known: dict[str, Any] = {"state": "dry_run", "done": words}
        return cls(
            notice=words if "done" not in cls.model_fields else None,
            would_send=[
                PlannedCall(
                    method=call.method, path=call.path, params=_written(call.params) or None
                )
                for call in calls
            ],
            would_lose=[loss.question, *loss.facts] if loss else None,
            **{name: value for name, value in known.items() if name in cls.model_fields},
        )


def _written(params: Mapping[str, Any]) -> dict[str, str | list[str]]:
    # Cleaned here: a field of Line or list[Line] would take a list for one line, brackets and all.
    return {
        name: [*map(clean_text, value)] if isinstance(value, list) else clean_text(value)
        for name, value in params.items()
    }


class Outcome(Change):
    """What a change led to."""

    state: Literal["ok", "warnings", "already", "running", "dry_run"] = Field(
        description="already: it was so before, nothing was sent; running: not finished yet"
    )
    done: Line = Field(description="What was done, or is being done, to what.")
    upid: Line | None = None
    warnings: list[Line] | None = None
    next: str | None = Field(None, description="The call that goes on from here.")


def already(guest: Guest, words: str) -> Outcome:
    """Say that nothing had to be done, and nothing was sent."""
    return Outcome(state="already", done=f"{guest} {words}; nothing was changed.")


def finished(guest: Guest, words: str) -> Outcome:
    """Say that a change without a task is done."""
    return Outcome(state="ok", done=f"{guest}: {words}.")


async def carry_out(
    pve: Pve, about: object, words: str, verb: Verb, /, *, wait: float, **params: Any
) -> Outcome:
    """Send a change that runs as a task, wait for its end with progress, and say how it ended.

    Args:
        pve: The call's way to the cluster.
        about: What is changed, in words.
        words: What is done to it, as of after: "started".
        verb: The chain's final verb.
        wait: How many seconds at most; 0 returns as soon as the task has begun.
        **params: What is sent along.

    Raises:
        TaskFailed: The task ended badly, with the last lines of its log.
        ProxmoxError: It was refused, or its outcome is open.
    """
    pve.purpose = f"{about}: {words}"
    task = await upid.start(pve, verb, **params)
    return told(await upid.finish(pve, task, wait), about, words)


def told(end: TaskEnd, about: object, words: str) -> Outcome:
    """Put the end of a task into words."""
    if end.state == "running":
        more = f'proxmox_task_status(upid="{end.upid}", wait=300) goes on waiting'
        done = end.pending or f"{about}: accepted, not finished: {words} when the task ends well."
        return Outcome(state="running", done=done, upid=end.upid.text, next=more)
    warnings = [line for line in end.lines if "WARN" in line] if end.state == "warnings" else None
    return Outcome(
        state="warnings" if end.state == "warnings" else "ok",
        done=f"{about}: {words}.",
        upid=end.upid.text,
        warnings=warnings,
    )
