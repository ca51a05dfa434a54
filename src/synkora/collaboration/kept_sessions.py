"""Sessions that the app keeps in its database, of which a cookie holds no more than the key."""

from collections.abc import Callable
from typing import Final, Protocol

from synkora.collaboration.access_answers import AccessAnswers, AccessUnavailable
from synkora.collaboration.members import Member
from synkora.collaboration.rechecks import RECHECK, Rechecks
from synkora.collaboration.turns import Turns
from synkora.engine.addresses import rate_limit_key
from synkora.engine.incidents import IncidentKind, Incidents
from synkora.identity.handshake import SignedIn
from synkora.identity.user import User

#: Keys of clients that are not signed in yet. The rest of the database's time is for members' rechecks.
LOOKED_UP_AT_ONCE: Final = 20


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
        self._lookups = Turns(LOOKED_UP_AT_ONCE)

    async def find(self, key: str, address: str) -> User | None:
        """Whose session that is; None where there is none. Raises `AccessUnavailable`.

        Keys that come from one address take turns, within the time of an answer.
        """
        return await self._answers.get(key, lambda: self._find_in_turn(key, address))

    async def _find_in_turn(self, key: str, address: str) -> User | None:
        async with self._lookups.turn(rate_limit_key(address)):
            return await self._store.find(key)

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
            key = signed_in.token
            user = await self._answers.get(key, lambda: self._store.find(key), fresh=True)
        except AccessUnavailable as error:
            self._incidents.note(IncidentKind.ACCESS_CHECK_FAILED, str(error))
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
