"""Joining and leaving projects, and telling who is there."""

from collections.abc import Sequence

import structlog

from synkora.collaboration.access import Role
from synkora.collaboration.lists import Lists
from synkora.collaboration.members import Member
from synkora.collaboration.presence import Presence, Presentee
from synkora.collaboration.timestamps import now
from synkora.sockets.errors import EventRefused
from synkora.sockets.namespace import Namespace

log = structlog.get_logger(__name__)


class Projects:
    """Lets members into projects and out of them, and tells the members of this server who comes and goes.

    `Lists` says when each of them is told what.
    """

    def __init__(self, namespace: Namespace, presence: Presence) -> None:
        self._namespace = namespace
        self._presence = presence
        self._lists = Lists(namespace, presence)
        self.is_closing = False
        self.joins = 0
        presence.listen(self)

    def welcome_again(self, member: Member, project_id: str) -> None:
        """Tell a member who is in already who is there; nobody else hears of it."""
        self._lists.ask(project_id, member.socket.id)

    def join(self, member: Member, project_id: str, role: Role) -> None:
        """Let a member in. Raises `EventRefused` for an id that is none of a project."""
        socket, user = member.socket, member.user
        if project_id in self._namespace.adapter.rooms.members:
            raise EventRefused("Project ID is a connection's id")  # whose own room has that name
        self._lists.ask(project_id, socket.id)
        member.projects[project_id] = role
        self.joins += 1
        socket.join(project_id)
        self._presence.join(project_id, Presentee(socket.id, user.id, user.name, now(), user.image))
        log.info("project_joined", userName=user.name, userId=user.id, projectId=project_id, socketId=socket.id)

    def leave(self, member: Member, project_id: str) -> None:
        """Let a member out; one who is not in it may leave too, as a page's hooks do."""
        if project_id not in member.projects:
            return
        del member.projects[project_id]
        member.socket.leave(project_id)
        self._presence.leave(project_id, member.socket.id)
        log.info(
            "project_left",
            userName=member.user.name,
            userId=member.user.id,
            projectId=project_id,
            socketId=member.socket.id,
        )

    def leave_all(self, member: Member) -> None:
        """Let a member out of everything, since their connection has ended."""
        for project_id in member.projects:
            self._presence.leave(project_id, member.socket.id)
        member.projects.clear()

    def step_out(self, members: Sequence[Member]) -> None:
        """Let members out for everyone else, while the edits that they still send are relayed."""
        for member in members:
            member.is_parting = True
            member.joining = None
            for project_id in member.projects:
                member.socket.leave(project_id)  # all of them first: who goes is not told who goes along
        for member in members:
            for project_id in member.projects:
                self._presence.leave(project_id, member.socket.id)

    # What presence tells

    def joined(self, project_id: str, presentee: Presentee) -> None:
        """Tell the others in a project of a connection that has come."""
        self._lists.joined(project_id, presentee)

    def left(self, project_id: str, presentee: Presentee) -> None:
        """Tell those left behind of a connection that has gone."""
        if not self.is_closing:
            self._lists.left(project_id, presentee)

    def completed(self, project_id: str) -> None:
        """Tell those who wait for a project's list."""
        self._lists.completed(project_id)
