# ruff: noqa: INP001 - a script in a bundle, not a module of ours
"""Where Claude Desktop starts the server; all of it is in the installed proxmoxer-mcp."""

import sys

from proxmoxer_mcp_start import main

sys.exit(main())
