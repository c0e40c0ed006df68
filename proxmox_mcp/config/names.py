"""The names a setting can be given by, and how its text becomes a value.

Both are read off the models, so that a new field there is a new setting everywhere.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from proxmox_mcp.config.settings import Settings
from proxmox_mcp.logs import LogSettings
from proxmox_mcp.pve.connection import SECRETS, WORDS, Connection, Limits
from proxmox_mcp.toolkit.policy import Policy

LOG_PREFIX: Final = "log_"
# Settings that only lead to a secret: they are followed before a model sees anything.
SECRET_FILES: Final[Mapping[str, str]] = {f"{name}_file": name for name in SECRETS}
KEYRING: Final = "keyring"
EXTRA: Final[Mapping[str, Any]] = dict.fromkeys((*SECRET_FILES, KEYRING), str)

CONNECTION: Final = (*Connection.model_fields, *EXTRA)
LOGIN: Final = ("host", "user", "token_name", "token_value", "password", "otp")
OWN: Final = ("demo", "demo_speed", "audit_file")  # those that stand in Settings itself
CHOOSERS: Final = ("profile", "config")  # they say what is read, so no file can hold them

_KINDS: Final[Mapping[str, Any]] = {
    **{name: Settings.model_fields[name].annotation for name in OWN},
    **{name: field.annotation for name, field in Policy.model_fields.items()},
    **{name: field.annotation for name, field in Connection.model_fields.items()},
    **EXTRA,
    **{name: field.annotation for name, field in Limits.model_fields.items()},
    **{LOG_PREFIX + name: field.annotation for name, field in LogSettings.model_fields.items()},
}
SETTINGS: Final = tuple(_KINDS)

OWN_PREFIX: Final = "PROXMOX_MCP_"
REFERENCE: Final[Mapping[str, str]] = {
    **{
        f"PROXMOX_{name.upper()}": name
        for name in (
            *LOGIN,
            *SECRET_FILES,
            "port",
            "path_prefix",
            "verify_ssl",
            "fingerprint",
            "read_only",
            "allow_elevated",
            "timeout",
            "retry_attempts",
            "retry_delay",
        )
    },
    "LOG_LEVEL": "log_level",
}
# In milliseconds there, and the least that can be meant: below it somebody thought of seconds.
MILLISECONDS: Final[Mapping[str, int]] = {"PROXMOX_TIMEOUT": 1000, "PROXMOX_RETRY_DELAY": 10}
ZERO_IS_MEANT: Final = ("PROXMOX_RETRY_DELAY",)  # try again at once

# What other tools around Proxmox call the same thing.
_ELSEWHERE: Final[Mapping[str, str]] = {
    "url": "host",
    "endpoint": "host",
    "username": "user",
    "token_id": "token_name",
    "api_token": "token_value",
    "token": "token_value",
    "token_secret": "token_value",
    "token_file": "token_value_file",
    "ca_file": "verify_ssl",
    "verify_tls": "verify_ssl",
    "insecure": "verify_ssl",
}


def hint(name: str, known: Iterable[str], spell: Callable[[str], str] = str) -> str:
    """Give a "did you mean" for the closest known name, spelled as it was asked, or nothing."""
    known, name = tuple(known), name.lower()
    close = [_ELSEWHERE[name]] if _ELSEWHERE.get(name) in known else []
    close += difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {spell(close[0])}?" if close else ""


def is_unset(text: str) -> str | None:
    """Say why a text counts as not given: it is empty, or a variable nobody expanded."""
    if not text.strip():
        return "is empty"
    if re.fullmatch(r"\s*\$\{[^{}]*\}\s*", text):
        return "is the literal text ${...}: the client did not expand it"
    return None


def typed(setting: str, text: str) -> Any:
    """Turn the text of a variable or flag into the setting's type.

    Raises:
        ValueError: with a sentence about the setting that leaves the text out.
    """
    return _PARSERS.get(setting, _PARSERS.get(_KINDS[setting], _as_it_is))(text)


def _as_it_is(text: str) -> str:
    return text


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in WORDS:
        raise ValueError("must be one of true, false, yes, no, on, off, 1, 0")
    return WORDS[word]


def _whole(text: str) -> int:
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text):
        raise ValueError("must be a whole number")
    return int(text)


def number(text: str) -> float:
    """Read a plain decimal number; Python's own 1e3, 1_000 and nan are not meant by anybody."""
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}(\.[0-9]{1,18})?\s*", text):
        raise ValueError("must be a plain number such as 35 or 0.5")
    return float(text)


def _proxies(text: str) -> dict[str, str]:
    if not text.lstrip().startswith("{"):
        return {"https": text.strip()}
    try:
        table = json.loads(text)
    except ValueError:
        table = None
    if not isinstance(table, dict) or not all(isinstance(url, str) for url in table.values()):
        raise ValueError('must be the proxy\'s URL, or JSON such as {"https": "http://proxy:3128"}')
    return table


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


_LISTS: Final = (
    "hosts",
    *(n for n, f in Policy.model_fields.items() if "list" in str(f.annotation)),
)

_PARSERS: Final[Mapping[Any, Callable[[str], Any]]] = {
    bool: _boolean,
    int: _whole,
    float: number,
    "proxies": _proxies,
    **dict.fromkeys(_LISTS, _listed),
}
