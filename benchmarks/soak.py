"""Twenty thousand calls to one server process: is anything lost, and does its memory stay flat?

The server is the real one, over stdio, on a simulated cluster behind HTTPS in this process, so
that what the cluster remembers is not counted as the server's. Most calls read; some ask
for a change, or are refused. Memory is what the kernel says that the process has resident.

    python -m benchmarks.soak --calls 20000 --seconds 180
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proxmox_mcp import simulator
from tests.process.server_process import ServerProcess, finished, https_door, serving

CALLS, SECONDS = 20_000, 180.0
WINDOW = 16
"""So many calls are under way at once."""

WARM_UP = 0.3
"""This part of the calls fills caches, pools and the allocator, before memory is compared."""

GROWTH_MIB = 2.0
CLEARED_EVERY = 500
LOOSE = {
    "PROXMOX_MCP_RATE_BURST": "1000000",
    "PROXMOX_RETRY_DELAY": "0",
    "PROXMOX_MCP_LOG_MAX_BYTES": str(100 * 1024 * 1024),  # no line may be rotated away
}

Step = tuple[str, dict[str, Any], bool]
"""A tool, its arguments, and whether it must be refused."""

COMMON: tuple[Step, ...] = (
    ("proxmox_get_vms", {"name": "web-*"}, False),
    ("proxmox_get_vm_status", {"vmid": 100}, False),
    ("proxmox_get_vm_status", {"vmid": "db-01"}, False),
    ("proxmox_get_vm_status", {"vmid": "../access"}, True),
    ("proxmox_vm_config_get", {"vmid": 103}, False),
    ("proxmox_snapshot_list", {"vmid": 100}, False),
    ("proxmox_get_storage", {"limit": 2}, False),
    ("proxmox_vm_start", {"vmid": 100}, False),
)
RARE: tuple[Step, ...] = (
    ("proxmox_backup_list", {}, False),
    ("proxmox_firewall_rules_list", {"vmid": 100}, False),
    ("proxmox_get_cluster_status", {}, False),
    ("proxmox_get_nodes", {}, False),
    ("proxmox_get_vm_status", {"vmid": 999}, True),
    ("proxmox_snapshot_config", {"vmid": 100, "snapname": "none"}, True),
    ("proxmox_vm_config_update", {"vmid": 107, "config": {"cores": 2}, "wait": 0}, False),
)
"""These send several requests each."""

MIX = tuple(step for rare in RARE for step in (*COMMON, *COMMON, rare))


def resident_mib(pid: int) -> float:
    """How much memory a process has resident, as Linux or else ``ps`` says."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
        kib = int(found[1]) if found else 0
    else:
        said = subprocess.run(  # noqa: S603 - a fixed command
            ["ps", "-o", "rss=", "-p", str(pid)],  # noqa: S607 - wherever the system has it
            capture_output=True,
            text=True,
            check=True,
        )
        kib = int(said.stdout)
    return kib / 1024


class Soak:
    """One run: calls go out, answers are held against what they must be, memory is looked at."""

    def __init__(self, server: ServerProcess, cluster: simulator.Cluster) -> None:
        self.server = server
        self.cluster = cluster
        self.sent = self.answered = 0
        self.wrong: Counter[str] = Counter()
        self.warm: float | None = None
        self._waiting: deque[tuple[int, Step]] = deque()

    def run(self, calls: int, seconds: float) -> None:
        """Send *calls* calls, or as many as fit into the time."""
        began = time.monotonic()
        while self.sent < calls and (elapsed := time.monotonic() - began) < seconds:
            tool, arguments, _ = step = MIX[self.sent % len(MIX)]
            self._waiting.append((self.server.ask_tool(tool, **arguments), step))
            self.sent += 1
            if len(self._waiting) >= WINDOW:
                self._take()
            if self.sent % CLEARED_EVERY == 0:
                self.cluster.requests.clear()
                self.server.lines.clear()
            if self.warm is None and max(self.sent / calls, elapsed / seconds) >= WARM_UP:
                self.warm = resident_mib(self.server.process.pid)
        while self._waiting:
            self._take()

    def _take(self) -> None:
        number, (tool, arguments, refused) = self._waiting.popleft()
        answer = self.server.forget(number)
        self.answered += 1
        if "result" not in answer or answer["result"]["isError"] is not refused:
            self.wrong[f"{tool} {arguments}: {str(answer)[:200]}"] += 1


@contextlib.contextmanager
def soaked(folder: Path) -> Iterator[Soak]:
    """A server on a cluster of its own, ready to be called."""
    cluster = simulator.Cluster(speed=1000)
    with (
        https_door(cluster, folder) as door,
        serving(folder / "home", variables=door | LOOSE) as server,
    ):
        server.initialize()
        yield Soak(server, cluster)


def main() -> int:
    """Run it, print its figures, and return 1 when anything was lost or memory grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=CALLS, help="how many calls at most")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long at most")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, soaked(folder := Path(place)) as soak:
        pid = soak.server.process.pid
        first, began = resident_mib(pid), time.monotonic()
        soak.run(wanted.calls, wanted.seconds)
        took, last = time.monotonic() - began, resident_mib(pid)
        soak.server.end_input()
        code = soak.server.wait()
        logged = len({line["call"] for line in finished(folder)})
    warm = soak.warm if soak.warm is not None else first
    growth = last - warm
    lost = soak.sent - soak.answered
    sys.stdout.write(
        f"calls       {soak.sent} in {took:.0f} s, {soak.sent / took:.0f} a second,"
        f" {WINDOW} at once\n"
        f"memory      {first:.1f} MiB at start, {warm:.1f} after warm-up, {last:.1f} at the end\n"
        f"growth      {growth:+.2f} MiB after warm-up, at most {GROWTH_MIB:g} allowed\n"
        f"answers     {lost} lost, {soak.wrong.total()} not as they must be\n"
        f"log lines   {logged}, {soak.sent - logged} lost\n"
        f"exit code   {code}\n"
    )
    for line, times in soak.wrong.most_common(5):
        sys.stdout.write(f"wrong {times}x {line}\n")
    bad = lost or soak.wrong or logged != soak.sent or code or growth > GROWTH_MIB
    return 1 if bad else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
