"""A backup as vzdump makes it: its log line by line, the lock, the archive, and the pruning.

The rate is that of a fast storage: 32 GiB take about fifteen seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from proxmox_mcp.simulator.datacenter import Datacenter
from proxmox_mcp.simulator.state import GIB, Guest, Storage, Volume
from proxmox_mcp.simulator.tasks import Body, Plan, Task, TaskError
from proxmox_mcp.simulator.wire import Refusal

RATE = 2.2 * GIB
STEP = 3.0
SHRINKS_TO = 0.35  # what is left of a disk after compression and without its zeros
EXTENSION = {"0": "", "1": ".lzo", "gzip": ".gz", "lzo": ".lzo", "zstd": ".zst"}


@dataclass(frozen=True, slots=True)
class Job:
    """One call of vzdump: what to back up, where to and how."""

    node: str
    vmids: tuple[int, ...]
    storage: str
    arguments: str
    mode: str = "snapshot"
    compress: str = "0"
    notes: str | None = None
    protected: bool = False
    prune: bool = True
    may: Callable[[int], bool] = lambda _vmid: True

    def plan(self, center: Datacenter) -> Plan:
        """What the worker does."""
        return lambda task: _run(center, self, task)


def stamp(now: float, layout: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time as logs write it; the cluster lives in UTC."""
    return time.strftime(layout, time.gmtime(now))


def gib(size: float) -> str:
    """A size as the progress lines write it."""
    return f"{size / GIB:.1f} GiB"


def _run(center: Datacenter, job: Job, task: Task) -> Body:
    task.interrupted = "interrupted by signal"
    _check_storage(center, job.storage)
    task.say(f"INFO: starting new backup job: vzdump {job.arguments}")
    if job.node in center.dumping:
        task.say("INFO: trying to get global lock - waiting...")
        while job.node in center.dumping:
            yield 1.0
        task.say("INFO: got global lock")
    center.dumping.add(job.node)
    failed = 0
    try:
        for vmid in [vmid for vmid in job.vmids if job.may(vmid)]:
            failed += yield from _guest(center, job, task, vmid)
    finally:
        center.dumping.discard(job.node)
    if failed:
        task.say("INFO: Backup job finished with errors")
        raise TaskError("job errors")
    task.say("INFO: Backup job finished successfully")


def _guest(center: Datacenter, job: Job, task: Task, vmid: int) -> Generator[float, None, int]:
    guest = center.guests.get(vmid)
    if guest:
        task.say(f"INFO: Starting Backup of VM {vmid} ({guest.kind})")
        task.say(f"INFO: Backup started at {stamp(center.now)}")
    try:
        yield from _dump(center, job, task, _known(guest, vmid))
    except (TaskError, Refusal) as error:
        task.say(f"ERROR: Backup of VM {vmid} failed - {error}")
        task.say(f"INFO: Failed at {stamp(center.now)}")
        return 1
    return 0


def _check_storage(center: Datacenter, name: str) -> None:
    if name not in center.storages:
        why = f"storage '{name}' does not exist"
    elif "backup" not in center.storages[name].content:
        why = f"can't use storage '{name}' for backups - wrong content type"
    else:
        return
    raise TaskError(f"could not get storage information for '{name}': {why}")


def _known(guest: Guest | None, vmid: int) -> Guest:
    if guest is None:
        raise TaskError(f"unable to find VM '{vmid}'")
    return guest


def _dump(center: Datacenter, job: Job, task: Task, guest: Guest) -> Body:
    began = center.now
    guest.check_lock()
    task.say(
        f"INFO: status = {guest.status}",
        f"INFO: backup mode: {job.mode if guest.running else 'stop'}",
        "INFO: ionice priority: 7",
        f"INFO: {guest.prefix} Name: {guest.name}",
    )
    volume = _archive(center, job, guest)
    guest.lock = "backup"
    try:
        if guest.kind == "qemu":
            yield from _copy_disks(center, task, guest, volume)
        else:
            yield from _copy_files(task, guest, volume)
    except TaskError:
        task.say("ERROR: interrupted by signal", "INFO: aborting backup job")
        raise
    finally:
        guest.lock = None
    storage = center.storage(job.storage)
    storage.add(job.node, volume)
    task.say(f"INFO: archive file size: {volume.size / GIB:.2f}GB")
    if volume.notes is not None:
        task.say("INFO: adding notes to backup")
    if volume.protected:
        task.say("INFO: marking backup as protected")
    if job.prune:
        _prune(task, storage, job.node, guest)
    lasted = stamp(center.now - began, "%H:%M:%S")
    task.say(f"INFO: Finished Backup of VM {guest.vmid} ({lasted})")
    task.say(f"INFO: Backup finished at {stamp(center.now)}")


