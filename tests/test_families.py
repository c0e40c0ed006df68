"""What other programs keep in the environment and in files: whose it is, and never mixed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxmox_mcp.config import (
    ConfigError,
    NoCredentials,
    credential_files,
    families,
    load,
    writing,
)
from proxmox_mcp.config.credential_files import Unreadable
from proxmox_mcp.config.families import FAMILIES, Found
from proxmox_mcp.config.scrub import scrub
from proxmox_mcp.pve.connection import SECRETS, Connection
from tests.test_config import SECRET, TOKEN_ENV, Home

URL = "https://pve.example.com:8443/api2/json"
WHOLE = f"u@pve!t={SECRET}"

COMPLETE: dict[str, dict[str, str]] = {
    "ansible": {
        "PROXMOX_HOST": "pve.example.com",
        "PROXMOX_PORT": "8443",
        "PROXMOX_USER": "u@pve",
        "PROXMOX_TOKEN_ID": "t",
        "PROXMOX_TOKEN_SECRET": SECRET,
    },
    "bpg": {"PROXMOX_VE_ENDPOINT": URL, "PROXMOX_VE_API_TOKEN": WHOLE},
    "telmate": {
        "PM_API_URL": URL,
        "PM_API_TOKEN_ID": "u@pve!t",
        "PM_API_TOKEN_SECRET": SECRET,
    },
    "packer": {"PROXMOX_URL": URL, "PROXMOX_USERNAME": "u@pve!t", "PROXMOX_TOKEN": SECRET},
    "servers": {"PROXMOX_URL": URL, "PROXMOX_TOKEN": f"PVEAPIToken={WHOLE}"},
    "pve": {
        "PVE_HOST": "pve.example.com:8443",
        "PVE_USER": "u@pve",
        "PVE_TOKEN_NAME": "t",
        "PVE_TOKEN_VALUE": SECRET,
    },
    "exporter": {"PVE_USER": "u@pve", "PVE_TOKEN_NAME": "t", "PVE_TOKEN_VALUE": SECRET},
}
TITLES = {family.name: family.title for family in FAMILIES}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "config" / "proxmox-mcp")


def first(environ: Mapping[str, str]) -> Found:
    return next(found for found in families.read(environ) if not found.lacks)


def values(found: Found) -> dict[str, Any]:
    return {name: given.value for name, given in found.layer.items()}


def secret_given_by(connection: Connection) -> str:
    (only,) = connection.secrets
    return only


# --- every family is accepted by the server --------------------------------------------------


@pytest.mark.parametrize("family", COMPLETE)
def test_a_family_alone_is_enough_and_is_named_as_the_place(home: Home, family: str) -> None:
    if family == "exporter":
        home.write('[default]\nhost = "pve.example.com:8443"')

    settings = home.load(COMPLETE[family])

    assert settings.connection is not None
    assert settings.connection.address == "pve.example.com:8443"
    assert settings.connection.identity == "u@pve!t"
    assert secret_given_by(settings.connection) == SECRET
    variable = next(name for name, text in COMPLETE[family].items() if SECRET in text)
    assert settings.sources["token_value"] == f"environment variable {variable} ({TITLES[family]})"


PASSWORDS: dict[str, dict[str, str]] = {
    "bpg": {
        "PROXMOX_VE_ENDPOINT": URL,
        "PROXMOX_VE_USERNAME": "u@pve",
        "PROXMOX_VE_PASSWORD": SECRET,
    },
    "telmate": {"PM_API_URL": URL, "PM_USER": "u@pve", "PM_PASS": SECRET},
    "packer": {"PROXMOX_URL": URL, "PROXMOX_USERNAME": "u@pve", "PROXMOX_PASSWORD": SECRET},
    "ansible": {"PROXMOX_URL": URL, "PROXMOX_USER": "u@pve", "PROXMOX_PASSWORD": SECRET},
    "pve": {"PVE_URL": URL, "PVE_USER": "u@pve", "PVE_PASSWORD": SECRET},
}


@pytest.mark.parametrize("family", PASSWORDS)
def test_a_password_is_a_login_too(home: Home, family: str) -> None:
    settings = home.load(PASSWORDS[family])

    assert settings.connection is not None
    assert settings.connection.identity == "u@pve"
    assert settings.connection.address == "pve.example.com:8443"
    assert secret_given_by(settings.connection) == SECRET
    assert settings.sources["password"].endswith(f"({TITLES[family]})")


def test_every_row_of_the_table_gives_its_setting() -> None:
    texts = {
        "host": "other",
        "port": "8007",
        "user": "x@pam",
        "timeout": "7",
        "verify_ssl": "no",
        **dict.fromkeys(("token_name", "token_value", "password", "otp"), "x-y-z"),
    }
    for family in FAMILIES:
        for row in family.rows:
            environ = {row.name: texts[row.setting]}
            (found,) = (one for one in families.read(environ) if one.name == family.name)
            given = found.layer[row.setting]
            assert given.place == f"environment variable {row.name} ({family.title})"
            assert str(given.value) in {texts[row.setting], "7.0", "True", "False"}


# --- how texts are read ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("PM_TLS_INSECURE", "true", False),
        ("PM_TLS_INSECURE", "0", True),
        ("PROXMOX_VE_INSECURE", "1", False),
        ("PROXMOX_VE_INSECURE", "false", True),
        ("PM_VE_INSECURE", "yes", False),
        ("PROXMOX_VALIDATE_CERTS", "false", False),
        ("PROXMOX_VALIDATE_CERTS", "yes", True),
        ("PVE_VERIFY_SSL", "false", False),
        ("PVE_VERIFY_SSL", "True", True),
        ("PROXMOX_VERIFY_TLS", "off", False),
        ("PROXMOX_CA_PATH", "/ca.pem", "/ca.pem"),
        ("PROXMOX_CA_FILE", "/ca.pem", "/ca.pem"),
    ],
)
def test_verification_is_read_in_either_sense(name: str, text: str, meant: object) -> None:
    read = [one.layer["verify_ssl"].value for one in families.read({name: text})]

    assert read
    assert set(read) == {meant}


def test_an_insecure_family_is_used_as_it_is_and_warned_of(home: Home) -> None:
    settings = home.load({**COMPLETE["telmate"], "PM_TLS_INSECURE": "true"})

    assert settings.connection is not None
    assert settings.connection.verify_ssl is False
    assert "environment variable PM_TLS_INSECURE (Terraform, Telmate)" in settings.warnings[0]


@pytest.mark.parametrize(
    ("url", "address", "prefix"),
    [
        ("https://pve:8006/api2/json", ("pve", 8006), None),
        ("https://pve:8006/", ("pve", 8006), None),
        ("https://pve/api2/json", ("pve", 443), None),
        ("https://pve", ("pve", 443), None),
        ("https://pve/one/two/api2", ("pve", 443), "one/two"),
        ("https://[fe80::1]/api2/json", ("fe80::1", 443), None),
        ("pve", ("pve", 8006), None),
        ("pve:8007", ("pve", 8007), None),
    ],
)
def test_port_and_path_come_out_of_the_url(
    home: Home, url: str, address: tuple[str, int], prefix: str | None
) -> None:
    connection = home.connection({**COMPLETE["telmate"], "PM_API_URL": url})

    assert (connection.host, connection.port) == address
    assert connection.path_prefix == prefix


def test_the_port_of_a_url_wins_over_a_port_beside_it(home: Home) -> None:
    environ = {**COMPLETE["servers"], "PROXMOX_PORT": "1"}

    assert home.connection(environ).port == 8443


@pytest.mark.parametrize(
    ("environ", "identity"),
    [
        ({"PROXMOX_URL": URL, "PROXMOX_USERNAME": "a@pve!b", "PROXMOX_TOKEN": SECRET}, "a@pve!b"),
        ({"PROXMOX_URL": URL, "PROXMOX_USERNAME": "a@pve!b", "PROXMOX_TOKEN": WHOLE}, "u@pve!t"),
        ({"PROXMOX_URL": URL, "PROXMOX_TOKEN_ID": "c@pve!d", "PROXMOX_TOKEN": SECRET}, "c@pve!d"),
        ({"PROXMOX_HOST": "pve", "PROXMOX_TOKEN": WHOLE}, "u@pve!t"),
    ],
)
def test_the_ambiguous_token_is_whole_when_it_looks_so(
    home: Home, environ: dict[str, str], identity: str
) -> None:
    connection = home.connection(environ)

    assert connection.identity == identity
    assert secret_given_by(connection) == SECRET


@pytest.mark.parametrize(
    "more",
    [
        {"PROXMOX_VE_USERNAME": "root@pam", "PROXMOX_VE_PASSWORD": "x-y-z"},
        {"PROXMOX_VE_USERNAME": "root@pam", "PROXMOX_VE_OTP": "123456"},
    ],
)
def test_within_a_family_the_token_wins_with_its_own_user(home: Home, more: dict[str, str]) -> None:
    connection = home.connection({**COMPLETE["bpg"], **more})

    assert connection.identity == "u@pve!t"
    assert connection.secrets == (SECRET,)


def test_a_whole_token_id_wins_over_a_user_beside_it(home: Home) -> None:
    ansible = {**COMPLETE["ansible"], "PROXMOX_USER": "root@pam", "PROXMOX_TOKEN_ID": "a@pve!b"}
    telmate = {**COMPLETE["telmate"], "PM_USER": "root@pam"}

    assert home.connection(ansible).identity == "a@pve!b"
    assert home.connection(telmate).identity == "u@pve!t"


@pytest.mark.parametrize("empty", ["", "  ", "${SECRET}", "${SECRET:-x}"])
@pytest.mark.parametrize("family", [name for name in COMPLETE if name != "exporter"])
def test_an_empty_or_unexpanded_variable_makes_no_login(
    home: Home, family: str, empty: str
) -> None:
    environ = {name: empty if SECRET in text else text for name, text in COMPLETE[family].items()}

    with pytest.raises(ConfigError):
        home.load(environ)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"PM_TLS_INSECURE": "perhaps"}, "verify_ssl (environment variable PM_TLS_INSECURE (Terr"),
        ({"PM_API_URL": "http://pve:8006"}, "host (environment variable PM_API_URL (Terraform, Te"),
        ({"PM_API_URL": f"https://u:{SECRET}@pve"}, "host (environment variable PM_API_URL (Terra"),
        (
            {"PM_API_URL": "https://pve:port"},
            "host (environment variable PM_API_URL (Terraform, Te",
        ),
    ],
)
def test_a_mistake_is_told_with_variable_and_family(
    home: Home, environ: dict[str, str], problem: str
) -> None:
    (told,) = home.problems({**COMPLETE["telmate"], **environ})

    assert told.startswith(problem)


# --- which one wins, and that none is mixed --------------------------------------------------


@pytest.mark.parametrize("family", COMPLETE)
def test_our_own_names_win_over_every_family(home: Home, family: str) -> None:
    own = {"PROXMOX_MCP_" + name.removeprefix("PROXMOX_"): text for name, text in TOKEN_ENV.items()}
    other = {name: text.replace(SECRET, "x-y-z") for name, text in COMPLETE[family].items()}

    for settings in (home.load({**other, **own}), home.load({**other, **TOKEN_ENV})):
        assert settings.connection is not None
        assert settings.connection.host == "pve"
        assert settings.connection.secrets == (SECRET,)
        assert settings.connection.token_name == "mcp"


def test_a_whole_login_under_our_own_names_is_not_exchanged_for_ansibles(home: Home) -> None:
    environ = {**COMPLETE["ansible"], "PROXMOX_PASSWORD": "x-y-z"}

    settings = home.load(environ)

    assert settings.connection is not None
    assert settings.connection.secrets == ("x-y-z",)
    assert settings.sources["password"] == "environment variable PROXMOX_PASSWORD"


@pytest.mark.parametrize("family", COMPLETE)
def test_a_settings_file_wins_over_every_family(home: Home, family: str) -> None:
    home.write(
        f'[default]\nhost = "pve"\nuser = "root@pam"\ntoken_name = "mcp"\ntoken_value = "{SECRET}"'
    )
    other = {name: text.replace(SECRET, "x-y-z") for name, text in COMPLETE[family].items()}

    connection = home.connection(other)

    assert (connection.address, connection.identity) == ("pve:8006", "root@pam!mcp")
    assert connection.secrets == (SECRET,)


def test_the_first_complete_family_of_the_documented_order_wins(home: Home) -> None:
    order = [family.name for family in FAMILIES]
    assert order == list(COMPLETE)
    environ = {
        name: text
        for family in ("telmate", "bpg", "pve")
        for name, text in COMPLETE[family].items()
    }

    assert home.load(environ).sources["host"].endswith("(Terraform, bpg)")
    del environ["PROXMOX_VE_API_TOKEN"]
    assert home.load(environ).sources["host"].endswith("(Terraform, Telmate)")
    del environ["PM_API_URL"]
    assert home.load(environ).sources["host"].endswith(f"({TITLES['pve']})")


@pytest.mark.parametrize("host_of", COMPLETE)
@pytest.mark.parametrize("login_of", COMPLETE)
def test_no_host_of_one_family_meets_a_secret_of_another(
    home: Home, host_of: str, login_of: str
) -> None:
    hosts = {"host"}
    where = {row.name for family in FAMILIES for row in family.rows if row.setting in hosts}
    host = {
        name: text.replace("pve.example.com", "elsewhere")
        for name, text in COMPLETE[host_of].items()
        if name in where
    }
    login = {name: text for name, text in COMPLETE[login_of].items() if name not in where}
    knows = {row.name for family in FAMILIES if family.name == login_of for row in family.rows}
    if not host or host.keys() <= knows:
        return  # one family, or a name that both programs really share
    if login_of == "exporter" and host_of == "pve":
        return  # PVE_HOST beside the exporter's names is another server's whole login

    with pytest.raises(ConfigError) as caught:
        home.load({**host, **login})

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('host = "elsewhere"', "host"),
        ('hosts = ["elsewhere"]', "hosts"),
        ("port = 1", "port"),
        ('user = "root@pam"', "user"),
        ('token_name = "mcp"', "token_name"),
    ],
)
def test_half_a_login_in_a_file_is_not_completed_by_a_family(
    home: Home, text: str, named: str
) -> None:
    path = home.write(f"[default]\n{text}")

    with pytest.raises(ConfigError) as caught:
        home.load(COMPLETE["telmate"])

    assert (
        f"Terraform, Telmate: holds a login that was not used, because {named} is given by file "
        f"{path}, profile default: one place must give host and login" in str(caught.value)
    )


def test_a_host_that_is_the_same_everywhere_is_no_obstacle(home: Home) -> None:
    home.write('[default]\nhost = "PVE.example.com"\nread_only = true\ntimeout = 7')

    settings = home.load(COMPLETE["telmate"])

    assert settings.connection is not None
    assert settings.connection.secrets == (SECRET,)
    assert (settings.policy.read_only, settings.connection.timeout) == (True, 7)


def test_settings_that_are_no_login_lie_over_a_familys(home: Home) -> None:
    home.write("[default]\nverify_ssl = true\ntimeout = 9")
    environ = {**COMPLETE["ansible"], "PROXMOX_API_TIMEOUT": "60", "PROXMOX_VALIDATE_CERTS": "no"}

    connection = home.connection(environ)

    assert (connection.timeout, connection.verify_ssl) == (9, True)


def test_two_hosts_under_shared_names_are_ambiguous_and_refused(home: Home) -> None:
    environ = {"PROXMOX_HOST": "one", "PROXMOX_URL": "https://two", "PROXMOX_TOKEN": WHOLE}

    with pytest.raises(ConfigError) as caught:
        home.load(environ)

    assert "host is given by environment variable PROXMOX_HOST" in str(caught.value)


def test_the_exporters_login_asks_for_a_host_of_our_own(home: Home) -> None:
    with pytest.raises(NoCredentials) as caught:
        home.load(COMPLETE["exporter"])
    assert "give that in a settings file or as PROXMOX_MCP_HOST" in str(caught.value)

    with pytest.raises(ConfigError):
        home.load({**COMPLETE["exporter"], "PROXMOX_HOST": "pve"})

    own = {**COMPLETE["exporter"], "PROXMOX_MCP_HOST": "pve"}
    assert home.connection(own).identity == "u@pve!t"
    assert home.connection(COMPLETE["exporter"], {"host": "pve"}).address == "pve:8006"


def test_in_the_demo_no_family_counts(home: Home) -> None:
    settings = home.load({**COMPLETE["telmate"], "PM_TLS_INSECURE": "perhaps"}, {"demo": "true"})

    assert settings.connection is None


# --- no secret stays or shows ----------------------------------------------------------------


def test_no_secret_of_any_family_is_left_for_children() -> None:
    environ = {name: text for each in COMPLETE.values() for name, text in each.items()}
    environ |= {
        row.name: SECRET for each in FAMILIES for row in each.rows if row.setting in SECRETS
    }
    environ |= {"PATH": "/bin"}

    scrub(environ)

    assert not [name for name, text in environ.items() if SECRET in text]
    assert {"PATH", "PM_API_URL", "PVE_USER", "PROXMOX_HOST"} <= environ.keys()


def test_what_was_found_does_not_print_its_secrets() -> None:
    for environ in COMPLETE.values():
        assert SECRET not in repr(families.read(environ))
        assert SECRET not in repr(families.choose(environ, {}))


# --- files -----------------------------------------------------------------------------------

PVE_YML = f"""\
# made by hand
default:
    user: u@pve
    token_name: "t"
    token_value: '{SECRET}'   # a comment
    verify_ssl: false
    collectors: [status, node]
