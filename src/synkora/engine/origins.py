"""The web pages from which browsers may connect, and whose requests' cookies count."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from synkora.engine.request import Request

#: Origins that any page can have: of a file or a sandboxed frame. Cookies of these pages are not trusted.
OPAQUE_ORIGINS: Final = frozenset(("file://", "null"))
#: The page of a session whose requests have no `Origin`, while the browser reports a page of the server's own origin.
OWN_PAGE: Final = ""
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_SECURE: Final = "https"
_HTTP_SCHEMES: Final = {"ws": "http", "wss": "https"}  # some clients other than browsers send these schemes
_INTERNAL: Final = frozenset(("internal", "local", "localhost", "svc"))
_LOGGED: Final = 100  # characters
_AUTHORITY: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:@/?#\[\]]+)(?::(?P<port>[0-9]{0,5}))?")
_SUBDOMAINS: Final = ("://*.", r"://[a-z0-9.-]+\.")
_PORTS: Final = (":*", r"(?::[0-9]{1,5})?")


class Origins:
    """A list of allowed origins: exact origins, `https://*.example.com` for every subdomain, `http://localhost:*` for
    every port, or `*` for every page.

    A page of the server's own origin is always allowed. `hint` is appended to the refusal of another origin.
    """

    def __init__(self, allowed: Iterable[str] = (), *, hint: str = "") -> None:
        self.allowed = tuple(normalized(_without_slash(origin)) for origin in allowed)
        self.hint = hint
        self._exact = frozenset(self.allowed)
        self._wildcards = tuple(
            _pattern(origin) for origin in self.allowed if _SUBDOMAINS[0] in origin or origin.endswith(_PORTS[0])
        )

    @property
    def allows_all(self) -> bool:
        """Whether every page may connect, so that cookies do not identify the user's intent."""
        return "*" in self._exact

    def allows(self, request: Request) -> bool:
        """Whether a request may connect; a request without an `Origin` does not come from a page of another site."""
        origin = request.origin
        return origin is None or self.allows_all or self._includes(normalized(origin)) or is_same_origin(request)

    def trusts(self, request: Request) -> bool:
        """Whether a request's cookies identify its user: its page is in the list, or of the server's own origin."""
        if request.origin is None:
            return False
        origin = normalized(request.origin)
        return origin not in OPAQUE_ORIGINS and (self._includes(origin) or is_same_origin(request))

    def _includes(self, origin: str) -> bool:
        return origin in self._exact or any(wildcard.fullmatch(origin) for wildcard in self._wildcards)

    def refusal(self, origin: str) -> str:
        """Return the message for a page that may not connect."""
        return f"Origin {origin[:200]} is not allowed{self.hint}"


def is_same_origin(request: Request) -> bool:
    """Whether a request comes from a page of the server's own origin.

    The page's origin is compared with the host name that the client used. A proxy may have replaced this host name.
    Behind a trusted proxy, the browser's `Sec-Fetch-Site` therefore counts too: a page cannot set this header (W3C
    Fetch Metadata, section 2.3).
    """
    if request.origin is None:
        return False
    return is_reported_same_origin(request) or is_on_host(request.origin, request.host, secure=request.secure)


def is_reported_same_origin(request: Request) -> bool:
    """Whether the browser reports, through a trusted proxy, a page of the server's own origin."""
    return request.is_proxied and request.headers.get("sec-fetch-site") == "same-origin"


def is_on_host(origin: str, host: str | None, *, secure: bool = False) -> bool:
    """Whether a page of `origin` is on the server that was addressed as `host`, over TLS if `secure`.

    The default port of the page's scheme may be written or omitted. Over TLS a page of `http://` is another origin,
    since an attacker in the network can forge it. Without TLS a page of `https://` is the server's own origin: a proxy
    may have terminated TLS.
    """
    scheme, _, authority = normalized(origin).partition("://")
    default = DEFAULT_PORTS.get(scheme)
    if default is None or not host or (secure and scheme != _SECURE):
        return False
    page = _host_and_port(authority, default)
    return page is not None and page == _host_and_port(host.lower(), default)


def refused_origin(request: Request) -> str:
    """Return the origin of a refused request for the log, with the host name if a proxy may have replaced it."""
    origin = (request.origin or "")[:_LOGGED]
    if request.host is None or not _is_internal(request.host):
        return origin
    return f"{origin} (for the Host {request.host[:_LOGGED]}, which a proxy may have replaced)"


def _is_internal(host: str) -> bool:
    """Whether a host name is internal, as used between servers."""
    address = _host_and_port(host.lower(), 0)
    name = "" if address is None else address[0]
    last = name.rpartition(".")[2]
    return "." not in name or last.isdigit() or last in _INTERNAL


@lru_cache(maxsize=32)  # each poll of a page has the same ones
def normalized(origin: str) -> str:
    """Return an origin as browsers write it (RFC 6454 section 6.2): lower case, http for ws, no default port."""
    scheme, colon, authority = origin.lower().partition("://")
    scheme = _HTTP_SCHEMES.get(scheme, scheme)
    name, port_colon, port = authority.rpartition(":")
    if port_colon and scheme in DEFAULT_PORTS and port in ("", str(DEFAULT_PORTS[scheme])):
        authority = name
    return scheme + colon + authority


@lru_cache(maxsize=32)
def _host_and_port(authority: str, default_port: int) -> tuple[str, int] | None:
    """Return the host name and port of an authority; None if it is invalid."""
    match = _AUTHORITY.fullmatch(authority)
    return None if match is None else (match["name"], int(match["port"] or default_port))


def _without_slash(origin: str) -> str:
    return origin if origin.endswith("://") else origin.removesuffix("/")


def _pattern(origin: str) -> re.Pattern[str]:
    pattern = re.escape(origin)
    for wildcard, expression in (_SUBDOMAINS, _PORTS):
        pattern = pattern.replace(re.escape(wildcard), expression, 1)
    return re.compile(pattern)
