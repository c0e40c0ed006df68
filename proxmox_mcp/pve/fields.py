r"""Identifiers as types: nothing becomes a segment of an API path that has not passed one of these.

proxmoxer splits strings at ``/`` and the HTTP layer resolves ``..``, so a node called
``../access/users`` would reach another endpoint; ``?`` and ``#`` would cut the path. Every pattern
here therefore admits only characters that mean nothing in a URL. Task ids have a module of their
own, :mod:`~proxmox_mcp.pve.upid`. The limits are those of Proxmox's
own schema (formats ``pve-node``, ``pve-vmid``, ``pve-storage-id``), or narrower.

The patterns are matched by pydantic's own engine, in which ``$`` is the end of the text and never
the place before a final newline.
"""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, WithJsonSchema

Kind = Literal["qemu", "lxc"]
"""``qemu`` is a virtual machine, ``lxc`` a container; both are path segments of the API."""

VMID_MIN, VMID_MAX = 100, 999_999_999
"""Proxmox 7's schema says 1, its code says 100; the upper end is the same everywhere."""

Vmid = Annotated[int, Field(ge=VMID_MIN, le=VMID_MAX, description="Guest id, e.g. 105.")]

NodeName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$",
        max_length=63,
        description="Node name, e.g. pve1.",
    ),
]

StorageId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_.-]*[A-Za-z0-9]$",
        max_length=100,
        description="Storage id, e.g. local-lvm.",
    ),
]

NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$"
NAME_LENGTH = 255

GuestName = Annotated[
    str,
    Field(pattern=NAME_PATTERN, max_length=NAME_LENGTH, description="Guest name, e.g. web-01."),
]


def _guest_ref(value: object) -> int | str:
    """Read an id or a name; a text of digits is an id."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and VMID_MIN <= value <= VMID_MAX:
        return value
    named = isinstance(value, str) and not value.isdecimal() and len(value) <= NAME_LENGTH
    if isinstance(value, str) and named and re.fullmatch(NAME_PATTERN.strip("^$"), value):
        return value
    raise ValueError(
        f"must be a guest's id, a whole number from {VMID_MIN} to {VMID_MAX}, or a guest's name"
    )


GuestRef = Annotated[
    int | str,
    BeforeValidator(_guest_ref),
    # A number is taken as well; one type is what every client's engine reads, and a third as long.
    WithJsonSchema({"type": "string", "description": "Guest id or name."}),
]

UNLISTED = "unlisted"
"""The mark of a parameter that is taken and not listed: no caller needs it who reads the list."""

_UNLISTED: dict[str, JsonValue] = {UNLISTED: True}
AtNode = Annotated[
    NodeName | None, Field(description="Its node; checked if given.", json_schema_extra=_UNLISTED)
]
OfKind = Annotated[
    Kind | None, Field(description="Its kind; checked if given.", json_schema_extra=_UNLISTED)
]

SnapName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{1,39}$", description="Snapshot name: a letter first."),
]
"""Proxmox's format ``pve-configid``: two to forty characters, no dot and no space."""

DiskKey = Annotated[
    str,
    Field(
        pattern=r"^(ide|sata|scsi|virtio|mp)[0-9]{1,3}$|^(efidisk0|tpmstate0|rootfs)$",
        description="Disk, e.g. scsi0; rootfs or mp0 of a container.",
    ),
]

ConfigKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,60}$")]

Archive = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z][A-Za-z0-9_.-]*:)?[A-Za-z0-9][A-Za-z0-9_.:+-]*"
        r"(/[A-Za-z0-9][A-Za-z0-9_.:+-]*)*$",
        max_length=255,
        description="Volume id, storage:backup/file, or the file's name.",
    ),
]
"""Every part between slashes begins with a letter or digit, so none of them can be ``..``."""

Wait = Annotated[
    int,
    Field(ge=0, le=3600, description="Seconds to wait."),
]
