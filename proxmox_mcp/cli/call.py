"""One tool called from a shell, by way of the assembled server and a client of its own.

Nothing is spared: the guards, the limits, the masking, the confirmation of a loss and the audit
trail are those of an assistant's call, and the trail names ``proxmox-mcp call`` as the client.

Exit codes: 0 it worked, also where its task still runs when ``wait`` is over (stderr says so);
1 the tool failed, or was refused or not confirmed; 2 the words on the command line or the settings
are wrong, and nothing was sent; 130 it was interrupted.

Stdout gets the answer and nothing else. All that is said beside it goes to stderr.
"""

import io
import json
import logging
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn, TextIO

import anyio
from mcp.client import Client
from mcp.client.session import ClientRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import (
    CallToolResult,
    ElicitRequestParams,
    ElicitResult,
    Implementation,
    RequestParamsMeta,
)

from proxmox_mcp import __version__, logs, server
from proxmox_mcp.cli import arguments, rendering
from proxmox_mcp.cli.agreement import Asker
from proxmox_mcp.cli.progress import Progress
from proxmox_mcp.config import Settings
from proxmox_mcp.toolkit import bind
from proxmox_mcp.toolkit.text import clean

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

FAILED: Final = 1
BAD_WORDS: Final = 2
INTERRUPTED: Final = 130
LEAST_COLUMNS: Final = 20
USUAL_COLUMNS: Final = 80
CLIENT: Final = Implementation(name="proxmox-mcp call", version=__version__)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was typed after ``proxmox-mcp call``.

    Attributes:
        tool: The tool's name.
        words: Its arguments, each ``key=value``.
        as_json: Whether the answer is printed as JSON.
        yes: Whether a loss is agreed to without asking.
        quiet: Whether progress is left out.
    """

    tool: str
    words: tuple[str, ...] = ()
    as_json: bool = False
    yes: bool = False
    quiet: bool = False


class Footprint(logging.Filter):
    """The line that every call leaves in the log, kept: how it ended, and how far it had come."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: Mapping[str, Any] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the fields of a call's line, and let pass what the log would have."""
        if record.msg == "tool.finished":
            self.fields = vars(record)
        return record.levelno >= logging.getLogger().level


def run(
    settings: Settings, wish: Wish, out: TextIO, *, adapter: "BaseAdapter | None" = None
) -> int:
    """Call the tool, print its answer and return the exit code.

    Raises:
        ValueError: A word could not be read; nothing was sent.
    """
    given = arguments.pairs(wish.words, sys.stdin)
    progress = Progress(sys.stderr)
    footprint = Footprint()
    try:
        with _logged(settings, footprint), _terminated_as_interrupted():
            assembled = server.build(settings, adapter=adapter)
            result = anyio.run(_called, assembled, wish, given, progress)
    except KeyboardInterrupt:
        progress.clear()
        _say(_left_behind(footprint.fields))
        _gone(out)
    except MCPError as error:
        _say(clean(error))
        return FAILED
    finally:
        progress.clear()
    if not result.is_error:
        _print(_shown(result, wish, out), out)
        _note_what_goes_on(result.structured_content or {})
        return 0
    _say(_text(result))
    wrong_words = footprint.fields.get("outcome") == "refused"
    return BAD_WORDS if wrong_words and wish.tool not in assembled.withheld else FAILED


async def _called(
    assembled: server.ProxmoxServer, wish: Wish, given: arguments.Pairs, progress: Progress
) -> CallToolResult:
    offered = {tool.name: tool.input_schema for tool in await assembled.list_tools()}
    wanted = arguments.typed(given, offered.get(wish.tool, {}))
    asker = Asker(yes=wish.yes, before=progress.clear)

    async def elicited(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        del context  # the SDK names it
        if params.mode != "form" or not await asker.agreed(params.message):
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content={"confirm": True})

    # Without a callback the server would take it that a client's own prompt stands before a loss.
    async with Client(assembled, elicitation_callback=elicited, client_info=CLIENT) as client:
        if wish.quiet:
            return await client.call_tool(wish.tool, wanted)
        # The SDK's in-memory transport brings no progress token of its own; servers ask for one.
        token = RequestParamsMeta(progress_token=CLIENT.name)
        return await client.call_tool(wish.tool, wanted, progress_callback=progress, meta=token)


# --- what is printed -------------------------------------------------------------------------


def _shown(result: CallToolResult, wish: Wish, out: TextIO) -> str:
    data = result.structured_content
    if wish.as_json:
        return json.dumps({"text": _text(result)} if data is None else data, indent=2)
    if data is None:
        return _text(result)
    return "\n".join(rendering.lines(data, _columns(out)))


def _columns(out: TextIO) -> int | None:
    if not out.isatty():
        return None
    # A terminal that does not know its size says 0.
    return max(LEAST_COLUMNS, os.get_terminal_size(out.fileno()).columns or USUAL_COLUMNS)


def _text(result: CallToolResult) -> str:
    return clean("\n".join(getattr(block, "text", "") for block in result.content))


def _print(text: str, out: TextIO) -> None:
    encoding = out.encoding or "utf-8"
    try:
        out.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        out.flush()
    except BrokenPipeError:  # whoever reads on has seen enough, as head has
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def _note_what_goes_on(data: Mapping[str, Any]) -> None:
    if data.get("state") == "running" and "upid" in data:
        _say(f"Not finished yet. Wait for its end with: {following(data['upid'])}")


def following(upid: str) -> str:
    """Return the command that waits for the end of a task."""
    return f"proxmox-mcp call proxmox_task_status {shlex.quote(f'upid={upid}')} wait=300"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


# --- how it is run ---------------------------------------------------------------------------


@contextmanager
def _logged(settings: Settings, footprint: Footprint) -> Iterator[None]:
    """Log as a server does; what it would say on stderr of the call itself is said here better."""
    remarks = io.StringIO()
    secrets = settings.connection.secrets if settings.connection else ()
    logs.start(settings.log, secrets=secrets, stderr=remarks)
    calls = logging.getLogger(bind.__name__)
    calls.addFilter(footprint)
    calls.setLevel(logging.INFO)  # the line is needed here, whatever the settings want in a file
    for warning in settings.warnings:
        logging.getLogger(__name__).warning(warning)
    try:
        yield
    finally:
        calls.setLevel(logging.NOTSET)
        calls.removeFilter(footprint)
        logs.stop()
        for line in remarks.getvalue().splitlines():
            if "tool.finished" not in line:
                _say(line)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _left_behind(fields: Mapping[str, Any]) -> str:
    """Say what an interrupted call leaves behind on the cluster."""
    if upid := fields.get("upid"):
        return f"Interrupted. Its task goes on; wait for its end with: {following(upid)}"
    if lost := fields.get("unanswered"):
        return (
            f"Interrupted while {lost} was under way: it may have happened. Look before repeating"
            " it: proxmox-mcp call proxmox_task_list"
        )
    if accepted := fields.get("accepted"):
        return f"Interrupted after its change was accepted ({', '.join(accepted)})."
    return "Interrupted; nothing was changed."


def _gone(out: TextIO) -> NoReturn:
    # An ordinary end would wait for the thread whose request is still under way.
    for stream in (out, sys.stderr):
        stream.flush()
    os._exit(INTERRUPTED)
