"""What `check` says of a token, held against what then really fails."""

import io
import json
import time
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import requests
from anyio import to_thread

from proxmox_mcp import simulator
from proxmox_mcp.cli import check
from proxmox_mcp.cli.role import privileges
from proxmox_mcp.config import Settings
from proxmox_mcp.pve import upid
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.simulator import SimulatorAdapter
from proxmox_mcp.toolkit.policy import Policy
from tests import rights, secrecy
from tests.conftest import schema_faults, text
from tests.rights import PLACES, PLAIN, Acl, role

EVERY = role("Administrator", "9.0")
NO_BRIDGE, NO_SPACE = EVERY - {"SDN.Use"}, EVERY - {"Datastore.AllocateSpace"}

TOKENS: dict[str, Acl] = {
    "nobody": {},
    "an auditor": {"/": role("PVEAuditor", "9.0")},
    "a user of guest 100": {"/vms/100": role("PVEVMUser", "9.0")},
    "VM.Audit only": {"/": ["VM.Audit"]},
    "everything on guests only": {"/vms": EVERY},
    "everything on a pool": {"/pool/production": EVERY},
    "a pool and the storages": {"/pool/production": EVERY, "/storage": EVERY},
    "another guest": {"/": role("PVEAuditor", "9.0"), "/vms/102": EVERY},
    "a storage for backups": {"/vms": EVERY, "/sdn": EVERY, "/storage/backup-storage": EVERY},
    "a storage for disks": {"/vms": EVERY, "/sdn": EVERY, "/storage/shared-vms": EVERY},
    "space for backups only": {"/": NO_SPACE, "/storage/backup-storage": EVERY},
    "space where nothing is": {"/": NO_SPACE, "/storage/none": EVERY},
    "no access to a node": {"/": EVERY, "/nodes/pve1": []},
    "no access to guests": {"/": EVERY, "/vms": []},
    "less on guest 100": {"/vms": EVERY, "/storage": EVERY, "/vms/100": ["VM.Audit"]},
    "less on guest 100, and all of its pool": {"/": EVERY, "/vms/100": ["VM.Audit"]},
    "rights that do not meet": {"/vms/100": ["VM.Audit"], "/vms/102": EVERY},
    "a guest that is gone": {"/vms/999": EVERY},
    "a new id by name": {"/": EVERY - {"VM.Allocate"}, "/vms/500": EVERY},
    "storages in place of backups": {"/": EVERY - {"VM.Backup", "Datastore.AllocateSpace"}},
    "no backup of guests": {"/": EVERY - {"VM.Backup"}},
    "another bridge": {"/": NO_BRIDGE, "/sdn/zones/localnetwork/vmbr1": EVERY},
    "one bridge": {"/": NO_BRIDGE, "/sdn/zones/localnetwork/vmbr0": EVERY},
    "no Sys.Audit": {"/": EVERY - {"Sys.Audit"}},
}
OLDER = ("an auditor", "a user of guest 100", "a pool and the storages", "one bridge")
WITHOUT_IN_8 = ("VM.Monitor", "SDN.Use", "VM.PowerMgmt")
ELEVATED = Settings(demo=True, policy=Policy(allow_elevated=True))


def _cases() -> Iterator[Any]:
    for name, acl in TOKENS.items():
        yield pytest.param("9.0", acl, id=name)
    for name in OLDER:
        known = role("Administrator", "8.4")
        acl = {path: known.intersection(held) for path, held in TOKENS[name].items()}
        yield pytest.param("8.4", acl, id=f"{name}, on 8")
    for version in ("9.0", "8.4"):
        whole = privileges(ELEVATED, float(version)).keys()
        for name in whole if version == "9.0" else WITHOUT_IN_8:
            yield pytest.param(version, {"/": whole - {name}}, id=f"{version} without {name}")


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upid, "POLL_SECONDS", (0.002, 0.01))


