"""Sessions that the app keeps in its database, of which a cookie holds no more than the key."""

from collections.abc import Callable
from typing import Protocol

from synkora.collaboration.access_answers import AccessAnswers, AccessUnavailable
from synkora.collaboration.members import Member
from synkora.collaboration.rechecks import RECHECK, Rechecks
from synkora.engine.incidents import Incidents
from synkora.identity.handshake import SignedIn
from synkora.identity.user import User


class NoneKept(AccessUnavailable):
    """The app keeps no sessions where they are looked for."""


class SessionStore(Protocol):
    """Knows the app's sessions by their keys."""

    async def find(self, key: str) -> User | None:
        """Whose session that is, with its end; None where there is none. Raises `AccessUnavailable`."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class KeptSessions:
    """Looks sessions up, and remembers them for a while; those of members are looked up again every `recheck` seconds.

    A member whose session is gone is handed to `end`; one whose session goes on, to `go_on`. While nobody can answer
    they stay.
    """

    def __init__(
        self,
        store: SessionStore,
        incidents: Incidents,
        *,
        end: Callable[[Member], None],
        go_on: Callable[[Member], None],
        recheck: float = RECHECK,
    ) -> None:
        self._store = store
        self._incidents = incidents
        self._end = end
        self._go_on = go_on
        self._answers: AccessAnswers[str, User] = AccessAnswers()
        self._rechecks: Rechecks[Member] = Rechecks(self._recheck, recheck)

    async def find(self, key: str, *, fresh: bool = False) -> User | None:
        """Whose session that is; None where there is none. Raises `AccessUnavailable`."""
        return await self._answers.get(key, lambda: self._store.find(key), fresh=fresh)

    def watch(self, member: Member) -> None:
        """Look a member's session up again from time to time, if the app keeps it in its database."""
        if member.signed_in.is_kept:
            self._rechecks.add(member)

    def drop(self, member: Member) -> None:
        """Look it up no more."""
        self._rechecks.drop(member)

    async def close(self) -> None:
        """Close the store's connections."""
        self._rechecks.cancel()
        await self._store.close()

    async def _recheck(self, member: Member) -> bool:
        signed_in = member.signed_in
        if _is_gone(member) or not signed_in.is_kept:
            return False  # a fresh token may have taken the session's place
        try:
            user = await self.find(signed_in.token, fresh=True)
        except AccessUnavailable as error:
            self._incidents.note("access check failed", str(error))
            user = signed_in.user
        if _is_gone(member) or member.signed_in is not signed_in:
            return False
        if user is None or user.id != signed_in.user.id:
            self._end(member)
            return False
        member.signed_in = SignedIn(user, signed_in.token, signed_in.cookie_name, is_kept=True)
        self._go_on(member)
        return True


def _is_gone(member: Member) -> bool:
    return not member.socket.connected
