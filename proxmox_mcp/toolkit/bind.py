"""A declared tool becomes one that the MCP SDK can call.

Between the SDK and the handler stand, in this order: the arguments' types, a line in the log, the
overseer (what is lost is confirmed, what is changed is written down), the guard (retry, rate limit,
translated errors), and the shape of the answer, secrets masked. A failure leaves as the SDK's own
tool error, because it shows the text of no other to the model.
"""

import functools
import inspect
import json
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, InputRequiredResult, TextContent
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from proxmox_mcp.pve.errors import BadAnswer, ProxmoxError, TaskFailed
from proxmox_mcp.pve.guard import Cluster, Pve, Report, guarded
from proxmox_mcp.pve.oversight import OnlyPlanned
from proxmox_mcp.toolkit import elicitation
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.toolkit.overseer import AskFirst, Overseer, Watch
from proxmox_mcp.toolkit.policy import Policy
from proxmox_mcp.toolkit.results import Result
from proxmox_mcp.toolkit.schema import parameters, renamed, sentence, slim
from proxmox_mcp.toolkit.text import clean, clean_line

log = logging.getLogger(__name__)

ERROR_CHARACTERS = 8_000
"""Claude Code cuts an error's text near 11,000 characters; better that we choose what is lost."""

LARGE_CHARACTERS = 200_000
"""A page stays in the conversation as large as it was asked for; the usual end is 50,000."""

LONG_ROWS = 100
"""To put more into words, and to mask what they say, would be felt on the event loop."""

QUESTIONS = 3
"""So often a call is made again with an answer: the question may change while somebody thinks."""

DRY_RUN = inspect.Parameter(
    "dry_run",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, Field(description="Only tell what it would do.")],
)
CONFIRM = inspect.Parameter(
    "confirm",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        str | None, Field(max_length=300, description="To agree to a loss: the name it is about.")
    ],
)


@dataclass(frozen=True)
class State:
    """What a running server holds, for every call.

    Attributes:
        cluster: The cluster all calls go to.
        notice: Words that every answer carries, e.g. that nothing in it is real.
        watch: What calls are overseen with.
    """

    cluster: Cluster
    notice: str | None = None
    watch: Watch = field(default_factory=lambda: Watch(Policy()))


@functools.cache
def bind(spec: ToolSpec, *, strict: bool = False) -> Tool:
    """Make the SDK's tool out of a declared one; made once, it holds no state.

    Args:
        spec: What was declared.
        strict: Whether a loss is agreed to by an argument, so that there must be one.
    """
    signature = inspect.signature(spec.handler, eval_str=True)
    structured = _is_result(signature.return_annotation)
    call = _caller(spec, signature.return_annotation)
    _, *own = signature.parameters.values()
    own += [DRY_RUN] if spec.effect != "reads" else []
    own += [CONFIRM] if spec.loses and strict else []
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=Context[State])
    returns: Any = CallToolResult
    if structured:
        returns = Annotated[CallToolResult, signature.return_annotation]
    call.__signature__ = inspect.Signature(
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
        meta=_hints(spec, own),
    )
    tool.parameters = parameters(tool.parameters)
    tool.fn_metadata.output_schema = slim(tool.fn_metadata.output_schema)
    return tool


def _hints(spec: ToolSpec, parameters: Sequence[inspect.Parameter]) -> dict[str, Any]:
    """Say to Claude Code what it asks of no other field; other clients pass it by.

    Found in its bundle, 2.1.330: words to find a tool by where tools are loaded on demand, and how
    large a result may be before it goes to a file.
    """
    hints: dict[str, Any] = {"anthropic/searchHint": spec.search} if spec.search else {}
    if any(parameter.name == "limit" for parameter in parameters):
        hints["anthropic/maxResultSizeChars"] = LARGE_CHARACTERS
    return hints


