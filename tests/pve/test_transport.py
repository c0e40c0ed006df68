"""No answer came: what may have arrived and what certainly never left, over real sockets."""

import socket
import ssl
from functools import partial
from typing import Any

import pytest
import requests
from anyio import to_thread
from pytest_mock import MockerFixture
from urllib3 import exceptions as urllib3

from proxmox_mcp.pve.bridge import Bridge
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.errors import OutcomeUnknown, ProxmoxError, Unreachable
from proxmox_mcp.pve.transport import PROXY_HINT, unanswered
from tests.pve import listeners
from tests.pve.scripted import SECRET, TOKEN

LOCAL = TOKEN | {"host": "127.0.0.1", "connect_timeout": 5.0, "timeout": 5.0}


async def ask(method: str = "GET", **settings: Any) -> ProxmoxError:
    """Ask for the start of a guest over real HTTPS and return what went wrong."""
    # A setting that names a file is looked up, which no event loop may do.
    bridge = Bridge(await to_thread.run_sync(partial(Connection, **LOCAL | settings)))
    api = await bridge.open()
    with pytest.raises(ProxmoxError) as caught:
        await bridge.call(getattr(api.nodes("pve1").qemu(105).status.start, method.lower()))
    return caught.value


def certain_not_to_have_left(error: ProxmoxError) -> bool:
    return type(error) is Unreachable and error.transient and not error.left


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_connection_sent_nothing(method: str, closed_port: int) -> None:
    error = await ask(method, port=closed_port)

    assert certain_not_to_have_left(error)
    assert f"127.0.0.1:{closed_port} cannot be reached (Connection refused)" in str(error)
    assert "Check host and port" in str(error)
    assert "Nothing was sent." in str(error)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_name_that_does_not_resolve_sent_nothing(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)

    error = await ask(method, host="pve.example.com")

    assert certain_not_to_have_left(error)
    assert "The name of pve.example.com:8006 does not resolve; check host" in str(error)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_connection_that_is_not_accepted_in_time_sent_nothing(
    method: str, mocker: MockerFixture
) -> None:
    mocker.patch("urllib3.util.connection.create_connection", side_effect=TimeoutError("timed out"))

    error = await ask(method, connect_timeout=2.5)

    assert certain_not_to_have_left(error)
    assert "did not accept a connection within 2.5 s" in str(error)


BREAKS = {
    "reset before the answer": listeners.reset,
    "closed before the answer": listeners.say_goodbye,
    "half an answer": listeners.answer_half,
    "half a status line": listeners.answer_headers_only,
}


@pytest.mark.parametrize("breaking", BREAKS)
async def test_a_read_whose_answer_broke_off_changed_nothing_and_may_be_repeated(
    breaking: str, server_side: ssl.SSLContext, authority_file: str
) -> None:
    with listeners.tls_server(server_side, BREAKS[breaking]) as server:
        error = await ask("GET", port=server.port, verify_ssl=authority_file)

    assert type(error) is Unreachable
    assert error.transient
    assert error.left
    assert f"VM 105 on pve1: the connection to 127.0.0.1:{server.port} broke" in str(error)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("breaking", BREAKS)
async def test_a_change_whose_answer_broke_off_may_have_happened_and_was_sent_once(
    breaking: str, method: str, server_side: ssl.SSLContext, authority_file: str
) -> None:
    with listeners.tls_server(server_side, BREAKS[breaking]) as server:
        error = await ask(method, port=server.port, verify_ssl=authority_file)

    assert type(error) is OutcomeUnknown
    assert "it may have happened" in str(error)
    assert [request.split(b" ")[0].decode() for request in server.requests] == [method]


@pytest.mark.parametrize(("method", "kind"), [("GET", Unreachable), ("POST", OutcomeUnknown)])
async def test_silence_ends_when_the_timeout_is_over(
    method: str, kind: type[ProxmoxError], server_side: ssl.SSLContext, authority_file: str
) -> None:
    with listeners.tls_server(server_side, listeners.fall_silent) as server:
        error = await ask(method, port=server.port, verify_ssl=authority_file, timeout=0.15)

    assert type(error) is kind
    assert f"127.0.0.1:{server.port} gave no answer within 0.15 s" in str(error)
    assert len(server.requests) == 1


async def test_a_port_that_does_not_speak_tls_gives_no_answer() -> None:
    with listeners.plain_server() as port:
        error = await ask("GET", port=port)

    assert type(error) is Unreachable
    assert f"the connection to 127.0.0.1:{port} broke" in str(error)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_proxy_that_refuses_is_named_with_the_way_around_it(
    method: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port}")

    error = await ask(method, host="pve.example.com")

    assert certain_not_to_have_left(error)
    assert PROXY_HINT in str(error)
    assert "add its host to NO_PROXY" in str(error)


def connected(**settings: Any) -> Connection:
    return Connection(**TOKEN | settings)


def pooled(reason: Exception) -> requests.ConnectionError:
    """Wrap a failure as urllib3 and requests do."""
    pool: Any = None
    return requests.ConnectionError(urllib3.MaxRetryError(pool, "/api2/json", reason))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (urllib3.ConnectTimeoutError(None, "timed out"), "did not accept a connection within 5 s"),
        (ConnectionRefusedError(111, "Connection refused"), "cannot be reached"),
        (socket.gaierror(-2, "Name or service not known"), "does not resolve"),
    ],
    ids=["connect timeout", "refused", "unknown name"],
)
def test_what_failed_before_the_first_byte_never_left(
    failure: Exception, words: str, method: str
) -> None:
    error = unanswered(pooled(failure), connected(), method=method, path="/version")

    assert certain_not_to_have_left(error)
    assert words in str(error)


@pytest.mark.parametrize(
    "failure",
    [
        urllib3.ProtocolError("Connection aborted.", ConnectionResetError(104, "reset by peer")),
        urllib3.IncompleteRead(10, 90),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        BrokenPipeError(32, "Broken pipe"),
        OSError("something nobody thought of"),
    ],
    ids=["reset", "incomplete", "tls end", "broken pipe", "unknown"],
)
def test_everything_else_is_taken_as_sent(failure: Exception) -> None:
    reading = unanswered(pooled(failure), connected(), method="GET", path="/version")
    writing = unanswered(pooled(failure), connected(), method="POST", path="/version")

    assert isinstance(reading, Unreachable)
    assert reading.left
    assert isinstance(writing, OutcomeUnknown)


def test_errors_that_name_each_other_in_a_circle_are_walked_once() -> None:
    first, second = requests.ConnectionError("a"), OSError("b")
    first.__cause__, second.__cause__ = second, first

    error = unanswered(first, connected(), method="GET", path="/version")

    assert isinstance(error, Unreachable)


async def test_no_message_of_a_failed_connection_holds_the_token(
    closed_port: int, server_side: ssl.SSLContext, authority_file: str
) -> None:
    messages = [str(await ask("POST", port=closed_port))]
    for breaking in BREAKS.values():
        with listeners.tls_server(server_side, breaking) as server:
            messages.append(str(await ask(port=server.port, verify_ssl=authority_file)))

    assert [message for message in messages if SECRET in message] == []
