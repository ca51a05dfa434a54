"""Joining and leaving projects, and telling who is there."""

from collections.abc import Sequence
from typing import Final

import structlog

from synkora.collaboration.access import Role
from synkora.collaboration.members import Member
from synkora.collaboration.presence import Presence, PresenceEntry
from synkora.collaboration.presence_updates import PresenceUpdates
from synkora.engine.timeouts import TimeoutQueue
from synkora.protocol.timestamps import now
from synkora.sockets.errors import EventRefused
from synkora.sockets.internals import adapter_of
from synkora.sockets.namespace import Namespace

log = structlog.get_logger(__name__)

LEAVE_DELAY: Final = 1.0  # seconds: a page that changes its tab leaves and joins again within moments


class Projects:
    """Lets members into projects and out of them, and tells the members of this server who comes and goes.

    `PresenceUpdates` says when each of them is told what. A leave is announced `leave_delay` seconds later, and not at
    all if the same connection joins again by then.
    """

    def __init__(self, namespace: Namespace, presence: Presence, *, leave_delay: float = LEAVE_DELAY) -> None:
        self._leave_delay = leave_delay
        self._leaving: TimeoutQueue[tuple[Member, str]] = TimeoutQueue(
            leave_delay, lambda key: self._announce_leave(*key)
        )
        self._namespace = namespace
        self._presence = presence
        self._lists = PresenceUpdates(namespace, presence)
        self.is_closing = False
        self.joins = 0
        presence.listen(self)

    def resend_roster(self, member: Member, project_id: str) -> None:
        """Tell a member who is in already who is there; nobody else hears of it."""
        self._lists.ask(project_id, member.socket.id)

    def check_id(self, project_id: str) -> None:
        """Make sure that an id is not the id of a connection, whose own room has that name. Raises `EventRefused`."""
        if project_id in adapter_of(self._namespace).rooms.members:
            raise EventRefused("Project ID is a connection's id")

    def join(self, member: Member, project_id: str, role: Role) -> None:
        """Let a member in. Raises `EventRefused` for an id that belongs to a connection."""
        self.check_id(project_id)
        socket, user = member.socket, member.user
        is_back = project_id in member.leaving
        self._lists.ask(project_id, socket.id, with_count=is_back)
        member.projects[project_id] = role
        self.joins += 1
        if is_back:
            member.leaving.discard(project_id)
            self._leaving.drop((member, project_id))
        socket.join(project_id)
        self._presence.join(project_id, PresenceEntry(socket.id, user.id, user.name, now(), user.image))
        log.info("project_joined", userName=user.name, userId=user.id, projectId=project_id, socketId=socket.id)

    def leave(self, member: Member, project_id: str, *, at_once: bool = False) -> None:
        """Let a member out. Leaving a project that was not joined is no error, since a page's hooks do so.

        The member gets nothing more of the project from now on. The others are told after the delay, or `at_once`.
        """
        if project_id not in member.projects:
            return
        del member.projects[project_id]
        member.socket.leave(project_id)
        if at_once or not self._leave_delay:
            self._presence.leave(project_id, member.socket.id)
        else:
            member.leaving.add(project_id)
            self._leaving.add((member, project_id))
        log.info(
            "project_left",
            userName=member.user.name,
            userId=member.user.id,
            projectId=project_id,
            socketId=member.socket.id,
        )

    def _announce_leave(self, member: Member, project_id: str) -> None:
        member.leaving.discard(project_id)
        self._presence.leave(project_id, member.socket.id)

    def _announce_leaves(self, member: Member) -> None:
        for project_id in tuple(member.leaving):
            self._leaving.drop((member, project_id))
            self._announce_leave(member, project_id)

    def close(self) -> None:
        """Announce nothing more."""
        self._leaving.cancel()

    def leave_all(self, member: Member) -> None:
        """Let a member out of everything, since their connection has ended."""
        self._announce_leaves(member)
        for project_id in member.projects:
            self._presence.leave(project_id, member.socket.id)
        member.projects.clear()

    def leave_for_drain(self, members: Sequence[Member]) -> None:
        """Let members out for everyone else, while the edits that they still send are relayed."""
        for member in members:
            member.is_draining = True
            for pending in member.pending.values():
                pending.settle_joins()
            for project_id in member.projects:
                member.socket.leave(project_id)  # all of them first: who goes is not told who goes along
        for member in members:
            self._announce_leaves(member)
            for project_id in member.projects:
                self._presence.leave(project_id, member.socket.id)

    # What presence tells

    def joined(self, project_id: str, entry: PresenceEntry) -> None:
        """Tell the others in a project of a connection that has come."""
        self._lists.joined(project_id, entry)

    def left(self, project_id: str, entry: PresenceEntry) -> None:
        """Tell those left behind of a connection that has gone."""
        if not self.is_closing:
            self._lists.left(project_id, entry)

    def completed(self, project_id: str) -> None:
        """Tell those who wait for a project's list."""
        self._lists.completed(project_id)
