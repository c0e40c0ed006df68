"""What an assistant may do: every tool, under every mode, on guests that it may and may not touch.

Each row is played through a client on the assembled server. Two things are asked: is the tool
listed, and did a change leave? A refusal sends none, whatever it says.
"""

from typing import Any, cast

import pytest
from mcp.client import Client

from proxmox_mcp import simulator
from proxmox_mcp.config import ConfigError
from proxmox_mcp.pve.connection import Limits
from proxmox_mcp.simulator.state import Snapshot
from proxmox_mcp.toolkit.declare import ToolSpec
from proxmox_mcp.tools import TOOLS, TOOLSETS
from tests.conftest import Connect, schema_faults, serve, text
from tests.likely import BACKUP, Stand, likely, prepared
from tests.tools.calls import called, refused

AT_WILL = Limits(retry_attempts=1, rate_per_second=10_000, rate_burst=10_000)
EVERY_ID = "100-199"
"""All guests that the calls of this module are about, those that they make included."""

MODES: dict[str, dict[str, Any]] = {
    "as shipped": {"allow_elevated": False},
    "elevated": {},
    "read-only": {"read_only": True},
    "read-only beats a tool that is named": {
        "read_only": True,
        "enable_tools": [spec.name for spec in TOOLS],
    },
    "nothing destroyed": {"allow_destructive": False},
    "one toolset": {"toolsets": ["snapshots"]},
    "one toolset and one tool": {"toolsets": ["snapshots"], "enable_tools": ["proxmox_vm_start"]},
    "elevated is not enabled by name": {
        "allow_elevated": False,
        "enable_tools": ["proxmox_execute_vm_command"],
    },
    "dry run": {"dry_run": True},
}

GUESTS: dict[str, tuple[dict[str, Any], bool]] = {
    "no rules": ({}, True),
    "allowed": ({"allow": [EVERY_ID]}, True),
    "not allowed": ({"allow": ["900"]}, False),
    "protected": ({"protect": [EVERY_ID]}, False),
    "allowed and protected": ({"allow": [EVERY_ID], "protect": [EVERY_ID]}, False),
}


IN_EVERY_MODE = ("no rules", "allowed", "protected")


def is_listed(spec: ToolSpec, mode: dict[str, Any]) -> bool:
    """The same said in other words than the policy's."""
    if mode.get("read_only") and spec.effect != "reads":
        return False
    if spec.elevated and not mode.get("allow_elevated", True):
        return False
    if spec.effect == "destroys" and not mode.get("allow_destructive", True):
        return False
    chosen = mode.get("toolsets") or [spec.toolset]
    return spec.toolset in chosen or spec.name in mode.get("enable_tools", [])


@pytest.mark.parametrize("named", MODES)
@pytest.mark.parametrize("guests", GUESTS)
async def test_what_is_listed_is_what_the_mode_allows_whatever_the_guests(
    cluster: simulator.Cluster, named: str, guests: str
) -> None:
    mode, (rules, _) = MODES[named], GUESTS[guests]

    async with Client(serve(cluster, **mode, **rules), mode="legacy") as client:
        offered = {tool.name for tool in (await client.list_tools()).tools}

    assert offered == {spec.name for spec in TOOLS if is_listed(spec, mode)}
    assert cluster.requests == []


@pytest.mark.parametrize(
    ("named", "guests"),
    [
        (named, each)
        for named in MODES
        for each in (GUESTS if named == "elevated" else IN_EVERY_MODE)
    ],
)
async def test_a_tool_sends_only_where_mode_and_guest_allow_it(named: str, guests: str) -> None:
    mode, (rules, may_change) = MODES[named], GUESTS[guests]
    stand = Stand()
    server = serve(cast("simulator.Cluster", stand), limits=AT_WILL, **mode, **rules)
    async with Client(server, mode="legacy") as client:
        for spec in TOOLS:
            stand.cluster, upid = prepared()
            result = await client.call_tool(spec.name, likely(spec, upid))

            listed = is_listed(spec, mode)
            changes = listed and may_change and spec.effect != "reads"
            sends = changes and not mode.get("dry_run")
            said = f"{spec.name}: {text(result)}"
            assert bool(stand.cluster.writes) is sends, said
            if not listed:
                assert result.is_error, said
                assert "is switched off: " in text(result), said
                assert stand.cluster.requests == [], said
            elif spec.effect != "reads":
                assert result.is_error is not may_change, said
            assert schema_faults(stand.cluster.requests) == [], said


