"""The arguments an endpoint takes, and the words with which Proxmox refuses the wrong ones.

A small table stands beside each endpoint. Types, limits and names in it are held against the
official schema by a test, for every version.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from proxmox_mcp.simulator.wire import Refusal

Kind = Literal["string", "integer", "number", "boolean", "array"]
Raw = Mapping[str, str | list[str]]

MISSING = "property is missing and it is not optional"
UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
INTEGER = re.compile(r"[+-]?\d+\Z")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?\Z")
HIGHEST_PORT = 65_535
SERVICE = re.compile(r"[A-Za-z0-9-]+\Z")
INDEXED = re.compile(r"(.*?)(0|[1-9]\d{0,2})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument; *since* and *before* bound the versions whose schema has it like this.

    *inside* looks into a property string: given name and value, it says what is wrong in there.
    """

    kind: Kind = "string"
    required: bool = False
    enum: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None
    requires: str | None = None
    inside: Callable[[str, str], str | None] | None = None
    since: float = 7.0
    before: float = 99.0


Declared = Mapping[str, Parameter | Sequence[Parameter]]


def string(**limits: Any) -> Parameter:
    """A text."""
    return Parameter(**limits)


def integer(minimum: int | None = None, maximum: int | None = None, **limits: Any) -> Parameter:
    """A whole number."""
    return Parameter(kind="integer", minimum=minimum, maximum=maximum, **limits)


def number(minimum: int | None = None, maximum: int | None = None, **limits: Any) -> Parameter:
    """A number that may have a fraction."""
    return Parameter(kind="number", minimum=minimum, maximum=maximum, **limits)


def boolean(**limits: Any) -> Parameter:
    """A yes or no, which over HTTP is 1 or 0 and nothing else."""
    return Parameter(kind="boolean", **limits)


def choice(*values: str, **limits: Any) -> Parameter:
    """One of a few words."""
    return Parameter(enum=values, **limits)


def array(**limits: Any) -> Parameter:
    """A repeated key."""
    return Parameter(kind="array", **limits)


def required(parameter: Parameter) -> Parameter:
    """The same argument, but one must give it."""
    return replace(parameter, required=True)


def _check(pattern: str, complaint: str) -> Callable[[str], str | None]:
    matcher = re.compile(pattern, re.IGNORECASE)

    def check(value: str) -> str | None:
        return None if matcher.fullmatch(value) else complaint.format(value)

    return check


def _each(single: Callable[[str], str | None]) -> Callable[[str], str | None]:
    def check(value: str) -> str | None:
        complaints = (single(item) for item in re.split(r"[,;\s\0]+", value) if item)
        return next((text for text in complaints if text), None)

    return check


def _ports(value: str) -> str | None:
    for port in re.split(r"[,:]", value):
        known = int(port) <= HIGHEST_PORT if port.isdigit() else SERVICE.match(port)
        if not known:
            return f"invalid port '{port}'"
    return None


_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_CONTENT = _check(
    "images|rootdir|vztmpl|iso|backup|snippets|import|none", "invalid content type '{}'"
)
_TASK_STATE = _check("ok|error|warning|unknown", "unable to parse task status type '{}'")
_CONFIG_ID = _check(r"[a-z][a-z0-9_-]+", "invalid configuration ID '{}'")
_ADDRESS = _check(
    r"[+]?[\w./:-]+(,[\w./:-]+)*|[\d.]+-[\d.]+", "invalid address or address list: '{}'"
)

# What a format's check finds wrong, in the words of the server. A format not named here is not
# looked into, though the real server does.
FORMATS: dict[str, Callable[[str], str | None]] = {
    "pve-node": _check(_LABEL, "value does not look like a valid node name"),
    "pve-vmid": _check(r"[1-9][0-9]{2,8}", "value does not look like a valid VM ID"),
    "pve-vmid-list": _each(_check(r"[1-9][0-9]{2,8}", "value does not look like a valid VM ID")),
    "pve-storage-id": _check(
        r"[a-z][a-z0-9\-_.]*[a-z0-9]", "storage ID '{}' contains illegal characters"
    ),
    "pve-configid": _CONFIG_ID,
    "pve-configid-list": _each(_CONFIG_ID),
    "pve-poolid": _check(r"[a-z0-9.\-_/]+", "value does not look like a valid pool ID"),
    "dns-name": _check(rf"({_LABEL}\.)*{_LABEL}", "value does not look like a valid DNS name"),
    "pve-storage-content": _CONTENT,
    "pve-storage-content-list": _each(_CONTENT),
    "pve-task-status-type-list": _each(_TASK_STATE),
    "pve-fw-addr-spec": _ADDRESS,
    "pve-fw-dport-spec": _ports,
    "pve-fw-sport-spec": _ports,
    "storage-pair-list": _each(_check(r"[\w.-]+(:[\w.-]+)?", "invalid storage pair '{}'")),
}


