"""What must never become a request: each refused with one clear sentence, through the client."""

from typing import Any

import pytest

from proxmox_mcp.simulator import Cluster
from tests.conftest import Connect, text

STATUS = "proxmox_get_vm_status"
TASK = "proxmox_task_status"
UPID = "UPID:pve1:00000001:00000001:60000000:qmstart:110:root@pam:"

BAD_NODES = [
    "../access",
    "..",
    ".",
    "",
    "a/b",
    "a?b",
    "a#b",
    "a%2fb",
    "pve1\n",
    "pve1 ",
    "pvé",
    "-x",
]
BAD_NAMES = ["a?b", "a#b", "a%2fb", "web-01\n", "../x", "a b", ""]
BAD_UPIDS = [
    "UPID:bogus",
    UPID[:-1],
    UPID.replace("qmstart", "../../x"),
    UPID.replace("110", "1/../2"),
    UPID.replace("root@pam", "root@pam?x=1"),
    UPID.replace("root@pam", "root@pam#"),
    UPID.replace("root@pam", "%2e%2e"),
    UPID + "\n",
    UPID.replace("pve1", "../access"),
    "",
]

NO_GUEST = "vmid must be a guest's id, a whole number from 100 to 999999999, or a guest's name"
BAD_GUESTS: list[Any] = [
    *(-1, 99, 0, 1_000_000_000, 100.5, True, None, [100], {"id": 100}),
    *("-1", "99", "1000000000", "100/../101", "100 ", "../100", "..", "x" * 256),
    *BAD_NAMES,
]

CASES: list[tuple[str, dict[str, Any], str]] = [
    *((STATUS, {"vmid": vmid}, NO_GUEST) for vmid in BAD_GUESTS),
    (STATUS, {}, "vmid is missing (Guest id or name)"),
    (STATUS, {"vmid": 100, "node": 5}, "node must be text"),
    (STATUS, {"vmid": 100, "type": "kvm"}, "type must be one of: 'qemu' or 'lxc'"),
    (STATUS, {"vmid": 100, "force": True}, 'has no argument "force"; it takes: node, type, vmid'),
    (STATUS, {"vmid": 100, "a b\n<c>": 1}, 'has no argument "a?b??c?"'),
    (
        "proxmox_get_cluster_status",
        {"node": "pve1"},
        'has no argument "node"; it takes: no arguments',
    ),
    ("proxmox_get_node_status", {}, "node is missing (Node name, e.g. pve1)"),
    ("proxmox_get_vms", {"limit": 0}, "limit must be at least 1"),
    ("proxmox_get_vms", {"limit": "ten"}, "limit must be a whole number"),
    ("proxmox_get_vms", {"status": "sleeping"}, "status must be one of"),
    (TASK, {"upid": UPID, "includeLogs": "maybe"}, "include_logs must be true or false"),
    (TASK, {"upid": UPID, "includeLogs": True, "include_logs": True}, "include_logs twice"),
    (TASK, {"upid": UPID, "wait": 4000}, "wait must be at most 3600"),
    (TASK, {"upid": 5}, "upid must be a task id"),
    (TASK, {}, "upid is missing"),
    ("proxmox_task_list", {"task_type": "a/b"}, "task_type is not of the right form"),
    ("proxmox_execute_vm_command", {"vmid": 100, "command": {"a": 1}}, "command must be"),
    ("proxmox_execute_vm_command", {"vmid": 100, "command": [1]}, "command must be"),
    *((STATUS, {"vmid": 100, "node": node}, "node is not of the right form") for node in BAD_NODES),
    *((TASK, {"upid": upid}, "upid must be a task id as Proxmox gives it") for upid in BAD_UPIDS),
]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]!r}"[:70])
async def test_bad_input_is_refused_in_one_sentence_and_nothing_is_sent(
    connect: Connect, cluster: Cluster, mode: str, case: tuple[str, dict[str, Any], str]
) -> None:
    tool, arguments, words = case
    async with connect(mode=mode) as client:
        result = await client.call_tool(tool, arguments)

    said = text(result)
    assert result.is_error
    assert words in said
    assert said.startswith(f"{tool}: ")
    assert said.endswith(". Nothing was sent.")
    assert "\n" not in said
    assert "pydantic" not in said
    assert len(said) < 400
    assert cluster.requests == []


async def test_a_rejected_value_is_not_repeated(connect: Connect) -> None:
    async with connect() as client:
        result = await client.call_tool(STATUS, {"vmid": "hunter2 secret"})

    assert "hunter2" not in text(result)


async def test_an_unknown_tool_is_answered_with_those_there_are(
    connect: Connect, cluster: Cluster
) -> None:
    async with connect() as client:
        result = await client.call_tool("proxmox_delete_everything", {})

    assert result.is_error
    assert "There is no tool of this name" in text(result)
    assert "proxmox_get_vms" in text(result)
    assert cluster.requests == []


async def test_arguments_are_accepted_in_the_reference_systems_spelling(
    connect: Connect, cluster: Cluster
) -> None:
    async with connect() as client:
        tasks = await client.call_tool("proxmox_task_list", {"node": "pve1", "errors": False})
        assert tasks.structured_content is not None
        upid = tasks.structured_content["tasks"][-1]["upid"]
        result = await client.call_tool(TASK, {"node": "pve1", "upid": upid, "includeLogs": True})

    assert result.structured_content is not None
    assert result.structured_content["log"][-1] == "TASK OK"
    assert cluster.writes == []
