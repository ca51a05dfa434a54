"""Sessions end when their tokens expire, unless the client sends a fresh token (`auth:refresh`)."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.collaboration.members import Member
from synkora.engine.close_reasons import Reason
from synkora.engine.incidents import IncidentKind, Incidents
from synkora.engine.turn_budget import TurnBudget
from synkora.identity.claims import CLOCK_TOLERANCE
from synkora.identity.sign_in import Authenticator, SignedIn, SignInRefused
from synkora.protocol.timestamps import timestamp
from synkora.sockets.internals import emit_once, is_connecting, session_of

EXPIRED: Final = "Session expired"
MOST_DELAYED: Final = 20  # refusals of `auth:refresh` of one user, over all connections
_LONGEST_TIMER: Final = 86_400  # seconds; a corrected system clock takes effect after this time at the latest


class TokenExpiry:
    """Ends each member's session at the `exp` of its token, unless the client sends a fresh token before.

    One timer, set for the next expiry, serves all members: a timer per connection would cost memory.
    """

    def __init__(
        self, authenticator: Authenticator, failures: FailureBackoff, incidents: Incidents, turns: TurnBudget
    ) -> None:
        self._authenticator = authenticator
        self._turns = turns
        self._failures = failures
        self._incidents = incidents
        self._ends: dict[Member, float] = {}
        self._delayed: Counter[str] = Counter()  # refusals that wait, by user
        self._timer: asyncio.TimerHandle | None = None

    def start(self, member: Member) -> None:
        """Watch a member's token instead of the member's previous token."""
        self.stop(member)
        expires_at = member.user.expires_at
        if expires_at is None:
            return
        now = time.time()
        # The clocks of app and server may differ, so an expired token is accepted for a while.
        self._ends[member] = end = expires_at if expires_at > now else expires_at + CLOCK_TOLERANCE
        if self._timer is None or end - now < self._timer.when() - asyncio.get_running_loop().time():
            self._set_timer(end - now)

    def stop(self, member: Member) -> None:
        """Stop watching a member's token."""
        self._ends.pop(member, None)

    def _set_timer(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(min(max(wait, 0), _LONGEST_TIMER), self._end_due)

    def _end_due(self) -> None:
        self._timer = None
        now = time.time()
        try:
            for member in [member for member, end in self._ends.items() if end <= now]:
                self.end(member)
        finally:
            if self._ends and self._timer is None:
                self._set_timer(min(self._ends.values()) - now)

    def end(self, member: Member) -> None:
        """End a member's session, now or in a later turn."""
        self.stop(member)
        self._turns.run(partial(self._end, member, member.signed_in))

    def _end(self, member: Member, signed_in: SignedIn) -> None:
        has_left = not (member.socket.connected or is_connecting(member.socket))
        if has_left or member.signed_in is not signed_in:
            return  # the client has left, or has sent a fresh token
        emit_once(member.socket, "error", {"message": EXPIRED})
        # Close the whole connection: its cookie has expired too, and a new connection sends a new cookie.
        member.socket.disconnect(close=True)

    def refresh(self, member: Member, payload: object) -> dict[str, object] | Awaitable[dict[str, object]]:
        """Replace the token by a fresh token of the same user, a string or `{token}`; return the ack.

        A refusal counts as a failed sign-in of the client's address, and is delayed in the same way. If too many of the
        user's refusals are delayed, the connection ends.
        """
        auth = payload if isinstance(payload, dict) else {"token": payload}
        try:
            signed_in = self._authenticator.sign_in(auth, None, None)
        except SignInRefused as refusal:
            return self._refuse(member, refusal.message, refusal.detail)
        if signed_in.user.id != member.user.id:
            return self._refuse(member, "The token is another user's", "auth:refresh")
        member.signed_in = signed_in
        self.start(member)
        return {"ok": True, "expiresAt": _iso_time(signed_in.user.expires_at)}

    def _refuse(self, member: Member, message: str, detail: str) -> dict[str, object] | Awaitable[dict[str, object]]:
        answer: dict[str, object] = {"ok": False, "message": message}
        address = session_of(member.socket).request.address
        delay = self._failures.note(address)
        self._incidents.note(IncidentKind.SIGN_IN_REFUSED, f"{message} ({detail})", address)
        if not delay:
            return answer
        if self._delayed[member.user.id] >= MOST_DELAYED:
            # A client does not reconnect after a disconnect, but after a closed connection.
            session_of(member.socket).close(Reason.FORCED_SERVER_CLOSE)
            return answer
        self._delayed[member.user.id] += 1
        asyncio.get_running_loop().call_later(delay, self._no_longer_delayed, member.user.id)
        return _later(answer, delay)

    def _no_longer_delayed(self, user_id: str) -> None:
        self._delayed[user_id] -= 1
        if not self._delayed[user_id]:
            del self._delayed[user_id]


async def _later(answer: dict[str, object], delay: float) -> dict[str, object]:
    await asyncio.sleep(delay)
    return answer


def _iso_time(expires_at: float | None) -> str | None:
    """Return a time as text; None for None and for times outside the calendar."""
    if expires_at is None:
        return None
    try:
        moment = datetime.fromtimestamp(expires_at, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return timestamp(moment)
