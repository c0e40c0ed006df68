"""``proxmox-mcp init``, step by step: find, try, pin, write, and tell a client.

Rule 1: nothing is written before the connection has worked, and both files are tried first: what
they give without any environment has to be exactly what was meant.
Rule 2: running it again with the same answers changes nothing, and says so.
Rule 3: an unknown certificate is pinned only when a person, --pin or --trust-first says so.
"""

import argparse
import io
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
from platformdirs import user_config_dir

from proxmox_mcp.access import cluster_of
from proxmox_mcp.cli import check, clients, credentials
from proxmox_mcp.cli.asking import Stop, Terminal
from proxmox_mcp.cli.credentials import Login, Machine
from proxmox_mcp.config import ConfigError, Settings, load, writing
from proxmox_mcp.config.names import SETTINGS, typed
from proxmox_mcp.pve import tls
from proxmox_mcp.pve.connection import DEFAULT_PORT, SECRETS, Connection
from proxmox_mcp.pve.errors import ProxmoxError, Untrusted
from proxmox_mcp.pve.guard import Pve

_NOT_CARRIED: Final = frozenset(
    ["demo", "demo_speed", "otp", "proxies", "log_level", "service", "backend", "mode"]
)
"""What a finding may hold and a settings file should not: it is this moment's, or a secret's."""


