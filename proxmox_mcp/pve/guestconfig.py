"""The keys of a guest's configuration: what there is, of which type, and what belongs together.

Names, types and limits are those of Proxmox's schema for PUT ``/nodes/{node}/{kind}/{vmid}/config``
(7.4 to 9.2; a key that a version does not know yet is refused by that version). They are written
down here so that a mistyped key or value is refused before anything is sent, with the right one
named; Proxmox itself answers only that the property is not defined.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from proxmox_mcp.pve.errors import KIND_WORDS, Refused
from proxmox_mcp.pve.fields import Kind

KEY_LENGTH = 60
"""Longer than any key; comparing a text of any length with all of them would take minutes."""

SECRET = frozenset({"cipassword", "sshkeys"})
"""Masked wherever they are shown, by their names; whether one has changed cannot be seen."""

BOOKKEEPING = frozenset(
    {"digest", "snaptime", "snapstate", "parent", "vmstate", "runningmachine", "runningcpu"}
)
"""What a configuration says about itself or its snapshots, and nobody sets."""

ELSEWHERE = {
    "delete": "pass the argument delete",
    "revert": "pass the argument revert",
    "digest": "the digest is read and sent by this tool itself",
    "template": "use proxmox_vm_template",
    "lock": "only root@pam may set it, on the node",
    "skiplock": "only root@pam may use it, on the node",
    "force": "deleting a disk's data is not done by this tool",
    "vmid": "an id cannot be changed: clone the guest",
    "node": "use proxmox_vm_migrate",
}
"""What a caller may look for among the keys, and where it is instead."""


class Flag(NamedTuple):
    """True or false."""

    def wrong(self, value: Any) -> str | None:
        """Say what is wrong with a value; None where nothing is."""
        return (
            None if str(value).lower() in ("0", "1", "true", "false") else "must be true or false"
        )

    def wired(self, value: Any) -> int:
        """Return what goes on the wire."""
        return int(str(value).lower() in ("1", "true"))


class Number(NamedTuple):
    """A number within limits."""

    least: float = 0
    most: float | None = None
    whole: bool = True

    def wrong(self, value: Any) -> str | None:
        """Say what is wrong with a value; None where nothing is."""
        form = r"-?[0-9]+" if self.whole else r"-?[0-9]+(\.[0-9]+)?"
        if isinstance(value, bool) or not re.fullmatch(form, str(value)):
            return "must be a whole number" if self.whole else "must be a number"
        if float(value) < self.least:
            return f"must be at least {self.least:g}"
        if self.most is not None and float(value) > self.most:
            return f"must be at most {self.most:g}"
        return None

    def wired(self, value: Any) -> str:
        """Return what goes on the wire."""
        return str(value)


class Words(NamedTuple):
    """A text, or one of a few words."""

    choices: tuple[str, ...] = ()
    most: int = 8192

    def wrong(self, value: Any) -> str | None:
        """Say what is wrong with a value; None where nothing is."""
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            return "must be text"
        if self.choices and str(value) not in self.choices:
            return f"must be one of: {', '.join(self.choices)}"
        return f"must have at most {self.most} characters" if len(str(value)) > self.most else None

    def wired(self, value: Any) -> str:
        """Return what goes on the wire."""
        return str(value)


Key = Flag | Number | Words
FLAG, TEXT = Flag(), Words()

_OSTYPES_QEMU = (
    *("other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11"),
    *("l24", "l26", "solaris"),
)
_OSTYPES_LXC = (
    *("debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "archlinux", "alpine"),
    *("gentoo", "nixos", "unmanaged"),
)

_KEYBOARDS = (
    *("de", "de-ch", "da", "en-gb", "en-us", "es", "fi", "fr", "fr-be", "fr-ca", "fr-ch", "hu"),
    *("is", "it", "ja", "lt", "mk", "nl", "no", "pl", "pt", "pt-br", "sv", "sl", "tr"),
)

_QEMU: dict[str, dict[str, Key]] = {
    "cpu": {
        "cores": Number(1),
        "sockets": Number(1),
        "vcpus": Number(1),
        "cpu": TEXT,
        "cpulimit": Number(0, 128, whole=False),
        "cpuunits": Number(1, 262_144),
        "affinity": TEXT,
        "numa": FLAG,
        "numa[n]": TEXT,
        "smp": Number(1),
    },
    "memory": {
        "memory": Number(16),
        "balloon": Number(0),
        "shares": Number(0, 50_000),
        "hugepages": Words(("any", "2", "1024")),
        "keephugepages": FLAG,
        "allow-ksm": FLAG,
    },
    "disks": {
        **{f"{bus}[n]": TEXT for bus in ("scsi", "virtio", "sata", "ide", "unused")},
        "efidisk0": TEXT,
        "tpmstate0": TEXT,
        "cdrom": TEXT,
        "virtiofs[n]": TEXT,
        "vmstatestorage": TEXT,
        "scsihw": Words(
            ("lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi")
        ),
    },
    "networks": {"net[n]": TEXT},
    "boot": {
        "boot": TEXT,
        "bootdisk": TEXT,
        "bios": Words(("seabios", "ovmf")),
        "onboot": FLAG,
        "autostart": FLAG,
        "startup": TEXT,
        "startdate": TEXT,
        "reboot": FLAG,
    },
    "cloud_init": {
        "ciuser": TEXT,
        "cipassword": TEXT,
        "citype": Words(("configdrive2", "nocloud", "opennebula")),
        "cicustom": TEXT,
        "ciupgrade": FLAG,
        "ipconfig[n]": TEXT,
        "nameserver": TEXT,
        "searchdomain": TEXT,
        "sshkeys": TEXT,
    },
    "options": {
        "name": TEXT,
        "description": TEXT,
        "tags": TEXT,
        "protection": FLAG,
        "agent": TEXT,
        "ostype": Words(_OSTYPES_QEMU),
        **dict.fromkeys(("acpi", "kvm", "tablet", "localtime", "freeze", "tdf"), FLAG),
        "arch": Words(("x86_64", "aarch64")),
        "machine": TEXT,
        "hotplug": TEXT,
        "vga": TEXT,
        "keyboard": Words(_KEYBOARDS),
        "watchdog": TEXT,
        "hookscript": TEXT,
        "args": TEXT,
        "audio0": TEXT,
        "rng0": TEXT,
        "ivshmem": TEXT,
        "spice_enhancements": TEXT,
        "smbios1": Words(most=512),
        "vmgenid": TEXT,
        "amd-sev": TEXT,
        "intel-tdx": TEXT,
        "migrate_downtime": Number(0, whole=False),
        "migrate_speed": Number(0),
        **{f"{bus}[n]": TEXT for bus in ("hostpci", "usb", "serial", "parallel")},
    },
}

_LXC: dict[str, dict[str, Key]] = {
    "cpu": {
        "cores": Number(1, 8192),
        "cpulimit": Number(0, 8192, whole=False),
        "cpuunits": Number(0, 500_000),
    },
    "memory": {"memory": Number(16), "swap": Number(0)},
    "disks": {"rootfs": TEXT, "mp[n]": TEXT, "unused[n]": TEXT},
    "networks": {"net[n]": TEXT, "nameserver": TEXT, "searchdomain": TEXT},
    "boot": {"onboot": FLAG, "startup": TEXT},
    "options": {
        "hostname": Words(most=255),
        "description": TEXT,
        "tags": TEXT,
        "protection": FLAG,
        "ostype": Words(_OSTYPES_LXC),
        "arch": Words(("amd64", "i386", "arm64", "armhf", "riscv32", "riscv64")),
        "cmode": Words(("shell", "console", "tty")),
        "console": FLAG,
        "tty": Number(0, 6),
        "debug": FLAG,
        "features": TEXT,
        "unprivileged": FLAG,
        "timezone": TEXT,
        "hookscript": TEXT,
        "dev[n]": TEXT,
        "env": TEXT,
        "entrypoint": TEXT,
    },
}

GROUPS: dict[Kind, dict[str, dict[str, Key]]] = {"qemu": _QEMU, "lxc": _LXC}

DISKS: dict[Kind, re.Pattern[str]] = {
    "qemu": re.compile(r"(ide|sata|scsi|virtio|unused)\d+|efidisk0|tpmstate0"),
    "lxc": re.compile(r"rootfs|(mp|unused)\d+"),
}
"""The keys that stand for a volume: setting one may make a new volume, deleting one may lose it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a configuration, checked and in the form of the wire."""

    values: Mapping[str, str | int]
    delete: tuple[str, ...]
    revert: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that is touched."""
        return (*self.values, *self.delete, *self.revert)


