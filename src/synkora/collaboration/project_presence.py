"""Who is in one project: pure state."""

from collections.abc import Collection
from typing import Final

from synkora.collaboration.payloads import ActiveUser
from synkora.collaboration.presence import PresenceEntry, Roster
from synkora.protocol.json import Raw, encode


class ProjectPresence:
    """The connections in one project, whose users come in the order of their coming."""

    __slots__ = ("_entries", "_users")

    def __init__(self) -> None:
        self._entries: dict[str, PresenceEntry] = {}
        self._users: dict[str, dict[str, tuple[str, Raw]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, socket_id: str) -> PresenceEntry | None:
        """A connection, if it is there."""
        return self._entries.get(socket_id)

    @property
    def presentees(self) -> Collection[PresenceEntry]:
        """The connections, in the order of their coming."""
        return self._entries.values()

    def add(self, entry: PresenceEntry) -> bool:
        """Note one that has come; False if it is there already."""
        if entry.socketId in self._entries:
            return False
        self._entries[entry.socketId] = entry
        user = ActiveUser(entry.userId, entry.userName, entry.joinedAt, entry.userImage)
        connections = self._users.setdefault(entry.userId, {})
        connections[entry.socketId] = (entry.joinedAt, Raw(encode(user)))
        return True

    def remove(self, socket_id: str) -> PresenceEntry | None:
        """Forget one, and return it if it was there."""
        entry = self._entries.pop(socket_id, None)
        if entry is not None:
            connections = self._users[entry.userId]
            del connections[socket_id]
            if not connections:
                del self._users[entry.userId]
        return entry

    @property
    def roster(self) -> Roster:
        """Each user once, with the earliest of their connections."""
        return Roster([_earliest(connections) for connections in self._users.values()], len(self._users))

    @property
    def least(self) -> str | None:
        """The least of the connections' ids: the same wherever the same connections are known."""
        return min(self._entries, default=None)

    @property
    def count(self) -> int:
        """How many users there are."""
        return len(self._users)


def _earliest(connections: dict[str, tuple[str, Raw]]) -> Raw:
    if len(connections) == 1:
        ((_, entry),) = connections.values()
    else:
        _, entry = min(connections.values(), key=lambda connection: connection[0])
    return entry


NOBODY: Final = ProjectPresence()  # to be read alone
