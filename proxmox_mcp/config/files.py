"""Settings files, read through Dynaconf: one table for each profile over [default].

Dynaconf lays the tables over one another and keeps, for every value, the file and the table it
came from. Its own search for files is never started, on purpose: besides the files it is given
it would read `X.local.toml` beside each of them, run a `dynaconf_hooks.py` that lies there,
follow includes, expand [ and * in folder names, and obey the *_FOR_DYNACONF variables of
whatever started us. None of that can be turned off one by one (3.3.5), so the loader is handed
our own reader, which opens exactly the path it is told.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dynaconf import Dynaconf
from dynaconf.loaders.base import BaseLoader

from proxmox_mcp.config import privacy
from proxmox_mcp.config.layers import Given, Layer
from proxmox_mcp.config.names import CHOOSERS, EXTRA, SETTINGS, hint, is_unset
from proxmox_mcp.config.settings import Problem
from proxmox_mcp.pve.connection import SECRETS

DEFAULT_PROFILE: Final = "default"
_RESERVED: Final = ("global", "dynaconf")  # Dynaconf would lay these over or under every profile
_PACKAGE: Final = Path(__file__).resolve().parents[1]


@dataclass(slots=True)
class Tables:
    """What was found in the files."""

    mounts: tuple[Path, ...] = ()  # where others may read a secret
    layers: list[Layer] = field(default_factory=list)
    profiles: list[str] = field(default_factory=lambda: [DEFAULT_PROFILE])
    problems: list[Problem] = field(default_factory=list)
    unset: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def packaged() -> Path | None:
    """Find the file of defaults: beside the code in a wheel, above the package in a checkout."""
    beside, above = _PACKAGE / "settings.toml", _PACKAGE.parent / "settings.toml"
    if beside.is_file():
        return beside
    # above an installed package lies site-packages, where the name could be anybody's
    return above if above.is_file() and above.with_name("pyproject.toml").is_file() else None


def read(
    paths: Iterable[Path], profile: str, defaults: Path | None, mounts: tuple[Path, ...] = ()
) -> Tables:
    """Read *defaults* and then *paths*, the later over the earlier; all must be absolute."""
    found = Tables(mounts=mounts)

    def tables(path: str) -> dict[str, dict[str, Any]]:
        return _tables(Path(path), found)

    store = Dynaconf(
        dynaconf_skip_loaders=True,
        environments=True,
        force_env=profile,
        auto_cast=False,
        load_dotenv=False,
    )
    # With no extensions every name goes to the string reader, which is ours and opens the file.
    loader = BaseLoader(store, profile, "toml", (), None, tables)
    files = [*([defaults] if defaults else []), *paths]
    loader.load(filename=[str(path) for path in dict.fromkeys(files)])
    for source, values in store.loaded_by_loaders.items():
        if source.loader == "toml":
            is_default = defaults is not None and source.identifier == str(defaults)
            found.layers.append(
                _layer(values, source.identifier, source.env, found, is_default=is_default)
            )
    return found


def _layer(
    values: Mapping[str, Any], path: str, profile: str, found: Tables, *, is_default: bool
) -> Layer:
    place = "packaged default" if is_default else f"file {path}, profile {profile}"
    layer = dict[str, Given]()
    for key, value in values.items():
        setting = key.lower()  # Dynaconf stores upper case
        if isinstance(value, str) and (reason := is_unset(value)):
            found.unset[setting] = f"{setting} in {path} {reason}"
        else:
            layer[setting] = Given(value, place, "packaged" if is_default else "files")
    return layer


def _tables(path: Path, found: Tables) -> dict[str, dict[str, Any]]:
    """Read one file and keep what is sound; everything else becomes a problem."""
    place = f"file {path}"
    try:
        with path.open(encoding="utf-8") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read()
        document = tomllib.loads(text)
    except FileNotFoundError:
        return {}  # the user's own files need not be there; the named one was checked before
    except OSError as error:
        found.problems.append(Problem("config", place, f"cannot be read: {error.strerror}"))
        return {}
    except UnicodeDecodeError:
        found.problems.append(Problem("config", place, "is not UTF-8 text"))
        return {}
    except tomllib.TOMLDecodeError as error:
        # its message may quote the line; the position is enough
        position = re.search(r"line \d+, column \d+", str(error))
        where = position[0] if position else f"line {len(text.splitlines())}, its end"
        found.problems.append(
            Problem("config", place, f"is not valid TOML, at {where}; are all texts in quotes?")
        )
        return {}
    sound = dict[str, dict[str, Any]]()
    for name, table in document.items():
        if not isinstance(table, dict):
            text = "stands outside any table: put it under [default] or a profile's [name]"
            found.problems.append(Problem(name, place, text))
        elif name.lower() in _RESERVED:
            text = "cannot be the name of a profile: choose another"
            found.problems.append(Problem(f"[{name}]", place, text))
        else:
            sound[name.lower()] = _sound(table, f"{place}, profile {name}", found)
            found.profiles += [name.lower()] if name.lower() not in found.profiles else []
    if secrets := _secrets_in(sound.values()):
        found.warnings += privacy.doubts(path)
        if fault := privacy.fault(path, mode, found.mounts):
            found.problems.append(Problem(secrets[0], place, fault))
    return sound


def _sound(table: Mapping[str, Any], place: str, found: Tables) -> dict[str, Any]:
    kept = dict[str, Any]()
    for key, value in table.items():
        if key in CHOOSERS:
            text = f"cannot stand in a file: use --{key} or PROXMOX_MCP_{key.upper()}"
        elif key not in SETTINGS:
            text = f"is not a setting{hint(key, SETTINGS)}"
        elif key in (*SECRETS, *EXTRA) and not isinstance(value, str):
            text = "must be a quoted string"
        else:
            kept[key] = value
            continue
        found.problems.append(Problem(key, place, text))
    return kept


def _secrets_in(tables: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the secrets that stand in any profile; an empty one, or ${...}, is none."""
    given = [{key for key, value in table.items() if not is_unset(str(value))} for table in tables]
    return [secret for secret in SECRETS if any(secret in keys for keys in given)]
