"""The simulated cluster behind a real socket of this machine, for curl and for tests of the wire.

Keep-alive as the real one does it: idle connections end after five seconds, and every answer
from 400 on closes its connection.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from proxmox_mcp.simulator.cluster import Cluster
from proxmox_mcp.simulator.wire import Answer

IDLE = 5
POLL = 0.05  # how soon a stopped server notices


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "pve-api-daemon/3.0"
    sys_version = ""
    disable_nagle_algorithm = True  # header and body in two packets would wait for an ACK
    wbufsize = -1
    timeout = IDLE
    server: _Server

    def _answer(self) -> None:
        if "Transfer-Encoding" in self.headers:
            self._send(Answer(501, "chunked transfer encoding not supported"))
            return
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        headers = dict(self.headers.items())
        answer = self.server.cluster.receive(self.command, self.path, headers, body)
        self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer  # noqa: N815 - names of http.server

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status, answer.reason)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.status >= 400:  # noqa: PLR2004 - errors close the connection
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Tell the cluster's own time, by which its tasks are dated."""
        now = self.server.cluster.center.now
        return super().date_time_string(now if timestamp is None else timestamp)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of http.server
        """Stay silent: the journal of the cluster has it all."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, cluster: Cluster, port: int, context: ssl.SSLContext | None) -> None:
        self.cluster = cluster
        self._context = context
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; the handshake is left to the connection's own thread, which may be slow."""
        connection, address = super().get_request()
        if self._context:
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close one connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""

    def hang_up(self) -> None:
        """Close whatever is still open, so that nobody waits for an answer that will not come."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # it has gone by itself
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


class LoopbackServer:
    """Serves a cluster on 127.0.0.1 while it is entered; HTTPS when it is given a certificate."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        certfile: str | None = None,
        keyfile: str | None = None,
        port: int = 0,
    ) -> None:
        context = None
        if certfile:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certfile, keyfile)
        self._server = _Server(cluster, port, context)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL,), name="simulator", daemon=True
        )
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
