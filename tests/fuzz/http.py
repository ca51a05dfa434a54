"""Harnesses for the parsers of HTTP requests."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from tests.fuzz.protocol import read_as_clients_do

from synkora.engine.addresses import TrustedProxies, parse_address, parse_network, rate_limit_key
from synkora.engine.handshake import HandshakeRefused, check
from synkora.engine.origins import Origins, normalized, refused_origin
from synkora.engine.request import Headers, Request
from synkora.engine.settings import EngineSettings

_ORIGINS: Final = Origins(("https://app.example.com", "https://*.example.net"))
_SETTINGS: Final = EngineSettings(origins=_ORIGINS)
_PROXIES: Final = TrustedProxies(("127.0.0.1", "10.0.0.0/8", "2001:db8::/32", "unix"))


def request(data: bytes) -> None:
    """A request, its query and then its header lines, is accepted, or refused with an answer."""
    query, *lines = data.split(b"\n")
    pairs = [(name.lower(), value) for name, _, value in (line.partition(b":") for line in lines)]
    # As much as an HTTP parser lets through.
    headers = Headers((name, value.replace(b"\r", b"")) for name, value in pairs if name.isalnum() or b"-" in name)
    asked = _asked(query.decode("latin-1"), headers)
    list(headers)
    for websocket in (False, True):
        refusal = _check(asked, websocket=websocket)
        if refusal is not None:
            assert refusal.status in (400, 403)
            read_as_clients_do(refusal.body)
        else:
            assert asked.origin is None or _ORIGINS.allows(asked)


def _check(asked: Request, *, websocket: bool) -> HandshakeRefused | None:
    try:
        check(asked, _SETTINGS, lambda _: None, websocket=websocket)
    except HandshakeRefused as refusal:
        return refusal
    return None


def origins(data: bytes) -> None:
    """Only listed origins are trusted, and after the first line feed the host's own."""
    origin, _, host = data.partition(b"\n")
    headers = [(b"origin", origin.replace(b"\r", b" "))]
    asked = _asked("", Headers([*headers, (b"host", host.replace(b"\n", b" "))]))
    _ORIGINS.allows(asked)
    _ORIGINS.refusal(asked.origin or "").encode("latin-1")
    refused_origin(asked)
    asked = _asked("", Headers(headers))
    if _ORIGINS.trusts(asked):
        parts = urlsplit(asked.origin or "")
        assert parts.scheme.lower() in ("https", "wss")
        assert parts.port in (None, 443)
        name = (parts.hostname or "").lower()
        assert name == "app.example.com" or name.endswith(".example.net"), name
        assert normalized(asked.origin or "") == f"https://{name}"


def _asked(query: str, headers: Headers) -> Request:
    return Request("GET", "/socket.io/", query, headers, "192.0.2.1", False)


def addresses(data: bytes) -> None:
    """An address comes from a proxy's header or is the peer's. The peer, in the first line, decides."""
    peer, *forwarded = data.decode("latin-1").split("\n")
    headers = Headers(
        (name, line.encode("latin-1")) for line in forwarded for name in (b"x-forwarded-for", b"x-forwarded-proto")
    )
    address = _PROXIES.address(peer, headers)
    trusted = _PROXIES.trusts(peer)
    if trusted and address != peer:
        ip_address(address)
    elif not trusted:
        parsed = parse_address(peer)
        assert address == peer or address == str(parsed), "an address was forged"
        assert not _PROXIES.secure(peer, headers, over_tls=False), "TLS was forged"
    _PROXIES.secure(peer, headers, over_tls=True)
    for name in (peer, address, *forwarded[:5]):
        rate_limit_key(name)
        try:
            parse_network(name)
        except ValueError:
            pass
