"""Draining: groups the members by project and announces their leave; `engine/drain.py` decides when each goes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from synkora.collaboration.members import Member
from synkora.collaboration.projects import Projects
from synkora.engine.session import Session
from synkora.sockets.internals import emit_once, session_of

SHUTDOWN_EVENT: Final = "server:shutdown"
SHUTDOWN_MESSAGE: Final = "Server is shutting down. You will be reconnected."


class ClientDrain:
    """The members to drain, by session."""

    def __init__(self, members: Iterable[Member], projects: Projects) -> None:
        self._projects = projects
        self._members = {session_of(member.socket): member for member in members}

    def add(self, member: Member) -> None:
        """Add a member that signed in after the start of the drain, over an existing session."""
        self._members[session_of(member.socket)] = member

    @property
    def groups(self) -> list[list[Session]]:
        """The sessions of members grouped by the first project that each member joined.

        Members who leave together miss fewer of each other's events, and each roster is sent once instead of once per
        member.
        """
        groups: defaultdict[str, list[Session]] = defaultdict(list)
        for session, member in self._members.items():
            if member.projects:
                groups[next(iter(member.projects))].append(session)
        return list(groups.values())

    def announce(self, sessions: Sequence[Session]) -> None:
        """Announce the shutdown to members, and their leave to others. Edits that they still send are relayed."""
        announce_leaves([self._members[session] for session in sessions if session in self._members], self._projects)


def announce_leaves(members: Sequence[Member], projects: Projects) -> None:
    """Announce the shutdown to members, and their leave to others."""
    for member in members:
        emit_once(member.socket, SHUTDOWN_EVENT, {"message": SHUTDOWN_MESSAGE})
    projects.exit_for_drain(members)
