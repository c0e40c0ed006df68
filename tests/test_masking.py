"""Secrets that stand in the cluster's own data: masked towards the model, unless asked for."""

from typing import Any

import pytest
from mcp.client import Client

from proxmox_mcp import simulator
from proxmox_mcp.redaction import MASK, Redactor
from tests.conftest import Connect, text
from tests.tools.calls import called, refused
from tests.wire import refusal

OWN = simulator.CREDENTIALS["token_value"]
LONG_AGO = 1_700_000_000
INSIDE = "b3BlbnNzaC1rZXktdjEAAAA"
KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{INSIDE}\n-----END OPENSSH PRIVATE KEY-----"
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA admin@desk"

WRITTEN = [
    ("login root, password: hunter2-abc", "hunter2-abc"),
    ("Passwort steht im Tresor; passwd=hunter2-abc", "hunter2-abc"),
    ("API key: hunter2-abc (rotate!)", "hunter2-abc"),
    ("token = hunter2-abc", "hunter2-abc"),
    (f"deploy key:\n{KEY}\nend", INSIDE),
    ("half a key -----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA", "MIIEpAIBAAKCAQEA"),
    ("push with ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_0123456789"),
    ("AKIAIOSFODNN7EXAMPLE is the id", "AKIAIOSFODNN7EXAMPLE"),
    ("xoxb-0123456789", "0123456789"),  # as short as one gets
    ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
    ("pwd=x9", "x9"),
    ("root:$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2", "qFmFH.bQmmtX"),
    ("curl -H 'Authorization: PVEAPIToken=a@pam!b=0d6c7a1e-1111'", "0d6c7a1e-1111"),
    ("https://me:hunter2-abc@registry.example/", "hunter2-abc"),
]


@pytest.mark.parametrize(("note", "secret"), WRITTEN)
async def test_a_secret_in_a_guests_notes_is_masked_unless_asked_for(
    connect: Connect, cluster: simulator.Cluster, note: str, secret: str
) -> None:
    cluster.guest(100).config["description"] = f"Shop front end\n{note}"
    async with connect() as client:
        masked = await called(client, "vm_config_get", vmid=100)
    async with connect(show_secrets=True) as client:
        shown = await called(client, "vm_config_get", vmid=100)

    said = masked["config"]["options"]["description"]
    assert secret not in said
    assert MASK in said
    assert said.startswith("Shop front end\n")
    assert shown["config"]["options"]["description"] == f"Shop front end\n{note}"


@pytest.mark.parametrize(
    "note",
    [
        "Ask Anna for the password. The token is in the safe.",
        "See https://wiki.example/pages/secret-santa and the ticket 4711.",
        "UPID:pve1:00001234:0000ABCD:65A1B2C3:qmstart:100:root@pam!mcp:",
        "rsa key length 4096, sha256:0123456789abcdef",
    ],
)
async def test_a_note_without_a_secret_stays_as_it_is(
    connect: Connect, cluster: simulator.Cluster, note: str
) -> None:
    cluster.guest(100).config["description"] = note
    async with connect() as client:
        config = await called(client, "vm_config_get", vmid=100)

    assert config["config"]["options"]["description"] == note


@pytest.mark.parametrize("key", ["cipassword", "sshkeys"])
async def test_a_key_that_names_a_secret_is_masked_unless_asked_for(
    connect: Connect, cluster: simulator.Cluster, key: str
) -> None:
    cluster.guest(107).config[key] = PUBLIC
    async with connect() as client:
        masked = await called(client, "vm_config_get", vmid=107)
        update = await called(client, "vm_config_update", vmid=107, config={key: "another"})
    async with connect(show_secrets=True) as client:
        shown = await called(client, "vm_config_get", vmid=107)

    assert masked["config"]["cloud_init"][key] == MASK
    assert update["changed"] == {key: {"before": MASK, "after": MASK}}
    assert shown["config"]["cloud_init"][key] == "another"


async def test_a_secret_in_a_commands_output_and_in_a_tasks_log_is_masked(
    client: Client, cluster: simulator.Cluster
) -> None:
    output = "DB_PASSWORD=hunter2-abc\nok"
    cluster.center.tasks.record(
        ("pve1", "vzdump", "100", "root@pam"),
        start=LONG_AGO, lasted=3, status="OK", log=["INFO: using password: hunter2-abc"],
    )  # fmt: skip
    ran = await called(client, "execute_vm_command", vmid=100, command=["echo", output], wait=5)
    upid = next(upid for upid, task in cluster.center.tasks.all.items() if task.start == LONG_AGO)
    log = await client.call_tool("proxmox_task_log", {"upid": upid})

    assert ran["stdout"].startswith(f"DB_PASSWORD={MASK}")
    assert "hunter2" not in text(log)
    assert f"password: {MASK}" in text(log)


async def test_a_secret_in_a_refusal_is_masked(client: Client, cluster: simulator.Cluster) -> None:
    cluster.intercept = lambda request: (
        refusal(500, "mount failed: password=hunter2-abc") if request.path == "/nodes" else None
    )

    said = await refused(client, "get_nodes")

    assert "hunter2" not in said
    assert f"password={MASK}" in said


@pytest.mark.parametrize("settings", [{}, {"show_secrets": True}])
async def test_this_servers_own_secret_is_masked_whatever_is_asked_for(
    connect: Connect, cluster: simulator.Cluster, settings: dict[str, Any]
) -> None:
    cluster.guest(100).config["description"] = f"the token is {OWN}, they say"
    async with connect(**settings) as client:
        config = await called(client, "vm_config_get", vmid=100)

    assert config["config"]["options"]["description"] == f"the token is {MASK}, they say"


def test_masking_a_long_text_takes_no_time_that_grows_with_its_square() -> None:
    redactor = Redactor(["0d6c7a1e-made-up"])
    for piece in ("-----BEGIN ", "eyJ", "password", "$6$", "a@b!c=", "token: ", "ghp_"):
        assert redactor.written(piece * 60_000)
