"""Joining and leaving projects, and telling who is there."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from synkora.collaboration.access import Role
from synkora.collaboration.members import Member
from synkora.collaboration.payloads import UserJoined, UserLeft, UsersCount
from synkora.collaboration.presence import Presence, Presentee
from synkora.collaboration.timestamps import now
from synkora.sockets import packets
from synkora.sockets.errors import EventRefused
from synkora.sockets.namespace import Namespace
from synkora.sockets.socket import Socket

log = structlog.get_logger(__name__)

_ACTIVE: Final = "users:active"


class _Changes:
    """What has changed in a project in this turn of the event loop, and who asked for its list."""

    __slots__ = ("asked", "changed", "left")

    def __init__(self) -> None:
        self.asked: dict[str, Socket] = {}
        self.changed = False
        self.left = False


class Projects:
    """Lets members into projects and out of them, and tells the members of this server who comes and goes.

    Who came or went is told as soon as presence knows. Lists and counts are told at the end of the turn of the event
    loop, once for all that happened in it, or as soon as presence knows them.
    """

    def __init__(self, namespace: Namespace, presence: Presence) -> None:
        self._namespace = namespace
        self._presence = presence
        self._changes: dict[str, _Changes] = {}
        self._held: dict[str, _Changes] = {}  # until presence knows the list
        self.is_closing = False
        self.joins = 0
        presence.listen(self)

    def welcome_again(self, member: Member, project_id: str) -> None:
        """Tell a member who is in already who is there; nobody else hears of it."""
        self._note(project_id).asked[member.socket.id] = member.socket

    def join(self, member: Member, project_id: str, role: Role) -> None:
        """Let a member in. Raises `EventRefused` for an id that is none of a project."""
        socket, user = member.socket, member.user
        if project_id in self._namespace.adapter.rooms.members:
            raise EventRefused("Project ID is a connection's id")  # whose own room has that name
        self._note(project_id).asked[socket.id] = socket
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
        self._note(project_id).changed = True
        who = presentee
        payload = UserJoined(who.socketId, who.userId, who.userName, who.joinedAt, who.userImage)
        self._emit(project_id, "user:joined", payload, but=who.socketId)

    def left(self, project_id: str, presentee: Presentee) -> None:
        """Tell those left behind of a connection that has gone."""
        if self.is_closing:
            return
        changes = self._note(project_id)
        changes.changed = changes.left = True
        payload = UserLeft(presentee.socketId, presentee.userId, presentee.userName, now())
        self._emit(project_id, "user:left", payload)

    def completed(self, project_id: str) -> None:
        """Tell those who wait for a project's list."""
        self._note(project_id).changed = True

    def _emit(self, project_id: str, event: str, payload: object, but: str | None = None) -> None:
        """Send an event to the members of this server."""
        message = packets.event(self._namespace.name, event, (payload,))
        self._namespace.adapter.relay(message, project_id, but, local=True)

    def _note(self, project_id: str) -> _Changes:
        if not self._changes:
            asyncio.get_running_loop().call_soon(self._tell)
        changes = self._changes.get(project_id)
        if changes is None:
            changes = self._held.pop(project_id) if project_id in self._held else _Changes()
            self._changes[project_id] = changes
        return changes

    def _tell(self) -> None:
        changes, self._changes = self._changes, {}
        for project_id, change in changes.items():
            if not self._presence.is_complete(project_id):
                self._held[project_id] = change
                continue
            if change.left:
                self._emit(project_id, _ACTIVE, self._presence.roster(project_id))
            elif change.asked:
                roster = packets.event(self._namespace.name, _ACTIVE, [self._presence.roster(project_id)])
                for socket in change.asked.values():
                    socket.put(roster)
            if change.changed:
                self._emit(project_id, "users:count", UsersCount(self._presence.count(project_id)))
