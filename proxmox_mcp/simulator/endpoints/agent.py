"""The QEMU guest agent: whether it is there, and programs run through it."""

from __future__ import annotations

from typing import Any

from proxmox_mcp.simulator import userland
from proxmox_mcp.simulator.parameters import array, integer, required, string
from proxmox_mcp.simulator.routing import QEMU, Call, Table, needs_agent
from proxmox_mcp.simulator.state import MIB, Guest, Process
from proxmox_mcp.simulator.wire import Refusal, died

CAP = MIB  # of output; the real agent keeps 16 MiB, a sixteenth of it shows the same
AUDIT = needs_agent("VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted")
UNRESTRICTED = needs_agent("VM.GuestAgent.Unrestricted")
COMMANDS = [
    "guest-exec",
    "guest-exec-status",
    "guest-fsfreeze-freeze",
    "guest-fsfreeze-status",
    "guest-fsfreeze-thaw",
    "guest-fstrim",
    "guest-get-fsinfo",
    "guest-get-host-name",
    "guest-get-osinfo",
    "guest-get-time",
    "guest-info",
    "guest-network-get-interfaces",
    "guest-ping",
    "guest-set-user-password",
    "guest-shutdown",
]

table = Table()


def _listening(call: Call) -> Guest:
    guest = call.guest()
    if not guest.agent:
        raise died("No QEMU guest agent configured")
    if not guest.running:
        raise died(f"VM {guest.vmid} is not running")
    if guest.paused or not guest.agent_running:
        raise died("QEMU guest agent is not running")
    return guest


@table.add("POST", f"{QEMU}/agent/ping", AUDIT)
def ping(call: Call) -> dict[str, Any]:
    """An empty result, if the agent answers."""
    _listening(call)
    return {"result": {}}


@table.add("GET", f"{QEMU}/agent/info", AUDIT)
def info(call: Call) -> dict[str, Any]:
    """The agent's version and the commands that it takes."""
    _listening(call)
    commands = [
        {"name": name, "enabled": True, "success-response": name != "guest-shutdown"}
        for name in COMMANDS
    ]
    return {"result": {"version": "7.2.13", "supported_commands": commands}}


@table.add("GET", f"{QEMU}/agent/get-osinfo", AUDIT)
def osinfo(call: Call) -> dict[str, Any]:
    """The guest's system, as the agent tells it."""
    _listening(call)
    told = {
        "id": "debian",
        "name": "Debian GNU/Linux",
        "pretty-name": "Debian GNU/Linux 12 (bookworm)",
        "version-id": "12",
        "kernel-release": userland.KERNEL,
        "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.115-1",
        "machine": "x86_64",
    }
    return {"result": told}


@table.add("GET", f"{QEMU}/agent/network-get-interfaces", AUDIT)
def interfaces(call: Call) -> dict[str, Any]:
    """The guest's network addresses, as the agent tells them."""
    guest = _listening(call)
    address = f"192.0.2.{100 + guest.vmid % 100}"
    card = str(guest.config.get("net0", "")).partition(",")[0].partition("=")[2].lower()
    return {"result": [_card("lo", "00:00:00:00:00:00", "127.0.0.1", 8),
                       _card("eth0", card, address, 24)]}  # fmt: skip


def _card(name: str, hardware: str, address: str, prefix: int) -> dict[str, Any]:
    counters = [f"{way}-{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errs")]
    return {
        "name": name,
        "hardware-address": hardware,
        "ip-addresses": [{"ip-address": address, "ip-address-type": "ipv4", "prefix": prefix}],
        "statistics": dict.fromkeys([*counters, "rx-dropped", "tx-dropped"], 0),
    }


@table.add(
    "POST",
    f"{QEMU}/agent/exec",
    UNRESTRICTED,
    {
        "command": (
            string(format="string-alist", before=8.0),
            required(array(since=8.0)),
        ),
        "input-data": string(max_length=65536),
    },
)
def execute(call: Call) -> dict[str, int]:
    """Start a program in the guest; its result is fetched with exec-status."""
    guest = _listening(call)
    command = call.get("command", [])
    if isinstance(command, str):
        command = command.split("\0")
    context = userland.Context(guest.name, call.get("input-data", ""))
    outcome = userland.run(command, context)
    if outcome is None:
        # The guest's message has typographic quotes, on which the daemon dies while it writes
        # the status line; what arrives is this.
        raise Refusal(596, "Broken pipe", body="empty")
    guest.last_pid += 2
    ends = call.center.now + outcome.seconds / call.center.tasks.speed
    out, err = outcome.out.encode(), outcome.err.encode()
    guest.processes[guest.last_pid] = Process(ends, outcome.code, out, err)
    return {"pid": guest.last_pid}


@table.add("GET", f"{QEMU}/agent/exec-status", UNRESTRICTED, {"pid": required(integer())})
def execution(call: Call) -> dict[str, Any]:
    """How a program is doing; once it has been reported as ended it is forgotten."""
    guest = _listening(call)
    pid = call.values["pid"]
    process = guest.processes.get(pid)
    if process is None:
        raise died("Agent error: Invalid parameter 'pid'")
    if call.center.now < process.ends:
        return {"exited": 0}
    del guest.processes[pid]
    shown: dict[str, Any] = {"exited": 1, "exitcode": process.exitcode}
    for name, data in (("out", process.out), ("err", process.err)):
        if data:
            shown[f"{name}-data"] = data[:CAP].decode(errors="replace")
        shown[f"{name}-truncated"] = int(len(data) > CAP)
    return shown
