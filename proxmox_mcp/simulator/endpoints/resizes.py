"""Growing disks; no version can shrink one."""

from __future__ import annotations

from proxmox_mcp.simulator.config_keys import DIGEST
from proxmox_mcp.simulator.disks import grow
from proxmox_mcp.simulator.parameters import boolean, choice, required, string
from proxmox_mcp.simulator.routing import LXC, QEMU, Call, Table, needs
from proxmox_mcp.simulator.state import Disk, Guest, size_in_bytes
from proxmox_mcp.simulator.tasks import Body, Task
from proxmox_mcp.simulator.wire import died

QEMU_DISKS = (
    *(f"ide{n}" for n in range(4)),
    *(f"scsi{n}" for n in range(31)),
    *(f"virtio{n}" for n in range(16)),
    *(f"sata{n}" for n in range(6)),
    "efidisk0",
    "tpmstate0",
)
LXC_DISKS = ("rootfs", *(f"mp{n}" for n in range(256)))
SIZE = required(string(pattern=r"\+?\d+(\.\d+)?[KMGT]?"))
MAY_GROW = needs("/vms/{vmid}", "VM.Config.Disk")

table = Table()


@table.add(
    "PUT",
    f"{QEMU}/resize",
    MAY_GROW,
    {
        "disk": required(choice(*QEMU_DISKS)),
        "size": SIZE,
        "digest": DIGEST,
        "skiplock": boolean(),
    },
)
def resize_machine(call: Call) -> str | None:
    """Grow a VM's disk: at once on version 7, in a task since."""
    guest = call.guest()
    if not call.center.since(8):
        _resize_machine(call, guest)
        return None

    def plan(task: Task) -> Body:
        _resize_machine(call, guest)
        task.say("Image resized.")
        yield 0.5

    return call.spawn("resize", plan)


def _resize_machine(call: Call, guest: Guest) -> None:
    if call.get("digest", guest.digest) != guest.digest:
        raise died("checksum mismatch (file change by other user?)")
    guest.check_lock()
    key = call.values["disk"]
    if key not in guest.config:
        raise died(f"disk '{key}' does not exist")
    disk = Disk.parse(key, str(guest.config[key]))
    if disk.cdrom:
        raise died("you can't resize a cdrom")
    _demand_space(call, disk)
    size = _wanted(call, disk)
    if size < disk.size:
        raise died("shrinking disks is not supported")
    grow(call.center, guest, disk, size)


def _wanted(call: Call, disk: Disk) -> int:
    text = str(call.values["size"])
    return size_in_bytes(text.lstrip("+")) + (disk.size if text.startswith("+") else 0)


def _demand_space(call: Call, disk: Disk) -> None:
    call.rights.demand(f"/storage/{disk.storage}", ["Datastore.AllocateSpace"])


@table.add(
    "PUT",
    f"{LXC}/resize",
    MAY_GROW,
    {"disk": required(choice(*LXC_DISKS)), "size": SIZE, "digest": DIGEST},
)
def resize_container(call: Call) -> str:
    """Grow a container's volume and the file system on it; mistakes are refused at once."""
    guest = call.guest()
    if call.get("digest", guest.digest) != guest.digest:
        text = "detected modified configuration - file changed by other user? Try again."
        raise died(text)
    guest.check_lock()
    key = call.values["disk"]
    if key not in guest.config:
        raise died(f"disk '{key}' does not exist")
    disk = Disk.parse(key, str(guest.config[key]))
    _demand_space(call, disk)
    size = _wanted(call, disk)
    if size < disk.size:
        raise died("unable to shrink disk size")
    if size == disk.size:
        raise died("disk is already at specified size")

    def plan(task: Task) -> Body:
        task.say("Image resized.")
        grow(call.center, guest, disk, size)
        yield 1.0

    return call.spawn("resize", plan)
