"""The request that opens a WebSocket, as uvicorn hands it over."""

import asyncio
import base64
import binascii
from typing import Final

from synkora.engine.addresses import TrustedProxies
from synkora.engine.request import Headers, Request

_KEY_SIZE: Final = 16  # bytes


def parse(data: bytes, transport: asyncio.Transport, proxies: TrustedProxies) -> Request:
    """The request, as uvicorn hands it over: checked, its header names in lower case."""
    first, *lines = data.rstrip(b"\r\n").split(b"\r\n")
    method, target, _ = first.decode("latin-1").split(" ", 2)
    path, _, query = target.partition("?")
    peername = transport.get_extra_info("peername")
    peer = peername[0] if isinstance(peername, tuple) else ""
    headers = Headers((name, value) for name, _, value in (line.partition(b": ") for line in lines))
    return Request(
        method=method,
        path=path,
        query_string=query,
        headers=headers,
        address=proxies.address(peer, headers),
        secure=proxies.secure(peer, headers, over_tls=transport.get_extra_info("ssl_object") is not None),
        is_proxied=proxies.trusts(peer),
    )


def is_key(text: str) -> bool:
    """Whether it is a `Sec-WebSocket-Key` (RFC 6455 section 4.2.1)."""
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_SIZE
    except (binascii.Error, ValueError):
        return False
