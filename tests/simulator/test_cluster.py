"""The simulated cluster as an instrument: determinism, size, journal, hooks, threads."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from proxmoxer import ResourceException

from proxmox_mcp import simulator
from proxmox_mcp.simulator import Answer, Cluster, Request
from tests.simulator import lab
from tests.simulator.conftest import NOW, Demo

READS = (
    "/nodes", "/cluster/resources", "/cluster/tasks", "/nodes/pve1/qemu", "/nodes/pve2/tasks",
    "/nodes/pve1/qemu/100/config", "/nodes/pve1/status", "/nodes/pve1/storage/local/content",
)  # fmt: skip


def _answers(seed: int) -> list[bytes]:
    demo = Demo(seed=seed)
    found = []
    for _ in range(3):
        found += [demo.cluster.handle(lab.request("GET", path)).body for path in READS]
        demo.guest(100).status.reboot.post()
        demo.wait(7)
    return found


def test_the_same_seed_and_clock_give_the_same_answers() -> None:
    assert _answers(1) == _answers(1)
    assert _answers(1) != _answers(2)


def test_the_example_cluster_has_what_the_examples_need(demo: Demo) -> None:
    guests = {guest["vmid"]: guest for guest in demo.api.cluster.resources.get(type="vm")}
    assert len(guests) == 12
    assert not {101, 200} & guests.keys()
    assert demo.api.cluster.nextid.get() == "101"
    assert guests[100]["name"] == "web-01"
    names = [guest["name"] for guest in guests.values()]
    assert sorted(guest["type"] for guest in guests.values() if guest["name"] == "cache") == [
        "lxc",
        "qemu",
    ]
    assert len(set(names)) == 11
    states = {
        "template": [guest["vmid"] for guest in guests.values() if guest.get("template")],
        "locked": [guest["vmid"] for guest in guests.values() if guest.get("lock")],
        "ha": [guest["vmid"] for guest in guests.values() if guest.get("hastate")],
    }
    assert states == {"template": [110], "locked": [105, 112], "ha": [102]}


def _calls_to_build(guests: int) -> int:
    made = Counter[str]()
    sys.setprofile(lambda _frame, event, _about: made.update((event,)))
    try:
        Cluster(guests=guests)
    finally:
        sys.setprofile(None)
    return made["call"] + made["c_call"]


def test_the_work_of_building_grows_no_faster_than_the_cluster() -> None:
    assert _calls_to_build(5_000) < 10 * _calls_to_build(500)


def test_ten_thousand_guests_are_all_listed() -> None:
    cluster = Cluster(guests=10_000)
    answer = cluster.handle(lab.request("GET", "/cluster/resources", ("type", "vm")))

    assert len({each["vmid"] for each in lab.content(answer)["data"]}) == 10_000


def test_an_offline_node_answers_nothing_and_its_guests_are_unknown() -> None:
    demo = Demo(offline={"pve3"})
    with pytest.raises(ResourceException) as caught:
        demo.api.nodes("pve3").qemu.get()
    assert (caught.value.status_code, caught.value.content) == (595, "No route to host")
    resources = demo.api.cluster.resources.get()
    lost = [each for each in resources if each.get("vmid") == 108]
    assert lost == [
        {"id": "qemu/108", "type": "qemu", "vmid": 108, "node": "pve3", "status": "unknown"}
    ]
    online = {node["name"]: node["online"] for node in demo.api.cluster.status.get()[1:]}
    assert online == {"pve1": 1, "pve2": 1, "pve3": 0}

    demo.cluster.bring_online("pve3")

    assert demo.api.nodes("pve3").qemu.get() != []


def test_the_journal_has_every_request_and_writes_apart(demo: Demo) -> None:
    demo.api.version.get()
    demo.guest(100).config.put(cores=2, delete="description")
    demo.guest(100).agent.exec.post(command=["echo", "a"])

    assert [request.path for request in demo.cluster.requests][:2] == [
        "/version",
        "/nodes/pve1/qemu/100/config",
    ]
    assert demo.cluster.writes == [
        ("PUT", "/nodes/pve1/qemu/100/config", {"cores": "2", "delete": "description"}),
        ("POST", "/nodes/pve1/qemu/100/agent/exec", {"command": ["echo", "a"]}),
    ]


def test_an_intercepted_request_gets_the_tests_answer_and_changes_nothing(demo: Demo) -> None:
    def intercept(request: Request) -> Answer | None:
        if request.method == "GET":
            return None
        if request.path.endswith("stop"):
            raise requests.ReadTimeout("too slow")
        return Answer(596, "Connection timed out")

    demo.cluster.intercept = intercept
    with pytest.raises(ResourceException, match="Connection timed out"):
        demo.guest(100).status.suspend.post()
    with pytest.raises(requests.ReadTimeout):
        demo.guest(100).status.stop.post()

    assert demo.guest(100).status.current.get()["qmpstatus"] == "running"
    assert len(demo.cluster.writes) == 2


def test_many_threads_get_as_many_tasks(demo: Demo) -> None:
    def restore(vmid: int) -> Any:
        return demo.api.nodes("pve1").qemu.post(vmid=vmid, name=f"vm-{vmid}")

    with ThreadPoolExecutor(16) as pool:
        upids = set(pool.map(restore, range(300, 400)))

    assert len(upids) == 100
    assert len(demo.cluster.center.guests) == 112


def test_speed_shortens_every_duration() -> None:
    demo = Demo(speed=100.0)
    upid = demo.guest(104).status.shutdown.post()
    demo.wait(0.1)

    assert demo.status(upid)["exitstatus"] == "OK"


def test_requests_that_no_handler_sees_are_refused_by_the_transport(demo: Demo) -> None:
    headers = lab.headers("demo")
    path = "/api2/json/nodes/pve1/qemu/100/agent/exec"
    assert demo.cluster.receive("GET", path, headers, b"a=1").reason == (
        "Unexpected content for method 'GET'"
    )
    huge = b"input-data=" + b"x" * 512 * 1024
    assert demo.cluster.receive("POST", path, headers, huge).reason == "for data too large"
    assert demo.cluster.receive("GET", "/index.html", headers).status == 404


def test_a_parameter_of_the_path_cannot_be_given_again(demo: Demo) -> None:
    answer = demo.cluster.handle(lab.request("GET", "/nodes/pve1/qemu/100/config", ("vmid", "104")))

    assert lab.content(answer)["errors"] == {"vmid": "duplicate parameter (already defined in URI)"}


def test_time_starts_where_the_clock_says(demo: Demo) -> None:
    assert demo.api.nodes("pve2").tasks.get(source="active")[0]["starttime"] == int(NOW)


def test_a_json_body_is_read_as_the_form_would_be(demo: Demo) -> None:
    headers = lab.headers("demo") | {"Content-Type": "application/json"}
    path = "/api2/json/nodes/pve1/qemu/100"
    body = b'{"command": ["echo", "a b"], "input-data": ""}'
    assert demo.cluster.receive("POST", f"{path}/agent/exec", headers, body).status == 200
    demo.cluster.receive("PUT", f"{path}/config", headers, b'{"onboot": true}')
    assert demo.guest(100).config.get()["onboot"] == 1
    assert demo.cluster.receive("PUT", f"{path}/config", headers, b"{bad").status == 500


def test_localhost_is_the_node_that_answers() -> None:
    demo = Demo(offline={"pve1"})

    assert demo.api.nodes("localhost").lxc.get() == demo.api.nodes("pve2").lxc.get()
    assert demo.api.nodes("localhost").qemu.get() == demo.api.nodes("pve2").qemu.get() != []


def test_a_storage_list_is_narrowed_by_its_filters(demo: Demo) -> None:
    storages = demo.api.nodes("pve1").storage
    assert [each["storage"] for each in storages.get(content="rootdir")] == [
        "local", "local-lvm", "shared-vms",
    ]  # fmt: skip
    assert [each["storage"] for each in storages.get(storage="pbs")] == ["pbs"]
    assert [each["storage"] for each in demo.api.storage.get(type="nfs")] == [
        "shared-vms",
        "backup-storage",
    ]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def test_the_simulator_needs_the_standard_library_and_requests_in_one_place() -> None:
    folder = Path(simulator.__file__).parent
    foreign = {
        (path.name, name)
        for path in folder.rglob("*.py")
        for name in _imports(path)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and not name.startswith("proxmox_mcp.simulator")
    }

    assert foreign == {
        ("adapter.py", "requests"),
        ("adapter.py", "requests.adapters"),
        ("adapter.py", "requests.structures"),
    }
