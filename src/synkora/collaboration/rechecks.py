"""Rechecks of members' access: one question for all connections of a user to a project."""

from collections.abc import Callable

from synkora.collaboration.access import Access, AccessUnavailable, SessionRefused
from synkora.collaboration.members import Member
from synkora.collaboration.periodic_checks import PeriodicChecks
from synkora.engine.incidents import IncidentKind, Incidents


class Rechecks:
    """Asks for the role of each user in each project again, about every `every` seconds.

    The answer counts for all connections that were in the project at the question. The user's sessions take turns in
    asking. If the app does not accept a session, or cannot read it, only the connections with it are out, and the next
    session asks.
    `remove` is called for a member without access. If the policy cannot answer, members stay.
    """

    def __init__(
        self, access: Access, incidents: Incidents, remove: Callable[[Member, str], object], every: float
    ) -> None:
        self._access, self._incidents, self._remove = access, incidents, remove
        self._members: dict[tuple[str, str], dict[Member, object]] = {}  # by user and project; a new object each join
        self._checks: PeriodicChecks[tuple[str, str]] = PeriodicChecks(self._check, every, lambda key: key[0])

    def add(self, member: Member, project_id: str) -> None:
        """Recheck a member who has joined a project."""
        if self._access.is_open:
            return
        key = (member.user.id, project_id)
        members = self._members.get(key)
        if members is None:
            members = self._members[key] = {}
            self._checks.add(key)
        members[member] = object()

    def drop(self, member: Member, project_id: str) -> None:
        """Stop rechecking a member who has left a project. An answer that is on its way does not count."""
        key = (member.user.id, project_id)
        members = self._members.get(key, {})
        members.pop(member, None)
        if not members:
            self._members.pop(key, None)
            self._checks.drop(key)

    def cancel(self) -> None:
        """Stop all rechecks, including running ones."""
        self._checks.cancel()

    async def _check(self, key: tuple[str, str]) -> bool:
        _, project_id = key
        members = dict(self._members.get(key, {}))
        if not members:
            return False
        role, refused = None, set[str]()
        for each in members:
            token = each.signed_in.token
            if token in refused:
                continue
            try:
                role = await self._access.recheck(each.signed_in, project_id)
                break
            except SessionRefused as refusal:
                refused.add(token)
                if refusal.problem:
                    self._incidents.note(IncidentKind.ACCESS_CHECK_FAILED, refusal.problem)
            except AccessUnavailable as error:
                self._incidents.note(IncidentKind.ACCESS_CHECK_FAILED, str(error))
                self._move_back(key, token)
                return key in self._members
        for member, joined in members.items():
            if self._members.get(key, {}).get(member) is not joined:
                continue
            if role is None or member.signed_in.token in refused:
                self._remove(member, project_id)
            else:
                member.projects[project_id] = role
        self._move_back(key, token)
        return key in self._members

    def _move_back(self, key: tuple[str, str], token: str) -> None:
        """Let the user's other sessions ask before this one."""
        members = self._members.get(key, {})
        for member in [each for each in members if each.signed_in.token == token]:
            members[member] = members.pop(member)