def known(kind: Kind, name: str) -> tuple[str, Key] | None:
    """Find a key's group and type; ``net0`` is an instance of ``net[n]``."""
    if len(name) > KEY_LENGTH:
        return None
    general = re.sub(r"\d+$", "[n]", name)
    for group, keys in GROUPS[kind].items():
        for candidate in (name, general):
            if candidate in keys:
                return group, keys[candidate]
    return None


def check(
    kind: Kind, values: Mapping[str, Any], delete: tuple[str, ...], revert: tuple[str, ...]
) -> Change:
    """Check a change against the keys of this kind of guest.

    Raises:
        Refused: With every problem at once; nothing has been sent.
    """
    problems = [*_faults(kind, values)]
    problems += [said for name in (*delete, *revert) if (said := _unknown(kind, name))]
    problems += [f"{name}: set and deleted at once" for name in values if name in delete]
    if not (values or delete or revert):
        problems.append("nothing to change: give config, delete or revert")
    if problems:
        raise Refused(f"Bad configuration: {'; '.join(problems)}. Nothing was changed.")
    wired = {name: _wired(kind, name, value) for name, value in values.items()}
    return Change(wired, delete, revert)


def _faults(kind: Kind, values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        found = known(kind, name)
        if found is None:
            yield _unknown(kind, name) or ""
        elif said := found[1].wrong(value):
            yield f"{name} {said}"


def _wired(kind: Kind, name: str, value: Any) -> str | int:
    found = known(kind, name)
    text = found[1].wired(value) if found else str(value)
    # Proxmox wants this one encoded within the form's own encoding.
    return quote(str(text), safe="") if name == "sshkeys" else text


def _unknown(kind: Kind, name: str) -> str | None:
    if name in ELSEWHERE:
        return f"{name}: {ELSEWHERE[name]}"
    if known(kind, name):
        return None
    other: Kind = "lxc" if kind == "qemu" else "qemu"
    every = [key for keys in GROUPS[kind].values() for key in keys]
    general = re.sub(r"\d+$", "[n]", name[:KEY_LENGTH])
    close = difflib.get_close_matches(general, every, 1, 0.5)
    hint = f", perhaps {close[0]}" if close else ""
    if known(other, name):
        hint = f" (it is one of a {KIND_WORDS[other]}'s)" + hint
    return f"a {KIND_WORDS[kind]} has no key {name[:40]!r}{hint}"


def shown(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a configuration fit to be shown: as text, without bookkeeping."""
    return {name: str(value) for name, value in sorted(config.items()) if name not in BOOKKEEPING}


def grouped(kind: Kind, config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Put a configuration's keys together by what they are about."""
    groups: dict[str, dict[str, str]] = {}
    for name, value in shown(config).items():
        found = known(kind, name)
        groups.setdefault(found[0] if found else "other", {})[name] = value
    return {name: groups[name] for name in (*GROUPS[kind], "other") if name in groups}


_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[KMGT]?)")
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def size_bytes(text: str) -> int | None:
    """Read a size as Proxmox writes it, e.g. ``32G``; None where it is none.

    >>> size_bytes("1.5G")
    1610612736
    """
    found = _SIZE.fullmatch(text)
    return round(float(found["number"]) * _UNITS[found["unit"]]) if found else None


def disk_size(value: str) -> int | None:
    """Read the size out of a disk's value, ``local-lvm:vm-100-disk-0,size=32G``."""
    found = re.search(r"(?:^|,)size=([^,]+)", value)
    return size_bytes(found[1]) if found else None
