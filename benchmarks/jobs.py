"""Ten everyday jobs, each as the shortest correct sequence of calls, in two kinds of tools.

One kind is ours. The other is what many servers have: one tool a REST call, which hands on what
Proxmox answers. Both are played on a simulated cluster of the same seed, and the cluster is looked
at afterwards. Counted is what a model writes (the arguments) and reads (the answer).

REST is given every advantage: a task is looked at once, when it has just ended, and no call is made
that a careful person could do without.
"""

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import anyio
from mcp.client import Client

from benchmarks.place import called, client_on, on, size
from benchmarks.report import Figure
from proxmox_mcp.simulator import CREDENTIALS
from proxmox_mcp.simulator import Cluster as SimulatedCluster

GUESTS = 24
SPEED = 1000.0
BOUND_SECONDS = 30
REFUSED = 400
FORM = "application/x-www-form-urlencoded"
GUEST = "/nodes/{node}/qemu/{vmid}"
BACKUP_STORES = (
    ("pve1", "local"),
    ("pve2", "local"),
    ("pve3", "local"),
    ("pve1", "backup-storage"),
    ("pve1", "pbs"),
)


class Cluster(SimulatedCluster):
    """A simulated cluster whose time can be made to pass."""

    def __init__(self) -> None:
        self._ahead = 0.0
        super().__init__(guests=GUESTS, speed=SPEED, clock=lambda: time.time() + self._ahead)

    def let_pass(self, seconds: float) -> None:
        """Let time pass, so that what is running ends."""
        self._ahead += seconds


@dataclass
class Tally:
    """What a way of doing a job has cost a model: calls, and bytes written and read."""

    calls: int = 0
    bytes: int = 0

    def add(self, arguments: Mapping[str, Any], answer: str) -> None:
        """Count a call."""
        self.calls += 1
        self.bytes += size(dict(arguments)) + len(answer.encode())


