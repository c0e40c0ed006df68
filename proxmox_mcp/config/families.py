"""Credentials that other programs around Proxmox keep in the environment, as one table.

Rule 1: a family gives both address and login, or nothing. No host of one family ever meets a
secret of another, and a family counts only where nobody gave a host or a login otherwise.
Rule 2: the first family with a host and a complete login wins, in the order of FAMILIES.
Rule 3: within a family an API token wins over a password, and a whole token id over a user.

The exporter names no host. Its login counts only for a host from our own settings: a settings
file, PROXMOX_MCP_HOST or the command line.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from proxmox_mcp.config.layers import Given, Layer, lay, spread_layer
from proxmox_mcp.config.names import KEYRING, REFERENCE, is_unset, typed
from proxmox_mcp.config.settings import Problem
from proxmox_mcp.pve.connection import SECRETS, WORDS, spread

_HTTPS_PORT: Final = 443  # what these programs call where a URL names no port


class Row(NamedTuple):
    """One name that a program knows, the setting it gives, and how its text is read."""

    name: str
    setting: str
    read: Callable[[str], Any] | None = None

    def value(self, text: str) -> Any:
        """Read the text as this program means it."""
        return self.read(text) if self.read else typed(self.setting, text.strip())


class Family(NamedTuple):
    """The variables of one program; of two rows for a setting the earlier one wins."""

    name: str
    title: str
    rows: tuple[Row, ...]
    names_host: bool = True


class Found(NamedTuple):
    """What one family gave, in our settings; secrets among them are not printed."""

    name: str
    title: str
    layer: Layer
    problems: tuple[Problem, ...]
    names_host: bool = True

    @property
    def lacks(self) -> tuple[str, ...]:
        """Name what is missing for a host and a complete login."""
        missing = lacking(self.layer)
        return missing if self.names_host else tuple(name for name in missing if name != "host")


def boolean_or_path(text: str) -> bool | str:
    """Read true, false or the path of a CA file."""
    return WORDS.get(text.strip().lower(), text.strip())


def insecure(text: str) -> bool:
    """Read a switch that turns verification off."""
    word = text.strip().lower()
    if word not in WORDS:
        raise ValueError("must be one of true, false, yes, no, on, off, 1, 0")
    return not WORDS[word]


def secret(text: str) -> str:
    """Leave a secret as it is, blanks included."""
    return text


ANSIBLE: Final = Family(
    "ansible",
    "Ansible, community.proxmox",
    (
        Row("PROXMOX_HOST", "host"),
        Row("PROXMOX_URL", "host"),  # the inventory's name for it
        Row("PROXMOX_PORT", "port"),
        Row("PROXMOX_USER", "user"),
        Row("PROXMOX_TOKEN_ID", "token_name"),
        Row("PROXMOX_TOKEN_SECRET", "token_value", secret),
        Row("PROXMOX_PASSWORD", "password", secret),
        Row("PROXMOX_OTP", "otp", secret),
        Row("PROXMOX_CA_PATH", "verify_ssl", boolean_or_path),
        Row("PROXMOX_VALIDATE_CERTS", "verify_ssl", boolean_or_path),
        Row("PROXMOX_API_TIMEOUT", "timeout"),
    ),
)
BPG: Final = Family(
    "bpg",
    "Terraform, bpg",
    tuple(
        Row(prefix + name, setting, read)
        for prefix in ("PROXMOX_VE_", "PM_VE_")  # the second in its older versions
        for name, setting, read in (
            ("ENDPOINT", "host", None),
            ("API_TOKEN", "token_value", secret),
            ("USERNAME", "user", None),
            ("PASSWORD", "password", secret),
            ("OTP", "otp", secret),
            ("INSECURE", "verify_ssl", insecure),
        )
    ),
)
TELMATE: Final = Family(
    "telmate",
    "Terraform, Telmate",
    (
        Row("PM_API_URL", "host"),
        Row("PM_API_TOKEN_ID", "token_name"),
        Row("PM_API_TOKEN_SECRET", "token_value", secret),
        Row("PM_USER", "user"),
        Row("PM_PASS", "password", secret),
        Row("PM_OTP", "otp", secret),
        Row("PM_TLS_INSECURE", "verify_ssl", insecure),
    ),
)
PACKER: Final = Family(
    "packer",
    "Packer",
    (
        Row("PROXMOX_URL", "host"),
        Row("PROXMOX_USERNAME", "user"),  # the whole token id stands here
        Row("PROXMOX_TOKEN", "token_value", secret),
        Row("PROXMOX_PASSWORD", "password", secret),
    ),
)
SERVERS: Final = Family(
    "servers",
    "another Proxmox MCP server",
    (
        Row("PROXMOX_URL", "host"),
        Row("PROXMOX_HOST", "host"),
        Row("PROXMOX_PORT", "port"),
        Row("PROXMOX_USER", "user"),
        Row("PROXMOX_TOKEN_ID", "token_name"),
        Row("PROXMOX_TOKEN_SECRET", "token_value", secret),
        Row("PROXMOX_TOKEN", "token_value", secret),
        Row("PROXMOX_PASSWORD", "password", secret),
        Row("PROXMOX_CA_FILE", "verify_ssl", boolean_or_path),
        Row("PROXMOX_VERIFY_SSL", "verify_ssl", boolean_or_path),
        Row("PROXMOX_VERIFY_TLS", "verify_ssl", boolean_or_path),
    ),
)
_EXPORTER_ROWS: Final = (
    Row("PVE_USER", "user"),
    Row("PVE_TOKEN_NAME", "token_name"),
    Row("PVE_TOKEN_VALUE", "token_value", secret),
    Row("PVE_PASSWORD", "password", secret),
    Row("PVE_VERIFY_SSL", "verify_ssl", boolean_or_path),
)
PVE: Final = Family(
    "pve",
    "another Proxmox MCP server, PVE_",
    (
        Row("PVE_HOST", "host"),
        Row("PVE_URL", "host"),
        Row("PVE_PORT", "port"),
        Row("PVE_TOKEN_ID", "token_name"),
        Row("PVE_TOKEN_SECRET", "token_value", secret),
        *_EXPORTER_ROWS,
    ),
)
EXPORTER: Final = Family("exporter", "prometheus-pve-exporter", _EXPORTER_ROWS, names_host=False)

FAMILIES: Final = (ANSIBLE, BPG, TELMATE, PACKER, SERVERS, PVE, EXPORTER)

_WHERE: Final = ("host", "port", "path_prefix", "hosts")
_WHO: Final = ("user", "token_name", *SECRETS, KEYRING)

_REFERENCE: Final = frozenset(f"environment variable {name}" for name in REFERENCE)
# Where it stands Ansible's host and ours have one name, so nobody knows whose it is.
_SHARED: Final = ("environment variable PROXMOX_HOST",)

CARRIERS: Final = frozenset(
    row.name for family in FAMILIES for row in family.rows if row.setting in SECRETS
)
"""Every variable of these families that holds a secret, or may."""


# --- from texts to settings ------------------------------------------------------------------


def lacking(layer: Layer) -> tuple[str, ...]:
    """Name what is missing for a host and a complete login: `user`, a token or a password."""
    if "password" in layer:
        needed: tuple[str, ...] = ("host", "user", "password")
    else:
        needed = ("host", "user", "token_name", "token_value")
    return tuple(name for name in needed if name not in layer)


class Text(NamedTuple):
    """A text that was found under a name, and the words for where."""

    row: Row
    text: str
    place: str


def settled(texts: Iterable[Text]) -> tuple[Layer, tuple[Problem, ...]]:
    """Turn one family's texts into our settings: one address and one way to log in."""
    layer, problems = dict[str, Given](), list[Problem]()
    for found in texts:
        if found.row.setting in layer or is_unset(found.text):
            continue
        try:
            value = found.row.value(found.text)
        except ValueError as error:
            problems.append(Problem(found.row.setting, found.place, str(error)))
        else:
            layer[found.row.setting] = Given(value, found.place, "process")
    return _one_login(_one_address(layer)), tuple(problems)


