"""An instance's copy of one project's presence, as pure state."""

from collections.abc import Collection
from typing import Final

import msgspec

from synkora.collaboration.presence import PresenceEntry
from synkora.collaboration.project_presence import ProjectPresence
from synkora.protocol.json import Decoder


class Announcement(msgspec.Struct, frozen=True):
    """A change in Redis: first those in `left` left, then those in `joined` joined.

    `before` and `version` are the project's versions before and after, 0 for a project without connections.
    """

    author: str
    before: int
    version: int
    left: list[str]
    joined: list[PresenceEntry]


class ReplicaSnapshot(msgspec.Struct, frozen=True):
    """The connections in a project according to Redis, without those of one instance.

    `adopted` are own connections that Redis knew as other instances': their clients have returned to this instance.
    """

    version: int
    entries: list[PresenceEntry]
    adopted: list[PresenceEntry] = []


ANNOUNCEMENT: Final[Decoder[Announcement]] = Decoder(Announcement, keeps_halves=True)
SNAPSHOT: Final[Decoder[ReplicaSnapshot]] = Decoder(ReplicaSnapshot, keeps_halves=True)


class Changes:
    """Changes to announce: first the entries that `left`, then the entries that `joined`.

    `has_gap`: an announcement is missing, so a snapshot is needed.
    """

    __slots__ = ("has_gap", "joined", "left")

    def __init__(self) -> None:
        self.has_gap = False
        self.left: list[PresenceEntry] = []
        self.joined: list[PresenceEntry] = []


class Replica:
    """The connections in a project: this instance's `own`, and the others' from Redis.

    Only this instance changes `own`. Redis sends snapshots and announcements, in the order of its changes. A connection
    that is missing in a snapshot may return, when Redis has lost its memory and other instances reconnect: the
    connection is in doubt until `settle`.

    A client whose connection was lost may return to any instance. Its connection is `held` at first, and `moved` when
    another instance has it.
    """

    __slots__ = ("_doubtful", "_instance", "_version", "held", "moved", "own", "presence")

    def __init__(self, instance: str) -> None:
        self.presence = ProjectPresence()
        self.own: dict[str, PresenceEntry] = {}
        self._instance = instance
        self._doubtful: set[str] = set()
        self.held: set[str] = set()
        self.moved: set[str] = set()
        self._version: int | None = None  # None while a snapshot is pending

    @property
    def is_in_doubt(self) -> bool:
        """Whether a connection is in doubt."""
        return bool(self._doubtful)

    def join(self, entry: PresenceEntry) -> PresenceEntry | None:
        """Add an own connection; return its entry for Redis, or None if it has joined already.

        A connection that was another instance's keeps its entry: its client has returned to this one.
        """
        socket_id = entry.socketId
        self.held.discard(socket_id)
        if socket_id in self.own and socket_id not in self.moved:
            return None
        self.moved.discard(socket_id)
        self._doubtful.discard(socket_id)
        known = self.presence.get(socket_id)
        if known is None:
            self.presence.add(entry)
        else:
            entry = known
        self.own[socket_id] = entry
        return entry

    def hold(self, socket_id: str) -> None:
        """Mark an own connection as lost: its client may return to another instance."""
        if socket_id in self.own:
            self.held.add(socket_id)

    def leave(self, socket_id: str) -> PresenceEntry | None:
        """Remove and return an own connection; None if it had not joined.

        A moved connection stays, as another instance's.
        """
        entry = self.own.pop(socket_id, None)
        self.held.discard(socket_id)
        if socket_id in self.moved:
            self.moved.discard(socket_id)
            return entry
        return None if entry is None else self.presence.remove(socket_id)

    def _note_moved(self, socket_id: str) -> None:
        if socket_id in self.held:
            self.held.discard(socket_id)
            self.moved.add(socket_id)

    def await_snapshot(self) -> None:
        """Await a snapshot: announcements before the snapshot are older, and ignored."""
        self._version = None

    def agrees_with(self, version: int) -> bool:
        """Whether the replica has Redis' version, or awaits a snapshot."""
        return self._version is None or self._version == version

    def heed(self, announcement: Announcement) -> Changes:
        """Apply a change in Redis."""
        changes = Changes()
        for socket_id in announcement.left:
            if socket_id not in self.own or socket_id in self.moved:
                self._remove(socket_id, changes)
            elif announcement.author != self._instance:
                changes.has_gap = True  # this instance has been considered dead
        for entry in announcement.joined:
            if announcement.author != self._instance:
                self._note_moved(entry.socketId)
                self._add(entry, changes)
            elif entry.socketId not in self.own:
                changes.has_gap = True  # the connection has left meanwhile, or Redis has an outdated state
            else:
                self._adopt(entry)
        if self._version is not None and announcement.version > self._version:
            if announcement.before != self._version:
                changes.has_gap = True
            self._version = announcement.version
        return changes

    def restore(self, snapshot: ReplicaSnapshot) -> Changes:
        """Apply a snapshot."""
        changes = Changes()
        self._version = snapshot.version
        self._doubtful = self._others() - {entry.socketId for entry in snapshot.entries}
        for entry in snapshot.adopted:
            if entry.socketId in self.own:
                self._adopt(entry)
        for entry in sorted(snapshot.entries, key=lambda entry: entry.joinedAt):
            self._note_moved(entry.socketId)
            self._add(entry, changes)
        return changes

    def _adopt(self, entry: PresenceEntry) -> None:
        """Take Redis' entry of an own connection, whose client has returned from another instance."""
        if self.own[entry.socketId] != entry:
            self.own[entry.socketId] = entry
            self.presence.remove(entry.socketId)
            self.presence.add(entry)

    def settle(self) -> Changes:
        """Remove the connections in doubt."""
        return self._forget(self._doubtful)

    def forget_others(self) -> Changes:
        """Remove the connections of all other instances."""
        return self._forget(self._others())

    def _others(self) -> set[str]:
        return {entry.socketId for entry in self.presence.entries} - (self.own.keys() - self.moved)

    def _forget(self, socket_ids: Collection[str]) -> Changes:
        changes = Changes()
        for socket_id in tuple(socket_ids):
            self._remove(socket_id, changes)
        return changes

    def _add(self, entry: PresenceEntry, changes: Changes) -> None:
        socket_id = entry.socketId
        if socket_id in self.own and socket_id not in self.moved:
            return
        self._doubtful.discard(socket_id)
        known = self.presence.get(socket_id)
        if known == entry:
            return
        if known is not None:  # it has left and rejoined without an announcement
            self._remove(socket_id, changes)
        self.presence.add(entry)
        changes.joined.append(entry)

    def _remove(self, socket_id: str, changes: Changes) -> None:
        self._doubtful.discard(socket_id)
        entry = self.presence.remove(socket_id)
        if entry is not None:
            changes.left.append(entry)