@dataclass
class Ours:
    """Our tools, and what calling them costs."""

    client: Client
    cluster: Cluster
    tally: Tally = field(default_factory=Tally)

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return what it answered, where that is data."""
        said = await called(self.client, f"proxmox_{tool}", **arguments)
        self.tally.add(arguments, said)
        return dict(json.loads(said)) if said.startswith("{") else {}


@dataclass
class Rest:
    """One tool a REST call, and what calling them costs."""

    cluster: Cluster
    tally: Tally = field(default_factory=Tally)

    def __call__(self, method: str, template: str, **arguments: Any) -> Any:
        """Call what stands at a path; arguments that are not in it are sent along.

        Raises:
            RuntimeError: It was refused.
        """
        path = template.format_map(arguments)
        sent = {name: text for name, text in arguments.items() if f"{{{name}}}" not in template}
        token = "PVEAPIToken={user}!{token_name}={token_value}".format_map(CREDENTIALS)
        headers = {"authorization": token, "content-type": FORM}
        target, body = f"/api2/json{path}", urlencode(sent)
        if method in ("GET", "DELETE") and body:
            target, body = f"{target}?{body}", ""
        answer = self.cluster.receive(method, target, headers, body.encode())
        if answer.status >= REFUSED:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.reason}")
        data = json.loads(answer.body)["data"]
        self.tally.add(arguments, json.dumps(data, separators=(",", ":"), ensure_ascii=False))
        return data

    def guest(self, name: str) -> dict[str, Any]:
        """Find a guest by its name in the list of all."""
        rows = self("GET", "/cluster/resources", type="vm")
        row = next(row for row in rows if row.get("name") == name)
        return {"node": row["node"], "vmid": row["vmid"]}

    def ended(self, upid: str) -> None:
        """Look at a task, which has just ended.

        Raises:
            RuntimeError: It did not end well.
        """
        self.cluster.let_pass(60)
        where = {"node": upid.split(":")[1], "upid": upid}
        end = self("GET", "/nodes/{node}/tasks/{upid}/status", **where)
        if end.get("exitstatus") != "OK":
            raise RuntimeError(f"{upid}: {end}")


@dataclass(frozen=True)
class Job:
    """Something that people ask for.

    Attributes:
        asked: In their words.
        ours: The calls of our tools.
        rest: The calls of one tool a REST call.
        done: Whether the cluster shows it, or None where nothing is to be changed.
        prepare: Brings the cluster to where the job makes sense.
    """

    asked: str
    ours: Callable[[Ours], Awaitable[object]]
    rest: Callable[[Rest], object]
    done: Callable[[Cluster], bool] = lambda cluster: not cluster.writes
    prepare: Callable[[Cluster], object] = lambda _: None


# --- start web-01 and tell me when it is up --------------------------------------------------


def _web_is_off(cluster: Cluster) -> None:
    cluster.guest(100).status = "stopped"


async def _start(ours: Ours) -> None:
    await ours("vm_start", vmid="web-01")


def _start_by_rest(rest: Rest) -> None:
    rest.ended(rest("POST", f"{GUEST}/status/start", **rest.guest("web-01")))


# --- which guests have no backup this week ---------------------------------------------------


async def _unbacked(ours: Ours) -> None:
    await ours("get_vms")
    await ours("backup_list")


def _unbacked_by_rest(rest: Rest) -> None:
    rest("GET", "/cluster/resources", type="vm")
    rest("GET", "/storage")
    for node, storage in BACKUP_STORES:
        path = "/nodes/{node}/storage/{storage}/content"
        rest("GET", path, node=node, storage=storage, content="backup")


# --- snapshot db-02, then give its disk 2 GiB more -------------------------------------------


async def _grow(ours: Ours) -> None:
    await ours("snapshot_create", vmid="db-02", snapname="before-growing")
    await ours("vm_config_get", vmid="db-02")
    await ours("disk_resize", vmid="db-02", disk="scsi0", size="+2G")


def _grow_by_rest(rest: Rest) -> None:
    guest = rest.guest("db-02")
    rest.ended(rest("POST", f"{GUEST}/snapshot", **guest, snapname="before-growing"))
    rest("GET", f"{GUEST}/config", **guest)
    rest.ended(rest("PUT", f"{GUEST}/resize", **guest, disk="scsi0", size="+2G"))


def _grown(cluster: Cluster) -> bool:
    guest = cluster.guest(106)
    return "before-growing" in guest.snapshots and "size=34G" in str(guest.config["scsi0"])


# --- move everything off pve2 ----------------------------------------------------------------


def _pve2_is_free(cluster: Cluster) -> None:
    cluster.let_pass(60)
    cluster.guest(105)  # its backup has ended now
    for guest in cluster.center.guests.values():
        guest.lock = None


async def _evacuate(ours: Ours) -> None:
    for row in (await ours("get_vms", node="pve2"))["guests"]:
        moving = {"restart": True} if row["type"] == "lxc" else {"online": True}
        if row["status"] != "running":
            moving = {}
        local = {"with_local_disks": True} if row["type"] == "qemu" else {}
        await ours("vm_migrate", vmid=row["vmid"], target="pve1", **moving, **local)


def _evacuate_by_rest(rest: Rest) -> None:
    for row in rest("GET", "/cluster/resources", type="vm"):
        if row["node"] != "pve2":
            continue
        running = row["status"] == "running"
        path = "/nodes/{node}/" + row["type"] + "/{vmid}/migrate"
        moving = {"restart": 1} if row["type"] == "lxc" else {"online": 1}
        local = {"with-local-disks": 1} if row["type"] == "qemu" else {}
        where = {"node": "pve2", "vmid": row["vmid"], "target": "pve1"}
        rest.ended(rest("POST", path, **where, **(moving if running else {}), **local))


def _evacuated(cluster: Cluster) -> bool:
    return all(guest.node != "pve2" for guest in cluster.center.guests.values())


# --- why did the backup of build-01 fail -----------------------------------------------------


async def _why(ours: Ours) -> None:
    tasks = (await ours("task_list", vmid="build-01", errors=True, limit=1))["tasks"]
    await ours("task_log", upid=tasks[0]["upid"])


def _why_by_rest(rest: Rest) -> None:
    guest = rest.guest("build-01")
    tasks = rest("GET", "/nodes/{node}/tasks", **guest, errors=1, limit=1)
    where = {"node": guest["node"], "upid": tasks[0]["upid"]}
    rest("GET", "/nodes/{node}/tasks/{upid}/log", **where)


# --- is everything all right -----------------------------------------------------------------


async def _health(ours: Ours) -> None:
    await ours("get_cluster_status")


def _health_by_rest(rest: Rest) -> None:
    rest("GET", "/cluster/status")
    rest("GET", "/cluster/resources")


# --- make build-02 from the Debian template and start it -------------------------------------


async def _make(ours: Ours) -> None:
    made = await ours("vm_clone", vmid="debian-12-template", name="build-02")
    await ours("vm_start", vmid=made.get("vmid", "build-02"))


def _make_by_rest(rest: Rest) -> None:
    source = rest.guest("debian-12-template")
    new = rest("GET", "/cluster/nextid")
    rest.ended(rest("POST", f"{GUEST}/clone", **source, newid=new, name="build-02"))
    rest.ended(rest("POST", f"{GUEST}/status/start", node=source["node"], vmid=new))


def _made(cluster: Cluster) -> bool:
    named = [guest for guest in cluster.center.guests.values() if guest.name == "build-02"]
    return [cluster.guest(guest.vmid).running for guest in named] == [True]


# --- let HTTPS into web-01 -------------------------------------------------------------------

RULE = {"action": "ACCEPT", "proto": "tcp", "dport": "443"}


async def _open(ours: Ours) -> None:
    await ours("firewall_rule_create", vmid="web-01", rule_type="in", **RULE)


def _open_by_rest(rest: Rest) -> None:
    guest = rest.guest("web-01")
    rest("POST", f"{GUEST}/firewall/rules", **guest, type="in", enable=1, **RULE)
    rest("GET", f"{GUEST}/firewall/rules", **guest)  # the answer above says nothing


def _opened(cluster: Cluster) -> bool:
    rules = cluster.guest(100).firewall.rules
    return [(rule["action"], rule["dport"]) for rule in rules] == [("ACCEPT", "443")]


# --- the update broke web-02: back to the snapshot before it ---------------------------------


def _snapshot_is_there(cluster: Cluster) -> None:
    rest = Rest(cluster)
    where = {"node": "pve1", "vmid": 102}
    rest.ended(rest("POST", f"{GUEST}/snapshot", **where, snapname="before-update"))
    cluster.guest(102).config["cores"] = 1


async def _back(ours: Ours) -> None:
    await ours("snapshot_list", vmid="web-02")
    await ours("snapshot_rollback", vmid="web-02", snapname="before-update", start=True)


def _back_by_rest(rest: Rest) -> None:
    guest = rest.guest("web-02")
    rest("GET", f"{GUEST}/snapshot", **guest)
    path = GUEST + "/snapshot/{snapname}/rollback"
    rest.ended(rest("POST", path, **guest, snapname="before-update", start=1))


def _is_back(cluster: Cluster) -> bool:
    guest = cluster.guest(102)
    return guest.running and guest.config["cores"] == 2  # noqa: PLR2004 - as it was


# --- back db-01 up, then shut it down --------------------------------------------------------


async def _rest_well(ours: Ours) -> None:
    await ours("backup_create", vmid="db-01", storage="backup-storage")
    await ours("vm_shutdown", vmid="db-01")


def _rest_well_by_rest(rest: Rest) -> None:
    guest = rest.guest("db-01")
    wanted = {"storage": "backup-storage", "mode": "snapshot", "compress": "zstd"}
    rest.ended(rest("POST", "/nodes/{node}/vzdump", **guest, **wanted))
    rest.ended(rest("POST", f"{GUEST}/status/shutdown", **guest))


def _rests(cluster: Cluster) -> bool:
    volumes = cluster.center.storages["backup-storage"].on("pve2").values()
    new = [volume for volume in volumes if volume.vmid == 105]  # noqa: PLR2004 - db-01
    return len(new) > 1 and not cluster.guest(105).running


JOBS: tuple[Job, ...] = (
    Job("start web-01 and tell me when it is up", _start, _start_by_rest,
        lambda cluster: cluster.guest(100).running, _web_is_off),
    Job("which guests have no backup this week", _unbacked, _unbacked_by_rest),
    Job("snapshot db-02, then give its disk 2 GiB more", _grow, _grow_by_rest, _grown),
    Job("move everything off pve2", _evacuate, _evacuate_by_rest, _evacuated, _pve2_is_free),
    Job("why did the backup of build-01 fail", _why, _why_by_rest),
    Job("is everything all right", _health, _health_by_rest),
    Job("make build-02 from the Debian template and start it", _make, _make_by_rest, _made),
    Job("let HTTPS into web-01", _open, _open_by_rest, _opened),
    Job("the update broke web-02: back to the snapshot before it", _back, _back_by_rest,
        _is_back, _snapshot_is_there),
    Job("back db-01 up, then shut it down", _rest_well, _rest_well_by_rest, _rests,
        _pve2_is_free),
)  # fmt: skip


@dataclass(frozen=True)
class Played:
    """A job that was done in both ways."""

    job: Job
    ours: Tally
    rest: Tally


async def played(job: Job) -> Played:
    """Do a job in both ways, each on a cluster of its own.

    Raises:
        RuntimeError: The cluster does not show that it was done.
    """
    one, other = Cluster(), Cluster()
    for cluster in (one, other):
        job.prepare(cluster)
        cluster.requests.clear()
    async with client_on(on(one)) as client:
        ours = Ours(client, one)
        with anyio.fail_after(BOUND_SECONDS):
            await job.ours(ours)
    rest = Rest(other)
    job.rest(rest)
    for cluster, way in ((one, "our tools"), (other, "REST")):
        cluster.let_pass(60)  # the HA manager acts in its own time
        if not job.done(cluster):
            raise RuntimeError(f"{job.asked}: {way} did not do it")
    return Played(job, ours.tally, rest.tally)


async def figures() -> list[Figure]:
    """Do all jobs and add up."""
    found: dict[str, Played] = {}

    async def play(job: Job) -> None:
        found[job.asked] = await played(job)

    async with anyio.create_task_group() as group:  # most of it is waiting for tasks
        for job in JOBS:
            group.start_soon(play, job)
    done = [found[job.asked] for job in JOBS]
    calls = " ".join(f"{each.ours.calls}/{each.rest.calls}" for each in done)
    sizes = " ".join(f"{each.ours.bytes}/{each.rest.bytes}" for each in done)
    return [
        Figure(
            key="jobs.calls",
            value=sum(each.ours.calls for each in done),
            yardstick=sum(each.rest.calls for each in done),
            note=calls,
        ),
        Figure(
            key="jobs.bytes",
            value=sum(each.ours.bytes for each in done),
            yardstick=sum(each.rest.bytes for each in done),
            note=sizes,
        ),
    ]
