"""Sending people to another server, a few at a time, before this one stops."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from synkora.collaboration.members import Member
from synkora.collaboration.projects import Projects
from synkora.engine.session import Session
from synkora.sockets.internals import session_of

SHUTDOWN_EVENT: Final = "server:shutdown"
SHUTDOWN_MESSAGE: Final = "Server is shutting down. You will be reconnected."


class ClientDrain:
    """The members who are to go, by their sessions."""

    def __init__(self, members: Iterable[Member], projects: Projects) -> None:
        self._projects = projects
        self._members = {session_of(member.socket): member for member in members}

    def add(self, member: Member) -> None:
        """Note one who has signed in since, over a session that was there before."""
        self._members[session_of(member.socket)] = member

    @property
    def groups(self) -> list[list[Session]]:
        """The sessions of those who are in a project together; who is in several counts for the first that they joined.

        If they go together they miss less of each other, and each list of who is there is told once, not once for each.
        """
        groups: defaultdict[str, list[Session]] = defaultdict(list)
        for session, member in self._members.items():
            if member.projects:
                groups[next(iter(member.projects))].append(session)
        return list(groups.values())

    def tell(self, sessions: Sequence[Session]) -> None:
        """Tell those who go, and others that they are gone; edits that they send before they know are still relayed."""
        leaving = [self._members[session] for session in sessions if session in self._members]
        for member in leaving:
            member.socket.emit(SHUTDOWN_EVENT, {"message": SHUTDOWN_MESSAGE})
        self._projects.leave_for_drain(leaving)
