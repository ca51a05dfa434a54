"""The request that opens a WebSocket, as uvicorn hands it over."""

import asyncio
import base64
import binascii
import re
from typing import Final
from urllib.parse import unquote

import httptools

from synkora.engine.addresses import TrustedProxies
from synkora.engine.request import Headers, Request

_KEY_SIZE: Final = 16  # bytes
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2


def parse(data: bytes, transport: asyncio.Transport, proxies: TrustedProxies) -> Request:
    """The request, as uvicorn hands it over: checked, its header names in lower case."""
    first, *lines = data.rstrip(b"\r\n").split(b"\r\n")
    method, target, _ = first.split(b" ", 2)
    path, query = split_target(target)
    peername = transport.get_extra_info("peername")
    peer = peername[0] if isinstance(peername, tuple) else ""
    headers = Headers((name, value) for name, _, value in (line.partition(b": ") for line in lines))
    return Request(
        method=method.decode(),
        path=path,
        query_string=query,
        headers=headers,
        address=proxies.address(peer, headers),
        secure=proxies.secure(peer, headers, over_tls=transport.get_extra_info("ssl_object") is not None),
        is_proxied=proxies.trusts(peer),
    )


def split_target(target: bytes) -> tuple[str, str]:
    """The path, decoded, and the query of a request's target, as uvicorn has them for requests over HTTP.

    A target may have a scheme and a host in front (RFC 9112 section 3.2.2). Both are empty where it cannot be read.
    """
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError:
        return "", ""
    return unquote((url.path or b"").decode()), (url.query or b"").decode("latin-1")


def subprotocol(offers: str | None) -> str | None:
    """The first of the subprotocols that a client offers, as `ws` for Node.js answers; None where there is none.

    A client that has offered some closes a WebSocket that has none of them (RFC 6455 section 4.1).
    """
    names = (name.strip() for name in (offers or "").split(","))
    return next(filter(_TOKEN.fullmatch, names), None)


def is_key(text: str) -> bool:
    """Whether it is a `Sec-WebSocket-Key` (RFC 6455 section 4.2.1)."""
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_SIZE
    except (binascii.Error, ValueError):
        return False
