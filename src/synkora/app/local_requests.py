"""Recognises requests from this machine and from this server's own pages."""

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from synkora.engine import request as engine
from synkora.engine.addresses import parse_address
from synkora.engine.origins import is_same_origin
from synkora.engine.request import Headers

# Headers that proxies add, besides those that begin with x-forwarded. A proxy on this machine has a local address also
# for remote clients; a proxy that adds no header often uses HTTP/1.0.
_FORWARDED: Final = (
    "cf-connecting-ip",
    "forwarded",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-original-host",
    "x-real-ip",
)


def is_local(request: Request) -> bool:
    """Whether a request is from a page of this server or from a program, on this machine.

    Another site's host name could resolve to this machine (DNS rebinding), and then have this server's origin. So only
    addresses and localhost count: no other site can use them as its name.
    """
    return (
        _comes_from_here(request)
        and not _is_forwarded(request)
        and _is_local_name(request.headers.get("host", ""))
        and is_of_same_origin(request)
    )


def is_of_same_origin(request: Request, *, secure: bool | None = None, is_proxied: bool = False) -> bool:
    """Whether a request is from a page of this server, or from no page; `secure` says whether it used TLS.

    Browsers send `Sec-Fetch-Site` (W3C Fetch Metadata, section 2.3) even without an origin. `is_proxied`: a trusted
    proxy sent the request.
    """
    if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return False
    if secure is None:
        secure = request.url.scheme == "https"
    headers = Headers(request.scope["headers"])
    asked = engine.Request(request.method, request.url.path, "", headers, "", secure, is_proxied)
    return asked.origin is None or is_same_origin(asked)


def _comes_from_here(request: Request) -> bool:
    if request.client is None:
        return False
    peer = parse_address(request.client.host)
    own = parse_address(request.scope["server"][0])
    return peer is not None and (peer.is_loopback or peer == own)


def _is_forwarded(request: Request) -> bool:
    return request.scope["http_version"] < "1.1" or any(
        name in _FORWARDED or name.startswith("x-forwarded") for name in request.headers
    )


def _is_local_name(host: str) -> bool:
    try:
        url = urlsplit(f"//{host}")
    except ValueError:
        return False
    if url.netloc != host or "@" in host:  # such as a path: Host holds only a name and a port
        return False
    name = url.hostname or ""
    return name == "localhost" or name.endswith(".localhost") or parse_address(name) is not None
