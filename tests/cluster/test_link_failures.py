"""The link when Redis or the network fails: detection, reports and reconnection."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.access.listeners import listening
from tests.support.links import QUICK, MakeLink, started
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.relay import Relay, relaying
from tests.support.servers import until

from synkora.redis.errors import LinkDown
from synkora.redis.link import Link, Script


@pytest.fixture
async def relay(redis: RedisServer) -> AsyncIterator[Relay]:
    async with relaying(redis.port) as relay:
        yield relay


@pytest.fixture
async def relayed(relay: Relay, make_link: MakeLink) -> Link:
    return await started(make_link(f"redis://127.0.0.1:{relay.port}"))


class Story:
    """A link's reports in order, and the messages of its channel."""

    def __init__(self, link: Link) -> None:
        self.told: list[str] = []
        self.heard: list[bytes] = []
        link.on_up.append(lambda: self.told.append("up"))
        link.on_down.append(lambda: self.told.append("down"))
        link.subscribe(b"news", self.heard.append)


async def is_whole(link: Link, story: Story) -> None:
    """Wait until a published message returns over the link's subscription."""
    await until(lambda: link.is_up)
    story.heard.clear()
    link.publish(b"news", b"hello again")
    await until(lambda: story.heard == [b"hello again"])
    assert link.problem is None


async def test_a_redis_that_dies_and_returns_is_found_again(link: Link, redis: RedisServer) -> None:
    """Nothing is queued meanwhile. The subscriptions are restored before `on_up` is called."""
    story = Story(link)
    at_up: list[asyncio.Future[int]] = []
    link.on_up.append(lambda: at_up.append(link.call("PUBLISH", "news", "from on_up")))
    await link.call("PING")
    waiting = link.call("BLPOP", "nothing", 0)
    redis.kill()
    with pytest.raises(LinkDown):
        await asyncio.wait_for(waiting, PATIENCE)
    await until(lambda: link.problem == "nothing listens at the address of Redis")
    assert not link.is_up
    link.publish(b"news", b"dropped")
    with pytest.raises(LinkDown, match="nothing listens"):
        await link.call("PING")
    with pytest.raises(LinkDown, match="nothing listens"):
        await link.run(Script("return 1"), [], [])
    assert link.dropped == 1
    redis.start()
    await until(lambda: at_up)
    assert await at_up[0] == 1
    await is_whole(link, story)
    assert story.told == ["down", "up"]
    assert link.reconnects == 1


async def test_subscriptions_made_and_ended_while_redis_is_away_count_when_it_is_back(
    link: Link, redis: RedisServer
) -> None:
    """A reconnect subscribes the channels that are current at this time."""
    link.subscribe(b"old", lambda _: None)
    await link.call("PING")
    redis.kill()
    await until(lambda: not link.is_up)
    link.subscribe(b"new", lambda _: None)
    link.unsubscribe(b"old")
    redis.start()
    await until(lambda: link.is_up)
    assert redis.do("PUBSUB", "NUMSUB", "old", "new") == [b"old", 0, b"new", 1]


async def test_a_redis_that_is_down_at_the_start_is_connected_later(make_link: MakeLink, redis: RedisServer) -> None:
    """`start` returns after its timeout, and the attempts continue."""
    redis.kill()
    link = make_link()
    story = Story(link)
    assert link.problem == "Redis has not been connected yet"
    assert not await link.start(0.05)
    assert link.problem == "nothing listens at the address of Redis"
    redis.start()
    await is_whole(link, story)
    assert story.told == ["up"]
    assert link.reconnects == 0


async def test_a_frozen_redis_is_noticed(link: Link, redis: RedisServer) -> None:
    """The connection stays open without an error: the heartbeats are missing."""
    story = Story(link)
    await link.call("PING")
    redis.pause()
    waiting = link.call("PING")
    with pytest.raises(LinkDown, match="fallen silent"):
        await asyncio.wait_for(waiting, PATIENCE)
    assert story.told == ["down"]
    await until(lambda: link.problem == "Redis did not answer within 1 s")
    redis.resume()
    await is_whole(link, story)


