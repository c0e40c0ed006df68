"""A declared tool becomes one that the MCP SDK can call.

Between the SDK and the handler stand, in this order: the arguments' types, a line in the log, the
guard (retry, rate limit, translated errors), and the shape of the answer. A failure leaves as the
SDK's own tool error, because it shows the text of no other to the model.
"""

import functools
import inspect
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent
from pydantic import ValidationError

from proxmox_mcp.pve.errors import BadAnswer, ProxmoxError, TaskFailed
from proxmox_mcp.pve.guard import Cluster, Pve, Report, guarded
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.toolkit.results import Result
from proxmox_mcp.toolkit.schema import parameters, renamed, sentence, slim
from proxmox_mcp.toolkit.text import clean, clean_line

log = logging.getLogger(__name__)

ERROR_CHARACTERS = 8_000
"""Claude Code cuts an error's text near 11,000 characters; better that we choose what is lost."""


@dataclass(frozen=True)
class State:
    """What a running server holds, for every call.

    Attributes:
        cluster: The cluster all calls go to.
        notice: Words that every answer carries, e.g. that nothing in it is real.
    """

    cluster: Cluster
    notice: str | None = None


@functools.cache
def bind(spec: ToolSpec) -> Tool:
    """Make the SDK's tool out of a declared one; made once, it holds no state."""
    handler = guarded(spec.handler)
    signature = inspect.signature(spec.handler, eval_str=True)
    structured = _is_result(signature.return_annotation)

    @functools.wraps(spec.handler)
    async def call(ctx: Context[State], **arguments: Any) -> CallToolResult:
        state = ctx.request_context.lifespan_context
        pve = Pve(state.cluster, _reporter(ctx))
        async with _logged(spec, pve):
            try:
                answer = await handler(pve, **arguments)
            except ProxmoxError as error:
                raise ToolError(_noted(_error_text(error, pve), state.notice)) from error
            except ValidationError as error:
                said = _error_text(_odd(spec, error), pve)
                raise ToolError(_noted(said, state.notice)) from error
        return _shaped(answer, state.notice)

    _, *own = signature.parameters.values()
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=Context[State])
    returns: Any = CallToolResult
    if structured:
        returns = Annotated[CallToolResult, signature.return_annotation]
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # read by inspect
        [*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), context],
        return_annotation=returns,
    )
    tool = Tool.from_function(
        call,
        name=spec.name,
        title=spec.title,
        description=spec.description,
        context_kwarg="ctx",
        annotations=spec.annotations,
        structured_output=structured,
    )
    tool.parameters = parameters(tool.parameters)
    tool.fn_metadata.output_schema = slim(tool.fn_metadata.output_schema)
    return tool


def checked(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Accept arguments in either spelling, and refuse bad ones in one sentence.

    Raises:
        ToolError: Something is wrong with them; nothing was sent.
    """
    properties = tool.parameters.get("properties", {})
    try:
        named = renamed(arguments, properties)
        tool.fn_metadata.validate_arguments(named)
    except ValidationError as error:
        said = sentence(error, properties)
    except ValueError as error:
        said = str(error)
    else:
        return named
    raise ToolError(f"{tool.name}: {said}. Nothing was sent.")


def _is_result(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Result)


def _reporter(ctx: Context[State]) -> Report | None:
    # Reading a log for nobody would double the requests of every wait.
    meta = ctx.request_context.meta
    if not meta or meta.get("progress_token") is None:
        return None

    async def report(done: float, total: float | None, words: str) -> None:
        await ctx.report_progress(done, total, clean_line(words))

    return report


def _odd(spec: ToolSpec, error: ValidationError) -> BadAnswer:
    """Say which field of a result could not be filled from what the cluster answered.

    Fields are brought into form where answers are read, so what comes here is rare. It may be a
    mistake of ours as well, so the log has it as an event of its own, without the values.
    """
    faults = [
        f"{'.'.join(map(str, each['loc']))} ({each['type']})"
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    named = "; ".join(faults[:5])
    log.error("answer.odd", extra={"tool": spec.name, "result": error.title, "fields": named})
    return BadAnswer(
        f"The cluster answered with something that {spec.name} cannot show, in its {error.title}:"
        f" {named}. The rest of the answer is left out with it."
    )


def _shaped(answer: Result | str, notice: str | None) -> CallToolResult:
    if isinstance(answer, str):
        return CallToolResult(content=[TextContent(text=_noted(answer, notice))])
    if notice:
        words = f"{notice} {answer.notice}" if answer.notice else notice
        answer = answer.model_copy(update={"notice": words})
    data = answer.model_dump(mode="json", exclude_none=True)
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return CallToolResult(content=[TextContent(text=text)], structured_content=data)


def _noted(text: str, notice: str | None) -> str:
    return f"{text}\n{notice}" if notice else text


def _error_text(error: ProxmoxError, pve: Pve) -> str:
    text = clean(error)
    if pve.accepted and not isinstance(error, TaskFailed):
        text += (
            f"\nBefore this, the call had its change accepted ({', '.join(pve.accepted)}): look at"
            " what became of it, and do not repeat it unseen."
        )
    return text if len(text) <= ERROR_CHARACTERS else f"{text[:ERROR_CHARACTERS]} [cut]"


@asynccontextmanager
async def _logged(spec: ToolSpec, pve: Pve) -> AsyncIterator[None]:
    """Write one line for a call, however it ends."""
    began = time.perf_counter()
    outcome, level = "ok", logging.INFO
    try:
        yield
    except ToolError as error:
        outcome = type(error.__cause__).__name__
        level = logging.WARNING if spec.effect != "reads" else logging.INFO
        raise
    except anyio.get_cancelled_exc_class():
        # What a task has begun goes on without us; its id is in the same line.
        outcome = "cancelled"
        raise
    except BaseException:
        outcome, level = "crashed", logging.ERROR
        raise
    finally:
        ms = round((time.perf_counter() - began) * 1000, 1)
        fields: dict[str, Any] = {"effect": spec.effect, "ms": ms, "requests": pve.requests}
        # Where a call ends halfway, this is what tells how far it came.
        fields |= {"accepted": pve.accepted} if pve.accepted else {}
        fields |= {"unanswered": pve.unanswered} if pve.unanswered else {}
        log_call(spec.name, level, outcome=outcome, **fields, **pve.notes)


def log_call(tool: str, level: int = logging.INFO, /, *, outcome: str, **fields: Any) -> None:
    """Write the one line that every call leaves, also one that was refused at the door."""
    line = {"call": uuid.uuid4().hex[:12], "tool": tool, "outcome": outcome}
    log.log(level, "tool.finished", extra=line | fields)
