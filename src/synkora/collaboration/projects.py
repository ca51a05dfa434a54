"""Joining and leaving projects, and telling who is there."""

import asyncio
from typing import Final

import msgspec
import structlog

from synkora.collaboration.access import Role
from synkora.collaboration.members import Member
from synkora.collaboration.presence import Presence
from synkora.collaboration.timestamps import now
from synkora.sockets import packets
from synkora.sockets.errors import EventRefused
from synkora.sockets.namespace import Namespace
from synkora.sockets.socket import Socket

log = structlog.get_logger(__name__)

_ACTIVE: Final = "users:active"


class Joined(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload of `user:joined`."""

    socketId: str
    userId: str
    userName: str
    timestamp: str
    userImage: str | None = None


class Left(msgspec.Struct, frozen=True):
    """The payload of `user:left`."""

    socketId: str
    userId: str
    userName: str
    timestamp: str


class Count(msgspec.Struct, frozen=True):
    """The payload of `users:count`."""

    count: int


class _Changes:
    """What has changed in a project in this turn of the event loop, and who asked for its list."""

    __slots__ = ("asked", "changed", "left")

    def __init__(self) -> None:
        self.asked: dict[str, Socket] = {}
        self.changed = False
        self.left = False


class Projects:
    """Lets members into projects and out of them.

    Who came or went is told at once. Lists and counts are told at the end of the turn of the event loop, once for all
    that happened in it.
    """

    def __init__(self, namespace: Namespace, presence: Presence) -> None:
        self._namespace = namespace
        self._presence = presence
        self._changes: dict[str, _Changes] = {}
        self.is_closing = False

    def welcome_again(self, member: Member, project_id: str) -> None:
        """Tell a member who is in already who is there; nobody else hears of it."""
        self._note(project_id).asked[member.socket.id] = member.socket

    def join(self, member: Member, project_id: str, role: Role) -> None:
        """Let a member in. Raises `EventRefused` for an id that is none of a project."""
        socket, user = member.socket, member.user
        if project_id in self._namespace.adapter.rooms.members:
            raise EventRefused("Project ID is a connection's id")  # whose own room has that name
        changes = self._note(project_id)
        changes.asked[socket.id] = socket
        changes.changed = True
        timestamp = now()
        member.projects[project_id] = role
        socket.join(project_id)
        self._presence.join(project_id, socket.id, user, timestamp)
        socket.to(project_id).emit("user:joined", Joined(socket.id, user.id, user.name, timestamp, user.image))
        log.info("project_joined", userName=user.name, userId=user.id, projectId=project_id, socketId=socket.id)

    def leave(self, member: Member, project_id: str) -> None:
        """Let a member out; one who is not in it may leave too, as a page's hooks do."""
        if project_id not in member.projects:
            return
        del member.projects[project_id]
        member.socket.leave(project_id)
        self._leave(member, project_id)
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
            self._leave(member, project_id)
        member.projects.clear()

    def _leave(self, member: Member, project_id: str) -> None:
        user = member.user
        self._presence.leave(project_id, member.socket.id, user)
        if self.is_closing:
            return
        changes = self._note(project_id)
        changes.changed = changes.left = True
        self._namespace.to(project_id).emit("user:left", Left(member.socket.id, user.id, user.name, now()))

    def _note(self, project_id: str) -> _Changes:
        if not self._changes:
            asyncio.get_running_loop().call_soon(self._tell)
        return self._changes.setdefault(project_id, _Changes())

    def _tell(self) -> None:
        changes, self._changes = self._changes, {}
        for project_id, change in changes.items():
            if change.left:
                self._namespace.to(project_id).emit(_ACTIVE, self._presence.roster(project_id))
            elif change.asked:
                roster = packets.event(self._namespace.name, _ACTIVE, [self._presence.roster(project_id)])
                for socket in change.asked.values():
                    socket.put(roster)
            if change.changed:
                self._namespace.to(project_id).emit("users:count", Count(self._presence.count(project_id)))
