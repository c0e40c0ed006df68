"""Firewall rules by position, with all that is odd about them."""

from __future__ import annotations

import pytest
from proxmoxer import ResourceException

from proxmox_mcp.simulator import TOKENS
from tests.simulator.conftest import Demo


def _add(demo: Demo, comment: str, **more: object) -> None:
    fields = {"type": "in", "action": "ACCEPT", "comment": comment} | more
    assert demo.guest(100).firewall.rules.post(**fields) is None


def _comments(demo: Demo) -> list[str]:
    return [rule["comment"] for rule in demo.guest(100).firewall.rules.get()]


def test_a_new_rule_is_first_and_disabled_whatever_pos_says(demo: Demo) -> None:
    _add(demo, "one")
    _add(demo, "two", pos=5)

    assert _comments(demo) == ["two", "one"]
    assert [rule["enable"] for rule in demo.guest(100).firewall.rules.get()] == [0, 0]


def test_moving_a_rule_ignores_everything_else(demo: Demo) -> None:
    for name in ("three", "two", "one"):
        _add(demo, name)
    demo.guest(100).firewall.rules(0).put(moveto=2, comment="changed")

    assert _comments(demo) == ["two", "one", "three"]


def test_the_same_delete_twice_deletes_two_rules_unless_a_digest_is_sent(demo: Demo) -> None:
    for name in ("three", "two", "one"):
        _add(demo, name)
    digest = demo.guest(100).firewall.rules.get()[0]["digest"]
    demo.guest(100).firewall.rules(0).delete(digest=digest)
    with pytest.raises(ResourceException, match="detected modified configuration"):
        demo.guest(100).firewall.rules(0).delete(digest=digest)
    assert _comments(demo) == ["two", "three"]

    demo.guest(100).firewall.rules(0).delete()

    assert _comments(demo) == ["three"]


def test_an_added_rule_does_not_look_at_the_digest(demo: Demo) -> None:
    _add(demo, "one", digest="0" * 40)

    assert _comments(demo) == ["one"]


def test_a_rule_as_people_write_it_is_taken(demo: Demo) -> None:
    _add(demo, "web", enable=1, proto="tcp", dport="80,443", source="0.0.0.0/0")

    rule = demo.guest(100).firewall.rules.get()[0]
    assert (rule["dport"], rule["ipversion"], rule["pos"]) == ("80,443", 4, 0)


def test_forward_rules_do_not_exist_for_guests(demo: Demo) -> None:
    with pytest.raises(ResourceException) as caught:
        _add(demo, "through", type="forward")

    assert "type" in caught.value.errors


@pytest.mark.parametrize("scope", ["cluster", "node"])
def test_cluster_and_nodes_have_rules_of_their_own(demo: Demo, scope: str) -> None:
    firewall = demo.api.cluster.firewall if scope == "cluster" else demo.api.nodes.pve2.firewall
    for comment in ("two", "one"):
        firewall.rules.post(type="forward", action="DROP", comment=comment)
    digest = firewall.rules.get()[0]["digest"]
    firewall.rules(0).put(moveto=2, digest=digest)

    assert [rule["comment"] for rule in firewall.rules.get()] == ["two", "one"]
    with pytest.raises(ResourceException, match="detected modified configuration"):
        firewall.rules(0).delete(digest=digest)
    firewall.rules(0).delete()
    assert [rule["comment"] for rule in firewall.rules.get()] == ["one"]
    assert demo.api.nodes.pve1.firewall.rules.get() == _comments(demo) == []


@pytest.mark.parametrize(
    ("path", "missing"),
    [("cluster", r"\(/, Sys\.Modify\)"), ("nodes/pve2", r"\(/nodes/pve2, Sys\.Modify\)")],
)
def test_an_auditor_sees_the_rules_of_a_node_and_changes_none(
    demo: Demo, path: str, missing: str
) -> None:
    firewall = demo.client(TOKENS["audit"])(path).firewall

    assert firewall.rules.get() == []
    with pytest.raises(ResourceException, match=missing):
        firewall.rules.post(type="in", action="DROP")


def test_options_show_only_what_is_set(demo: Demo) -> None:
    options = demo.guest(100).firewall.options
    assert list(options.get()) == ["digest"]
    options.put(enable=1, policy_in="DROP")
    assert options.get()["policy_in"] == "DROP"

    options.put(delete="policy_in")

    assert "policy_in" not in options.get()


def test_a_changed_rule_keeps_what_was_not_named(demo: Demo) -> None:
    _add(demo, "web", proto="tcp", dport="80")
    demo.guest(100).firewall.rules(0).put(enable=1, delete="dport")

    rule = demo.guest(100).firewall.rules(0).get()
    assert (rule["comment"], rule["enable"], "dport" in rule) == ("web", 1, False)


@pytest.mark.parametrize("dport", ["70000", "80,,443", "80:"])
def test_an_impossible_port_is_refused(demo: Demo, dport: str) -> None:
    with pytest.raises(ResourceException) as caught:
        _add(demo, "web", proto="tcp", dport=dport)

    assert list(caught.value.errors) == ["dport"]
