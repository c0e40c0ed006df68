"""Layers go in, one frozen value comes out: the only place that knows where settings come from.

Later wins, setting by setting (lists and tables are replaced, never joined):

1. the packaged ``settings.toml``
2. one family of variables of another program (Ansible, Terraform, ...), address and login as a
   whole, and only where no place below gives either: see ``families``
3. ``settings.toml``, then ``.secrets.toml``, in the user's configuration folder
4. the file named by ``--config`` or ``PROXMOX_MCP_CONFIG``
5. the environment: ``PROXMOX_<NAME>`` (the names of the reference system), then
   ``PROXMOX_MCP_<NAME>``
6. command-line flags

Within each file ``[default]`` comes first and the profile's own table after it.

Times are in seconds. Only PROXMOX_TIMEOUT and PROXMOX_RETRY_DELAY are in milliseconds, as they
are in the reference system.

A layer that brings another way to log in replaces the lower one as a whole. A secret never
follows a host that was named above it: PROXMOX_HOST with a token from a file is an error unless
the file names the same host, because that token was not meant for that host. A secret from
above may meet a host from below, and all files count as one place.
"""

from proxmox_mcp.config.loading import load
from proxmox_mcp.config.settings import ConfigError, NoCredentials, Settings

__all__ = ["ConfigError", "NoCredentials", "Settings", "load"]
