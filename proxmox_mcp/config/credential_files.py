"""Credentials in files of other programs: read for `init`, and never by a running server.

One table in a file (a module of the exporter, a server of a client's list, a whole .env) is one
place: what stands in one is never completed from another.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from platformdirs import user_config_path

from proxmox_mcp.config import environment, families, privacy
from proxmox_mcp.config.families import Found, Row, Text, boolean_or_path, insecure, secret
from proxmox_mcp.config.layers import lay, spread_layer
from proxmox_mcp.config.secret_files import SecretFiles

OURS: Final = "environment"
FILE: Final = "file"
_MOST_BYTES: Final = 64 * 1024 * 1024  # a client's own state grows large
_DEEPEST: Final = 8
_YAML: Final = "YAML of one document"
_KINDS: Final = {".json": "JSON", ".toml": "TOML", ".yml": _YAML, ".yaml": _YAML}

_KEYWORDS: Final = tuple(
    Row(name, setting, read)
    for setting, read, names in (
        ("host", None, "host url api_url endpoint api_host hostname"),
        ("port", None, "port api_port"),
        ("user", None, "user username api_user"),
        ("token_name", None, "token_name token_id api_token_id"),
        ("token_value", secret, "token_value token_secret api_token_secret api_token token"),
        ("password", secret, "password api_password pass"),
        ("verify_ssl", boolean_or_path, "ca_path ca_file verify_ssl verify_tls validate_certs"),
        ("verify_ssl", insecure, "insecure tls_insecure insecure_skip_tls_verify"),
        ("fingerprint", None, "fingerprint"),
        ("path_prefix", None, "path_prefix"),
        ("timeout", None, "api_timeout timeout"),
    )
    for name in names.split()
)
"""The keywords of a proxmoxer call, and what modules and providers call the same argument."""

_PREFIX: Final = re.compile(r"^(tf_var_)?(proxmox_ve_|proxmox_|pve_|pm_|virtual_environment_)?")
_ASSIGNED: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$")


class Unreadable(Exception):
    """A sentence about a file; it quotes nothing of what stands there."""


def exporters(home: Path) -> list[Path]:
    """Name the files that the exporter's documentation proposes."""
    return [Path("/etc/prometheus/pve.yml"), home / ".config/prometheus/pve.yml"]


def clients(home: Path) -> list[Path]:
    """Name the files in which MCP clients keep their servers."""
    roaming = user_config_path(appauthor=False, roaming=True)
    return [
        home / ".claude.json",
        roaming / "Claude/claude_desktop_config.json",
        roaming / "Code/User/mcp.json",
        home / ".cursor/mcp.json",
    ]


def in_environment(environ: Mapping[str, str]) -> list[Found]:
    """Find logins in the environment: under our own names first, then family by family."""
    return [*_found_in(environ, "environment variable {}"), *_named_json(environ)]


def in_clients(path: Path) -> list[Found]:
    """Find logins that a client's file hands to other MCP servers as variables.

    Raises:
        Unreadable: it is not there, or is no JSON.
    """
    document = _document(path, _text(path))
    return [
        found
        for where, table in _tables(document)
        if where.endswith("env")
        for found in (*_of_variables(path, where, table), *_named_json(table))
    ]


def read(path: Path) -> list[Found]:
    """Find logins in one file, whatever program it belongs to.

    Raises:
        Unreadable: it is not there, or is not what its name says.
    """
    return [
        found
        for where, table in _tables(_document(path, _text(path)))
        for found in (_of_variables(path, where, table) or _of_keywords(path, where, table))
    ]


def _named_json(environ: Mapping[str, str]) -> list[Found]:
    """Follow PROXMOX_MCP_CONFIG where it names another server's JSON; ours is a .toml."""
    named = Path(environ.get("PROXMOX_MCP_CONFIG", "").strip())
    if named.suffix != ".json" or not named.is_absolute() or not named.is_file():
        return []
    return read(named)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _MOST_BYTES:
        raise Unreadable(f"{path} is too large to hold a login")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable(f"{path} is not UTF-8 text") from None


