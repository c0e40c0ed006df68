"""Environment variables and command-line flags: plain texts, turned into layers.

Dynaconf's own reading of the environment is not used: it would parse a token that looks like a
number, and run texts that begin with @.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxmox_mcp.config.layers import Given, Layer
from proxmox_mcp.config.names import (
    CHOOSERS,
    MILLISECONDS,
    OWN_PREFIX,
    REFERENCE,
    SETTINGS,
    ZERO_IS_MEANT,
    hint,
    is_unset,
    number,
    typed,
)
from proxmox_mcp.config.settings import Problem

_LEVEL_WORDS = ("DEBUG", "INFO", "WARN", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What the process was told: layers from low to high, choices, and what was odd."""

    layers: tuple[Layer, ...]
    choices: Mapping[str, Given]  # profile and config, which decide what is read
    problems: tuple[Problem, ...]
    unset: Mapping[str, str]  # setting -> a sentence on the variable that did not count
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Notes:
    problems: list[Problem] = field(default_factory=list)
    unset: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read(environ: Mapping[str, str], flags: Mapping[str, str]) -> Texts:
    """Read both; a flag lies over a variable, PROXMOX_MCP_X over PROXMOX_X."""
    notes = _Notes()
    reference = {
        name: (setting, environ[name]) for name, setting in REFERENCE.items() if name in environ
    }
    own = {
        name: (setting_of(name), text)
        for name, text in environ.items()
        if name.startswith(OWN_PREFIX)
    }
    given = {f"--{name.replace('_', '-')}": (name, text) for name, text in flags.items()}
    spelled = (
        (reference, "environment variable {}", str),
        (own, "environment variable {}", _variable),
        (given, "command line {}", _flag),
    )
    layers = [_layer(texts, place, spell, notes) for texts, place, spell in spelled]
    return Texts(
        layers=tuple(
            {setting: value for setting, value in layer.items() if setting not in CHOOSERS}
            for layer in layers
        ),
        choices={name: layer[name] for layer in layers for name in CHOOSERS if name in layer},
        problems=tuple(notes.problems),
        unset=notes.unset,
        warnings=tuple(notes.warnings),
    )


def setting_of(variable: str) -> str:
    """Name the setting that a variable would give, or nothing when it is none of our business."""
    if variable.startswith(OWN_PREFIX):
        return variable.removeprefix(OWN_PREFIX).lower()
    return REFERENCE.get(variable, "")


def _variable(setting: str) -> str:
    return OWN_PREFIX + setting.upper()


def _flag(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _layer(
    texts: Mapping[str, tuple[str, str]],
    place: str,
    spell: Callable[[str], str],
    notes: _Notes,
) -> dict[str, Given]:
    layer = dict[str, Given]()
    for name, (setting, text) in texts.items():
        where = place.format(name)
        if setting not in SETTINGS and setting not in CHOOSERS:
            advice = hint(setting, (*SETTINGS, *CHOOSERS), spell)
            kind = where.removesuffix(f" {name}")
            notes.problems.append(Problem(name, kind, f"is not a setting{advice}"))
        elif reason := is_unset(text):
            notes.unset[setting] = f"{name} {reason}"
        elif name == "LOG_LEVEL" and text.strip().upper() not in _LEVEL_WORDS:
            notes.warnings.append(
                "LOG_LEVEL holds no level of ours and was ignored, since another program may own "
                "it; PROXMOX_MCP_LOG_LEVEL takes DEBUG, INFO, WARNING or ERROR"
            )
        else:
            try:
                layer[setting] = Given(_value(name, setting, text), where, "process")
            except ValueError as error:
                notes.problems.append(Problem(setting, where, str(error)))
    return layer


def _value(name: str, setting: str, text: str) -> object:
    if setting in CHOOSERS:
        return text.strip()
    if name not in MILLISECONDS:
        return typed(setting, text)
    milliseconds = number(text)
    is_zero = milliseconds == 0 and name in ZERO_IS_MEANT
    if milliseconds < MILLISECONDS[name] and not is_zero:
        raise ValueError(
            f"is in milliseconds and must be {MILLISECONDS[name]} or more; "
            f"{_variable(setting)} takes seconds"
        )
    return milliseconds / 1000
