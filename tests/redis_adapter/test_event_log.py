"""The log of events in Redis."""

import pytest
from tests.contracts.event_log import EventLogContract, MakeStore
from tests.support.clocks import Clock

from synkora.recovery.ports import Deliver
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.event_log import RedisLog


class Store:
    """Makes logs over one link."""

    def __init__(self, link: Link, settings: RecoverySettings, clock: Clock) -> None:
        self.link, self.settings, self.clock = link, settings, clock

    async def settled(self) -> None:
        """Wait for what the log does after the reply to an append."""
        for _ in range(2):
            await self.link.call("PING")

    def log(self, namespace: str, deliver: Deliver) -> RedisLog:
        log = RedisLog(
            self.link, namespace, self.settings, deliver, lambda: (), prefix="test", clock=lambda: self.clock.now
        )
        channels = Channels.of("test", namespace)
        for channel in (
            channels.broadcasts,
            *map(channels.room, ("p", "q", "r", "s", "busy", "quiet", "p0", "p1", "p2")),
        ):
            self.link.subscribe(channel, log.receive)
        log._went_up()
        return log


class TestRedisLog(EventLogContract):
    @pytest.fixture
    def make(self, link: Link) -> MakeStore:
        async def make(settings: RecoverySettings, clock: Clock) -> Store:
            return Store(link, settings, clock)

        return make
