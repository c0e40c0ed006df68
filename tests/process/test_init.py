"""`proxmox-mcp init` as a person meets it: at a terminal, by flags, twice, and for every client."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxmox_mcp import simulator
from proxmox_mcp.config import load
from tests.process.server_process import (
    NOTHING,
    https_door,
    run_program,
    serving,
)
from tests.process.warm import COLD, program

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)

from tests.process.terminal import Terminal, at_a_terminal

USER = str(simulator.CREDENTIALS["user"])
NAME = str(simulator.CREDENTIALS["token_name"])
SECRET = str(simulator.CREDENTIALS["token_value"])
PASSWORD = str(simulator.PASSWORD["password"])
WHOLE = f"{USER}!{NAME}={SECRET}"
LOCAL = {"NO_PROXY": "127.0.0.1"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def port(tmp_path: Path) -> Iterator[str]:
    """A simulated cluster over HTTPS, with a certificate that nobody knows."""
    with https_door(simulator.Cluster(), tmp_path) as variables:
        yield variables["PROXMOX_PORT"]


@contextmanager
def person(home: Path, *words: str, variables: Mapping[str, str] = NOTHING) -> Iterator[Terminal]:
    """Somebody who runs ``proxmox-mcp init`` at a terminal."""
    with at_a_terminal(home, "init", *words, variables={**LOCAL, **variables}) as somebody:
        yield somebody


def init(
    home: Path, *words: str, variables: Mapping[str, str] = NOTHING, said: str = ""
) -> "subprocess.CompletedProcess[str]":
    ended = run_program(home, "init", *words, variables={**LOCAL, **variables}, said=said)
    assert SECRET not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


def folder_of(home: Path) -> Path:
    return home / "config" / "proxmox-mcp"


def the_server_works(home: Path, *words: str, command: Sequence[str] | None = None) -> None:
    """Start it as a client would, who knows nothing of Proxmox."""
    with serving(home, *words, variables=LOCAL, command=command or program()) as server:
        server.initialize()
        result = server.call("proxmox_get_vms")
    assert not result.get("isError")
    assert result["structuredContent"]["guests"]


def the_files_lead_to(home: Path, port: str) -> None:
    """Read them as a server does, whose environment says nothing."""
    connection = load(environ={}, config_folder=folder_of(home)).connection
    assert connection is not None
    assert connection.port == int(port)
    assert SECRET in connection.secrets


def files_of(home: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}


# --- at a terminal, for every family ---------------------------------------------------------


def by_variables(port: str) -> dict[str, dict[str, str]]:
    url = f"https://127.0.0.1:{port}/api2/json"
    token = {"PVE_USER": USER, "PVE_TOKEN_NAME": NAME, "PVE_TOKEN_VALUE": SECRET}
    return {
        "the reference system": {
            "PROXMOX_HOST": "127.0.0.1",
            "PROXMOX_PORT": port,
            "PROXMOX_USER": USER,
            "PROXMOX_TOKEN_NAME": NAME,
            "PROXMOX_TOKEN_VALUE": SECRET,
            "PROXMOX_TIMEOUT": "20000",
        },
        "Ansible, community.proxmox": {
            "PROXMOX_HOST": "127.0.0.1",
            "PROXMOX_PORT": port,
            "PROXMOX_USER": USER,
            "PROXMOX_TOKEN_ID": NAME,
            "PROXMOX_TOKEN_SECRET": SECRET,
            "PROXMOX_VALIDATE_CERTS": "false",
        },
        "Terraform, bpg": {
            "PROXMOX_VE_ENDPOINT": f"https://127.0.0.1:{port}/",
            "PROXMOX_VE_API_TOKEN": WHOLE,
            "PROXMOX_VE_INSECURE": "true",
        },
        "Terraform, Telmate": {
            "PM_API_URL": url,
            "PM_API_TOKEN_ID": f"{USER}!{NAME}",
            "PM_API_TOKEN_SECRET": SECRET,
            "PM_TLS_INSECURE": "true",
        },
        "Packer": {
            "PROXMOX_URL": url,
            "PROXMOX_USERNAME": f"{USER}!{NAME}",
            "PROXMOX_TOKEN": SECRET,
        },
        "another Proxmox MCP server": {"PROXMOX_URL": url, "PROXMOX_TOKEN": WHOLE},
        "another Proxmox MCP server, PVE_": {"PVE_HOST": "127.0.0.1", "PVE_PORT": port, **token},
        "prometheus-pve-exporter": token,
    }


@pytest.mark.parametrize("title", by_variables(""))
def test_variables_become_settings_that_need_no_environment(
    home: Path, port: str, title: str
) -> None:
    with person(home, variables=by_variables(port)[title]) as somebody:
        somebody.hears("our own variables" if title == "the reference system" else title)
        somebody.answers("Which one?", "")
        if title == "prometheus-pve-exporter":
            somebody.answers("one node:", f"127.0.0.1:{port}")
        somebody.hears("SHA-256 fingerprint")
        somebody.answers("Is it the same?", "yes")
        somebody.hears("tools are usable")
        somebody.hears("Written:")
        somebody.answers("Which client", "")

        assert somebody.ends()[0] == 0
        assert "claude mcp add --scope user proxmox -- " in somebody.said
        assert SECRET not in somebody.said

    held = tomllib.loads((folder_of(home) / "settings.toml").read_text())["default"]
    assert held.pop("fingerprint") in somebody.said
    assert held.pop("timeout", 20) == 20
    assert held == {
        "host": "127.0.0.1",
        "port": int(port),
        "user": USER,
        "token_name": NAME,
        "verify_ssl": True,
    }
    secrets = folder_of(home) / ".secrets.toml"
    assert tomllib.loads(secrets.read_text()) == {"default": {"token_value": SECRET}}
    assert (secrets.stat().st_mode & 0o777, folder_of(home).stat().st_mode & 0o777) == (
        0o600,
        0o700,
    )
    the_server_works(home, command=COLD)


def call_of(port: str) -> dict[str, object]:
    return {
        "host": "127.0.0.1",
        "port": int(port),
        "user": USER,
        "token_name": NAME,
        "token_value": SECRET,
        "verify_ssl": False,
    }


FILES: dict[str, Callable[[str], str]] = {
    "inventory.proxmox.yml": lambda port: (
        f"plugin: community.proxmox.proxmox\nurl: https://127.0.0.1:{port}\nuser: {USER}\n"
        f"token_id: {NAME}\ntoken_secret: {SECRET}\nvalidate_certs: false\n"
    ),
    "terraform.tfvars": lambda port: (
        f'pm_api_url = "https://127.0.0.1:{port}/api2/json"\npm_api_token_id = "{USER}!{NAME}"\n'
        f'pm_api_token_secret = "{SECRET}"\npm_tls_insecure = true\n'
    ),
    ".env": lambda port: (
        f"PROXMOX_HOST=127.0.0.1\nPROXMOX_PORT={port}\nPROXMOX_USER={USER}\n"
        f"PROXMOX_TOKEN_NAME={NAME}\nPROXMOX_TOKEN_VALUE={SECRET}\n"
    ),
    "call.json": lambda port: json.dumps(call_of(port)),
    "call.toml": lambda port: "".join(
        f"{name} = {json.dumps(value)}\n" for name, value in call_of(port).items()
    ),
    "call.yaml": lambda port: "".join(
        f"{name}: {json.dumps(value)}\n" for name, value in call_of(port).items()
    ),
    "ProxmoxMCP.json": lambda port: json.dumps(
        {
            "proxmox": {"host": "127.0.0.1", "port": int(port), "verify_ssl": False},
            "auth": {"user": USER, "token_name": NAME, "token_value": SECRET},
        }
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_program_becomes_settings(home: Path, port: str, name: str) -> None:
    path = home / name
    path.write_text(FILES[name](port))

    with person(home, "--from-file", str(path), "--client", "none") as somebody:
        somebody.answers("Which one?", "1")
        somebody.answers("Is it the same?", "yes")
        assert somebody.ends()[0] == 0
        assert SECRET not in somebody.said

    path.unlink()
    the_files_lead_to(home, port)


def test_the_exporters_file_is_found_and_only_its_host_is_asked_for(home: Path, port: str) -> None:
    path = home / ".config/prometheus/pve.yml"
    path.parent.mkdir(parents=True)
    path.write_text(f"default:\n  user: root@pam\n  password: {PASSWORD}\n  verify_ssl: false\n")

    with person(home, "--client", "none") as somebody:
        somebody.hears(f"file {path}, default: password")
        somebody.answers("Which one?", "")
        somebody.answers("one node:", f"https://127.0.0.1:{port}")
        somebody.answers("Is it the same?", "yes")
        assert somebody.ends()[0] == 0
        assert PASSWORD not in somebody.said

    the_server_works(home)


def test_what_a_client_hands_to_another_server_is_found(home: Path, port: str) -> None:
    env = by_variables(port)["the reference system"]
    (home / ".claude.json").write_text(json.dumps({"mcpServers": {"old": {"env": env}}}))

    with person(home, "--client", "none") as somebody:
        somebody.hears("mcpServers.old.env: PROXMOX_TOKEN_VALUE")
        somebody.answers("Which one?", "")
        somebody.answers("Is it the same?", "yes")
        assert somebody.ends()[0] == 0

    the_server_works(home)


def test_with_nothing_to_find_all_is_asked_and_the_secret_is_not_shown(
    home: Path, port: str
) -> None:
    with person(home) as somebody:
        somebody.hears("No login was found")
        somebody.answers("one node:", f"127.0.0.1:{port}")
        somebody.answers("User with its realm", USER)
        somebody.answers("Name of the API token", NAME)
        somebody.answers("Secret of the API token (not shown)", SECRET)
        somebody.answers("Is it the same?", "y")
        somebody.answers("Which client", "none")
        assert somebody.ends()[0] == 0
        assert SECRET not in somebody.said

    the_server_works(home)


def test_of_several_the_person_chooses_and_may_refuse_all(home: Path, port: str) -> None:
    families = by_variables(port)
    variables = {**families["Terraform, bpg"], "PM_API_URL": "https://elsewhere"}
    variables |= {"PM_API_TOKEN_ID": "a@pve!b", "PM_API_TOKEN_SECRET": "x-y-z"}

    with person(home, "--client", "none", variables=variables) as somebody:
        somebody.hears("1  Terraform, bpg")
        somebody.hears("2  Terraform, Telmate: a@pve!b at elsewhere:443")
        somebody.answers("Which one?", "7")
        somebody.answers("Which one?", "0")
        somebody.answers("one node:", f"127.0.0.1:{port}")
        somebody.answers("User with its realm", f"{USER}!{NAME}")
        somebody.answers("Secret of the API token", SECRET)
        somebody.answers("Is it the same?", "yes")
        assert somebody.ends()[0] == 0


def test_a_certificate_that_is_not_the_same_ends_it_without_a_trace(home: Path, port: str) -> None:
    with person(home, variables=by_variables(port)["Packer"]) as somebody:
        somebody.answers("Which one?", "")
        somebody.answers("Is it the same?", "")
        somebody.hears("--verify-ssl /path/to/pve-root-ca.pem\nNothing was written.")
        assert somebody.ends()[0] == 2

    assert files_of(home) == {}


def test_an_end_of_input_ends_it_without_a_trace(home: Path) -> None:
    with person(home) as somebody:
        somebody.hears("one node:")
        somebody.answers("", "\x04")
        assert somebody.ends()[0] == 2

    assert files_of(home) == {}


# --- by flags --------------------------------------------------------------------------------


def test_yes_alone_pins_nothing_and_says_what_would(home: Path, port: str) -> None:
    variables = by_variables(port)["Terraform, bpg"]

    refused = init(home, "--yes", variables=variables)

    assert refused.returncode == 2
    assert files_of(home) == {}
    pin = refused.stdout.split("--pin ")[1].split(",")[0]
    other = pin.replace(pin[:2], "00" if pin[:2] != "00" else "11")
    assert init(home, "--yes", "--pin", other, variables=variables).returncode == 2
    assert files_of(home) == {}
    accepted = init(home, "--yes", "--pin", pin.lower(), variables=variables)
    assert accepted.returncode == 0
    the_server_works(home)


def test_flags_answer_every_question_and_the_secret_comes_from_stdin(
    home: Path, port: str, tmp_path: Path
) -> None:
    words = ["--host", f"127.0.0.1:{port}", "--user", USER, "--token-name", NAME]
    words += ["--token-value-file", "-", "--verify-ssl", str(tmp_path / "authority.pem")]

    ended = init(home, *words, "--profile", "lab", "--client", "cursor", said=f"{SECRET}\n")

    assert ended.returncode == 0
    the_server_works(home, "--profile", "lab")
    entry = json.loads((home / ".cursor/mcp.json").read_text())["mcpServers"]["proxmox"]
    assert entry["args"][-2:] == ["--profile", "lab"]
    assert init(home, *words[:-4], "--password-file", "-", said=f"{SECRET}\n").returncode == 2


def test_one_family_can_be_named_and_no_other_is_taken(home: Path, port: str) -> None:
    variables = {**by_variables(port)["Terraform, bpg"], **by_variables(port)["Packer"]}

    ended = init(home, "--from", "packer", "--trust-first", variables=variables)
    missing = init(home, "--from", "telmate", variables=variables)

    assert "environment variable PROXMOX_TOKEN (Packer)" in ended.stdout
    assert "bpg" not in ended.stdout
    assert (ended.returncode, missing.returncode) == (0, 2)
    assert "found: bpg, packer, settings" in missing.stdout


def test_a_found_login_is_not_sent_to_another_host(home: Path, port: str) -> None:
    variables = by_variables(port)["Terraform, bpg"]

    ended = init(home, "--yes", "--host", "elsewhere", variables=variables)

    assert ended.returncode == 2
    assert "is not sent to another host" in ended.stdout
    assert files_of(home) == {}


def test_what_nobody_can_be_asked_names_its_flag(home: Path) -> None:
    ended = init(home, "--yes")

    assert ended.returncode == 2
    assert "give --host" in ended.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"PM_API_TOKEN_SECRET": "wrong"}, "The connection did not work."),
        ({"PM_API_URL": "https://127.0.0.1:1"}, "cannot be reached"),
        ({"PM_API_URL": "http://127.0.0.1:1"}, "must be https"),
        ({"PM_TLS_INSECURE": "perhaps"}, "PM_TLS_INSECURE (Terraform, Telmate)): must be one of"),
    ],
)
def test_what_does_not_work_is_not_written(
    home: Path, port: str, change: dict[str, str], words: str
) -> None:
    variables = {**by_variables(port)["Terraform, Telmate"], **change}

    ended = init(home, "--yes", "--trust-first", variables=variables)

    assert ended.returncode == 2
    assert words in ended.stdout
    assert ended.stdout.endswith("Nothing was written.\n")
    assert not folder_of(home).exists()


def test_without_a_test_it_is_written_unseen(home: Path) -> None:
    variables = by_variables("1")["Packer"]

    assert init(home, "--yes", "--no-test", variables=variables).returncode == 0
    assert (folder_of(home) / ".secrets.toml").is_file()


# --- again, and without a change -------------------------------------------------------------


def test_a_second_run_changes_nothing_and_says_so(home: Path, port: str) -> None:
    variables = by_variables(port)["Terraform, Telmate"]
    words = ("--from", "telmate", "--trust-first", "--client", "vscode")
    assert init(home, *words, variables=variables).returncode == 0
    before = files_of(home)

    again = init(home, *words, variables=variables)
    kept = init(home, "--yes", variables=variables)

    assert (again.returncode, kept.returncode) == (0, 0)
    assert again.stdout.count("Unchanged: ") == 2
    assert "VS Code knows it already" in again.stdout
    assert "your settings files" in kept.stdout
    assert files_of(home) == before


def test_another_certificate_later_does_not_replace_the_pin(home: Path, port: str) -> None:
    variables = by_variables(port)["Terraform, Telmate"]
    init(home, "--from", "telmate", "--trust-first", variables=variables)
    settings = folder_of(home) / "settings.toml"
    pin = tomllib.loads(settings.read_text())["default"]["fingerprint"]
    settings.write_text(settings.read_text().replace(pin, ":".join(["AB"] * 32)))
    before = files_of(home)

    ended = init(home, "--from", "telmate", "--trust-first", variables=variables)

    assert ended.returncode == 2
    assert "another certificate than the pinned one" in ended.stdout
    assert files_of(home) == before


def test_print_changes_nothing_and_masks_the_secret(home: Path, port: str) -> None:
    variables = by_variables(port)["Ansible, community.proxmox"]
    cursor = home / ".cursor/mcp.json"
    cursor.parent.mkdir()
    cursor.write_text("{}")
    before = files_of(home)

    ended = init(
        home, "--yes", "--trust-first", "--print", "--client", "cursor", variables=variables
    )

    assert ended.returncode == 0
    assert "token_value = ***" in ended.stdout
    assert f"port = {port}" in ended.stdout
    assert '"mcpServers"' in ended.stdout
    assert files_of(home) == before
    assert not folder_of(home).exists()


def test_what_else_stands_in_the_files_stays(home: Path, port: str) -> None:
    folder = folder_of(home)
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text("# mine\n[default]\nread_only = true\n[work]\n")

    ended = init(home, "--yes", "--trust-first", variables=by_variables(port)["Packer"])

    assert ended.returncode == 0
    text = (folder / "settings.toml").read_text()
    assert text.startswith("# mine\n[default]\nread_only = true\nhost = ")
    assert text.endswith("[work]\n")


def test_a_profile_that_would_inherit_a_pin_is_refused(home: Path) -> None:
    folder = folder_of(home)
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text(f'[default]\nfingerprint = "{"ab" * 32}"\n')
    before = files_of(home)

    ended = init(
        home, "--yes", "--no-test", "--profile", "lab", variables=by_variables("1")["Packer"]
    )

    assert ended.returncode == 2
    assert "gives something too that [lab] would take over" in ended.stdout
    assert files_of(home) == before


# --- the running server ----------------------------------------------------------------------


def test_check_says_which_family_it_used(home: Path, port: str) -> None:
    variables = {**LOCAL, **by_variables(port)["Terraform, bpg"]}

    ended = run_program(home, "check", "--json", variables=variables)

    assert json.loads(ended.stdout)["login_from"] == (
        "environment variable PROXMOX_VE_API_TOKEN (Terraform, bpg)"
    )


# --- clients ---------------------------------------------------------------------------------

CLIENT_FILES = {
    "claude-desktop": ("config/Claude/claude_desktop_config.json", "mcpServers"),
    "vscode": ("config/Code/User/mcp.json", "servers"),
    "cursor": (".cursor/mcp.json", "mcpServers"),
}


@pytest.mark.parametrize("client", CLIENT_FILES)
def test_a_clients_file_is_merged_and_the_old_one_kept(home: Path, client: str) -> None:
    name, key = CLIENT_FILES[client]
    path = home / name
    path.parent.mkdir(parents=True)
    old = json.dumps({"theme": "é", key: {"other": {"command": "x"}}})
    path.write_text(old)
    path.chmod(0o640)

    ended = init(
        home, "--yes", "--no-test", "--client", client, variables=by_variables("1")["Packer"]
    )

    assert ended.returncode == 0
    new = json.loads(path.read_text())
    assert new["theme"] == "é"
    assert new[key]["other"] == {"command": "x"}
    assert Path(new[key]["proxmox"]["command"]).is_absolute()
    assert SECRET not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.with_name(f"{path.name}.bak1").read_text() == old


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"mcpServers": {}} // mine', "is no plain JSON and was left as it is"),
        ('{"mcpServers": []}', "is not laid out as expected"),
        ('{"mcpServers": {"proxmox": {"command": "x"}}}', "has another server called proxmox"),
    ],
)
def test_a_clients_file_that_cannot_be_merged_is_left_and_the_snippet_shown(
    home: Path, text: str, words: str
) -> None:
    path = home / ".cursor/mcp.json"
    path.parent.mkdir()
    path.write_text(text)

    ended = init(
        home, "--yes", "--no-test", "--client", "cursor", variables=by_variables("1")["Packer"]
    )

    assert ended.returncode == 1
    assert words in ended.stdout
    assert '"mcpServers"' in ended.stdout
    assert path.read_text() == text


def test_another_server_of_that_name_is_replaced_when_told_to(home: Path) -> None:
    path = home / ".cursor/mcp.json"
    path.parent.mkdir()
    path.write_text('{"mcpServers": {"proxmox": {"command": "x", "env": {"A": "b"}}}}')

    words = ("--yes", "--no-test", "--client", "cursor", "--replace")
    assert init(home, *words, variables=by_variables("1")["Packer"]).returncode == 0

    entry = json.loads(path.read_text())["mcpServers"]["proxmox"]
    assert set(entry) == {"command", "args"}


CLAUDE = """\
#!{python}
import pathlib, sys
kept = pathlib.Path(__file__).with_name("kept")
if sys.argv[2] == "add":
    if kept.exists():
        sys.exit("already")
    kept.write_text("\\n".join(sys.argv[1:]))
