"""What the command line prints, and with which exit code it ends."""

import hashlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import proxmox_mcp
from proxmox_mcp import simulator
from proxmox_mcp.tools import TOOLS
from tests.process.server_process import ELEVATED, https_door, run_program


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    ended = run_program(tmp_path, "--version")

    assert ended.returncode == 0
    assert ended.stdout == f"proxmox-mcp {proxmox_mcp.__version__}\n"
    assert ended.stderr == ""


def test_the_table_and_its_json_agree_on_every_tool_and_need_no_login(tmp_path: Path) -> None:
    table, data = run_program(tmp_path, "tools"), run_program(tmp_path, "tools", "--json")

    assert (table.returncode, data.returncode) == (0, 0)
    assert (table.stderr, data.stderr) == ("", "")
    assert max(map(len, table.stdout.splitlines())) <= 80
    entries = json.loads(data.stdout)
    assert [entry["name"] for entry in entries] == [spec.name for spec in TOOLS]
    rows = [line.split()[:3] for line in table.stdout.splitlines() if line.startswith("proxmox_")]
    assert rows == [
        [entry["name"], entry["effect"], "on" if entry["on"] else "off"] for entry in entries
    ]
    assert {entry["name"] for entry in entries if not entry["on"]} == set(ELEVATED)
    assert {entry["effect"] for entry in entries} == {"reads", "changes", "destroys"}
    assert "allow_elevated" in table.stdout


def test_one_variable_switches_the_elevated_tools_on(tmp_path: Path) -> None:
    ended = run_program(tmp_path, "tools", "--json", variables={"PROXMOX_ALLOW_ELEVATED": "true"})

    entries = json.loads(ended.stdout)
    assert {entry["name"]: entry["on"] for entry in entries} == {spec.name: True for spec in TOOLS}
    assert {entry["off_because"] for entry in entries} == {None}


def test_a_settings_file_and_its_profile_are_obeyed_wherever_they_are_named(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[default]\nallow_elevated = false\n[lab]\nallow_elevated = true\n")

    ended = run_program(tmp_path, "--config", str(file), "tools", "--profile", "lab", "--json")

    assert [entry["name"] for entry in json.loads(ended.stdout) if not entry["on"]] == []


def test_an_unknown_flag_is_named_with_exit_code_2(tmp_path: Path) -> None:
    ended = run_program(tmp_path, "--nosuch")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--nosuch" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unknown_profile_lists_the_ones_there_are(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[default]\n[homelab]\n[work]\n")

    ended = run_program(tmp_path, "--config", str(file), "--profile", "nosuch")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "there are: default, homelab, work" in ended.stderr


# --- check, over HTTPS -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    cluster = simulator.Cluster(speed=1000)
    with https_door(cluster, tmp_path_factory.mktemp("door")) as variables:
        yield variables


def shown_fingerprint(door: dict[str, str]) -> str:
    pem = ssl.get_server_certificate(("127.0.0.1", int(door["PROXMOX_PORT"])))
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return ":".join(digest[each : each + 2] for each in range(0, len(digest), 2))


def check(home: Path, door: dict[str, str], **more: str) -> tuple[int, dict[str, Any], str]:
    """The exit code, the JSON and whatever was written."""
    ended = run_program(home, "check", "--json", variables=door | more)
    written = ended.stdout + ended.stderr
    assert door["PROXMOX_TOKEN_VALUE"] not in written
    return ended.returncode, json.loads(ended.stdout), written


def test_check_shows_the_certificate_that_the_host_shows(
    tmp_path: Path, door: dict[str, str]
) -> None:
    code, report, _ = check(tmp_path, door)
    people = run_program(tmp_path, "check", variables=door)

    assert (code, people.returncode, people.stderr) == (0, 0, "")
    assert report["fingerprint"] == shown_fingerprint(door)
    assert report["certificate_believed"] == "signed by the authority in verify_ssl"
    assert report["certificate_days_left"] > 300
    assert report["address"] == f"127.0.0.1:{door['PROXMOX_PORT']}"
    assert report["token"] == "root@pam!demo"
    assert report["login_from"] == "environment variable PROXMOX_TOKEN_VALUE"
    assert report["latency_ms"] > 0
    told = " ".join(people.stdout.split())
    assert report["fingerprint"] in told.replace(": ", ":")
    assert f"in verify_ssl, {report['certificate_days_left']} days left" in told
    assert max(map(len, people.stdout.splitlines())) <= 80
    assert door["PROXMOX_TOKEN_VALUE"] not in people.stdout