def _document(path: Path, text: str) -> Any:
    try:
        match path.suffix:
            case ".json":
                return json.loads(text)
            case ".toml":
                return tomllib.loads(text)
            case ".yml" | ".yaml":
                return _yaml(path, text)
            case _:
                return _assignments(text)
    except (ValueError, RecursionError):  # their words may quote the file
        raise Unreadable(f"{path} is not valid {_KINDS[path.suffix]}") from None


def _yaml(path: Path, text: str) -> Any:
    from proxmox_mcp.config import plain_yaml  # noqa: PLC0415 - not for those who keep no YAML

    if len(text) > plain_yaml.MOST_CHARACTERS:
        raise Unreadable(f"{path} is too large to hold a login")
    return plain_yaml.parsed(text)


def _assignments(text: str) -> dict[str, str]:
    """Read lines of NAME=value: a .env, or variables of Terraform and Packer."""
    values = dict[str, str]()
    for line in text.splitlines():
        if assigned := _ASSIGNED.fullmatch(line):
            name, value = assigned.groups()
            quoted = re.match(r"""(["'])(.*?)\1\s*(?:[#;].*|//.*)?$""", value)
            values[name] = quoted[2] if quoted else re.sub(r"\s+#.*$", "", value)
    return values


def _tables(node: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """Walk through every table of a document, each with its own texts."""
    if not isinstance(node, dict) or len(where) > _DEEPEST:
        return
    inner = {str(name): value for name, value in node.items()}
    if isinstance(inner.get("proxmox"), dict) and isinstance(inner.get("auth"), dict):
        yield ".".join(where), {**_texts(inner.pop("proxmox")), **_texts(inner.pop("auth"))}
    yield ".".join(where), _texts(inner)
    for name, value in inner.items():
        yield from _tables(value, (*where, name))


def _texts(table: Mapping[Any, Any]) -> dict[str, str]:
    texts = dict[str, str]()
    for name, value in table.items():
        if isinstance(value, bool):
            texts[str(name)] = str(value).lower()
        elif isinstance(value, str | int | float) and "{{" not in str(value):  # a template
            texts[str(name)] = str(value)
    return texts


def _of_variables(path: Path, where: str, table: Mapping[str, str]) -> list[Found]:
    """Take a table's names for variables; small ones too, as Terraform's files have them."""
    variables = {re.sub(r"^TF_VAR_", "", name.upper()): text for name, text in table.items()}
    found = _found_in(variables, f"{_place(path, where)}: {{}}")
    return [each for each in found if not each.lacks][:1]


def _of_keywords(path: Path, where: str, table: Mapping[str, str]) -> list[Found]:
    place = _place(path, where)
    texts = [
        Text(row, text, f"{place}: {name}")
        for row in _KEYWORDS
        for name, text in table.items()
        if _PREFIX.sub("", name.lower()) == row.name
    ]
    layer, problems = families.settled(texts)
    if "user" not in layer or not {"token_value", "password", "host"} & layer.keys():
        return []
    return [Found(FILE, "a file", layer, problems, names_host=False)]


def _place(path: Path, where: str) -> str:
    return f"file {path}, {where}" if where else f"file {path}"


def _found_in(environ: Mapping[str, str], where: str) -> list[Found]:
    files = SecretFiles(mounts=privacy.mounts(environ))
    own = lay(
        spread_layer(files.followed(each))[0] for each in environment.read(environ, {}).layers
    )
    layer = {
        name: given._replace(
            place=re.sub(
                r"environment variable (\S+)$", lambda it: where.format(it[1]), given.place
            )
        )
        for name, given in own.items()
    }
    found = [] if families.lacking(layer) else [Found(OURS, "our own variables", layer, ())]
    return [*found, *families.read(environ, where)]
