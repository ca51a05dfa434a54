"""May this user join a project, and may they write in it: the port, the open policy, and the memory of answers."""

from enum import StrEnum
from typing import Protocol

from synkora.collaboration.answers import (
    ANSWER_WITHIN,
    MOST_REMEMBERED,
    REMEMBER_NO,
    REMEMBER_YES,
    AccessUnavailable,
    Answers,
)
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
        """Let go of connections."""
        ...


class OpenAccess:
    """Lets everyone who is signed in write everywhere."""

    async def role(self, signed_in: SignedIn, project_id: str) -> Role:
        """The role of somebody in a project."""
        return Role.EDITOR

    async def close(self) -> None:
        """Let go of nothing."""


class Access:
    """Asks a policy, and remembers its answers for a while."""

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
        self._answers: Answers[tuple[str, str], Role] = Answers(
            remember_yes=remember_yes,
            remember_no=remember_no,
            answer_within=answer_within,
            most_remembered=most_remembered,
        )
        self.outcomes, self.durations = self._answers.outcomes, self._answers.durations

    def remembered(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """The role that is known without asking: None where there is none, or nothing is known."""
        return Role.EDITOR if self.is_open else self._answers.remembered((signed_in.user.id, project_id))

    async def role(self, signed_in: SignedIn, project_id: str, *, anew: bool = False) -> Role | None:
        """The role of somebody in a project, None where they have no access; `anew` passes over what is remembered.

        Raises `AccessUnavailable`.
        """
        key = (signed_in.user.id, project_id)
        return await self._answers.get(key, lambda: self._policy.role(signed_in, project_id), anew=anew)

    async def close(self) -> None:
        """Let go of the policy's connections."""
        await self._policy.close()
