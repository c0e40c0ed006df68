"""``python -m proxmox_mcp`` and the command ``proxmox-mcp``."""

import sys

from proxmox_mcp.cli.wire import stdout_diverted


def main() -> int:
    """Run the command line and return its exit code."""
    with stdout_diverted() as stdout:
        from proxmox_mcp.cli.main import run  # noqa: PLC0415 - only now is stdout guarded

        return run(sys.argv[1:], stdout)


if __name__ == "__main__":
    sys.exit(main())
