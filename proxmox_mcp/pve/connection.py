"""Where a cluster answers, how to log in there, and how hard to knock: values, checked once.

Rule 1: nothing here knows of files, profiles or the environment; plain values come in.
Rule 2: no message repeats a value that was given, because that value may be the secret.
Rule 3: field names are proxmoxer's keyword names, except `fingerprint` and `connect_timeout`,
which it does not know.
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

DEFAULT_PORT: Final = 8006
SECRETS: Final = ("token_value", "password", "otp")
WORDS: Final = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(
    ("false", "no", "off", "0"), False
)

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
_USER = re.compile(r"[^\s@!=:/]+@[A-Za-z][A-Za-z0-9._-]*")
_TOKEN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
_WHOLE_TOKEN = re.compile(r"(?:PVEAPIToken=)?(?P<id>[^\s!=]+![^\s!=]+)=(?P<secret>.+)", re.DOTALL)
_SEGMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
_USERINFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


class Fault(NamedTuple):
    """What is wrong with one setting, in a sentence that leaves out its value."""

    setting: str
    text: str


# --- text to parts ---------------------------------------------------------------------------


def split_host(text: str) -> tuple[str, int | None]:
    """Take host and port out of a name, `h:port`, an IPv6 address or a URL.

    Raises:
        ValueError: the text is none of these; the message is a sentence about `host`.
    """
    text = text.strip()
    if re.search(r"[\s\x00-\x1f]", text):  # urlsplit would drop line breaks without a word
        raise ValueError("is not a host name, an address or a https:// URL")
    scheme, mark, _ = text.partition("://")
    if mark and scheme.lower() != "https":
        raise ValueError("must be https: over anything else the login would travel in clear text")
    try:
        parts = urlsplit(text if mark else f"//{_bracketed(text)}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("is not a host name, an address or a https:// URL") from None
    if "@" in parts.netloc:
        raise ValueError("must not carry a login: give it as user and token or password")
    if port == 0 or not (_NAME.fullmatch(name) or _is_ipv6(name)):
        raise ValueError("is not a host name, an address or a https:// URL")
    return name, port


def _bracketed(text: str) -> str:
    return f"[{text}]" if _is_ipv6(text) else text


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6  # noqa: PLR2004  the protocol's own number
    except ValueError:
        return False


def spread(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Give every part its own key: the port out of `host`, user and token name out of any form.

    Values that are not text are left for the field checks. Spreading twice changes nothing, so
    a caller may spread each of its layers first and let `Connection` do it again.
    """
    values, faults = dict(given), list[Fault]()
    _spread_host(values, faults)
    _spread_token(values, faults)
    return values, faults


def _spread_host(values: dict[str, Any], faults: list[Fault]) -> None:
    if not isinstance(values.get("host"), str):
        return
    try:
        values["host"], port = split_host(values["host"])
    except ValueError as error:
        faults.append(Fault("host", str(error)))
        return
    if port is None:
        return
    if values.setdefault("port", port) != port:
        faults.append(Fault("port", "contradicts the port inside host: keep one of them"))


def _spread_token(values: dict[str, Any], faults: list[Fault]) -> None:
    """Read `user!name` wherever it stands, and complain when two places disagree."""
    ids = dict[str, str]()
    if whole := _WHOLE_TOKEN.fullmatch((_text(values.get("token_value")) or "").strip()):
        values["token_value"] = whole["secret"]
        ids["token_value"] = whole["id"]
    if user := _text(values.get("user")):
        ids["user"] = user if "!" in user else f"{user}!"
    if name := _text(values.get("token_name")):
        ids["token_name"] = name if "!" in name else f"!{name}"
    for place, setting in enumerate(("user", "token_name")):
        parts = {origin: part for origin, id_ in ids.items() if (part := id_.split("!", 1)[place])}
        if len(set(parts.values())) > 1:
            origins = " and ".join(parts)
            faults.append(Fault(setting, f"is given differently by {origins}: keep one of them"))
        if parts:
            values[setting] = next(iter(parts.values()))


def _text(value: object) -> str | None:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, str) else None


def _login_faults(values: Mapping[str, Any]) -> list[Fault]:
    """Say what keeps these values from being exactly one way to log in."""
    name, secret, password = (
        values.get(setting) is not None for setting in ("token_name", "token_value", "password")
    )
    rules = (
        (not values.get("user"), "user", "is missing: user@realm, for example root@pam"),
        (secret and not name, "token_name", "is missing: token_value alone is half a login"),
        (name and not secret, "token_value", "is missing: token_name alone is half a login"),
        (
            password and (name or secret),
            "password",
            "stands beside an API token: keep one way to log in, best the token",
        ),
        (
            not (name or secret or password),
            "token_value",
            "is missing: give token_name and token_value, or password",
        ),
        (
            values.get("otp") is not None and not password,
            "otp",
            "belongs to a password; an API token needs none: take it out",
        ),
    )
    return [Fault(setting, text) for broken, setting, text in rules if broken]


# --- single fields ---------------------------------------------------------------------------


def _host(value: object) -> object:
    if isinstance(value, str):
        split_host(value)
    return value


def _user(value: object) -> object:
    if isinstance(value, str) and not _USER.fullmatch(value):
        raise ValueError("must be user@realm, for example root@pam")
    return value


def _token_name(value: object) -> object:
    if isinstance(value, str) and not _TOKEN_NAME.fullmatch(value):
        raise ValueError("must be the token's name, the part after the ! of its id")
    return value


