# ruff: noqa: INP001 - a script in a bundle, not a module of ours
"""Where Claude Desktop starts the server; all of it is in the installed proxmoxer-mcp."""

import sys

from proxmox_mcp.__main__ import main

sys.exit(main())