def _caller(spec: ToolSpec, returns: Any) -> Any:
    """Return what the SDK calls: one call of the tool, asked about where something is lost."""
    handler = guarded(spec.handler)

    @functools.wraps(spec.handler)
    async def call(
        ctx: Context[State], *, dry_run: bool = False, confirm: str | None = None, **arguments: Any
    ) -> CallToolResult | InputRequiredResult:
        state = ctx.request_context.lifespan_context
        policy = state.watch.policy
        overseer = Overseer(
            state.watch,
            spec,
            arguments,
            client=elicitation.client_of(ctx),
            agreed=confirm,
            answers=elicitation.answers_to(ctx),
        )
        dry = spec.effect != "reads" and (dry_run or policy.dry_run)

        async def once() -> CallToolResult | AskFirst:
            pve = Pve(
                state.cluster,
                _reporter(ctx, state),
                overseer,
                changing=spec.effect != "reads",
                dry_run=dry,
            )
            overseer.pve = pve
            try:
                async with _told(spec, overseer, pve, state):
                    answer = await handler(pve, **arguments)
            except AskFirst as question:
                return question
            except OnlyPlanned as plan:
                answer = returns.planned(pve.purpose, plan.calls, pve.lost)
            return await _shaped(answer, state, pve)

        for _ in range(QUESTIONS):
            result = await once()
            if not isinstance(result, AskFirst):
                return result
            answer = await elicitation.ask(ctx, result.question, result.mark)
            if isinstance(answer, InputRequiredResult):
                return answer
            overseer.answers = {**(overseer.answers or {}), result.mark: answer}
        raise ToolError("Not confirmed: what would be lost changed each time somebody was asked.")

    return call


@functools.cache
def taken(arguments: type[BaseModel]) -> dict[str, Any]:
    """Return all parameters that a tool takes, those included that its schema does not list."""
    schema: dict[str, Any] = slim(arguments.model_json_schema(by_alias=True))
    properties: dict[str, Any] = schema.get("properties", {})
    return properties


