"""Presence without a cluster."""

from synkora.collaboration.presence import Occupancy, PresenceEntry, PresenceListener, Roster
from synkora.collaboration.project_presence import EMPTY, ProjectPresence


class LocalPresence:
    """Keeps the connections of this server, and reports changes immediately."""

    def __init__(self) -> None:
        self._projects: dict[str, ProjectPresence] = {}
        self._listener: PresenceListener | None = None

    def listen(self, listener: PresenceListener) -> None:
        """Report all changes to `listener`."""
        self._listener = listener

    @property
    def project_count(self) -> int:
        """Number of projects with a member."""
        return len(self._projects)

    @property
    def local_projects(self) -> list[str]:
        """The ids of projects with a member."""
        return list(self._projects)

    def occupancy(self, project_id: str) -> Occupancy:
        """Return the number of users and connections in a project."""
        attendance = self._projects.get(project_id, EMPTY)
        return Occupancy(attendance.count, len(attendance), True)

    def add_connection(self, project_id: str, entry: PresenceEntry) -> None:
        """Add a connection to a project."""
        if self._projects.setdefault(project_id, ProjectPresence()).add(entry) and self._listener is not None:
            self._listener.joined(project_id, entry)

    def remove_connection(self, project_id: str, socket_id: str) -> None:
        """Remove a connection from a project."""
        attendance = self._projects.get(project_id, EMPTY)
        entry = attendance.remove(socket_id)
        if entry is None:
            return
        if not attendance:
            del self._projects[project_id]
        if self._listener is not None:
            self._listener.left(project_id, entry)

    def roster(self, project_id: str) -> Roster:
        """Return each user in a project once, in order of arrival."""
        return self._projects.get(project_id, EMPTY).roster

    def count(self, project_id: str) -> int:
        """Return the number of users in a project."""
        return self._projects.get(project_id, EMPTY).count

    def connections(self, project_id: str) -> int:
        """Return the number of connections in a project."""
        return len(self._projects.get(project_id, EMPTY))

    def is_complete(self, project_id: str) -> bool:
        """Always True: there are no other servers."""
        return True
