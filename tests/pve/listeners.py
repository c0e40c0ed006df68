"""Servers on 127.0.0.1 that behave as badly as a test wants, one connection a thread."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 5.0
"""No server of a test waits longer for anything."""

Behaviour = Callable[[ssl.SSLSocket], None]


class Heard:
    """What reached a server: whole requests, and the targets of tunnels."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[bytes] = []
        self.tunnels: list[str] = []


def read_request(connection: socket.socket) -> bytes:
    """Read headers and as much of a body as they promise."""
    read = b""
    while b"\r\n\r\n" not in read:
        more = connection.recv(4096)
        if not more:
            return read
        read += more
    head, _, body = read.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].partition(b":")[2]) - len(body) if lengths else 0
    return read + (connection.recv(missing) if missing > 0 else b"")


@contextmanager
def tls_server(context: ssl.SSLContext, behave: Behaviour) -> Iterator[Heard]:
    """Read one request from each connection, then do what the test wants."""

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as connection:
            heard.requests.append(read_request(connection))
            behave(connection)

    with _listening(serve) as port:
        heard = Heard(port)
        yield heard


@contextmanager
def proxy() -> Iterator[Heard]:
    """An HTTP proxy that opens tunnels."""

    def serve(client: socket.socket) -> None:
        target = read_request(client).split(b" ")[1].decode()
        heard.tunnels.append(target)
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join(PATIENCE)

    with _listening(serve) as port:
        heard = Heard(port)
        yield heard


@contextmanager
def plain_server() -> Iterator[int]:
    """A server that never heard of TLS."""
    with _listening(lambda one: one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        yield port


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def _listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with connection, contextlib.suppress(OSError):  # the client may go at any time
            serve(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE)


def reset(connection: ssl.SSLSocket) -> None:
    """End a connection with a reset instead of a farewell."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say_goodbye(connection: ssl.SSLSocket) -> None:
    """End a connection in good order, without an answer."""
    with contextlib.suppress(OSError):
        connection.unwrap()


def answer_half(connection: ssl.SSLSocket) -> None:
    """Promise a hundred bytes and send ten."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b'{"data": [')
    say_goodbye(connection)


def answer_headers_only(connection: ssl.SSLSocket) -> None:
    """Stop in the middle of the status line."""
    connection.sendall(b"HTTP/1.")
    say_goodbye(connection)


def fall_silent(connection: ssl.SSLSocket) -> None:
    """Say nothing until the client has gone."""
    with contextlib.suppress(OSError):
        connection.recv(1)


def answer(body: bytes) -> Behaviour:
    """Answer 200 with this body."""

    def behave(connection: ssl.SSLSocket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)
        say_goodbye(connection)

    return behave
