"""The table of configuration keys is Proxmox's own, and a change is checked against it first."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest

from proxmox_mcp.pve import guestconfig
from proxmox_mcp.pve.errors import Refused
from proxmox_mcp.pve.fields import Kind
from proxmox_mcp.pve.guestconfig import (
    BOOKKEEPING,
    DISKS,
    ELSEWHERE,
    GROUPS,
    Change,
    Flag,
    Key,
    Number,
    Words,
)
from tests import pve_schema

KINDS: tuple[Kind, ...] = ("qemu", "lxc")
OURS: dict[Kind, dict[str, Key]] = {
    kind: {name: key for keys in GROUPS[kind].values() for name, key in keys.items()}
    for kind in KINDS
}

in_every_version = pytest.mark.parametrize("version", pve_schema.VERSIONS)
for_both_kinds = pytest.mark.parametrize("kind", KINDS)
with_schema = pytest.mark.skipif(not pve_schema.AVAILABLE, reason=pve_schema.REASON)

# --- against the official schema ---------------------------------------------------------------

NOT_KEYS = {
    "delete": "an argument of the tool",
    "revert": "an argument of the tool",
    "digest": "read and sent by the tool",
    "node": "in the path",
    "vmid": "in the path",
    "force": "would erase a disk's data without a second look",
    "lock": "only root@pam may set it",
    "skiplock": "only root@pam may use it",
    "template": "a tool of its own, which checks first",
    "background_delay": "would hide the task that the tool follows",
    "import-working-storage": "for new disks that are imported; none of our tools imports",
}
"""Parameters of the schema that are no keys for a caller, and why."""

WIDER = {
    "memory": "a property string of one number since 8; the number is what we take",
    "machine": "bounded in form and length on 7 only",
}
"""Keys whose type differs between versions, and how we take them."""

PATTERNS = frozenset({
    "bootdisk", "machine", "parallel[n]", "serial[n]", "startdate", "vmgenid", "entrypoint", "env",
})  # fmt: skip
"""Keys whose form only Proxmox checks: the patterns are its own, and differ between versions."""


def official(version: str, kind: Kind, method: str = "PUT") -> dict[str, dict[str, Any]]:
    path = f"/nodes/{{node}}/{kind}/{{vmid}}/config"
    params: dict[str, dict[str, Any]] = pve_schema.endpoints(version)[method, path]["params"]
    return params


@with_schema
@in_every_version
@pytest.mark.parametrize(("kind", "method"), [("qemu", "PUT"), ("qemu", "POST"), ("lxc", "PUT")])
def test_every_key_of_the_schema_is_known_or_left_out_for_a_reason(
    version: str, kind: Kind, method: str
) -> None:
    unknown = official(version, kind, method).keys() - OURS[kind].keys()

    assert unknown <= NOT_KEYS.keys()


@with_schema
@for_both_kinds
def test_no_key_is_made_up(kind: Kind) -> None:
    there = {name for version in pve_schema.VERSIONS for name in official(version, kind)}

    assert OURS[kind].keys() - there == set()
    assert OURS[kind].keys().isdisjoint(NOT_KEYS)


def differences(name: str, key: Key, schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type", "string")
    if isinstance(key, Flag):
        return [] if kind == "boolean" else [f"{name} is a {kind}"]
    if isinstance(key, Number):
        same = (kind, schema.get("minimum"), schema.get("maximum")) == (
            "integer" if key.whole else "number",
            key.least,
            key.most,
        )
        return [] if same else [f"{name} is a {kind} of other limits"]
    found = [] if kind == "string" else [f"{name} is a {kind}"]
    if list(key.choices) != schema.get("enum", []):
        found.append(f"{name} may be {schema.get('enum')}")
    if key.most > schema.get("maxLength", key.most):
        found.append(f"{name} may have {schema['maxLength']} characters")
    if "pattern" in schema and name not in PATTERNS:
        found.append(f"{name} has a form")
    return found


@with_schema
@in_every_version
@for_both_kinds
def test_types_limits_and_choices_are_those_of_the_schema(version: str, kind: Kind) -> None:
    schema = official(version, kind)

    assert [
        text
        for name, key in OURS[kind].items()
        if name in schema and name not in WIDER
        for text in differences(name, key, schema[name])
    ] == []


@with_schema
@in_every_version
def test_memory_is_taken_within_the_limit_of_every_version(version: str) -> None:
    schema = official(version, "qemu")["memory"]
    bounds = schema["format"]["current"] if isinstance(schema.get("format"), dict) else schema

    assert OURS["qemu"]["memory"] == Number(bounds["minimum"])


@with_schema
@for_both_kinds
def test_every_exception_is_still_needed(kind: Kind) -> None:
    methods = ("PUT", "POST") if kind == "qemu" else ("PUT",)
    seen = [
        official(version, kind, method) for version in pve_schema.VERSIONS for method in methods
    ]
    formed = {name for schema in seen for name, each in schema.items() if "pattern" in each}

    assert formed == {name for name in PATTERNS if name in OURS[kind]}
    assert all(name in OURS["qemu"] for name in WIDER)
    if kind == "qemu":
        assert all(any(name in schema for schema in seen) for name in NOT_KEYS)


@with_schema
@for_both_kinds
def test_the_disk_keys_are_those_that_hold_a_volume(kind: Kind) -> None:
    names = {name.replace("[n]", "0") for name in GROUPS[kind]["disks"]}

    assert {name for name in names if not DISKS[kind].fullmatch(name)} == (
        {"cdrom", "virtiofs0", "vmstatestorage", "scsihw"} if kind == "qemu" else set()
    )


# --- single values -----------------------------------------------------------------------------

TRUE: tuple[Any, ...] = (True, "true", "True", "1", 1)
FALSE: tuple[Any, ...] = (False, "false", "0", 0)


@pytest.mark.parametrize("value", TRUE)
def test_true_goes_out_as_one(value: Any) -> None:
    assert guestconfig.check("qemu", {"onboot": value}, (), ()).values == {"onboot": 1}


@pytest.mark.parametrize("value", FALSE)
def test_false_goes_out_as_zero(value: Any) -> None:
    wired = guestconfig.check("lxc", {"onboot": value}, (), ()).values

    assert wired == {"onboot": 0}
    assert wired["onboot"] is not False


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("qemu", {"onboot": "yes"}, "onboot must be true or false"),
        ("qemu", {"onboot": 2}, "onboot must be true or false"),
        ("qemu", {"onboot": ""}, "onboot must be true or false"),
        ("qemu", {"cores": 0}, "cores must be at least 1"),
        ("qemu", {"cores": "many"}, "cores must be a whole number"),
        ("qemu", {"cores": 1.5}, "cores must be a whole number"),
        ("qemu", {"cores": True}, "cores must be a whole number"),
        ("qemu", {"cores": "\u0664"}, "cores must be a whole number"),
        ("qemu", {"cores": "4\n"}, "cores must be a whole number"),
        ("qemu", {"memory": 15}, "memory must be at least 16"),
        ("qemu", {"memory": "4G"}, "memory must be a whole number"),
        ("qemu", {"shares": 50_001}, "shares must be at most 50000"),
        ("qemu", {"cpulimit": "fast"}, "cpulimit must be a number"),
        ("qemu", {"cpulimit": 128.5}, "cpulimit must be at most 128"),
        ("qemu", {"cpulimit": -1}, "cpulimit must be at least 0"),
        ("lxc", {"cpulimit": 8193}, "cpulimit must be at most 8192"),
        ("lxc", {"tty": 7}, "tty must be at most 6"),
        ("lxc", {"swap": -1}, "swap must be at least 0"),
        ("qemu", {"bios": "uefi"}, "bios must be one of: seabios, ovmf"),
        ("qemu", {"keyboard": "uk"}, "keyboard must be one of: de, de-ch,"),
        ("lxc", {"cmode": "bash"}, "cmode must be one of: shell, console, tty"),
        ("qemu", {"name": True}, "name must be text"),
        ("qemu", {"cipassword": True}, "cipassword must be text"),
        ("lxc", {"hostname": "h" * 256}, "hostname must have at most 255 characters"),
        ("qemu", {"description": "d" * 8193}, "description must have at most 8192 characters"),
    ],
)
def test_a_mistyped_value_is_refused_with_what_it_must_be(
    kind: Kind, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused) as caught:
        guestconfig.check(kind, values, (), ())

    assert f"Bad configuration: {said}" in str(caught.value)
    assert str(caught.value).endswith("Nothing was changed.")


@pytest.mark.parametrize(
    ("kind", "name", "value", "wired"),
    [
        ("qemu", "cores", 4, "4"),
        ("qemu", "cores", "4", "4"),
        ("qemu", "cpulimit", 1.5, "1.5"),
        ("qemu", "cpulimit", 128, "128"),
        ("qemu", "shares", 50_000, "50000"),
        ("qemu", "migrate_downtime", "0.1", "0.1"),
        ("lxc", "tty", 0, "0"),
        ("qemu", "name", "web-01", "web-01"),
        ("qemu", "name", 7, "7"),
        ("qemu", "bios", "ovmf", "ovmf"),
        ("qemu", "hugepages", 1024, "1024"),
        ("qemu", "keyboard", "de-ch", "de-ch"),
        ("qemu", "net31", "virtio,bridge=vmbr0", "virtio,bridge=vmbr0"),
        ("lxc", "mp255", "local-lvm:8,mp=/data", "local-lvm:8,mp=/data"),
        ("qemu", "description", "", ""),
    ],
)
def test_a_good_value_goes_out_as_text(kind: Kind, name: str, value: Any, wired: str) -> None:
    assert guestconfig.check(kind, {name: value}, (), ()).values == {name: wired}


def test_ssh_keys_are_encoded_within_the_form() -> None:
    keys = "ssh-ed25519 AAAA+/b= me@example.com\nssh-rsa BBBB== you"

    wired = str(guestconfig.check("qemu", {"sshkeys": keys}, (), ()).values["sshkeys"])

    assert not set(" +/=@\n") & set(wired)
    assert unquote(wired) == keys


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("qemu", "core", "a VM has no key 'core', perhaps cores"),
        ("qemu", "memroy", "a VM has no key 'memroy', perhaps memory"),
        ("lxc", "host_name", "a container has no key 'host_name', perhaps hostname"),
        ("qemu", "nett0", "a VM has no key 'nett0', perhaps net[n]"),
        ("lxc", "scsi0", "a container has no key 'scsi0' (it is one of a VM's)"),
        ("qemu", "rootfs", "a VM has no key 'rootfs' (it is one of a container's)"),
        ("qemu", "hostname", "a VM has no key 'hostname' (it is one of a container's)"),
        ("qemu", "zzzzzz", "a VM has no key 'zzzzzz'."),
        ("qemu", "scsi", "a VM has no key 'scsi'"),
        ("qemu", "cores0", "a VM has no key 'cores0', perhaps cores"),
        ("qemu", "x" * 100, f"a VM has no key '{'x' * 40}'"),
    ],
)
@pytest.mark.parametrize("where", ["config", "delete", "revert"])
def test_an_unknown_key_is_refused_with_the_nearest_right_one(
    kind: Kind, name: str, said: str, where: str
) -> None:
    given = {"config": ({name: "1"}, (), ()), "delete": ({}, (name,), ())}
    with pytest.raises(Refused) as caught:
        guestconfig.check(kind, *given.get(where, ({}, (), (name,))))

    assert f"Bad configuration: {said}" in str(caught.value)


@pytest.mark.parametrize("name", ELSEWHERE)
@for_both_kinds
def test_what_is_done_elsewhere_is_refused_with_where(kind: Kind, name: str) -> None:
    with pytest.raises(Refused) as caught:
        guestconfig.check(kind, {name: "1"}, (), ())

    assert f"{name}: {ELSEWHERE[name]}." in str(caught.value)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(Refused) as caught:
        guestconfig.check("qemu", {"cores": 0, "core": 1, "tags": "a"}, ("tags", "lock"), ("zzzz",))

    assert str(caught.value) == (
        "Bad configuration: cores must be at least 1; a VM has no key 'core', perhaps cores;"
        " lock: only root@pam may set it, on the node; a VM has no key 'zzzz'; tags: set and"
        " deleted at once. Nothing was changed."
    )


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(Refused, match="nothing to change: give config, delete or revert"):
        guestconfig.check("qemu", {}, (), ())


def test_a_change_names_every_key_that_it_touches() -> None:
    change = guestconfig.check("qemu", {"cores": 4, "onboot": True}, ("tags",), ("memory",))

    assert change == Change({"cores": "4", "onboot": 1}, ("tags",), ("memory",))
    assert change.keys == ("cores", "onboot", "tags", "memory")


@pytest.mark.parametrize(
    ("kind", "name", "group"),
    [
        ("qemu", "scsi0", "disks"),
        ("qemu", "net12", "networks"),
        ("qemu", "numa", "cpu"),
        ("qemu", "numa1", "cpu"),
        ("qemu", "efidisk0", "disks"),
        ("qemu", "audio0", "options"),
        ("qemu", "ipconfig0", "cloud_init"),
        ("lxc", "nameserver", "networks"),
        ("qemu", "nameserver", "cloud_init"),
        ("lxc", "mp3", "disks"),
        ("lxc", "dev0", "options"),
    ],
)
def test_a_key_is_found_in_its_group(kind: Kind, name: str, group: str) -> None:
    found = guestconfig.known(kind, name)

    assert found is not None
    assert found[0] == group


@pytest.mark.parametrize("name", ["audio1", "net", "efidisk1", "rootfs0", ""])
def test_a_number_makes_a_key_only_where_there_are_several(name: str) -> None:
    assert guestconfig.known("qemu", name) is None


# --- showing -----------------------------------------------------------------------------------


def test_what_is_shown_is_text_without_bookkeeping() -> None:
    config = {"name": "web", "cores": 2, "ciuser": "admin", **dict.fromkeys(BOOKKEEPING, "x")}

    assert guestconfig.shown(config) == {"ciuser": "admin", "cores": "2", "name": "web"}


def test_groups_are_in_their_order_and_lose_nothing() -> None:
    config = {
        "name": "web", "meta": "ctime=1", "net0": "virtio", "scsi0": "a:b", "memory": 4096,
        "cores": 2, "ciuser": "admin", "boot": "order=scsi0", "lock": "backup",
        "digest": "0" * 40,
    }  # fmt: skip

    groups = guestconfig.grouped("qemu", config)

    assert groups == {
        "cpu": {"cores": "2"},
        "memory": {"memory": "4096"},
        "disks": {"scsi0": "a:b"},
        "networks": {"net0": "virtio"},
        "boot": {"boot": "order=scsi0"},
        "cloud_init": {"ciuser": "admin"},
        "options": {"name": "web"},
        "other": {"lock": "backup", "meta": "ctime=1"},
    }
    assert list(groups) == [*GROUPS["qemu"], "other"]


def test_the_groups_of_an_empty_configuration_are_none() -> None:
    assert guestconfig.grouped("lxc", {"digest": "0" * 40}) == {}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("1K", 1024),
        ("528K", 540_672),
        ("4M", 4 * 1024**2),
        ("32G", 32 * 1024**3),
        ("1.5G", 1_610_612_736),
        ("0.5K", 512),
        ("2T", 2 * 1024**4),
        ("", None),
        ("G", None),
        ("32g", None),
        ("32GB", None),
        ("-1G", None),
        ("+1G", None),
        (" 1G", None),
        ("1,5G", None),
        ("1G\n", None),
    ],
)
def test_a_size_is_read_as_proxmox_writes_it(text: str, size: int | None) -> None:
    assert guestconfig.size_bytes(text) == size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("local-lvm:vm-100-disk-0,size=32G", 32 * 1024**3),
        ("local-lvm:vm-100-disk-0,discard=on,size=528K,ssd=1", 540_672),
        ("size=1G,file=local:100/vm-100-disk-0.qcow2", 1024**3),
        ("local-lvm:vm-100-disk-0", None),
        ("local-lvm:vm-100-disk-0,maxsize=3G", None),
        ("none,media=cdrom", None),
        ("local-lvm:vm-100-disk-0,size=", None),
        ("local-lvm:vm-100-disk-0,size=big", None),
    ],
)
def test_a_disks_size_is_read_out_of_its_value(value: str, size: int | None) -> None:
    assert guestconfig.disk_size(value) == size


def test_a_text_has_no_more_characters_than_its_limit() -> None:
    words = Words(most=3)

    assert words.wrong("abc") is None
    assert words.wrong("abcd") == "must have at most 3 characters"
