"""Which requests come from the machine that the server runs on."""

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

from synkora.engine.addresses import parse_address
from synkora.engine.origins import Origins

# What proxies add. A proxy on this machine has a local address, whoever it asks for.
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def is_local(request: Request) -> bool:
    """Whether a request was made by a page of this server's, or by a program, on this machine.

    A page of another site can have its own name resolve to this machine, and so be of the same origin as this server:
    addresses and localhost are the names that nobody else can have.
    """
    return (
        _comes_from_here(request)
        and not any(name in request.headers for name in _FORWARDED)
        and _is_local_name(request.headers.get("host", ""))
        and is_of_same_origin(request)
    )


def is_of_same_origin(request: Request) -> bool:
    """Whether a request was made by a page of this server's, or by no page at all."""
    origin = request.headers.get("origin")
    return origin is None or Origins.is_same(origin, request.headers.get("host"))


def _comes_from_here(request: Request) -> bool:
    if request.client is None:
        return False
    peer = parse_address(request.client.host)
    own = parse_address(request.scope["server"][0])
    return peer is not None and (peer.is_loopback or peer == own)


def _is_local_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or parse_address(name) is not None
