"""Who may come into a project, and who may stay."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from synkora.collaboration.access import Access, AccessUnavailable, Role
from synkora.collaboration.members import Joining, Member
from synkora.collaboration.projects import Projects
from synkora.engine.deadlines import Deadlines
from synkora.engine.incidents import Incidents
from synkora.sockets.errors import EventRefused

RECHECK: Final = 60  # seconds
_CHECKS_AT_ONCE: Final = 50
_MOST_HELD: Final = 100  # events of one member for one project
_MOST_HELD_BYTES: Final = 1_000_000  # of one member for all projects


class Admission:
    """Lets members into the projects that are theirs, and out of those that no longer are.

    What a member sends into a project while the answer is awaited is held, and goes out once they are in. Every
    `recheck` seconds it is asked again whether they may stay; while nobody can answer they stay.
    """

    def __init__(
        self,
        access: Access,
        projects: Projects,
        incidents: Incidents,
        *,
        most_projects: int,
        recheck: float = RECHECK,
    ) -> None:
        self._access = access
        self._incidents = incidents
        self._projects = projects
        self._most_projects = most_projects
        self._rechecks: Deadlines[tuple[Member, str]] = Deadlines(recheck, self._start_recheck)
        self._turns = asyncio.Semaphore(_CHECKS_AT_ONCE)
        self._checks: set[asyncio.Task[None]] = set()

    def join(self, member: Member, project_id: str) -> Awaitable[None] | None:
        """Let a member in, at once or when what is returned has been awaited. Raises `EventRefused`.

        One that is parting stays out.
        """
        if member.is_parting:
            return None
        if project_id in member.projects:
            self._projects.welcome_again(member, project_id)
            return None
        if member.joining is not None and project_id in member.joining:
            return None
        if 0 < self._most_projects <= len(member.projects) + len(member.joining or ()):
            raise EventRefused(f"Too many projects: {self._most_projects} is the most for one connection")
        role = self._access.remembered(member.signed_in, project_id)
        if role is None:
            # Noted at once: what the client sends next may be in the same read, before any task has begun.
            if member.joining is None:
                member.joining = {}
            joining = member.joining[project_id] = Joining()
            return self._join_later(member, project_id, joining)
        self._enter(member, project_id, role)
        return None

    async def _join_later(self, member: Member, project_id: str, joining: Joining) -> None:
        role, refusal = None, "You do not have access to this project"
        try:
            role = await self._access.role(member.signed_in, project_id)
        except AccessUnavailable as error:
            self._incidents.note("access check failed", str(error))
            refusal = "Project access cannot be checked right now: try again"
        if member.joining is None or member.joining.get(project_id) is not joining:
            return  # they have left meanwhile
        del member.joining[project_id]
        if role is None:
            raise EventRefused(refusal, projectId=project_id)
        self._enter(member, project_id, role)
        for event, pass_on in joining.held:
            try:
                pass_on()
            except EventRefused as error:
                member.socket.emit("error", {"message": str(error), "event": event, **error.details})

    def _enter(self, member: Member, project_id: str, role: Role) -> None:
        self._projects.join(member, project_id, role)
        if not self._access.is_open:
            self._rechecks.add((member, project_id))

    def joining(self, member: Member, project_id: str) -> Joining | None:
        """The join of a member that an answer is awaited for, if there is one."""
        return member.joining.get(project_id) if member.joining else None

    def hold(self, member: Member, joining: Joining, event: str, size: int, pass_on: Callable[[], None]) -> None:
        """Keep an event of `size` bytes until a join is done. Raises `EventRefused` where too much is kept already."""
        kept = sum(each.size for each in (member.joining or {}).values())
        if len(joining.held) >= _MOST_HELD or kept + size > _MOST_HELD_BYTES:
            raise EventRefused("Too many events before the project was joined: wait for users:active")
        joining.held.append((event, pass_on))
        joining.size += size

    def leave(self, member: Member, project_id: str) -> None:
        """Let a member out of a project, or stop letting them in."""
        if member.joining:
            member.joining.pop(project_id, None)
        self._rechecks.drop((member, project_id))
        self._projects.leave(member, project_id)

    def leave_all(self, member: Member) -> None:
        """Let a member out of everything, since their connection has ended."""
        member.joining = None
        for project_id in member.projects:
            self._rechecks.drop((member, project_id))
        self._projects.leave_all(member)

    def _start_recheck(self, key: tuple[Member, str]) -> None:
        task = asyncio.get_running_loop().create_task(self._recheck(*key))
        self._checks.add(task)
        task.add_done_callback(self._checks.discard)

    async def _recheck(self, member: Member, project_id: str) -> None:
        async with self._turns:
            if project_id not in member.projects:
                return
            try:
                role = await self._access.role(member.signed_in, project_id, anew=True)
            except AccessUnavailable as error:
                self._incidents.note("access check failed", str(error))
                role = member.projects.get(project_id)
        if project_id not in member.projects:
            return
        if role is None:
            self._projects.leave(member, project_id)
            message = "You no longer have access to this project"
            member.socket.emit("error", {"message": message, "projectId": project_id})
        else:
            member.projects[project_id] = role
            self._rechecks.add((member, project_id))
