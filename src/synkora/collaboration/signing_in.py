"""Who a new socket is."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any, Final

from synkora.engine.failures import Failures
from synkora.engine.histogram import Histogram
from synkora.engine.incidents import Incidents
from synkora.identity.handshake import Authenticator, SignedIn, SignInRefused, may_come_with_upgrade
from synkora.sockets.errors import ConnectRefused
from synkora.sockets.socket import Socket, Stage

#: Seconds that a judgement takes, which is all computing.
JUDGEMENT_BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025)


class SigningIn:
    """Decides on each CONNECT, and hands those who are let in to `admit`.

    An address that fails again and again waits longer and longer for its next refusal; a good token never waits.
    `outcomes` counts the judgements, and `durations` has what each took, without any wait.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        failures: Failures,
        incidents: Incidents,
        admit: Callable[[Socket, SignedIn], None],
    ) -> None:
        self._authenticator = authenticator
        self._failures = failures
        self._incidents = incidents
        self._admit = admit
        self.outcomes: Counter[str] = Counter()  # `ok`, or what was answered
        self.durations = Histogram(JUDGEMENT_BOUNDS)

    def welcome(self, socket: Socket, auth: dict[str, Any]) -> Awaitable[None] | None:
        """Admit a socket at once, or return what waits for its upgrade, or to refuse it. Raises `ConnectRefused`."""
        if socket.transport == "polling" and may_come_with_upgrade(auth, *_offered(socket)):
            return self._welcome_after_upgrade(socket)
        refusal, delay = self._judge(socket, auth)
        if refusal is None:
            return None
        if not delay:
            raise refusal
        return _refuse_later(refusal, delay)

    async def _welcome_after_upgrade(self, socket: Socket) -> None:
        await socket.session.upgrade_request()
        if socket.stage is not Stage.CONNECTING:
            return  # it has left meanwhile, and nobody would dismiss it again
        refusal, delay = self._judge(socket, socket.auth)
        if refusal is not None:
            await _refuse_later(refusal, delay)

    def _judge(self, socket: Socket, auth: dict[str, Any]) -> tuple[ConnectRefused | None, float]:
        """Admit a socket, or return why not, and after how many seconds to say so."""
        address = socket.session.request.address
        began = perf_counter()
        try:
            signed_in = self._authenticator.sign_in(auth, *_offered(socket))
        except SignInRefused as refusal:
            self._count(refusal.message, began)
            delay = self._failures.note(address)
            self._incidents.note("sign-in refused", f"{refusal.message} ({refusal.detail})", address)
            data = {"retryAfter": delay} if delay else None
            return ConnectRefused(refusal.message, data), delay
        self._count("ok", began)
        self._admit(socket, signed_in)
        return None, 0

    def _count(self, outcome: str, began: float) -> None:
        self.outcomes[outcome] += 1
        self.durations.observe(perf_counter() - began)


async def _refuse_later(refusal: ConnectRefused, delay: float) -> None:
    await asyncio.sleep(delay)
    raise refusal


def _offered(socket: Socket) -> tuple[str | None, str | None]:
    """The `Authorization` and the `Cookie` that came with a session; cookies only from a page that may connect."""
    session = socket.session
    cookie = session.credentials.headers.get("cookie") if session.credentials is not None else None
    return session.request.headers.get("authorization"), cookie
