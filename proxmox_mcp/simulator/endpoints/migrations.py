"""Moving guests to another node, and asking beforehand whether that can work."""

from __future__ import annotations

from typing import Any

from proxmox_mcp.simulator.disks import is_local, move_volume
from proxmox_mcp.simulator.parameters import boolean, choice, integer, number, required, string
from proxmox_mcp.simulator.power import STARTS_IN, in_worker, managed, switch_off, switch_on
from proxmox_mcp.simulator.routing import LXC, QEMU, Call, Table, needs
from proxmox_mcp.simulator.state import GIB, Disk, Guest
from proxmox_mcp.simulator.tasks import Body, Task, TaskError, locking
from proxmox_mcp.simulator.vzdump import stamp
from proxmox_mcp.simulator.wire import died, invalid

RATE = 1.0 * GIB
SHORTEST = 3.0
MAY_MIGRATE = needs("/vms/{vmid}", "VM.Migrate")
NODE = string(format="pve-node")
ROOT_ONLY = ("force", "migration_type", "migration_network")

table = Table()


@table.add("GET", f"{QEMU}/migrate", MAY_MIGRATE, {"target": NODE})
def check_machine(call: Call) -> dict[str, Any]:
    """Where a VM could go, and which of its disks would have to be copied."""
    guest = call.guest()
    guest.check_lock()
    others = [name for name in call.center.nodes if name != call.node]
    shown: dict[str, Any] = {
        "running": int(guest.running),
        "local_disks": [_local_disk(call, guest, disk) for disk in _local(call, guest)],
        "local_resources": [],
    }
    # Version 7 looks at the other nodes only while the VM is stopped.
    if call.center.since(8) or not guest.running:
        shown |= {"allowed_nodes": others, "not_allowed_nodes": {name: {} for name in others}}
    if call.center.since(8):
        shown |= {"mapped-resources": [], "mapped-resource-info": {}}
    return shown | ({"has-dbus-vmstate": 1} if call.center.since(9) else {})


@table.add("GET", f"{LXC}/migrate", MAY_MIGRATE, {"target": NODE}, since=9.0)
def check_container(call: Call) -> dict[str, Any]:
    """Where a container could go; the keys have dashes here."""
    guest = call.guest()
    guest.check_lock()
    others = [name for name in call.center.nodes if name != call.node]
    return {"running": int(guest.running), "allowed-nodes": others, "not-allowed-nodes": {}}


def _local(call: Call, guest: Guest) -> list[Disk]:
    return [disk for disk in guest.disks(cdroms=True) if is_local(call.center, disk)]


def _local_disk(call: Call, guest: Guest, disk: Disk) -> dict[str, Any]:
    shown = {
        "volid": disk.volid,
        "drivename": disk.key,
        "size": disk.size,
        "cdrom": int(disk.cdrom),
        "is_attached": int(disk.key in guest.config),
        "is_unused": 0,
        "is_vmstate": 0,
        "is_tpmstate": int(disk.key.startswith("tpm")),
        "replicate": 1,
        "shared": 0,
    }
    return shown | ({"is_cloudinit": 0} if call.center.since(9) else {})


@table.add(
    "POST",
    f"{QEMU}/migrate",
    MAY_MIGRATE,
    {
        "target": required(NODE),
        "bwlimit": integer(0),
        "force": boolean(),
        "migration_network": string(format="CIDR"),
        "migration_type": choice("secure", "insecure"),
        "online": boolean(),
        "targetstorage": string(format="storage-pair-list"),
        "with-conntrack-state": boolean(since=9.0),
        "with-local-disks": boolean(),
    },
)
def migrate_machine(call: Call) -> str:
    """Move a VM; a running one needs `online`, and its local disks need asking for as well."""
    _check_target(call)
    for name in ROOT_ONLY:
        if name in call.values and not call.rights.is_root:
            raise invalid(**{name: "Only root may use this option."})
    _check_storages(call, "targetstorage")
    guest = call.guest()
    guest.check_lock()
    if guest.running and not call.get("online"):
        raise died("can't migrate running VM without --online")
    return _request(call, "qmigrate")


