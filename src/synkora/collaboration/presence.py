"""Who is where: pure state, and the port to where it is kept."""

from typing import Protocol

import msgspec

from synkora.identity.user import User
from synkora.protocol.json import Raw, encode


class Entry(msgspec.Struct, omit_defaults=True, frozen=True):
    """A user in a project, as the app lists them."""

    userId: str
    userName: str
    joinedAt: str
    userImage: str | None = None


class Roster(msgspec.Struct, frozen=True):
    """The payload of `users:active`."""

    users: list[Raw]
    count: int


class Presence(Protocol):
    """Where it is kept who is in which project."""

    def join(self, project_id: str, socket_id: str, user: User, joined_at: str) -> None:
        """Note that a connection of `user` has joined; one that is in the project already stays as it is."""
        ...

    def leave(self, project_id: str, socket_id: str, user: User) -> None:
        """Note that it has left; one that is not in the project may leave too."""
        ...

    def roster(self, project_id: str) -> Roster:
        """Everyone in a project, each user once, in the order of their coming."""
        ...

    def count(self, project_id: str) -> int:
        """How many users are in a project."""
        ...

    @property
    def projects(self) -> int:
        """How many projects have someone in them."""
        ...


class _Presentee:
    """A user in a project, with each of their connections there and its entry, the earliest first."""

    __slots__ = ("connections",)

    def __init__(self) -> None:
        self.connections: dict[str, Raw] = {}

    @property
    def entry(self) -> Raw:
        return next(iter(self.connections.values()))


class LocalPresence:
    """Knows the connections of this server alone."""

    def __init__(self) -> None:
        self._projects: dict[str, dict[str, _Presentee]] = {}

    @property
    def projects(self) -> int:
        """How many projects have someone in them."""
        return len(self._projects)

    def join(self, project_id: str, socket_id: str, user: User, joined_at: str) -> None:
        """Note that a connection of `user` has joined."""
        users = self._projects.setdefault(project_id, {})
        presentee = users.get(user.id)
        if presentee is None:
            presentee = users[user.id] = _Presentee()
        if socket_id not in presentee.connections:
            entry = Entry(userId=user.id, userName=user.name, joinedAt=joined_at, userImage=user.image)
            presentee.connections[socket_id] = Raw(encode(entry))

    def leave(self, project_id: str, socket_id: str, user: User) -> None:
        """Note that it has left."""
        users = self._projects.get(project_id)
        presentee = users.get(user.id) if users else None
        if users is None or presentee is None:
            return
        presentee.connections.pop(socket_id, None)
        if not presentee.connections:
            del users[user.id]
        if not users:
            del self._projects[project_id]

    def roster(self, project_id: str) -> Roster:
        """Everyone in a project, each user once, in the order of their coming."""
        users = self._projects.get(project_id, {})
        return Roster([presentee.entry for presentee in users.values()], len(users))

    def count(self, project_id: str) -> int:
        """How many users are in a project."""
        return len(self._projects.get(project_id, ()))
