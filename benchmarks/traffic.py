"""How many requests reach the cluster for one call."""

from benchmarks.place import called, client_on, on
from benchmarks.report import Figure
from proxmox_mcp import simulator

MANY = 10_000
TASK_SECONDS = 3.0
STARTS_IN = 1.5
"""So long does a guest of the simulated cluster take to start at speed 1."""

STOPPED = "vault-01", 108
NAME = "web-01"


async def figures() -> list[Figure]:
    """Count the requests of the calls that are made most."""
    few = simulator.Cluster()
    return [
        await _counted("requests.list", simulator.Cluster(guests=MANY), "proxmox_get_vms"),
        await _counted("requests.health", few, "proxmox_get_cluster_status"),
        await _counted("requests.cold", few, "proxmox_get_vm_status", vmid=NAME),
        await _warm(few),
        await _start(),
    ]


async def _counted(
    key: str, cluster: simulator.Cluster, tool: str, **arguments: str | int
) -> Figure:
    async with client_on(on(cluster)) as client:
        cluster.requests.clear()
        await called(client, tool, **arguments)
    return _figure(key, cluster)


async def _warm(cluster: simulator.Cluster) -> Figure:
    async with client_on(on(cluster)) as client:
        await called(client, "proxmox_get_vm_status", vmid=NAME)
        cluster.requests.clear()
        await called(client, "proxmox_get_vm_status", vmid=NAME)
    return _figure("requests.warm", cluster)


async def _start() -> Figure:
    cluster = simulator.Cluster(speed=STARTS_IN / TASK_SECONDS)
    name, vmid = STOPPED
    cluster.guest(vmid).status = "stopped"
    return await _counted("requests.start", cluster, "proxmox_vm_start", vmid=name)


def _figure(key: str, cluster: simulator.Cluster) -> Figure:
    sent = [f"{each.method} {_last(each.path)}" for each in cluster.requests]
    return Figure(key=key, value=len(sent), note=", ".join(sent))


def _last(path: str) -> str:
    parts = [part for part in path.split("/") if not part.startswith("UPID:")]
    return "/".join(parts[-2:])
