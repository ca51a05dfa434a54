"""The port for presence: the connections and users in each project."""

from typing import NamedTuple, Protocol

import msgspec

from synkora.protocol.json import Raw


class PresenceEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A connection in a project; `joinedAt` is in ISO 8601.

    `cluster/common.lua` reads the first three fields in this order.
    """

    socketId: str
    userId: str
    userName: str
    joinedAt: str
    userImage: str | None = None


class Roster(msgspec.Struct, frozen=True):
    """`ActiveUsers` with encoded users."""

    users: list[Raw]
    count: int


class Occupancy(NamedTuple):
    """The number of users and connections in a project, as far as this server knows.

    While all servers know the same, `is_reporter` is true on exactly one of the servers with a member in the project,
    so that the sum over all servers counts each project once.
    """

    users: int
    connections: int
    is_reporter: bool


class PresenceListener(Protocol):
    """Handles changes of presence. A change of this server's connections is reported within the call that makes it."""

    def joined(self, project_id: str, entry: PresenceEntry) -> None:
        """Handle the join of a connection."""
        ...

    def left(self, project_id: str, entry: PresenceEntry) -> None:
        """Handle the leave of a connection."""
        ...

    def completed(self, project_id: str) -> None:
        """Handle a roster that has become complete, or that this server forgets.

        Its additions are not reported by `joined`.
        """
        ...


class Presence(Protocol):
    """Keeps the connections in each project."""

    def listen(self, listener: PresenceListener) -> None:
        """Report all changes to `listener`."""
        ...

    def add_connection(self, project_id: str, entry: PresenceEntry) -> None:
        """Add a connection of this server to a project; without effect if it has joined already."""
        ...

    def hold_connection(self, project_id: str, socket_id: str) -> None:
        """Note that a connection of this server is lost, and that its client may return to any server.

        The connection stays until it is removed; the removal does nothing if another server has it then.
        """
        ...

    def remove_connection(self, project_id: str, socket_id: str) -> None:
        """Remove a connection of this server from a project; without effect if it has not joined."""
        ...

    def roster(self, project_id: str) -> Roster:
        """Return each user in a project once, in order of arrival."""
        ...

    def count(self, project_id: str) -> int:
        """Return the number of users in a project."""
        ...

    def connections(self, project_id: str) -> int:
        """Return the number of connections in a project, on all servers; an assumed one while it is not known."""
        ...

    def is_complete(self, project_id: str) -> bool:
        """Whether roster and count are complete; `completed` is called when they become complete."""
        ...

    @property
    def project_count(self) -> int:
        """Number of projects with a connection of this server."""
        ...

    @property
    def local_projects(self) -> list[str]:
        """The ids of projects with a connection of this server."""
        ...

    def occupancy(self, project_id: str) -> Occupancy:
        """Return the number of users and connections in a project, on all servers."""
        ...
