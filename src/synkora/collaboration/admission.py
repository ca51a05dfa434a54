"""Admits members to projects, and removes members who no longer have access."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from math import inf
from typing import Final

from synkora.collaboration.access import Access, AccessUnavailable, Role
from synkora.collaboration.access_answers import GRANTED_TTL
from synkora.collaboration.keyed_limit import KeyedLimit
from synkora.collaboration.limits import TooMuchForUser
from synkora.collaboration.members import BufferedEvent, Member, PendingAccess, Waiting, complete
from synkora.collaboration.periodic_checks import RECHECK
from synkora.collaboration.projects import Projects
from synkora.collaboration.rechecks import Rechecks
from synkora.engine.incidents import IncidentKind, Incidents, Limit
from synkora.engine.tasks import Tasks
from synkora.identity.sign_in import SignedIn
from synkora.sockets.errors import EventRefused
from synkora.sockets.internals import emit_once, session_of

_MAX_RETURNS: Final = 50  # members at a time: all may return in the same second
_MAX_BUFFERED: Final = 100  # events of one member for one project
_MAX_BUFFERED_MEMORY: Final = 2_200_000  # memory of one member's events, for all projects
MAX_BUFFERED_PER_USER: Final = 8_000_000  # memory of the events of all connections of a user
_EVENT_MEMORY: Final = 2_000  # bytes of a buffered event besides its data, which is stored twice: alone, and in frames
_HANDLER: Final = 0.00002  # seconds that a handler takes after its wait
_NO_ACCESS: Final = "You do not have access to this project"
_REVOKED: Final = "You no longer have access to this project"
_UNAVAILABLE: Final = "Project access cannot be checked right now: try again"


class Admission:
    """Decides who may join a project, who may stay, and whose edits are relayed.

    Edits are relayed for every member who may write to the project, joined or not. While an answer is pending, a
    member's events for the project are buffered. After the answer they are relayed in order, in the user's share of
    each turn and within the user's limit; later events wait behind them. Every `recheck` seconds the access of joined
    members is checked again. If the policy cannot answer, members stay.
    """

    def __init__(
        self,
        access: Access,
        projects: Projects,
        incidents: Incidents,
        *,
        max_projects: int,
        recheck: float = RECHECK,
    ) -> None:
        self._access, self._projects, self._incidents = access, projects, incidents
        self._max_projects = max_projects
        self._rechecks = Rechecks(access, incidents, self.remove, recheck)
        self._questions = Tasks()
        self._returns = KeyedLimit(_MAX_RETURNS)
        self._return_questions = KeyedLimit(max_waiting=inf)  # as many as the returns have projects
        self._removed: dict[str, list[set[str]]] = {}  # by user: for each return, the projects it may not return to
        self._buffered_memory: Counter[str] = Counter()  # bytes, by user

    def admit(self, member: Member, project_id: str) -> Awaitable[None] | None:
        """Join a project, immediately or when the returned awaitable is done. Raises `EventRefused`.

        A draining member does not join.
        """
        if member.is_draining:
            return None
        if project_id in member.projects:
            self._projects.resend_roster(member, project_id)
            return None
        pending = member.pending.get(project_id)
        if pending is None:
            role = self._access.cached(member.signed_in, project_id)
            if role is not None:
                self._check_project_limit(member)
                self._enter(member, project_id, role)
                return None
            pending = self._ask(member, project_id)
        return pending.wait_to_join()

    def is_joining(self, member: Member, project_id: str) -> bool:
        """Whether a member has asked to join a project and waits for the answer."""
        pending = member.pending.get(project_id)
        return pending is not None and pending.has_joins

    def must_ask(self, member: Member, project_id: str) -> bool:
        """Whether relaying an event requires a question: no answer is cached or pending."""
        return project_id not in member.pending and self._access.cached(member.signed_in, project_id) is None

    def relay(
        self, member: Member, project_id: str, event: str, size: int, relay: Callable[[Role], None]
    ) -> Awaitable[None] | None:
        """Relay an event by the member's role, without a join.

        The event has `size` bytes. It is relayed immediately or when the returned awaitable is done.
        Raises `EventRefused`.
        """
        self._projects.check_id(project_id)
        pending = member.pending.get(project_id)
        if pending is None:
            role = self._access.cached(member.signed_in, project_id)
            if role is not None:
                relay(role)
                return None
            pending = self._ask(member, project_id)
        memory = _EVENT_MEMORY + 2 * size
        of_member = sum(each.memory for each in member.pending.values())
        of_user = self._buffered_memory[member.user.id]
        if (
            len(pending.buffered) >= _MAX_BUFFERED
            or of_member + memory > _MAX_BUFFERED_MEMORY
            or of_user + memory > MAX_BUFFERED_PER_USER
        ):
            raise EventRefused("Too many events before the project was joined: wait for users:active")
        decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pending.buffered.append(BufferedEvent(event, relay, decided, memory))
        pending.memory += memory
        self._buffered_memory[member.user.id] += memory
        return Waiting(decided)

    def _release(self, member: Member, memory: int) -> None:
        """Subtract the memory of events that no longer wait."""
        user_id = member.user.id
        self._buffered_memory[user_id] -= memory
        if not self._buffered_memory[user_id]:
            del self._buffered_memory[user_id]

    def _check_project_limit(self, member: Member) -> None:
        if 0 < self._max_projects <= len(member.projects.keys() | member.pending.keys()):
            raise EventRefused(f"Too many projects: {self._max_projects} is the most for one connection")

    def _ask(self, member: Member, project_id: str) -> PendingAccess:
        # Registered before the task starts: the member's next event may be in the same read.
        self._check_project_limit(member)
        pending = member.pending[project_id] = PendingAccess()
        self._questions.start(self._answer(member, project_id, pending))
        return pending

    async def _answer(self, member: Member, project_id: str, pending: PendingAccess) -> None:
        """Ask, and complete what waits. Ask again when the answer is old: a client can let events wait for ever."""
        now, work = asyncio.get_running_loop().time, member.rate_limiter.work
        complete_next, until = await self._decision(member, project_id, pending), now() + GRANTED_TTL
        while member.pending.get(project_id) is pending:
            if now() >= until:
                complete_next, until = await self._decision(member, project_id, pending), now() + GRANTED_TTL
            if work is None:
                complete_next()
            else:
                await work.budget.complete(complete_next, _HANDLER)

    async def _decision(self, member: Member, project_id: str, pending: PendingAccess) -> Callable[[], None]:
        """Ask for the role, and return what completes the next one that waits accordingly."""
        role, refusal = None, _NO_ACCESS
        try:
            role = await self._access.role(member.signed_in, project_id)
        except AccessUnavailable as error:
            self._incidents.note(IncidentKind.ACCESS_CHECK_FAILED, str(error))
            refusal = _UNAVAILABLE
        return partial(self._complete_next, member, project_id, pending, role, refusal)

    def _complete_next(
        self, member: Member, project_id: str, pending: PendingAccess, role: Role | None, refusal: str
    ) -> None:
        """Complete the joins, or else the oldest event, after the answer; the last one ends the access check."""
        if member.pending.get(project_id) is not pending:
            return  # the connection has ended, or access was revoked
        if pending.joins:
            pending.complete_joins(self._join_failure(member, project_id, role, refusal) if pending.has_joins else None)
        elif pending.buffered:
            event = pending.buffered.popleft()
            pending.memory -= event.memory
            self._release(member, event.memory)
            if not event.decided.cancelled():  # the event was not refused meanwhile
                complete(event.decided, self._event_failure(member, event, project_id, role, refusal))
        if not pending.joins and not pending.buffered:
            member.pending.pop(project_id, None)

    def _join_failure(self, member: Member, project_id: str, role: Role | None, refusal: str) -> Exception | None:
        """Join a project; return the refusal or another failure, or None."""
        if role is None:
            return EventRefused(refusal, projectId=project_id)
        try:
            self._enter(member, project_id, role)
        except Exception as failure:  # noqa: BLE001  # the handler raises it
            return failure
        return None

    def _event_failure(
        self, member: Member, event: BufferedEvent, project_id: str, role: Role | None, refusal: str
    ) -> Exception | None:
        """Relay a buffered event within the user's limit; return the refusal or another failure, or None."""
        if role is None:
            unasked = refusal is _UNAVAILABLE
            return EventRefused(refusal, projectId=project_id) if unasked else _not_joined(event.name)
        try:
            member.rate_limiter.check_user()
            event.relay(member.projects.get(project_id, role))
        except TooMuchForUser as refused:
            self._incidents.note_limit(Limit.USER_WORK, session_of(member.socket).request.address)
            return refused
        except Exception as failure:  # noqa: BLE001  # the handler raises it
            return failure
        return None

    def _enter(self, member: Member, project_id: str, role: Role) -> None:
        self._projects.enter(member, project_id, role)
        self._rechecks.add(member, project_id)

    def withdraw(self, member: Member, project_id: str) -> None:
        """Leave a project, or cancel pending joins. Buffered edits stay until the answer."""
        pending = member.pending.get(project_id)
        if pending is not None:
            pending.complete_joins()
        self._rechecks.drop(member, project_id)
        self._projects.exit(member, project_id)

    async def roles(self, signed_in: SignedIn, projects: Collection[str]) -> dict[str, Role | None]:
        """Ask for the user's role in each project, for a return, without the cache. Raises `AccessUnavailable`.

        There is none in a project that the user is removed from meanwhile: the answer may be from before.
        """
        user_id, removed = signed_in.user.id, set[str]()
        self._removed.setdefault(user_id, []).append(removed)
        try:
            async with self._returns.slot(user_id), asyncio.TaskGroup() as group:
                asked = {each: group.create_task(self._role_again(signed_in, each)) for each in projects}
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the first, which has cancelled the other questions
        finally:
            of_user = self._removed[user_id]
            of_user[:] = [each for each in of_user if each is not removed]
            if not of_user:
                del self._removed[user_id]
        return {each: None if each in removed else question.result() for each, question in asked.items()}

    async def _role_again(self, signed_in: SignedIn, project_id: str) -> Role | None:
        async with self._return_questions.slot(signed_in.user.id):
            return await self._access.role(signed_in, project_id, fresh=True)

    def refuse_returns(self, user_id: str, project_id: str) -> None:
        """Let no return of the user that is under way lead into a project."""
        for removed in self._removed.get(user_id, ()):
            removed.add(project_id)

    def readmit(self, member: Member, project_id: str, role: Role | None) -> None:
        """Put a member that has returned back into a project, or out of it if the member has no role any longer."""
        if role is None:
            member.socket.leave(project_id)
            _tell_revoked(member, project_id)
            return
        self._projects.restore(member, project_id, role)
        self._rechecks.add(member, project_id)

    def remove(self, member: Member, project_id: str) -> bool:
        """Remove a member whose access was revoked; return whether the member had joined.

        Joins and events that wait for an answer are refused.
        """
        pending = member.pending.pop(project_id, None)
        if pending is not None:
            self._release(member, pending.memory)
            pending.complete_joins(EventRefused(_REVOKED, projectId=project_id))
            for event in pending.buffered:
                complete(event.decided, _not_joined(event.name))
        if project_id not in member.projects:
            return False
        self._rechecks.drop(member, project_id)
        self._projects.exit(member, project_id, at_once=True)
        _tell_revoked(member, project_id)
        return True

    def withdraw_all(self, member: Member, *, may_return: bool = False) -> None:
        """Leave all projects at the end of the connection."""
        for pending in member.pending.values():
            pending.drop()
            self._release(member, pending.memory)
        member.pending.clear()
        for project_id in member.projects:
            self._rechecks.drop(member, project_id)
        self._projects.exit_all(member, may_return=may_return)

    def close(self) -> None:
        """Cancel all questions to the access policy."""
        self._rechecks.cancel()
        self._questions.cancel()


def _tell_revoked(member: Member, project_id: str) -> None:
    emit_once(member.socket, "error", {"message": _REVOKED, "projectId": project_id})


def _not_joined(event: str) -> EventRefused:
    return EventRefused(f"{event}: join the project first")