def test_check_says_when_a_certificate_is_pinned_and_when_it_is_not_looked_at(
    tmp_path: Path, door: dict[str, str]
) -> None:
    without = {name: text for name, text in door.items() if name != "PROXMOX_VERIFY_SSL"}
    pinned = check(tmp_path, without, PROXMOX_MCP_FINGERPRINT=shown_fingerprint(door))
    blind = check(tmp_path, without, PROXMOX_VERIFY_SSL="false")

    assert [each[0] for each in (pinned, blind)] == [0, 0]
    assert pinned[1]["certificate_believed"] == "pinned by its fingerprint"
    assert blind[1]["certificate_believed"] == "NOT VERIFIED"


def test_check_names_the_line_that_would_accept_an_untrusted_certificate(
    tmp_path: Path, door: dict[str, str]
) -> None:
    without = {name: text for name, text in door.items() if name != "PROXMOX_VERIFY_SSL"}
    code, report, _ = check(tmp_path, without)

    assert (code, report["version"], report["tools"]) == (2, None, [])
    assert report["certificate_believed"] == "NOT TRUSTED"
    assert f'fingerprint = "{shown_fingerprint(door)}"' in report["problems"][0]


def test_check_without_a_connection_or_with_a_wrong_token_ends_with_2(
    tmp_path: Path, door: dict[str, str]
) -> None:
    wrong = "5e1f0000-dead-beef-0000-000000000000"
    refused, said, written = check(tmp_path, door, PROXMOX_TOKEN_VALUE=wrong)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes calls, and never answers
        began = time.monotonic()
        port = str(silent.getsockname()[1])
        unheard, unsaid, _ = check(
            tmp_path, door, PROXMOX_PORT=port, PROXMOX_MCP_CONNECT_TIMEOUT="1"
        )
    settings = run_program(tmp_path, "check", "--json")

    assert (refused, unheard, settings.returncode) == (2, 2, 2)
    assert said["version"] is unsaid["version"] is None
    assert wrong not in written
    assert said["problems"]
    assert unsaid["problems"]
    assert time.monotonic() - began < 20
    assert settings.stdout == ""


def test_check_ends_with_1_where_the_token_lacks_a_right(
    tmp_path: Path, door: dict[str, str]
) -> None:
    nobody = simulator.TOKENS["nobody"]
    code, report, _ = check(
        tmp_path,
        door,
        PROXMOX_USER=nobody["user"],
        PROXMOX_TOKEN_NAME=nobody["token_name"],
        PROXMOX_TOKEN_VALUE=nobody["token_value"],
    )

    assert code == 1
    assert any(tool["missing"] for tool in report["tools"])


def test_check_ends_with_1_where_the_clock_or_the_audit_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cluster = simulator.Cluster(clock=lambda: time.time() - 3600)
    with https_door(cluster, tmp_path) as door:
        code, report, _ = check(
            tmp_path, door, PROXMOX_MCP_AUDIT_FILE=str(tmp_path / "file" / "audit.jsonl")
        )

    assert code == 1
    assert report["clock_ahead_s"] == pytest.approx(-3600, abs=30)
    clock, trail = report["problems"]
    assert "behind this machine's" in clock
    assert trail.endswith("Until then no change is made.")


def test_role_prints_its_commands_and_refuses_names_that_proxmox_has_not(tmp_path: Path) -> None:
    ended = run_program(tmp_path, "role", "--pve", "9", "--user", "bot@pve", "--token", "desk")
    refused = run_program(tmp_path, "role", "--user", "bot")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "pveum user token add bot@pve desk --privsep 1\n" in ended.stdout
    assert "VM.Monitor" not in ended.stdout
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--user is a name and its realm" in refused.stderr
