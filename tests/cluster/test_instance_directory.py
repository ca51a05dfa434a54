"""Where instances are reached, as they tell each other through a real Redis."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.support.links import MakeLink
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.cluster.count_sync import CountSync, Report
from synkora.cluster.instance_directory import Announcement, InstanceDirectory
from synkora.collaboration.failure_backoff import FailureBackoff
from synkora.protocol.json import encode
from synkora.redis.link import Link
from synkora.serving.owners import Owner

NEVER = 1e6  # seconds
KEY = "0a" * 32
PLACE = Announcement("http://192.0.2.1:3001", KEY)


class Instance:
    def __init__(self, link: Link, place: Announcement | None, *, beat: float = NEVER, silence: float = NEVER) -> None:
        self.link = link
        self.tag = link.uid
        self.counts = CountSync(link, FailureBackoff(3), beat=beat, silence=silence)
        self.gone: list[str] = []
        self.directory.on_gone.append(self.gone.append)
        if place is not None:
            self.counts.announce(place)
        self.counts.start()

    @property
    def directory(self) -> InstanceDirectory:
        return self.counts.directory

    def receives(self, message: bytes) -> None:
        self.counts._receive(message)


Make = Callable[..., Awaitable[Instance]]


@pytest.fixture
def make(make_link: MakeLink) -> Make:
    async def make_instance(place: Announcement | None = PLACE, **timing: float) -> Instance:
        link = make_link()
        instance = Instance(link, place, **timing)
        assert await link.start(PATIENCE)
        return instance

    return make_instance


async def test_instances_know_the_addresses_of_the_others(make: Make) -> None:
    """Also those that came before. An instance does not know itself, and so never forwards to itself."""
    a = await make(Announcement("http://192.0.2.1:3001", KEY))
    b = await make(Announcement("https://[2001:db8::2]:3002", "0b" * 32, "c" * 64))
    await until(lambda: a.directory.tags == {b.tag} and b.directory.tags == {a.tag})
    assert a.directory.find(b.tag) == Owner(b.tag, "https://[2001:db8::2]:3002", b"\x0b" * 32, "c" * 64)
    assert b.directory.find(a.tag) == Owner(a.tag, "http://192.0.2.1:3001", b"\x0a" * 32)
    assert a.directory.find(a.tag) is None


async def test_a_new_address_replaces_the_former_one(make: Make) -> None:
    """As after a reload with a renewed certificate. Nothing that is forwarded ends."""
    a, b = await make(), await make()
    await until(lambda: a.directory.find(b.tag) is not None)
    b.counts.announce(Announcement("http://192.0.2.1:3001", KEY, "d" * 64))
    await until(lambda: a.directory.find(b.tag) == Owner(b.tag, "http://192.0.2.1:3001", b"\x0a" * 32, "d" * 64))
    assert a.gone == []


async def test_an_instance_that_has_announced_nothing_is_not_reached(make: Make) -> None:
    """Such as one inside another application."""
    a, b = await make(), await make(None)
    await until(lambda: b.directory.tags == {a.tag})
    assert b.tag in a.counts.others
    assert a.directory.find(b.tag) is None


async def test_an_instance_that_stops_is_reached_until_its_end(make: Make) -> None:
    a, b = await make(), await make()
    await until(lambda: a.directory.tags == {b.tag})
    b.counts.announce_stop()
    await until(lambda: list(a.counts.stopped) == [b.tag])
    assert a.directory.tags == {b.tag}
    b.counts.close()
    await until(lambda: not a.directory.tags)
    assert a.gone == [b.tag]


async def test_an_instance_that_dies_is_forgotten(make: Make) -> None:
    """After its silence."""
    a, b, dying = [await make(beat=0.05, silence=0.5) for _ in range(3)]
    await until(lambda: a.directory.tags == {b.tag, dying.tag})
    assert dying.link._task is not None
    dying.link._task.cancel()  # without a message
    await until(lambda: a.directory.tags == {b.tag})
    assert dying.tag in a.gone


async def test_without_redis_the_others_are_still_reached(make: Make, redis: RedisServer) -> None:
    """They may live, and their sessions with them. With Redis again, those that have died are forgotten."""
    a, b = [await make(beat=0.05, silence=0.3) for _ in range(2)]
    await until(lambda: a.directory.tags == {b.tag})
    redis.kill()
    await until(lambda: not a.link.is_up and b.tag not in a.counts.others)
    assert a.directory.tags == {b.tag}
    assert b.link._task is not None
    b.link._task.cancel()
    await asyncio.wait((b.link._task,))
    redis.start()
    await until(lambda: not a.directory.tags)
    assert b.tag in a.gone


@pytest.mark.parametrize(
    "place",
    [
        Announcement("ftp://192.0.2.1:3001", KEY),
        Announcement("http://192.0.2.1", KEY),
        Announcement("http://192.0.2.1:3001/path", KEY),
        Announcement("http://192.0.2.1:3001\r\nX: y:1", KEY),
        Announcement("http://192.0.2.1:3001\n", KEY),
        Announcement(f"http://{'x' * 300}:3001", KEY),
        Announcement("", KEY),
        Announcement("http://192.0.2.1:3001", ""),
        Announcement("http://192.0.2.1:3001", "0a" * 31),
        Announcement("http://192.0.2.1:3001", "0x" * 32),
        Announcement("http://192.0.2.1:3001", KEY, "c"),
    ],
)
async def test_a_wrong_address_is_refused(make: Make, place: Announcement) -> None:
    """Another program may write to the channels of Redis. The instance keeps the addresses that it knew before."""
    a = await make()
    a.receives(encode(Report("other", whole=True, announcement=PLACE)))
    a.receives(encode(Report("other", whole=True, announcement=place)))
    a.receives(encode(Report("another", whole=True, announcement=place)))
    assert a.counts.unreadable == 2
    assert a.directory.tags == {"other"}
    assert a.directory.find("other") == Owner("other", PLACE.url, b"\x0a" * 32)


async def test_an_address_in_this_instances_own_name_is_not_taken(make: Make) -> None:
    a = await make()
    a.receives(encode(Report(a.tag, whole=True, announcement=Announcement("http://192.0.2.9:1", KEY))))
    assert a.directory.find(a.tag) is None
