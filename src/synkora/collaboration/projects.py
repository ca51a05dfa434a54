"""The members of projects: joins, leaves, the delay of a leave, and presence updates."""

from collections.abc import Iterable, Sequence
from time import time
from typing import Final, NamedTuple

import structlog

from synkora.collaboration.access import Role
from synkora.collaboration.members import Member
from synkora.collaboration.presence import Presence, PresenceEntry
from synkora.collaboration.presence_updates import PresenceUpdates
from synkora.engine.close_reasons import Reason
from synkora.engine.timeouts import TimeoutQueue
from synkora.protocol.timestamps import now
from synkora.sockets.errors import EventRefused
from synkora.sockets.internals import adapter_of, may_return, recovery_of
from synkora.sockets.namespace import Namespace

log = structlog.get_logger(__name__)

PRESENCE_GRACE: Final = 5.0  # seconds
_MAX_LOST: Final = 10_000  # connections; of more, the first ones leave at once
LEAVE_DELAY: Final = 1.0  # seconds; a page that switches tabs leaves and rejoins immediately


class _Lost(NamedTuple):
    """A lost connection that is still in the lists of these projects."""

    user_id: str
    project_ids: tuple[str, ...]


class Projects:
    """Adds members to projects and removes them, and sends presence updates to the members of this server.

    `PresenceUpdates` decides when each member gets an update. A leave is announced after `leave_delay` seconds, and not
    at all if the same connection rejoins before. A lost connection whose client may return leaves after `grace`
    seconds, unless the client returns before, and at once if `max_lost` connections of its user were lost after it: the
    events of the other members count for each connection in the lists.
    """

    def __init__(
        self,
        namespace: Namespace,
        presence: Presence,
        *,
        leave_delay: float = LEAVE_DELAY,
        grace: float = PRESENCE_GRACE,
        max_lost: int = 0,
    ) -> None:
        self._grace = grace
        self._max_lost = max_lost or _MAX_LOST
        self._lost: dict[str, _Lost] = {}  # by socket id
        self._lost_of: dict[str, dict[str, None]] = {}  # the same by user, the first one first
        self._overdue: TimeoutQueue[str] = TimeoutQueue(grace, self.drop_lost)
        self._leave_delay = leave_delay
        self._leaving: TimeoutQueue[tuple[Member, str]] = TimeoutQueue(
            leave_delay, lambda key: self._announce_leave(*key)
        )
        self._namespace = namespace
        self._presence = presence
        self._updates = PresenceUpdates(namespace, presence)
        self.is_closing = False
        self.joins = 0
        presence.listen(self)

    @property
    def awaits_returns(self) -> bool:
        """Whether lost connections stay in the lists for a while."""
        return bool(self._grace) and recovery_of(self._namespace) is not None

    def resend_roster(self, member: Member, project_id: str) -> None:
        """Send the roster to a member of the project; other members get nothing."""
        self._updates.send_roster(project_id, member.socket.id)

    def check_id(self, project_id: str) -> None:
        """Check that an id is not a socket id, since each socket has a room with its id. Raises `EventRefused`."""
        if project_id in adapter_of(self._namespace).rooms.members:
            raise EventRefused("Project ID is a connection's id")

    def enter(self, member: Member, project_id: str, role: Role) -> None:
        """Add a member to a project. Raises `EventRefused` if the project id is a socket id."""
        self.check_id(project_id)
        socket, user = member.socket, member.user
        is_back = project_id in member.leaving
        self._updates.send_roster(project_id, socket.id, with_count=is_back)
        member.projects[project_id] = role
        self.joins += 1
        if is_back:
            member.leaving.discard(project_id)
            self._leaving.drop((member, project_id))
        socket.join(project_id)
        self._presence.add_connection(project_id, PresenceEntry(socket.id, user.id, user.name, now(), user.image))
        log.info("project_joined", userName=user.name, userId=user.id, projectId=project_id, socketId=socket.id)

    def exit(self, member: Member, project_id: str, *, at_once: bool = False) -> None:
        """Remove a member from a project. No error without a join, since a page's hooks leave twice.

        The member gets no further events of the project. The others get the leave after the delay, or `at_once`.
        """
        if project_id not in member.projects:
            return
        del member.projects[project_id]
        member.socket.leave(project_id)
        if at_once or not self._leave_delay:
            self._presence.remove_connection(project_id, member.socket.id)
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
        self._presence.remove_connection(project_id, member.socket.id)

    def _announce_leaves(self, member: Member) -> None:
        for project_id in tuple(member.leaving):
            self._leaving.drop((member, project_id))
            self._announce_leave(member, project_id)

    def close(self) -> None:
        """Cancel pending announcements of leaves."""
        self._leaving.cancel()
        self._overdue.cancel()

    def exit_all(self, member: Member, *, may_return: bool = False) -> None:
        """Remove a member from all projects at the end of the connection, or after a while if it `may_return`."""
        self._announce_leaves(member)
        socket_id = member.socket.id
        if may_return and self._grace and member.projects and not member.is_draining and not self.is_closing:
            self._await_return(member)
        elif socket_id not in self._lost:
            for project_id in member.projects:
                self._presence.remove_connection(project_id, socket_id)
        member.projects.clear()

    def _await_return(self, member: Member) -> None:
        """Keep a member in the lists for a while, though the connection is lost."""
        socket_id = member.socket.id
        self._note_lost(socket_id, member.user.id, member.projects)
        for project_id in member.projects:
            self._presence.hold_connection(project_id, socket_id)

    def _note_lost(self, socket_id: str, user_id: str, project_ids: Iterable[str]) -> None:
        of_user = self._lost_of.get(user_id, ())
        if socket_id not in of_user and len(of_user) >= self._max_lost:
            self.drop_lost(next(iter(of_user)))
        elif len(self._lost) >= _MAX_LOST:
            self.drop_lost(next(iter(self._lost)))
        self._lost[socket_id] = _Lost(user_id, tuple(project_ids))
        self._lost_of.setdefault(user_id, {})[socket_id] = None
        self._overdue.add(socket_id)

    def expect(self, entry: PresenceEntry, project_ids: Iterable[str], lost_at: float) -> None:
        """List a connection of the previous process, lost at this time in seconds since 1970, for a while.

        There may be two sessions of the connection, with different projects.
        """
        if time() < lost_at + self._grace:
            known = self._lost.get(entry.socketId)
            all_ids = dict.fromkeys((*(known.project_ids if known is not None else ()), *project_ids))
            self._note_lost(entry.socketId, entry.userId, all_ids)
            for project_id in all_ids:
                self._presence.add_connection(project_id, entry)

    def restore(self, member: Member, project_id: str, role: Role) -> None:
        """Put a member that has returned back into a project. The others get a join if they got a leave."""
        socket, user = member.socket, member.user
        member.projects[project_id] = role
        self._updates.send_roster(project_id, socket.id, with_count=True)
        self._no_longer_lost(socket.id, project_id)
        self._presence.add_connection(project_id, PresenceEntry(socket.id, user.id, user.name, now(), user.image))

    def drop_lost(self, socket_id: str) -> None:
        """Announce that a lost connection has left the projects that its client has not returned to."""
        self._overdue.drop(socket_id)
        lost = self._lost.pop(socket_id, None)
        if lost is None:
            return
        of_user = self._lost_of[lost.user_id]
        del of_user[socket_id]
        if not of_user:
            del self._lost_of[lost.user_id]
        for project_id in lost.project_ids:
            self._presence.remove_connection(project_id, socket_id)

    def drop_lost_of(self, user_id: str, project_id: str) -> None:
        """Announce that the lost connections of a user have left a project."""
        for socket_id in tuple(self._lost_of.get(user_id, ())):
            if self._no_longer_lost(socket_id, project_id):
                self._presence.remove_connection(project_id, socket_id)

    def _no_longer_lost(self, socket_id: str, project_id: str) -> bool:
        """Note that a lost connection is not awaited in a project; return whether it was."""
        lost = self._lost.get(socket_id)
        if lost is None or project_id not in lost.project_ids:
            return False
        others = tuple(each for each in lost.project_ids if each != project_id)
        self._lost[socket_id] = _Lost(lost.user_id, others)
        return True

    def exit_for_drain(self, members: Sequence[Member]) -> None:
        """Announce that members have left, while the edits that they still send are relayed.

        Members that may return stay in the lists, and in their projects until their connections end.
        """
        leaving: list[Member] = []
        for member in members:
            member.is_draining = True
            for pending in member.pending.values():
                pending.complete_joins()
            if self._grace and member.projects and may_return(member.socket, Reason.FORCED_SERVER_CLOSE):
                self._announce_leaves(member)
                self._await_return(member)
            else:
                leaving.append(member)
                for project_id in member.projects:
                    member.socket.leave(project_id)  # all members first, so that no member gets another's leave
        for member in leaving:
            self._announce_leaves(member)
            for project_id in member.projects:
                self._presence.remove_connection(project_id, member.socket.id)

    # Called by presence

    def joined(self, project_id: str, entry: PresenceEntry) -> None:
        """Send the join of a connection to the other members."""
        self._updates.joined(project_id, entry)

    def left(self, project_id: str, entry: PresenceEntry) -> None:
        """Send the leave of a connection to the remaining members."""
        if not self.is_closing:
            self._updates.left(project_id, entry)

    def completed(self, project_id: str) -> None:
        """Send the roster to the members that wait for it."""
        self._updates.completed(project_id)
