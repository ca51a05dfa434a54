"""From which web pages browsers may connect."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

_WILDCARD: Final = "://*."
_SUBDOMAINS: Final = "[a-z0-9.-]+"


class Origins:
    """A list of allowed origins: exact ones, `https://*.example.com` for every subdomain, or `*` for every page.

    A page of the server's own origin is always allowed; `secure` says whether a request came over TLS.
    `hint` is put behind the refusal of any other.
    """

    def __init__(self, allowed: Iterable[str] = (), *, hint: str = "") -> None:
        self.allowed = tuple(origin.lower().rstrip("/") for origin in allowed)
        self.hint = hint
        self._exact = frozenset(self.allowed)
        self._wildcards = tuple(
            re.compile(re.escape(origin).replace(r"\*", _SUBDOMAINS, 1))
            for origin in self.allowed
            if _WILDCARD in origin
        )

    @property
    def open_to_all(self) -> bool:
        """Whether every page may connect, so that a browser's cookies say nothing."""
        return "*" in self._exact

    def admits(self, origin: str | None, host: str | None, *, secure: bool = False) -> bool:
        """Whether a request may connect; one without an `Origin` does not come from another site's page."""
        return origin is None or self.open_to_all or self.trusts(origin, host, secure=secure)

    def trusts(self, origin: str | None, host: str | None, *, secure: bool = False) -> bool:
        """Whether a request's cookies speak for its user: its page is named here, or is the server's own."""
        if origin is None:
            return False
        origin = origin.lower()
        return origin in self._exact or self.is_same(origin, host, secure=secure) or self._matches_wildcard(origin)

    @staticmethod
    def is_same(origin: str | None, host: str | None, *, secure: bool = False) -> bool:
        """Whether a page of `origin` is on the server that was addressed as `host`, over TLS if `secure`.

        Anybody on the line can write a page of `http://`, so over TLS such a page is another origin. A page of
        `https://` is the server's own on a request without TLS too: a proxy may have taken TLS off.
        """
        if not origin or not host:
            return False
        try:
            page = urlsplit(origin)
        except ValueError:
            return False
        return page.netloc.lower() == host.lower() and (page.scheme == "https" or not secure)

    def _matches_wildcard(self, origin: str) -> bool:
        return any(wildcard.fullmatch(origin) for wildcard in self._wildcards)

    def refusal(self, origin: str) -> str:
        """What to tell a page that may not connect."""
        return f"Origin {origin[:200]} is not allowed{self.hint}"
