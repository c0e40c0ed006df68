"""From places to one value: choose the files, lay the layers, check them, say what is wrong."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from platformdirs import user_config_dir
from pydantic import BaseModel, ValidationError

from proxmox_mcp.config import environment, files
from proxmox_mcp.config.layers import Given, Layer, lay, spread_layer, strays
from proxmox_mcp.config.names import CHOOSERS, CONNECTION, LOG_PREFIX, LOGIN, OWN, SETTINGS, hint
from proxmox_mcp.config.settings import ConfigError, NoCredentials, Problem, Settings, problems_of
from proxmox_mcp.logs import LogSettings
from proxmox_mcp.pve.connection import Connection, Limits

_NOTHING: Mapping[str, str] = MappingProxyType({})
_Model = TypeVar("_Model", bound=BaseModel)


def load(
    *,
    flags: Mapping[str, str] = _NOTHING,
    environ: Mapping[str, str] | None = None,
    config_folder: Path | None = None,
) -> Settings:
    """Read every place and return the settings.

    Args:
        flags: what the command line gave, by setting name, as text.
        environ: the environment; the process's own when left out.
        config_folder: the user's configuration folder; the system's usual one when left out.

    Raises:
        ConfigError: something is wrong; every problem is named at once.
        NoCredentials: nothing is wrong, but nobody has said which Proxmox to talk to.
    """
    folder = config_folder or Path(user_config_dir("proxmox-mcp", appauthor=False))
    draft = _gather(environment.read(os.environ if environ is None else environ, flags), folder)
    connection = None if _is_demo(draft) else _connection(draft, folder)
    limits = _build(Limits, draft) or Limits()
    log = _build(LogSettings, draft, prefix=LOG_PREFIX) or LogSettings()
    top = {name: draft.held[name].value for name in OWN if name in draft.held}
    try:
        settings = Settings(
            profile=draft.profile,
            connection=connection,
            limits=limits,
            log=log,
            sources={name: draft.places.get(name, "default") for name in (*SETTINGS, "profile")},
            warnings=(*draft.warnings, *_tls_warnings(connection, draft.places)),
            **top,
        )
    except ValidationError as error:
        draft.problems += problems_of(error, draft.places)
    if draft.problems:
        raise ConfigError(dict.fromkeys(map(str, draft.problems)))
    return settings


@dataclass(slots=True, kw_only=True)
class _Draft:
    """Everything that was read, laid over one another and not yet checked."""

    profile: str
    layers: list[Layer]
    held: Mapping[str, Given]
    places: dict[str, str]
    problems: list[Problem]
    unset: Mapping[str, str]
    warnings: tuple[str, ...]


def _gather(texts: environment.Texts, folder: Path) -> _Draft:
    named, problems = _named_file(texts.choices.get("config"))
    choice = texts.choices.get("profile")
    profile = choice.value.lower() if choice else files.DEFAULT_PROFILE
    own = [folder / "settings.toml", folder / ".secrets.toml"]
    tables = files.read([*own, *named], profile, files.packaged())
    problems = [*texts.problems, *problems, *tables.problems]
    if choice and profile not in tables.profiles and not _is_blind(problems):
        there = ", ".join(tables.profiles)
        text = f"is in no settings file; there are: {there}{hint(profile, tables.profiles)}"
        problems.append(Problem("profile", choice.place, text))
    layers = list[Layer]()
    for layer in (*tables.layers, *texts.layers):
        spread, found = spread_layer(layer)
        layers.append(spread)
        problems += found
    held = lay(layers)
    return _Draft(
        profile=profile,
        layers=layers,
        held=held,
        places={setting: given.place for setting, given in held.items()}
        | ({"profile": choice.place} if choice else {}),
        problems=problems,
        unset={**tables.unset, **texts.unset},
        warnings=(*texts.warnings, *tables.warnings),
    )


def _is_blind(problems: Iterable[Problem]) -> bool:
    """Whether a file or profile could not be read, so that what seems missing may stand there."""
    return any(problem.setting in CHOOSERS for problem in problems)


def _named_file(choice: Given | None) -> tuple[list[Path], list[Problem]]:
    if choice is None:
        return [], []
    path = Path(choice.value).expanduser()
    if not path.is_absolute():
        text = "must be an absolute path; ~ stands for your home folder"
    elif path.suffix != ".toml":
        text = "must name a .toml file"
    else:
        try:
            path.open("rb").close()
        except FileNotFoundError:
            text = "names a file that does not exist"
        except OSError as error:
            text = f"cannot be read: {error.strerror}"
        else:
            return [path], []
    return [], [Problem("config", choice.place, text)]


def _is_demo(draft: _Draft) -> bool:
    """Whether no real cluster is asked for; then nothing about one can be wrong."""
    if "demo" not in draft.held or draft.held["demo"].value is not True:
        return False
    draft.problems = [found for found in draft.problems if found.setting not in CONNECTION]
    return True


def _connection(draft: _Draft, folder: Path) -> Connection | None:
    if not draft.problems and not any(setting in draft.held for setting in LOGIN):
        raise NoCredentials(_how_to_log_in(folder, draft.unset))
    blind = _is_blind(draft.problems)
    draft.problems += strays(draft.layers, draft.held)
    connection = _build(Connection, draft)
    missing = [found for found in draft.problems if found.text.startswith("is missing")]
    if blind:
        draft.problems = [found for found in draft.problems if found not in missing]
    elif missing:
        draft.problems += [
            Problem(name, "", draft.unset[name])
            for name in LOGIN
            if name in draft.unset and name not in draft.held
        ]
    return connection


def _build(model: type[_Model], draft: _Draft, *, prefix: str = "") -> _Model | None:
    """Check one model's values; a setting that already has a problem gets no second one."""
    values: dict[str, Any] = {
        name: draft.held[prefix + name].value
        for name in model.model_fields
        if prefix + name in draft.held
    }
    try:
        return model(**values)
    except ValidationError as error:
        known = {problem.setting for problem in draft.problems}
        found = problems_of(error, draft.places, prefix=prefix)
        draft.problems += [problem for problem in found if problem.setting not in known]
        return None


def _how_to_log_in(folder: Path, unset: Mapping[str, str]) -> list[str]:
    return [
        *(f"note: {unset[name]}" for name in LOGIN if name in unset),
        "in the environment: PROXMOX_HOST, PROXMOX_USER, PROXMOX_TOKEN_NAME, PROXMOX_TOKEN_VALUE",
        f"or in {folder / '.secrets.toml'}, under [default]: host, user, token_name, token_value",
        "or in a file of your own: proxmox-mcp --config /path/to/settings.toml",
        "or without a Proxmox at all, on a simulated cluster: proxmox-mcp --demo",
    ]


def _tls_warnings(connection: Connection | None, places: Mapping[str, str]) -> list[str]:
    if connection is None or connection.verify_ssl or connection.fingerprint:
        return []
    text = (
        f"TLS verification is OFF (verify_ssl, {places['verify_ssl']}): whoever sits between can "
        "read the login; set fingerprint, or verify_ssl to the path of the cluster's CA"
    )
    return [text]
