"""Access to the console: its token, or this machine in development; and no requests by pages of other sites."""

from typing import Final

from starlette.requests import Request

from synkora.app.local_requests import is_local, is_of_same_origin
from synkora.app.token_guard import TokenGuard, TokenRefused, address_of
from synkora.engine.addresses import TrustedProxies
from synkora.engine.incidents import IncidentKind, Incidents
from synkora.engine.request import Headers

_ELSEWHERE: Final = (
    "Without CONSOLE_TOKEN the console is for browsers on the machine that the server runs on: open it there at "
    "http://localhost, bring the server's port to yours with ssh -L 3001:localhost:3001, or set CONSOLE_TOKEN."
)
_OTHER_SITE: Final = "Only the console's own page may ask for this."


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
        self._guard = None
        if token is not None:
            kind = IncidentKind.CONSOLE_SIGN_IN_REFUSED
            self._guard = TokenGuard("CONSOLE_TOKEN", [token], proxies, incidents, kind, locks=True)
        self._proxies = proxies

    def check(self, request: Request) -> None:
        """Check a request. Raises `ConsoleRefused`."""
        if self._guard is None:
            if not is_local(request):
                raise ConsoleRefused(403, _ELSEWHERE)
            return
        peer = request.client.host if request.client is not None else ""
        secure = self._proxies.secure(peer, Headers(request.scope["headers"]), over_tls=request.url.scheme == "https")
        if not is_of_same_origin(request, secure=secure, is_proxied=self._proxies.trusts(peer)):
            raise ConsoleRefused(403, _OTHER_SITE)
        try:
            self._guard.check(request)
        except TokenRefused as refused:
            raise ConsoleRefused(refused.status, str(refused), refused.headers) from None

    def address(self, request: Request) -> str:
        """Return the client's address."""
        return address_of(request, self._proxies)
