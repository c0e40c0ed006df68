"""Firewall rules: in their order, acted on as seen, and whether they do anything at all."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.client import Client

from proxmox_mcp.simulator import TOKENS, Answer, Cluster, Request
from proxmox_mcp.simulator.state import Firewall
from proxmox_mcp.tools.firewall import DEFAULTS
from tests import pve_schema
from tests.conftest import Connect, schema_faults, serve
from tests.tools import calls

CLUSTER_OFF = "the cluster's firewall is off (Datacenter > Firewall > Options)"
GUEST_OFF = "the guest's own firewall is off (option enable)"
NODE_OFF = "the node's own firewall is off (option enable)"
RULES = "/nodes/pve1/qemu/100/firewall/rules"
SSH = {"action": "ACCEPT", "rule_type": "in", "proto": "tcp", "dport": "22"}


called = calls.calling("proxmox_firewall_")


refused = calls.refusing("proxmox_firewall_")


@asynccontextmanager
async def release(version: str) -> AsyncIterator[tuple[Client, Cluster]]:
    """A client on a cluster of that version, for what not every version has."""
    cluster = Cluster(version=version, speed=500)
    async with Client(serve(cluster)) as client:
        yield client, cluster


def fill(firewall: Firewall, *comments: str) -> None:
    firewall.rules[:] = [
        {"type": "in", "action": "DROP", "enable": 1, "comment": comment} for comment in comments
    ]


def comments(firewall: Firewall) -> list[str]:
    return [str(rule.get("comment")) for rule in firewall.rules]


def before(method: str, act: Callable[[], object]) -> Callable[[Request], Answer | None]:
    """Let something happen just before the first request of that method below /rules."""
    due = [act]

    def intercept(request: Request) -> Answer | None:
        if due and request.method == method and "/rules" in request.path:
            due.pop()()
        return None

    return intercept


def switch_on(cluster: Cluster, vmid: int = 100) -> None:
    cluster.center.firewall.options["enable"] = 1
    cluster.guest(vmid).firewall.options["enable"] = 1


# --- listing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("vmid", "whose"),
    [("web-01", "VM 100 (web-01) on pve1"), (103, "container 103 (cache) on pve1")],
)
async def test_rules_are_listed_in_their_order(
    connect: Connect, cluster: Cluster, mode: str, vmid: int | str, *, whose: str
) -> None:
    firewall = cluster.guest(103 if vmid == 103 else 100).firewall
    fill(firewall, "first", "second")
    firewall.rules[1] |= {"proto": "tcp", "dport": "80,443", "source": "0.0.0.0/0", "enable": 0}

    async with connect(mode=mode) as client:
        page = await called(client, "rules_list", vmid=vmid)

    assert page == {
        "whose": whose,
        "rules": [
            {"pos": 0, "type": "in", "action": "DROP", "enabled": True, "comment": "first"},
            {
                "pos": 1,
                "type": "in",
                "action": "DROP",
                "enabled": False,
                "proto": "tcp",
                "source": "0.0.0.0/0",
                "dport": "80,443",
                "comment": "second",
            },
        ],
        "digest": firewall.digest,
        "no_effect_because": [CLUSTER_OFF, GUEST_OFF],
    }
    assert cluster.writes == []


async def test_no_rules_are_an_empty_list(client: Client) -> None:
    page = await called(client, "rules_list", vmid=100)

    assert page["rules"] == []
    assert "digest" not in page


@pytest.mark.parametrize("vmid", [100, 103])
async def test_with_all_switches_on_nothing_is_in_the_way(
    client: Client, cluster: Cluster, vmid: int
) -> None:
    switch_on(cluster, vmid)

    assert "no_effect_because" not in await called(client, "rules_list", vmid=vmid)


@pytest.mark.parametrize("vmid", [100, 103])
async def test_each_switch_that_is_off_is_named(
    client: Client, cluster: Cluster, vmid: int
) -> None:
    switch_on(cluster, vmid)
    guest = cluster.guest(vmid)

    async def said() -> list[str]:
        page = await called(client, "rules_list", vmid=vmid)
        return list(page.get("no_effect_because", []))

    cluster.center.firewall.options["enable"] = 0
    assert await said() == [CLUSTER_OFF]
    cluster.center.firewall.options["enable"] = 1
    guest.firewall.options["enable"] = 0
    assert await said() == [GUEST_OFF]
    guest.firewall.options["enable"] = 1
    on = guest.config["net0"]
    guest.config |= {"net0": on.replace("firewall=1", "firewall=0"), "net1": on}
    assert await said() == ["net0 is not under the firewall (firewall=1)"]
    guest.config |= {"net1": on.replace(",firewall=1", ""), "net2": on}
    assert await said() == [
        "net0 is not under the firewall (firewall=1)",
        "net1 is not under the firewall (firewall=1)",
    ]


async def test_a_switch_that_may_not_be_seen_is_said_to_be_unknown(
    connect: Connect, cluster: Cluster
) -> None:
    switch_on(cluster)

    async with connect(credentials=TOKENS["vmuser"]) as client:
        page = await called(client, "rules_list", vmid=100)

    assert page["no_effect_because"] == [
        "whether the cluster's firewall is on is unknown: that takes Sys.Audit on /"
    ]


async def test_comments_are_cleaned(client: Client, cluster: Cluster) -> None:
    fill(cluster.guest(100).firewall, "one\u202e\x1b[31m two")

    page = await called(client, "rules_list", vmid=100)

    assert page["rules"][0]["comment"] == "one two"


async def test_a_nodes_rules_need_its_own_switch_and_the_clusters(
    client: Client, cluster: Cluster
) -> None:
    node = cluster.center.nodes["pve2"].firewall
    fill(node, "first")

    page = await called(client, "rules_list", scope="node", node="pve2")
    assert (page["whose"], page["no_effect_because"]) == ("Node pve2", [CLUSTER_OFF])
    assert [rule["comment"] for rule in page["rules"]] == ["first"]

    cluster.center.firewall.options["enable"] = 1
    assert "no_effect_because" not in await called(client, "rules_list", scope="node", node="pve2")

    node.options["enable"] = 0
    page = await called(client, "rules_list", scope="node", node="pve2")
    assert page["no_effect_because"] == [NODE_OFF]


async def test_the_clusters_rules_need_its_switch_alone(client: Client, cluster: Cluster) -> None:
    fill(cluster.center.firewall, "first")

    page = await called(client, "rules_list", scope="cluster")
    assert (page["whose"], page["no_effect_because"]) == ("The cluster", [CLUSTER_OFF])
    assert [rule["comment"] for rule in page["rules"]] == ["first"]

    cluster.center.firewall.options["enable"] = 1
    assert "no_effect_because" not in await called(client, "rules_list", scope="cluster")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "scope=guest needs vmid, and the other scopes have none"),
        ({"node": "pve1"}, "scope=guest needs vmid"),
        ({"scope": "cluster", "vmid": 100}, "scope=guest needs vmid"),
        ({"scope": "node", "node": "pve1", "vmid": 100}, "scope=guest needs vmid"),
        ({"scope": "node"}, "scope=node needs node, and scope=cluster has none"),
        ({"scope": "cluster", "node": "pve1"}, "scope=node needs node, and scope=cluster has none"),
    ],
)
@pytest.mark.parametrize("tool", ["rules_list", "rule_create", "rule_delete", "options"])
async def test_what_does_not_go_together_is_refused_before_anything_is_sent(
    client: Client, cluster: Cluster, tool: str, arguments: dict[str, Any], *, said: str
) -> None:
    more: dict[str, dict[str, Any]] = {"rule_create": SSH, "rule_delete": {"pos": 0}}

    told = await refused(client, tool, **more.get(tool, {}), **arguments)

    assert said in told
    assert "Nothing was sent" in told
    assert cluster.requests == []


async def test_a_guest_said_to_be_elsewhere_is_refused(client: Client, cluster: Cluster) -> None:
    said = await refused(client, "rule_create", vmid=100, node="pve2", **SSH)

    assert "VM 100 (web-01) on pve1 is not at" in said
    assert cluster.writes == []


async def test_an_unknown_node_is_not_found(client: Client) -> None:
    said = await refused(client, "rules_list", scope="node", node="pve9")

    assert "There is no node of this name" in said


# --- creating ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_rule_is_created_first_and_counts_at_once(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    fill(cluster.guest(100).firewall, "a", "b")

    async with connect(mode=mode) as client:
        done = await called(
            client, "rule_create", vmid=100, source="10.0.0.0/8", comment="ssh", **SSH
        )

    sent = {
        "type": "in", "action": "ACCEPT", "enable": "1", "proto": "tcp", "dport": "22",
        "source": "10.0.0.0/8", "comment": "ssh",
    }  # fmt: skip
    assert cluster.writes == [("POST", RULES, sent)]
    assert comments(cluster.guest(100).firewall) == ["ssh", "a", "b"]
    assert cluster.guest(100).firewall.rules[0]["enable"] == 1
    assert done == {
        "state": "ok",
        "done": (
            "VM 100 (web-01) on pve1: rule created at position 0; those after it moved by one."
        ),
        "pos": 0,
        "rule": {
            "pos": 0,
            "type": "in",
            "action": "ACCEPT",
            "enabled": True,
            "proto": "tcp",
            "source": "10.0.0.0/8",
            "dport": "22",
            "comment": "ssh",
        },
        "no_effect_because": [CLUSTER_OFF, GUEST_OFF],
    }


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_containers_rule_is_created(connect: Connect, cluster: Cluster, mode: str) -> None:
    switch_on(cluster, 103)

    async with connect(mode=mode) as client:
        done = await called(
            client, "rule_create", vmid=103, action="DROP", rule_type="out", macro="SSH"
        )

    sent = {"type": "out", "action": "DROP", "enable": "1", "macro": "SSH"}
    assert cluster.writes == [("POST", "/nodes/pve1/lxc/103/firewall/rules", sent)]
    assert (done["pos"], done["rule"]["macro"]) == (0, "SSH")
    assert "no_effect_because" not in done


@pytest.mark.parametrize(
    ("pos", "order"),
    [
        (0, ["new", "a", "b", "c"]),
        (1, ["a", "new", "b", "c"]),
        (2, ["a", "b", "new", "c"]),
        (3, ["a", "b", "c", "new"]),
    ],
)
@pytest.mark.parametrize("vmid", [100, 103])
async def test_a_rule_lands_where_it_should_and_the_others_keep_their_order(
    client: Client, cluster: Cluster, vmid: int, pos: int, order: list[str]
) -> None:
    fill(cluster.guest(vmid).firewall, "a", "b", "c")

    done = await called(client, "rule_create", vmid=vmid, pos=pos, comment="new", **SSH)

    firewall = cluster.guest(vmid).firewall
    assert comments(firewall) == order
    assert (done["pos"], done["rule"]["pos"], done["rule"]["comment"]) == (pos, pos, "new")
    assert (done["rule"]["enabled"], firewall.rules[pos]["dport"]) == (True, "22")
    assert f"rule created at position {pos};" in done["done"]


async def test_a_rule_is_moved_only_as_it_was_seen(client: Client, cluster: Cluster) -> None:
    fill(cluster.guest(100).firewall, "a", "b", "c")
    seen: list[str] = []
    cluster.intercept = lambda request: (
        seen.append(cluster.guest(100).firewall.digest) if request.method == "PUT" else None
    )

    await called(client, "rule_create", vmid=100, pos=2, comment="new", **SSH)

    posted, moved = cluster.writes
    assert (posted[0], posted[1], "pos" in posted[2]) == ("POST", RULES, False)
    assert moved == ("PUT", f"{RULES}/0", {"moveto": "3", "digest": seen[0]})


@pytest.mark.parametrize(
    ("existing", "pos", "said"),
    [
        ((), 1, "pos can be 0 to 0: there are 0 rules."),
        (("a", "b"), 3, "pos can be 0 to 2: there are 2 rules."),
    ],
)
async def test_a_position_beyond_the_end_is_refused(
    client: Client, cluster: Cluster, existing: tuple[str, ...], pos: int, said: str
) -> None:
    fill(cluster.guest(100).firewall, *existing)

    assert said in await refused(client, "rule_create", vmid=100, pos=pos, **SSH)
    assert cluster.writes == []


@pytest.mark.parametrize("pos", [None, 0, 1])
async def test_a_rule_of_somebody_else_is_neither_moved_nor_taken_for_ours(
    client: Client, cluster: Cluster, pos: int | None
) -> None:
    firewall = cluster.guest(100).firewall
    fill(firewall, "a", "b")
    theirs = {"type": "in", "action": "ACCEPT", "enable": 1, "comment": "theirs"}

    def interfere(request: Request) -> None:
        if request.method == "GET" and len(firewall.rules) == 3:
            firewall.rules.insert(0, theirs)

    cluster.intercept = interfere

    said = await refused(client, "rule_create", vmid=100, pos=pos, comment="ours", **SSH)

    assert "the rule was created, and somebody else changed the rules meanwhile" in said
    assert f"the call had its change accepted (POST {RULES})" in said
    assert comments(firewall) == ["theirs", "ours", "a", "b"]
    assert [write[0] for write in cluster.writes] == ["POST"]


async def test_a_move_that_somebody_else_overtakes_is_refused_by_proxmox(
    client: Client, cluster: Cluster
) -> None:
    firewall = cluster.guest(100).firewall
    fill(firewall, "a", "b")
    cluster.intercept = before("PUT", firewall.rules.reverse)

    said = await refused(client, "rule_create", vmid=100, pos=1, comment="ours", **SSH)

    assert "Somebody else changed it meanwhile: read it again" in said
    assert comments(firewall) == ["b", "a", "ours"]


async def test_a_rule_may_be_kept_for_later(client: Client, cluster: Cluster) -> None:
    done = await called(client, "rule_create", vmid=100, enable=False, **SSH)

    assert cluster.writes[0][2]["enable"] == "0"
    assert done["rule"]["enabled"] is False


async def test_a_group_is_taken_in(client: Client, cluster: Cluster) -> None:
    await called(
        client, "rule_create", vmid=100, action="webservers", rule_type="group", iface="net0"
    )

    sent = {"type": "group", "action": "webservers", "enable": "1", "iface": "net0"}
    assert cluster.writes == [("POST", RULES, sent)]


async def test_every_argument_goes_out_under_its_name(client: Client, cluster: Cluster) -> None:
    given = {
        "proto": "udp", "source": "10.0.0.1", "dest": "+web", "sport": "53", "dport": "8000:8010",
        "iface": "net0", "log": "info", "comment": "all of it",
    }  # fmt: skip

    await called(client, "rule_create", vmid=100, action="REJECT", rule_type="out", **given)

    sent = {"type": "out", "action": "REJECT", "enable": "1"} | given
    assert cluster.writes == [("POST", RULES, sent)]


@pytest.mark.parametrize("ports", [{"dport": "22"}, {"sport": "22"}])
async def test_ports_without_a_protocol_are_refused(
    client: Client, cluster: Cluster, ports: dict[str, str]
) -> None:
    said = await refused(client, "rule_create", vmid=100, action="DROP", rule_type="in", **ports)

    assert 'Ports need a protocol: pass proto, e.g. "tcp", or a macro. Nothing was sent.' in said
    assert cluster.requests == []


@pytest.mark.parametrize("vmid", [100, 103])
async def test_a_guest_has_no_forward_rules(client: Client, cluster: Cluster, vmid: int) -> None:
    said = await refused(client, "rule_create", vmid=vmid, action="DROP", rule_type="forward")

    assert "forward is for nodes and the cluster; a guest has in, out and group." in said
    assert cluster.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "DROP ALL"},
        {"action": "D"},
        {"dport": "22; reboot"},
        {"rule_type": "inward"},
        {"pos": -1},
        {"comment": "c" * 501},
    ],
)
async def test_a_rule_of_the_wrong_form_is_refused_at_the_door(
    client: Client, cluster: Cluster, wrong: dict[str, Any]
) -> None:
    assert "Nothing was sent" in await refused(client, "rule_create", vmid=100, **(SSH | wrong))
    assert cluster.requests == []


async def test_what_proxmox_finds_wrong_is_told_by_its_argument(
    client: Client, cluster: Cluster
) -> None:
    said = await refused(client, "rule_create", vmid=100, **(SSH | {"dport": "70000"}))

    assert "dport: invalid format - invalid port '70000'" in said
    assert cluster.guest(100).firewall.rules == []


@pytest.mark.parametrize(
    ("where", "path", "privilege"),
    [
        ({"vmid": 100}, "/vms/100", "VM.Config.Network"),
        ({"scope": "node", "node": "pve2"}, "/nodes/pve2", "Sys.Modify"),
        ({"scope": "cluster"}, "/", "Sys.Modify"),
    ],
)
async def test_a_missing_privilege_is_named(
    connect: Connect, where: dict[str, Any], path: str, privilege: str
) -> None:
    async with connect(credentials=TOKENS["audit"]) as client:
        said = await refused(client, "rule_create", **where, **SSH)

    assert f"{privilege} on {path} " in said


OTHERS: list[tuple[dict[str, str], str, str]] = [
    ({"scope": "node", "node": "pve2"}, "/nodes/pve2/firewall/rules", "Node pve2"),
    ({"scope": "cluster"}, "/cluster/firewall/rules", "The cluster"),
]


def walls(cluster: Cluster) -> dict[str, Firewall]:
    return {"node": cluster.center.nodes["pve2"].firewall, "cluster": cluster.center.firewall}


@pytest.mark.parametrize(("where", "path", "whose"), OTHERS)
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_node_and_the_cluster_have_rules_made_and_deleted(
    connect: Connect, cluster: Cluster, where: dict[str, str], path: str, *, whose: str, mode: str
) -> None:
    firewall = walls(cluster)[where["scope"]]
    fill(firewall, "a", "b")

    async with connect(mode=mode) as client:
        made = await called(client, "rule_create", pos=1, comment="new", **where, **SSH)
        assert comments(firewall) == ["a", "new", "b"]
        page = await called(client, "rules_list", **where)
        digest = page["digest"]
        gone = await called(client, "rule_delete", pos=0, digest=digest, **where)

    assert comments(firewall) == ["new", "b"]
    assert made["done"] == (f"{whose}: rule created at position 1; those after it moved by one.")
    assert made["no_effect_because"] == [CLUSTER_OFF]
    assert gone["done"] == f"{whose}: rule at position 0 deleted; those after it moved up by one."
    assert [write[:2] for write in cluster.writes] == [
        ("POST", path),
        ("PUT", f"{path}/0"),
        ("DELETE", f"{path}/0"),
    ]
    assert cluster.writes[-1][2] == {"digest": digest}
    assert cluster.guest(100).firewall.rules == []


@pytest.mark.parametrize(("where", "path", "_whose"), OTHERS)
@pytest.mark.parametrize("version", ["8.4", "9.0", "9.2"])
async def test_a_node_and_the_cluster_may_have_forward_rules(
    where: dict[str, str], path: str, _whose: str, version: str
) -> None:
    """The type is new in 8; the fixture's cluster would find that 7's schema has none."""
    async with release(version) as (client, cluster):
        await called(client, "rule_create", action="DROP", rule_type="forward", **where)

        sent = {"type": "forward", "action": "DROP", "enable": "1"}
        assert cluster.writes == [("POST", path, sent)]
        assert [rule["type"] for rule in walls(cluster)[where["scope"]].rules] == ["forward"]
        wrong = schema_faults(cluster.requests)
        assert {fault.partition(":")[0] for fault in wrong} <= {"PVE 7"}


async def test_version_seven_says_that_it_has_no_forward_rules() -> None:
    async with release("7.4") as (client, cluster):
        said = await refused(
            client, "rule_create", scope="cluster", action="DROP", rule_type="forward"
        )

        assert "value 'forward' does not have a value in the enumeration 'in, out, group'" in said
        assert cluster.center.firewall.rules == []


# --- deleting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_rule_that_was_seen_is_deleted_and_told(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    firewall = cluster.guest(100).firewall
    fill(firewall, "a", "b", "c")

    async with connect(mode=mode) as client:
        digest = (await called(client, "rules_list", vmid=100))["digest"]
        done = await called(client, "rule_delete", vmid=100, pos=1, digest=digest)

    assert cluster.writes == [("DELETE", f"{RULES}/1", {"digest": digest})]
    assert comments(firewall) == ["a", "c"]
    assert done == {
        "state": "ok",
        "done": (
            "VM 100 (web-01) on pve1: rule at position 1 deleted; those after it moved up by one."
        ),
        "pos": 1,
        "rule": {"pos": 1, "type": "in", "action": "DROP", "enabled": True, "comment": "b"},
    }


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_containers_rule_is_deleted_with_the_digest_just_read(
    connect: Connect, cluster: Cluster, mode: str
) -> None:
    firewall = cluster.guest(103).firewall
    fill(firewall, "a", "b")
    digest = firewall.digest

    async with connect(mode=mode) as client:
        done = await called(client, "rule_delete", vmid=103, pos=0)

    path = "/nodes/pve1/lxc/103/firewall/rules/0"
    assert cluster.writes == [("DELETE", path, {"digest": digest})]
    assert (comments(firewall), done["rule"]["comment"]) == (["b"], "a")


async def test_with_an_old_digest_nothing_is_deleted(client: Client, cluster: Cluster) -> None:
    firewall = cluster.guest(100).firewall
    fill(firewall, "a", "b")
    digest = (await called(client, "rules_list", vmid=100))["digest"]
    await called(client, "rule_delete", vmid=100, pos=0, digest=digest)

    said = await refused(client, "rule_delete", vmid=100, pos=0, digest=digest)

    assert "detected modified configuration" in said
    assert "Somebody else changed it meanwhile: read it again" in said
    assert comments(firewall) == ["b"]
    assert cluster.writes[-1] == ("DELETE", f"{RULES}/0", {"digest": digest})


async def test_a_change_between_look_and_deletion_keeps_the_rule(
    client: Client, cluster: Cluster
) -> None:
    firewall = cluster.guest(100).firewall
    fill(firewall, "a", "b")
    cluster.intercept = before("DELETE", firewall.rules.reverse)

    said = await refused(client, "rule_delete", vmid=100, pos=0)

    assert "Somebody else changed it meanwhile" in said
    assert comments(firewall) == ["b", "a"]


@pytest.mark.parametrize(
    ("existing", "pos", "said"),
    [
        ((), 0, "VM 100 (web-01) on pve1 has no rule at position 0; it has 0 rules."),
        (("a", "b"), 2, "VM 100 (web-01) on pve1 has no rule at position 2; it has 2 rules."),
    ],
)
async def test_a_rule_that_is_not_there_is_not_found(
    client: Client, cluster: Cluster, existing: tuple[str, ...], pos: int, said: str
) -> None:
    fill(cluster.guest(100).firewall, *existing)

    assert said in await refused(client, "rule_delete", vmid=100, pos=pos)
    assert cluster.writes == []
    assert comments(cluster.guest(100).firewall) == list(existing)


@pytest.mark.parametrize("digest", ["", "abc", "G" * 40, "0" * 65])
async def test_a_digest_that_cannot_be_one_is_refused_at_the_door(
    client: Client, cluster: Cluster, digest: str
) -> None:
    assert "Nothing was sent" in await refused(
        client, "rule_delete", vmid=100, pos=0, digest=digest
    )
    assert cluster.requests == []


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(
    ("vmid", "whose"),
    [(100, "VM 100 (web-01) on pve1"), (103, "container 103 (cache) on pve1")],
)
async def test_options_are_shown_with_what_holds_where_none_is_set(
    connect: Connect, cluster: Cluster, mode: str, vmid: int, *, whose: str
) -> None:
    cluster.guest(vmid).firewall.options |= {"enable": 1, "policy_in": "ACCEPT", "macfilter": 0}

    async with connect(mode=mode) as client:
        shown = await called(client, "options", vmid=vmid)

    assert shown == {
        "whose": whose,
        "options": {"enable": "1", "policy_in": "ACCEPT", "macfilter": "0"},
        "defaults": {"policy_out": "ACCEPT", "dhcp": "1"},
        "no_effect_because": [CLUSTER_OFF],
    }
    assert cluster.writes == []


async def test_where_nothing_is_set_only_the_defaults_hold(client: Client) -> None:
    shown = await called(client, "options", vmid=100)

    assert (shown["options"], shown["defaults"]) == ({}, DEFAULTS["guest"])
    assert shown["no_effect_because"] == [CLUSTER_OFF, GUEST_OFF]


@pytest.mark.parametrize(("where", "_path", "whose"), OTHERS)
async def test_options_of_a_node_and_the_cluster_are_shown(
    client: Client, cluster: Cluster, where: dict[str, str], _path: str, whose: str
) -> None:
    cluster.center.firewall.options |= {"enable": 1, "policy_in": "DROP"}
    cluster.center.nodes["pve2"].firewall.options["log_level_in"] = "info"

    shown = await called(client, "options", **where)

    expected = {
        "node": ({"log_level_in": "info"}, {"enable": "1"}),
        "cluster": ({"enable": "1", "policy_in": "DROP"}, {"policy_out": "ACCEPT"}),
    }
    assert (shown["options"], shown["defaults"]) == expected[where["scope"]]
    assert shown["whose"] == whose
    assert "no_effect_because" not in shown


UNLIKE_THE_SCHEMA = {("guest", "dhcp")}
"""The schema says 0; Proxmox's ruleset lets DHCP through unless the option is set to 0."""


@pytest.mark.skipif(not pve_schema.AVAILABLE, reason=pve_schema.REASON)
@pytest.mark.parametrize("version", pve_schema.VERSIONS)
@pytest.mark.parametrize(
    ("scope", "root"),
    [
        ("guest", "/nodes/{node}/qemu/{vmid}"),
        ("guest", "/nodes/{node}/lxc/{vmid}"),
        ("node", "/nodes/{node}"),
        ("cluster", "/cluster"),
    ],
)
def test_the_defaults_are_those_of_the_schema(version: str, scope: str, root: str) -> None:
    endpoint = pve_schema.endpoints(version)["GET", f"{root}/firewall/options"]
    known = endpoint["returns"]["properties"]

    for name, value in DEFAULTS[scope].items():
        schema = known[name]
        if (scope, name) not in UNLIKE_THE_SCHEMA:
            assert str(schema.get("default", value)) == value, name
        assert value in schema.get("enum", [value]), name
