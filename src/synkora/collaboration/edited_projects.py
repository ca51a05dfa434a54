"""The projects that each user edits, which the event log keeps: one user's must not displace those of others."""

from collections.abc import Callable
from time import monotonic
from typing import Final

from synkora.collaboration.members import Member
from synkora.sockets.errors import EventRefused

MOST_PROJECTS: Final = 500  # of one user, within the age of the log
_MAX_PAIRS: Final = 100_000  # of a user and a project; then the count begins again for everyone


class EditedProjects:
    """Counts the projects that each user edits, and refuses edits to too many.

    The count begins again every `age` seconds, after which the log drops an event: at most twice as many of the log's
    projects are one user's. `refused` is called for each refusal.
    """

    def __init__(self, age: float, refused: Callable[[Member], None]) -> None:
        self._age = age
        self._refused = refused
        self._by_user: dict[str, set[int]] = {}  # hashes of the projects' ids
        self._pairs = 0
        self._until = 0.0

    def check(self, member: Member, project_id: str) -> None:
        """Count the project of a member's edit. Raises `EventRefused`."""
        known = self._by_user.get(member.sender.userId)
        if known is None or hash(project_id) not in known:
            self._add(member, project_id)

    def _add(self, member: Member, project_id: str) -> None:
        now = monotonic()
        if now >= self._until or self._pairs >= _MAX_PAIRS:
            self._by_user.clear()
            self._pairs = 0
            self._until = now + self._age
        known = self._by_user.setdefault(member.sender.userId, set())
        if len(known) >= MOST_PROJECTS:
            self._refused(member)
            wait = round(self._until - now + 0.0005, 3)
            within = f"{MOST_PROJECTS} within {self._age:g} seconds"
            raise EventRefused(f"Too many projects for one user: {within}", retryAfter=wait)
        known.add(hash(project_id))
        self._pairs += 1
