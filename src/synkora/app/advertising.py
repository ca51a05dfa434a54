"""The address at which other instances reach this one: `WS_ADVERTISE`, or its default."""

import hashlib
import socket
import ssl
from pathlib import Path
from typing import Final

from synkora.app.settings import Settings
from synkora.cluster.instance_directory import Announcement

_EVERY_INTERFACE: Final = ("0.0.0.0", "::")  # noqa: S104  # only compared, not listened on
_LOOPBACK: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
#: Addresses for documentation (RFC 5737, RFC 3849). A UDP socket that connects sends nothing; the system chooses its
#: interface.
_ANYWHERE: Final = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}


def announcement(settings: Settings, listening: socket.socket, key: bytes) -> Announcement:
    """Return what the other instances have to know of this one, which listens on `listening`."""
    advertised = settings.advertise
    if "://" in advertised:  # a certificate is checked as usual, by its name
        return Announcement(advertised, key.hex())
    scheme = "http" if settings.ssl_certfile is None else "https"
    place = advertised or _place(listening)
    return Announcement(f"{scheme}://{place}", key.hex(), _fingerprint(settings.ssl_certfile))


def _place(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    if host in _EVERY_INTERFACE:
        host = _own_address(listening.family)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _own_address(family: int) -> str:
    """Return this machine's address in its network; the loopback address if it has none."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANYWHERE[socket.AddressFamily(family)])
        except OSError:
            return _LOOPBACK[socket.AddressFamily(family)]
        return str(probe.getsockname()[0])


def _fingerprint(certfile: Path | None) -> str:
    """Return the SHA-256 of a server's certificate, the first in its file."""
    if certfile is None:
        return ""
    text = certfile.read_text("ascii", "replace")
    end = text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[text.index(ssl.PEM_HEADER) : end])).hexdigest()
