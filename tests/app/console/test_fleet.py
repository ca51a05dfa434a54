"""All instances as one, through a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs
from tests.support.redis_server import RedisServer, running_redis
from tests.support.servers import until

from synkora.app.cluster import Cluster
from synkora.app.console.fleet import Fleet
from synkora.app.console.topics import COUNT, DISCONNECT, ProjectNamed, SocketNamed
from synkora.engine.failures import Failures

ASKED = ProjectNamed("p1")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    with running_redis() as redis:
        yield redis


@pytest.fixture
async def fleets(redis: RedisServer) -> AsyncIterator[list[Fleet]]:
    """Three instances that know of each other; each has as many in any project as stand before it."""
    clusters = [Cluster(redis.url, "socket.io", Failures(3)) for _ in range(3)]
    fleets = []
    for number, cluster in enumerate(clusters):
        await cluster.__aenter__()
        fleets.append(Fleet(cluster.link.uid, cluster.questions))

        async def count(named: ProjectNamed, number: int = number) -> int:
            assert named == ASKED
            return number

        fleets[-1].answer(COUNT, count)
    await until(lambda: all(len(fleet.others) == 2 for fleet in fleets))
    yield fleets
    for cluster in clusters:
        await cluster.leave()
        await cluster.__aexit__(None, None, None)


async def test_all_are_asked(fleets: list[Fleet]) -> None:
    """The one that asks answers too, by a plain call; each answer has its instance's name."""
    everyone = {fleet.id: number for number, fleet in enumerate(fleets)}
    found = await asyncio.gather(*(fleet.ask(COUNT, ASKED) for fleet in fleets))
    assert list(found) == [everyone] * 3
    assert fleets[0].others == sorted(fleet.id for fleet in fleets[1:])


async def test_one_is_asked(fleets: list[Fleet]) -> None:
    """Itself, or another; of one that nobody knows there is no answer."""
    first, second, _ = fleets
    assert await first.ask(COUNT, ASKED, first.id) == {first.id: 0}
    assert await first.ask(COUNT, ASKED, second.id) == {second.id: 1}
    assert await first.ask(COUNT, ASKED, "nobody") == {}


async def test_one_that_has_no_console_is_left_out(fleets: list[Fleet]) -> None:
    """The others' answers are there."""
    first, second, _ = fleets

    async def disconnect(_: SocketNamed) -> bool:
        return False

    for fleet in (first, second):
        fleet.answer(DISCONNECT, disconnect)
    assert await first.ask(DISCONNECT, SocketNamed("x")) == {first.id: False, second.id: False}


async def test_an_answer_of_another_version_is_left_out(fleets: list[Fleet]) -> None:
    """The log says whose it was."""
    first, second, third = fleets
    assert second._questions is not None

    async def answer_otherwise(_: bytes) -> bytes:
        return b'{"count":1}'

    second._questions.on(COUNT.name, answer_otherwise)
    with capture_logs() as logs:
        assert await first.ask(COUNT, ASKED) == {first.id: 0, third.id: 2}
    assert [(entry["event"], entry["instance"]) for entry in logs] == [("console_answer_unreadable", second.id)]


async def test_a_server_that_is_alone() -> None:
    """It asks itself, and knows of no others."""
    fleet = Fleet("me", None)

    async def count(_: ProjectNamed) -> int:
        return 5

    fleet.answer(COUNT, count)
    assert await fleet.ask(COUNT, ASKED) == {"me": 5}
    assert await fleet.ask(COUNT, ASKED, "me") == {"me": 5}
    assert await fleet.ask(COUNT, ASKED, "other") == {}
    assert fleet.others == []
