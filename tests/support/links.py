"""Fixtures: a real Redis, and links to it."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer, running_redis

from synkora.redis.link import Link, LinkSettings, Script
from synkora.redis.url import RedisUrl

QUICK = LinkSettings(beat_interval=0.05, missed_beats=6, timeout=1.0, first_delay=0.01, longest_delay=0.05)

MakeLink = Callable[..., Link]

#: Lets a script fail at a key that is not in KEYS. Dragonfly refuses such a key, and a Cluster one of another node.
_DECLARED: str = """
local redis = setmetatable({ call = function(name, ...)
  local declared, given = {}, { ... }
  for _, key in ipairs(KEYS) do
    declared[key] = true
  end
  for index = 1, ({ TIME = 0, PUBLISH = 0, DEL = #given })[name] or 1 do
    if not declared[given[index]] then
      error('undeclared key ' .. tostring(given[index]) .. ' of ' .. name)
    end
  end
  return redis.call(name, ...)
end }, { __index = redis })
"""


@functools.cache
def _strict(script: Script) -> Script:
    return Script(_DECLARED + script.text)


class StrictLink(Link):
    """A link whose scripts fail if they use a key that is not declared."""

    def run(self, script: Script, *args: Any, **kwargs: Any) -> "asyncio.Future[Any]":
        return super().run(_strict(script), *args, **kwargs)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
async def make_link(redis: RedisServer) -> AsyncIterator[MakeLink]:
    """Makes links, by default to the test's Redis, and closes them at the end."""
    links: list[Link] = []

    def make(url: str | None = None, settings: LinkSettings = QUICK) -> Link:
        links.append(StrictLink(RedisUrl.parse(url or redis.url), settings))
        return links[-1]

    yield make
    for link in links:
        await link.close()


async def started(link: Link) -> Link:
    assert await link.start(PATIENCE)
    return link


@pytest.fixture
async def link(make_link: MakeLink) -> Link:
    return await started(make_link())