def checked(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments, given in either spelling, as the tool takes them, or say what is wrong.

    Raises:
        ToolError: Something is wrong with them; nothing was sent.
    """
    properties = taken(tool.fn_metadata.arg_model)
    try:
        return tool.fn_metadata.validate_arguments(renamed(arguments, properties))
    except ValidationError as error:
        said = sentence(error, properties)
    except ValueError as error:
        said = str(error)
    raise ToolError(f"{tool.name}: {said}. Nothing was sent.")


async def read(
    spec: ToolSpec,
    state: State,
    arguments: Mapping[str, Any],
    *,
    handler: Callable[..., Awaitable[Result | str]] | None = None,
    **about: str,
) -> CallToolResult:
    """Answer as a tool that reads would, for something that is no call of it.

    Guard, rules, masking, notice and the line in the log are those of a call.

    Args:
        spec: The tool.
        state: What the running server holds.
        arguments: What the handler takes, in its types.
        handler: What is run in place of the tool's own handler.
        **about: What asks, for the log: ``resource`` or ``prompt``.

    Raises:
        ToolError: What went wrong, in words for a model; its cause says what it was.
    """
    overseer = Overseer(state.watch, spec, arguments)
    pve = overseer.pve = Pve(state.cluster, None, overseer)
    async with _told(spec, overseer, pve, state):
        pve.notes |= about
        answer = await guarded(handler or spec.handler)(pve, **arguments)
        return await _shaped(answer, state, pve)


@functools.cache
def taking(handler: Callable[..., Any]) -> type[BaseModel]:
    """Return what a handler takes besides the way to the cluster, as a model of it."""
    _, *own = inspect.signature(handler, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        each.name: (each.annotation, ... if each.default is each.empty else each.default)
        for each in own
    }
    closed = ConfigDict(extra="forbid")
    model: type[BaseModel] = create_model(handler.__name__, __config__=closed, **fields)
    return model


def typed(handler: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Bring what came as texts into the types of a handler's parameters.

    Raises:
        ValueError: Something is wrong with them; a sentence says what, without repeating a value.
    """
    model = taking(handler)
    try:
        return dict(model.model_validate(dict(given)))
    except ValidationError as error:
        said = sentence(error, model.model_json_schema().get("properties", {}))
        raise ValueError(said) from None


def _is_result(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Result)


def _reporter(ctx: Context[State], state: State) -> Report | None:
    # Reading a log for nobody would double the requests of every wait.
    meta = ctx.request_context.meta
    if not meta or meta.get("progress_token") is None:
        return None

    async def report(done: float, total: float | None, words: str) -> None:
        await ctx.report_progress(done, total, state.watch.shown(clean_line(words)))

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


async def _shaped(answer: Result | str, state: State, pve: Pve) -> CallToolResult:
    work = functools.partial(_as_result, answer, state)
    fields = vars(answer).values() if isinstance(answer, Result) else ()
    long = any(isinstance(each, list) and len(each) > LONG_ROWS for each in fields)
    return await pve.aside(work) if long else work()


def _as_result(answer: Result | str, state: State) -> CallToolResult:
    if isinstance(answer, str):
        said = _noted(state.watch.shown(answer), state.notice)
        return CallToolResult(content=[TextContent(text=said)])
    if state.notice:
        words = f"{state.notice} {answer.notice}" if answer.notice else state.notice
        answer = answer.model_copy(update={"notice": words})
    data = state.watch.shown(answer.model_dump(mode="json", exclude_none=True))
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return CallToolResult(content=[TextContent(text=text)], structured_content=data)


def _noted(text: str, notice: str | None) -> str:
    return f"{text}\n{notice}" if notice else text


def _error_text(error: ProxmoxError, pve: Pve, state: State) -> str:
    text = clean(error)
    if pve.accepted and not isinstance(error, TaskFailed):
        text += (
            f"\nBefore this, the call had its change accepted ({', '.join(pve.accepted)}): look at"
            " what became of it, and do not repeat it unseen."
        )
    text = text if len(text) <= ERROR_CHARACTERS else f"{text[:ERROR_CHARACTERS]} [cut]"
    return _noted(state.watch.shown(text), state.notice)


@asynccontextmanager
async def _told(spec: ToolSpec, overseer: Overseer, pve: Pve, state: State) -> AsyncIterator[None]:
    """Tell how a call ended, however it ended: the assistant, the log and the audit trail."""
    outcome, level = "ok", logging.INFO
    try:
        yield
    except (ProxmoxError, ValidationError) as error:
        cause = error if isinstance(error, ProxmoxError) else _odd(spec, error)
        outcome = type(cause).__name__
        level = logging.WARNING if spec.effect != "reads" else logging.INFO
        raise ToolError(_error_text(cause, pve, state)) from cause
    except (AskFirst, OnlyPlanned) as ended:
        outcome = "asks" if isinstance(ended, AskFirst) else "planned"
        raise
    except anyio.get_cancelled_exc_class():
        # What a task has begun goes on without us; its id is in the same line.
        outcome = "cancelled"
        raise
    except BaseException:
        outcome, level = "crashed", logging.ERROR
        raise
    finally:
        fields: dict[str, Any] = {"effect": spec.effect, "ms": overseer.elapsed_ms}
        fields |= {"requests": pve.requests}
        # Where a call ends halfway, this is what tells how far it came.
        fields |= {"accepted": pve.accepted} if pve.accepted else {}
        fields |= {"unanswered": pve.unanswered} if pve.unanswered else {}
        log_call(spec.name, level, call=overseer.call, outcome=outcome, **fields, **pve.notes)
        if failed := await overseer.ended(outcome, pve):
            log.error("audit.incomplete", extra={"call": overseer.call, "why": failed})


def log_call(
    tool: str, level: int = logging.INFO, /, *, outcome: str, call: str = "", **fields: Any
) -> None:
    """Write the one line that every call leaves, also one that was refused at the door."""
    line = {"call": call or uuid.uuid4().hex[:12], "tool": tool, "outcome": outcome}
    log.log(level, "tool.finished", extra=line | fields)
