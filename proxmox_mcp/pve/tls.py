"""Which certificates are believed, and what an unknown one looks like.

A certificate is believed when the system's (or the named) authorities signed it, or when its
SHA-256 fingerprint is the pinned one. A pin replaces the chain: Proxmox makes self-signed
certificates, and knowing the one certificate is stronger than trusting an authority.
"""

import hashlib
import logging
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any

from requests.adapters import HTTPAdapter

from proxmox_mcp.pve.connection import Connection
from proxmox_mcp.pve.errors import Untrusted

log = logging.getLogger(__name__)


class PinnedAdapter(HTTPAdapter):
    """The transport under proxmoxer: no hidden retries, and the pinned certificate where one is.

    A usual ``Retry`` sends PUT and DELETE again after a reset, which would carry out a change
    twice; requests' own default of 0 is stated here so that nobody raises it by accident.
    """

    def __init__(self, fingerprint: str | None, pool: int) -> None:
        self._fingerprint = fingerprint
        super().__init__(pool_connections=2, pool_maxsize=pool, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Hand the pin down to urllib3, which compares it after each handshake."""
        super().init_poolmanager(*args, assert_fingerprint=self._fingerprint, **kwargs)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Hand it down for tunnels through a proxy also: their connections are kept apart."""
        return super().proxy_manager_for(*args, assert_fingerprint=self._fingerprint, **kwargs)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as a host shows it."""

    der: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Its SHA-256, as Proxmox's web interface writes it."""
        digest = hashlib.sha256(self.der).hexdigest().upper()
        return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))

    @property
    def ends(self) -> float:
        """When it stops being valid, in seconds since 1970."""
        from cryptography import x509  # noqa: PLC0415 - nothing else needs it, and it is large

        return x509.load_der_x509_certificate(self.der).not_valid_after_utc.timestamp()


def shown_certificate(host: str, port: int, timeout: float) -> Certificate | None:
    """Ask a host which certificate it shows, believing nothing.

    Returns None where the host does not even get that far. Nothing is sent to it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host.strip("[]"), port), timeout=timeout) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")) as secure,
        ):
            certificate = secure.getpeercert(binary_form=True)
    except OSError:
        return None
    return Certificate(certificate) if certificate else None


def untrusted(connection: Connection, cause: str) -> Untrusted:
    """Explain a certificate that was not believed: what is shown, and the line that accepts it."""
    certificate = shown_certificate(connection.host, connection.port, connection.connect_timeout)
    shown = certificate.fingerprint if certificate else None
    log.warning("tls.untrusted", extra={"address": connection.address, "fingerprint": shown})
    if connection.fingerprint:
        return Untrusted(
            f"{connection.address} shows another certificate than the pinned one, so nothing was"
            f" sent. Shown: {shown or 'unknown'}. Pinned: {connection.fingerprint}. If the"
            " certificate was renewed (compare it in the web interface under Node > System >"
            " Certificates), put the shown fingerprint into the setting `fingerprint`; if not,"
            " somebody may be in between."
        )
    line = f' or pin it: fingerprint = "{shown}"' if shown else ""
    return Untrusted(
        f"{connection.address} shows a certificate that this machine does not trust ({cause}), so"
        " nothing was sent. For a self-signed cluster compare it in the web interface under Node >"
        " System > Certificates, then name the cluster's authority in the settings:"
        f' verify_ssl = "/path/to/pve-root-ca.pem",{line}.'
    )
