"""Which login `init` is to use: found on the machine, given by flags, or typed in."""

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proxmox_mcp.cli.asking import Stop, Terminal
from proxmox_mcp.config import ConfigError, Settings, credential_files, load
from proxmox_mcp.config.credential_files import Unreadable
from proxmox_mcp.config.families import Found, lacking
from proxmox_mcp.config.layers import Given, Layer, spread_layer
from proxmox_mcp.config.secret_files import SecretFiles
from proxmox_mcp.pve.connection import SECRETS, Connection

SETTINGS: Final = "settings"
_PARTS: Final = ("host", "port", "path_prefix", "user", "token_name", "verify_ssl", "fingerprint")
_LOGIN_FLAGS: Final = ("user", "token_name", "token_value_file", "password_file")


@dataclass(kw_only=True)
class Login:
    """What the connection is to be made of; `kept` is what the person's own files hold already."""

    layer: dict[str, Given] = field(default_factory=dict)
    kept: Settings | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The plain values, secrets among them."""
        return {name: given.value for name, given in self.layer.items()}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where to look."""

    environ: Mapping[str, str]
    home: Path
    folder: Path
    profile: str


def login(given: argparse.Namespace, terminal: Terminal, machine: Machine) -> Login:
    """Find one, let the person choose, and ask for what is still missing."""
    found = _candidates(given, terminal, machine)
    chosen = _chosen(given, terminal, found)
    if chosen is not None and chosen.name == SETTINGS:
        return Login(layer=dict(chosen.layer), kept=configured(machine))
    result = Login(layer=dict(chosen.layer) if chosen else {})
    if chosen and chosen.problems:
        raise Stop(2, "\n".join(map(str, chosen.problems)))
    _take_flags(given, result, chosen)
    _ask_missing(terminal, result)
    return result


# --- found -----------------------------------------------------------------------------------


def _candidates(given: argparse.Namespace, terminal: Terminal, machine: Machine) -> list[Found]:
    if given.from_file:
        path = Path(given.from_file).expanduser().absolute()
        try:
            found = credential_files.read(path)
        except Unreadable as error:
            raise Stop(2, str(error)) from None
        if not found:
            raise Stop(2, f"{path} holds no login in any form that is known here")
        return _told_apart(found)
    if given.source == "none" or any(getattr(given, name) for name in _LOGIN_FLAGS):
        return []
    found = [*_in_settings(machine), *credential_files.in_environment(machine.environ)]
    found += _in_usual_files(terminal, machine.home)
    if given.source:
        named = [each for each in found if each.name == given.source]
        if not named:
            there = ", ".join(sorted({each.name for each in found if not each.lacks})) or "nothing"
            raise Stop(2, f"--from {given.source}: no such login was found; found: {there}")
        found = named
    return _told_apart(found)


def _in_usual_files(terminal: Terminal, home: Path) -> list[Found]:
    found = list[Found]()
    for read, paths in (
        (credential_files.read, credential_files.exporters(home)),
        (credential_files.in_clients, credential_files.clients(home)),
    ):
        for path in paths:
            if not path.exists():
                continue
            try:
                found += read(path)
            except Unreadable as error:
                terminal.say(f"Note: {error}")
    return found


def configured(machine: Machine) -> Settings | None:
    """Return what the person's files give by themselves, if that is a connection."""
    flags = {} if machine.profile == "default" else {"profile": machine.profile}
    try:
        settings = load(environ={}, flags=flags, config_folder=machine.folder)
    except ConfigError:  # nothing there yet, or what is told when it is to be changed
        return None
    return settings if settings.connection else None


def _in_settings(machine: Machine) -> list[Found]:
    settings = configured(machine)
    if settings is None or settings.connection is None:
        return []
    values = parts(settings.connection)
    layer = {
        name: Given(value, settings.sources.get(name, ""), "files")
        for name, value in values.items()
    }
    return [Found(SETTINGS, "your settings files", layer, ())]


def parts(connection: Connection) -> dict[str, Any]:
    """Return what makes up a connection, as it is written to files."""
    values = {name: getattr(connection, name) for name in _PARTS}
    secrets = {name: getattr(connection, name) for name in ("token_value", "password")}
    values |= {name: held.get_secret_value() for name, held in secrets.items() if held}
    return {name: value for name, value in values.items() if value is not None}


