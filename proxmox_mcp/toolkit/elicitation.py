"""A question to the person at the other end, in both eras of the protocol.

Since 2026-07-28 a call ends with its question and the client makes it again with the answer; the
SDK seals what it must bring back, so that an answer cannot be moved to another question. Before,
the server asks in the middle of the call. Either way the handler itself runs anew.
"""

import logging
from typing import Any

from mcp.server.elicitation import AcceptedElicitation
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from mcp.types.version import is_version_at_least
from pydantic import BaseModel, Field, ValidationError

log = logging.getLogger(__name__)

RETRIED_SINCE = "2026-07-28"
KEY = "confirm"


class Agreement(BaseModel):
    """What a person answers."""

    # Strict, as in the other era: a text or a number is no answer to a yes-or-no question.
    confirm: bool = Field(strict=True, description="Yes, do it")


def client_of(ctx: Context[Any]) -> str:
    """Return which client calls, and its version, as far as it says."""
    params = ctx.session.client_params
    return f"{params.client_info.name} {params.client_info.version}" if params else ""


def answers_to(ctx: Context[Any]) -> dict[str, bool] | None:
    """Return what was answered so far, by the question's mark; None where nobody can be asked."""
    declared = ctx.client_capabilities.elicitation if ctx.client_capabilities else None
    # An empty declaration, the only one before there were modes, means forms.
    if declared is None or (declared.form is None and declared.url is not None):
        return None
    given = (ctx.input_responses or {}).get(KEY)
    if not isinstance(given, ElicitResult) or ctx.request_state is None:
        return {}
    content = given.content or {}
    return {ctx.request_state: given.action == "accept" and content.get("confirm") is True}


async def ask(ctx: Context[Any], question: str, mark: str) -> bool | InputRequiredResult:
    """Ask a person; what comes back is the answer, or what ends the call until there is one.

    An answer that is none, whatever the reason, is a no.

    Args:
        ctx: The call.
        question: What is asked.
        mark: What stands for the question when the call is made again.
    """
    version = ctx.protocol_version
    if version is not None and is_version_at_least(version, RETRIED_SINCE):
        params = ElicitRequestFormParams(
            message=question, requested_schema=Agreement.model_json_schema()
        )
        return InputRequiredResult(
            input_requests={KEY: ElicitRequest(params=params)}, request_state=mark
        )
    try:
        answer = await ctx.elicit(question, Agreement)
    except (MCPError, ValueError, ValidationError) as error:
        log.info("confirmation.failed", extra={"error": type(error).__name__})
        return False
    return isinstance(answer, AcceptedElicitation) and answer.data.confirm
