"""What a child process must not inherit: variables that carry a secret.

Only what is started later is spared: the system goes on showing, to this user, what this process
was started with. A secret in a file or in the keyring never stands there.
"""

from collections.abc import MutableMapping
from typing import Final

from proxmox_mcp.config import families
from proxmox_mcp.config.environment import setting_of
from proxmox_mcp.pve.connection import SECRETS, Connection

# Beside the secrets themselves, what the model does not print: a proxy's URL may hold a password.
_CARRIERS: Final = frozenset(SECRETS) | {
    name for name, field in Connection.model_fields.items() if not field.repr
}


def scrub(environ: MutableMapping[str, str]) -> None:
    """Remove every variable that the configuration would read a secret from, by any name."""
    for name in list(environ):
        if setting_of(name) in _CARRIERS or name in families.CARRIERS:
            del environ[name]
