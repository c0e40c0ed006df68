"""The ways into a client: each is sound by its own rules, and starts this server with its settings.

Each is checked by its own format's tool or schema: the plugin by Claude Code, the bundle by mcpb,
the registry's entry by the schema that the registry published, which skillsaw ships.
"""

import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from jsonschema import Draft7Validator  # type: ignore[import-untyped] # comes with mcp

from proxmox_mcp import __version__
from proxmox_mcp.config import environment, load, names
from proxmox_mcp.pve.connection import SECRETS
from proxmox_mcp.tools import TOOLS
from tests.process.server_process import OFFERED, serving
from tests.process.warm import COLD

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "integrations"
PLUGIN = FOLDER / "claude-code"
BUNDLE = FOLDER / "claude-desktop"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
NODE = Path(__file__).parent / "integrations-node"
ANTHROPIC = NODE / "node_modules" / "@anthropic-ai"
NPM_SECONDS = 300
SECRET = "7f3c1b9e-secret-value"
PINNED = f"proxmoxer-mcp=={__version__}"
COMMAND = "proxmox-mcp"
"""What a file starts when it follows releases, and when it goes with one."""
LATEST, THIS = ("uvx", "--from", "proxmoxer-mcp", COMMAND), ("uvx", "--from", PINNED, COMMAND)
NEEDED = ("host", "user", "token_name", "token_value")
ASKED = (*NEEDED, "fingerprint", "read_only", "protect")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