@pytest.mark.parametrize("spec", TOOLS, ids=lambda spec: spec.name)
async def test_the_gate_stops_a_tool_of_a_read_only_server_that_is_offered_all_the_same(
    spec: ToolSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, upid = prepared()
    built = serve(cluster, limits=AT_WILL, read_only=True)
    everything = serve(cluster, limits=AT_WILL)
    monkeypatch.setattr(built, "withheld", {})
    monkeypatch.setattr(built, "_offered", everything._offered)
    monkeypatch.setattr(built, "_listed", everything._listed)

    async with Client(built, mode="legacy") as client:
        result = await client.call_tool(spec.name, likely(spec, upid))

    assert cluster.writes == []
    assert bool(result.is_error) is (spec.effect != "reads")
    if result.is_error:
        assert "is not among the changes that this server may make" in text(result)


async def test_a_switched_off_tool_says_which_setting_turns_it_on(connect: Connect) -> None:
    said = {}
    for settings in (
        {"read_only": True},
        {"allow_destructive": False},
        {"disable_tools": ["proxmox_snapshot_rollback"]},
        {"toolsets": ["cluster"]},
    ):
        async with connect(**settings) as client:
            result = await client.call_tool("proxmox_snapshot_rollback", {})
        [setting] = settings
        said[setting] = text(result)

    assert all(setting in words for setting, words in said.items())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"toolsets": ["snapshot"]}, "toolsets: knows no 'snapshot'; did you mean snapshots?"),
        ({"disable_tools": ["proxmox_vm_del"]}, "disable_tools: knows no 'proxmox_vm_del'"),
        ({"enable_tools": ["vm_start"]}, "did you mean proxmox_vm_start?"),
    ],
)
def test_a_misspelt_name_stops_the_start(
    cluster: simulator.Cluster, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        serve(cluster, **settings)
    assert words in str(caught.value)


# --- which guests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "ids"),
    [
        ("100", {100}),
        ("100-103", {100, 102, 103}),
        ("tag:prod", {100, 102, 103, 105, 108}),
        ("TAG:Prod", {100, 102, 103, 105, 108}),
        ("name:web-*", {100, 102}),
        ("pool:production", {100, 102, 105}),
        ("node:pve3", {108, 109, 111}),
    ],
)
async def test_allow_limits_the_list_to_what_it_names(
    connect: Connect, rule: str, ids: set[int]
) -> None:
    async with connect(allow=[rule]) as client:
        page = await called(client, "get_vms")
        status = await called(client, "get_cluster_status")

    assert {guest["vmid"] for guest in page["guests"]} == ids
    assert page["total"] == len(ids)
    assert sum(status["guests"].values()) == len(ids)


async def test_what_is_not_allowed_is_not_found_under_its_id_its_name_or_its_task(
    connect: Connect, cluster: simulator.Cluster
) -> None:
    async with connect() as client:
        tasks = (await called(client, "task_list"))["tasks"]
    [upid] = [task["upid"] for task in tasks if task["type"] == "qmstart"]  # of guest 100

    async with connect(allow=["tag:db"]) as client:
        by_id = await refused(client, "get_vm_status", vmid=100)
        by_name = await refused(client, "vm_start", vmid="web-01")
        by_task = await refused(client, "task_status", upid=upid)
        of_task = await refused(client, "task_log", upid=upid)
        listed = (await called(client, "task_list"))["tasks"]
        backups = (await called(client, "backup_list"))["backups"]
        gone = await refused(client, "backup_delete", volume=BACKUP)

    assert "Only what fits allow is shown here" in by_id
    assert "Only what fits allow is shown here" in by_name
    assert "is outside of what this server may touch (allow = tag:db)" in by_task
    assert by_task == of_task.replace("proxmox_task_log", "proxmox_task_status")
    assert {task["id"] for task in listed} == {"105"}
    assert {backup["vmid"] for backup in backups} <= {105}
    assert "Guest 100 (web-01) is outside of what this server may touch" in gone
    assert cluster.writes == []


