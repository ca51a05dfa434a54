"""The presence of one project, as pure state."""

from collections.abc import Collection
from typing import Final

from synkora.collaboration.payloads import ActiveUser
from synkora.collaboration.presence import PresenceEntry, Roster
from synkora.protocol.json import Raw, encode


class ProjectPresence:
    """The connections in one project, and their users in order of arrival."""

    __slots__ = ("_entries", "_users")

    def __init__(self) -> None:
        self._entries: dict[str, PresenceEntry] = {}
        self._users: dict[str, dict[str, tuple[str, Raw]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, socket_id: str) -> PresenceEntry | None:
        """Return a connection, or None."""
        return self._entries.get(socket_id)

    @property
    def entries(self) -> Collection[PresenceEntry]:
        """The connections, in order of arrival."""
        return self._entries.values()

    def add(self, entry: PresenceEntry) -> bool:
        """Add a connection; return False if it is there already."""
        if entry.socketId in self._entries:
            return False
        self._entries[entry.socketId] = entry
        user = ActiveUser(entry.userId, entry.userName, entry.joinedAt, entry.userImage)
        connections = self._users.setdefault(entry.userId, {})
        connections[entry.socketId] = (entry.joinedAt, Raw(encode(user)))
        return True

    def remove(self, socket_id: str) -> PresenceEntry | None:
        """Remove and return a connection, or None."""
        entry = self._entries.pop(socket_id, None)
        if entry is not None:
            connections = self._users[entry.userId]
            del connections[socket_id]
            if not connections:
                del self._users[entry.userId]
        return entry

    @property
    def roster(self) -> Roster:
        """Each user once, with the user's earliest connection."""
        return Roster([_earliest(connections) for connections in self._users.values()], len(self._users))

    @property
    def smallest_id(self) -> str | None:
        """The smallest socket id: the same on all servers that know the same connections."""
        return min(self._entries, default=None)

    @property
    def count(self) -> int:
        """Number of users."""
        return len(self._users)


def _earliest(connections: dict[str, tuple[str, Raw]]) -> Raw:
    if len(connections) == 1:
        ((_, entry),) = connections.values()
    else:
        _, entry = min(connections.values(), key=lambda connection: connection[0])
    return entry


EMPTY: Final = ProjectPresence()  # read only
