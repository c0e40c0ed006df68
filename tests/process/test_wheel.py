"""What is published: one wheel, which works from an empty environment on every supported Python."""

import email.message
import email.parser
import re
import sys
import zipfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import proxmox_mcp
from proxmox_mcp.tools import TOOLS
from tests.process.environments import (
    INSTALL_SECONDS,
    RUNNING,
    SUPPORTED,
    Environment,
    checked,
    interpreter,
)
from tests.process.server_process import OFFERED, ROOT, serving

pytestmark = pytest.mark.timeout(2 * INSTALL_SECONDS)

Environments = Mapping[tuple[int, int], Future[Environment]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this source tree as a release is."""
    folder = tmp_path_factory.mktemp("dist")
    checked([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)])
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def environments(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environments:
    """An environment with the wheel and what it needs, for every supported Python there is."""
    folder = tmp_path_factory.mktemp("environments")

    def furnish(python: str, name: str) -> Environment:
        made = Environment(python, folder / name)
        made.install(str(wheel))
        return made

    pythons = {version: interpreter(version) for version in SUPPORTED}
    with ThreadPoolExecutor() as pool:  # leaving it waits for all
        return {
            version: pool.submit(furnish, python, "{}.{}".format(*version))
            for version, python in pythons.items()
            if python
        }


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.Parser().parsestr(archive.read(name).decode())


def test_the_wheel_holds_the_package_its_defaults_and_its_licence_and_no_tests(
    wheel: Path,
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    assert {"proxmox_mcp/settings.toml", "proxmox_mcp/py.typed"} <= set(names)
    assert {f"proxmox_mcp/contract/{spec.name}.json" for spec in TOOLS} <= set(names)
    assert [name for name in names if re.fullmatch(r"[^/]+\.dist-info/licenses/LICENSE", name)]
    info = f"proxmoxer_mcp-{proxmox_mcp.__version__}.dist-info"
    tops = {"proxmox_mcp", "proxmoxer_mcp_start.py", info}
    assert {name.partition("/")[0] for name in names} == tops
    assert [name for name in names if "test" in Path(name).name] == []


def test_the_wheel_bears_the_distributions_name_and_the_packages_version(
    metadata: email.message.Message,
) -> None:
    assert metadata["Name"] == "proxmoxer-mcp"
    assert metadata["Version"] == proxmox_mcp.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"


def test_the_protocols_library_is_bounded_on_both_ends(metadata: email.message.Message) -> None:
    needs = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]

    (mcp,) = [need for need in needs if need.name == "mcp"]
    assert mcp.specifier.contains("2.3.0")
    assert not mcp.specifier.contains("2.2.9")
    assert not mcp.specifier.contains("3.0.0")
    assert [need.name for need in needs if not need.specifier] == []


@pytest.mark.parametrize("version", SUPPORTED, ids=lambda version: "{}.{}".format(*version))
def test_the_installed_command_serves_from_an_empty_environment(
    version: tuple[int, int], environments: Environments, tmp_path: Path
) -> None:
    if version not in environments:
        pytest.skip("Python {}.{} is not installed here".format(*version))
    environment = environments[version].result()

    where = checked([environment.python, "-I", "-c", "import proxmox_mcp as p; print(p.__file__)"])
    assert Path(where.strip()).is_relative_to(environment.scripts.parent)
    environment.pip("check")
    with serving(
        tmp_path, "--demo", command=[environment.command("proxmox-mcp")], cwd=tmp_path
    ) as server:
        hello = server.initialize()
        tools = server.answer(server.ask("tools/list"))["result"]["tools"]
        status = server.call("proxmox_get_cluster_status")
        guest = server.call("proxmox_get_vm_status", vmid=100)
        server.end_input()

        assert server.wait() == 0
        assert server.stderr == ""
    assert hello["serverInfo"]["version"] == proxmox_mcp.__version__
    assert [tool["name"] for tool in tools] == OFFERED
    assert status["structuredContent"]["nodes_online"] == ["pve1", "pve2", "pve3"]
    assert guest["structuredContent"]["name"] == "web-01"


def test_the_installed_command_starts_nobody_elses_package(
    environments: Environments, tmp_path: Path
) -> None:
    theirs = tmp_path / "proxmox_mcp"
    theirs.mkdir()
    (theirs / "__init__.py").touch()
    (theirs / "__main__.py").write_text("def main():\n    print('somebody else')\n")

    for name in ("proxmox-mcp", "proxmoxer-mcp"):
        command = environments[RUNNING].result().command(name)
        with serving(
            tmp_path, "--demo", command=[command], variables={"PYTHONPATH": str(tmp_path)}
        ) as server:
            assert server.wait() == 2
            assert server.lines == []
            assert f"in {theirs}, comes before the one of proxmoxer-mcp" in server.stderr


def test_the_python_that_runs_this_is_among_the_tested(environments: Environments) -> None:
    assert RUNNING in environments
