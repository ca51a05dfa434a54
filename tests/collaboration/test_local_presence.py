"""Presence on one server."""

import pytest
from tests.contracts.presence import PresenceContract, PresenceMachine

from synkora.collaboration.local_presence import LocalPresence
from synkora.collaboration.presence import Presence


class TestLocalPresence(PresenceContract):
    @pytest.fixture
    def presence(self) -> Presence:
        return LocalPresence()


class LocalPresenceMachine(PresenceMachine):
    def make(self) -> Presence:
        return LocalPresence()


TestLocalPresenceMachine = LocalPresenceMachine.TestCase
