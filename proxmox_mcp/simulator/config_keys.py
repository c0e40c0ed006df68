"""The keys of a guest's config: their types, and what a running guest takes.

The tables name what the simulated guests can have; the official schema knows some more.
"""

from __future__ import annotations

import re

from proxmox_mcp.simulator.parameters import Declared, boolean, choice, integer, number, string

DIGEST = string(max_length=40)
KEYS = string(format="pve-configid-list")
PROPERTIES = "{...}"  # a property string, `a=1,b=2`
CARDS = (
    "e1000, e1000-82540em, e1000-82544gc, e1000-82545em, e1000e, i82551, i82557b, i82559er, "
    "ne2k_isa, ne2k_pci, pcnet, rtl8139, virtio, vmxnet3"
)
LEAST_MEMORY = 16  # MiB
SORTED_TAGS = 9.0


def _memory(name: str, text: str) -> str | None:
    first = text.partition(",")[0].removeprefix("current=")
    if not first.isdigit():
        return f"{name}.current: type check ('integer') failed - got '{first}'"
    if int(first) < LEAST_MEMORY:
        return f"{name}.current: value must have a minimum value of {LEAST_MEMORY}"
    return None


def _card(name: str, text: str) -> str | None:
    words = [part.partition("=")[0] for part in text.split(",")]
    if {"model", *CARDS.split(", ")} & set(words):
        return None
    return f"{name}.model: value '{words[0]}' does not have a value in the enumeration '{CARDS}'"


MACHINE_TYPE = (
    r"(pc|pc(-i440fx)?-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|q35|pc-q35-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?"
    r"|virt(?:-\d+(\.\d+)+)?(\+pve\d+)?)"
)
MACHINE = (
    string(max_length=40, pattern=MACHINE_TYPE, before=8.0),
    string(format=PROPERTIES, since=8.0),
)

COMMON: Declared = {
    "description": string(max_length=8192),
    "onboot": boolean(),
    "protection": boolean(),
    "startup": string(format="pve-startup-order"),
    "tags": string(format="pve-tag-list"),
    "template": boolean(),
    "unused[n]": string(format=PROPERTIES),
}

QEMU_KEYS: Declared = {
    **COMMON,
    "acpi": boolean(),
    "agent": string(format=PROPERTIES),
    "args": string(),
    "autostart": boolean(),
    "balloon": integer(0),
    "bios": choice("seabios", "ovmf"),
    "boot": string(format="pve-qm-boot"),
    "cicustom": string(format="pve-qm-cicustom"),
    "cipassword": string(),
    "ciuser": string(),
    "cores": integer(1),
    "cpu": string(format="pve-vm-cpu-conf"),
    "cpulimit": number(0, 128),
    "cpuunits": integer(1, 262_144),
    "efidisk0": string(format=PROPERTIES),
    "hookscript": string(format="pve-volume-id"),
    "hotplug": string(format="pve-hotplug-features"),
    "ide[n]": string(format=PROPERTIES),
    "ipconfig[n]": string(format="pve-qm-ipconfig"),
    "kvm": boolean(),
    "lock": choice("backup", "clone", "create", "migrate", "rollback", "snapshot",
                   "snapshot-delete", "suspending", "suspended"),
    "machine": MACHINE,
    "memory": (integer(16, before=8.0), string(format=PROPERTIES, inside=_memory, since=8.0)),
    "name": string(format="dns-name"),
    "nameserver": string(format="address-list"),
    "net[n]": string(format=PROPERTIES, inside=_card),
    "numa": boolean(),
    "ostype": choice("other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10",
                     "win11", "l24", "l26", "solaris"),
    "sata[n]": string(format=PROPERTIES),
    "scsi[n]": string(format=PROPERTIES),
    "scsihw": choice("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas",
                     "pvscsi"),
    "searchdomain": string(),
    "serial[n]": (
        string(pattern="(/dev/.+|socket)", before=9.15),
        string(pattern="(/dev/[^,]+|socket)", since=9.15),
    ),
    "shares": integer(0, 50_000),
    "sockets": integer(1),
    "sshkeys": string(format="urlencoded"),
    "tablet": boolean(),
    "tpmstate0": string(format=PROPERTIES),
    "vcpus": integer(1),
    "vga": string(format=PROPERTIES),
    "virtio[n]": string(format=PROPERTIES),
    "vmstatestorage": string(format="pve-storage-id"),
}  # fmt: skip

LXC_KEYS: Declared = {
    **COMMON,
    "cores": integer(1, 8192),
    "cpulimit": number(0, 8192),
    "cpuunits": integer(0, 500_000),
    "features": string(format=PROPERTIES),
    "hookscript": string(format="pve-volume-id"),
    "hostname": string(format="dns-name", max_length=255),
    "lock": choice("backup", "create", "destroyed", "disk", "fstrim", "migrate", "mounted",
                   "rollback", "snapshot", "snapshot-delete"),
    "memory": integer(16),
    "mp[n]": string(format=PROPERTIES),
    "nameserver": string(format="lxc-ip-with-ll-iface-list"),
    "net[n]": string(format=PROPERTIES),
    "rootfs": string(format=PROPERTIES),
    "searchdomain": string(format="dns-name-list"),
    "swap": integer(0),
    "timezone": string(format="pve-ct-timezone"),
    "unprivileged": boolean(),
}  # fmt: skip

# What a running guest takes at once; everything else waits for the next start.
_HOT_QEMU = """
name description onboot protection shares startup tags template vmstatestorage balloon cpulimit
cpuunits lock net ide scsi sata virtio unused
"""
_HOT_LXC = """
hostname description onboot protection startup tags template cores cpulimit cpuunits memory swap
net mp nameserver searchdomain lock unused
"""
HOT = {kind: frozenset(keys.split()) for kind, keys in (("qemu", _HOT_QEMU), ("lxc", _HOT_LXC))}


def tidy_tags(tags: str, version: float) -> str:
    """The tags as they are kept: sorted and joined by semicolons since version 9."""
    if version < SORTED_TAGS:
        return tags
    return ";".join(sorted({tag for tag in re.split(r"[,;\s]+", tags) if tag}))


def base(key: str) -> str:
    """The key without its number: scsi for scsi0."""
    return re.sub(r"\d+\Z", "", key)


def is_hot(kind: str, key: str) -> bool:
    """Whether a running guest takes a change of this key at once."""
    return base(key) in HOT[kind]
