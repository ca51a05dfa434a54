"""The HTTP request of a WebSocket handshake."""

import asyncio
import base64
import binascii
import re
from typing import Final, NamedTuple
from urllib.parse import unquote

import httptools

from synkora.engine.addresses import TrustedProxies
from synkora.engine.request import Headers, Request

_KEY_SIZE: Final = 16  # bytes
_MOST_OFFERS: Final = 100  # subprotocols of a client
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2


class Peer(NamedTuple):
    """The other end of a connection: its address, empty for a Unix socket, and whether the connection is TLS."""

    address: str
    over_tls: bool


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Return a connection's peer."""
    name = transport.get_extra_info("peername")
    over_tls = transport.get_extra_info("ssl_object") is not None
    return Peer(str(name[0]) if isinstance(name, tuple) else "", over_tls)


def parse(data: bytes, peer: Peer, proxies: TrustedProxies) -> Request:
    """Return the request that uvicorn passes: validated, with header names in lower case."""
    first, *lines = data.rstrip(b"\r\n").split(b"\r\n")
    method, target, _ = first.split(b" ", 2)
    path, query = split_target(target)
    headers = Headers((name, value) for name, _, value in (line.partition(b": ") for line in lines))
    return Request(
        method=method.decode(),
        path=path,
        query_string=query,
        headers=headers,
        address=proxies.address(peer.address, headers),
        secure=proxies.secure(peer.address, headers, over_tls=peer.over_tls),
        is_proxied=proxies.trusts(peer.address),
    )


def split_target(target: bytes) -> tuple[str, str]:
    """Return the decoded path and the query of a request target, as uvicorn does for HTTP requests.

    A target may begin with scheme and host (RFC 9112 section 3.2.2). Both results are empty for an invalid target.
    """
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        return "", ""
    return unquote((url.path or b"").decode()), (url.query or b"").decode("latin-1")


def subprotocol(offers: str | None) -> str | None:
    """Return the first valid subprotocol that a client offers, as `ws` for Node.js does; None without one.

    A client that offers subprotocols closes a WebSocket without one of them (RFC 6455 section 4.1). Names may be long,
    some clients have a token there, but very many are not read.
    """
    names = (name.strip() for name in (offers or "").split(",", _MOST_OFFERS))
    return next(filter(_TOKEN.fullmatch, names), None)


def is_key(text: str) -> bool:
    """Whether the text is a valid `Sec-WebSocket-Key` (RFC 6455 section 4.2.1)."""
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_SIZE
    except (binascii.Error, ValueError):
        return False