def _secret(value: object) -> object:
    """Refuse what cannot travel in a header; the sentence says why, not what."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and (not text or not text.isprintable()):
        raise ValueError("is empty or holds line breaks or other control characters")
    return value


def _file(value: object) -> object:
    if not isinstance(value, str):
        return value
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path: the working directory is the client's choice")
    if not path.is_file():
        raise ValueError("names no file that exists")
    return str(path)


def _verify_ssl(value: object) -> object:
    if isinstance(value, str) and value.strip().lower() in WORDS:
        return WORDS[value.strip().lower()]
    if not isinstance(value, bool | str):
        raise ValueError("must be true, false or the absolute path of a CA file")  # noqa: TRY004
    return _file(value)


def _fingerprint(value: object) -> object:
    if not isinstance(value, str):
        return value
    digits = value.strip().replace(":", "").upper()
    if not re.fullmatch(r"[0-9A-F]{64}", digits):
        raise ValueError("must be a SHA-256 fingerprint: 64 hex digits, colons or not")
    return ":".join(re.findall("..", digits))


def _path_prefix(value: object) -> object:
    if not isinstance(value, str):
        return value
    prefix = value.strip("/")
    if not all(_SEGMENT.fullmatch(segment) for segment in prefix.split("/")):
        raise ValueError("must be a plain path such as pve, without ? # or ..")
    return prefix


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _without_logins(proxies: dict[str, str] | None) -> dict[str, str] | None:
    return proxies and {scheme: _USERINFO.sub("***", url) for scheme, url in proxies.items()}


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
ExistingFile = Annotated[str, BeforeValidator(_file)]
Proxies = Annotated[dict[str, str], PlainSerializer(_without_logins)]

FROZEN: Final = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


# --- the values ------------------------------------------------------------------------------


class Connection(BaseModel):
    """One endpoint and exactly one way to log in."""

    model_config = FROZEN

    host: str
    hosts: list[Annotated[str, BeforeValidator(_host)]] = Field(default_factory=list)
    user: Annotated[str, BeforeValidator(_user)]
    token_name: Annotated[str, BeforeValidator(_token_name)] | None = None
    token_value: Secret | None = None
    password: Secret | None = None
    otp: Secret | None = None
    port: int = Field(default=DEFAULT_PORT, ge=1, le=65535)
    path_prefix: Annotated[str, BeforeValidator(_path_prefix)] | None = None
    verify_ssl: Annotated[bool | str, BeforeValidator(_verify_ssl)] = True
    fingerprint: Annotated[str, BeforeValidator(_fingerprint)] | None = None
    timeout: Seconds = 35.0  # a PVE node that proxies for another gives up after 30 s itself
    connect_timeout: Seconds = 5.0
    cert: ExistingFile | None = None
    proxies: Proxies | None = Field(default=None, repr=False)  # a proxy's URL may carry a password
    service: Annotated[Literal["PVE"], BeforeValidator(_upper)] = "PVE"
    # proxmoxer's other backends run pvesh over ssh and guess the status from its words
    backend: Annotated[Literal["https"], BeforeValidator(_lower)] = "https"
    mode: Annotated[Literal["json"], BeforeValidator(_lower)] = "json"

    @model_validator(mode="wrap")
    @classmethod
    def _all_faults_at_once(cls, given: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, Mapping):
            return check(given)
        values, faults = spread(given)
        faults += _login_faults(values)
        named = {fault.setting for fault in faults}
        details = [_detail(fault) for fault in faults]
        try:
            checked = check(values)
        except ValidationError as error:
            details += [
                InitErrorDetails(
                    type=PydanticCustomError(line["type"], "{said}", {"said": line["msg"]}),
                    loc=line["loc"],
                    input=None,
                )
                for line in error.errors(include_input=False, include_url=False)
                if line["loc"][0] not in named
            ]
        else:
            if not details:
                return checked
        raise ValidationError.from_exception_data(cls.__name__, details, hide_input=True)

    def each_host(self) -> list[Self]:
        """Return one connection for every host of the cluster, in the order of preference."""
        others = [split_host(text) for text in self.hosts]
        places = [(self.host, self.port), *((name, port or self.port) for name, port in others)]
        return [
            self.model_copy(update={"host": name, "port": port})
            for name, port in dict.fromkeys(places)
        ]

    @property
    def address(self) -> str:
        """`host:port`, with an IPv6 host in brackets."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def identity(self) -> str:
        """Who logs in: `user@realm!token`, or `user@realm` with a password."""
        return f"{self.user}!{self.token_name}" if self.token_name else self.user

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret in the clear, for the one who must keep them out of logs."""
        held = (self.token_value, self.password, self.otp)
        logins = (_USERINFO.findall(url) for url in (self.proxies or {}).values())
        return (
            *(secret.get_secret_value() for secret in held if secret),
            *(part for found in logins for login in found for part in login.split(":")[1:]),
        )


def _detail(fault: Fault) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError("setting", "{said}", {"said": fault.text}),
        loc=(fault.setting,),
        input=None,
    )


class Limits(BaseModel):
    """How often a read is repeated and how fast requests may follow each other."""

    model_config = FROZEN

    retry_attempts: int = Field(default=3, ge=1, le=10)  # total tries, not repetitions
    retry_delay: float = Field(default=0.5, ge=0, le=60)
    retry_total: Seconds = 30.0
    rate_per_second: Seconds = 10.0
    rate_burst: int = Field(default=100, ge=1)
    max_parallel: int = Field(default=8, ge=1, le=64)
