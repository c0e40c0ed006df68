"""What stands over one call: the loss that a person confirms, the change that is written down.

A loss is confirmed in one of four ways, and the audit trail says which: ``asked`` (a person said
yes through the client), ``argument`` (the call repeats the guest's name, with confirm = "strict"),
``client`` (the client cannot ask for us, so its own prompt is all there is), ``off``.

Asking does not happen in the middle of a call. The call ends with its question (``AskFirst``) and
is made again with the answer, in both eras of the protocol, so that after a person has thought
about it everything is looked at afresh; an answer counts for the very loss that was asked about.
"""

import functools
import hashlib
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import anyio
from anyio import to_thread

from proxmox_mcp.pve.errors import NotConfirmed, NotRecorded
from proxmox_mcp.pve.guard import Pve
from proxmox_mcp.pve.oversight import Loss, Sent
from proxmox_mcp.redaction import Redactor
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.toolkit.policy import Policy
from proxmox_mcp.toolkit.text import clean_line

UNSAID = frozenset({"stdin", "input-data"})
"""What is given to a program in a guest may be anything; that it was given is all that is kept."""

LINE_CHARACTERS, MOST_FACTS = 300, 20
"""What a person still reads; the rest is counted, and is agreed to all the same."""

_AGE = re.compile(r"(?<=Z), (?:just now|\d+ (?:minute|hour|day)s? ago)")


