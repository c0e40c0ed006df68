"""Who may change which key of a guest's config.

Rule 1: the name of a key decides before anything is done. Drives, serial ports and a network
        card's former bridge are judged by their values, which the real server does in its worker.
Rule 2: for a guest that is only being made, a right on its future pool is as good as on itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from proxmox_mcp.simulator.config_keys import base
from proxmox_mcp.simulator.disks import NEW_VOLUME
from proxmox_mcp.simulator.privileges import Rights, refused
from proxmox_mcp.simulator.state import DISK_KEY
from proxmox_mcp.simulator.wire import died

BRIDGES = 8.0  # the version since which using a bridge takes SDN.Use
ROOT_ONLY = frozenset({"args", "hookscript", "lock"})

# Which privilege a key needs, by its name without the number. All others need VM.Config.Options.
QEMU = {
    "VM.Config.CPU": "cores sockets cpu cpulimit cpuunits vcpus numa",
    "VM.Config.Memory": "memory balloon shares",
    "VM.Config.Network": "net",
    "VM.Config.HWType": "acpi hotplug kvm machine scsihw smbios1 tablet vga",
    "VM.Config.Disk": "boot vmstatestorage unused",
}
CLOUDINIT = frozenset(
    {"cicustom", "cipassword", "ciuser", "ipconfig", "nameserver", "searchdomain", "sshkeys"}
)
LXC = {
    "VM.Config.CPU": "cores cpulimit cpuunits",
    "VM.Config.Memory": "memory swap",
    "VM.Config.Network": "net nameserver searchdomain hostname",
    "VM.Config.Disk": "rootfs mp unused",
}
NEEDED = {
    kind: {key: privilege for privilege, keys in table.items() for key in keys.split()}
    for kind, table in (("qemu", QEMU), ("lxc", LXC))
}


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody's wish to change a guest's config, or to make a guest with it."""

    rights: Rights
    kind: str
    vmid: int
    version: float
    pool: str | None = None

    def need(self, *privileges: str, any_of: bool = False) -> None:
        """Refuse without these privileges on the guest."""
        self.rights.demand_guest(self.vmid, self.pool, privileges, any_of=any_of)

    def check_keys(self, keys: Iterable[str]) -> None:
        """Refuse keys that the caller may not touch, whatever their values."""
        check = self._qemu if self.kind == "qemu" else self._lxc
        for key in sorted(keys):
            check(key)

    def _qemu(self, key: str) -> None:
        if DISK_KEY.fullmatch(key) or base(key) == "serial":
            return
        if key in ROOT_ONLY and not self.rights.is_root:
            raise died(f"only root can set '{key}' config")
        if base(key) in CLOUDINIT:
            self.need("VM.Config.Cloudinit", "VM.Config.Network", any_of=True)
            return
        self.need(NEEDED["qemu"].get(base(key), "VM.Config.Options"))
        if key == "startup":  # it changes how the host behaves
            self.rights.demand("/", ["Sys.Modify"])

    def _lxc(self, key: str) -> None:
        if key == "hookscript" and not self.rights.is_root:
            raise refused("changing the hookscript is only allowed for root@pam")
        if key == "lock" and not self.rights.is_root:
            raise died(f"only root can set '{key}' config")
        self.need(NEEDED["lxc"].get(base(key), "VM.Config.Options"))

    def check_space(self, config: Mapping[str, Any]) -> None:
        """Refuse new volumes on storages where the caller has no space."""
        for key, value in config.items():
            new = DISK_KEY.fullmatch(key) and NEW_VOLUME.match(str(value).partition(",")[0])
            storage = new[1] if new else value if key == "vmstatestorage" else None
            if storage:
                self.rights.demand(f"/storage/{storage}", ["Datastore.AllocateSpace"])

    def check_bridges(self, config: Mapping[str, Any]) -> None:
        """Refuse network cards on bridges, or VLANs of them, that the caller may not use."""
        if self.version < BRIDGES:
            return
        for key in sorted(config):
            if base(key) != "net":
                continue
            words = dict(part.partition("=")[::2] for part in str(config[key]).split(","))
            if "bridge" in words:
                path = f"/sdn/zones/localnetwork/{words['bridge']}"
                path += f"/{words['tag']}" if "tag" in words else ""
                self.rights.demand(path, ["SDN.Use"])

    def check_values(self, config: Mapping[str, Any], *, verb: str = "set") -> None:
        """Refuse drives and serial ports by what they are or were."""
        if self.kind != "qemu":
            return
        for key, value in config.items():
            if DISK_KEY.fullmatch(key):
                self._drive(str(value))
            elif base(key) == "serial":
                self._serial(key, value, verb)

    def _drive(self, value: str) -> None:
        if "cloudinit" in value:
            self.need("VM.Config.Cloudinit", "VM.Config.CDROM")
        else:
            cdrom = "media=cdrom" in value
            self.need("VM.Config.CDROM" if cdrom else "VM.Config.Disk")

    def _serial(self, key: str, value: Any, verb: str) -> None:
        if value == "socket":
            self.need("VM.Config.HWType")
        elif not self.rights.is_root:
            raise died(f"only root can {verb} '{key}' config for real devices")
