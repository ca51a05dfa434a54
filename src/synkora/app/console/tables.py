"""This instance's rows of the tables of connections and projects; `api.py` merges those of all instances."""

import time
from collections.abc import Callable
from itertools import islice
from operator import attrgetter
from typing import Final

from synkora.app.console.rpc_messages import (
    MOST_MEMBERS,
    ConnectionRow,
    ConnectionsOrder,
    ConnectionsSought,
    ProjectPart,
    ProjectRow,
    ProjectsOrder,
    ProjectsSought,
    Rows,
    UserIn,
)
from synkora.app.console.selection import Column, select
from synkora.collaboration.collaboration import Collaboration
from synkora.collaboration.members import Member
from synkora.collaboration.presence import Occupancy, Presence
from synkora.sockets.internals import session_of

_FIRST_TIME: Final = time.time() - time.monotonic()  # added to the monotonic clock, gives seconds since 1970
SHOWN_PROJECTS: Final = 5  # project ids shown per connection

CONNECTION_KEYS: Final[dict[ConnectionsOrder, Callable[[Member], float | str]]] = {
    "since": lambda member: member.since + _FIRST_TIME,  # the instances' monotonic clocks are not the same
    "user": lambda member: f"{member.user.name.casefold()}\n{member.user.id}",
    "transport": lambda member: session_of(member.socket).transport.name,
    "address": lambda member: session_of(member.socket).request.address,
    "waiting": lambda member: session_of(member.socket).outbox.waiting_bytes,
    "project": lambda member: min(member.projects, default=""),
}
PROJECT_KEYS: Final[dict[ProjectsOrder, Callable[[str, Occupancy], float | str]]] = {
    "project": lambda project_id, _: project_id,
    "users": lambda _, occupancy: occupancy.users,
    "connections": lambda _, occupancy: occupancy.connections,
}


async def connections(collaboration: Collaboration, instance: str, sought: ConnectionsSought) -> Rows[ConnectionRow]:
    """Return the signed-in connections of this instance."""
    members = list(collaboration.members.values())  # in the order of arrival
    if sought.is_descending:
        members.reverse()
    column = Column(CONNECTION_KEYS[sought.sort], attrgetter("socket.id"), sought.is_descending)
    matched, rows = await select(
        members, column, sought.most, lambda member: _connection(member, instance), _filter(sought)
    )
    return Rows(len(members), matched, rows)


def _filter(sought: ConnectionsSought) -> Callable[[Member], bool] | None:
    needle, project, transport = sought.search.casefold(), sought.project, sought.transport
    if not (needle or project or transport):
        return None

    def fits(member: Member) -> bool:
        if project and project not in member.projects:
            return False
        if transport and member.socket.transport != transport:
            return False
        return not needle or _has(member, needle)

    return fits


def _has(member: Member, needle: str) -> bool:
    user, socket = member.user, member.socket
    if needle in "\n".join((user.name, user.id, socket.id, session_of(socket).request.address)).casefold():
        return True
    return any(needle in project_id.casefold() for project_id in member.projects)


def _connection(member: Member, instance: str) -> ConnectionRow:
    socket, user = member.socket, member.user
    return ConnectionRow(
        socket_id=socket.id,
        instance=instance,
        user_id=user.id,
        user_name=user.name,
        transport=socket.transport,
        address=session_of(socket).request.address,
        since=round(member.since + _FIRST_TIME, 3),
        projects=list(islice(member.projects, SHOWN_PROJECTS)),
        project_count=len(member.projects),
        waiting=session_of(socket).outbox.waiting_bytes,
        received=member.received,
    )


async def projects(presence: Presence, sought: ProjectsSought) -> Rows[ProjectRow]:
    """Return the projects with members on this instance. Only one instance counts each project in `total`."""
    needle, key = sought.search.casefold(), PROJECT_KEYS[sought.sort]
    total = matched = 0

    def fits(project_id: str) -> bool:
        nonlocal total, matched
        is_reporter = presence.occupancy(project_id).is_reporter
        total += is_reporter
        if needle not in project_id.casefold():
            return False
        matched += is_reporter
        return True

    def show(project_id: str) -> ProjectRow:
        occupancy = presence.occupancy(project_id)
        return ProjectRow(project_id, occupancy.users, occupancy.connections, [])

    column = Column(lambda project_id: key(project_id, presence.occupancy(project_id)), str, sought.is_descending)
    _, rows = await select(presence.local_projects, column, sought.most, show, fits)
    return Rows(total, matched, rows)


def project(collaboration: Collaboration, project_id: str) -> ProjectPart:
    """Return a project's members on this instance, with the number of their events."""
    members = collaboration.members_of(project_id)
    users: dict[str, UserIn] = {}
    for member in members:
        user = users.get(member.user.id)
        if user is None:
            if len(users) == MOST_MEMBERS:
                continue
            user = users[member.user.id] = UserIn(member.user.id, member.user.name, 0, 0)
        user.connections += 1
        user.received += member.received
    return ProjectPart(list(users.values()), len(members), sum(member.received for member in members))
