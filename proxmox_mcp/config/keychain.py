"""The system's keyring, asked for the one secret that a login still lacks.

`keyring` is an optional package: it is imported when it is asked, and not before.
"""

import shlex
from collections.abc import Mapping

from proxmox_mcp.config.layers import LOGIN_SECRETS, Given
from proxmox_mcp.config.names import KEYRING


class NotThere(Exception):
    """The keyring gave no secret; the message is a sentence that says how to put it there."""


def lacking(held: Mapping[str, Given]) -> str | None:
    """Name the secret that the keyring has to give, if it is to give one."""
    if KEYRING not in held or LOGIN_SECRETS & held.keys():
        return None
    return "token_value" if "token_name" in held else "password"


def look_up(service: str, identity: str) -> str:
    """Take the secret of `user@realm!token` or `user@realm` out of the keyring.

    Raises:
        NotThere: there is no package, no keyring or no such entry.
    """
    storing = f"keyring set {shlex.quote(service)} {shlex.quote(identity)}"
    try:
        import keyring  # noqa: PLC0415  optional, and slow to load
    except ImportError:
        reason = "needs a package that is missing: pip install 'proxmoxer-mcp[keyring]'"
        raise NotThere(f"{reason}; then: {storing}") from None
    try:
        secret = keyring.get_password(service, identity)
    except Exception as error:  # noqa: BLE001  backends are plug-ins and raise whatever they like
        # its words may hold anything, its name does not
        reason = (
            f"could not be asked ({type(error).__name__}): unlock it, or where there is none give "
            "the secret by its _file"
        )
    else:
        if secret:
            return secret
        reason = "holds no secret for this login"
    raise NotThere(f"{reason}; to store it: {storing}")
