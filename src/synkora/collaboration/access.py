"""Access to projects: the port for policies, the open policy, and who asks a policy when."""

from collections.abc import Awaitable
from enum import StrEnum
from typing import Final, Protocol

from synkora.collaboration.access_answers import (
    ANSWER_TIMEOUT,
    DENIED_TTL,
    GRANTED_TTL,
    MAX_CACHED,
    AccessAnswers,
    AccessUnavailable,
    SessionRefused,
)
from synkora.collaboration.keyed_limit import KeyedLimit
from synkora.identity.sign_in import SignedIn

__all__ = [
    "ANSWER_TIMEOUT",
    "MAX_CACHED",
    "Access",
    "AccessPolicy",
    "AccessUnavailable",
    "OpenAccess",
    "Role",
    "SessionRefused",
]


#: Further questions about one user that wait for their turn: as many as the projects of two connections, by default.
MAX_WAITING_PER_USER: Final = 100


class Role(StrEnum):
    """A user's role in a project, as the app names it."""

    OWNER = "OWNER"
    EDITOR = "EDITOR"
    VIEWER = "VIEWER"

    @property
    def may_write(self) -> bool:
        """Whether the user's edits are relayed."""
        return self is not Role.VIEWER


class AccessPolicy(Protocol):
    """Decides who may join a project, and with which role."""

    async def role(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """Return the user's role in a project, or None without access.

        Raises `AccessUnavailable`, and `SessionRefused` if another session of the user may get another answer.
        """
        ...

    async def close(self) -> None: ...


class OpenAccess:
    """Lets every signed-in user edit every project."""

    async def role(self, signed_in: SignedIn, project_id: str) -> Role:
        return Role.EDITOR

    async def close(self) -> None:
        """Nothing to close."""


class Access:
    """Asks a policy and caches its answers.

    The number of simultaneous questions about one user is limited. The wait counts against the time for an answer.
    """

    def __init__(
        self,
        policy: AccessPolicy,
        *,
        granted_ttl: float = GRANTED_TTL,
        denied_ttl: float = DENIED_TTL,
        answer_timeout: float = ANSWER_TIMEOUT,
        max_cached: int = MAX_CACHED,
    ) -> None:
        self.is_open = isinstance(policy, OpenAccess)
        self._policy = policy
        self._answers: AccessAnswers[tuple[str, str], Role] = AccessAnswers(
            granted_ttl=granted_ttl,
            denied_ttl=denied_ttl,
            answer_timeout=answer_timeout,
            max_cached=max_cached,
        )
        self._limit = KeyedLimit(max_waiting=MAX_WAITING_PER_USER)
        self.outcomes, self.durations = self._answers.outcomes, self._answers.durations

    def cached(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """Return the cached role; None without access or without a cached answer."""
        return Role.EDITOR if self.is_open else self._answers.cached((signed_in.user.id, project_id))

    async def role(self, signed_in: SignedIn, project_id: str, *, fresh: bool = False) -> Role | None:
        """Return the user's role in a project, or None without access; `fresh` ignores the cache.

        A `fresh` question is exempt from the limits: a user with endless questions must not evade the recheck.
        Raises `AccessUnavailable`.
        """
        try:
            return await self._ask(signed_in, project_id, fresh=fresh)
        except SessionRefused as refused:
            if refused.problem:
                raise AccessUnavailable(refused.problem) from None
            return None

    async def recheck(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """Like `role` with `fresh`. Raises `SessionRefused`, too."""
        return await self._ask(signed_in, project_id, fresh=True)

    async def _ask(self, signed_in: SignedIn, project_id: str, *, fresh: bool) -> Role | None:
        def ask() -> Awaitable[Role | None]:
            return (self._policy.role if fresh else self._ask_within_limit)(signed_in, project_id)

        try:
            return await self._answers.get((signed_in.user.id, project_id), ask, fresh=fresh)
        except SessionRefused as refused:
            if refused.token == signed_in.token:
                raise
        return await self._answers.ask(ask)

    async def _ask_within_limit(self, signed_in: SignedIn, project_id: str) -> Role | None:
        async with self._limit.slot(signed_in.user.id):
            return await self._policy.role(signed_in, project_id)

    def forget(self, user_id: str, project_id: str) -> None:
        """Remove the cached role."""
        self._answers.forget((user_id, project_id))

    async def close(self) -> None:
        await self._policy.close()
