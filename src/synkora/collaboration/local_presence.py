"""Presence on a server that is alone."""

from synkora.collaboration.presence import Occupancy, PresenceEntry, PresenceListener, Roster
from synkora.collaboration.project_presence import NOBODY, ProjectPresence


class LocalPresence:
    """Knows the connections of this server alone, and tells of each change at once."""

    def __init__(self) -> None:
        self._projects: dict[str, ProjectPresence] = {}
        self._listener: PresenceListener | None = None

    def listen(self, listener: PresenceListener) -> None:
        """Tell `listener` of all that changes."""
        self._listener = listener

    @property
    def projects(self) -> int:
        """How many projects have someone in them."""
        return len(self._projects)

    @property
    def here(self) -> list[str]:
        """The ids of those projects."""
        return list(self._projects)

    def occupancy(self, project_id: str) -> Occupancy:
        """How many are in a project."""
        attendance = self._projects.get(project_id, NOBODY)
        return Occupancy(attendance.count, len(attendance), True)

    def join(self, project_id: str, entry: PresenceEntry) -> None:
        """Note that a connection has joined."""
        if self._projects.setdefault(project_id, ProjectPresence()).add(entry) and self._listener is not None:
            self._listener.joined(project_id, entry)

    def leave(self, project_id: str, socket_id: str) -> None:
        """Note that it has left."""
        attendance = self._projects.get(project_id, NOBODY)
        entry = attendance.remove(socket_id)
        if entry is None:
            return
        if not attendance:
            del self._projects[project_id]
        if self._listener is not None:
            self._listener.left(project_id, entry)

    def roster(self, project_id: str) -> Roster:
        """Everyone in a project, each user once, in the order of their coming."""
        return self._projects.get(project_id, NOBODY).roster

    def count(self, project_id: str) -> int:
        """How many users are in a project."""
        return self._projects.get(project_id, NOBODY).count

    def connections(self, project_id: str) -> int:
        """How many connections are in a project."""
        return len(self._projects.get(project_id, NOBODY))

    def is_complete(self, project_id: str) -> bool:
        """Always: there are no others."""
        return True