else:
    print(kept.read_text())
"""


def test_claude_code_is_told_by_its_own_command_once(home: Path) -> None:
    program = home / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(CLAUDE.format(python=sys.executable))
    program.chmod(0o755)
    variables = {
        **by_variables("1")["Packer"],
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
    }
    words = ("--yes", "--no-test", "--client", "claude-code", "--scope", "project")

    first, second = (init(home, *words, variables=variables) for _ in range(2))
    (home / "bin" / "kept").write_text("somebody else's")
    third = init(home, *words, variables=variables)

    assert "knows it as proxmox now (scope project)" in first.stdout
    assert "knows it as proxmox already" in second.stdout
    assert "another server called proxmox" in third.stdout
    assert (first.returncode, second.returncode, third.returncode) == (0, 0, 1)


def test_without_claude_code_its_command_is_printed(home: Path) -> None:
    variables = {**by_variables("1")["Packer"], "PATH": "/nowhere"}

    ended = init(home, "--yes", "--no-test", "--client", "claude-code", variables=variables)

    assert ended.returncode == 1
    assert "claude mcp add --scope user proxmox -- " in ended.stdout


def test_a_scope_that_a_client_does_not_have_is_named(home: Path) -> None:
    words = ("--yes", "--no-test", "--client", "claude-desktop", "--scope", "project")

    ended = init(home, *words, variables=by_variables("1")["Packer"])

    assert ended.returncode == 1
    assert "Claude Desktop keeps no servers with the scope project" in ended.stdout
