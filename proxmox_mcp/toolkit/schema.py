"""Slim schemas going out, and argument errors coming back as sentences.

A schema is read by a model on every turn: pydantic's titles and its ``X | null`` unions say nothing
there. And what pydantic says about a bad argument is written for a programmer.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from proxmox_mcp.pve.fields import UNLISTED


def slim(node: Any, *, names: bool = False) -> Any:
    """Drop pydantic's titles, and turn ``X | None = None`` into an optional X.

    Args:
        node: A JSON schema or a part of one.
        names: Whether the keys are names of properties, which may be "title", and not keywords.
    """
    if isinstance(node, list):
        return [slim(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {
        key: slim(value, names=key in ("properties", "$defs") and not names)
        for key, value in node.items()
        if names or not (key == "title" and isinstance(value, str))
    }
    return out if names else _without_null(out)


UNSAID = ("pattern", "maxLength", "minLength", "minimum", "maximum", "minItems", "maxItems")
"""Checked here, and dull reading for a model: the description says it in words."""


def parameters(schema: dict[str, Any]) -> dict[str, Any]:
    """Make the schema of a tool's parameters: slim, without what only a checker reads.

    What is ``UNLISTED`` is left out: node and type of a guest are taken for whoever has them, and
    every guest is found without. So the schema does not say that there are no others; the server
    refuses those that it does not know, and says which it does.
    """
    slimmed: dict[str, Any] = slim(schema)
    for each in slimmed.get("properties", {}).values():
        for word in UNSAID:
            each.pop(word, None)
        if each.get("default") is False:  # what a flag is that nobody has set
            del each["default"]
    listed = slimmed.get("properties", {})
    slimmed["properties"] = {
        name: each for name, each in listed.items() if not each.pop(UNLISTED, False)
    }
    return slimmed


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    choices = schema.get("anyOf", [])
    rest = [choice for choice in choices if choice != {"type": "null"}]
    if len(rest) < len(choices):
        del schema["anyOf"]
        schema = {**rest[0], **schema} if len(rest) == 1 else {**schema, "anyOf": rest}
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    return schema


def snake(name: str) -> str:
    """Turn ``includeLogs`` into ``include_logs``; other names stay as they are."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name)


def renamed(arguments: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Accept the camelCase spelling of each known argument.

    Raises:
        ValueError: An unknown argument, or one given in both spellings; a sentence says which.
    """
    out: dict[str, Any] = {}
    for given, value in arguments.items():
        name = given if given in known else snake(given)
        if name not in known:
            takes = ", ".join(sorted(known)) or "no arguments"
            raise ValueError(f"has no argument {_quoted(given)}; it takes: {takes}")
        if name in out:
            raise ValueError(f"got {name} twice, in two spellings")
        out[name] = value
    return out


def _quoted(name: str) -> str:
    return f'"{re.sub(r"[^A-Za-z0-9_.-]", "?", name[:40])}"'


# What pydantic found, as words to stand after an argument's name. {} is filled from its context.
WORDS: dict[str, str] = {
    "missing": "is missing",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of: {expected}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "value_error": "{error}",
}


def sentence(error: ValidationError, properties: Mapping[str, Any]) -> str:
    """Say what is wrong with the arguments, each once, without repeating a value.

    Args:
        error: What pydantic found.
        properties: The tool's parameters as its schema describes them.
    """
    said: dict[str, str] = {}
    for line in error.errors(include_url=False, include_input=False):
        name = str(line["loc"][0]) if line["loc"] else "arguments"
        told = _told(line["type"], line.get("ctx", {}), properties.get(name, {}))
        # A union's branches each complain; "text or a list of text" is one sentence.
        said[name] = f"{said[name]} or {told}" if name in said and told not in said[name] else told
    return "; ".join(f"{name} {words}" for name, words in said.items())


def _told(kind: str, context: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    expected = str(schema.get("description", "")).rstrip(".")
    if kind == "string_pattern_mismatch":
        return f"is not of the right form; expected: {expected}"
    words = WORDS.get(kind, "has the wrong form").format(**context)
    return f"{words} ({expected})" if expected and kind != "value_error" else words
