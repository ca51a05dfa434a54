"""May this user join a project, and may they write in it: the port, the open policy, and the memory of answers."""

import asyncio
from enum import StrEnum
from typing import Final, Protocol
from weakref import WeakValueDictionary

from synkora.collaboration.access_answers import (
    ANSWER_WITHIN,
    MOST_REMEMBERED,
    REMEMBER_NO,
    REMEMBER_YES,
    AccessAnswers,
    AccessUnavailable,
)
from synkora.identity.handshake import SignedIn

__all__ = ["ANSWER_WITHIN", "MOST_REMEMBERED", "Access", "AccessPolicy", "AccessUnavailable", "OpenAccess", "Role"]

ASKED_AT_ONCE: Final = 8  # questions about one user; a user that asks without end does not hold up the others
MOST_WAITING: Final = 200  # further ones, which wait for their turn


class Role(StrEnum):
    """What somebody is in a project, in the app's words."""

    OWNER = "OWNER"
    EDITOR = "EDITOR"
    VIEWER = "VIEWER"

    @property
    def may_write(self) -> bool:
        """Whether their edits are passed on."""
        return self is not Role.VIEWER


class AccessPolicy(Protocol):
    """Knows who may join which project."""

    async def role(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """The role of somebody in a project, None where they have no access. Raises `AccessUnavailable`."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class OpenAccess:
    """Lets everyone who is signed in write everywhere."""

    async def role(self, signed_in: SignedIn, project_id: str) -> Role:
        """The role of somebody in a project."""
        return Role.EDITOR

    async def close(self) -> None:
        """There is nothing to close."""


class _Turns:
    """The questions about one user: so many at a time, and so many that wait."""

    __slots__ = ("__weakref__", "_free", "_waiting")

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(ASKED_AT_ONCE)
        self._waiting = 0

    async def __aenter__(self) -> None:
        if self._waiting >= MOST_WAITING:
            raise AccessUnavailable("too many questions about one user")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._free.release()


class Access:
    """Asks a policy, and remembers its answers for a while.

    `ASKED_AT_ONCE` questions about one user are under way at a time. Further ones wait, within the time of an answer.
    """

    def __init__(
        self,
        policy: AccessPolicy,
        *,
        remember_yes: float = REMEMBER_YES,
        remember_no: float = REMEMBER_NO,
        answer_within: float = ANSWER_WITHIN,
        most_remembered: int = MOST_REMEMBERED,
    ) -> None:
        self.is_open = isinstance(policy, OpenAccess)
        self._policy = policy
        self._answers: AccessAnswers[tuple[str, str], Role] = AccessAnswers(
            remember_yes=remember_yes,
            remember_no=remember_no,
            answer_within=answer_within,
            most_remembered=most_remembered,
        )
        self._turns: WeakValueDictionary[str, _Turns] = WeakValueDictionary()
        self.outcomes, self.durations = self._answers.outcomes, self._answers.durations

    def remembered(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """The role that is known without asking: None where there is none, or nothing is known."""
        return Role.EDITOR if self.is_open else self._answers.remembered((signed_in.user.id, project_id))

    async def role(self, signed_in: SignedIn, project_id: str, *, fresh: bool = False) -> Role | None:
        """The role of somebody in a project, None where they have no access; `fresh` passes over what is remembered.

        A `fresh` question waits for no turn: else a user that asks without end could not be checked again.
        Raises `AccessUnavailable`.
        """
        key = (signed_in.user.id, project_id)
        ask = self._policy.role if fresh else self._ask_in_turn
        return await self._answers.get(key, lambda: ask(signed_in, project_id), fresh=fresh)

    async def _ask_in_turn(self, signed_in: SignedIn, project_id: str) -> Role | None:
        user_id = signed_in.user.id
        turns = self._turns.get(user_id)
        if turns is None:
            turns = self._turns[user_id] = _Turns()
        async with turns:
            return await self._policy.role(signed_in, project_id)

    async def close(self) -> None:
        """Close the policy's connections."""
        await self._policy.close()
