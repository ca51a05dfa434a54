"""Access to the console."""

import hmac
from typing import Final

from starlette.requests import Request

from synkora.app.local_requests import is_local, is_of_same_origin
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.engine.addresses import TrustedProxies
from synkora.engine.incidents import IncidentKind, Incidents
from synkora.engine.request import Headers

MOST_FAILURES: Final = 10  # per address; a minute without a failure resets the count
RETRY_AFTER: Final = 60  # seconds

_ELSEWHERE: Final = (
    "Without CONSOLE_TOKEN the console is for browsers on the machine that the server runs on: open it there at "
    "http://localhost, bring the server's port to yours with ssh -L 3001:localhost:3001, or set CONSOLE_TOKEN."
)
_OTHER_SITE: Final = "Only the console's own page may ask for this."
_SIGN_IN: Final = "Sign in with CONSOLE_TOKEN."
_WRONG: Final = "This is not the server's CONSOLE_TOKEN."
_TOO_MANY: Final = "Too many wrong tokens have come from your address: wait a minute."


class ConsoleRefused(Exception):
    """A refused request: an answer with the reason, and `headers`."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class ConsoleSignIn:
    """Accepts requests with the token; without a configured token, requests from this machine.

    An address with too many wrong tokens must wait, even with the right token. `proxies` are trusted to state a
    client's address.
    """

    def __init__(self, token: str | None, proxies: TrustedProxies, incidents: Incidents) -> None:
        self._token = None if token is None else token.encode()
        self._proxies = proxies
        self._incidents = incidents
        self._failures = FailureBackoff(MOST_FAILURES)

    def check(self, request: Request) -> None:
        """Check a request. Raises `ConsoleRefused`."""
        if self._token is None:
            if not is_local(request):
                raise ConsoleRefused(403, _ELSEWHERE)
            return
        peer = request.client.host if request.client is not None else ""
        secure = self._proxies.secure(peer, Headers(request.scope["headers"]), over_tls=request.url.scheme == "https")
        if not is_of_same_origin(request, secure=secure, is_proxied=self._proxies.trusts(peer)):
            raise ConsoleRefused(403, _OTHER_SITE)
        self._check_token(request, self._token)

    def address(self, request: Request) -> str:
        """Return the client's address."""
        peer = request.client.host if request.client is not None else ""
        return self._proxies.address(peer, Headers(request.scope["headers"]))

    def _check_token(self, request: Request, token: bytes) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():  # RFC 6750 section 2.1
            raise ConsoleRefused(401, _SIGN_IN, {"www-authenticate": "Bearer"})
        address = self.address(request)
        if self._failures.is_delayed(address):
            self._incidents.note(IncidentKind.CONSOLE_SIGN_IN_REFUSED, "too many", address)
            raise ConsoleRefused(429, _TOO_MANY, {"retry-after": str(RETRY_AFTER)})
        if not hmac.compare_digest(given.strip().encode("latin-1", "replace"), token):
            self._failures.note(address)
            self._incidents.note(IncidentKind.CONSOLE_SIGN_IN_REFUSED, "wrong token", address)
            raise ConsoleRefused(401, _WRONG, {"www-authenticate": "Bearer"})
