"""The synchronisation of one project between this instance and Redis."""

from enum import Enum, auto
from itertools import islice
from typing import Final

from synkora.cluster.replica import Replica
from synkora.collaboration.presence import PresenceEntry
from synkora.protocol.json import encode


class SyncState(Enum):
    """The sync state of one project."""

    NEW = auto()  # Redis does not know that this instance is in the project
    ENTERING = auto()  # a snapshot is pending: `enter.lua` has been called
    SYNCED = auto()  # the replica follows the announcements
    CHANGING = auto()  # changes are pending: `change.lua` has been called
    OVERTAKEN = auto()  # one of these calls is pending, and its reply will not suffice
    OUTDATED = auto()  # a snapshot is needed


class SyncEvent(Enum):
    """Events that change the sync state."""

    ENTER = auto()  # a snapshot is requested
    CHANGE = auto()  # changes are reported
    ANSWER = auto()  # the pending call has succeeded
    FAIL = auto()  # the pending call has failed: Redis is unavailable, refused it, or does not know this instance
    LOSE_TRACK = auto()  # a gap in the announcements, another version in Redis, or a lost link


TRANSITIONS: Final = {
    (SyncState.NEW, SyncEvent.ENTER): SyncState.ENTERING,
    (SyncState.NEW, SyncEvent.LOSE_TRACK): SyncState.NEW,
    (SyncState.ENTERING, SyncEvent.ANSWER): SyncState.SYNCED,
    (SyncState.ENTERING, SyncEvent.FAIL): SyncState.OUTDATED,
    (SyncState.ENTERING, SyncEvent.LOSE_TRACK): SyncState.OVERTAKEN,
    (SyncState.SYNCED, SyncEvent.CHANGE): SyncState.CHANGING,
    (SyncState.SYNCED, SyncEvent.LOSE_TRACK): SyncState.OUTDATED,
    (SyncState.CHANGING, SyncEvent.ANSWER): SyncState.SYNCED,
    (SyncState.CHANGING, SyncEvent.FAIL): SyncState.OUTDATED,
    (SyncState.CHANGING, SyncEvent.LOSE_TRACK): SyncState.OVERTAKEN,
    (SyncState.OVERTAKEN, SyncEvent.ANSWER): SyncState.OUTDATED,
    (SyncState.OVERTAKEN, SyncEvent.FAIL): SyncState.OUTDATED,
    (SyncState.OVERTAKEN, SyncEvent.LOSE_TRACK): SyncState.OVERTAKEN,
    (SyncState.OUTDATED, SyncEvent.ENTER): SyncState.ENTERING,
    (SyncState.OUTDATED, SyncEvent.LOSE_TRACK): SyncState.OUTDATED,
}
_WITHOUT_SNAPSHOT: Final = (SyncState.NEW, SyncState.OUTDATED, SyncState.OVERTAKEN)
_CALLING: Final = (SyncState.ENTERING, SyncState.CHANGING, SyncState.OVERTAKEN)


class ProjectSync:
    """A project's replica, and the changes that Redis has yet to get: first those in `left`, then those in `joined`."""

    __slots__ = ("id", "is_large", "joined", "left", "replica", "state")

    def __init__(self, id: str, instance: str) -> None:
        self.id = id
        self.state = SyncState.NEW
        self.is_large = False  # too large for its snapshot to be asked for beside others
        self.replica = Replica(instance)
        self.left: dict[str, None] = {}
        self.joined: dict[str, bytes] = {}

    def move(self, event: SyncEvent) -> None:
        """Change the state by the table. Raises `KeyError` for an event that the state does not have."""
        self.state = TRANSITIONS[self.state, event]

    @property
    def needs_snapshot(self) -> bool:
        """Whether a snapshot is needed, now or after the pending call."""
        return self.state in _WITHOUT_SNAPSHOT

    @property
    def is_calling(self) -> bool:
        """Whether a call is pending; there is at most one."""
        return self.state in _CALLING

    @property
    def has_news(self) -> bool:
        """Whether there are changes or a request for Redis."""
        return self.needs_snapshot or bool(self.left or self.joined)

    def join(self, entry: PresenceEntry) -> bool:
        """Add a connection; return False if it has joined already."""
        told = self.replica.join(entry)
        if told is None:
            return False
        if not self.needs_snapshot:
            self.joined[entry.socketId] = encode(told)
        return True

    def leave(self, socket_id: str) -> PresenceEntry | None:
        """Remove and return a connection; None if it has not joined."""
        has_moved = socket_id in self.replica.moved
        entry = self.replica.leave(socket_id)
        if has_moved:
            return entry
        if entry and not self.joined.pop(socket_id, None) and not self.needs_snapshot:
            self.left[socket_id] = None
        return entry

    def enter(self) -> list[PresenceEntry]:
        """Request a snapshot; return the connections for Redis, without those that have moved."""
        self.left.clear()
        self.joined.clear()
        self.replica.await_snapshot()
        self.move(SyncEvent.ENTER)
        replica = self.replica
        return [entry for socket_id, entry in replica.own.items() if socket_id not in replica.moved]

    def change(self, most: int) -> tuple[list[str], list[tuple[str, bytes]]]:
        """Take up to `most` changes: some connections that have left, then some that have joined."""
        left = list(islice(self.left, most))
        for socket_id in left:
            del self.left[socket_id]
        joined = list(islice(self.joined.items(), most - len(left)))
        for socket_id, _ in joined:
            del self.joined[socket_id]
        self.move(SyncEvent.CHANGE)
        return left, joined