@table.add(
    "POST",
    f"{LXC}/migrate",
    MAY_MIGRATE,
    {
        "target": required(NODE),
        "bwlimit": number(0),
        "online": boolean(),
        "restart": boolean(),
        "target-storage": string(format="storage-pair-list"),
        "timeout": integer(),
    },
)
def migrate_container(call: Call) -> str:
    """Move a container; a running one is stopped and started again with `restart`."""
    _check_target(call)
    _check_storages(call, "target-storage")
    guest = call.guest()
    guest.check_lock()
    if guest.running and not (call.get("online") or call.get("restart")):
        raise died("can't migrate running container without --online or --restart")
    return _request(call, "vzmigrate")


def _check_target(call: Call) -> None:
    target = call.values["target"]
    if target == call.node:
        raise invalid(target="target is local node.")
    if target not in call.center.nodes:
        raise died(f"no such cluster node '{target}'")


def _check_storages(call: Call, name: str) -> None:
    targets = {pair.rpartition(":")[2] for pair in call.get(name, "1").split(",")}
    for target in sorted(targets - {"1"}):  # 1 keeps each disk where it is
        call.center.storage(target)
        call.rights.demand(f"/storage/{target}", ["Datastore.AllocateSpace"])


def _request(call: Call, task: str) -> str:
    guest = managed(call)
    if guest is None:
        return call.spawn(task, in_worker(call, lambda work, moved: _move(call, work, moved)))

    def plan(work: Task) -> Body:
        target = call.values["target"]
        work.say(f"Requesting HA migration for {guest.prefix} {guest.vmid} to node {target}")
        call.center.tasks.after(5.0, lambda: _manager_moves(call, guest, task))
        yield from ()

    return call.spawn("hamigrate", plan)


def _manager_moves(call: Call, guest: Guest, task: str) -> None:
    # Nobody is told when the manager finds the other node down: the guest just stays.
    if call.center.nodes[call.values["target"]].online and guest.node == call.node:
        call.center.tasks.spawn(
            guest.node,
            task,
            str(guest.vmid),
            "root@pam",
            lambda work: _move(call, work, guest),
        )


def _move(call: Call, task: Task, guest: Guest) -> Body:
    center, target = call.center, str(call.values["target"])
    began = center.now

    def say(text: str) -> None:
        task.say(f"{stamp(center.now)} {text}")

    if not center.nodes[target].online:
        address = center.nodes[target].ip
        say(f"# /usr/bin/ssh -e none -o 'BatchMode=yes' -o 'HostKeyAlias={target}' "
            f"root@{address} /bin/true")  # fmt: skip
        say(f"ssh: connect to host {address} port 22: No route to host")
        _abort(say, "Can't connect to destination address using public key")
    say(f"starting migration of {guest.prefix} {guest.vmid} to node '{target}' "
        f"({center.nodes[target].ip})")  # fmt: skip
    guest.check_lock()
    restarts = guest.kind == "lxc" and guest.running
    if restarts and not call.get("restart"):
        _abort(say, "lxc live migration is currently not implemented")
    local = [disk for disk in _local(call, guest) if not disk.cdrom]
    if guest.kind == "qemu" and guest.running and local and not call.get("with-local-disks"):
        why = "can't live migrate attached local disks without with-local-disks option"
        say(f"can't migrate local disk '{local[0].volid}': {why}")
        _abort(say, "Failed to sync data - can't migrate VM - check log")
    with locking(guest, "migrate"):
        if restarts:
            switch_off(guest)
        for disk in local:
            say(f"copying local disk image '{disk.volid}'")
        yield max(SHORTEST, sum(disk.size for disk in local) / RATE)
        for disk in local:
            move_volume(center, guest, disk, target, _storage_for(call, disk))
        guest.node = target
        if restarts:
            yield STARTS_IN
            switch_on(center, guest)
    say(f"migration finished successfully (duration {stamp(center.now - began, '%H:%M:%S')})")


def _storage_for(call: Call, disk: Disk) -> str | None:
    # A pair maps one storage to another, a single name all of them; 1 keeps each as it is.
    said = str(call.get("targetstorage") or call.get("target-storage") or "1")
    pairs = dict(pair.rpartition(":")[::2] for pair in said.split(","))
    found = pairs.get(disk.storage) or pairs.get("")
    return None if found == "1" else found


def _abort(say: Any, why: str) -> None:
    say(f"ERROR: migration aborted (duration 00:00:00): {why}")
    raise TaskError("migration aborted")
