"""Fixtures of tests over Redis."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from tests.contracts.event_log import MakeStore
from tests.redis_adapter.recovery_stores import Followed
from tests.redis_adapter.returning import Page, joined, server_on
from tests.support.clocks import Clock
from tests.support.redis_server import RedisServer

from synkora import SocketServer
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link


@pytest.fixture
def make(link: Link) -> MakeStore:
    async def make(settings: RecoverySettings, clock: Clock) -> Followed:
        return Followed(link, settings, clock)

    return make


@pytest.fixture
async def servers(redis: RedisServer) -> AsyncIterator[list[SocketServer]]:
    async with AsyncExitStack() as stack:
        servers = [server_on(redis.url) for _ in range(2)]
        for server in servers:
            server.of("/")
            await stack.enter_async_context(server.lifespan())
        yield servers


@pytest.fixture
async def page(servers: list[SocketServer]) -> Page:
    return await joined(servers[0])
