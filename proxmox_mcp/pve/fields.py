r"""Identifiers as types: nothing becomes a segment of an API path that has not passed one of these.

proxmoxer splits strings at ``/`` and the HTTP layer resolves ``..``, so a node called
``../access/users`` would reach another endpoint; ``?`` and ``#`` would cut the path. Every pattern
here therefore admits only characters that mean nothing in a URL. Task ids have a module of their
own, :mod:`~proxmox_mcp.pve.upid`. The limits are those of Proxmox's
own schema (formats ``pve-node``, ``pve-vmid``, ``pve-storage-id``), or narrower.

The patterns are matched by pydantic's own engine, in which ``$`` is the end of the text and never
the place before a final newline.
"""

from typing import Annotated, Literal

from pydantic import Field

Kind = Literal["qemu", "lxc"]
"""``qemu`` is a virtual machine, ``lxc`` a container; both are path segments of the API."""

Vmid = Annotated[
    int, Field(ge=100, le=999_999_999, description="Guest id, a whole number, e.g. 105.")
]
"""Proxmox 7's schema says 1, its code says 100; the upper end is 999,999,999 everywhere."""

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

GuestName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$",
        max_length=255,
        description="Guest name instead of vmid.",
    ),
]

Wait = Annotated[
    int,
    Field(ge=0, le=3600, description="Seconds to wait for the task to end; 0 returns at once."),
]