def run(given: argparse.Namespace, terminal: Terminal) -> int:
    """Carry out all steps and return the exit code."""
    machine = Machine(
        environ=os.environ,
        home=Path.home(),
        folder=Path(user_config_dir("proxmox-mcp", appauthor=False)),
        profile=(given.profile or "default").lower(),
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _Steps(given, terminal, machine, Path(folder)).carry_out()
    except Stop as stop:
        terminal.say(f"{stop}\nNothing was written.")
        return stop.code
    except (EOFError, KeyboardInterrupt):
        terminal.say("\nNothing was written.")
        return 2


class _Steps:
    def __init__(
        self, given: argparse.Namespace, terminal: Terminal, machine: Machine, trial: Path
    ) -> None:
        self._given = given
        self._terminal = terminal
        self._machine = machine
        self._trial = trial

    def carry_out(self) -> int:
        given = self._given
        login = credentials.login(given, self._terminal, self._machine)
        values = self._values(login)
        texts, settings = self._tried(login, values)
        if not given.no_test:
            if pinned := self._pinned(settings):
                values |= {"fingerprint": pinned}
                texts, settings = self._tried(login, values)
            self._report(settings)
        self._write(texts, values)
        return self._client()

    # --- what is to be written ---------------------------------------------------------------

    def _values(self, login: Login) -> dict[str, Any]:
        """Return what both files are to hold."""
        given, found = self._given, login.values
        # Turned off elsewhere, verification is tried all the same: a pin is asked for instead.
        if given.pin or (found.get("verify_ssl") is False and not login.kept):
            found["verify_ssl"] = True
        if given.verify_ssl:
            found["verify_ssl"] = _verify_ssl(given.verify_ssl)
        if pin := given.pin or self._known_pin(found):
            found["fingerprint"] = pin
        if found.pop("otp", None):
            self._terminal.say("Note: a one-time password cannot be kept; better use an API token.")
        try:
            connection = Connection(
                **{name: value for name, value in found.items() if name in Connection.model_fields}
            )
        except ValueError:  # what is wrong is told, in our own words, when the files are tried
            return {name: value for name, value in found.items() if name in SETTINGS}
        others = {
            name: value
            for name, value in found.items()
            if name in SETTINGS and name not in (*writing.OWNED, *_NOT_CARRIED)
        }
        return credentials.parts(connection) | others

    def _known_pin(self, found: Mapping[str, Any]) -> str | None:
        """Return the pin that the files hold for this host: an old one is not lightly replaced."""
        settings = credentials.configured(self._machine)
        connection = settings.connection if settings else None
        if connection is None or "fingerprint" in found or self._given.verify_ssl:
            return None
        address = (found.get("host"), found.get("port", DEFAULT_PORT))
        return connection.fingerprint if address == (connection.host, connection.port) else None

    def _tried(self, login: Login, values: dict[str, Any]) -> tuple[dict[Path, str], Settings]:
        """Read the files as they would be, and make sure that they give what was meant."""
        texts = self._texts(login, values)
        profile = self._machine.profile
        for path, text in texts.items():
            trial = self._trial / path.name
            trial.touch(mode=writing.PRIVATE)
            trial.write_text(text, encoding="utf-8", newline="")
        flags = {} if profile == "default" else {"profile": profile}
        try:
            settings = load(environ={}, flags=flags, config_folder=self._trial)
        except ConfigError as error:
            text = str(error).replace(str(self._trial), str(self._machine.folder))
            raise Stop(2, text) from None
        meant = {name: value for name, value in values.items() if name in writing.OWNED}
        if settings.connection is None or credentials.parts(settings.connection) != meant:
            raise Stop(
                2,
                f"[default] in {self._machine.folder} gives something too that [{profile}] would "
                "take over, such as a fingerprint: move it to a profile of its own first",
            )
        return texts, self._with_places(settings, login)

    def _texts(self, login: Login, values: Mapping[str, Any]) -> dict[Path, str]:
        machine = self._machine
        settings, secrets = (
            machine.folder / name for name in (writing.SETTINGS_FILE, writing.SECRETS_FILE)
        )
        try:
            if login.kept is None:
                return writing.planned(machine.folder, machine.profile, values)
            held = login.values
            new = {name: value for name, value in values.items() if held.get(name) != value}
            before = writing.text_of(settings)
            return {
                settings: writing.edited(before, machine.profile, new, (), settings),
                secrets: writing.text_of(secrets),
            }
        except writing.CannotEdit as error:
            raise Stop(2, str(error)) from None

    def _with_places(self, settings: Settings, login: Login) -> Settings:
        places = {name: login.layer[name].place for name in SECRETS if name in login.layer}
        changed: dict[str, Any] = {"sources": {**settings.sources, **places}}
        if self._given.dry:  # looking whether a trail can be written would make one
            changed["audit_file"] = self._trial / "audit.jsonl"
        return settings.model_copy(update=changed)

    # --- the connection ----------------------------------------------------------------------

    def _pinned(self, settings: Settings) -> str | None:
        """Connect, and return the fingerprint to pin if that is what it takes."""
        connection = settings.connection
        if connection is None:
            return None
        self._terminal.say(f"\nConnecting to {connection.address} ...")
        try:
            anyio.run(partial(_connect, settings))
        except Untrusted as error:
            shown = tls.shown_certificate(
                connection.host, connection.port, connection.connect_timeout
            )
            if connection.fingerprint or shown is None:
                raise Stop(2, str(error)) from None
            return self._agreed(connection, shown.fingerprint)
        except ProxmoxError as error:
            raise Stop(2, str(error)) from None
        return None

    def _agreed(self, connection: Connection, fingerprint: str) -> str:
        self._terminal.say(
            f"{connection.address} shows a certificate that this machine does not trust; nothing "
            f"was sent.\nIts SHA-256 fingerprint is\n  {fingerprint}\nCompare it in the web "
            "interface: Node > System > Certificates."
        )
        if self._given.trust_first:
            return fingerprint
        if not self._terminal.is_attended:
            raise Stop(2, f"To pin it: --pin {fingerprint}, or --trust-first without comparing.")
        if self._terminal.yes("Is it the same? Then it is pinned", default=False):
            return fingerprint
        raise Stop(2, "Or name the cluster's authority: --verify-ssl /path/to/pve-root-ca.pem")

    def _report(self, settings: Settings) -> None:
        printed = io.StringIO()
        code = check.run(settings, printed, as_json=False)
        lines = printed.getvalue().splitlines()
        if self._given.dry:
            lines = [line for line in lines if str(self._trial) not in line]
        self._terminal.say("\n".join(["", *lines]))
        if code == check.NO_CONNECTION:
            raise Stop(2, "The connection did not work.")

    # --- the files and the client ------------------------------------------------------------

    def _write(self, texts: Mapping[Path, str], values: Mapping[str, Any]) -> None:
        if self._given.dry:
            self._show(texts, values)
            return
        try:
            changed = writing.write(texts)
        except (OSError, writing.CannotEdit) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Stop(2, f"{self._machine.folder} cannot be written: {reason}") from None
        self._terminal.say()
        for path in texts:
            if path in changed:
                self._terminal.say(f"Written: {path}")
            elif path.exists():
                self._terminal.say(f"Unchanged: {path}")

    def _show(self, texts: Mapping[Path, str], values: Mapping[str, Any]) -> None:
        for path, text in texts.items():
            if text == writing.text_of(path):
                self._terminal.say(f"\n{path} would stay as it is.")
                continue
            is_secret = path.name == writing.SECRETS_FILE
            self._terminal.say(f"\nWould be in {path}:\n[{self._machine.profile}]")
            for name, value in values.items():
                if (name in SECRETS) == is_secret:
                    self._terminal.say(f"{name} = {'***' if is_secret else writing.literal(value)}")

    def _client(self) -> int:
        given, say = self._given, self._terminal.say
        command = clients.command(self._machine.profile)
        name = given.client
        if name is None and self._terminal.is_attended and not given.dry:
            question = f"Which client is to start it? {', '.join(clients.NAMES)}, or none"
            name = self._terminal.text(question, "--client", "none")
        if name not in clients.NAMES or given.dry:
            only = name if name in clients.NAMES else None
            say(f"\nFor the client:\n\n{clients.by_hand(given.name, command, given.scope, only)}")
            return 0
        try:
            if name == clients.CLAUDE_CODE:
                say(clients.add_to_claude_code(given.name, command, given.scope))
            else:
                self._merge(name, command)
        except clients.ClientError as error:
            say(f"{error}\n\n{clients.by_hand(given.name, command, given.scope, name)}")
            return 1
        return 0

    def _merge(self, name: str, command: list[str]) -> None:
        given, client = self._given, clients.CLIENTS[name]
        path = client.path(given.scope, self._machine.home, Path.cwd())
        try:
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            after = clients.merged(
                before, client, given.name, client.entry(command), replace=given.replace
            )
            if after == before:
                self._terminal.say(f"{client.title} knows it already; {path} was not changed.")
                return
            backup = clients.write(path, after)
        except clients.ClientError as error:
            raise clients.ClientError(f"{path} {error}") from None
        except (OSError, UnicodeDecodeError):
            raise clients.ClientError(f"{path} cannot be read or written; add by hand:") from None
        kept = f"; as it was: {backup}" if backup else ""
        self._terminal.say(f"Written: {path}{kept}\nRestart {client.title} to see it.")


async def _connect(settings: Settings) -> None:
    pve = Pve(cluster_of(settings))
    await pve.open()
    await pve.record(pve.version.get)


def _verify_ssl(text: str) -> bool | str:
    with suppress(ValueError):
        return bool(typed("demo", text))  # one of the words for yes and no
    return str(Path(text).expanduser().absolute())
