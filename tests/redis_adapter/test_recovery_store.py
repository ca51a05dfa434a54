"""Recovery over Redis."""

import pytest
from tests.contracts.event_log import EventLogContract, MakeStore
from tests.contracts.session_store import SessionStoreContract
from tests.support.clocks import Clock

from synkora.recovery.ports import Deliver
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.event_log import RedisLog
from synkora.redis_adapter.recovery_store import RedisStore

ROOMS = ("p", "q", "r", "s", "busy", "quiet", "p0", "p1", "p2")


class Followed(RedisStore):
    """A store whose logs hear of all rooms of the contract, as if this instance had clients in them."""

    def __init__(self, link: Link, settings: RecoverySettings, clock: Clock) -> None:
        super().__init__(link, settings, prefix="synkora:test:", channels="test", clock=lambda: clock.now)
        self.link = link

    def log(self, namespace: str, deliver: Deliver) -> RedisLog:
        log = super().log(namespace, deliver)
        channels = Channels.of("test", namespace)
        for channel in (channels.broadcasts, *map(channels.room, ROOMS)):
            self.link.subscribe(channel, log.receive)
        return log

    async def settled(self) -> None:
        """Wait for what the log does after the reply to an append."""
        for _ in range(2):
            await self.link.call("PING")


@pytest.fixture
def make(link: Link) -> MakeStore:
    async def make(settings: RecoverySettings, clock: Clock) -> Followed:
        return Followed(link, settings, clock)

    return make


class TestRedisLog(EventLogContract):
    pass


class TestRedisSessions(SessionStoreContract):
    pass