def _archive(center: Datacenter, job: Job, guest: Guest) -> Volume:
    storage = center.storage(job.storage)
    size = int(sum(disk.size for disk in guest.disks()) * SHRINKS_TO)
    born = int(center.now)
    volume = Volume("", "backup", "", size, born, guest.vmid, subtype=guest.kind)
    volume.notes = _notes(center, job, guest)
    volume.protected = job.protected
    volume.config = {key: value for key, value in guest.config.items() if key != "lock"}
    if storage.type == "pbs":
        kind = "vm" if guest.kind == "qemu" else "ct"
        volume.format = f"pbs-{kind}"
        when = stamp(center.now, "%Y-%m-%dT%H:%M:%SZ")
        volume.volid = f"{storage.name}:backup/{kind}/{guest.vmid}/{when}"
        return volume
    base = "vma" if guest.kind == "qemu" else "tar"
    volume.format = base + EXTENSION[job.compress]
    when = stamp(center.now, "%Y_%m_%d-%H_%M_%S")
    name = f"vzdump-{guest.kind}-{guest.vmid}-{when}.{volume.format}"
    volume.volid = f"{storage.name}:backup/{name}"
    return volume


def _notes(center: Datacenter, job: Job, guest: Guest) -> str | None:
    if job.notes is None:
        return None
    words = {
        "guestname": guest.name,
        "vmid": str(guest.vmid),
        "node": job.node,
        "cluster": center.name,
    }
    text = job.notes
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    return text


def _copy_disks(center: Datacenter, task: Task, guest: Guest, volume: Volume) -> Body:
    total = 0
    for disk in guest.disks():
        task.say(f"INFO: include disk '{disk.key}' '{disk.volid}' {disk.size // GIB}G")
        total += disk.size
    path = volume.volid.rpartition("/")[2]
    task.say(
        f"INFO: creating vzdump archive '/mnt/pve/{volume.volid.partition(':')[0]}/dump/{path}'"
    )
    if not guest.running:
        task.say("INFO: starting kvm to execute backup task")
    task.say(f"INFO: started backup task '{center.uuid()}'")
    seconds = max(2.0, total / RATE)
    passed = 0.0
    while passed < seconds:
        step = min(STEP, seconds - passed)
        yield step
        passed += step
        share = min(1.0, passed / seconds)
        done = f"{int(share * 100):3d}% ({gib(total * share)} of {gib(total)})"
        read = total / seconds / GIB
        speeds = f"read: {read:.1f} GiB/s, write: {read * SHRINKS_TO:.1f} GiB/s"
        task.say(f"INFO: {done} in {passed:.0f}s, {speeds}")
    task.say(f"INFO: transferred {total / GIB:.2f} GiB in {seconds:.0f} seconds")
    if not guest.running:
        task.say("INFO: stopping kvm after backup task")


def _copy_files(task: Task, guest: Guest, volume: Volume) -> Body:
    task.say("INFO: including mount point rootfs ('/') in backup")
    if guest.running:
        task.say("INFO: create storage snapshot 'vzdump'")
    path = volume.volid.rpartition("/")[2]
    task.say(
        f"INFO: creating vzdump archive '/mnt/pve/{volume.volid.partition(':')[0]}/dump/{path}'"
    )
    yield 3.0
    task.say(f"INFO: Total bytes written: {guest.disk_size // 2} ({gib(guest.disk_size / 2)})")


def _prune(task: Task, storage: Storage, node: str, guest: Guest) -> None:
    rule = str(storage.extra.get("prune-backups", "keep-all=1"))
    name, _, count = rule.partition("=")
    if name != "keep-last":
        return
    task.say(f"INFO: prune older backups with retention: {rule}")
    own = [v for v in storage.on(node).values() if v.content == "backup" and v.vmid == guest.vmid]
    unprotected = sorted((v for v in own if not v.protected), key=lambda volume: -volume.ctime)
    for volume in unprotected[int(count) :]:
        task.say(f"INFO: removing backup '{volume.volid}'")
        del storage.on(node)[volume.volid]