async def test_a_deaf_link_is_replaced(relay: Relay, relayed: Link) -> None:
    story = Story(relayed)
    await relayed.call("PING")
    relay.is_deaf = True
    await until(lambda: not relayed.is_up)
    assert relayed.problem is not None
    assert "fallen silent" in relayed.problem
    relay.is_deaf = False
    await is_whole(relayed, story)
    assert relay.connections >= 2
    assert story.told == ["down", "up"]


async def test_a_connection_that_is_cut_is_made_again(relay: Relay, relayed: Link) -> None:
    story = Story(relayed)
    await relayed.call("PING")
    relay.cut()
    await until(lambda: story.told == ["down", "up"])
    await is_whole(relayed, story)


async def test_a_connection_that_redis_ends_is_made_again(link: Link, redis: RedisServer) -> None:
    """By CLIENT KILL of an operator, or by Sentinel after a failover."""
    story = Story(link)
    await link.call("PING")
    redis.do("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: story.told == ["down", "up"])
    await is_whole(link, story)


async def test_a_connection_that_redis_ends_for_not_being_read_is_made_again(
    relay: Relay, relayed: Link, redis: RedisServer
) -> None:
    """Redis disconnects a subscriber above client-output-buffer-limit."""
    story = Story(relayed)
    await relayed.call("PING")
    redis.do("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1")
    relay.is_stuck = True
    while int(redis.do("PUBLISH", "news", b"x" * 1_000_000)):
        await asyncio.sleep(0)
    relay.is_stuck = False
    await until(lambda: "down" in story.told)
    await until(lambda: story.told[-1] == "up")
    await is_whole(relayed, story)


async def test_the_backlog_for_a_redis_that_does_not_read_is_bounded(relay: Relay, make_link: MakeLink) -> None:
    """Above the limit the connection is closed, and further messages are dropped."""
    settings = replace(QUICK, beat_interval=60, max_waiting=1_000_000)
    link = await started(make_link(f"redis://127.0.0.1:{relay.port}", settings))
    relay.is_stuck = True
    message = b"x" * 100_000
    published = 0
    while link.is_up and published < 1000:
        link.publish(b"news", message)
        published += 1
        await asyncio.sleep(0.001)
    assert link.problem == "Redis does not read: more than 1000000 bytes wait for it"
    link.publish(b"news", message)
    assert link.dropped == 1


async def test_the_backlog_within_one_turn_is_bounded_too(relay: Relay, make_link: MakeLink) -> None:
    """The limit also applies before the turn's write."""
    settings = replace(QUICK, beat_interval=60, max_waiting=1_000_000)
    link = await started(make_link(f"redis://127.0.0.1:{relay.port}", settings))
    for _ in range(1000):
        link.publish(b"news", b"x" * 100_000)
    assert link.dropped > 900


async def test_attempts_are_not_made_without_a_pause(relay: Relay, relayed: Link, redis: RedisServer) -> None:
    """Delays grow up to the longest: an absent Redis costs hardly anything."""
    redis.kill()
    await until(lambda: not relayed.is_up)
    before = relay.connections
    await asyncio.sleep(0.5)
    # Of 50 ms at the longest, and half of it at the least, there are no more than twenty in half a second.
    assert 1 <= relay.connections - before <= 21


async def test_the_delay_begins_again_after_a_connection_that_worked(relay: Relay, make_link: MakeLink) -> None:
    """However often working connections are lost, the next attempt comes soon."""
    settings = replace(QUICK, first_delay=0.001, longest_delay=3600, steady_after=0)
    link = await started(make_link(f"redis://127.0.0.1:{relay.port}", settings))
    for number in range(1, 16):  # the delay before the last attempt would have grown to at least 8 s
        relay.cut()
        await until(lambda number=number: link.reconnects == number)


async def test_a_redis_that_drops_connections_at_once_is_not_asked_without_a_pause(
    relay: Relay, make_link: MakeLink
) -> None:
    """A connection that was short-lived does not reset the delay, even if Redis answered."""
    link = make_link(f"redis://127.0.0.1:{relay.port}", replace(QUICK, steady_after=3600))
    link.on_up.append(relay.cut)
    await link.start(PATIENCE)
    before = relay.connections
    await asyncio.sleep(0.5)
    assert 1 <= relay.connections - before <= 21


async def test_messages_are_not_received_before_the_link_is_up(make_link: MakeLink) -> None:
    """Before `on_up`, no messages are delivered after the outage."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # No Redis can be made to send a message just then, so that this one is the test's own.
        beat = b"synkora:beat:" + link.uid.encode()
        subscribed = b">3\r\n+subscribe\r\n+%b\r\n:1\r\n>3\r\n+subscribe\r\n+news\r\n:2\r\n" % beat
        news = b">3\r\n+message\r\n+news\r\n+%b\r\n"
        messages = news % b"early" + b">3\r\n+message\r\n+%b\r\n+1\r\n" % beat + news % b"late"
        for answer in (
            *(b"%0\r\n", b":1\r\n", b"$0\r\n\r\n", b"$0\r\n\r\n"),
            *(subscribed + news % b"earliest", messages + b":1\r\n"),
        ):
            await reader.read(65_536)
            writer.write(answer)
        await reader.read()

    async with listening(serve) as other:
        link = make_link(f"redis://127.0.0.1:{other.port}", replace(QUICK, beat_interval=60))
        told: list[bytes] = []
        link.subscribe(b"news", told.append)
        link.on_up.append(lambda: told.append(b"up"))
        assert await link.start(PATIENCE)
        await until(lambda: told == [b"up", b"late"])


def fail() -> None:
    raise RuntimeError("a fault of the test's own")


async def test_a_listener_that_fails_harms_no_other(make_link: MakeLink) -> None:
    """Its error is logged, and the next listener is called."""
    link = make_link()
    told: list[str] = []
    link.on_up.append(fail)
    link.on_up.append(lambda: told.append("up"))
    assert await link.start(PATIENCE)
    assert told == ["up"]


async def test_a_link_that_never_came_up_closes(make_link: MakeLink, redis: RedisServer) -> None:
    """Also during the handshake with a frozen Redis."""
    redis.pause()
    link = make_link()
    assert not await link.start(0.05)
    await link.close()
    assert link.problem == "the server is stopping"
    redis.resume()


async def test_problems_of_redis_are_reported_while_the_link_stays_up(link: Link, redis: RedisServer) -> None:
    """With full memory, publishing continues. The problem ends with the first accepted change."""
    change = Script("return redis.call('SET', KEYS[1], ARGV[1])")
    await link.run(change, ["a"], ["x"])
    redis.do("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Exception, match="memory is full"):
        await link.run(change, ["a"], ["x"])
    await until(lambda: link.problem is not None)
    assert link.problem == "Redis refuses writes: its memory is full (maxmemory)"
    assert link.is_up
    story = Story(link)
    link.publish(b"news", b"x")
    await until(lambda: story.heard)
    redis.do("CONFIG", "SET", "maxmemory", "0")
    await link.run(change, ["a"], ["x"])
    await until(lambda: link.problem is None)


async def test_a_master_that_became_a_replica_is_left(link: Link, redis: RedisServer) -> None:
    """After a failover, the name may resolve to another server: the link reconnects repeatedly, and reports why."""
    story = Story(link)
    change = Script("return redis.call('SET', KEYS[1], ARGV[1])")
    await link.run(change, ["a"], ["x"])
    redis.do("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(Exception, match="is a replica"):
        await link.run(change, ["a"], ["x"])
    await until(lambda: story.told == ["down"])
    await until(lambda: link.problem is not None and "its URL must name the master" in link.problem)
    redis.do("REPLICAOF", "NO", "ONE")
    await is_whole(link, story)
