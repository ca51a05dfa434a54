"""Recovery in memory."""

import pytest
from tests.contracts.event_log import EventLogContract, MakeStore
from tests.contracts.session_store import ForgettingContract, SessionStoreContract
from tests.support.clocks import Clock

from synkora.recovery.memory import MemoryStore
from synkora.recovery.ports import RecoveryStore
from synkora.recovery.settings import RecoverySettings


async def _make(settings: RecoverySettings, clock: Clock) -> RecoveryStore:
    return MemoryStore(settings, clock)


class TestMemoryLog(EventLogContract):
    @pytest.fixture
    def make(self) -> MakeStore:
        return _make


class TestMemorySessions(SessionStoreContract, ForgettingContract):
    @pytest.fixture
    def make(self) -> MakeStore:
        return _make
