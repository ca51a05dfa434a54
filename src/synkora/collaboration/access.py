"""May this user join a project, and may they write in it: the port, the open policy, and the memory of answers."""

from enum import StrEnum
from typing import Protocol

from synkora.collaboration.access_answers import (
    ANSWER_WITHIN,
    MOST_REMEMBERED,
    REMEMBER_NO,
    REMEMBER_YES,
    AccessAnswers,
    AccessUnavailable,
)
from synkora.collaboration.turns import Turns
from synkora.identity.handshake import SignedIn

__all__ = ["ANSWER_WITHIN", "MOST_REMEMBERED", "Access", "AccessPolicy", "AccessUnavailable", "OpenAccess", "Role"]


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


class Access:
    """Asks a policy, and remembers its answers for a while.

    Questions about one user take turns, within the time of an answer.
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
        self._turns = Turns()
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
        async with self._turns.turn(signed_in.user.id):
            return await self._policy.role(signed_in, project_id)

    async def close(self) -> None:
        """Close the policy's connections."""
        await self._policy.close()
