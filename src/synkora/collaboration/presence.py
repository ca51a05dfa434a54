"""Who is where: the port to where it is kept."""

from typing import NamedTuple, Protocol

import msgspec

from synkora.protocol.json import Raw


class PresenceEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A connection of somebody who is in a project; `joinedAt` is when it joined, in ISO 8601."""

    socketId: str
    userId: str
    userName: str
    joinedAt: str
    userImage: str | None = None


class Roster(msgspec.Struct, frozen=True):
    """`ActiveUsers`, whose users are encoded already."""

    users: list[Raw]
    count: int


class Occupancy(NamedTuple):
    """How many are in a project, as far as is known here.

    `is_reporter` is true on one of the servers that have somebody in the project, as long as all know the same, so
    that those who count projects count each once.
    """

    users: int
    connections: int
    is_reporter: bool


class PresenceListener(Protocol):
    """Hears what changes, of its own server's connections within the call that changes it."""

    def joined(self, project_id: str, entry: PresenceEntry) -> None:
        """A connection has come into a project."""
        ...

    def left(self, project_id: str, entry: PresenceEntry) -> None:
        """One has gone."""
        ...

    def completed(self, project_id: str) -> None:
        """A roster that was not complete has become so; of those whom that has added nobody else tells."""
        ...


class Presence(Protocol):
    """Where it is kept who is in which project."""

    def listen(self, listener: PresenceListener) -> None:
        """Tell `listener` of all that changes."""
        ...

    def join(self, project_id: str, entry: PresenceEntry) -> None:
        """Note that a connection of this server has joined; one that is in the project already stays as it is."""
        ...

    def leave(self, project_id: str, socket_id: str) -> None:
        """Note that it has left; one that is not in the project may leave too."""
        ...

    def roster(self, project_id: str) -> Roster:
        """Everyone in a project, each user once, in the order of their coming."""
        ...

    def count(self, project_id: str) -> int:
        """How many users are in a project."""
        ...

    def connections(self, project_id: str) -> int:
        """How many connections are in a project, on all servers, as far as is known here."""
        ...

    def is_complete(self, project_id: str) -> bool:
        """Whether roster and count are worth telling; if not, `completed` says when they are."""
        ...

    @property
    def projects(self) -> int:
        """How many projects have a connection of this server in them."""
        ...

    @property
    def here(self) -> list[str]:
        """The ids of those projects."""
        ...

    def occupancy(self, project_id: str) -> Occupancy:
        """How many are in a project, on all servers."""
        ...