def checked(
    cluster: simulator.Cluster, credentials: Mapping[str, Any], **settings: Any
) -> tuple[int, dict[str, Any], str]:
    """Run the command twice: its exit code, its JSON and its lines for people."""
    adapter = settings.pop("adapter", SimulatorAdapter(cluster))
    chosen = Settings(
        connection=Connection(**credentials),
        limits=rights.AT_WILL,
        **{"policy": Policy(allow_elevated=True), **settings},
    )
    said = []
    for as_json in (True, False):
        out = io.StringIO()
        code = check.run(chosen, out, as_json=as_json, adapter=adapter)
        said.append(out.getvalue())
    return code, json.loads(said[0]), said[1]


def reported(version: str, acl: Acl) -> dict[str, dict[str, Any]]:
    """What is said of each tool for a token with these rights."""
    cluster = rights.furnished(version)
    _, report, _ = checked(cluster, cluster.grant(rights.USER, rights.TOKEN, acl))
    return {tool["name"]: tool for tool in report["tools"]}


def foreseen(tool: Mapping[str, Any]) -> bool:
    """Whether a tool is said to work in its plain form, on guest 100 and what belongs to it."""
    if not tool["usable"]:
        return False
    if any("VM.Config.CPU" in less for less in tool["less"]):
        return False  # the plain change of a configuration is one of cores
    return all(
        _among(path, paths) is wanted
        for limits, wanted in ((tool["only_on"], True), (tool["not_on"], False))
        for path, paths in limits.items()
    )


def _among(path: str, paths: list[str]) -> bool:
    return any(f"{PLACES[path]}/".startswith(f"{each}/") for each in paths)


@pytest.mark.parametrize(("version", "acl"), [*_cases()])
async def test_the_tools_that_are_named_are_exactly_those_that_fail(version: str, acl: Acl) -> None:
    said = await to_thread.run_sync(reported, version, acl)
    async with rights.staged(version, acl) as stage:
        failed = [each.tool for each in PLAIN if not rights.worked(await stage.play(each))]

    assert [each.tool for each in PLAIN if not foreseen(said[each.tool])] == failed


async def test_with_every_right_everything_works() -> None:
    for version in ("8.4", "9.0"):
        acl = rights.everything(version)
        said = await to_thread.run_sync(reported, version, acl)
        async with rights.staged(version, acl) as stage:
            for attempt in rights.FULL:
                result = await stage.play(attempt)
                assert rights.worked(result), f"{attempt}: {text(result)}"

        assert all(tool["usable"] for tool in said.values())
        assert not any(tool["only_on"] or tool["not_on"] or tool["less"] for tool in said.values())


def test_where_a_tool_works_and_what_it_lacks_is_named_with_its_path() -> None:
    said = reported("9.0", TOKENS["a user of guest 100"])

    assert said["proxmox_vm_stop"]["only_on"] == {"/vms/{vmid}": ["/vms/100"]}
    assert said["proxmox_vm_clone"]["missing"] == [
        "VM.Clone on /vms/{vmid}",
        "VM.Allocate on /vms/{newid}",
        "Datastore.AllocateSpace on /storage/{disks}",
        "SDN.Use on /sdn/zones/{zone}/{bridge} from PVE 8",
    ]
    assert said["proxmox_get_vms"]["less"][0] == (
        "VM.Audit on /vms/{vmid} to see guests: only on /vms/100"
    )


def test_only_tools_on_offer_are_judged() -> None:
    cluster = simulator.Cluster()
    policy = Policy(read_only=True, toolsets=["snapshots"])
    _, report, _ = checked(cluster, simulator.CREDENTIALS, policy=policy)

    assert [tool["name"] for tool in report["tools"]] == [
        "proxmox_snapshot_list",
        "proxmox_snapshot_config",
    ]


# --- what else is said -----------------------------------------------------------------------


