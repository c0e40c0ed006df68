"""Values with the place they came from, laid over one another."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from proxmox_mcp.config.names import KEYRING
from proxmox_mcp.config.settings import Problem
from proxmox_mcp.pve.connection import SECRETS, spread

Family = Literal["packaged", "files", "process"]


class Given(NamedTuple):
    """One value and where it was given; it is never printed."""

    value: Any
    place: str
    family: Family

    def __repr__(self) -> str:
        return f"Given(***, {self.place!r}, {self.family!r})"


Layer = Mapping[str, Given]

LOGIN_SECRETS: Final = frozenset({"token_value", "password"})  # a keyring holds one of these

# Lies where a secret could not be had, so that one mistake makes one problem. It is never sent:
# that problem ends the start.
STAND_IN: Final = "a-secret-that-could-not-be-had"

_MAY_HOLD_AN_ID: Final = ("token_value", "user", "token_name")
_TOKEN: Final = frozenset({"token_name", "token_value"})
_PASSWORD: Final = frozenset({"password", "otp"})
_NONE: Final = frozenset[str]()


def spread_layer(layer: Layer) -> tuple[Layer, list[Problem]]:
    """Give the parts inside a host, user or token their own keys, within this layer.

    Each layer is spread before it is laid on: a port inside PROXMOX_HOST has to win over the
    `port` of a file.
    """
    values, faults = spread({setting: given.value for setting, given in layer.items()})
    whole_id = next((layer[name] for name in _MAY_HOLD_AN_ID if "!" in _text(layer, name)), None)
    inside = {"port": layer.get("host"), "user": whole_id, "token_name": whole_id}
    spread_out = dict[str, Given]()
    for setting, value in values.items():
        if origin := layer.get(setting) or inside.get(setting):
            spread_out[setting] = origin._replace(value=value)
    problems = [
        Problem(fault.setting, spread_out[fault.setting].place, fault.text) for fault in faults
    ]
    return spread_out, problems


def _text(layer: Layer, setting: str) -> str:
    value = layer[setting].value if setting in layer else ""
    return value if isinstance(value, str) else ""


def lay(layers: Iterable[Layer]) -> dict[str, Given]:
    """Lay later over earlier; another way to log in replaces the earlier one as a whole."""
    held = dict[str, Given]()
    for layer in layers:
        for setting in _superseded(layer):
            held.pop(setting, None)
        held.update(layer)
    return held


def _superseded(layer: Layer) -> frozenset[str]:
    """Name what would mix two logins if it came from below this layer."""
    has_token, has_password = bool(_TOKEN & layer.keys()), "password" in layer
    other = _NONE
    if has_token != has_password:
        other = _PASSWORD if has_token else _TOKEN
    if KEYRING in layer:  # otherwise the secret of [default] would be sent where [lab] has its own
        return other | LOGIN_SECRETS
    return other | {KEYRING} if LOGIN_SECRETS & layer.keys() else other


def strays(layers: Iterable[Layer], held: Mapping[str, Given]) -> list[Problem]:
    """Find secrets that would follow a host which was named in a layer above their own family."""
    host = held.get("host")
    if host is None or host.family != "process":
        return []
    below = [
        layer["host"].value
        for layer in layers
        if "host" in layer and layer["host"].family == "files"
    ]
    if below[-1:] == [host.value]:
        return []
    return [
        Problem(
            setting,
            held[setting].place,
            f"was not meant for the host from {host.place}: give the login there too, "
            "or choose a profile that has both",
        )
        for setting in SECRETS
        if setting in held and held[setting].family == "files"
    ]
