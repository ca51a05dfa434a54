"""The changes that webhooks report: a project is occupied or vacant, a user has entered or left a project."""

from collections.abc import Callable
from enum import StrEnum

import msgspec


class Transition(StrEnum):
    """The kinds of transitions, over all servers. A user with several connections enters and leaves once."""

    OCCUPIED = "project.occupied"  # its first user has entered
    ENTERED = "user.entered"
    LEFT = "user.left"
    VACANT = "project.vacant"  # its last user has left


class TransitionData(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The project of a transition, and the user of one that has a user."""

    project_id: str
    user_id: str | None = None


#: Handles a transition in the call that makes it. Must not raise.
OnTransition = Callable[[Transition, TransitionData], None]