PLUGIN_JSON = read(PLUGIN / ".claude-plugin" / "plugin.json")
MARKETPLACE = read(PLUGIN / ".claude-plugin" / "marketplace.json")
MANIFEST = read(BUNDLE / "manifest.json")
SERVER_JSON = read(FOLDER / "registry" / "server.json")
PACKAGE = SERVER_JSON["packages"][0]
BUNDLE_PROJECT = tomllib.loads((BUNDLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]


REFERENCE = re.compile(r"\$\{[\w.:-]*?(:-(?P<default>[^}]*))?\}")


# --- what each says, in one form -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Way:
    """How one client starts the server, and what stands where nobody has given a value."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    unset: Callable[[str], str] = str  # what the client makes of a reference without a value

    def filled(self, given: Mapping[str, str]) -> dict[str, str]:
        """The variables that the server gets, with values for some of the settings."""
        return {
            variable: self._resolved(text, given.get(environment.setting_of(variable)))
            for variable, text in self.env.items()
        }

    def _resolved(self, text: str, value: str | None) -> str:
        reference = REFERENCE.fullmatch(text)
        if reference is None:
            return text
        if value is not None:
            return value
        default = reference["default"]
        return self.unset(text) if default is None else default


def server_of(config: Mapping[str, Any], key: str = "mcpServers") -> Mapping[str, Any]:
    (server,) = config[key].values()
    return dict(server)


def way(server: Mapping[str, Any], unset: Callable[[str], str] = str) -> Way:
    return Way(command=(server["command"], *server["args"]), env=server["env"], unset=unset)


def snippet(heading: str) -> Any:
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return json.loads(re.findall(r"```json\n(.*?)```", section, re.DOTALL)[0])


VSCODE = snippet("VS Code")
WAYS = {
    # Claude Code puts nothing where an option is not set; Claude Desktop leaves the reference.
    "plugin": way(server_of(read(PLUGIN / ".mcp.json")), unset=lambda _: ""),
    "project": way(server_of(read(PLUGIN / "project.mcp.json"))),
    "desktop": way(MANIFEST["server"]["mcp_config"]),
    "registry": Way(
        command=(PACKAGE["runtimeHint"], f"{PACKAGE['identifier']}@{PACKAGE['version']}"),
        env={entry["name"]: f"${{{entry['name']}}}" for entry in PACKAGE["environmentVariables"]},
    ),
    "vscode": way(server_of(VSCODE, "servers")),
    "cursor": way(server_of(snippet("Cursor"))),
}
GIVEN = {"host": "pve.lab", "user": "mcp@pve", "token_name": "mcp", "token_value": SECRET}
READING = sorted(spec.name for spec in TOOLS if spec.effect == "reads" and not spec.elevated)
every_way = pytest.mark.parametrize("name", WAYS)


# --- they agree with each other and with the configuration -----------------------------------


@pytest.mark.parametrize(
    ("place", "version"),
    [
        ("plugin.json", PLUGIN_JSON["version"]),
        ("manifest.json", MANIFEST["version"]),
        ("server.json", SERVER_JSON["version"]),
        ("the package in server.json", PACKAGE["version"]),
        ("the bundle's pyproject.toml", BUNDLE_PROJECT["version"]),
    ],
)
def test_every_version_is_the_servers_own(place: str, version: str) -> None:
    assert version == __version__, place


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("plugin", THIS),
        ("project", LATEST),
        ("vscode", LATEST),
        ("cursor", LATEST),
        ("registry", ("uvx", f"proxmoxer-mcp@{__version__}")),
        (
            "desktop",
            ("uv", "run", "--directory", "${__dirname}", MANIFEST["server"]["entry_point"]),
        ),
    ],
)
def test_each_starts_our_distribution_and_nobody_elses(name: str, command: tuple[str, ...]) -> None:
    assert WAYS[name].command == command


def test_the_bundle_installs_exactly_this_version() -> None:
    assert BUNDLE_PROJECT["dependencies"] == [PINNED]
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert BUNDLE_PROJECT["requires-python"] == ours["requires-python"]


@every_way
def test_every_variable_is_one_that_the_configuration_knows(name: str) -> None:
    settings = [environment.setting_of(variable) for variable in WAYS[name].env]
    assert set(settings) <= set(names.SETTINGS)
    assert len(set(settings)) == len(settings)


@pytest.mark.parametrize("name", ["plugin", "project", "desktop", "registry"])
def test_all_ask_for_the_same_settings_in_the_same_order(name: str) -> None:
    assert tuple(map(environment.setting_of, WAYS[name].env)) == ASKED


def test_the_plugin_and_the_bundle_ask_in_the_same_words() -> None:
    assert PLUGIN_JSON["userConfig"] == MANIFEST["user_config"]
    entries = {environment.setting_of(e["name"]): e for e in PACKAGE["environmentVariables"]}
    for setting, option in PLUGIN_JSON["userConfig"].items():
        assert entries[setting]["description"] == option["description"]
        assert entries[setting].get("default") == option.get("default")
        assert entries[setting].get("format", "string") == option["type"]


def test_every_option_reaches_the_variable_of_its_own_setting() -> None:
    for name in ("plugin", "desktop"):
        for variable, text in WAYS[name].env.items():
            assert text == f"${{user_config.{environment.setting_of(variable)}}}"


def test_what_is_needed_is_required_and_nothing_else_has_a_default_that_would_win() -> None:
    for setting, option in PLUGIN_JSON["userConfig"].items():
        assert option.get("required", False) is (setting in NEEDED)
        # A default would be sent, and win over what the user's own settings file says.
        assert setting in NEEDED or "default" not in option
    entries = PACKAGE["environmentVariables"]
    assert [e["name"] for e in entries if e.get("isRequired")] == [
        f"PROXMOX_{setting.upper()}" for setting in NEEDED
    ]


# --- secrets ---------------------------------------------------------------------------------


def test_every_secret_is_marked_and_only_secrets_are() -> None:
    options = (PLUGIN_JSON["userConfig"], MANIFEST["user_config"])
    for marked in (
        *({name for name, option in each.items() if option.get("sensitive")} for each in options),
        {
            environment.setting_of(entry["name"])
            for entry in PACKAGE["environmentVariables"]
            if entry.get("isSecret")
        },
    ):
        assert marked == set(ASKED) & set(SECRETS)


@every_way
def test_no_secret_has_a_value_or_a_default(name: str) -> None:
    for variable, text in WAYS[name].env.items():
        if environment.setting_of(variable) in SECRETS:
            assert re.fullmatch(r"\$\{[\w.:-]+\}", text)
            assert ":-" not in text


def test_vs_code_asks_for_the_secret_without_showing_it() -> None:
    (asked,) = VSCODE["inputs"]
    assert asked["password"] is True
    assert WAYS["vscode"].env["PROXMOX_TOKEN_VALUE"] == f"${{input:{asked['id']}}}"


# --- what arrives ----------------------------------------------------------------------------


@every_way
def test_what_a_user_fills_in_is_what_the_server_uses(name: str, tmp_path: Path) -> None:
    settings = load(environ=WAYS[name].filled(GIVEN), config_folder=tmp_path)

    connection = settings.connection
    assert connection
    assert (connection.user, connection.token_name) == ("mcp@pve", "mcp")
    assert connection.host in {"pve.lab", "pve.example.com"}  # the snippets' own
    assert connection.token_value
    assert connection.token_value.get_secret_value() == SECRET
    assert connection.fingerprint is None
    assert settings.policy.protect == []


@pytest.mark.parametrize("name", ["plugin", "desktop", "registry"])
def test_what_is_left_alone_is_decided_by_the_users_own_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[default]\nread_only = true\nprotect = ["tag:prod"]\n')

    settings = load(environ=WAYS[name].filled(GIVEN), config_folder=tmp_path)

    assert settings.policy.read_only
    assert settings.policy.protect == ["tag:prod"]


@pytest.mark.parametrize("name", ["plugin", "desktop", "registry", "project"])
def test_the_bounds_that_a_user_fills_in_hold(name: str, tmp_path: Path) -> None:
    bounds = {"read_only": "true", "protect": "tag:prod, 100-199"}

    policy = load(environ=WAYS[name].filled(GIVEN | bounds), config_folder=tmp_path).policy

    assert policy.read_only
    assert policy.protect == ["tag:prod", "100-199"]


def test_a_projects_server_only_reads_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    project = WAYS["project"]
    assert load(environ=project.filled(GIVEN), config_folder=tmp_path).policy.read_only
    opened = project.filled(GIVEN | {"read_only": "false"})
    assert not load(environ=opened, config_folder=tmp_path).policy.read_only


# --- the real thing starts -------------------------------------------------------------------


def offered(server_command: Sequence[str], home: Path, variables: Mapping[str, str]) -> list[str]:
    """Shake hands with a server on the simulated cluster and list its tools."""
    with serving(home, "--demo", command=server_command, variables=variables) as server:
        assert server.initialize()["serverInfo"]["version"] == __version__
        tools = server.answer(server.ask("tools/list"))["result"]["tools"]
    return sorted(tool["name"] for tool in tools)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("plugin", COLD),
        ("project", COLD),
        ("desktop", (sys.executable, str(BUNDLE / MANIFEST["server"]["entry_point"]))),
    ],
)
def test_the_command_starts_the_server_with_nothing_but_what_is_needed(
    name: str, command: Sequence[str], tmp_path: Path
) -> None:
    """What uv installs is this checkout's here; the rest of the three commands is one of these."""
    tools = offered(command, tmp_path, WAYS[name].filled(GIVEN))

    assert tools == (READING if name == "project" else OFFERED)


def scripts() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(project["scripts"])


def test_the_command_that_the_files_name_is_the_distributions() -> None:
    assert COMMAND in scripts()


def test_the_registrys_clients_find_a_command_of_the_distributions_name() -> None:
    """They compose `uvx proxmoxer-mcp@VERSION`, and uv runs no command of another name."""
    assert scripts()[PACKAGE["identifier"]] == scripts()[COMMAND]


# --- the formats' own rules ------------------------------------------------------------------


def lacking(what: str) -> None:
    """Skip where a tool is missing, except where the answer decides."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def is_installed(tool: str, version: str) -> bool:
    about = NODE / "node_modules" / tool / "package.json"
    return about.exists() and read(about)["version"] == version


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def run_tool(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tools of these formats, installed beside this file on first use; they know nobody."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        lacking("Node and npm are needed to check the plugin and the bundle by their own tools")
    wanted = read(NODE / "package.json")["dependencies"]
    with FileLock(tmp_path_factory.getbasetemp().parent / "integrations-node.lock"):
        # Claude Code's program is in a package of the platform; `make bundle` does without.
        complete = all(is_installed(*each) for each in wanted.items())
        if not complete or not list(ANTHROPIC.glob("claude-code-*")):
            installed = subprocess.run(  # noqa: S603 - npm
                [str(npm), "ci", "--ignore-scripts"],
                cwd=NODE,
                capture_output=True,
                text=True,
                timeout=NPM_SECONDS,
                check=False,
            )
            if installed.returncode:
                lacking(f"npm could not install the formats' tools: {installed.stderr}")
    home = tmp_path_factory.mktemp("nobody")
    quiet = {
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }

    def run(script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - a tool of those packages
            [str(node), str(ANTHROPIC / script), *map(str, words)],
            env=os.environ | quiet,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    return run


# --- the plugin, by Claude Code --------------------------------------------------------------

VALIDATE_PLUGIN = ("claude-code/cli-wrapper.cjs", "plugin", "validate", "--strict")


@pytest.mark.timeout(NPM_SECONDS + 60)
def test_claude_code_finds_nothing_wrong_with_the_plugin(run_tool: Run) -> None:
    ended = run_tool(*VALIDATE_PLUGIN, PLUGIN)

    assert ended.returncode == 0, ended.stdout
    assert "mcpServers: proxmox stdio uvx" in ended.stdout


@pytest.mark.timeout(NPM_SECONDS + 60)
@pytest.mark.parametrize(
    ("file", "broken", "said"),
    [
        ("plugin.json", {"name": "Proxmox VE"}, "name cannot contain spaces"),
        ("plugin.json", {"userConfig": {"a-b": {}}}, "userConfig.a-b"),
        ("plugin.json", {"unheard": "of"}, "Unknown field 'unheard'"),
        ("marketplace.json", {"plugins": [{"name": "x"}]}, "plugins.0.source"),
    ],
)
def test_claude_code_refuses_a_broken_copy_of_the_plugin(
    run_tool: Run, tmp_path: Path, file: str, broken: dict[str, Any], said: str
) -> None:
    shutil.copytree(PLUGIN, tmp_path, dirs_exist_ok=True)
    path = tmp_path / ".claude-plugin" / file
    path.write_text(json.dumps(read(path) | broken))

    ended = run_tool(*VALIDATE_PLUGIN, tmp_path)

    assert ended.returncode == 1
    assert said in ended.stdout


def test_the_marketplace_leads_to_the_plugin() -> None:
    (entry,) = MARKETPLACE["plugins"]
    found = read(PLUGIN / entry["source"] / ".claude-plugin" / "plugin.json")
    assert found["name"] == entry["name"]


# --- the bundle, by mcpb ---------------------------------------------------------------------

MCPB = "mcpb/dist/cli/cli.js"


@pytest.mark.timeout(NPM_SECONDS + 60)
def test_the_bundles_manifest_is_valid_by_its_own_tool(run_tool: Run, tmp_path: Path) -> None:
    assert "passes" in run_tool(MCPB, "validate", BUNDLE / "manifest.json").stdout

    broken = tmp_path / "manifest.json"
    broken.write_text(json.dumps(MANIFEST | {"server": {"type": "unheard-of"}}))
    assert run_tool(MCPB, "validate", broken).returncode == 1


@pytest.mark.timeout(NPM_SECONDS + 60)
def test_the_packed_bundle_holds_what_starts_the_server_and_nothing_else(
    run_tool: Run, tmp_path: Path
) -> None:
    source, packed = tmp_path / "source", tmp_path / "x.mcpb"
    shutil.copytree(BUNDLE, source)
    (source / ".venv").mkdir()
    (source / ".venv" / "left-behind").write_text("by uv run")
    ended = run_tool(MCPB, "pack", source, packed)

    assert ended.returncode == 0, ended.stdout
    with zipfile.ZipFile(packed) as archive:
        assert sorted(archive.namelist()) == ["manifest.json", "pyproject.toml", "src/server.py"]


# --- the registry's entry, by its schema -----------------------------------------------------


def published_schema() -> Any:
    """The schema as it was published; skillsaw, a linter, ships all of them."""
    folder = "skillsaw/schemas/mcp_registry/v2025_12_11"
    shipped = importlib.metadata.distribution("skillsaw").locate_file(folder)
    return read(Path(str(shipped)) / "server.schema.json")


def linted(folder: Path, entry: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """Let skillsaw look at an entry: the schema, and what the registry refuses beyond it."""
    path = folder / "server.json"
    path.write_text(json.dumps(entry))
    rule = ("--rule", "mcp-registry-server-json-valid", "--no-plugins", "--no-custom-rules")
    return subprocess.run(  # noqa: S603 - the linter
        [sys.executable, "-m", "skillsaw", "lint", "--strict", *rule, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_server_json_is_valid_by_the_schema_that_it_names() -> None:
    schema = published_schema()
    check = Draft7Validator(schema)

    assert schema["$id"] == SERVER_JSON["$schema"]
    assert [error.message for error in check.iter_errors(SERVER_JSON)] == []
    assert not check.is_valid(SERVER_JSON | {"name": "no-namespace"})


OWNED = SERVER_JSON | {"name": SERVER_JSON["name"].replace("-owner-", "owner")}
"""With an account in place of the placeholder, which the registry would refuse."""


def test_the_registry_takes_server_json_once_it_has_an_owner(tmp_path: Path) -> None:
    ended = linted(tmp_path, OWNED)

    assert ended.returncode == 0, ended.stdout
    assert "Repo type: mcp-registry" in ended.stdout


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"description": "x" * 101}, "$.description"),
        ({"name": "no-namespace"}, "'name' must contain"),
        ({"packages": [PACKAGE | {"version": "latest"}]}, "packages[0].version"),
        ({"packages": [PACKAGE | {"version": "^0.1.0"}]}, "packages[0].version"),
        ({"packages": [PACKAGE | {"transport": {"type": "pigeon"}}]}, "transport.type"),
    ],
)
def test_a_broken_server_json_is_refused(tmp_path: Path, broken: dict[str, Any], said: str) -> None:
    ended = linted(tmp_path, OWNED | broken)

    assert ended.returncode == 1
    assert said in ended.stdout


def test_the_registrys_name_is_a_placeholder_that_no_account_can_have_or_is_set() -> None:
    namespace, name = SERVER_JSON["name"].split("/")
    owner = namespace.removeprefix("io.github.")
    assert name == PACKAGE["identifier"]
    assert owner == "-owner-" or re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", owner)


def test_the_readme_proves_to_the_registry_whose_package_it_is() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- mcp-name: {SERVER_JSON['name']} -->" in text


# --- the words -------------------------------------------------------------------------------


def commands(text: str, start: str) -> list[list[str]]:
    """The command lines of a document's shell blocks that begin like this, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(start)]


def options_and_names(words: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Read the part before `--` as Claude Code does: -e takes every word up to the next flag."""
    options: dict[str, list[str]] = {}
    named: list[str] = []
    takes: str | None = None
    for word in words:
        if word.startswith("-"):
            takes = {"-e": "--env", "-s": "--scope"}.get(word, word)
            options.setdefault(takes, [])
        elif takes:
            options[takes].append(word)
            takes = takes if takes == "--env" else None
        else:
            named.append(word)
    return options, named


ADDED = commands(README, "claude mcp add")


@pytest.mark.parametrize("words", ADDED, ids=lambda words: " ".join(words[3:6]))
def test_every_claude_mcp_add_line_parses_as_claude_code_reads_it(words: list[str]) -> None:
    end = words.index("--")
    options, named = options_and_names(words[3:end])

    assert len(named) == 1
    assert set(options) <= {"--scope", "--env"}
    assert tuple(words[end + 1 : end + 1 + len(LATEST)]) == LATEST
    variables = [pair.partition("=")[0::2] for pair in options.get("--env", [])]
    assert all(value for _, value in variables)
    assert {environment.setting_of(variable) for variable, _ in variables} <= set(names.SETTINGS)


def test_a_name_after_a_variable_would_be_taken_for_one() -> None:
    """As Claude Code 2.1.332 does; it then refuses the line."""
    options, named = options_and_names(["--env", "A=b", "proxmox"])
    assert (options, named) == ({"--env": ["A=b", "proxmox"]}, [])


def test_there_is_a_line_for_every_scope_and_the_shared_one_holds_no_secret() -> None:
    env = {}
    for words in ADDED:
        options, _ = options_and_names(words[3 : words.index("--")])
        env[options.get("--scope", ["demo"])[0]] = options.get("--env", [])
    assert env.keys() == {"user", "local", "project", "demo"}
    assert "PROXMOX_TOKEN_VALUE=${PROXMOX_TOKEN_VALUE}" in env["project"]


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.md")), ids=lambda path: path.parent.name)
def test_the_documents_lead_to_what_is_there_and_to_nobody_elses_package(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (path.parent / target).exists(), target
    assert not re.search(r"uvx (--from )?proxmox-mcp|(install|run|add) proxmox-mcp\b", text)
