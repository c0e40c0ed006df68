"""Another distribution installs a package of the same import name: that is said, in words."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.environments import SUFFIX
from tests.process.server_process import BOUND, ROOT, environment

FOREIGN_SERVER = "def main():\n    print('somebody else')\n"
COMMAND = Path(sys.executable).with_name(f"proxmox-mcp{SUFFIX}")
APART = "Install proxmoxer-mcp apart from it: uv tool install proxmoxer-mcp, or pipx install"
ASK = (
    "import sys; sys.path[:0] = sys.argv[1:]; import proxmoxer_mcp_start as it; print(it.misled())"
)


# --- it writes over our files ----------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A site where somebody else's files lie over ours, as two installations leave them."""
    site = tmp_path / "site"
    shutil.copytree(
        ROOT / "proxmox_mcp", site / "proxmox_mcp", ignore=shutil.ignore_patterns("__pycache__")
    )
    (site / "proxmox_mcp" / "server.py").write_text(FOREIGN_SERVER)
    recorded(site)
    return site


def recorded(site: Path) -> None:
    """Leave there what an installer notes of the other distribution."""
    info = site / "other_mcp-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-mcp\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("proxmox_mcp\n")
    (info / "RECORD").write_text("proxmox_mcp/server.py,,\n")


def started(site: Path, home: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program
        command or [sys.executable, "-m", "proxmox_mcp", "--demo"],
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


# --- it is found before ours -----------------------------------------------------------------


@pytest.mark.skipif(not COMMAND.exists(), reason="the command is not installed here")
def test_a_foreign_package_that_comes_first_does_not_start_in_our_place(tmp_path: Path) -> None:
    there = package(tmp_path / "theirs", "print('somebody else')")

    ended = started(there, tmp_path, COMMAND, "--demo")

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(
        f"proxmox-mcp: another Python package called proxmox_mcp, in {there / 'proxmox_mcp'},"
        " comes before the one of proxmoxer-mcp in "
    )
    assert ended.stderr.endswith(" Unset PYTHONPATH, which leads there.\n")


def package(folder: Path, entrance: str) -> Path:
    """Make a folder with a package of our name."""
    (folder / "proxmox_mcp").mkdir(parents=True, exist_ok=True)
    (folder / "proxmox_mcp" / "__init__.py").write_text("")
    (folder / "proxmox_mcp" / "__main__.py").write_text(entrance)
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with what the commands enter by, as a wheel has it, and room for a package."""
    site = tmp_path.resolve() / "site"
    site.mkdir()
    shutil.copy(ROOT / "proxmox_mcp" / "start.py", site / "proxmoxer_mcp_start.py")
    return site


def edited(site: Path) -> Path:
    """Note there, as installers do, that our package is a tree somewhere else."""
    tree = package(site.parent / "a tree", "proxmoxer-mcp")
    info = site / "proxmoxer_mcp-0.1.0.dist-info"
    info.mkdir()
    about = {"url": tree.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(about))
    return tree


def said(site: Path, *before: Path) -> str:
    """Ask in a new process whether it would be misled, with these folders before all others."""
    ended = started(site, site, sys.executable, "-c", ASK, *before)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_our_package_beside_the_commands_entrance_is_taken(site: Path) -> None:
    package(site, "proxmoxer-mcp")

    assert said(site) == "None"


def test_a_tree_that_is_worked_on_is_taken_from_where_it_is(site: Path) -> None:
    assert said(site, edited(site)) == "None"


def test_a_working_copy_of_ours_that_comes_first_is_taken(site: Path) -> None:
    package(site, "proxmoxer-mcp")
    copy = package(site.parent / "working copy", "proxmoxer-mcp")

    assert said(site, copy) == "None"


@pytest.mark.parametrize("whole", [True, False], ids=["the folder", "each file"])
def test_an_installer_may_put_links_to_a_store_in_place(site: Path, whole: bool) -> None:  # noqa: FBT001 - a case
    store = package(site.parent / "store", "proxmoxer-mcp") / "proxmox_mcp"
    here = site / "proxmox_mcp"
    if whole:
        here.symlink_to(store)
    else:
        here.mkdir()
        for name in ("__init__.py", "__main__.py"):
            (here / name).symlink_to(store / name)

    assert said(site) == "None"


def test_who_comes_first_is_named_with_folder_distribution_and_remedy(site: Path) -> None:
    package(site, "proxmoxer-mcp")
    theirs = package(site.parent / "theirs", "")
    recorded(theirs)

    assert said(site, theirs).startswith(
        f"another Python package (other_mcp-1.0) called proxmox_mcp, in {theirs / 'proxmox_mcp'},"
        f" comes before the one of proxmoxer-mcp in {site}. {APART}"
    )


def test_a_single_file_that_comes_first_is_seen_too(site: Path) -> None:
    package(site, "proxmoxer-mcp")
    theirs = site.parent / "theirs"
    theirs.mkdir()
    (theirs / "proxmox_mcp.py").write_text("")

    assert f"called proxmox_mcp, in {theirs}, comes before" in said(site, theirs)


def test_who_was_installed_beside_a_tree_that_is_worked_on_is_seen_too(site: Path) -> None:
    tree = edited(site)
    package(site, "print('somebody else')")

    assert f"comes before the one of proxmoxer-mcp in {tree}. Unset PYTHONPATH" in said(site)


def test_who_wrote_over_the_file_that_is_handed_over_to_is_named(site: Path) -> None:
    package(site, "print('somebody else')")
    recorded(site)

    assert said(site).startswith(
        "another Python package (other_mcp-1.0) has written over files of proxmoxer-mcp in"
        f" {site / 'proxmox_mcp'}. {APART}"
    )


def test_a_package_that_went_away_with_a_foreign_one_is_missed_in_words(site: Path) -> None:
    (site / "proxmox_mcp").mkdir()  # what a removal leaves
    # The tree that these tests run in must not be found in its place.
    ended = started(site, site, sys.executable, "-S", "-c", ASK)

    assert ended.stdout.startswith(f"the Python package proxmox_mcp is missing from {site}:")
    assert ended.stdout.strip().endswith("Install proxmoxer-mcp again.")
