"""Snapshots as a tree, and what going back does."""

from __future__ import annotations

import pytest
from proxmoxer import ResourceException

from tests.simulator.conftest import Demo


def _take(demo: Demo, name: str, vmid: int = 100, **more: object) -> None:
    assert demo.ended(demo.guest(vmid).snapshot.post(snapname=name, **more)) == "OK"


def _parents(demo: Demo) -> dict[str, str | None]:
    return {each["name"]: each.get("parent") for each in demo.guest(100).snapshot.get()}


def test_snapshots_form_a_tree_with_current_as_its_leaf(demo: Demo) -> None:
    _take(demo, "first")
    _take(demo, "second")
    assert _parents(demo) == {"first": None, "second": "first", "current": "second"}

    assert demo.ended(demo.guest(100).snapshot("first").rollback.post()) == "OK"
    _take(demo, "third")
    assert _parents(demo)["third"] == "first"

    assert demo.ended(demo.guest(100).snapshot("first").delete()) == "OK"
    assert _parents(demo) == {"second": None, "third": None, "current": "third"}


def test_going_back_restores_the_config_and_leaves_the_vm_off(demo: Demo) -> None:
    _take(demo, "before")
    demo.guest(100).config.put(tags="after", description="after")

    demo.ended(demo.guest(100).snapshot("before").rollback.post())

    config = demo.guest(100).config.get()
    assert config["tags"] == "prod;web"
    assert config["description"] == "after"  # a guest's notes are no part of its snapshots
    assert demo.guest(100).status.current.get()["status"] == "stopped"


def test_saved_memory_or_start_lets_the_vm_run_again(demo: Demo) -> None:
    _take(demo, "with-ram", vmstate=1)
    demo.ended(demo.guest(100).snapshot("with-ram").rollback.post())
    assert demo.guest(100).status.current.get()["status"] == "running"

    _take(demo, "without")
    demo.ended(demo.guest(100).snapshot("without").rollback.post(start=1))
    assert demo.guest(100).status.current.get()["status"] == "running"


def test_a_snapshot_locks_its_vm_while_it_is_taken(demo: Demo) -> None:
    demo.guest(100).snapshot.post(snapname="first")

    with pytest.raises(ResourceException, match=r"VM is locked \(snapshot\)"):
        demo.guest(100).config.put(description="now")


def test_a_storage_without_snapshots_fails_the_task(demo: Demo) -> None:
    for vmid in (104, 111):
        upid = demo.guest(vmid).snapshot.post(snapname="first")
        assert demo.ended(upid) == "snapshot feature is not available"


def test_a_reserved_or_impossible_name_is_refused(demo: Demo) -> None:
    with pytest.raises(ResourceException, match="unable to use snapshot name 'current'"):
        demo.guest(100).snapshot.post(snapname="current")
    with pytest.raises(ResourceException) as caught:
        demo.guest(100).snapshot.post(snapname="2025-11-06")
    assert caught.value.errors == {
        "snapname": "invalid format - invalid configuration ID '2025-11-06'\n"
    }


def test_a_container_has_no_memory_to_save(demo: Demo) -> None:
    with pytest.raises(ResourceException) as caught:
        demo.guest(103).snapshot.post(snapname="first", vmstate=1)

    assert "vmstate" in caught.value.errors


def test_the_config_of_then_can_be_read(demo: Demo) -> None:
    _take(demo, "before", description="the first")
    demo.guest(100).config.put(tags="changed")

    then = demo.guest(100).snapshot("before").config.get()
    assert (then["tags"], then["description"]) == ("prod;web", "the first")
    _take(demo, "wordless")
    assert "description" not in demo.guest(100).snapshot("wordless").config.get()
    assert demo.guest(100).config.get(snapshot="before")["tags"] == "prod;web"
