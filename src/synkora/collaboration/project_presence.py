"""Who is in one project: pure state."""

from collections.abc import Collection
from typing import Final

from synkora.collaboration.payloads import ActiveUser
from synkora.collaboration.presence import Presentee, Roster
from synkora.protocol.json import Raw, encode


class Attendance:
    """The connections in one project, whose users come in the order of their coming."""

    __slots__ = ("_presentees", "_users")

    def __init__(self) -> None:
        self._presentees: dict[str, Presentee] = {}
        self._users: dict[str, dict[str, tuple[str, Raw]]] = {}

    def __len__(self) -> int:
        return len(self._presentees)

    def get(self, socket_id: str) -> Presentee | None:
        """A connection, if it is there."""
        return self._presentees.get(socket_id)

    @property
    def presentees(self) -> Collection[Presentee]:
        """The connections, in the order of their coming."""
        return self._presentees.values()

    def add(self, presentee: Presentee) -> bool:
        """Note one that has come; False if it is there already."""
        if presentee.socketId in self._presentees:
            return False
        self._presentees[presentee.socketId] = presentee
        entry = ActiveUser(presentee.userId, presentee.userName, presentee.joinedAt, presentee.userImage)
        connections = self._users.setdefault(presentee.userId, {})
        connections[presentee.socketId] = (presentee.joinedAt, Raw(encode(entry)))
        return True

    def remove(self, socket_id: str) -> Presentee | None:
        """Forget one, and return it if it was there."""
        presentee = self._presentees.pop(socket_id, None)
        if presentee is not None:
            connections = self._users[presentee.userId]
            del connections[socket_id]
            if not connections:
                del self._users[presentee.userId]
        return presentee

    @property
    def roster(self) -> Roster:
        """Each user once, with the earliest of their connections."""
        return Roster([_earliest(connections) for connections in self._users.values()], len(self._users))

    @property
    def least(self) -> str | None:
        """The least of the connections' ids: the same wherever the same connections are known."""
        return min(self._presentees, default=None)

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


NOBODY: Final = Attendance()  # to be read alone
