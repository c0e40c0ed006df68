"""What requests raises when no answer comes, and whether the request had left by then.

The difference decides everything: what never left may be sent again, what may have arrived must
not be (unless it was a GET). Only these are certain never to have left: a name that does not
resolve, a connection that was not made, and a certificate that was not believed, since each of
them fails before the first byte of the request. Everything else is taken as sent.
"""

import socket
import ssl
from collections.abc import Iterator

import requests
from urllib3 import exceptions as urllib3

from proxmox_mcp.pve import tls
from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.errors import ProxmoxError, Unreachable, Untrusted
from proxmox_mcp.pve.meanings import lost, where

PROXY_HINT = (
    " A proxy from the environment (HTTPS_PROXY) was asked; if the cluster is reached without one,"
    " add its host to NO_PROXY."
)


def unanswered(
    exc: requests.RequestException, connection: Connection, *, method: str, path: str
) -> ProxmoxError:
    """Translate the lack of an answer into what it means for the call."""
    error = _unanswered(exc, connection, method=method, path=path)
    error.silent = not isinstance(error, Untrusted)
    return error


def _unanswered(
    exc: requests.RequestException, connection: Connection, *, method: str, path: str
) -> ProxmoxError:
    causes = list(_causes(exc))
    if any(_certificate(cause) for cause in causes):
        reason = next(
            (c.verify_message for c in causes if isinstance(c, ssl.SSLCertVerificationError)), ""
        )
        return tls.untrusted(connection, reason or "not the pinned one")
    address = connection.address
    hint = PROXY_HINT if any(isinstance(c, urllib3.ProxyError) for c in causes) else ""
    for cause in causes:
        match cause:
            case urllib3.NameResolutionError() | socket.gaierror():
                return Unreachable(
                    f"The name of {address} does not resolve; check host in the settings and the"
                    f" network of this machine. Nothing was sent.{hint}"
                )
            case urllib3.NewConnectionError() | ConnectionRefusedError():
                return Unreachable(
                    f"{address} cannot be reached ({_plain(cause)}). Check host and port, that the"
                    f" node is up, and that nothing in between blocks it. Nothing was sent.{hint}"
                )
            case urllib3.ConnectTimeoutError():
                return Unreachable(
                    f"{address} did not accept a connection within"
                    f" {connection.connect_timeout:g} s: the node is down or cut off. Nothing was"
                    f" sent.{hint}"
                )
            case urllib3.ReadTimeoutError() | requests.ReadTimeout():
                said = f"{where(path)}: {address} gave no answer within {connection.timeout:g} s"
                return lost(said, method=method, queued=True)
    return lost(
        f"{where(path)}: the connection to {address} broke before the answer came", method=method
    )


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """Walk down what requests wrapped: causes, contexts and the reasons inside urllib3's errors."""
    seen: set[int] = set()
    waiting = [exc]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [getattr(one, "reason", None), getattr(one, "original_error", None)]
        waiting += [*one.args, one.__cause__, one.__context__]


def _certificate(cause: BaseException) -> bool:
    return isinstance(cause, ssl.SSLCertVerificationError) or (
        isinstance(cause, urllib3.SSLError) and "ingerprint" in str(cause)
    )


def _plain(cause: BaseException) -> str:
    """Return the system's words for a failed connection, without Python's object addresses."""
    words = str(cause).rpartition("]")[2] or str(cause).rpartition(":")[2]
    return words.strip(" :") or "no connection"
