"""A tool's needs: how they are read, and what a token's rights make of them."""

from typing import Any

import pytest

from proxmox_mcp.pve.permissions import EVERYWHERE, NOWHERE, Permissions, Reach
from proxmox_mcp.toolkit.needs import Need, Verdict, granted, judge
from proxmox_mcp.tools import TOOLS
from tests import pve_schema
from tests.rights import PLACES, role

TOP = ("/", "/access", "/nodes", "/pool", "/storage", "/vms")
SEE, POWER = "VM.Audit on /vms/{vmid}", "VM.PowerMgmt on /vms/{vmid}"
SPACE = "Datastore.AllocateSpace on /storage/{disks}"


def held(
    *everywhere: str, resources: list[dict[str, Any]] | None = None, **paths: dict[str, int]
) -> Permissions:
    """Rights as Proxmox lists them; ``vms_100`` stands for /vms/100."""
    above = dict.fromkeys(everywhere, 1)
    listed = {path: above for path in TOP if above}
    own = {f"/{name.replace('_', '/')}": rights for name, rights in paths.items()}
    return Permissions(listed | own, resources or [])


def verdict(needs: list[str], rights: Permissions, version: float = 9) -> Verdict:
    return judge([Need.parse(need) for need in needs], rights, version)


def only_on(*paths: str) -> Reach:
    return Reach(everywhere=False, paths=frozenset(paths))


# --- as they are written ---------------------------------------------------------------------


@pytest.mark.parametrize("version", ["8.4", "9.0"])
def test_no_tool_asks_for_a_privilege_that_this_version_does_not_know(version: str) -> None:
    known = role("Administrator", version)
    asked = {
        name
        for spec in TOOLS
        for need in spec.needs
        if need.holds_in(float(version))
        for name in (*need.privileges, *(need.other or ())[:1])
    }

    assert asked <= known


@pytest.mark.skipif(not pve_schema.AVAILABLE, reason=pve_schema.REASON)
@pytest.mark.parametrize("version", ["8", "9", "9.2"])
def test_whatever_the_official_schema_demands_of_a_change_is_among_the_tools_needs(
    version: str,
) -> None:
    lacking = []
    for spec in TOOLS:
        told = {name for need in spec.needs for name in need.privileges}
        for sent in spec.sends:
            method, _, path = sent.replace("{kind}", "qemu").partition(" ")
            found = pve_schema.find(version, method, path.replace("{pos}", "0"))
            demanded = _demanded(found[0].get("perm", {}).get("check") if found else None)
            lacking += [f"{spec.name}: {names}" for names in demanded if not told & names]

    assert lacking == []


def _demanded(check: Any) -> list[set[str]]:
    """The privileges of an expression, as sets of which one is enough."""
    if not check:
        return []
    kind, *rest = check
    if kind == "and":
        return [names for part in rest for names in _demanded(part)]
    if kind == "or":
        return [{name for part in rest for names in _demanded(part) for name in names}]
    if kind != "perm":
        return []
    names = set(rest[1])
    return [names] if "any" in rest else [{name} for name in names]


@pytest.mark.parametrize(
    "text",
    [
        "VM.Audit",
        "VM.Audit on vms",
        "VM.Audit on /vms from PVE nine",
        "VM.Audit on /vms when it rains",
        "VM.Audit or VM.Backup on /vms",
        "",
    ],
)
def test_a_misspelt_need_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a need"):
        Need.parse(text)


def test_every_part_of_a_need_is_read() -> None:
    need = Need.parse("A|B on /vms/{vmid} or C on /storage/{backups} from PVE 9 for start")

    assert (need.privileges, need.path) == (("A", "B"), "/vms/{vmid}")
    assert need.other == ("C", "/storage/{backups}")
    assert (need.holds_in(8.4), need.holds_in(9.2)) == (False, True)
    assert need.when == "for start"
    assert [Need.parse("A on / before PVE 9").holds_in(each) for each in (8.4, 9)] == [True, False]


def test_a_variable_that_the_tests_do_not_know_is_in_no_required_need() -> None:
    required = {
        need.path for spec in TOOLS for need in spec.needs if not need.when and "{" in need.path
    }

    assert required <= {*PLACES, "/vms/{newid}"}


# --- what a token may do ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        (held("VM.Audit"), EVERYWHERE),
        (held(), NOWHERE),
        (held(vms={"VM.Audit": 1}), EVERYWHERE),
        (held(vms={"VM.Audit": 0}), NOWHERE),  # on /vms itself, and not passed on
        (held(vms_100={"VM.Audit": 1}), only_on("/vms/100")),
        (held(vms_100={"VM.Audit": 0}), only_on("/vms/100")),  # through a pool
        (held(pool_lab={"VM.Audit": 1}), NOWHERE),
        (held("VM.Audit", vms_100={"VM.Backup": 1}), Reach(True, frozenset({"/vms/100"}))),  # noqa: FBT003
        (Permissions({"/": {"VM.Audit": 1}}), NOWHERE),  # NoAccess on /vms
    ],
)
def test_where_a_right_is_held_follows_from_what_proxmox_lists(
    rights: Permissions, expected: Reach
) -> None:
    assert rights.where("/vms/{vmid}", "VM.Audit") == expected


