"""The architecture, as a test: a reader sees it from the tree, and imports only point down."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "proxmox_mcp"

MAY_IMPORT: dict[str, set[str]] = {
    "start": {"__main__"},
    "__main__": {"cli"},
    "cli": {"server", "access", "config", "logs", "tools", "toolkit", "pve"},
    "server": {"access", "config", "resources", "prompts", "tools", "toolkit", "pve", "redaction"},
    "access": {"config", "tools", "pve", "simulator"},
    "config": {"logs", "toolkit", "pve"},  # its value is made of the values that those layers want
    "logs": {"redaction"},
    "resources": {"tools", "toolkit", "pve"},
    "prompts": {"tools", "toolkit", "pve"},
    "tools": {"toolkit", "pve"},
    "toolkit": {"pve", "redaction"},
    "pve": set(),
    "redaction": set(),
    "simulator": set(),
    "__init__": set(),
}
"""From top to bottom; each layer names what it may know. The simulator stands apart."""

PVE = [
    "stores",
    "condition",
    "guestconfig",
    "upid",
    "trace",
    "ha",
    "locate",
    "guard",
    "bounds",
    "oversight",
    "rules",
    "bridge",
    "gate",
    "permissions",
    "memory",
    "bucket",
    "circuit",
    "session",
    "transport",
    "tls",
    "answers",
    "meanings",
    "errors",
    "connection",
    "fields",
]
"""The files of pve, from top to bottom."""

MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[tuple[str, ...]]:
    """Every module of this package that a file imports, wherever in it the import stands."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path.name}: write imports out in full"
            if node.module == "proxmox_mcp":
                found |= {(alias.name,) for alias in node.names}
            elif node.module.startswith("proxmox_mcp."):
                parts = tuple(node.module.split(".")[1:])
                found |= {(*parts, alias.name) for alias in node.names}
    return found


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_point_down(path: Path) -> None:
    own = layer(path)
    names = {parts[0] for parts in imported(path)} - {own, "__version__"}
    assert names <= MAY_IMPORT[own], (
        f"{path.name} reaches up or aside, to {sorted(names - MAY_IMPORT[own])}:"
        " move what both need down"
    )


def test_the_layers_have_an_up_and_a_down() -> None:
    order = list(MAY_IMPORT)
    for name, below in MAY_IMPORT.items():
        assert all(order.index(each) > order.index(name) for each in below)


@pytest.mark.parametrize("path", sorted((PACKAGE / "pve").glob("*.py")), ids=lambda path: path.stem)
def test_files_of_pve_know_only_those_below_them(path: Path) -> None:
    if path.stem == "__init__":
        assert imported(path) == set()
        return
    below = set(PVE[PVE.index(path.stem) + 1 :])
    names = {part for parts in imported(path) if parts[0] == "pve" for part in parts[1:2]}
    assert names <= below, f"{path.name} reaches up, to {sorted(names - below)}"


def test_only_the_server_and_the_command_line_read_configuration_and_logs() -> None:
    readers = {
        layer(path)
        for path in MODULES
        for parts in imported(path)
        if parts[0] in ("config", "logs") and layer(path) not in ("config", "logs")
    }
    assert readers == {"cli", "server", "access"}


def test_only_one_file_imports_dynaconf() -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dynaconf")
    }
    assert users == {"config/files.py"}


def test_nothing_of_mcp_is_known_where_proxmox_is_spoken_to() -> None:
    for path in (PACKAGE / "pve").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "mcp", path.name


BUDGET_LINES = 400


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_short_enough_to_be_one_noun(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= BUDGET_LINES, f"{path.name} has {lines} lines: would two nouns read better?"
