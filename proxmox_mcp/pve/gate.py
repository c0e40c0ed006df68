"""Which changes may leave at all, by method and path: the last look before the wire.

The gate knows nothing of tools and believes none of them. It is given the changes that the tools on
offer declare, and lets no other pass: on a read-only server there are none, whatever a tool does.
It also knows which requests lose something for good, by what they are and not by who sends them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

_WIDE = {"kind": "(?:qemu|lxc)", "volume": ".+"}
"""Every other part of a template stands for one segment."""

DISK_KEY = re.compile(r"(ide|sata|scsi|virtio|mp|unused)\d+|efidisk0|tpmstate0|rootfs")


def _pattern(template: str) -> str:
    """Turn ``POST /nodes/{node}/{kind}/{vmid}/clone`` into a pattern."""
    parts = re.split(r"{(\w+)}", template)
    return "".join(
        _WIDE.get(part, "[^/]+") if odd else re.escape(part)
        for part, odd in zip(parts, [False, True] * len(parts), strict=False)
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """What may pass: some changes, or all of them where ``changes`` is None; reads always do."""

    changes: re.Pattern[str] | None = None
    losses: bool = True

    @classmethod
    def of(cls, templates: Iterable[str], *, losses: bool) -> Self:
        """Make the gate for these changes, written as ``POST /nodes/{node}/...``."""
        each = sorted({_pattern(template) for template in templates})
        # With nothing to match, a pattern that matches nothing.
        return cls(re.compile("|".join(each) or r"(?!)"), losses)

    def refusal(self, method: str, path: str, params: Mapping[str, Any]) -> str | None:
        """Say why a request may not leave; None lets it pass."""
        if method == "GET":
            return None
        if self.changes and not self.changes.fullmatch(f"{method} {path}"):
            return (
                f"{method} {path} is not among the changes that this server may make: its settings"
                " (read_only, toolsets, allow_elevated, allow_destructive, disable_tools) leave it"
                " out. Nothing was sent."
            )
        if not self.losses and loses(method, path, params):
            return NO_LOSSES
        return None


NO_LOSSES = (
    "This loses something for good, which the settings forbid: it takes allow_destructive = true in"
    " them, or PROXMOX_MCP_ALLOW_DESTRUCTIVE=true. Nothing was sent."
)


def _always(_: Mapping[str, Any]) -> bool:
    return True


def _flag(name: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda params: str(params.get(name, 0)) not in ("0", "False", "")


def _unsets(params: Mapping[str, Any]) -> bool:
    """Whether a change of configuration takes out a disk, or takes protection off."""
    out = str(params.get("delete", "")).split(",")
    off = "protection" in out or str(params.get("protection", 1)) == "0"
    return off or any(DISK_KEY.fullmatch(key) for key in out)


class Losing(NamedTuple):
    """A request after which something is gone, and whether these parameters make it so."""

    template: str
    when: Callable[[Mapping[str, Any]], bool] = _always

    @property
    def form(self) -> re.Pattern[str]:
        """What method and path look like."""
        return re.compile(_pattern(self.template))


_LOSSES = tuple(
    (row.form, row.when)
    for row in (
        Losing("DELETE {volume}"),
        Losing("POST /nodes/{node}/{kind}/{vmid}/snapshot/{snapname}/rollback"),
        Losing("POST /nodes/{node}/{kind}/{vmid}/template"),
        Losing("POST /nodes/{node}/{kind}", _flag("force")),
        Losing("POST /nodes/{node}/vzdump", _flag("remove")),
        Losing("POST /nodes/{node}/{kind}/{vmid}/config", _unsets),
        Losing("PUT /nodes/{node}/{kind}/{vmid}/config", _unsets),
    )
)


def loses(method: str, path: str, params: Mapping[str, Any]) -> bool:
    """Whether something is gone for good after this request.

    >>> loses("POST", "/nodes/pve1/vzdump", {"vmid": "100", "remove": 1})
    True
    """
    asked = f"{method} {path}"
    return any(form.fullmatch(asked) and when(params) for form, when in _LOSSES)