def test_a_right_on_single_guests_does_not_reach_one_that_is_yet_to_be_made() -> None:
    assert held(vms_500={"VM.Allocate": 1}).where("/vms/{newid}", "VM.Allocate") == NOWHERE
    assert held("VM.Allocate").where("/vms/{newid}", "VM.Allocate") == EVERYWHERE


def test_a_bridge_is_reached_by_its_zone_only_where_that_passes_the_right_on() -> None:
    bridge = "/sdn/zones/{zone}/{bridge}"
    passed = held(sdn_zones_localnetwork={"SDN.Use": 1}).where(bridge, "SDN.Use")
    kept = held(sdn_zones_localnetwork={"SDN.Use": 0}).where(bridge, "SDN.Use")

    assert passed == only_on("/sdn/zones/localnetwork")
    assert kept == NOWHERE


STORAGES = [
    {"type": "storage", "storage": "nas", "node": "pve1", "content": "backup"},
    {"type": "storage", "storage": "ssd", "node": "pve1", "content": "images,rootdir"},
]


def test_a_storage_for_backups_takes_no_disks_and_one_that_is_unknown_may() -> None:
    space = {"Datastore.AllocateSpace": 1}
    rights = held(resources=STORAGES, storage_nas=space, storage_ssd=space, storage_dark=space)

    assert rights.where("/storage/{disks}", *space) == only_on("/storage/ssd", "/storage/dark")
    assert rights.where("/storage/{backups}", *space) == only_on("/storage/nas", "/storage/dark")


def test_a_right_on_a_guest_that_is_not_there_is_none() -> None:
    guest = {"type": "qemu", "vmid": 100}
    rights = held(resources=[guest], vms_100={"VM.Audit": 1}, vms_999={"VM.Audit": 1})

    assert rights.where("/vms/{vmid}", "VM.Audit") == only_on("/vms/100")


def test_many_paths_are_counted_and_told_in_the_order_of_their_numbers() -> None:
    assert str(only_on("/vms/1000", "/vms/20")) == "only on /vms/20, /vms/1000"
    assert str(only_on(*(f"/vms/{100 + each}" for each in range(9)))).endswith("and 3 more")


# --- the verdict -----------------------------------------------------------------------------


def test_only_what_is_not_held_is_missing() -> None:
    found = verdict([SEE, POWER, SPACE], held("VM.PowerMgmt", "Datastore.AllocateSpace"))

    assert [need.text for need in found.missing] == [SEE]
    assert not found.usable


def test_rights_on_two_different_guests_do_not_add_up() -> None:
    found = verdict([SEE, POWER], held(vms_100={"VM.Audit": 1}, vms_102={"VM.PowerMgmt": 1}))

    assert [need.text for need in found.missing] == [POWER]


def test_a_tool_works_where_all_its_rights_meet() -> None:
    rights = held(
        "VM.Audit", vms_100={"VM.Audit": 1, "VM.PowerMgmt": 1}, vms_102={"VM.PowerMgmt": 1}
    )

    assert verdict([SEE, POWER], rights).where == {"/vms/{vmid}": only_on("/vms/100")}


def test_another_right_elsewhere_makes_good_for_one() -> None:
    either = "VM.Backup on /vms/{vmid} or Datastore.Allocate on /storage/{backups}"

    assert verdict([either], held(storage={"Datastore.Allocate": 1})).usable
    assert verdict([either], held(vms={"VM.Backup": 1})).usable
    assert not verdict([either], held("VM.Audit")).usable


def test_what_is_needed_only_for_something_is_told_where_it_is_not_held() -> None:
    start = "VM.PowerMgmt on /vms/{vmid} from PVE 9 for start"
    some = held("VM.Audit", vms_100={"VM.Audit": 1, "VM.PowerMgmt": 1})

    assert verdict([SEE, start], held("VM.Audit")).less == (start,)
    assert verdict([SEE, start], some).less == (f"{start}: only on /vms/100",)
    assert verdict([SEE, start], held("VM.Audit"), 8).less == ()
    assert verdict([SEE, start], held(vms_100={"VM.Audit": 1, "VM.PowerMgmt": 1})).less == ()


def test_of_rights_by_key_one_is_enough_and_the_others_are_told() -> None:
    keyed = "VM.Config.CPU|VM.Config.Memory on /vms/{vmid} by key"

    assert verdict([keyed], held("VM.Config.CPU")).less == (
        "VM.Config.Memory on /vms/{vmid} for their keys",
    )
    assert not verdict([keyed], held("VM.Audit")).usable


def test_a_role_gets_one_of_several_that_are_enough_and_one_it_has_already() -> None:
    either, needed = "Less|More on /vms/{vmid}", "More on /vms/{vmid}"

    assert [*granted([Need.parse(either)], 9)] == ["Less"]
    assert [*granted([Need.parse(either), Need.parse(needed)], 9)] == ["More"]
    assert [*granted([Need.parse("A|B on / by key")], 9)] == ["A", "B"]
    assert [*granted([Need.parse("A on / from PVE 9")], 8)] == []
