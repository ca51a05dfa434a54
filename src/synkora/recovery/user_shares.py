"""How much of the lost sessions each user may have: nobody displaces the sessions of others."""

from collections import OrderedDict
from typing import Final, NamedTuple

from synkora.recovery.ports import SavedSession
from synkora.recovery.settings import RecoverySettings

SHARE: Final = 20  # one user has at most this part of all, in number and in bytes
LEAST: Final = 10  # sessions that each user may have


class _Lost(NamedTuple):
    user: str
    size: int
    at: float


class UserShares:
    """The lost sessions that one instance has saved, by user. Sessions without an identity have no share."""

    def __init__(self, settings: RecoverySettings) -> None:
        self._age = settings.session_age
        self._most_in_all = settings.max_sessions
        self._most = max(settings.max_sessions // SHARE, LEAST)
        self._most_bytes = settings.session_bytes // SHARE
        self._lost: OrderedDict[str, _Lost] = OrderedDict()  # by pid, the oldest first
        self._users: dict[str, OrderedDict[str, int]] = {}  # sizes by pid
        self._bytes: dict[str, int] = {}  # by user

    def add(self, session: SavedSession) -> list[str]:
        """Note a lost session. Return the pids of its user's oldest ones, which are to be dropped."""
        self.remove(session.pid)
        user, at = session.identity, session.lost_at
        if not user or at is None:
            return []
        self._forget_old(at)
        self._lost[session.pid] = _Lost(user, session.size, at)
        sessions = self._users.setdefault(user, OrderedDict())
        sessions[session.pid] = session.size
        self._bytes[user] = self._bytes.get(user, 0) + session.size
        excess: list[str] = []
        while len(sessions) > 1 and (len(sessions) > self._most or self._bytes[user] > self._most_bytes):
            oldest = next(iter(sessions))
            self.remove(oldest)
            excess.append(oldest)
        return excess

    def remove(self, pid: str) -> None:
        """Forget a session that is no longer lost, if it is known."""
        lost = self._lost.pop(pid, None)
        if lost is None:
            return
        sessions = self._users[lost.user]
        del sessions[pid]
        self._bytes[lost.user] -= lost.size
        if not sessions:
            del self._users[lost.user], self._bytes[lost.user]

    def clear(self) -> None:
        """Forget all sessions."""
        self._lost.clear()
        self._users.clear()
        self._bytes.clear()

    def _forget_old(self, now: float) -> None:
        """Forget sessions that are kept no longer."""
        while self._lost:
            pid, oldest = next(iter(self._lost.items()))
            if len(self._lost) < self._most_in_all and oldest.at > now - self._age:
                break
            self.remove(pid)
