"""Fixtures of tests over Redis."""

import pytest
from tests.contracts.event_log import MakeStore
from tests.redis_adapter.recovery_stores import Followed
from tests.support.clocks import Clock

from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link


@pytest.fixture
def make(link: Link) -> MakeStore:
    async def make(settings: RecoverySettings, clock: Clock) -> Followed:
        return Followed(link, settings, clock)

    return make
