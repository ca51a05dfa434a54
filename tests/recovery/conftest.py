from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contracts.event_log import MakeStore
from tests.recovery.stores import Start
from tests.support.clocks import Clock

from synkora.recovery.memory import MemoryStore
from synkora.recovery.ports import RecoveryStore
from synkora.recovery.settings import RecoverySettings


@pytest.fixture
def make() -> MakeStore:
    async def make(settings: RecoverySettings, clock: Clock) -> RecoveryStore:
        return MemoryStore(settings, clock)

    return make


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """The stores are closed after the test."""
    start = Start(tmp_path)
    yield start
    for store in start.stores:
        await store.close()
