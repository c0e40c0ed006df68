"""Another distribution installs a package of the same import name: that is said, in words."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.server_process import BOUND, ROOT, environment

FOREIGN_SERVER = "def main():\n    print('somebody else')\n"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A site where somebody else's files lie over ours, as two installations leave them."""
    site = tmp_path / "site"
    shutil.copytree(
        ROOT / "proxmox_mcp", site / "proxmox_mcp", ignore=shutil.ignore_patterns("__pycache__")
    )
    (site / "proxmox_mcp" / "server.py").write_text(FOREIGN_SERVER)
    info = site / "other_mcp-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-mcp\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("proxmox_mcp\n")
    (info / "RECORD").write_text("proxmox_mcp/server.py,,\n")
    return site


def started(site: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxmox_mcp", "--demo"],
        env=environment(home) | {"PYTHONPATH": str(site)},
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )


def test_a_foreign_package_of_the_same_name_is_named_with_the_remedy(
    mixed: Path, tmp_path: Path
) -> None:
    ended = started(mixed, tmp_path)

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert "other-mcp installs a Python package of the same name, proxmox_mcp" in ended.stderr
    assert "uv tool install proxmoxer-mcp" in ended.stderr


def test_a_mistake_of_our_own_keeps_its_traceback(mixed: Path, tmp_path: Path) -> None:
    shutil.rmtree(mixed / "other_mcp-1.0.dist-info")

    ended = started(mixed, tmp_path)

    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
