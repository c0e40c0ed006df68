"""A TCP relay in front of the simulated cluster, which fails on demand, byte by byte.

Rule 1: it knows nothing of TLS or HTTP: what it breaks, it breaks as a network does.
Rule 2: one thread a connection, which alone closes it; only so does a reset leave as a reset.
"""

import contextlib
import select
import socket
import struct
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PATIENCE = 30.0
PIECE = 65_536
HERE = "127.0.0.1"


@dataclass(eq=False)
class _Pair:
    """One connection: the client's side, the cluster's side, and a way to wake its thread."""

    client: socket.socket
    server: socket.socket
    reset: bool = False
    gone: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.woken, self._waker = socket.socketpair()

    def end(self) -> None:
        """Have the connection reset, and wait until it is."""
        self.reset = True
        with contextlib.suppress(OSError):  # it has gone by itself
            self._waker.send(b".")
        self.gone.wait(PATIENCE)

    def close(self) -> None:
        """Close both sides; towards the client with a reset where one was asked for."""
        if self.reset:
            linger = struct.pack("ii", 1, 0)
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        for each in (self.client, self.server, self.woken, self._waker):
            each.close()
        self.gone.set()


class Gate:
    """The address that the server is given; the cluster is behind it.

    Attributes:
        port: Where it listens.
        upstream: The port of the cluster.
        accepted: How many connections were made.
        cut_next_request: The next bytes of a client are answered with a reset.
        left: So many bytes of answers still pass, then the connection ends; None for no limit.
    """

    def __init__(self) -> None:
        self.upstream = 0
        self.accepted = 0
        self.cut_next_request = False
        self.left: int | None = None
        self._pairs: set[_Pair] = set()
        self._listener = _bound(0)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._unhinge()
        self.cut()

    def open(self) -> None:
        """Accept connections."""
        listener = self._listener
        listener.listen()
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def shut(self) -> None:
        """Refuse connections and reset those there are; the port stays ours."""
        self._unhinge()
        self._listener = _bound(self.port)
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for pair in list(self._pairs):
            pair.end()

    def _unhinge(self) -> None:
        with contextlib.suppress(OSError):  # it was not listening
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = listener.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((HERE, self.upstream), timeout=PATIENCE)
        except OSError:
            client.close()
            return
        pair = _Pair(client, server)
        self._pairs.add(pair)
        with contextlib.suppress(OSError):  # either side may go at any time
            self._relay(pair)
        self._pairs.discard(pair)
        pair.close()

    def _relay(self, pair: _Pair) -> None:
        going = True
        while going:
            ends = [pair.client, pair.server, pair.woken]
            ready, _, _ = select.select(ends, [], [], PATIENCE)
            going = bool(ready) and pair.woken not in ready
            if going and pair.client in ready:
                going = self._pass_request(pair)
            if going and pair.server in ready:
                going = self._pass_answer(pair)

    def _pass_request(self, pair: _Pair) -> bool:
        data = pair.client.recv(PIECE)
        if data and self.cut_next_request:
            self.cut_next_request, pair.reset = False, True
            return False
        pair.server.sendall(data)
        return bool(data)

    def _pass_answer(self, pair: _Pair) -> bool:
        data = pair.server.recv(PIECE)
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        pair.client.sendall(data)
        if self.left == 0:
            self.left = None
            return False
        return bool(data)


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HERE, port))
    return listener
