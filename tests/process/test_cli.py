"""What the command line prints, and with which exit code it ends."""

import json
from pathlib import Path

import proxmox_mcp
from proxmox_mcp.tools import TOOLS
from tests.process.server_process import ELEVATED, run_program


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
