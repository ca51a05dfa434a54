"""Authentication of new sockets by tokens and cookies, with delays after failures."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from time import perf_counter
from typing import Any, Final

import structlog

from synkora.collaboration.access_answers import AccessUnavailable
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.collaboration.kept_sessions import KeptSessions, SessionsNotStored
from synkora.engine.close_reasons import Reason
from synkora.engine.histogram import Histogram
from synkora.engine.incidents import IncidentKind, Incidents
from synkora.identity.sign_in import Authenticator, Message, SignedIn, SignInRefused, lacks_credentials
from synkora.sockets.errors import ConnectRefused
from synkora.sockets.internals import arrivals_of, is_connecting, session_of
from synkora.sockets.socket import Socket

_UNKNOWN_KEY: Final = "; it may be the key of a session in the app's database, and DATABASE_URL is not set"
_DATABASE_NEEDED: Final = (
    "A session cookie has no token but what may be the key of a session in the app's database, as NextAuth keeps them "
    'with an adapter: set DATABASE_URL to the app\'s own, or have the app make tokens (session: { strategy: "jwt" })'
)
#: Seconds to verify a token, which is computation only.
JUDGEMENT_BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025)

log = structlog.get_logger(__name__)


class SignInOutcome(StrEnum):
    """The outcome of a sign-in. The values are metric labels: alerts depend on them, not on messages."""

    OK = "ok"
    NO_TOKEN = "Authentication required"  # noqa: S105  # a label, not a password
    NOT_VERIFIED = "Authentication failed"
    NO_USER = "Invalid token"
    UNAVAILABLE = "unavailable"


_REFUSALS: Final[dict[Message, SignInOutcome]] = {
    "Authentication required": SignInOutcome.NO_TOKEN,
    "Authentication failed": SignInOutcome.NOT_VERIFIED,
    "Invalid token": SignInOutcome.NO_USER,
}


class Authentication:
    """Authenticates each CONNECT, and passes authenticated sockets to `admit`.

    Refusals to an address with many failures are delayed more and more; a valid token is never delayed. `kept` looks up
    sessions in the app's database. `outcomes` counts the results, and `durations` measures them without the delay of
    refusals.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        failures: FailureBackoff,
        incidents: Incidents,
        admit: Callable[[Socket, SignedIn], None],
        kept: KeptSessions | None = None,
    ) -> None:
        self._authenticator, self._kept = authenticator, kept
        self._failures, self._incidents = failures, incidents
        self._admit = admit
        self._has_warned = False
        self.outcomes: Counter[SignInOutcome] = Counter()
        self.durations = Histogram(JUDGEMENT_BOUNDS)

    def authenticate(self, socket: Socket, auth: dict[str, Any]) -> Awaitable[None] | None:
        """Admit a socket, or return an awaitable that waits for the upgrade or delays a refusal.

        Raises `ConnectRefused`.
        """
        if socket.transport == "polling" and lacks_credentials(auth, *_offered(socket)):
            return self._authenticate_after_upgrade(socket)
        return self._decide(socket, auth)

    async def _authenticate_after_upgrade(self, socket: Socket) -> None:
        session = session_of(socket)
        await session.upgrade_request()
        later = await arrivals_of(socket).complete(partial(self._decide_late, socket), source=session.source)
        if later is not None:
            await later

    def _decide_late(self, socket: Socket) -> Awaitable[None] | None:
        if not is_connecting(socket):
            return None  # disconnected; `on_disconnect` has already run
        return self._decide(socket, socket.auth)

    def _decide(self, socket: Socket, auth: dict[str, Any]) -> Awaitable[None] | None:
        """Admit a socket, or return an awaitable that asks the app's database or delays a refusal.

        Raises `ConnectRefused`.
        """
        authorization, cookie = _offered(socket)
        began = perf_counter()
        try:
            signed_in = self._authenticator.sign_in(auth, authorization, cookie)
        except SignInRefused as refusal:
            keys = self._authenticator.session_keys(auth, cookie)
            if keys and self._kept is not None:
                return self._look_up(self._kept, socket, keys, refusal, began)
            detail = refusal.detail
            if any(name for _, name in keys):
                detail += _UNKNOWN_KEY
                self._warn_of_database()
            return self._refuse(socket, refusal.message, detail, began)
        self._count(SignInOutcome.OK, began)
        self._admit(socket, signed_in)
        return None

    async def _look_up(
        self,
        kept: KeptSessions,
        socket: Socket,
        keys: list[tuple[str, str | None]],
        refusal: SignInRefused,
        began: float,
    ) -> None:
        """Admit a socket by a session in the app's database; without an answer, let the client reconnect."""
        detail = refusal.detail
        for key, cookie_name in keys:
            try:
                user = await kept.find(key, session_of(socket).request.address)
            except SessionsNotStored as error:
                detail += f"; {error}"
                break
            except AccessUnavailable as error:
                self._incidents.note(IncidentKind.ACCESS_CHECK_FAILED, str(error))
                self._count(SignInOutcome.UNAVAILABLE, began)
                # A client does not reconnect after a refusal, but after a closed connection.
                session_of(socket).close(Reason.FORCED_SERVER_CLOSE)
                return
            if not is_connecting(socket):
                return  # disconnected; `on_disconnect` has already run
            if user is not None:
                self._count(SignInOutcome.OK, began)
                self._admit(socket, SignedIn(user, key, cookie_name, is_kept=True))
                return
        else:
            detail += "; no session of the app's database has this key"
        later = self._refuse(socket, refusal.message, detail, began)
        if later is not None:
            await later

    def _refuse(self, socket: Socket, message: Message, detail: str, began: float) -> Awaitable[None] | None:
        """Refuse a socket, or return an awaitable that refuses it after a delay. Raises `ConnectRefused`."""
        self._count(_REFUSALS[message], began)
        address = session_of(socket).request.address
        delay = self._failures.note(address)
        self._incidents.note(IncidentKind.SIGN_IN_REFUSED, f"{message} ({detail})", address)
        if not delay:
            raise ConnectRefused(message)
        return _refuse_later(ConnectRefused(message, {"retryAfter": delay}), delay)

    def _warn_of_database(self) -> None:
        """Log once which setting an app with database sessions needs."""
        if not self._has_warned:
            self._has_warned = True
            log.warning("caution", text=_DATABASE_NEEDED)

    def _count(self, outcome: SignInOutcome, began: float) -> None:
        self.outcomes[outcome] += 1
        self.durations.observe(perf_counter() - began)


async def _refuse_later(refusal: ConnectRefused, delay: float) -> None:
    await asyncio.sleep(delay)
    raise refusal


def _offered(socket: Socket) -> tuple[str | None, str | None]:
    """Return the `Authorization` and `Cookie` headers of a session; cookies only from a page that may connect."""
    session = session_of(socket)
    cookie = session.cookie_request.headers.get("cookie") if session.cookie_request is not None else None
    return session.request.headers.get("authorization"), cookie