class Trail(Protocol):
    """Where changes are written down; it blocks, and raises where it cannot."""

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record."""


@dataclass(frozen=True)
class Watch:
    """What all calls of a server are overseen with.

    Attributes:
        policy: What the administrator has said.
        trail: The audit trail; None where nothing is written down.
        redactor: Takes secrets out of what is shown or written.
        profile: The profile of the settings.
        cluster: Where the cluster is.
        token: Who logs in there.
    """

    policy: Policy
    trail: Trail | None = None
    redactor: Redactor = field(default_factory=Redactor)
    profile: str = "default"
    cluster: str = ""
    token: str = ""

    def shown(self, data: Any) -> Any:
        """Return data, or words, as an assistant may see them."""
        redactor = self.redactor
        mask = redactor.known if self.policy.show_secrets else redactor.written
        return redactor.answer(data, mask)


class AskFirst(Exception):
    """A loss must be confirmed by a person first; carries the question, and its mark."""

    def __init__(self, question: str, mark: str) -> None:
        super().__init__("a question is open")
        self.question = question
        self.mark = mark


def marked(loss: Loss) -> str:
    """Return what stands for a loss wherever its answer is kept: all of it, shown or not.

    Ages are left out, since they grow while a person thinks; the date before each stays.
    """
    whole = "\n".join((loss.question, *loss.facts))
    return hashlib.sha256(_AGE.sub("", whole).encode()).hexdigest()


@dataclass
class Overseer:
    """Stands over one call.

    Attributes:
        watch: What it oversees with.
        spec: The tool.
        arguments: What the tool was given.
        client: Which client calls, and its version.
        agreed: What the call itself says in agreement (argument ``confirm``).
        answers: What a person answered, by the question's mark; None where nobody can be asked.
        call: The id of this call, also in the log.
    """

    watch: Watch
    spec: ToolSpec
    arguments: Mapping[str, Any]
    client: str = ""
    agreed: str | None = None
    answers: dict[str, bool] | None = None
    call: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    pve: Pve | None = None
    _recorded: int = 0
    _began: float = field(default_factory=time.perf_counter)

    # --- losses ------------------------------------------------------------------------------

    def confirm(self, loss: Loss) -> str:
        """Return how a loss was confirmed.

        Raises:
            AskFirst: A person must be asked.
            NotConfirmed: It was not confirmed.
        """
        match self.watch.policy.confirm:
            case "off":
                return "off"
            case "strict":
                return self._repeated(loss)
        if self.answers is None:
            return "client"
        mark = marked(loss)
        yes = self.answers.get(mark)
        if yes is None:
            raise AskFirst(self.question(loss), mark)
        if not yes:
            raise NotConfirmed(f"Not confirmed, so nothing was sent: {loss.question}")
        return "asked"

    def _repeated(self, loss: Loss) -> str:
        if self.agreed is not None and self.agreed.strip().lower() == loss.name.lower():
            return "argument"
        lost = " ".join(loss.facts)
        raise NotConfirmed(
            f"Not confirmed, so nothing was sent: {loss.question} {lost} Where the user agrees to"
            f' that, make the same call with confirm="{loss.name}".'
        )

    def question(self, loss: Loss) -> str:
        """Put a loss into the words that a person reads."""
        lines = [loss.question, *(f"- {fact}" for fact in loss.facts[:MOST_FACTS])]
        if more := len(loss.facts[MOST_FACTS:]):
            lines.append(f"- and {more} more like these.")
        return self.watch.redactor.text("\n".join(_short(clean_line(line)) for line in lines))

    # --- the audit trail ---------------------------------------------------------------------

    async def record(self, change: Sent) -> None:
        """Write a change down before it leaves.

        Raises:
            NotRecorded: It cannot be written, so the change must not be made.
        """
        request = {"method": change.method, "path": change.path, "params": dict(change.params)}
        if self._recorded:
            line = {"event": "request", "call": self.call, "request": request}
        else:
            line = self._beginning(change) | {"request": request}
        try:
            await self._append(line)
        except Exception as error:
            nothing = "nothing more" if self._recorded else "nothing"
            raise NotRecorded(
                f"The audit trail cannot be written, so {nothing} was changed: {error} An"
                " administrator of this server has to see to it (setting audit_file)."
            ) from error
        self._recorded += 1

    def _beginning(self, change: Sent) -> dict[str, Any]:
        watch, pve = self.watch, self.pve
        made = change.params.get("newid", change.params.get("vmid"))
        about = (pve.about if pve else None) or ({"vmid": int(made)} if made else None)
        line = {
            "event": "begin",
            "call": self.call,
            "client": self.client,
            "profile": watch.profile,
            "cluster": watch.cluster,
            "token_id": watch.token,  # what is called token is masked
            "tool": self.spec.name,
            "effect": self.spec.effect,
            "guest": about,
            "arguments": dict(self.arguments),
            "confirmed": pve.notes.get("confirmed") if pve else None,
        }
        return {name: value for name, value in line.items() if value is not None}

    async def ended(self, outcome: str, pve: Pve) -> str | None:
        """Write down how a recorded call ended; return what is to be said where that fails."""
        if not self._recorded:
            return None
        requests = [*pve.accepted, *([pve.unanswered] if pve.unanswered else [])]
        line = {
            "event": "end",
            "call": self.call,
            "tool": self.spec.name,
            "guest": pve.about or None,
            "outcome": outcome,
            "upid": pve.notes.get("upid"),
            "requests": requests,
            "ms": self.elapsed_ms,
        }
        try:
            # Also where the call was cancelled: what it had sent has been sent.
            with anyio.CancelScope(shield=True):
                await self._append({name: v for name, v in line.items() if v is not None})
        except Exception as error:  # noqa: BLE001 - the change is made, and must be told
            return f"The change was made, but its end is not in the audit trail: {error}"
        return None

    @property
    def elapsed_ms(self) -> float:
        """How long the call has taken so far."""
        return round((time.perf_counter() - self._began) * 1000, 1)

    async def _append(self, line: Mapping[str, Any]) -> None:
        trail = self.watch.trail
        if trail is None:
            return
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        masked = self._masked({"time": moment} | dict(line))
        await to_thread.run_sync(functools.partial(trail.append, masked))

    def _masked(self, line: Mapping[str, Any]) -> dict[str, Any]:
        redactor = self.watch.redactor
        plain = redactor.value(_without(line))
        clean: dict[str, Any] = redactor.answer(plain, redactor.written)
        return clean


def _short(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS else f"{line[: LINE_CHARACTERS - 1]}…"


def _without(value: Any) -> Any:
    """Leave out what may be anything, at any depth."""
    if isinstance(value, Mapping):
        return {
            name: f"<{len(str(each))} characters>" if name in UNSAID and each else _without(each)
            for name, each in value.items()
        }
    return value