other:
    user: w@pam
    password: it#is ''odd''
"""
INVENTORY = f"""\
---
plugin: community.proxmox.proxmox
url: https://pve.example.com:8443
user: u@pve
token_id: t
token_secret: {SECRET}
validate_certs: false
keyed_groups:
  - key: proxmox_tags_parsed
    user: nobody
groups:
  webservers: "'web' in proxmox_tags"
"""
TFVARS = f"""\
# Telmate
pm_api_url          = "{URL}"
pm_api_token_id     = "u@pve!t"
pm_api_token_secret = "{SECRET}" # secret
pm_tls_insecure     = true
"""
BPG_TFVARS = f'virtual_environment_endpoint = "{URL}"\nvirtual_environment_api_token = "{WHOLE}"\n'
DOT_ENV = f"""\
export PROXMOX_HOST=pve.example.com:8443
PROXMOX_USER='u@pve'
PROXMOX_TOKEN_NAME=t
PROXMOX_TOKEN_VALUE={SECRET}
"""
PROXMOXER = {"host": "pve.example.com", "port": 8443, "user": "u@pve", "token_name": "t"}
FILES: list[tuple[str, str]] = [
    ("inventory.proxmox.yml", INVENTORY),
    ("terraform.tfvars", TFVARS),
    ("bpg.tfvars", BPG_TFVARS),
    (".env", DOT_ENV),
    ("call.json", json.dumps({**PROXMOXER, "token_value": SECRET, "verify_ssl": False})),
    (
        "call.toml",
        f'[pve]\nhost = "{URL}"\nuser = "u@pve"\ntoken_name = "t"\ntoken_value = "{SECRET}"',
    ),
    ("call.yaml", f"cluster:\n  host: {URL}\n  user: u@pve!t\n  token_value: {SECRET}\n"),
    (
        "packer.pkrvars.hcl",
        f'proxmox_url = "{URL}"\nproxmox_username = "u@pve!t"\nproxmox_token = "{SECRET}"\n',
    ),
    (
        "group_vars.yml",
        f"api_host: {URL}\napi_user: u@pve\napi_token_id: t\napi_token_secret: {SECRET}\n",
    ),
    (
        "config.json",
        json.dumps(
            {
                "proxmox": {"host": "pve.example.com", "port": 8443, "verify_ssl": False},
                "auth": {"user": "u@pve", "token_name": "t", "token_value": SECRET},
                "logging": {"level": "INFO"},
            }
        ),
    ),
    (
        "claude_desktop_config.json",
        json.dumps({"mcpServers": {"pve": {"command": "node", "env": COMPLETE["telmate"]}}}),
    ),
]


@pytest.mark.parametrize(("name", "text"), FILES, ids=[name for name, _ in FILES])
def test_a_file_of_another_program_gives_its_login(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")

    found = next(one for one in credential_files.read(path) if not one.lacks)

    connection = Connection(**values(found))
    assert (connection.address, connection.identity) == ("pve.example.com:8443", "u@pve!t")
    assert secret_given_by(connection) == SECRET
    assert found.layer["token_value"].place.startswith(f"file {path}")
    assert SECRET not in repr(found)


def test_each_module_of_the_exporter_is_a_login_without_a_host(tmp_path: Path) -> None:
    path = tmp_path / "pve.yml"
    path.write_text(PVE_YML, encoding="utf-8")

    token, password = (values(found) for found in credential_files.read(path))

    assert token == {
        "user": "u@pve",
        "token_name": "t",
        "token_value": SECRET,
        "verify_ssl": False,
    }
    assert password == {"user": "w@pam", "password": "it#is ''odd''"}


def test_a_clients_file_is_searched_for_variables_only(tmp_path: Path) -> None:
    path = tmp_path / ".claude.json"
    table = {"host": "db", "user": "u@pve", "password": "x-y-z"}
    servers = {"proxmox": {"env": TOKEN_ENV}, "db": {"env": table}}
    path.write_text(
        json.dumps({"a": table, "b": COMPLETE["bpg"], "projects": {"/x": {"mcpServers": servers}}})
    )

    (found,) = credential_files.in_clients(path)

    assert values(found)["host"] == "pve"
    assert found.layer["token_value"].place == (
        f"file {path}, projects./x.mcpServers.proxmox.env: PROXMOX_TOKEN_VALUE"
    )


def test_another_servers_json_is_found_by_the_variable_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(dict(FILES)["config.json"])

    (found,) = credential_files.in_environment({"PROXMOX_MCP_CONFIG": str(path)})

    assert values(found)["token_value"] == SECRET


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.json", b'{"password": "7f3c1b9e-secret-value', "is not valid JSON"),
        ("a.toml", b"password = 7f3c1b9e-secret-value", "is not valid TOML"),
        ("a.yml", b"password: 7f3c1b9e-secret-value: x", "is not valid YAML"),
        ("a.yaml", b"password: '7f3c1b9e-secret-value", "is not valid YAML"),
        ("a.yaml", b"password: !!map 7f3c1b9e-secret-value", "is not valid YAML"),
        ("a.yaml", b"password: {{ 7f3c1b9e-secret-value }}", "is not valid YAML"),
        ("a.yaml", b"password: 7f3c1b9e-secret-value\n---\na: b", "YAML of one document"),
        ("a.yml", b"password: 7f3c1b9e-secret-value\x07", "is not valid YAML"),
        ("a.yml", b"#" * 300_000 + b"7f3c1b9e-secret-value", "is too large to hold a login"),
        ("a.env", b"\xff7f3c1b9e-secret-value", "is not UTF-8 text"),
        ("nowhere/a", None, "cannot be read: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_without_its_content(
    tmp_path: Path, name: str, data: bytes | None, words: str
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(Unreadable) as caught:
        credential_files.read(path)

    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "token_value: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162",
        "token_value: !env_var TOKEN",
        "token_value: !!binary c2VjcmV0",
        "token_value: !!timestamp secret",
        "token_value: !!python/object/apply:os.getcwd []",
        "token_value: \"{{ lookup('env', 'X') }}\"",
        "token_value: ~",
        "token_value: null",
        "token_value:",
        "token_value: [a, b]",
        "token_value: {a: b}",
    ],
)
def test_what_only_another_program_can_read_is_left_out_and_not_guessed(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "x.yml"
    path.write_text(f"host: pve\nuser: u@pve\ntoken_name: t\n{line}\nport: 8007\n")

    (found,) = credential_files.read(path)

    assert found.lacks == ("token_value",)
    assert found.layer["port"].value == 8007


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0123", "0123"),
        ("yes", "yes"),
        ("1e3", "1e3"),
        ("2026-01-02", "2026-01-02"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("!!int 0123", "0123"),
        ("!!str null", "null"),
        ("!unsafe 'a b'", "a b"),
        ("it#is ''odd''  # a comment", "it#is ''odd''"),
        ('"\\x41\\u00e9"', "Aé"),
        ("'null'", "null"),
        ("|-\n  two\n  lines", "two\nlines"),
    ],
)
def test_a_password_stays_as_it_was_written_whatever_yaml_makes_of_it(
    tmp_path: Path, written: str, meant: str
) -> None:
    path = tmp_path / "x.yml"
    path.write_text(f"user: u@pve\npassword: {written}\n", encoding="utf-8")

    (found,) = credential_files.read(path)

    assert values(found) == {"user": "u@pve", "password": meant}


def test_what_yaml_merges_is_one_table(tmp_path: Path) -> None:
    path = tmp_path / "pve.yml"
    path.write_text(
        f"default: &base\n  user: u@pve\n  verify_ssl: no\nother:\n  <<: *base\n"
        f"  token_name: t\n  token_value: {SECRET}\n"
    )

    (found,) = credential_files.read(path)

    assert values(found) == {
        "user": "u@pve",
        "verify_ssl": False,
        "token_name": "t",
        "token_value": SECRET,
    }


@pytest.mark.parametrize(
    "repeat",
    [
        "{{{}}}".format(", ".join(f"k{number}: *before" for number in range(9))),
        "{{<<: [{}]}}".format(", ".join(["*before"] * 9)),
        "{again: *own}",
    ],
    ids=["aliases", "merges", "itself"],
)
@pytest.mark.timeout(20)
def test_a_few_lines_of_aliases_do_not_become_millions(tmp_path: Path, repeat: str) -> None:
    lines = ["a0: &a0 {user: u@pve, password: x}"]
    lines += [
        f"a{level}: &a{level} "
        + repeat.replace("*before", f"*a{level - 1}").replace("*own", f"*a{level}")
        for level in range(1, 10)
    ]
    path = tmp_path / "x.yml"
    path.write_text("\n".join(lines))

    with pytest.raises(Unreadable, match="is not valid YAML"):
        credential_files.read(path)


# --- writing ---------------------------------------------------------------------------------

LOGIN: dict[str, writing.Value] = {"host": "pve", "port": 8006, "token_value": SECRET}


def test_other_profiles_settings_and_comments_stay(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write(
        '# mine\n[default]\nhost = "old"  # there\nread_only = true # no\n\n[lab]\nport = 1\n'
    )
    home.write(
        '[default]\nhost = "older"\npassword = "x"\n[lab]\npassword = "y"\n', ".secrets.toml"
    )

    texts = writing.planned(tmp_path, "default", LOGIN)

    assert texts[tmp_path / "settings.toml"] == (
        '# mine\n[default]\nhost = "pve"\nread_only = true # no\nport = 8006\n\n[lab]\nport = 1\n'
    )
    assert texts[tmp_path / ".secrets.toml"] == (
        f'[default]\ntoken_value = "{SECRET}"\n[lab]\npassword = "y"\n'
    )


def test_writing_again_changes_nothing_and_leaves_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "proxmox-mcp"
    texts = writing.planned(folder, "lab", LOGIN)

    assert writing.write(texts) == list(texts)
    assert writing.planned(folder, "lab", LOGIN) == texts
    assert writing.write(texts) == []

    assert {path.name for path in folder.iterdir()} == {"settings.toml", ".secrets.toml"}
    assert [path.stat().st_mode & 0o777 for path in (folder, *texts)] == [0o700, 0o600, 0o600]


def test_the_other_nodes_of_another_cluster_are_forgotten(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.write('[default]\nhost = "pve"\nhosts = ["pve2"]\n')

    same = writing.planned(tmp_path, "default", LOGIN)
    other = writing.planned(tmp_path, "default", {**LOGIN, "host": "elsewhere"})

    assert "pve2" in same[tmp_path / "settings.toml"]
    assert "pve2" not in other[tmp_path / "settings.toml"]


@pytest.mark.parametrize(
    "text",
    [
        '[default]\nhost = "pve',
        'default = { host = "old" }\n',
        'default.host = "old"\n',
        '[default]\nhost = """\nold"""\n',
        "default = 1\n",
    ],
)
def test_what_cannot_be_changed_safely_is_refused(tmp_path: Path, text: str) -> None:
    path = Home(tmp_path).write(text)

    with pytest.raises(writing.CannotEdit) as caught:
        writing.planned(tmp_path, "default", LOGIN)

    assert str(path) in str(caught.value)
    assert path.read_text() == text


@pytest.mark.parametrize("text", ['a"b\\c', "é\x7f\t", "[x]", "'#", "\u2028"])
def test_any_text_is_written_so_that_it_is_read_back(tmp_path: Path, text: str) -> None:
    Home(tmp_path).write("[default]\nread_only = true")
    writing.write(writing.planned(tmp_path, "lab", {**LOGIN, "password": text, "user": text}))
    writing.write(writing.planned(tmp_path, "lab", {**LOGIN, "password": text, "user": text}))

    settings = (tmp_path / ".secrets.toml").read_text(encoding="utf-8")
    assert writing.edited(settings, "lab", {"password": text}, (), tmp_path) == settings


def test_the_home_folder_is_found_without_an_environment() -> None:
    with pytest.raises(NoCredentials, match="proxmox-mcp init"):
        load(environ={}, config_folder=Path("/nowhere"))