@pytest.mark.parametrize("acl", [{}, TOKENS["less on guest 100"], TOKENS["an auditor"]])
def test_the_lines_for_people_are_short_and_tell_what_the_json_tells(acl: Acl) -> None:
    cluster = simulator.Cluster()
    credentials = cluster.grant("mcp@pve", "mcp", acl)
    code, report, lines = checked(cluster, credentials)

    assert max(map(len, lines.splitlines())) <= 80
    assert not any(line != line.rstrip() for line in lines.splitlines())
    words = " ".join(lines.split())
    for tool in report["tools"]:
        assert f"{tool['name']} {'usable' if tool['usable'] else 'LACKS'}" in words
        assert all(need.replace("|", " or ") in words for need in (*tool["missing"], *tool["less"]))
        assert all(path in words for paths in tool["only_on"].values() for path in paths)
        assert all(path in words for paths in tool["not_on"].values() for path in paths)
    assert all(problem in words for problem in report["problems"])
    assert report["version"] in words
    assert report["token"] in words
    assert code == (0 if all(tool["usable"] for tool in report["tools"]) else 1)
    assert secrecy.leaks(lines + json.dumps(report)) == []
    assert credentials["token_value"] not in lines + json.dumps(report)


def test_nothing_but_reading_is_sent() -> None:
    cluster = simulator.Cluster()
    code, _, lines = checked(cluster, simulator.CREDENTIALS)

    assert code == 0
    assert "tools are usable everywhere and in full" in lines
    assert {request.method for request in cluster.requests} == {"GET"}
    assert schema_faults(cluster.requests) == []


@pytest.mark.parametrize(
    ("right", "privsep", "words"),
    [
        ("Sys.Audit", True, "unknown: seeing it takes User.Modify on /access/groups"),
        ("User.Modify", True, "on: it has rights of its own"),
        ("User.Modify", False, "off: it has all rights of its user"),
    ],
)
def test_privilege_separation_is_told_to_a_token_that_may_see_it(
    right: str,
    privsep: bool,  # noqa: FBT001
    words: str,
) -> None:
    cluster = simulator.Cluster()
    credentials = cluster.grant("fresh@pve", "mcp", {"/": [right]}, privsep=privsep)
    _, report, lines = checked(cluster, credentials)

    assert report["privilege_separation"].startswith(words)
    assert words in lines


def test_a_password_has_no_privilege_separation() -> None:
    _, report, _ = checked(simulator.Cluster(), simulator.PASSWORD)

    assert report["privilege_separation"] == "a password: it has all rights of its user"


def test_a_token_without_any_right_is_told_where_to_get_some() -> None:
    _, report, lines = checked(simulator.Cluster(), simulator.TOKENS["nobody"])

    assert "The token has no right at all." in report["problems"][0]
    assert "proxmox-mcp role prints the commands" in " ".join(lines.split())


class Dated(SimulatorAdapter):
    """Dates each answer by the cluster's clock, as a web server does."""

    def send(self, *request: Any, **named: Any) -> requests.Response:
        response = super().send(*request, **named)
        response.headers["Date"] = formatdate(self.cluster.center.now, usegmt=True)
        return response


@pytest.mark.parametrize(("apart", "code"), [(-300, 1), (300, 1), (20, 0)])
def test_a_clock_that_is_far_off_is_a_problem(apart: int, code: int) -> None:
    cluster = simulator.Cluster(clock=lambda: time.time() + apart)
    ended, report, lines = checked(cluster, simulator.CREDENTIALS, adapter=Dated(cluster))

    assert ended == code
    assert report["clock_ahead_s"] == pytest.approx(apart, abs=2)
    assert ("behind" if apart < 0 else "ahead of") in lines or not code


def test_an_audit_trail_that_cannot_be_written_is_a_problem_unless_nothing_changes(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    place: dict[str, Any] = {"audit_file": tmp_path / "file" / "audit.jsonl"}
    code, report, _ = checked(simulator.Cluster(), simulator.CREDENTIALS, **place)
    reading = Policy(read_only=True)
    fine, _, _ = checked(simulator.Cluster(), simulator.CREDENTIALS, policy=reading, **place)

    assert (code, fine) == (1, 0)
    assert report["problems"][0].endswith("Until then no change is made.")


def test_a_wrong_secret_is_no_connection() -> None:
    wrong = {**simulator.CREDENTIALS, "token_value": "c0ffee00-0000-0000-0000-000000000000"}
    code, report, lines = checked(simulator.Cluster(speed=1000), wrong)

    assert (code, report["version"], report["tools"]) == (2, None, [])
    assert "NO CONNECTION" in lines
    assert wrong["token_value"] not in lines + json.dumps(report)