def _one_address(layer: Mapping[str, Given]) -> dict[str, Given]:
    """Take port and path out of a URL, as these programs do; they win over a port beside it."""
    host = layer.get("host")
    if host is None or "://" not in host.value:
        return dict(layer)
    try:
        parts = urlsplit(host.value)
        port = parts.port
    except ValueError:  # the check of `host` says so in words
        return dict(layer)
    inside: dict[str, Any] = {"port": port or _HTTPS_PORT}
    if port is None:
        inside["host"] = f"{parts.scheme}://{parts.netloc}:{_HTTPS_PORT}"
    if prefix := re.sub(r"/api2(/json)?$", "", parts.path.rstrip("/")).strip("/"):
        inside["path_prefix"] = prefix
    return {**layer, **{name: host._replace(value=value) for name, value in inside.items()}}


def _one_login(layer: Mapping[str, Given]) -> dict[str, Given]:
    """Keep the token where there is one, else the password; a whole id names its own user."""
    whole, _ = spread({"token_value": _text(layer, "token_value")})
    dropped = set[str]()
    if "user" in whole:  # user!name=secret
        dropped = {"user", "token_name", "password", "otp"}
    elif "token_value" in layer and "!" in _text(layer, "token_name"):
        dropped = {"user", "password", "otp"}
    elif "token_value" in layer and "!" in _text(layer, "user"):
        dropped = {"token_name", "password", "otp"}
    elif {"token_value", "token_name", "user"} <= layer.keys():
        dropped = {"password", "otp"}
    elif "password" in layer:
        dropped = {"token_name", "token_value"}
    kept = {name: given for name, given in layer.items() if name not in dropped}
    return dict(spread_layer(kept)[0])  # its problems are found again when the settings are read


