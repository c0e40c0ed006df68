"""From places to one value: choose the files, lay the layers, check them, say what is wrong."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from platformdirs import user_config_dir
from pydantic import BaseModel, ValidationError

from proxmox_mcp.config import environment, families, files, keychain, privacy
from proxmox_mcp.config.layers import STAND_IN, Given, Layer, lay, spread_layer, strays
from proxmox_mcp.config.names import (
    CHOOSERS,
    CONNECTION,
    EXTRA,
    KEYRING,
    LOG_PREFIX,
    LOGIN,
    OWN,
    SECRET_FILES,
    SETTINGS,
    hint,
)
from proxmox_mcp.config.secret_files import SecretFiles
from proxmox_mcp.config.settings import ConfigError, NoCredentials, Problem, Settings, problems_of
from proxmox_mcp.logs import LogSettings
from proxmox_mcp.pve.connection import Connection, Limits
from proxmox_mcp.toolkit.policy import Policy

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
    environ = os.environ if environ is None else environ
    draft = _gather(environment.read(environ, flags), folder, privacy.mounts(environ))
    _take_family(draft, environ)
    connection = None if _is_demo(draft) else _connection(draft, folder)
    limits = _build(Limits, draft) or Limits()
    log = _build(LogSettings, draft, prefix=LOG_PREFIX) or LogSettings()
    policy = _build(Policy, draft) or Policy()
    top = {name: draft.held[name].value for name in OWN if name in draft.held}
    try:
        settings = Settings(
            profile=draft.profile,
            connection=connection,
            limits=limits,
            log=log,
            policy=policy,
            sources=_sources(draft.places),
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
    held: dict[str, Given]
    places: dict[str, str]
    problems: list[Problem]
    unset: Mapping[str, str]
    warnings: tuple[str, ...]
    notes: tuple[Problem, ...] = ()  # on logins that were found and must not be used


def _sources(places: Mapping[str, str]) -> dict[str, str]:
    """Say where each value came from; a secret's own place names the file it was read from."""
    shown = [name for name in (*SETTINGS, "profile") if name not in SECRET_FILES]
    return {name: places.get(name, "default") for name in shown}


def _gather(texts: environment.Texts, folder: Path, mounts: tuple[Path, ...]) -> _Draft:
    named, problems = _named_file(texts.choices.get("config"))
    choice = texts.choices.get("profile")
    profile = choice.value.lower() if choice else files.DEFAULT_PROFILE
    own = [folder / "settings.toml", folder / ".secrets.toml"]
    tables = files.read([*own, *named], profile, files.packaged(), mounts)
    problems = [*texts.problems, *problems, *tables.problems]
    if choice and profile not in tables.profiles and not _is_blind(problems):
        there = ", ".join(tables.profiles)
        text = f"is in no settings file; there are: {there}{hint(profile, tables.profiles)}"
        problems.append(Problem("profile", choice.place, text))
    layers, secret_files = list[Layer](), SecretFiles(mounts=mounts)
    for layer in (*tables.layers, *texts.layers):
        spread, found = spread_layer(secret_files.followed(layer))
        layers.append(spread)
        problems += found
    problems += secret_files.problems
    held = lay(layers)
    return _Draft(
        profile=profile,
        layers=layers,
        held=held,
        places={setting: given.place for setting, given in held.items()}
        | ({"profile": choice.place} if choice else {}),
        problems=problems,
        unset={**tables.unset, **texts.unset},
        warnings=(*texts.warnings, *tables.warnings, *secret_files.warnings),
    )


def _take_family(draft: _Draft, environ: Mapping[str, str]) -> None:
    """Take another program's variables, where nobody has given a host or a login otherwise."""
    if _is_blind(draft.problems):
        return
    draft.layers = families.without_shared(draft.layers, environ)
    draft.held = lay(draft.layers)
    choice = families.choose(environ, draft.held)
    draft.notes = choice.notes
    if choice.found is not None:
        parts, problems = spread_layer(choice.found.layer)
        draft.problems += [*choice.found.problems, *problems]
        draft.layers = families.laid(draft.layers, parts)
        draft.held = lay(draft.layers)
    draft.places |= {setting: given.place for setting, given in draft.held.items()}


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
        raise NoCredentials(_how_to_log_in(folder, draft))
    blind = _is_blind(draft.problems)
    lacking = keychain.lacking(draft.held)
    if lacking:
        _take_from_keyring(draft, lacking, STAND_IN)
    draft.problems += strays(draft.layers, draft.held)
    connection = _build(Connection, draft)
    if lacking and connection and not draft.problems:  # asking may make a person unlock something
        connection = _ask_keyring(draft, lacking, connection.identity)
    missing = [found for found in draft.problems if found.text.startswith("is missing")]
    if blind:
        draft.problems = [found for found in draft.problems if found not in missing]
    elif missing:
        draft.problems += [
            Problem(name, "", draft.unset[name])
            for name in (*LOGIN, *EXTRA)
            if name in draft.unset and SECRET_FILES.get(name, name) not in draft.held
        ]
        draft.problems += draft.notes
    return connection


def _take_from_keyring(draft: _Draft, secret: str, value: str) -> None:
    keyring = draft.held[KEYRING]
    draft.places[secret] = f"system keyring, named by {keyring.place}"
    draft.held[secret] = keyring._replace(value=value, place=draft.places[secret])


def _ask_keyring(draft: _Draft, secret: str, identity: str) -> Connection | None:
    keyring = draft.held[KEYRING]
    try:
        value = keychain.look_up(keyring.value, identity)
    except keychain.NotThere as error:
        draft.problems.append(Problem(KEYRING, keyring.place, str(error)))
        return None
    _take_from_keyring(draft, secret, value)
    return _build(Connection, draft)


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


def _how_to_log_in(folder: Path, draft: _Draft) -> list[str]:
    return [
        *(f"note: {draft.unset[name]}" for name in (*LOGIN, *EXTRA) if name in draft.unset),
        *(f"note: {note}" for note in draft.notes),
        "with what other programs on this machine know, step by step: proxmox-mcp init",
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
