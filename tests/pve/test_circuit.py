"""A cluster that does not answer is not asked again and again, and is found again by one probe."""

import anyio
import pytest
from requests import ConnectTimeout
from urllib3.exceptions import ConnectTimeoutError

from proxmox_mcp.pve.bridge import Bridge
from proxmox_mcp.pve.circuit import FIRST_SECONDS, LONGEST_SECONDS, SILENCES, Circuit
from proxmox_mcp.pve.connection import Connection, Limits
from proxmox_mcp.pve.errors import Refused, Unreachable
from proxmox_mcp.pve.guard import Cluster, Pve, guarded
from tests.pve.scripted import LOST, TOKEN, Reply, Wire, data, refused


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Circuit:
    circuit = Circuit(clock)
    for _ in range(SILENCES):
        assert circuit.refusal() is None
        circuit.silent()
    return circuit


def test_a_few_silences_open_it_and_it_says_since_when_and_until_when() -> None:
    clock = Clock()
    circuit = opened(clock)
    clock.now += 2

    assert circuit.refusal() == "has not answered for 2 s and is tried again in 3 s"


def test_an_answer_between_silences_keeps_it_closed() -> None:
    circuit = Circuit(Clock())
    for _ in range(5):
        circuit.silent()
        circuit.silent()
        circuit.answered()

    assert circuit.refusal() is None


def test_one_probe_passes_when_the_pause_is_over_and_no_other_beside_it() -> None:
    clock = Clock()
    circuit = opened(clock)
    clock.now += FIRST_SECONDS

    assert circuit.refusal() is None
    assert "is being tried now" in str(circuit.refusal())


def test_a_probe_that_is_answered_closes_it() -> None:
    clock = Clock()
    circuit = opened(clock)
    clock.now += FIRST_SECONDS
    circuit.refusal()
    circuit.answered()

    assert circuit.refusal() is None


def test_a_probe_that_was_never_sent_lets_another_pass() -> None:
    clock = Clock()
    circuit = opened(clock)
    clock.now += FIRST_SECONDS
    circuit.refusal()
    circuit.unasked()

    assert circuit.refusal() is None


def test_each_silent_probe_doubles_the_pause_up_to_a_bound() -> None:
    clock = Clock()
    circuit = opened(clock)
    pauses = []
    for _ in range(6):
        pause = 0.0
        while circuit.refusal() is not None:
            clock.now += 1
            pause += 1
        pauses.append(pause)
        circuit.silent()

    assert pauses == [5, 10, 20, 40, LONGEST_SECONDS, LONGEST_SECONDS]


async def test_calls_to_a_silent_cluster_fail_at_once_without_a_request() -> None:
    wire, clock = Wire(LOST), Clock()
    bridge = Bridge(Connection(**TOKEN), adapter=wire, circuit=Circuit(clock))
    api = await bridge.open()
    for _ in range(SILENCES):
        with pytest.raises(Unreachable):
            await bridge.call(api.version.get)

    with pytest.raises(Unreachable, match="has not answered for 0 s and is tried again in 5 s"):
        await bridge.call(api.version.get)

    assert len(wire.sent) == SILENCES
    clock.now += FIRST_SECONDS
    with pytest.raises(Unreachable, match="broke before the answer came"):
        await bridge.call(api.version.get)
    assert len(wire.sent) == SILENCES + 1


async def test_a_refusal_is_an_answer_and_keeps_the_circuit_closed() -> None:
    wire = Wire(LOST, LOST, refused(500, "no"), LOST, LOST, data(1))
    bridge = Bridge(Connection(**TOKEN), adapter=wire, circuit=Circuit(Clock()))
    api = await bridge.open()
    for expected in (Unreachable, Unreachable, Refused, Unreachable, Unreachable):
        with pytest.raises(expected):
            await bridge.call(api.version.get)

    assert await bridge.call(api.version.get) == 1


# --- several hosts of one cluster ------------------------------------------------------------


def several(wire: Wire) -> Pve:
    connection = Connection(**TOKEN, hosts=["pve2.example.com", "pve3.example.com:8007"])
    return Pve(Cluster(Bridge(connection, adapter=wire), Limits(retry_delay=0)))


def hosts(wire: Wire) -> list[str]:
    return [str(sent.url).split("/")[2] for sent in wire.sent]


@guarded
async def version(pve: Pve) -> object:
    return await pve.send(pve.version.get)


@guarded
async def start(pve: Pve) -> object:
    return await pve.send(pve.nodes("pve1").qemu(100).status.start.post)


async def test_a_read_fails_over_to_the_next_host_and_stays_there() -> None:
    wire = Wire(LOST, LOST, data("9.0"))
    pve = several(wire)

    assert await version(pve) == "9.0"
    assert await version(pve) == "9.0"
    assert hosts(wire) == [
        "pve.example.com:8006",
        "pve2.example.com:8006",
        "pve3.example.com:8007",
        "pve3.example.com:8007",
    ]


async def test_a_write_whose_answer_was_lost_is_sent_to_no_other_host() -> None:
    wire = Wire(LOST, data("UPID"))

    with pytest.raises(Exception, match="may have happened"):
        await start(several(wire))

    assert hosts(wire) == ["pve.example.com:8006"]


async def test_a_write_that_never_left_goes_to_the_next_host() -> None:
    wire = Wire(ConnectTimeout(ConnectTimeoutError(None, "url", "slow")), data("UPID"))

    assert await start(several(wire)) == "UPID"
    assert hosts(wire) == ["pve.example.com:8006", "pve2.example.com:8006"]


async def test_a_node_that_is_down_behind_a_host_that_answers_is_no_reason_to_change_hosts() -> (
    None
):
    wire = Wire(Reply(595, "No route to host", b""))

    for _ in range(2):
        with pytest.raises(Unreachable):
            await start(several(wire))

    assert set(hosts(wire)) == {"pve.example.com:8006"}


async def test_calls_that_fail_together_move_on_by_one_host() -> None:
    wire = Wire(LOST, LOST, data("9.0"))
    pve = several(wire)
    await pve.open()
    verb = pve.version.get
    for _ in range(2):
        with pytest.raises(Unreachable):
            await pve.cluster.bridge.call(verb)

    assert "pve2.example.com" in str(pve.version._store["base_url"])
    with anyio.fail_after(5):
        assert await version(pve) == "9.0"