def _text(layer: Mapping[str, Given], name: str) -> str:
    return str(layer[name].value) if name in layer else ""


# --- from the environment --------------------------------------------------------------------


def read(environ: Mapping[str, str], where: str = "environment variable {}") -> list[Found]:
    """Read every family that gives anything, one at a time and in order of precedence."""
    found = []
    for family in FAMILIES:
        if family is PACKER and "!" in environ.get("PROXMOX_TOKEN", ""):
            continue  # a whole token names itself: that is how the other servers write it
        texts = [
            Text(row, environ[row.name], f"{where.format(row.name)} ({family.title})")
            for row in family.rows
            if row.name in environ
        ]
        layer, problems = settled(texts)
        if layer:
            found.append(Found(family.name, family.title, layer, problems, family.names_host))
    return found


class Choice(NamedTuple):
    """The family that counts, if one does, and a sentence on each that holds a login in vain."""

    found: Found | None
    notes: tuple[Problem, ...] = ()


def choose(environ: Mapping[str, str], held: Mapping[str, Given]) -> Choice:
    """Choose the family whose host and login are to be used, beside what was given otherwise."""
    held = {name: given for name, given in held.items() if given.family != "packaged"}
    if not lacking(held) or (KEYRING in held and {"host", "user"} <= held.keys()):
        return Choice(None)
    notes = list[Problem]()
    for found in read(environ):
        if found.lacks:
            continue
        if not (obstacle := _obstacle(found, held)):
            return Choice(found)
        notes.append(
            Problem(found.title, "", f"holds a login that was not used, because {obstacle}")
        )
    return Choice(None, tuple(notes))


def without_shared(layers: Iterable[Layer], environ: Mapping[str, str]) -> list[Layer]:
    """Leave PROXMOX_HOST and its like to the family that they complete, where we need none of them.

    Otherwise Ansible's variables in a shell would send the login of a settings file to its host.
    """
    layers = list(layers)
    ours = {
        name: given
        for layer in layers
        for name, given in layer.items()
        if name in (*_WHERE, *_WHO) and given.place in _REFERENCE
    }
    if not ours or not lacking(ours):
        return layers
    rest: list[Layer] = [
        {name: given for name, given in layer.items() if ours.get(name) != given}
        for layer in layers
    ]
    if lacking(lay(rest)):
        return layers
    whole = (found for found in read(environ) if not found.lacks)
    return rest if any(_obstacle(found, ours) is None for found in whole) else layers


def laid(layers: Iterable[Layer], parts: Layer) -> list[Layer]:
    """Put a family among the layers: its address and login as a whole, the rest below our own.

    Nothing that is covered by the whole contradicts it: `choose` has seen to that.
    """
    layers = list(layers)
    whole = {name: given for name, given in parts.items() if name in (*_WHERE, *_WHO)}
    rest = {name: given for name, given in parts.items() if name not in whole}
    packaged = sum(any(given.family == "packaged" for given in layer.values()) for layer in layers)
    return [*layers[:packaged], rest, *layers[packaged:], whole]


def _obstacle(found: Found, held: Mapping[str, Given]) -> str | None:
    if not found.names_host:
        host = held.get("host")
        if host is None or host.place in _SHARED:
            return "it names no host: give that in a settings file or as PROXMOX_MCP_HOST"
    for name in (*(_WHERE if found.names_host else ()), *_WHO):
        if name in held and not _is_its_own(name, held[name], found):
            return f"{name} is given by {held[name].place}: one place must give host and login"
    return None


def _is_its_own(name: str, given: Given, found: Found) -> bool:
    """Whether a setting that is held already says the same, or is a variable of this family."""
    if name in found.layer and found.layer[name].value == given.value:
        return True
    family = next(each for each in FAMILIES if each.name == found.name)
    return name != "host" and given.place in {
        f"environment variable {row.name}" for row in family.rows
    }