async def test_nodes_are_hidden_only_by_rules_about_nodes(connect: Connect) -> None:
    async with connect(allow=["node:pve1"]) as client:
        by_node = await called(client, "get_nodes")
        elsewhere = await refused(client, "get_node_status", node="pve2")
    async with connect(allow=["100"]) as client:
        by_guest = await called(client, "get_nodes")

    assert [node["node"] for node in by_node["nodes"]] == ["pve1"]
    assert "Node pve2 is outside" in elsewhere
    assert len(by_guest["nodes"]) == 3


async def test_a_guest_is_judged_by_its_tags_of_this_moment(
    connect: Connect, cluster: simulator.Cluster
) -> None:
    async with connect(protect=["tag:prod", "name:gold-*"]) as client:
        cluster.guest(107).tags = "prod"  # after the list was read by nobody yet
        by_tag = await refused(client, "vm_start", vmid=107)
        cluster.guest(107).tags = ""
        cluster.guest(107).name = "gold-1"  # the list still says cache
        by_name = await refused(client, "vm_start", vmid=107)
        cluster.guest(107).name = "cache"
        free = await called(client, "vm_start", vmid=107)

    assert "Guest 107 (cache) is protected by the rule tag:prod" in by_tag
    assert "Guest 107 (gold-1) is protected by the rule name:gold-*" in by_name
    assert free["state"] == "ok"
    assert len(cluster.writes) == 1


async def test_a_protected_guest_is_read_and_nothing_else(
    connect: Connect, cluster: simulator.Cluster
) -> None:
    async with connect(protect=["pool:production"]) as client:
        status = await called(client, "get_vm_status", vmid=100)
        config = await called(client, "vm_config_get", vmid=100)
        for tool, more in (
            ("vm_stop", {}),
            ("vm_clone", {}),
            ("backup_create", {"storage": "backup-storage"}),
            ("snapshot_create", {"snapname": "one"}),
            ("vm_config_update", {"config": {"tags": "free"}}),
            ("firewall_rule_create", {"action": "ACCEPT", "rule_type": "in"}),
            ("execute_vm_command", {"command": ["id"]}),
        ):
            said = await refused(client, tool, vmid=100, **more)
            assert "is protected by the rule pool:production" in said, tool

    assert status["status"] == "running"
    assert config["config"]
    assert cluster.writes == []


async def test_a_pool_that_the_token_cannot_see_protects_everybody(
    connect: Connect, cluster: simulator.Cluster
) -> None:
    blind = cluster.grant("ops@pve", "blind", {"/": ["VM.Audit", "VM.PowerMgmt"]})
    async with connect(protect=["pool:production"], credentials=blind) as client:
        member = await refused(client, "vm_stop", vmid=100)
        other = await refused(client, "vm_start", vmid=107)

    for said in (member, other):
        assert "the token needs Pool.Audit on /pool/production" in said
    assert cluster.writes == []


async def test_ids_that_are_about_to_be_made_are_judged_too(
    connect: Connect, cluster: simulator.Cluster
) -> None:
    async with connect(allow=["100-110"], protect=["200-299"]) as client:
        clone = await refused(client, "vm_clone", vmid=110, newid=150)
        protected = await refused(client, "vm_clone", vmid=110, newid=200)
        restore = await refused(
            client, "backup_restore", node="pve1", archive=BACKUP, vmid=250, unique=True
        )
        fine = await called(client, "vm_clone", vmid=110, newid=101, name="new")

    assert "Guest 150 (template)" not in clone
    assert "Guest 150" in clone
    assert "outside of what this server may touch" in clone
    assert "Guest 200" in protected
    assert "Guest 250" in restore
    assert fine["newid"] == 101
    assert len(cluster.writes) == 1


