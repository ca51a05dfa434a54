"""Presence without a cluster."""

from synkora.collaboration.presence import Occupancy, PresenceEntry, PresenceListener, Roster
from synkora.collaboration.project_presence import EMPTY, ProjectPresence
from synkora.collaboration.transitions import OnTransition, Transition, TransitionData


class LocalPresence:
    """Keeps the connections of this server, and reports changes immediately.

    `on_transition` gets the first entry and the last leave of each user and in each project.
    """

    def __init__(self, on_transition: OnTransition | None = None) -> None:
        self._on_transition = on_transition
        self._projects: dict[str, ProjectPresence] = {}
        self._listener: PresenceListener | None = None

    def listen(self, listener: PresenceListener) -> None:
        self._listener = listener

    @property
    def project_count(self) -> int:
        return len(self._projects)

    @property
    def local_projects(self) -> list[str]:
        return list(self._projects)

    def occupancy(self, project_id: str) -> Occupancy:
        project = self._projects.get(project_id, EMPTY)
        return Occupancy(project.count, len(project), True)

    def add_connection(self, project_id: str, entry: PresenceEntry) -> None:
        project = self._projects.setdefault(project_id, ProjectPresence())
        users = project.count
        if not project.add(entry):
            return
        if self._on_transition is not None and project.count > users:
            if not users:
                self._on_transition(Transition.OCCUPIED, TransitionData(project_id))
            self._on_transition(Transition.ENTERED, TransitionData(project_id, entry.userId))
        if self._listener is not None:
            self._listener.joined(project_id, entry)

    def hold_connection(self, project_id: str, socket_id: str) -> None:
        """Do nothing: a client that returns does so to this server."""

    def remove_connection(self, project_id: str, socket_id: str) -> None:
        project = self._projects.get(project_id, EMPTY)
        users = project.count
        entry = project.remove(socket_id)
        if entry is None:
            return
        if self._on_transition is not None and project.count < users:
            self._on_transition(Transition.LEFT, TransitionData(project_id, entry.userId))
            if not project.count:
                self._on_transition(Transition.VACANT, TransitionData(project_id))
        if not project:
            del self._projects[project_id]
        if self._listener is not None:
            self._listener.left(project_id, entry)

    def roster(self, project_id: str) -> Roster:
        return self._projects.get(project_id, EMPTY).roster

    def count(self, project_id: str) -> int:
        return self._projects.get(project_id, EMPTY).count

    def connections(self, project_id: str) -> int:
        return len(self._projects.get(project_id, EMPTY))

    def is_complete(self, project_id: str) -> bool:
        """Always True: there are no other servers."""
        return True
