"""Secrets by file, by keyring and by variable: found where they are named, shown nowhere."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from proxmox_mcp.config import ConfigError, environment, loading, names, privacy, secret_files
from proxmox_mcp.config.layers import Given
from proxmox_mcp.config.scrub import scrub
from tests.test_config import SECRET, TOKEN_ENV, TOKEN_TOML, Home, secret_of

LOGIN = 'host = "pve"\nuser = "root@pam"\n'
NO_SECRET = {name: text for name, text in TOKEN_ENV.items() if name != "PROXMOX_TOKEN_VALUE"}
WITHOUT_MODES = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "config" / "proxmox-mcp")


class Ring(KeyringBackend):
    """A keyring in memory that remembers what it was asked for."""

    priority: ClassVar[float] = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: dict[tuple[str, str], str] = {}
        self.asked: list[tuple[str, str]] = []
        self.broken: Exception | None = None

    def get_password(self, service: str, username: str) -> str | None:
        self.asked.append((service, username))
        if self.broken:
            raise self.broken
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.held[service, username] = password


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Ring:
    monkeypatch.setattr(keyring.core, "_keyring_backend", None)  # given back afterwards
    ring = Ring()
    keyring.set_keyring(ring)
    return ring


def the_problem(
    home: Home, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> str:
    (problem,) = home.problems(environ, flags)
    return problem


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["PROXMOX_TOKEN_VALUE_FILE", "PROXMOX_MCP_TOKEN_VALUE_FILE"])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_variable_may_name_the_file_of_the_token(home: Home, variable: str, ending: str) -> None:
    path = home.write("", "token")
    path.write_bytes(f"{SECRET}{ending}".encode())

    settings = home.load({**NO_SECRET, variable: str(path)})

    assert settings.connection is not None
    assert settings.connection.identity == "root@pam!mcp"
    assert secret_of(settings.connection) == SECRET
    assert settings.sources["token_value"] == (
        f"file {path}, named by environment variable {variable}"
    )
    assert not set(names.SECRET_FILES) & set(settings.sources)


def test_password_and_otp_may_stand_in_files_that_a_settings_file_names(home: Home) -> None:
    password, otp = home.write(f"{SECRET}\n\n", "password"), home.write("123456\n", "otp")
    home.write(f"[default]\n{LOGIN}password_file = '{password}'\notp_file = '{otp}'")
    password.write_text(f" {SECRET} \n", encoding="utf-8")

    connection = home.connection()

    assert connection.secrets == (f" {SECRET} ", "123456")


def test_a_files_path_may_start_with_the_home_sign(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = home.write(SECRET, "token")
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("USERPROFILE", str(path.parent))

    assert secret_of(home.connection({**NO_SECRET, "PROXMOX_TOKEN_VALUE_FILE": "~/token"})) == (
        SECRET
    )


def test_a_file_may_hold_the_whole_token(home: Home) -> None:
    path = home.write(f"PVEAPIToken=a@pve!t={SECRET}\n", "token")

    connection = home.connection({"PROXMOX_HOST": "pve", "PROXMOX_MCP_TOKEN_VALUE_FILE": str(path)})

    assert (connection.identity, secret_of(connection)) == ("a@pve!t", SECRET)


def test_a_byte_order_mark_is_no_part_of_the_secret(home: Home) -> None:
    path = home.write("\ufeff" + SECRET, "token")

    assert secret_of(home.connection({**NO_SECRET, "PROXMOX_TOKEN_VALUE_FILE": str(path)})) == (
        SECRET
    )


def absent(folder: Path) -> str:
    return str(folder / "absent")


def loop(folder: Path) -> str:
    (folder / "loop").symlink_to(folder / "loop")
    return str(folder / "loop")


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe", 0o600)
    return str(folder / "pipe")


def holding(data: bytes) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        path = folder / "secret"
        path.touch(mode=0o600)
        path.write_bytes(data)
        return str(path)

    return make


BROKEN_FILES: list[tuple[Callable[[Path], str], str]] = [
    (absent, "names a file that does not exist"),
    (loop, "names a file that cannot be read: Too many"),
    (pipe, "names something that is not a regular file"),
    (str, "names something that is not a regular file"),
    (lambda _: SECRET, "must be an absolute path"),
    (lambda _: f"~{SECRET}/token", "must be an absolute path"),
    (lambda _: f"/\0{SECRET}", "must be an absolute path"),
    (lambda _: f"/{SECRET}", "names a file that does not exist"),
    (lambda _: f"/{SECRET * 100}", "names a file that cannot be read: File name too long"),
    (holding(b"\r\n"), "names a file that is empty"),
    (holding(b""), "names a file that is empty"),
    (holding(SECRET.encode() + b"\xff"), "names a file that is not UTF-8 text"),
    (holding(SECRET.encode() * 4000), "names a file of more than 65536 bytes"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="its words and its files differ")
@pytest.mark.parametrize(("make", "words"), BROKEN_FILES)
@pytest.mark.parametrize("secret", ["token_value", "password"])
def test_a_file_without_a_usable_secret_is_one_problem_in_plain_words(
    home: Home, tmp_path: Path, make: Callable[[Path], str], words: str, secret: str
) -> None:
    name = 'token_name = "mcp"\n' if secret == "token_value" else ""
    text = make(tmp_path).replace("\0", "\\u0000")
    path = home.write(f'[default]\n{LOGIN}{name}{secret}_file = "{text}"')

    problem = the_problem(home)

    assert problem.startswith(f"{secret}_file (file {path}, profile default): {words}")


def test_a_secret_with_two_lines_in_its_file_is_refused_by_the_files_name(home: Home) -> None:
    path = home.write(f"{SECRET}\nmore\n", "token")

    problem = the_problem(home, {**NO_SECRET, "PROXMOX_TOKEN_VALUE_FILE": str(path)})

    assert problem.startswith(f"token_value (file {path}, named by environment variable ")
    assert "line breaks" in problem


def test_a_file_named_by_something_else_than_text_is_refused(home: Home) -> None:
    home.write(f'[default]\n{LOGIN}token_name = "mcp"\ntoken_value_file = 3\nkeyring = true')

    problems = [text.split(" ")[0] for text in home.problems() if "must be a quoted" in text]

    assert problems == ["token_value_file", "keyring"]


def test_a_secret_and_its_file_in_one_layer_are_a_problem(home: Home) -> None:
    path = home.write("other", "token")

    problem = the_problem(home, {**TOKEN_ENV, "PROXMOX_TOKEN_VALUE_FILE": str(path)})

    assert problem == (
        "token_value_file (environment variable PROXMOX_TOKEN_VALUE_FILE): "
        "stands beside token_value: keep one of them"
    )


def test_between_layers_the_higher_of_secret_and_file_wins(home: Home) -> None:
    path = home.write("other", "token")
    home.write(f'[default]\n{LOGIN}token_name = "mcp"\ntoken_value_file = "{path}"')

    assert secret_of(home.connection(TOKEN_ENV)) == SECRET
    above = {**TOKEN_ENV, "PROXMOX_MCP_TOKEN_VALUE_FILE": str(path)}
    assert secret_of(home.connection(above)) == "other"


def test_a_file_of_another_way_to_log_in_replaces_the_lower_one_as_a_whole(home: Home) -> None:
    path = home.write(SECRET, "password")
    home.write(f'[default]\n{LOGIN}token_name = "mcp"\ntoken_value = "x-y-z"')

    connection = home.connection({"PROXMOX_PASSWORD_FILE": str(path)})

    assert (connection.identity, secret_of(connection)) == ("root@pam", SECRET)


def test_a_file_named_in_a_file_does_not_follow_a_host_from_the_environment(home: Home) -> None:
    path = home.write(SECRET, "token")
    home.write(f'[default]\n{LOGIN}token_name = "mcp"\ntoken_value_file = "{path}"')

    problem = the_problem(home, {"PROXMOX_HOST": "elsewhere"})

    assert problem.startswith(f"token_value (file {path}, named by file ")
    assert "was not meant for the host from environment variable PROXMOX_HOST" in problem


def test_a_file_that_a_client_did_not_expand_is_recalled(home: Home) -> None:
    problems = home.problems({**NO_SECRET, "PROXMOX_TOKEN_VALUE_FILE": "${TOKEN_FILE}"})

    assert any(
        text.startswith("token_value_file: PROXMOX_TOKEN_VALUE_FILE is") for text in problems
    )


def test_demo_mode_minds_no_secret_that_could_not_be_had(home: Home) -> None:
    home.write(f'[default]\n{LOGIN}password = "{SECRET}"').chmod(0o644)

    settings = home.load({"PROXMOX_TOKEN_VALUE_FILE": "/nowhere"}, {"demo": "true"})

    assert settings.connection is None


# --- who else may read them ------------------------------------------------------------------


@WITHOUT_MODES
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_file_that_others_can_read_or_change_is_refused(home: Home, mode: int) -> None:
    path = home.write(SECRET, "to ken")
    path.chmod(mode)

    problem = the_problem(home, {**NO_SECRET, "PROXMOX_TOKEN_VALUE_FILE": str(path)})

    assert problem.startswith("token_value_file (environment variable PROXMOX_TOKEN_VALUE_FILE): ")
    assert problem.endswith(f"run: chmod 600 '{path}'")


@WITHOUT_MODES
def test_a_settings_file_without_a_secret_may_be_read_by_all(home: Home) -> None:
    secret = home.write(SECRET, "token")
    path = home.write(
        f'[default]\n{LOGIN}token_name = "mcp"\ntoken_value_file = "{secret}"\npassword = ""\n'
    )
    path.chmod(0o644)

    assert secret_of(home.connection()) == SECRET


@WITHOUT_MODES
def test_a_secret_of_another_profile_counts_too(home: Home) -> None:
    path = home.write(f'[default]\n{LOGIN}[lab]\npassword = "{SECRET}"')
    path.chmod(0o644)

    assert the_problem(home, TOKEN_ENV).endswith(f"run: chmod 600 {path}")


@WITHOUT_MODES
@pytest.mark.parametrize(
    ("mode", "is_refused"), [(0o444, False), (0o440, False), (0o464, True), (0o446, True)]
)
def test_a_mounted_credential_may_be_read_by_others_but_not_changed(
    home: Home,
    tmp_path: Path,
    mode: int,
    is_refused: bool,  # noqa: FBT001
) -> None:
    path = home.write(SECRET, "mounted/..data/token")
    link = path.parents[1] / "token"
    link.symlink_to(path)  # as Kubernetes does it
    path.chmod(mode)
    environ = {
        **NO_SECRET,
        "PROXMOX_TOKEN_VALUE_FILE": str(link),
        "CREDENTIALS_DIRECTORY": str(path.parents[1]),
    }

    if is_refused:
        assert "chmod 600" in the_problem(home, environ)
    else:
        assert secret_of(home.connection(environ)) == SECRET
        elsewhere = {**environ, "CREDENTIALS_DIRECTORY": str(tmp_path / "elsewhere")}
        assert "chmod 600" in the_problem(home, elsewhere)


@WITHOUT_MODES
def test_a_link_that_leads_out_of_a_mount_excuses_nothing(home: Home) -> None:
    path = home.write(SECRET, "token")
    path.chmod(0o644)
    mount = path.parent / "mounted"
    mount.mkdir()
    (mount / "token").symlink_to(path)
    environ = {**NO_SECRET, "CREDENTIALS_DIRECTORY": str(mount)}

    problem = the_problem(home, {**environ, "PROXMOX_TOKEN_VALUE_FILE": str(mount / "token")})

    assert "chmod 600" in problem


@WITHOUT_MODES
def test_a_settings_file_may_be_mounted_too(home: Home) -> None:
    path = home.write(f"[default]\n{TOKEN_TOML}", "mounted/settings.toml")
    path.chmod(0o444)

    environ = {"CREDENTIALS_DIRECTORY": str(path.parent), "PROXMOX_MCP_CONFIG": str(path)}

    assert secret_of(home.connection(environ)) == SECRET


@WITHOUT_MODES
@pytest.mark.parametrize("folder", ["", "relative", "."])
def test_only_absolute_folders_are_mounts(folder: str) -> None:
    assert privacy.mounts({"CREDENTIALS_DIRECTORY": folder}) == privacy.mounts({})
    assert Path("/run/secrets").resolve() in privacy.mounts({})


def test_on_windows_the_unchecked_permissions_are_a_warning(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "_CAN_CHECK", False)
    token, settings = home.write(SECRET, "token"), home.write('[lab]\npassword = "x-y-z"')
    for path in (token, settings):
        path.chmod(0o644)

    warnings = home.load({**NO_SECRET, "PROXMOX_TOKEN_VALUE_FILE": str(token)}).warnings

    assert [text.split(" holds a secret ")[0] for text in warnings] == [str(settings), str(token)]
    assert all("was not checked" in text for text in warnings)


# --- the keyring -----------------------------------------------------------------------------


def test_the_keyring_gives_the_tokens_secret(home: Home, ring: Ring) -> None:
    ring.set_password("my proxmox", "root@pam!mcp", SECRET)
    path = home.write(f'[default]\n{LOGIN}token_name = "mcp"\nkeyring = "my proxmox"')

    settings = home.load()

    assert settings.connection is not None
    assert settings.connection.identity == "root@pam!mcp"
    assert secret_of(settings.connection) == SECRET
    assert settings.sources["token_value"] == (
        f"system keyring, named by file {path}, profile default"
    )
    assert "my proxmox" not in repr(settings)


def test_without_a_token_the_keyring_gives_the_password(home: Home, ring: Ring) -> None:
    ring.set_password("proxmox", "root@pam", SECRET)
    environ = {
        "PROXMOX_HOST": "pve",
        "PROXMOX_USER": "root@pam",
        "PROXMOX_OTP": "123456",
        "PROXMOX_MCP_KEYRING": "proxmox",
    }

    assert home.connection(environ).secrets == (SECRET, "123456")


@pytest.mark.parametrize("broken", [None, KeyringLocked(SECRET), ValueError(SECRET)])
def test_a_keyring_that_gives_nothing_says_how_to_store_it(
    home: Home, ring: Ring, broken: Exception | None
) -> None:
    ring.broken = broken

    problem = the_problem(home, {**NO_SECRET, "PROXMOX_MCP_KEYRING": "my proxmox"})

    assert problem.startswith("keyring (environment variable PROXMOX_MCP_KEYRING): ")
    assert problem.endswith("to store it: keyring set 'my proxmox' 'root@pam!mcp'")
    assert (type(broken).__name__ in problem) is (broken is not None)


def test_without_the_package_the_install_command_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)

    problem = the_problem(home, {**NO_SECRET, "PROXMOX_MCP_KEYRING": "proxmox"})

    assert "pip install 'proxmoxer-mcp[keyring]'" in problem
    assert problem.endswith("then: keyring set proxmox 'root@pam!mcp'")


def test_the_package_is_not_even_imported_unless_it_is_asked(home: Home) -> None:
    home.write(f"[default]\n{TOKEN_TOML}")
    script = (
        "import sys; from pathlib import Path; from proxmox_mcp.config import load; "
        "load(environ={}, config_folder=Path(sys.argv[1])); print('keyring' in sys.modules)"
    )

    answer = subprocess.run(  # noqa: S603  what is imported shows in a fresh process only
        [sys.executable, "-c", script, str(home.folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )

    assert answer.stdout.decode().strip() == "False"


@pytest.mark.parametrize(
    ("environ", "flags"),
    [
        ({**TOKEN_ENV, "PROXMOX_MCP_TOKEN_VALUE": SECRET, "PROXMOX_MCP_KEYRING": "k"}, {}),
        (NO_SECRET, {"demo": "true", "keyring": "k"}),
    ],
    ids=["a secret is given", "demo"],
)
def test_the_keyring_is_not_asked_for_what_nobody_needs(
    home: Home, ring: Ring, environ: dict[str, str], flags: dict[str, str]
) -> None:
    home.load(environ, flags)

    assert ring.asked == []


@pytest.mark.parametrize(
    ("environ", "settings"),
    [
        ({"PROXMOX_HOST": "pve"}, ["user"]),
        ({**NO_SECRET, "PROXMOX_PORT": "x"}, ["port"]),
        ({**NO_SECRET, "PROXMOX_USER": f"a@b!c={SECRET}"}, ["token_name"]),
        ({**NO_SECRET, "PROXMOX_TOKEN_NAME": f"c={SECRET}"}, ["token_name"]),
    ],
)
def test_the_keyring_is_not_asked_while_something_else_is_wrong(
    home: Home, ring: Ring, environ: dict[str, str], settings: list[str]
) -> None:
    problems = home.problems({**environ, "PROXMOX_MCP_KEYRING": "k"})

    assert [problem.split(" ")[0].rstrip(":") for problem in problems] == settings
    assert ring.asked == []


def test_a_keyring_named_above_a_secret_replaces_it(home: Home, ring: Ring) -> None:
    ring.set_password("lab", "root@pam", SECRET)
    home.write(f'[default]\n{LOGIN}password = "x-y-z"\n[lab]\nkeyring = "lab"')

    assert home.connection(flags={"profile": "lab"}).secrets == (SECRET,)
    assert home.connection().secrets == ("x-y-z",)


def test_a_secret_given_above_a_keyring_replaces_it(home: Home, ring: Ring) -> None:
    home.write(f'[default]\n{LOGIN}token_name = "mcp"\nkeyring = "k"')

    settings = home.load({"PROXMOX_PASSWORD": SECRET})

    assert settings.connection is not None
    assert settings.connection.identity == "root@pam"
    assert settings.sources["keyring"] == "default"
    assert ring.asked == []


def test_a_keyring_named_in_a_file_does_not_follow_a_host_from_the_environment(
    home: Home, ring: Ring
) -> None:
    home.write(f'[default]\n{LOGIN}token_name = "mcp"\nkeyring = "k"')

    problem = the_problem(home, {"PROXMOX_HOST": "elsewhere"})

    assert problem.startswith("token_value (system keyring, named by file ")
    assert "was not meant for the host" in problem
    assert ring.asked == []


def test_what_the_keyring_gives_is_checked_like_any_secret(home: Home, ring: Ring) -> None:
    ring.set_password("k", "root@pam!mcp", f"{SECRET}\n")

    problem = the_problem(home, {**NO_SECRET, "PROXMOX_MCP_KEYRING": "k"})

    assert problem.startswith("token_value (system keyring, named by environment variable ")


# --- what children inherit -------------------------------------------------------------------


def test_no_variable_that_carries_a_secret_is_left_after_scrubbing(home: Home) -> None:
    path = home.write(SECRET, "token")
    kept = {
        **NO_SECRET,
        "PROXMOX_TOKEN_VALUE_FILE": str(path),
        "PROXMOX_MCP_TIMEOUT": "3",
        "TOKEN_VALUE": "somebody else's",
        "PATH": "/bin",
    }
    carriers = {
        f"{prefix}{name.upper()}": SECRET
        for prefix in ("PROXMOX_", "PROXMOX_MCP_")
        for name in ("token_value", "password", "otp")
    }
    environ = {
        **kept,
        **carriers,
        "PROXMOX_MCP_token_value": SECRET,  # read just the same
        "PROXMOX_MCP_PROXIES": f"http://me:{SECRET}@proxy",
    }

    scrub(environ)

    assert environ == kept


def test_a_child_process_inherits_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in TOKEN_ENV.items():
        monkeypatch.setenv(name, text)

    scrub(os.environ)

    script = "import os; print(dict(os.environ))"
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)  # noqa: S603
    assert SECRET.encode() not in child.stdout
    assert b"PROXMOX_TOKEN_NAME" in child.stdout


# --- printing --------------------------------------------------------------------------------


def everything_told(error: BaseException) -> str:
    """All that a log, a debugger or an error tracker would show of an exception and its past."""
    shown = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        shown += [repr(seen), str(seen), repr(vars(seen)), repr(seen.args)]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(shown)


MISTAKES: list[tuple[str, dict[str, str]]] = [
    (f"[default]\ntoken_value = {SECRET}", {}),
    (f'[default]\ntoken_value = "{SECRET}', {}),
    (f'[default]\n"{SECRET}\\q" = 1', {}),
    (f'[default]\n{LOGIN}password = ["{SECRET}"]', {}),
    (f'[default]\n{LOGIN}password_file = ["{SECRET}"]', {}),
    (f'[default]\n{LOGIN}password_file = "{SECRET}"', {}),
    (f'[default]\n{LOGIN}password = "{SECRET}\\n"', {}),
    (f'[default]\n{LOGIN}token_value = "{SECRET}"', {}),
    (f'[default]\nhost = "https://root:{SECRET}@pve"\npassword = "x"', {}),
    (f'[default]\n{TOKEN_TOML}password = "{SECRET}"', {}),
    (f'[default]\n{TOKEN_TOML}proxies = "http://a:{SECRET}@b"', {}),
    ("", {**TOKEN_ENV, "PROXMOX_TOKEN_VALUE": f"{SECRET}\udcff"}),
    ("", {**TOKEN_ENV, "PROXMOX_TOKEN_VALUE": f"a@b!c={SECRET}"}),
    ("", {**TOKEN_ENV, "PROXMOX_TOKEN_NAME": f"a@b!c={SECRET}"}),
    ("", {**TOKEN_ENV, "PROXMOX_USER": SECRET}),
    ("", {**TOKEN_ENV, "PROXMOX_PORT": SECRET}),
    ("", {**TOKEN_ENV, "PROXMOX_MCP_PROXIES": f'{{"https": "{SECRET}"'}),
    ("", {**TOKEN_ENV, "PROXMOX_MCP_FINGERPRINT": SECRET}),
    ("", {**TOKEN_ENV, "PROXMOX_MCP_CONFIG": SECRET}),
    ("", {**TOKEN_ENV, "PROXMOX_MCP_TOKEN": SECRET}),
    ("", {**NO_SECRET, "PROXMOX_TOKEN_VALUE_FILE": f"/{SECRET}"}),
    ("", {**NO_SECRET, "PROXMOX_TOKEN_VALUE_FILE": "{folder}/not-text"}),
    ("", {**NO_SECRET, "PROXMOX_TOKEN_VALUE_FILE": "{folder}/two-lines"}),
    ("", {**NO_SECRET, "PROXMOX_TOKEN_VALUE_FILE": "{folder}/open"}),
    ("", {**NO_SECRET, "PROXMOX_MCP_KEYRING": "locked"}),
    ("not text", TOKEN_ENV),
]


@pytest.mark.parametrize(("text", "environ"), MISTAKES)
def test_no_error_and_no_traceback_tells_a_secret(
    home: Home, ring: Ring, text: str, environ: dict[str, str]
) -> None:
    ring.broken = RuntimeError(SECRET)
    home.write(f"{SECRET}\nmore", "two-lines")
    home.write(SECRET, "open").chmod(0o666)
    for name in ("not-text", *(["settings.toml"] if text == "not text" else [])):
        home.write("", name).write_bytes(b"\xff" + SECRET.encode())
    if text != "not text":
        home.write(text)
    environ = {name: each.replace("{folder}", str(home.folder)) for name, each in environ.items()}

    with pytest.raises(ConfigError) as caught:
        home.load(environ)

    assert SECRET not in everything_told(caught.value)


def test_nothing_on_the_way_to_the_settings_prints_a_secret(home: Home) -> None:
    path = home.write(SECRET, "token")
    home.write(f'[default]\n{LOGIN}password = "{SECRET}"')
    environ = {**TOKEN_ENV, "PROXMOX_MCP_TOKEN_VALUE_FILE": str(path)}

    texts = environment.read(environ, {"password": SECRET})
    reader = secret_files.SecretFiles()
    layer = reader.followed(texts.layers[1])
    draft = loading._gather(texts, home.folder, ())

    assert layer["token_value"].value == SECRET
    assert draft.held["password"].value == SECRET
    given = Given(SECRET, "a place", "files")
    for shown in (given, [given], texts, layer, reader, draft):
        assert SECRET not in f"{shown} {shown!r}"
    assert "a place" in repr(given)
