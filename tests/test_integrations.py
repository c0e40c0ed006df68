"""The ways into a client: each is sound by its own rules, and starts this server with its settings.

The bundle for Claude Desktop is checked by that format's own tool. No package ships the schemas of
the registry's ``server.json`` and of Claude Code's ``plugin.json``: their rules are written down as
models, from the schema of 2025-12-11 in modelcontextprotocol/registry, and from Claude Code's
manifest reference and what its 2.1.332 refuses. ``claude plugin validate`` has the last word on the
plugin, ``mcp-publisher`` on the entry; the one is too large for a test, the other in no package.
"""

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
from typing import Annotated, Any, Literal

import pytest
from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field

from proxmox_mcp import __version__
from proxmox_mcp.config import environment, load, names
from proxmox_mcp.pve.connection import SECRETS
from proxmox_mcp.tools import TOOLS
from tests.process.server_process import OFFERED, PROGRAM, serving

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "integrations"
PLUGIN = FOLDER / "claude-code"
BUNDLE = FOLDER / "claude-desktop"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
NODE = Path(__file__).parent / "integrations-node"
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
        ("plugin", PROGRAM),
        ("project", PROGRAM),
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


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Input(Strict):
    """Input, InputWithVariables and KeyValueInput of server.schema.json."""

    name: str
    description: str = ""
    isRequired: bool = False  # noqa: N815 - the schema's spelling, here and below
    isSecret: bool = False  # noqa: N815
    format: Literal["string", "number", "boolean", "filepath"] = "string"
    default: str | None = None
    placeholder: str | None = None
    value: str | None = None
    choices: list[str] | None = None


class Stdio(Strict):
    type: Literal["stdio"]


Version = Annotated[str, Field(max_length=255, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*$")]
"""One version: the registry refuses ranges, and `latest`."""


class Package(Strict):
    """Package of server.schema.json, for the registry type that takes a version."""

    registryType: Literal["pypi"]  # noqa: N815
    identifier: str
    version: Version
    runtimeHint: Literal["uvx"]  # noqa: N815
    transport: Stdio
    environmentVariables: list[Input]  # noqa: N815


class ServerDetail(Strict):
    """ServerDetail of server.schema.json."""

    schema_: Literal[
        "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
    ] = Field(alias="$schema")
    name: str = Field(pattern=r"^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$", min_length=3, max_length=200)
    title: str = Field(min_length=1, max_length=100)
    description: str = Field(min_length=1, max_length=100)
    version: Version
    packages: list[Package]


class Option(Strict):
    """One entry of a plugin's userConfig: an unknown key there keeps a plugin from loading."""

    type: Literal["string", "number", "boolean", "directory", "file"]
    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    required: bool = False
    default: str | float | bool | list[str] | None = None
    multiple: bool = False
    sensitive: bool = False
    min: float | None = None
    max: float | None = None


class Author(Strict):
    name: str = Field(min_length=1)
    email: str | None = None
    url: str | None = None


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]


class Plugin(Strict):
    """plugin.json, as far as we use it; an unknown key is dropped with a warning."""

    name: Name
    displayName: str  # noqa: N815
    version: Version
    description: str
    author: Author
    license: str
    keywords: list[str]
    userConfig: dict[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")], Option]  # noqa: N815


class Entry(Strict):
    """A plugin in a marketplace: a path of its own starts with ./, from the marketplace's root."""

    name: Name
    source: str = Field(pattern=r"^\./")
    description: str


class Marketplace(Strict):
    name: Name
    description: str
    owner: Author
    plugins: list[Entry]


def test_server_json_keeps_the_registrys_rules() -> None:
    ServerDetail.model_validate(SERVER_JSON)


def test_plugin_json_keeps_claude_codes_rules() -> None:
    Plugin.model_validate(PLUGIN_JSON)


def test_the_marketplace_leads_to_the_plugin() -> None:
    marketplace = Marketplace.model_validate(read(PLUGIN / ".claude-plugin" / "marketplace.json"))
    (entry,) = marketplace.plugins
    found = read(PLUGIN / entry.source / ".claude-plugin" / "plugin.json")
    assert found["name"] == entry.name


def test_a_rule_that_is_broken_is_seen() -> None:
    """The models refuse what the real ones refuse, so that passing them means something."""
    for model, whole, broken in (
        (ServerDetail, SERVER_JSON, {"description": "x" * 101}),
        (ServerDetail, SERVER_JSON, {"name": "no-namespace"}),
        (ServerDetail, SERVER_JSON, {"packages": [PACKAGE | {"version": "latest"}]}),
        (ServerDetail, SERVER_JSON, {"packages": [PACKAGE | {"version": "^0.1.0"}]}),
        (Plugin, PLUGIN_JSON, {"name": "Proxmox VE"}),
        (Plugin, PLUGIN_JSON, {"userConfig": {"host": {"type": "string", "title": "Host"}}}),
        (Plugin, PLUGIN_JSON, {"userConfig": {"a-b": PLUGIN_JSON["userConfig"]["host"]}}),
    ):
        with pytest.raises(ValueError, match="validation error"):
            model.model_validate(whole | broken)


def test_the_registrys_name_is_a_placeholder_that_no_account_can_have_or_is_set() -> None:
    namespace, name = SERVER_JSON["name"].split("/")
    owner = namespace.removeprefix("io.github.")
    assert name == PACKAGE["identifier"]
    assert owner == "-owner-" or re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", owner)


def test_the_readme_proves_to_the_registry_whose_package_it_is() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"<!-- mcp-name: {SERVER_JSON['name']} -->" in text


# --- the bundle, by its own tool -------------------------------------------------------------


def lacking(what: str) -> None:
    """Skip where a tool is missing, except where the answer decides."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def mcpb(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The tool of the .mcpb format, installed beside this file on first use."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        lacking("Node and npm are needed to check the bundle by its own tool")
    package = NODE / "node_modules" / "@anthropic-ai" / "mcpb"
    wanted = read(NODE / "package.json")["dependencies"]["@anthropic-ai/mcpb"]
    with FileLock(tmp_path_factory.getbasetemp().parent / "integrations-node.lock"):
        about = package / "package.json"
        if not about.exists() or read(about)["version"] != wanted:
            installed = subprocess.run(  # noqa: S603 - npm
                [str(npm), "ci"],
                cwd=NODE,
                capture_output=True,
                text=True,
                timeout=NPM_SECONDS,
                check=False,
            )
            if installed.returncode:
                lacking(f"npm could not install the bundle's tool: {installed.stderr}")

    def run(*words: str | Path) -> str:
        ended = subprocess.run(  # noqa: S603 - the tool of that package
            [str(node), str(package / "dist" / "cli" / "cli.js"), *map(str, words)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run


@pytest.mark.timeout(NPM_SECONDS + 60)
def test_the_bundles_manifest_is_valid_by_its_own_tool(mcpb: Callable[..., str]) -> None:
    assert "passes" in mcpb("validate", BUNDLE / "manifest.json")


@pytest.mark.timeout(NPM_SECONDS + 60)
def test_the_packed_bundle_holds_what_starts_the_server_and_nothing_else(
    mcpb: Callable[..., str], tmp_path: Path
) -> None:
    source, packed = tmp_path / "source", tmp_path / "x.mcpb"
    shutil.copytree(BUNDLE, source)
    (source / ".venv").mkdir()
    (source / ".venv" / "left-behind").write_text("by uv run")
    mcpb("pack", source, packed)

    with zipfile.ZipFile(packed) as archive:
        assert sorted(archive.namelist()) == ["manifest.json", "pyproject.toml", "src/server.py"]


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
