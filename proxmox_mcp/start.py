"""Where the commands enter: is the package that answers to our name ours?

Other projects install a package called ``proxmox_mcp`` too. One that comes earlier on Python's path
would start in this server's place. So the wheel does not have this file here but beside the
package, under a name that nobody else has, ``proxmoxer_mcp_start``, and it imports nothing of
``proxmox_mcp`` before it knows whose that is.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

OURS = "proxmoxer-mcp"
NAME = "proxmox_mcp"
BROKEN = 2
APART = f"Install {OURS} apart from it: uv tool install {OURS}, or pipx install {OURS}."


def main() -> int:
    """Hand over to the command line, if it is ours, and return its exit code."""
    if wrong := misled():
        sys.stderr.write(f"proxmox-mcp: {wrong}\n")
        return BROKEN
    from proxmox_mcp.__main__ import main  # noqa: PLC0415 - only now is it known to be ours

    return main()


def misled() -> str | None:
    """Say what is found in the place of our package, if anything is."""
    here = Path(__file__).absolute().parent
    site = _source_tree(here) or here
    spec = find_spec(NAME)  # looks for it and does not import it
    if spec is None or spec.origin is None:
        return (
            f"the Python package {NAME} is missing from {site}: it was moved, or removed together"
            f" with another one of this name. Install {OURS} again."
        )
    found = Path(spec.origin).absolute()
    entrance = found.with_name("__main__.py")
    beside = _same(found.parent, site / NAME)
    # Ours is also a working copy that comes before what is installed; a zip has no file to look at.
    if OURS.encode() in entrance.read_bytes() if entrance.exists() else beside:
        return None
    if beside:
        return f"{_whose(site)} has written over files of {OURS} in {found.parent}. {APART}"
    return _in_front(found, site)


def _same(one: Path, other: Path) -> bool:
    # Installers may put links to folders in place, or to each file in a store of theirs.
    return one == other or one.resolve() == other.resolve()


def _in_front(found: Path, site: Path) -> str:
    folder = found.parents[1 if found.stem == "__init__" else 0]
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    leads_there = any(_same(folder, Path(each)) for each in named if each)
    return (
        f"{_whose(folder)} called {NAME}, in {found.parent}, comes before the one of {OURS} in"
        f" {site}. {'Unset PYTHONPATH, which leads there.' if leads_there else APART}"
    )


def _whose(folder: Path) -> str:
    records = folder.glob("*.dist-info/RECORD")
    others = [
        record.parent.name.removesuffix(".dist-info")
        for record in records
        if f"\n{NAME}/".encode() in b"\n" + record.read_bytes()
    ]
    names = " and ".join(sorted(name for name in others if not name.startswith("proxmoxer_mcp-")))
    return f"another Python package ({names})" if names else "another Python package"


def _source_tree(here: Path) -> Path | None:
    """Return where our package is, if it was installed as a tree that is being worked on."""
    for record in here.glob("proxmoxer_mcp-*.dist-info/direct_url.json"):
        import json  # noqa: PLC0415 - only where there is something to read
        from urllib.parse import unquote, urlsplit  # noqa: PLC0415

        about = json.loads(record.read_bytes())
        if about.get("dir_info", {}).get("editable"):
            url = urlsplit(about["url"])
            path = unquote(url.path)
            if os.name == "nt":
                path = f"//{url.netloc}{path}" if url.netloc else path.lstrip("/")
            return Path(path)
    return None
