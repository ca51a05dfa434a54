"""When sessions in the app's database are asked for again (Auth.js's strategy `database`), and whom that ends."""

from collections.abc import Callable
from typing import Final, Protocol

from synkora.collaboration.access_answers import AccessAnswers, AccessUnavailable
from synkora.collaboration.keyed_limit import KeyedLimit
from synkora.collaboration.members import Member
from synkora.collaboration.periodic_checks import RECHECK, PeriodicChecks
from synkora.engine.addresses import rate_limit_key
from synkora.engine.incidents import IncidentKind, Incidents
from synkora.identity.sign_in import SignedIn
from synkora.identity.user import User

#: Lookups for clients that have not signed in yet. The rest of the database's capacity is for rechecks of members.
MAX_LOOKUPS: Final = 20


class SessionsNotStored(AccessUnavailable):
    """The app's database has no sessions."""


class SessionLookup(Protocol):
    """Finds the app's sessions by key."""

    async def find(self, key: str) -> User | None:
        """Return the user of a session, with the session's end; None if it is unknown. Raises `AccessUnavailable`."""
        ...

    async def close(self) -> None: ...


class KeptSessions:
    """Looks up sessions and caches the answers; the sessions of members are looked up again every `recheck` seconds.

    `end` is called for a member whose session no longer exists, `extend` for a member whose session continues. If the
    store cannot answer, members stay.
    """

    def __init__(
        self,
        store: SessionLookup,
        incidents: Incidents,
        *,
        end: Callable[[Member], None],
        extend: Callable[[Member], None],
        recheck: float = RECHECK,
    ) -> None:
        self._store = store
        self._incidents = incidents
        self._end, self._extend = end, extend
        self._answers: AccessAnswers[str, User] = AccessAnswers()
        self._rechecks: PeriodicChecks[Member] = PeriodicChecks(self._recheck, recheck, lambda member: member.user.id)
        self._lookups = KeyedLimit(MAX_LOOKUPS)

    async def find(self, key: str, address: str) -> User | None:
        """Return the user of a session; None if it is unknown. Raises `AccessUnavailable`.

        The number of simultaneous lookups per address is limited. The wait counts against the time for an answer.
        """
        return await self._answers.get(key, lambda: self._find_within_limit(key, address))

    async def _find_within_limit(self, key: str, address: str) -> User | None:
        async with self._lookups.slot(rate_limit_key(address)):
            return await self._store.find(key)

    def watch(self, member: Member) -> None:
        """Recheck a member's session from time to time, if the session is in the app's database."""
        if member.signed_in.is_kept:
            self._rechecks.add(member)

    def drop(self, member: Member) -> None:
        """Stop the rechecks of a member's session."""
        self._rechecks.drop(member)

    async def close(self) -> None:
        """Stop all rechecks and close the store's connections."""
        self._rechecks.cancel()
        await self._store.close()

    async def _recheck(self, member: Member) -> bool:
        signed_in = member.signed_in
        if _is_gone(member) or not signed_in.is_kept:
            return False  # the client has replaced the session by a fresh token
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
        self._extend(member)
        return True


def _is_gone(member: Member) -> bool:
    return not member.socket.connected
