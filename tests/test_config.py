"""Settings: which place wins, what is refused in which words, and that no value is ever told."""

import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxmox_mcp.config import ConfigError, NoCredentials, Settings, files, load, names
from proxmox_mcp.logs import LogSettings
from proxmox_mcp.pve.connection import Connection, Limits
from proxmox_mcp.toolkit.policy import Policy

SECRET = "7f3c1b9e-secret-value"
TOKEN_TOML = f'host = "pve"\nuser = "root@pam"\ntoken_name = "mcp"\ntoken_value = "{SECRET}"\n'
TOKEN_ENV = {
    "PROXMOX_HOST": "pve",
    "PROXMOX_USER": "root@pam",
    "PROXMOX_TOKEN_NAME": "mcp",
    "PROXMOX_TOKEN_VALUE": SECRET,
}
ROOT = Path(__file__).resolve().parents[1]


class Home:
    """One user's configuration folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, text: str, name: str = "settings.toml") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        return path

    def load(
        self, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
    ) -> Settings:
        return load(environ=environ or {}, flags=flags or {}, config_folder=self.folder)

    def connection(
        self, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
    ) -> Connection:
        connection = self.load(environ, flags).connection
        assert connection is not None
        return connection

    def problems(
        self, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
    ) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self.load(environ, flags)
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value)
        assert all(problem in str(caught.value) for problem in caught.value.problems)
        return caught.value.problems


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    elsewhere = tmp_path / "a project" / "deep"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    return Home(tmp_path / "config" / "proxmox-mcp")


def secret_of(connection: Connection) -> str:
    secret = connection.token_value or connection.password
    assert secret is not None
    return secret.get_secret_value()


# --- which place wins ------------------------------------------------------------------------


def test_the_environment_alone_is_enough(home: Home) -> None:
    settings = home.load(TOKEN_ENV)

    assert settings.connection is not None
    assert settings.connection.address == "pve:8006"
    assert settings.connection.identity == "root@pam!mcp"
    assert secret_of(settings.connection) == SECRET
    assert (settings.profile, settings.demo) == ("default", False)
    assert settings.policy == Policy()
    assert settings.limits == Limits()
    assert settings.log == LogSettings()
    assert settings.warnings == ()


def test_each_place_wins_over_the_one_below(home: Home) -> None:
    named = home.write("[default]\ntimeout = 4", "named.toml")
    steps: list[tuple[dict[str, str], dict[str, str], str]] = [
        ({}, {}, "packaged default"),
        ({}, {}, "settings.toml, profile default"),
        ({}, {}, ".secrets.toml, profile default"),
        ({"PROXMOX_MCP_CONFIG": str(named)}, {}, "named.toml, profile default"),
        ({"PROXMOX_TIMEOUT": "5000"}, {}, "environment variable PROXMOX_TIMEOUT"),
        ({"PROXMOX_MCP_TIMEOUT": "6"}, {}, "environment variable PROXMOX_MCP_TIMEOUT"),
        ({}, {"timeout": "7"}, "command line --timeout"),
    ]
    environ, flags, seen = dict(TOKEN_ENV), dict[str, str](), []
    for index, (variables, given, place) in enumerate(steps):
        environ |= variables
        flags |= given
        if index == 1:
            home.write("[default]\ntimeout = 2")
        if index == 2:
            home.write("[default]\ntimeout = 3", ".secrets.toml")
        settings = home.load(environ, flags)
        assert settings.connection is not None
        seen.append(settings.connection.timeout)
        assert settings.sources["timeout"].endswith(place)

    assert seen == [35, 2, 3, 4, 5, 6, 7]


def test_a_profile_lies_over_default_in_each_file(home: Home) -> None:
    home.write('[default]\nhost = "a"\nuser = "u@pam"\nport = 1\n[homelab]\nhost = "b"\n[work]\n')
    home.write('[homelab]\npassword = "from-homelab"\n[work]\npassword = "x"', ".secrets.toml")

    for settings in (
        home.load(flags={"profile": "homelab"}),
        home.load({"PROXMOX_MCP_PROFILE": "HomeLab"}),
        home.load({"PROXMOX_MCP_PROFILE": "work"}, {"profile": "homelab"}),
    ):
        assert settings.profile == "homelab"
        assert settings.connection is not None
        assert settings.connection.address == "b:1"
        assert secret_of(settings.connection) == "from-homelab"


def test_a_table_is_replaced_and_never_joined(home: Home) -> None:
    home.write(f'[default]\n{TOKEN_TOML}proxies = {{ http = "http://a", https = "http://b" }}')
    home.write('[default]\nproxies = { https = "http://c" }', ".secrets.toml")

    assert home.connection().proxies == {"https": "http://c"}


@pytest.mark.parametrize(
    ("below", "environ", "identity"),
    [
        (
            'password = "x-y-z"\notp = "123456"',
            {"PROXMOX_TOKEN_NAME": "t", "PROXMOX_TOKEN_VALUE": SECRET},
            "root@pam!t",
        ),
        (
            'token_name = "mcp"\ntoken_value = "x-y-z"',
            {"PROXMOX_MCP_PASSWORD": SECRET},
            "root@pam",
        ),
        (
            'password = "x-y-z"',
            {"PROXMOX_TOKEN_VALUE": f"PVEAPIToken=a@pve!t={SECRET}"},
            "a@pve!t",
        ),
        (
            'token_name = "mcp"\ntoken_value = "x-y-z"',
            {"PROXMOX_TOKEN_VALUE": SECRET},
            "root@pam!mcp",
        ),
    ],
)
def test_another_way_to_log_in_replaces_the_lower_one_as_a_whole(
    home: Home, below: str, environ: dict[str, str], identity: str
) -> None:
    home.write(f'[default]\nhost = "pve"\nuser = "root@pam"\n{below}')

    connection = home.connection(environ)

    assert connection.identity == identity
    assert secret_of(connection) == SECRET


def test_a_profile_may_log_in_another_way_than_default(home: Home) -> None:
    home.write(f'[default]\n{TOKEN_TOML}[lab]\nhost = "lab"\npassword = "x-y-z"')

    assert home.connection(flags={"profile": "lab"}).identity == "root@pam"
    assert home.connection().identity == "root@pam!mcp"


def test_a_secret_from_a_file_does_not_follow_a_host_from_the_environment(home: Home) -> None:
    home.write(f"[default]\n{TOKEN_TOML}", ".secrets.toml")

    (problem,) = home.problems({"PROXMOX_HOST": "elsewhere"})

    assert problem.startswith("token_value (file ")
    assert "environment variable PROXMOX_HOST" in problem
    assert home.connection({"PROXMOX_HOST": "https://PVE:443"}).address == "pve:443"


def test_host_and_secret_may_stand_in_different_files(home: Home) -> None:
    home.write('[default]\nhost = "pve"\nuser = "root@pam"')
    named = home.write(f'[default]\npassword = "{SECRET}"', "named.toml")

    assert secret_of(home.connection(flags={"config": str(named)})) == SECRET


def test_a_port_inside_a_host_wins_over_a_port_from_below(home: Home) -> None:
    home.write("[default]\nport = 8007")

    settings = home.load({**TOKEN_ENV, "PROXMOX_HOST": "https://pve:443/api2/json"})

    assert settings.connection is not None
    assert settings.connection.port == 443
    assert settings.sources["port"] == "environment variable PROXMOX_HOST"


# --- files -----------------------------------------------------------------------------------


def test_nothing_is_read_from_the_working_directory_or_above(home: Home) -> None:
    for folder in (Path.cwd(), *list(Path.cwd().parents)[:2]):
        for name in ("settings.toml", ".secrets.toml", "settings.local.toml"):
            (folder / name).write_text(f"[default]\n{TOKEN_TOML}")
        (folder / ".env").write_text("PROXMOX_HOST=evil\nPROXMOX_MCP_DEMO=true\n")

    with pytest.raises(NoCredentials):
        home.load()
    assert "PROXMOX_MCP_DEMO" not in os.environ


def test_local_files_hooks_and_includes_beside_a_settings_file_stay_unread(home: Home) -> None:
    home.write(f"[default]\n{TOKEN_TOML}")
    home.write('[default]\nhost = "local"', "settings.local.toml")
    home.write('[default]\nhost = "local"', ".secrets.local.toml")
    marker = home.folder / "executed"
    home.write(
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
        "def post(settings):\n    return {'HOST': 'hook'}\n",
        "dynaconf_hooks.py",
    )

    assert home.connection().host == "pve"
    assert not marker.exists()


@pytest.mark.parametrize(
    "key", ["dynaconf_include", "dynaconf_merge", "host__merge", '"a.b"', "INCLUDES_FOR_DYNACONF"]
)
def test_dynaconfs_own_keys_mean_nothing_here(home: Home, key: str) -> None:
    home.write(f'[default]\n{TOKEN_TOML}{key} = ["other.toml"]')
    home.write("[default]\nport = 1", "other.toml")

    (problem,) = home.problems()

    assert "is not a setting" in problem


@pytest.mark.parametrize(
    "variable",
    [
        ("ENV_FOR_DYNACONF", "work"),
        ("FORCE_ENV_FOR_DYNACONF", "work"),
        ("DEFAULT_ENV_FOR_DYNACONF", "work"),
        ("AUTO_CAST_FOR_DYNACONF", "true"),
        ("MERGE_ENABLED_FOR_DYNACONF", "true"),
        ("SECRETS_FOR_DYNACONF", "{folder}/other.toml"),
        ("INCLUDES_FOR_DYNACONF", "{folder}/other.toml"),
        ("SETTINGS_FILE_FOR_DYNACONF", "{folder}/other.toml"),
        ("ENVVAR_PREFIX_FOR_DYNACONF", "WORK"),
        ("LOAD_DOTENV_FOR_DYNACONF", "true"),
        ("DYNACONF_HOST", "evil"),
    ],
    ids=lambda variable: variable[0],
)
def test_dynaconfs_own_variables_have_no_effect(home: Home, variable: tuple[str, str]) -> None:
    home.write(f'[default]\n{TOKEN_TOML}[work]\nhost = "work"')
    home.write('[default]\nhost = "other"', "other.toml")
    name, value = variable
    script = (
        "import sys; from pathlib import Path; from proxmox_mcp.config import load; "
        "print(load(environ={}, config_folder=Path(sys.argv[1])).connection.host)"
    )

    answer = subprocess.run(  # noqa: S603  dynaconf reads some of them at import
        [sys.executable, "-c", script, str(home.folder)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            name: value.format(folder=home.folder),
        },
        capture_output=True,
        check=True,
    )

    assert answer.stdout.decode().strip() == "pve"


def test_a_folder_name_full_of_wildcards_is_only_a_name(tmp_path: Path) -> None:
    home = Home(tmp_path / "a [b]*, c;d" / "proxmox-mcp")
    home.write(f"[default]\n{TOKEN_TOML}")

    assert home.connection().host == "pve"


@pytest.mark.parametrize("password", ["@int x", "@format {env[HOME]}", "@none", "@jinja {{ 1 }}"])
def test_a_password_that_begins_with_an_at_sign_is_only_a_password(
    home: Home, password: str
) -> None:
    home.write(f'[default]\nhost = "pve"\nuser = "root@pam"\npassword = "{password}"')

    assert secret_of(home.connection()) == password


@pytest.mark.parametrize("text", ["12345678", "true", "1e10", "0x1f", "1_000", "2026-01-01", "nan"])
def test_a_secret_in_the_environment_is_text_whatever_it_looks_like(home: Home, text: str) -> None:
    assert secret_of(home.connection({**TOKEN_ENV, "PROXMOX_TOKEN_VALUE": text})) == text


@pytest.mark.parametrize("literal", ["12345678", "true", "2026-01-01", "1.5", "[1]", "{ a = 1 }"])
@pytest.mark.parametrize("setting", ["token_value", "password", "otp"])
def test_an_unquoted_secret_in_a_file_is_refused_and_not_printed(
    home: Home, setting: str, literal: str
) -> None:
    path = home.write(f'[default]\nhost = "pve"\nuser = "root@pam"\n{setting} = {literal}')

    problems = home.problems()

    assert f"{setting} (file {path}, profile default): must be a quoted string" in problems
    if len(literal) > 4:
        assert literal not in "".join(problems).replace(str(path), "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'[default]\nhost = "pve\ntoken_value = "{SECRET}"', "line 2, column"),
        (f"[default]\npassword = {SECRET}\nport = 1", "line 2, column"),
        ("[default", "line 1, its end"),
    ],
)
def test_broken_toml_is_named_by_file_and_line_and_not_quoted(
    home: Home, text: str, words: str
) -> None:
    path = home.write(text)

    (problem,) = home.problems()

    assert str(path) in problem
    assert words in problem


def test_a_file_that_is_no_text_or_no_file_is_a_problem(home: Home) -> None:
    (home.folder / ".secrets.toml").mkdir(parents=True)
    (home.folder / "settings.toml").write_bytes(b"[default]\nhost = '\xff'")

    not_text, not_file = home.problems()

    assert "settings.toml): is not UTF-8 text" in not_text
    assert ".secrets.toml): cannot be read" in not_file


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("host = 'a'\n[default]", "host (file {}): stands outside any table"),
        (
            "[default]\nhots = 1",
            "hots (file {}, profile default): is not a setting; did you mean hosts?",
        ),
        (
            "[default]\nHOST = 'a'",
            "HOST (file {}, profile default): is not a setting; did you mean host?",
        ),
        (
            "[default]\nurl = 'a'",
            "url (file {}, profile default): is not a setting; did you mean host?",
        ),
        ("[default.pve]\nhost = 'a'", "pve (file {}, profile default): is not a setting"),
        ("[default]\nprofile = 'a'", "profile (file {}, profile default): cannot stand in a file"),
        ("[default]\nconfig = 'a'", "config (file {}, profile default): cannot stand in a file"),
        ("[global]\nport = 1", "[global] (file {}): cannot be the name of a profile"),
        ("[dynaconf]\nport = 1", "[dynaconf] (file {}): cannot be the name of a profile"),
        (
            "[default]\nport = '1'",
            "port (file {}, profile default): must be a whole number, without",
        ),
        (
            "[default]\nport = true",
            "port (file {}, profile default): must be a whole number, without",
        ),
        (
            "[default]\nport = 0",
            "port (file {}, profile default): must be greater than or equal to 1",
        ),
        (
            "[default]\ntimeout = '35'",
            "timeout (file {}, profile default): must be a number, without",
        ),
        (
            "[default]\ntimeout = 0",
            "timeout (file {}, profile default): must be greater than 0 (in s",
        ),
        ("[default]\ncert = 3", "cert (file {}, profile default): must be a quoted string"),
        ("[default]\ndemo = 1", "demo (file {}, profile default): must be true or false, without"),
        ("[default]\nlog_level = 'LOUD'", "log_level (file {}, profile default): must be 'DEBUG'"),
        ("[default]\nlog_folder = 'logs'", "log_folder (file {}, profile default): must be an abs"),
        (
            "[default]\nretry_attempts = 11",
            "retry_attempts (file {}, profile default): must be less",
        ),
        (
            "[default]\nverify_ssl = 'ca.pem'",
            "verify_ssl (file {}, profile default): must be an abs",
        ),
        ("[default]\nproxies = 'x'", "proxies (file {}, profile default): must be a table such as"),
        (
            "[other]\nhots = 1",
            "hots (file {}, profile other): is not a setting; did you mean hosts?",
        ),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place_and_remedy(
    home: Home, text: str, problem: str
) -> None:
    path = home.write(text)

    problems = home.problems(TOKEN_ENV)

    assert len(problems) == 1
    assert problems[0].startswith(problem.format(path))


def test_one_mistake_makes_one_problem(home: Home) -> None:
    home.write(f"[default]\n{TOKEN_TOML}".replace(f'"{SECRET}"', "12345678"))

    (problem,) = home.problems()

    assert problem.endswith("must be a quoted string")


def test_every_problem_is_reported_at_once(home: Home) -> None:
    home.write("[default]\nhots = 1\nport = 'x'\nlog_backups = 0\nretry_total = -1")

    problems = home.problems({"PROXMOX_MCP_DEMO": "maybe", "PROXMOX_TIMEOUT": "30"}, {"prot": "1"})

    assert {re.split(r"[ :]", problem)[0] for problem in problems} == {
        "hots",
        "port",
        "log_backups",
        "retry_total",
        "demo",
        "timeout",
        "--prot",
        "host",
        "user",
        "token_value",
    }


def test_a_misspelt_profile_lists_those_there_are(home: Home) -> None:
    home.write(f"[default]\n{TOKEN_TOML}[homelab]\n[work]")

    (problem,) = home.problems(flags={"profile": "homelb"})

    assert problem == (
        "profile (command line --profile): is in no settings file; there are: default, homelab, "
        "work; did you mean homelab?"
    )


@pytest.mark.parametrize("profile", ["homelab,work", "global", "dynaconf"])
def test_a_profile_that_dynaconf_would_understand_otherwise_is_refused(
    home: Home, profile: str
) -> None:
    home.write(f"[default]\n{TOKEN_TOML}[homelab]\n[work]")

    assert "is in no settings file" in home.problems(flags={"profile": profile})[0]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("settings.toml", "must be an absolute path"),
        ("/nowhere/settings.toml", "names a file that does not exist"),
        ("/nowhere/config.json", "must name a .toml file"),
    ],
)
def test_a_named_file_must_be_there(home: Home, value: str, words: str) -> None:
    (problem,) = home.problems({"PROXMOX_MCP_CONFIG": value})

    assert problem.startswith("config (environment variable PROXMOX_MCP_CONFIG): ")
    assert words in problem


def test_a_named_file_may_start_with_the_home_sign(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home.write(f"[default]\n{TOKEN_TOML}", "named.toml")
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("USERPROFILE", str(path.parent))

    assert home.connection(flags={"config": "~/named.toml"}).host == "pve"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_secrets_file_that_others_can_read_or_change_is_refused(home: Home, mode: int) -> None:
    path = home.write(f"[default]\n{TOKEN_TOML}", ".secrets.toml")
    path.chmod(mode)

    (problem,) = home.problems()

    assert problem.startswith(f"token_value (file {path}): ")
    assert problem.endswith(f"run: chmod 600 {path}")
    path.chmod(0o600)
    assert home.load().warnings == ()


# --- the environment and flags ---------------------------------------------------------------


@pytest.mark.parametrize("setting", [name for name in names.SETTINGS if name not in names.EXTRA])
def test_every_setting_has_a_variable_and_a_flag(home: Home, setting: str) -> None:
    values: dict[type | str, str] = {
        "demo": "no",
        **dict.fromkeys(
            ("read_only", "allow_elevated", "dry_run", "show_secrets", "client_prompts"), "on"
        ),
        "allow_destructive": "off",
        "confirm": "strict",
        "audit_file": str(Path(__file__).with_suffix(".jsonl")),
        "host": "other",
        "hosts": "pve2, pve3:8007",
        "user": "u@pve",
        "token_name": "t",
        "password": "x-y-z",
        "otp": "123456",
        "verify_ssl": "no",
        "fingerprint": "ab" * 32,
        "cert": str(Path(__file__)),
        "proxies": "http://proxy:3128",
        "service": "pve",
        "backend": "https",
        "mode": "json",
        "path_prefix": "pve",
        "log_folder": str(Path(__file__).parent),
        "log_level": "debug",
        "log_max_bytes": "5000",
    }
    text = values.get(setting, "7")
    login = (
        {**TOKEN_ENV, "PROXMOX_PASSWORD": ""}
        if setting not in {"password", "otp"}
        else {
            "PROXMOX_HOST": "pve",
            "PROXMOX_USER": "root@pam",
            "PROXMOX_PASSWORD": SECRET,
        }
    )
    variable = f"PROXMOX_MCP_{setting.upper()}"

    by_variable = home.load({**login, variable: text})
    by_flag = home.load(login, {setting: text})

    assert by_variable.sources[setting] == f"environment variable {variable}"
    assert by_flag.sources[setting] == f"command line --{setting.replace('_', '-')}"
    assert by_variable.model_dump(exclude={"sources", "warnings"}) == by_flag.model_dump(
        exclude={"sources", "warnings"}
    )


@pytest.mark.parametrize(
    ("word", "meant"), [("TRUE", True), ("0", False), ("Yes", True), ("off", False)]
)
def test_a_boolean_is_read_from_the_usual_words(home: Home, word: str, meant: bool) -> None:  # noqa: FBT001
    settings = home.load({**TOKEN_ENV, "PROXMOX_ALLOW_ELEVATED": word, "PROXMOX_VERIFY_SSL": word})

    assert settings.policy.allow_elevated is meant
    assert settings.connection is not None
    assert settings.connection.verify_ssl is meant


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("PROXMOX_MCP_DEMO", "maybe", "must be one of true, false"),
        ("PROXMOX_PORT", "80a", "must be a whole number"),
        ("PROXMOX_PORT", "8_006", "must be a whole number"),
        ("PROXMOX_RETRY_ATTEMPTS", "3.5", "must be a whole number"),
        ("PROXMOX_MCP_TIMEOUT", "1e3", "must be a plain number"),
        ("PROXMOX_MCP_TIMEOUT", "35s", "must be a plain number"),
        ("PROXMOX_MCP_PROXIES", '{"https": 3}', "must be the proxy's URL"),
        ("PROXMOX_MCP_PROXIES", "{https}", "must be the proxy's URL"),
        ("PROXMOX_VERIFY_SSL", "maybe", "must be an absolute path"),
        ("PROXMOX_FINGERPRINT", "abc", "64 hex digits"),
        ("PROXMOX_HOST", "http://pve", "must be https"),
        ("PROXMOX_MCP_LOG_LEVEL", "loud", "must be 'DEBUG'"),
    ],
)
def test_a_mistake_in_a_variable_is_told_with_its_name(
    home: Home, name: str, text: str, words: str
) -> None:
    (problem,) = home.problems({**TOKEN_ENV, name: text})

    assert f"(environment variable {name}): " in problem
    assert words in problem
    assert text not in problem


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("PROXMOX_MCP_HOTS", "PROXMOX_MCP_HOSTS"),
        ("PROXMOX_MCP_TOKEN_SECRET", "PROXMOX_MCP_TOKEN_VALUE"),
        ("PROXMOX_MCP_LOGLEVEL", "PROXMOX_MCP_LOG_LEVEL"),
        ("PROXMOX_MCP_PROFIL", "PROXMOX_MCP_PROFILE"),
    ],
)
def test_an_unknown_variable_of_ours_names_the_nearest(home: Home, name: str, nearest: str) -> None:
    (problem,) = home.problems({**TOKEN_ENV, name: SECRET})

    assert problem == f"{name} (environment variable): is not a setting; did you mean {nearest}?"


def test_other_programs_variables_are_none_of_our_business(home: Home) -> None:
    environ = {
        **TOKEN_ENV,
        "PROXMOX_VE_ENDPOINT": "x",
        "PROXMOX_URL": "y",
        "HOST": "z",
        "DEMO": "1",
    }

    assert home.load(environ) == home.load(TOKEN_ENV)


@pytest.mark.parametrize(
    ("environ", "timeout", "delay"),
    [
        ({}, 35, 0.5),
        ({"PROXMOX_TIMEOUT": "30000", "PROXMOX_RETRY_DELAY": "250"}, 30, 0.25),
        ({"PROXMOX_TIMEOUT": "1000", "PROXMOX_RETRY_DELAY": "0"}, 1, 0),
        ({"PROXMOX_MCP_TIMEOUT": "30", "PROXMOX_MCP_RETRY_DELAY": "0.5"}, 30, 0.5),
        ({"PROXMOX_MCP_TIMEOUT": "0.5", "PROXMOX_TIMEOUT": "9000"}, 0.5, 0.5),
    ],
)
def test_the_two_names_of_the_reference_system_are_in_milliseconds(
    home: Home, environ: dict[str, str], timeout: float, delay: float
) -> None:
    settings = home.load({**TOKEN_ENV, **environ})

    assert settings.connection is not None
    assert (settings.connection.timeout, settings.limits.retry_delay) == (timeout, delay)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PROXMOX_TIMEOUT", "30"),
        ("PROXMOX_TIMEOUT", "999"),
        ("PROXMOX_TIMEOUT", "0"),
        ("PROXMOX_RETRY_DELAY", "9"),
        ("PROXMOX_RETRY_DELAY", "0.5"),
        ("PROXMOX_RETRY_DELAY", "-500"),
    ],
)
def test_milliseconds_that_look_like_seconds_are_refused_with_the_other_name(
    home: Home, name: str, text: str
) -> None:
    (problem,) = home.problems({**TOKEN_ENV, name: text})

    assert "is in milliseconds" in problem
    assert f"{name.replace('PROXMOX_', 'PROXMOX_MCP_')} takes seconds" in problem


@pytest.mark.parametrize(
    ("environ", "level", "warned"),
    [
        ({"LOG_LEVEL": "debug"}, "DEBUG", False),
        ({"LOG_LEVEL": "Warn"}, "WARNING", False),
        ({"LOG_LEVEL": "error", "PROXMOX_MCP_LOG_LEVEL": "warn"}, "WARNING", False),
        ({"LOG_LEVEL": "trace"}, "INFO", True),
        ({"LOG_LEVEL": "5"}, "INFO", True),
        ({"LOG_LEVEL": ""}, "INFO", False),
    ],
)
def test_the_generic_log_level_is_used_when_it_makes_sense(
    home: Home,
    environ: dict[str, str],
    level: str,
    warned: bool,  # noqa: FBT001
) -> None:
    settings = home.load({**TOKEN_ENV, **environ})

    assert settings.log.level == level
    assert [text[:9] for text in settings.warnings] == (["LOG_LEVEL"] if warned else [])


@pytest.mark.parametrize("text", ["", "  ", "${PROXMOX_PORT}", "${PORT:-8007}"])
def test_an_empty_or_unexpanded_text_counts_as_not_set(home: Home, text: str) -> None:
    home.write("[default]\nport = 8007")
    home.write(f'[default]\npath_prefix = "{text}"', ".secrets.toml")
    everywhere = dict.fromkeys(("PROXMOX_PORT", "PROXMOX_MCP_PROFILE", "PROXMOX_MCP_CONFIG"), text)

    connection = home.connection({**TOKEN_ENV, **everywhere}, {"port": text, "demo": text})

    assert connection.port == 8007
    assert connection.path_prefix is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("${H}", "is the literal text ${...}: the client did not expand it"), ("", "is empty")],
)
def test_a_missing_host_recalls_the_variable_that_did_not_count(
    home: Home, text: str, words: str
) -> None:
    problems = home.problems({**TOKEN_ENV, "PROXMOX_HOST": text})

    assert f"host: PROXMOX_HOST {words}" in problems
    assert any(problem.startswith("host: is missing") for problem in problems)


# --- logging in, or not ----------------------------------------------------------------------


def test_without_any_login_all_ways_to_give_one_are_told(home: Home) -> None:
    with pytest.raises(NoCredentials) as caught:
        home.load({"PROXMOX_TOKEN_VALUE": "${TOKEN}", "PROXMOX_PORT": "8006"})

    page = str(caught.value)
    for part in (
        "PROXMOX_HOST",
        "PROXMOX_TOKEN_VALUE is the literal text ${...}",
        str(home.folder / ".secrets.toml"),
        "--config",
        "proxmox-mcp --demo",
    ):
        assert part in page


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("PROXMOX_HOST", "host: is missing"),
        ("PROXMOX_USER", "user: is missing"),
        ("PROXMOX_TOKEN_NAME", "token_name: is missing"),
        ("PROXMOX_TOKEN_VALUE", "token_value: is missing"),
    ],
)
def test_half_a_login_is_an_error_that_names_the_other_half(
    home: Home, missing: str, words: str
) -> None:
    (problem,) = home.problems({k: v for k, v in TOKEN_ENV.items() if k != missing})

    assert problem.startswith(words)


def test_two_ways_to_log_in_at_the_same_height_are_an_error(home: Home) -> None:
    (problem,) = home.problems({**TOKEN_ENV, "PROXMOX_PASSWORD": SECRET})

    assert problem.startswith("password (environment variable PROXMOX_PASSWORD): ")
    assert "one way" in problem


def test_a_broken_file_is_not_mistaken_for_a_missing_login(home: Home) -> None:
    home.write(f"[default]\ntoken_value = {SECRET}", ".secrets.toml")

    with pytest.raises(ConfigError) as caught:
        home.load()

    assert not isinstance(caught.value, NoCredentials)
    assert len(caught.value.problems) == 1


def test_demo_mode_needs_no_login_and_looks_at_none(home: Home) -> None:
    home.write("[default]\nhost = 'http://x'\npassword = 12345678")

    settings = home.load({"PROXMOX_TIMEOUT": "3", "PROXMOX_VERIFY_SSL": "no"}, {"demo": "true"})

    assert settings.demo
    assert settings.connection is None
    assert settings.warnings == ()


def test_demo_mode_still_minds_the_other_settings(home: Home) -> None:
    (problem,) = home.problems({"PROXMOX_MCP_MAX_PARALLEL": "0"}, {"demo": "true"})

    assert problem.startswith("max_parallel (")


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({}, False),
        ({"PROXMOX_VERIFY_SSL": "false"}, True),
        ({"PROXMOX_VERIFY_SSL": "false", "PROXMOX_FINGERPRINT": "ab" * 32}, False),
    ],
)
def test_verification_off_is_a_warning_unless_the_certificate_is_pinned(
    home: Home,
    environ: dict[str, str],
    warned: bool,  # noqa: FBT001
) -> None:
    warnings = home.load({**TOKEN_ENV, **environ}).warnings

    assert [text.startswith("TLS verification is OFF") for text in warnings] == [True] * warned


# --- printing --------------------------------------------------------------------------------


def test_no_way_of_printing_the_settings_shows_a_secret(home: Home) -> None:
    home.write(
        f'[default]\nhost = "pve"\nuser = "root@pam"\npassword = "{SECRET}"\notp = "{SECRET}2"'
    )
    environ = {"PROXMOX_MCP_PROXIES": f"http://me:{SECRET}@proxy:3128"}

    settings = home.load(environ)

    assert settings.connection is not None
    assert settings.connection.secrets == (SECRET, f"{SECRET}2", SECRET)
    for shown in (
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        str(settings.model_dump(mode="json")),
        settings.model_dump_json(),
        str(settings.sources),
        str(settings.warnings),
    ):
        assert SECRET not in shown


def test_every_setting_says_where_it_came_from(home: Home) -> None:
    path = home.write(f"[default]\n{TOKEN_TOML}[lab]\nport = 443")

    sources = home.load(
        {"PROXMOX_MCP_PROFILE": "lab"}, {"log-level".replace("-", "_"): "debug"}
    ).sources

    assert set(sources) == {*names.SETTINGS, "profile"} - set(names.SECRET_FILES)
    assert {
        name: sources[name] for name in ("profile", "host", "port", "timeout", "otp", "log_level")
    } == {
        "profile": "environment variable PROXMOX_MCP_PROFILE",
        "host": f"file {path}, profile default",
        "port": f"file {path}, profile lab",
        "timeout": "packaged default",
        "otp": "default",
        "log_level": "command line --log-level",
    }


# --- the files that ship ---------------------------------------------------------------------


def shipped_settings() -> dict[str, dict[str, Any]]:
    """Read settings.toml twice: as it is, and with the commented settings brought to life."""
    text = (ROOT / "settings.toml").read_text()
    awake = re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.MULTILINE)
    return {"set": tomllib.loads(text)["default"], "all": tomllib.loads(awake)["default"]}


def model_defaults() -> dict[str, Any]:
    fields = {
        **{name: Settings.model_fields[name] for name in ("demo", "demo_speed", "audit_file")},
        **Policy.model_fields,
        **Connection.model_fields,
        **Limits.model_fields,
        **{f"log_{name}": field for name, field in LogSettings.model_fields.items()},
    }
    return {
        name: None if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in fields.items()
    }


def test_the_shipped_settings_file_holds_every_setting_and_no_other() -> None:
    assert set(shipped_settings()["all"]) == {*model_defaults(), *names.EXTRA}


def test_the_shipped_settings_file_holds_the_defaults_of_the_models() -> None:
    with_default = {
        name: value
        for name, value in model_defaults().items()
        if isinstance(value, bool | int | float | str)
        or (isinstance(value, list) and name in Policy.model_fields)
    }

    assert shipped_settings()["set"] == with_default
    assert {k: type(v) for k, v in shipped_settings()["set"].items()} == {
        k: type(v) for k, v in with_default.items()
    }


def test_every_setting_in_the_shipped_file_has_a_comment_line() -> None:
    lines = (ROOT / "settings.toml").read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"(# )?[a-z_]+ = ", line):
            assert re.match(r"# [A-Za-z].*\.$", before), line
            assert not re.match(r"# [a-z_]+ = ", before), line


def test_the_shipped_settings_file_is_the_one_that_is_read() -> None:
    assert files.packaged() == ROOT / "settings.toml"


def test_defaults_are_found_beside_the_code_before_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "proxmox_mcp"
    package.mkdir(parents=True)
    monkeypatch.setattr(files, "_PACKAGE", package)
    above = package.parent / "settings.toml"
    above.touch()

    assert files.packaged() is None  # anybody's file in site-packages
    (package.parent / "pyproject.toml").touch()
    assert files.packaged() == above
    (package / "settings.toml").touch()
    assert files.packaged() == package / "settings.toml"


@pytest.mark.parametrize(
    ("profile", "identity"), [("default", "root@pam!mcp"), ("lab", "root@pam")]
)
def test_the_example_of_a_secrets_file_works_once_it_is_copied(
    home: Home, profile: str, identity: str
) -> None:
    home.write((ROOT / ".secrets.toml.example").read_text(), ".secrets.toml")

    assert home.connection(flags={"profile": profile}).identity == identity