def in_version(declared: Declared, version: float) -> dict[str, Parameter]:
    """The parameters that a server of that version knows."""
    known = {}
    for name, variants in declared.items():
        for variant in (variants,) if isinstance(variants, Parameter) else variants:
            if variant.since <= version < variant.before:
                known[name] = variant
    return known


def checked(known: Mapping[str, Parameter], given: Raw) -> dict[str, Any]:
    """The arguments with their proper types, or the 400 that names every wrong one."""
    errors: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name, raw in given.items():
        parameter = find(known, name)
        if parameter is None:
            errors[name] = UNKNOWN
            continue
        try:
            values[name] = value_of(parameter, name, raw)
        except ValueError as error:
            errors[name] = str(error)
            continue
        if parameter.requires and parameter.requires not in given:
            errors[parameter.requires] = f"missing property - '{name}' requires this property"
    for name, parameter in known.items():
        if parameter.required and name not in given:
            errors[name] = MISSING
    if errors:
        raise Refusal(400, "Parameter verification failed.", errors=errors)
    return values


def find(known: Mapping[str, Parameter], name: str) -> Parameter | None:
    """The declaration of a parameter; `net[n]` stands for net0, net1 and so on."""
    if name in known:
        return known[name]
    match = INDEXED.match(name)
    return known.get(f"{match[1]}[n]") if match else None


def value_of(parameter: Parameter, name: str, raw: str | list[str]) -> Any:
    """One argument as its type, or a ValueError in the words of the server."""
    if parameter.kind == "array":
        return raw if isinstance(raw, list) else [raw]
    if isinstance(raw, list):
        if parameter.format is None or not parameter.format.endswith("list"):
            raise ValueError(f"type check ('{parameter.kind}') failed - got ARRAY")
        raw = "\0".join(raw)  # how version 7 packs a repeated key into one string
    complaint = parameter.inside(name, raw) if parameter.inside else None
    if complaint:
        raise ValueError(f"invalid format - format error\n{complaint}\n")
    return CONVERT[parameter.kind](parameter, raw)


def _boolean(_parameter: Parameter, raw: str) -> int:
    if raw not in {"0", "1"}:
        raise ValueError(f"type check ('boolean') failed - got '{raw}'")
    return int(raw)


def _integer(parameter: Parameter, raw: str) -> int:
    if not INTEGER.match(raw):
        raise ValueError(f"type check ('integer') failed - got '{raw}'")
    _check_format(parameter, raw)
    return int(_within(parameter, float(int(raw))))


def _number(parameter: Parameter, raw: str) -> float:
    if not NUMBER.match(raw):
        raise ValueError(f"type check ('number') failed - got '{raw}'")
    value = _within(parameter, float(raw))
    return int(value) if value.is_integer() else value


def _within(parameter: Parameter, value: float) -> float:
    if parameter.minimum is not None and value < parameter.minimum:
        raise ValueError(f"value must have a minimum value of {parameter.minimum}")
    if parameter.maximum is not None and value > parameter.maximum:
        raise ValueError(f"value must have a maximum value of {parameter.maximum}")
    return value


def _string(parameter: Parameter, raw: str) -> str:
    if parameter.min_length is not None and len(raw) < parameter.min_length:
        raise ValueError(f"value must be at least {parameter.min_length} characters long")
    if parameter.max_length is not None and len(raw) > parameter.max_length:
        raise ValueError(f"value may only be {parameter.max_length} characters long")
    if parameter.enum and raw not in parameter.enum:
        known = ", ".join(parameter.enum)
        raise ValueError(f"value '{raw}' does not have a value in the enumeration '{known}'")
    # The schema prints some patterns as Perl does, with a group that Python does not know.
    if parameter.pattern and not re.fullmatch(parameter.pattern.replace("(?^:", "(?:"), raw):
        raise ValueError("value does not match the regex pattern")
    _check_format(parameter, raw)
    return raw


def _check_format(parameter: Parameter, raw: str) -> None:
    check = FORMATS.get(parameter.format or "")
    complaint = check(raw) if check else None
    if complaint:
        raise ValueError(f"invalid format - {complaint}\n")


CONVERT: dict[str, Callable[[Parameter, str], Any]] = {
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "string": _string,
}
