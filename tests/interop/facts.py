"""What a client has to see, whoever made it.

Every client carries out plan.json and reports what it saw; here that becomes a cell for each column
of the table. A client reports nothing of what it has no way to do.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tests.process.server_process import OFFERED

Facts = Mapping[str, Any]

OK = "ok"
CANNOT = "-"
SPOKEN = {"legacy": "2025-11-25", "modern": "2026-07-28"}
"""The version of the protocol that each era has to come out at."""

WEB_01 = 100
TAKEN = "interop"
"""The snapshot that is taken, kept by a no, and deleted by a yes."""


class Wrong(Exception):
    """What a client saw is not what there is to see."""


def cells(facts: Facts, era: str) -> dict[str, str]:
    """Judge a client: a cell for each column."""
    spoken = facts.get("protocol", SPOKEN[era])
    if spoken != SPOKEN[era]:
        return dict.fromkeys(COLUMNS, f"spoke {spoken}")
    return {column: _cell(column, facts) for column in COLUMNS}


def _cell(column: str, facts: Facts) -> str:
    check, *needs = COLUMNS[column]
    seen = [facts[need] for need in needs if need in facts]
    if not seen:
        return CANNOT
    if len(seen) < len(needs):
        return f"nothing reported of {', '.join(need for need in needs if need not in facts)}"
    for each in seen:
        if isinstance(each, Mapping) and isinstance(each.get("error"), str):
            return str(each["error"])
    try:
        check(*seen)
    except Wrong as error:
        return str(error)
    except (KeyError, TypeError, AttributeError) as error:
        return f"not of the expected shape: {error!r}"
    return OK


def _must(true: object, words: str) -> None:
    if not true:
        raise Wrong(words)


def _tools(tools: list[str], refused: Mapping[str, Any]) -> None:
    _must(tools == OFFERED, f"lists {tools}")
    _must(refused["error"] and "999" in refused["text"], f"a refused call reads {refused}")


def _structured(guest: Mapping[str, Any]) -> None:
    _must((guest["vmid"], guest["name"]) == (WEB_01, "web-01"), f"sees {guest}")


def _progress(seen: Mapping[str, Any]) -> None:
    waited, steps = seen["waited"], seen["steps"]
    reached = [progress for progress, _, _ in steps]
    _must((waited["upid"], waited["state"]) == (seen["asked"], "running"), f"waited for {waited}")
    _must(len(steps) > 1, f"heard {len(steps)} steps")
    _must(reached == sorted(set(reached)), f"heard steps that do not grow: {reached}")
    _must(all("vzdump" in message for _, _, message in steps), f"heard {steps}")


def _elicitation(
    made: Mapping[str, Any], declined: Mapping[str, Any], accepted: Mapping[str, Any]
) -> None:
    _must(not made["error"], f"no snapshot to lose: {made}")
    for answered in (declined, accepted):
        _must(f"Delete snapshot {TAKEN}" in (answered["asked"] or ""), f"asked {answered}")
    _must(declined["error"] and TAKEN in declined["left"], f"a no led to {declined}")
    _must(not accepted["error"] and TAKEN not in accepted["left"], f"a yes led to {accepted}")


def _resources(listed: list[str], templates: list[str], read: str) -> None:
    _must("proxmox://cluster" in listed, f"lists {listed}")
    _must("proxmox://guests/{vmid}" in templates, f"lists templates {templates}")
    _must("web-01" in read, f"reads {read}")


def _prompts(listed: list[str], got: str) -> None:
    _must({"health_check", "diagnose_guest"} <= set(listed), f"lists {listed}")
    _must(str(WEB_01) in got, f"gets {got}")


def _completion(values: list[str]) -> None:
    _must(values, "completes nothing")
    _must(all("web" in value for value in values), f"completes to {values}")


COLUMNS: dict[str, tuple[Callable[..., None], *tuple[str, ...]]] = {
    "tools": (_tools, "tools", "refused"),
    "structured results": (_structured, "structured"),
    "progress": (_progress, "progress"),
    "elicitation": (_elicitation, "made", "declined", "accepted"),
    "resources": (_resources, "resources", "templates", "resource"),
    "prompts": (_prompts, "prompts", "prompt"),
    "completion": (_completion, "completion"),
}
"""Each column: the check, and the facts that it is made on."""

EVERY_FACT = [need for _, *needs in COLUMNS.values() for need in needs]