async def test_a_clone_or_a_restored_guest_is_judged_by_what_it_will_be(
    connect: Connect, cluster: simulator.Cluster
) -> None:
    restored = {"node": "pve1", "archive": BACKUP, "vmid": 101, "unique": True}
    async with connect(protect=["name:gold-*"]) as client:
        named = await refused(client, "vm_clone", vmid=110, name="gold-2")
    async with connect(protect=["node:pve2"]) as client:
        moved = await refused(client, "vm_migrate", vmid=103, target="pve2", restart=True)
        placed = await refused(client, "vm_clone", vmid=110, target="pve2")
    async with connect(protect=["tag:prod"]) as client:
        by_backup = await refused(client, "backup_restore", **restored)

    assert "(gold-2) is protected by the rule name:gold-*" in named
    assert "is protected by the rule node:pve2" in moved
    assert "is protected by the rule node:pve2" in placed
    assert "Guest 101 (web-01) is protected by the rule tag:prod" in by_backup
    assert cluster.writes == []


async def test_rules_about_guests_keep_the_whole_cluster_from_change_and_those_about_nodes_a_node(
    connect: Connect, cluster: simulator.Cluster
) -> None:
    rule = {"action": "ACCEPT", "rule_type": "in"}
    async with connect(allow=["100"]) as client:
        whole = await refused(client, "firewall_rule_create", scope="cluster", **rule)
        node = await refused(client, "firewall_rule_create", scope="node", node="pve1", **rule)
    async with connect(protect=["node:pve1"]) as client:
        held = await refused(client, "firewall_rule_create", scope="node", node="pve1", **rule)
        free = await called(client, "firewall_rule_create", scope="node", node="pve2", **rule)

    assert "changes the whole cluster" in whole
    assert "Node pve1 is outside" in node
    assert "Node pve1 is protected by the rule node:pve1" in held
    assert free["state"] == "ok"
    assert len(cluster.writes) == 1


async def test_proxmoxs_own_protection_keeps_a_guest_from_losing_anything(
    connect: Connect, cluster: simulator.Cluster
) -> None:
    guest = cluster.guest(108)
    guest.snapshots["old"] = Snapshot("old", "", 1_763_000_000, dict(guest.config))
    guest.status = "stopped"
    async with connect(confirm="off") as client:
        said = [
            await refused(client, "snapshot_rollback", vmid=108, snapname="old"),
            await refused(client, "snapshot_delete", vmid=108, snapname="old"),
            await refused(client, "vm_config_update", vmid=108, delete=["scsi0"]),
        ]
        guest.snapshots.clear()
        said.append(await refused(client, "vm_template", vmid=108))

    assert all("is protected (its option protection)" in words for words in said)
    assert cluster.writes == []


@pytest.mark.parametrize(
    "rule",
    ["", "prod", "tag:", "vm:100", "100-", "199-100", "99999999999", "name:a b", "node:../x"],
)
def test_a_rule_that_says_nothing_is_refused(cluster: simulator.Cluster, rule: str) -> None:
    with pytest.raises(ValueError, match=r"must be an id|ends before it begins"):
        serve(cluster, protect=[rule])


# --- losses are bounded by what is sent, not by who sends it ---------------------------------


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("backup_create", {"vmid": 100, "storage": "backup-storage", "remove": True}),
        ("backup_restore", {"node": "pve1", "archive": BACKUP, "vmid": 100, "force": True}),
        ("vm_config_update", {"vmid": 107, "delete": ["scsi0"]}),
        ("vm_config_update", {"vmid": 107, "config": {"scsi0": "local-lvm:8"}}),
        ("vm_config_update", {"vmid": 108, "config": {"protection": False}}),
    ],
)
async def test_without_destruction_a_tool_that_may_lose_does_so_with_no_argument(
    connect: Connect, cluster: simulator.Cluster, tool: str, arguments: dict[str, Any]
) -> None:
    cluster.guest(100).status = "stopped"
    async with connect(allow_destructive=False) as client:
        said = await refused(client, tool, **arguments)

    assert "it takes allow_destructive = true" in said
    assert cluster.writes == []


def test_every_domain_can_be_chosen_by_the_name_of_its_file(cluster: simulator.Cluster) -> None:
    for toolset in TOOLSETS:
        server = serve(cluster, toolsets=[toolset.name])
        assert server._offered.keys() == {spec.name for spec in toolset.tools}
