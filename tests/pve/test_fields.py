"""Identifiers: what may become a segment of an API path, and what would reach elsewhere."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from proxmox_mcp.pve.fields import GuestName, Kind, NodeName, StorageId, Vmid, Wait

TYPES: dict[str, TypeAdapter[Any]] = {
    "node": TypeAdapter(NodeName),
    "storage": TypeAdapter(StorageId),
    "name": TypeAdapter(GuestName),
    "vmid": TypeAdapter(Vmid),
    "kind": TypeAdapter(Kind),
    "wait": TypeAdapter(Wait),
}

# Each would leave its segment, add a parameter, cut the path or vanish.
HOSTILE = (
    "../access",
    "pve1/../../access",
    "..",
    ".",
    "",
    "pve1/qemu",
    "pve1?a=b",
    "pve1#",
    "pve1%2f",
    "pve1\\x",
    "pve1\n",
    "pve1\r\nHost: x",
    " pve1",
    "pve1\x00",
    "pve1;x",
    "pv\u00e91",
    "pve\uff0f1",
    "p@q",
)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["node", "storage", "name", "kind"])
def test_text_that_means_something_in_a_url_is_no_identifier(field: str, text: str) -> None:
    with pytest.raises(ValidationError):
        TYPES[field].validate_python(text)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("node", "pve1"),
        ("node", "a"),
        ("node", "PVE-2-x"),
        ("node", "1"),
        ("node", "n" * 63),
        ("storage", "local"),
        ("storage", "local-lvm"),
        ("storage", "nas_2.backup"),
        ("storage", "s" * 100),
        ("name", "web-01"),
        ("name", "web.example.com"),
        ("name", "9"),
        ("kind", "qemu"),
        ("kind", "lxc"),
    ],
)
def test_identifiers_as_proxmox_gives_them_pass_unchanged(field: str, text: str) -> None:
    assert TYPES[field].validate_python(text) == text


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("node", "-pve"),
        ("node", "pve-"),
        ("node", "pve_1"),
        ("node", "pve.1"),
        ("node", "n" * 64),
        ("storage", "a"),
        ("storage", "1local"),
        ("storage", ".local"),
        ("storage", "_local"),
        ("storage", "local-"),
        ("storage", "s" * 101),
        ("name", "-web"),
        ("name", "web."),
        ("name", "w" * 256),
        ("kind", "openvz"),
    ],
)
def test_identifiers_that_proxmox_would_refuse_are_refused_here(field: str, text: str) -> None:
    with pytest.raises(ValidationError):
        TYPES[field].validate_python(text)


@pytest.mark.parametrize("number", [100, 105, 999_999_999])
def test_a_guest_id_is_a_number_from_100_to_999999999(number: int) -> None:
    assert TYPES["vmid"].validate_python(number) == number


@pytest.mark.parametrize("number", [-1, 0, 99, 1_000_000_000, 105.5, "abc", "1/2", None])
def test_anything_else_is_no_guest_id(number: object) -> None:
    with pytest.raises(ValidationError):
        TYPES["vmid"].validate_python(number)


@pytest.mark.parametrize(("seconds", "good"), [(0, True), (3600, True), (-1, False), (3601, False)])
def test_a_wait_is_at_most_an_hour(seconds: int, *, good: bool) -> None:
    adapter = TYPES["wait"]
    if good:
        assert adapter.validate_python(seconds) == seconds
    else:
        with pytest.raises(ValidationError):
            adapter.validate_python(seconds)
