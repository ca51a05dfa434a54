"""Who may come into a project, and who may stay."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from synkora.collaboration.access import Access, AccessUnavailable, Role
from synkora.collaboration.members import HeldEvent, Member, PendingAccess, settle
from synkora.collaboration.projects import Projects
from synkora.collaboration.rechecks import RECHECK, Rechecks
from synkora.engine.incidents import IncidentKind, Incidents
from synkora.engine.tasks import Tasks
from synkora.sockets.errors import EventRefused

_MOST_HELD: Final = 100  # events of one member for one project
_MOST_HELD_BYTES: Final = 1_000_000  # of one member for all projects
_MOST_HELD_OF_USER: Final = 4_000_000  # bytes of all connections of a user
_NO_ACCESS: Final = "You do not have access to this project"
_UNAVAILABLE: Final = "Project access cannot be checked right now: try again"


class Admission:
    """Lets members into the projects that are theirs, and out of those that no longer are.

    Edits are relayed for everyone who may write to the project, joined or not. What a member sends into a project while
    the answer is awaited is held, and relayed in order once the answer is there. Every
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
        self._rechecks: Rechecks[tuple[Member, str]] = Rechecks(self._recheck, recheck)
        self._questions = Tasks()
        self._held: Counter[str] = Counter()  # bytes, by user

    def join(self, member: Member, project_id: str) -> Awaitable[None] | None:
        """Let a member in, at once or when what is returned has been awaited. Raises `EventRefused`.

        One that is parting stays out.
        """
        if member.is_draining:
            return None
        if project_id in member.projects:
            self._projects.resend_roster(member, project_id)
            return None
        pending = member.pending.get(project_id)
        if pending is None:
            role = self._access.remembered(member.signed_in, project_id)
            if role is not None:
                self._check_room(member)
                self._enter(member, project_id, role)
                return None
            pending = self._ask(member, project_id)
        return pending.want_join()

    def is_joining(self, member: Member, project_id: str) -> bool:
        """Whether a member has asked to join a project and awaits the answer."""
        pending = member.pending.get(project_id)
        return pending is not None and bool(pending.joins)

    def must_ask(self, member: Member, project_id: str) -> bool:
        """Whether to relay something for a member takes a question: it is neither known nor being asked."""
        return project_id not in member.pending and self._access.remembered(member.signed_in, project_id) is None

    def relay(
        self, member: Member, project_id: str, event: str, size: int, relay: Callable[[Role], None]
    ) -> Awaitable[None] | None:
        """Relay an event of a member who is not in the project, by the role that the member has in the project.

        The event of `size` bytes is relayed at once, or when what is returned has been awaited. Raises `EventRefused`.
        """
        self._projects.check_id(project_id)
        pending = member.pending.get(project_id)
        if pending is None:
            role = self._access.remembered(member.signed_in, project_id)
            if role is not None:
                relay(role)
                return None
            pending = self._ask(member, project_id)
        of_member = sum(each.size for each in member.pending.values())
        of_user = self._held[member.user.id]
        if (
            len(pending.held) >= _MOST_HELD
            or of_member + size > _MOST_HELD_BYTES
            or of_user + size > _MOST_HELD_OF_USER
        ):
            raise EventRefused("Too many events before the project was joined: wait for users:active")
        decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pending.held.append(HeldEvent(event, relay, decided))
        pending.size += size
        self._held[member.user.id] += size
        return decided

    def _release(self, member: Member, pending: PendingAccess) -> None:
        """Take note that the held events of a question are no longer held."""
        user_id = member.user.id
        self._held[user_id] -= pending.size
        if not self._held[user_id]:
            del self._held[user_id]

    def _check_room(self, member: Member) -> None:
        if 0 < self._most_projects <= len(member.projects) + len(member.pending):
            raise EventRefused(f"Too many projects: {self._most_projects} is the most for one connection")

    def _ask(self, member: Member, project_id: str) -> PendingAccess:
        # Noted at once: what the client sends next may be in the same read, before any task has begun.
        self._check_room(member)
        pending = member.pending[project_id] = PendingAccess()
        self._questions.start(self._answer(member, project_id, pending))
        return pending

    async def _answer(self, member: Member, project_id: str, pending: PendingAccess) -> None:
        role, refusal = None, _NO_ACCESS
        try:
            role = await self._access.role(member.signed_in, project_id)
        except AccessUnavailable as error:
            self._incidents.note(IncidentKind.ACCESS_CHECK_FAILED, str(error))
            refusal = _UNAVAILABLE
        if member.pending.get(project_id) is not pending:
            return  # the connection has ended meanwhile
        del member.pending[project_id]
        self._release(member, pending)
        if pending.joins:
            pending.settle_joins(self._join_refusal(member, project_id, role, refusal))
        for event in pending.held:
            settle(event.decided, self._event_refusal(event, project_id, role, refusal))

    def _join_refusal(self, member: Member, project_id: str, role: Role | None, refusal: str) -> EventRefused | None:
        """Let a member in, or say why not."""
        if role is None:
            return EventRefused(refusal, projectId=project_id)
        try:
            self._enter(member, project_id, role)
        except EventRefused as refused:
            return refused
        return None

    @staticmethod
    def _event_refusal(event: HeldEvent, project_id: str, role: Role | None, refusal: str) -> EventRefused | None:
        """Relay a held event, or say why not."""
        if role is None:
            unasked = refusal is _UNAVAILABLE
            return EventRefused(refusal, projectId=project_id) if unasked else _not_joined(event.name)
        try:
            event.relay(role)
        except EventRefused as refused:
            return refused
        return None

    def _enter(self, member: Member, project_id: str, role: Role) -> None:
        self._projects.join(member, project_id, role)
        if not self._access.is_open:
            self._rechecks.add((member, project_id))

    def leave(self, member: Member, project_id: str) -> None:
        """Let a member out of a project, or stop letting them in. Edits that wait for an answer still wait."""
        pending = member.pending.get(project_id)
        if pending is not None:
            pending.settle_joins()
        self._rechecks.drop((member, project_id))
        self._projects.leave(member, project_id)

    def leave_all(self, member: Member) -> None:
        """Let a member out of everything, since their connection has ended."""
        for pending in member.pending.values():
            pending.drop()
            self._release(member, pending)
        member.pending.clear()
        for project_id in member.projects:
            self._rechecks.drop((member, project_id))
        self._projects.leave_all(member)

    def close(self) -> None:
        """End all questions to the access policy."""
        self._rechecks.cancel()
        self._questions.cancel()

    async def _recheck(self, key: tuple[Member, str]) -> bool:
        member, project_id = key
        if project_id not in member.projects:
            return False
        try:
            role = await self._access.role(member.signed_in, project_id, fresh=True)
        except AccessUnavailable as error:
            self._incidents.note(IncidentKind.ACCESS_CHECK_FAILED, str(error))
            role = member.projects.get(project_id)
        if project_id not in member.projects:
            return False
        if role is None:
            self._projects.leave(member, project_id, at_once=True)
            message = "You no longer have access to this project"
            member.socket.emit("error", {"message": message, "projectId": project_id})
            return False
        member.projects[project_id] = role
        return True


def _not_joined(event: str) -> EventRefused:
    return EventRefused(f"{event}: join the project first")
