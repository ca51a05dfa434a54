"""The sessions of lost connections in the memory of one server."""

from collections import OrderedDict
from collections.abc import Collection
from time import time
from typing import Protocol

from synkora.recovery.ports import Clock, SavedSession
from synkora.recovery.settings import RecoverySettings
from synkora.recovery.user_shares import UserShares


class SessionJournal(Protocol):
    """Records each change of a session store."""

    def saved(self, session: SavedSession) -> None:
        """Record a saved session."""
        ...

    def dropped(self, pid: str) -> None:
        """Record a dropped session."""
        ...

    def expired(self, pid: str) -> None:
        """Record an expired session."""
        ...


class MemorySessions:
    """A `SessionStore`. `_lost` is ordered by the time of the loss."""

    def __init__(self, settings: RecoverySettings, clock: Clock = time) -> None:
        self._settings = settings
        self._clock = clock
        self.journal: SessionJournal | None = None
        self._connected: dict[str, SavedSession] = {}
        self._lost: OrderedDict[str, SavedSession] = OrderedDict()
        self._lost_size = 0
        self._shares = UserShares(settings)

    def __len__(self) -> int:
        return len(self._connected) + len(self._lost)

    @property
    def lost(self) -> Collection[SavedSession]:
        return self._lost.values()

    def save(self, session: SavedSession) -> None:
        """Keep a session, in place of the one with the same `pid`."""
        if self.journal is not None:
            self.journal.saved(session)
        self.restore(session)

    def clear(self) -> None:
        """Drop all sessions, without the journal."""
        self._connected.clear()
        self._lost.clear()
        self._lost_size = 0
        self._shares.clear()

    def restore(self, session: SavedSession) -> None:
        """Store a session without the journal."""
        self.remove(session.pid)
        if session.lost_at is None:
            self._connected[session.pid] = session
            return
        self._lost[session.pid] = session
        self._lost_size += session.size
        for pid in self._shares.add(session):
            self._drop(pid)
        self._expire()

    def forget(self, pid: str) -> None:
        """Drop a session, if there is one."""
        self.remove(pid)
        if self.journal is not None:
            self.journal.dropped(pid)

    async def take(self, pid: str) -> SavedSession | None:
        """Return a session and drop it, without the journal."""
        self._expire()
        return self.remove(pid)

    def remove(self, pid: str) -> SavedSession | None:
        """Return a session and drop it, without the journal."""
        lost = self._lost.pop(pid, None)
        if lost is not None:
            self._lost_size -= lost.size
            self._shares.remove(pid)
        return lost or self._connected.pop(pid, None)

    def _expire(self) -> None:
        horizon = self._clock() - self._settings.session_age
        while self._lost:
            pid, oldest = next(iter(self._lost.items()))
            if (
                len(self._lost) <= self._settings.max_sessions
                and self._lost_size <= self._settings.session_bytes
                and (oldest.lost_at or 0) > horizon
            ):
                break
            self._drop(pid)

    def _drop(self, pid: str) -> None:
        self.remove(pid)
        if self.journal is not None:
            self.journal.expired(pid)