def _told_apart(found: Iterable[Found]) -> list[Found]:
    """Leave out what says the same as an earlier one; half a login counts where no whole one is."""
    seen, whole, half = list[dict[str, Any]](), list[Found](), list[Found]()
    for each in found:
        compared = ("host", "user", "token_name", *SECRETS)
        login = {name: each.layer[name].value for name in compared if name in each.layer}
        if each.lacks and "host" in login and ("user" in login or "token_name" in login):
            half.append(each)
        elif not each.lacks and login not in seen:
            seen.append(login)
            whole.append(each)
    return whole or half[:1]


# --- chosen ----------------------------------------------------------------------------------


def _chosen(given: argparse.Namespace, terminal: Terminal, found: list[Found]) -> Found | None:
    if not found:
        if not any(getattr(given, name) for name in _LOGIN_FLAGS):
            terminal.say("No login was found on this machine.")
        return None
    terminal.say("Found on this machine:" if len(found) > 1 else "Found:")
    for number, each in enumerate(found, 1):
        terminal.say(f"  {number}  {_described(each)}")
    if given.source or not terminal.is_attended:
        return found[0]
    while True:
        answer = terminal.text("Which one? 0 is none of these", "--from", "1")
        if answer.isdecimal() and int(answer) <= len(found):
            return found[int(answer) - 1] if int(answer) else None


def _described(found: Found) -> str:
    layer = found.layer
    host = layer["host"].value if "host" in layer else "a host that it does not name"
    port = f":{layer['port'].value}" if "port" in layer else ""
    user = layer["user"].value if "user" in layer else "nobody yet"
    token = f"!{layer['token_name'].value}" if "token_name" in layer else ""
    last = layer.get("token_value") or layer.get("password")
    missing = [name for name in lacking(layer) if name != "host"]
    text = f"{found.title}: {user}{token} at {host}{port}"
    text += f", lacks {', '.join(missing)}" if missing else ""
    return f"{text}\n       ({last.place})" if last else text


# --- completed -------------------------------------------------------------------------------


def _take_flags(given: argparse.Namespace, result: Login, chosen: Found | None) -> None:
    texts: dict[str, Given] = {
        name: Given(getattr(given, name), f"--{name.replace('_', '-')}", "process")
        for name in ("host", "user", "token_name")
        if getattr(given, name)
    }
    for name in ("token_value", "password"):
        if path := getattr(given, f"{name}_file"):
            texts[name] = _from_file(name, path)
    layer = _apart(texts)
    held = result.layer.get("host")
    if chosen and held and "host" in layer and layer["host"].value != held.value:
        raise Stop(
            2,
            f"The login of {chosen.title} is for {held.value} and is not sent to another host: "
            "give --from none with --host, --user and the token",
        )
    result.layer |= layer


def _from_file(name: str, path: str) -> Given:
    flag = f"--{name.replace('_', '-')}-file"
    if path == "-":
        return Given(sys.stdin.readline().rstrip("\r\n"), f"{flag} -", "process")
    reader = SecretFiles()
    absolute = str(Path(path).expanduser().absolute())
    layer = reader.followed({f"{name}_file": Given(absolute, f"command line {flag}", "process")})
    if reader.problems:
        raise Stop(2, "\n".join(map(str, reader.problems)))
    return layer[name]


def _apart(layer: Layer) -> dict[str, Given]:
    spread, problems = spread_layer(layer)
    if problems:
        raise Stop(2, "\n".join(map(str, problems)))
    return dict(spread)


def _ask_missing(terminal: Terminal, result: Login) -> None:
    def typed(name: str, question: str, flag: str) -> None:
        if name not in result.layer:
            answer = terminal.text(question, flag)
            result.layer |= _apart({name: Given(answer, "typed in", "process")})

    typed("host", "Host, host:port or https:// URL of one node", "--host")
    typed("user", "User with its realm, or the whole token id (user@realm!name)", "--user")
    if "password" in result.layer or not lacking(result.layer):
        return
    if "token_name" not in result.layer:
        question = "Name of the API token, the part after the !; - for a password"
        if (answer := terminal.text(question, "--token-name or --password-file")) != "-":
            result.layer |= _apart({"token_name": Given(answer, "typed in", "process")})
    secret, words = ("token_value", "Secret of the API token")
    if "token_name" not in result.layer:
        secret, words = ("password", "Password")
    answer = terminal.secret(words, f"--{secret.replace('_', '-')}-file")
    result.layer |= _apart({secret: Given(answer, "typed in", "process")})
