"""Fixtures: a real Redis, and links to it."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer, running_redis

from synkora.redis.link import Link, LinkSettings
from synkora.redis.url import RedisUrl

QUICK = LinkSettings(beat_interval=0.05, missed_beats=6, timeout=1.0, first_delay=0.01, longest_delay=0.05)

MakeLink = Callable[..., Link]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
async def make_link(redis: RedisServer) -> AsyncIterator[MakeLink]:
    """Makes links, by default to the test's Redis, and closes them at the end."""
    links: list[Link] = []

    def make(url: str | None = None, settings: LinkSettings = QUICK) -> Link:
        links.append(Link(RedisUrl.parse(url or redis.url), settings))
        return links[-1]

    yield make
    for link in links:
        await link.close()


@pytest.fixture
async def link(make_link: MakeLink) -> Link:
    link = make_link()
    assert await link.start(PATIENCE)
    return link
