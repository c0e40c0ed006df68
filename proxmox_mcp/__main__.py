"""``python -m proxmox_mcp``, and what the commands hand over to.

Other projects install a package of this import name too, and in one environment the last one writes
over the other's files. So what is imported here first is little, and when it turns out not to be
ours, that is said in place of a traceback. ``start.py`` sees to one that is found in our place.
"""

import gc
import sys

OURS = "proxmoxer-mcp"
BROKEN = 2


def main() -> int:
    """Run the command line and return its exit code."""
    # What is imported stays until the end: looking through it again and again for what could go
    # takes a seventh of the start. Whoever stays for long switches the collector on again.
    gc.disable()
    try:
        from proxmox_mcp.cli.wire import stdout_diverted  # noqa: PLC0415 - may be another's

        with stdout_diverted() as stdout:
            from proxmox_mcp.cli.main import run  # noqa: PLC0415 - only now is stdout guarded

            return run(sys.argv[1:], stdout)
    except (ImportError, AttributeError):
        if not (others := strangers()):
            raise
        sys.stderr.write(f"{overwritten(others)}\n")
        return BROKEN


def strangers() -> list[str]:
    """Return the other distributions in this environment that install this import name."""
    from importlib.metadata import packages_distributions  # noqa: PLC0415 - slow, and seldom needed

    return sorted(set(packages_distributions().get("proxmox_mcp", [])) - {OURS})


def overwritten(others: list[str]) -> str:
    """Say who is in this server's place, and what to do."""
    return (
        f"proxmox-mcp: {' and '.join(others)} installs a Python package of the same name,"
        f" proxmox_mcp, into this environment, and has written over files of {OURS}. Install"
        f" {OURS} apart from it: uv tool install {OURS}, or pipx install {OURS}."
    )


if __name__ == "__main__":
    sys.exit(main())
