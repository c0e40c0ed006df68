"""The commands that `role` prints: that a shell takes them, and that they give what is needed."""

import re
import shlex
from typing import Any

import pytest

from proxmox_mcp.cli import role
from proxmox_mcp.config import Settings
from proxmox_mcp.pve import upid
from proxmox_mcp.toolkit.policy import Policy
from proxmox_mcp.tools import TOOLSETS
from tests.rights import FULL, SPECS, answers, everything, shown, staged

AGENT = {"8.4": "VM.Monitor", "9.0": "VM.GuestAgent.Unrestricted"}
POLICIES: dict[str, dict[str, Any]] = {
    "elevated": {"allow_elevated": True},
    "as shipped": {},
    "read-only": {"read_only": True},
    "nothing destroyed": {"allow_destructive": False, "toolsets": ["snapshots", "backups"]},
    "a tool taken out": {"toolsets": ["snapshots"], "disable_tools": ["proxmox_snapshot_create"]},
    "a tool added": {"toolsets": ["nodes"], "enable_tools": ["proxmox_vm_start"]},
    "only rollback": {"toolsets": ["cluster"], "enable_tools": ["proxmox_snapshot_rollback"]},
    **{each.name: {"allow_elevated": True, "toolsets": [each.name]} for each in TOOLSETS},
}
OTHERWISE_ON_8 = ("elevated", "agent", "snapshots", "backups")
CASES = [
    *(("9.0", named) for named in POLICIES),
    *(("8.4", named) for named in OTHERWISE_ON_8),
]


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upid, "POLL_SECONDS", (0.002, 0.01))


def settings(**policy: Any) -> Settings:
    return Settings(demo=True, policy=Policy(**policy))


@pytest.mark.parametrize(("version", "named"), CASES)
async def test_the_role_makes_every_tool_on_offer_work_in_full(version: str, named: str) -> None:
    policy = Policy(**POLICIES[named])
    offered = [each for each in FULL if policy.withholds(SPECS[each.tool]) is None]
    wanted = role.privileges(settings(**POLICIES[named]), float(version)).keys()
    full = await answers(version, everything(version), offered)

    assert await answers(version, {"/": wanted}, offered) == full


@pytest.mark.parametrize(
    ("version", "named"),
    [("9.0", "elevated"), ("9.0", "read-only"), ("9.0", "only rollback"), ("8.4", "agent")],
)
async def test_no_privilege_of_the_role_can_be_spared(version: str, named: str) -> None:
    policy = Policy(**POLICIES[named])
    offered = [each for each in FULL if policy.withholds(SPECS[each.tool]) is None]
    wanted = role.privileges(settings(**POLICIES[named]), float(version)).keys()
    full = await answers(version, everything(version), offered)
    spared = []
    for left_out in wanted:
        async with staged(version, {"/": wanted - {left_out}}) as stage:
            for attempt, expected in zip(offered, full, strict=True):
                asks = any(left_out in need.privileges for need in SPECS[attempt.tool].needs)
                if asks and shown(await stage.play(attempt)) != expected:
                    break
            else:
                spared.append(left_out)
    assert spared == []


@pytest.mark.parametrize("version", ["9.0", "8.4"])
def test_each_version_gets_its_own_right_to_run_commands_and_only_with_elevated_tools(
    version: str,
) -> None:
    with_it = role.privileges(settings(allow_elevated=True), float(version))
    without = role.privileges(settings(), float(version))

    assert {name for name in with_it if "Monitor" in name or "Agent" in name} == {AGENT[version]}
    assert with_it.keys() - without.keys() == {AGENT[version]}


# --- the lines -------------------------------------------------------------------------------


def printed(
    *versions: int,
    user: str = "mcp@pve",
    token: str = "mcp",  # noqa: S107 - its name
    **policy: Any,
) -> tuple[str, list[list[str]]]:
    """The text, and its commands as a shell reads them."""
    text = role.commands(settings(**policy), versions or (9,), user, token)
    lines = text.splitlines()
    return text, [words for line in lines if (words := shlex.split(line, comments=True))]


def test_the_commands_stand_in_an_order_that_works() -> None:
    text, [made, user, given, token, lent] = printed(9, toolsets=["cluster"])

    rights = "Datastore.Audit Sys.Audit VM.Audit"
    assert made == ["pveum", "role", "add", "ProxmoxMCP", "--privs", rights]
    assert user[:4] == ["pveum", "user", "add", "mcp@pve"]
    assert " ".join(given) == "pveum acl modify / --users mcp@pve --roles ProxmoxMCP"
    assert " ".join(token) == "pveum user token add mcp@pve mcp --privsep 1"
    assert " ".join(lent) == "pveum acl modify / --tokens mcp@pve!mcp --roles ProxmoxMCP"
    assert "'mcp@pve!mcp'" in text  # or an interactive shell takes ! for its history


def test_both_versions_are_printed_apart_only_where_they_differ() -> None:
    same, one = printed(8, 9, toolsets=["cluster"])
    apart, two = printed(8, 9, toolsets=["agent"], allow_elevated=True)

    assert "Proxmox VE 8 or 9:" in same
    assert (len(one), len(two)) == (5, 10)
    assert re.findall(r"Proxmox VE (\d+):", apart) == ["8", "9"]
    assert [words[-1] for words in two if words[1] == "role"] == [
        "VM.Audit VM.Monitor",
        "VM.Audit VM.GuestAgent.Unrestricted",
    ]


def test_what_prints_the_secret_and_where_it_goes_is_said() -> None:
    text, _ = printed(user="bot@pve", token="desk")
    words = " ".join(text.replace("#", " ").split())

    assert "`pveum user token add` prints the token's secret" in words
    assert ".secrets.toml as token_value" in words
    assert "PROXMOX_TOKEN_VALUE" in words
    assert 'user = "bot@pve" token_name = "desk"' in words


def test_root_is_neither_made_nor_given_anything() -> None:
    _, commands = printed(user="root@pam")

    assert [words[1:3] for words in commands] == [
        ["role", "add"],
        ["user", "token"],
        ["acl", "modify"],
    ]


def test_what_may_be_left_out_is_told_with_what_it_is_for() -> None:
    text, _ = printed(9, toolsets=["snapshots"])

    assert text.endswith("May be left out, if this is not wanted:\n#   VM.PowerMgmt: for start\n")


@pytest.mark.parametrize(
    ("user", "token"),
    [
        ("mcp", "mcp"),
        ("mcp@pve\nreboot", "mcp"),
        ("a@b@c", "mcp"),
        ("mcp@pve", "a b"),
        ("mcp@pve", "x"),
    ],
)
def test_a_name_that_proxmox_would_not_take_is_refused(user: str, token: str) -> None:
    with pytest.raises(ValueError, match=r"--user is|--token is"):
        printed(user=user, token=token)


def test_a_name_that_a_shell_would_read_otherwise_is_quoted() -> None:
    _, commands = printed(user="o'brien;$(id)@pve", token="mcp")

    assert commands[1][3] == "o'brien;$(id)@pve"
    assert commands[4][5] == "o'brien;$(id)@pve!mcp"


def test_comments_keep_within_80_columns() -> None:
    text, _ = printed(8, 9, allow_elevated=True)

    assert max(len(line) for line in text.splitlines() if line.startswith("#")) <= 80
