"""The sizes of projects that only other instances know."""

import pytest
from tests.support.clocks import Clock, clock
from tests.support.links import MakeLink
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.cluster import project_sizes
from synkora.cluster.presence_scripts import Keys
from synkora.cluster.presence_sync import PREFIX
from synkora.cluster.project_sizes import LONGEST_AGE, MAX_AGE, UNKNOWN, ProjectSizes
from synkora.redis.link import Link

__all__ = ["clock"]

TIMED = [project_sizes]


@pytest.fixture
def sizes(link: Link) -> ProjectSizes:
    return ProjectSizes(link, Keys(PREFIX))


def fill(redis: RedisServer, connections: int) -> None:
    """Let a project have connections, as the scripts of presence leave them in Redis."""
    fields = [text for number in range(connections) for text in (f"socket-{number}", "instance:{}")]
    redis.do("HSET", f"{PREFIX}project:p", "", "7", *fields)


async def test_a_project_has_an_assumed_size_until_redis_has_answered(
    sizes: ProjectSizes, redis: RedisServer, clock: Clock
) -> None:
    fill(redis, 3)
    assert sizes.get("p") == sizes.get("empty") == UNKNOWN
    await until(lambda: sizes.get("p") == 3)
    await until(lambda: sizes.get("empty") == 0)


async def test_a_number_is_asked_for_again_after_a_second(
    sizes: ProjectSizes, redis: RedisServer, clock: Clock
) -> None:
    fill(redis, 1)
    await until(lambda: sizes.get("p") == 1)
    fill(redis, 2)
    clock.now += MAX_AGE / 2
    assert sizes.get("p") == 1
    assert not sizes._asked
    clock.now += MAX_AGE / 2
    assert sizes.get("p") == 1
    await until(lambda: sizes.get("p") == 2)


async def test_an_old_number_counts_no_longer(sizes: ProjectSizes, redis: RedisServer, clock: Clock) -> None:
    fill(redis, 1)
    await until(lambda: sizes.get("p") == 1)
    clock.now += LONGEST_AGE
    assert sizes.get("p") == UNKNOWN
    await until(lambda: sizes.get("p") == 1)


async def test_a_project_has_an_assumed_size_without_redis(make_link: MakeLink) -> None:
    sizes = ProjectSizes(make_link(), Keys(PREFIX))
    assert [sizes.get("p") for _ in range(3)] == [UNKNOWN] * 3
    assert not sizes._asked


async def test_very_many_projects_are_not_remembered(
    sizes: ProjectSizes, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_sizes, "_MAX_KNOWN", 3)
    for number in range(10):
        await until(lambda number=number: sizes.get(f"p{number}") == 0)
    assert len(sizes._known) <= 3
