"""Presence on one server."""

import pytest
from tests.contracts.presence import PresenceContract, PresenceMachine

from synkora.collaboration.local_presence import LocalPresence
from synkora.collaboration.presence import Presence, PresenceEntry
from synkora.collaboration.transitions import Transition, TransitionData


class TestLocalPresence(PresenceContract):
    @pytest.fixture
    def presence(self) -> Presence:
        return LocalPresence()


class LocalPresenceMachine(PresenceMachine):
    def make(self) -> Presence:
        return LocalPresence()


TestLocalPresenceMachine = LocalPresenceMachine.TestCase


def test_transitions_are_those_of_users() -> None:
    """Not those of their connections. The project's first comes before the user's, and its last after the user's."""
    seen: list[tuple[Transition, TransitionData]] = []
    presence = LocalPresence(lambda *transition: seen.append(transition))
    for socket, user in (("s1", "a"), ("s2", "a"), ("s3", "b")):
        presence.add_connection("p", PresenceEntry(socket, user, user, "2026-01-01T00:00:00.000Z"))
    for socket in ("s1", "s3", "s3", "s2"):
        presence.remove_connection("p", socket)
    project = TransitionData("p")
    assert seen == [
        (Transition.OCCUPIED, project),
        (Transition.ENTERED, TransitionData("p", "a")),
        (Transition.ENTERED, TransitionData("p", "b")),
        (Transition.LEFT, TransitionData("p", "b")),
        (Transition.LEFT, TransitionData("p", "a")),
        (Transition.VACANT, project),
    ]
