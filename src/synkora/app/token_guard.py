"""Bearer tokens of the console and the HTTP API (RFC 6750, section 2.1), and the wait after several wrong ones."""

import hmac
from collections.abc import Iterable
from typing import Final

from starlette.requests import Request

from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.engine.addresses import TrustedProxies
from synkora.engine.incidents import IncidentKind, Incidents
from synkora.engine.request import Headers

MOST_FAILURES: Final = 10  # per address; a minute without a failure resets the count
RETRY_AFTER: Final = 60  # seconds

_TOO_MANY: Final = "Too many wrong tokens have come from your address: wait a minute."


class TokenRefused(Exception):
    """A refused request: the HTTP status, the reason, and `headers` of the answer."""

    def __init__(self, status: int, message: str, headers: dict[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class TokenGuard:
    """Accepts requests with one of the `tokens` of the setting `name`.

    An address with too many wrong tokens must wait; with `locks`, even with the right token. Without, the length of the
    tokens alone prevents guessing, and nobody can lock out who shares an address. `proxies` are trusted to state a
    client's address. Refusals are noted as incidents of this `kind`.
    """

    def __init__(
        self,
        name: str,
        tokens: Iterable[str],
        proxies: TrustedProxies,
        incidents: Incidents,
        kind: IncidentKind,
        *,
        locks: bool,
    ) -> None:
        self._name = name
        self._tokens = [token.encode() for token in tokens]
        self._proxies = proxies
        self._incidents = incidents
        self._kind = kind
        self._locks = locks
        self._failures = FailureBackoff(MOST_FAILURES)

    def check(self, request: Request) -> None:
        """Check a request's token. Raises `TokenRefused`."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise TokenRefused(401, f"Sign in with {self._name}.", {"www-authenticate": "Bearer"})
        is_right = self._is_right(given.strip().encode("latin-1", "replace"))
        if is_right and not self._locks:
            return
        address = address_of(request, self._proxies)
        if self._failures.is_delayed(address):
            self._incidents.note(self._kind, "too many", address)
            raise TokenRefused(429, _TOO_MANY, {"retry-after": str(RETRY_AFTER)})
        if not is_right:
            self._failures.note(address)
            self._incidents.note(self._kind, "wrong token", address)
            raise TokenRefused(401, f"This is not the server's {self._name}.", {"www-authenticate": "Bearer"})

    def _is_right(self, given: bytes) -> bool:
        matches = [hmac.compare_digest(given, token) for token in self._tokens]  # all, so that the time tells nothing
        return any(matches)


def address_of(request: Request, proxies: TrustedProxies) -> str:
    """Return the client's address."""
    peer = request.client.host if request.client is not None else ""
    return proxies.address(peer, Headers(request.scope["headers"]))
