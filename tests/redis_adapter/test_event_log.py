"""The log of events in Redis."""

import asyncio
import random
from typing import Any

import pytest
from tests.contracts.event_log import (
    TRACEPARENT,
    EventLogContract,
    LastingLogContract,
    Restart,
    WatchedTrace,
    event,
    name_of,
)
from tests.redis_adapter.recovery_stores import Followed, followed, lose, used
from tests.support.clocks import Clock
from tests.support.links import MakeLink, started
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.recovery.ports import Incomplete, LoggedEvent, RecoveryStore, new_event
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter.event_log import AUTHOR
from synkora.redis_adapter.wire_codec import BroadcastMessage, Options, PublishedEvent, write
from synkora.tracing import Trace


class TestRedisLog(EventLogContract):
    pass


class TestRestartedRedisLog(LastingLogContract):
    @pytest.fixture
    def restart(self, make_link: MakeLink) -> Restart:
        async def restart(store: RecoveryStore) -> RecoveryStore:
            await store.close()
            return Followed(await started(make_link()), RecoverySettings(), Clock())

        return restart


@pytest.mark.parametrize("restarts", [True, False], ids=["restart", "flush"])
async def test_a_log_that_begins_again_has_another_epoch(redis: RedisServer, link: Link, restarts: bool) -> None:
    """Redis has lost its data: no earlier position is valid, however many events follow."""
    log, delivered = followed(link)
    log.append(new_event(event("a"), ("p",)))
    await until(lambda: len(delivered) == 1)
    before = log.position
    if restarts:
        redis.kill()
        await until(lambda: not link.is_up)
        redis.start()
        await until(lambda: link.is_up)
        await until(lambda: log.gaps == 1)
    else:
        redis.do("FLUSHALL")
    for name in ("b", "c"):
        log.append(new_event(event(name), ("p",)))
    await until(lambda: len(delivered) == 3)
    assert log.position.epoch != before.epoch
    assert await log.read(("p",), before) is Incomplete.EPOCH


async def test_an_event_after_a_quiet_time_renews_the_lifetime_of_its_room(redis: RedisServer, link: Link) -> None:
    settings, clock = RecoverySettings(), Clock()
    log = Followed(link, settings, clock).log("/", lambda _: None)
    names = "synkora:test:{log:/}:stream:p", "synkora:test:{log:/}:index:p"
    for _ in range(2):
        log.append(new_event(event("a"), ("p",)))
        await until(lambda: all(redis.do("TTL", name) > 2 * settings.max_age for name in names))
        clock.now += settings.max_age
        for name in names:
            redis.do("EXPIRE", name, 60)


async def test_each_key_has_a_lifetime(redis: RedisServer, link: Link) -> None:
    store = Followed(link, RecoverySettings(max_rooms=1, total_bytes=1000), Clock())
    log = store.log("/", lambda _: None)
    for room in ("p", "q", "r", "p"):
        log.append(new_event(event("a"), (room,)))
        await link.call("PING")
        await store.settled()
    assert redis.do("EXISTS", "synkora:test:{log:/}:floors", "synkora:test:{log:/}:large") == 2
    assert [key for key in redis.do("KEYS", "*") if redis.do("TTL", key) < 0] == []


async def test_a_full_log_knows_what_its_rooms_hold(redis: RedisServer, link: Link) -> None:
    """However rooms have grown and were trimmed. Only large rooms are listed by their size, about correctly."""
    store = Followed(link, RecoverySettings(total_bytes=40_000, room_events=60), Clock())
    log, chance = store.log("/", lambda _: None), random.Random(1)
    prefix = "synkora:test:{log:/}:"
    for number in range(1500):
        room = f"large {chance.randrange(8)}" if number % 3 else f"small {number}"
        key = f"{chance.randrange(30)}" if number % 5 else None
        rooms = (room, "small") if number % 100 == 0 else (room,)
        log.append(new_event(event("x" * (chance.randrange(1500) if number % 3 else 10)), rooms, key=key))
        if number % 20 == 0:
            await store.settled()
    for _ in range(3):
        await log.append_once(new_event(event("x"), ("small",), key="k"))
        await store.settled()
    held, large = {}, redis.do("ZRANGE", f"{prefix}large", 0, -1)
    for room in redis.do("ZRANGE", f"{prefix}rooms", 0, -1):
        entries = [dict(zip(each[1][::2], each[1][1::2], strict=True)) for each in _entries(redis, room)]
        held[room] = sum(int(each[b"s"]) for each in entries)
        index = dict(zip(*[iter(redis.do("HGETALL", f"{prefix}index:".encode() + room))] * 2, strict=True))
        assert (int(index[b"bytes"]), int(index[b"count"])) == (held[room], len(entries))
        keys = {name for name in index if name.startswith(b"key:")}
        assert keys == {b"key:" + each[b"k"] for each in entries if b"k" in each}
        assert _entries(redis, room) == [] or int(index[b"floor"]) < int(_entries(redis, room)[0][0].split(b"-")[0])
    assert sum(held.values()) == int(redis.do("HGET", f"{prefix}log", "bytes")) <= 40_000
    assert len([room for room in held if room.startswith(b"small ")]) == 500
    assert set(large) == {room for room in held if held[room] > 40_000 / 1024}
    for room in large:
        assert abs(held[room] - int(redis.do("ZSCORE", f"{prefix}large", room))) <= held[room] / 4


async def test_a_room_that_is_small_again_or_forgotten_is_not_listed_as_large(redis: RedisServer, link: Link) -> None:
    store = Followed(link, RecoverySettings(max_rooms=1, total_bytes=20_000), Clock())
    log, large = store.log("/", lambda _: None), "synkora:test:{log:/}:large"
    await log.append_once(new_event(event("x" * 1000), ("p",), key="k"))
    assert redis.do("ZRANGE", large, 0, -1) == [b"p"]
    await log.append_once(new_event(event("x"), ("p",), key="k"))
    assert redis.do("ZRANGE", large, 0, -1) == []
    for room in ("q", "r"):
        await log.append_once(new_event(event("x" * 1000), (room,)))
        await store.settled()
    assert redis.do("ZRANGE", large, 0, -1) == redis.do("ZRANGE", "synkora:test:{log:/}:rooms", 0, -1) == [b"r"]


def _entries(redis: RedisServer, room: bytes) -> Any:
    return redis.do("XRANGE", b"synkora:test:{log:/}:stream:" + room, "-", "+")


async def test_an_entry_of_another_program_is_no_reason_to_wait(redis: RedisServer, link: Link) -> None:
    """A read that finds something else in a stream has an answer, and the instance goes on."""
    log = Followed(link, RecoverySettings(), Clock()).log("/", lambda _: None)
    log.append(new_event(event("a"), ("p",)))
    await until(lambda: log.position.number == 1)
    redis.do("XADD", log._keys.room("p")[0], "2-0", "s", "1", "junk", "junk")
    redis.do("HSET", log._keys.of("log"), "number", "2")
    assert await log.read(("p",), Position(log.position.epoch, 0)) is Incomplete.UNAVAILABLE


async def test_a_log_that_another_program_has_changed_is_no_reason_to_wait(redis: RedisServer, link: Link) -> None:
    """When the link is back, an answer of another form counts as none. Messages would be held for ever."""
    log, delivered = followed(link)
    log.append(new_event(event("a"), ("p",)))
    await until(lambda: len(delivered) == 1)
    epoch = log.position.epoch
    redis.do("HSET", log._keys.of("log"), "epoch", b"\xff")
    lose(link)
    await until(lambda: log._catch_up.is_refused)
    redis.do("HSET", log._keys.of("log"), "epoch", epoch)
    log.append(new_event(event("b"), ("p",)))
    await until(lambda: len(delivered) == 2)


async def test_a_room_that_another_program_has_named_is_no_reason_to_wait(redis: RedisServer, link: Link) -> None:
    log, _ = followed(link)
    redis.do("ZADD", log._keys.of("rooms"), 0, b"\xff")
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    assert await log.append_once(new_event(event("a"), ("p",)), once="a") == log.position
    assert not failures


async def test_a_message_with_a_long_name_of_a_sender_is_ignored(redis: RedisServer, link: Link) -> None:
    """The last number of each sender is remembered."""
    log, delivered = followed(link)
    await until(lambda: log.position.number == 0)
    for sender in ("x" * 65, "x"):
        packet = PublishedEvent(2, nsp="/", id=f'["by",{len(sender)},"{log.position.epoch}.5"]')
        options = Options(["p"], [], {"sender": sender, "number": 1})
        log.receive(write(BroadcastMessage(AUTHOR, packet, options)))
    assert [each.data for each in delivered] == [b'["by",1]']


async def test_a_message_with_a_number_that_redis_cannot_give_is_ignored(redis: RedisServer, link: Link) -> None:
    """All later events would count as old, and this instance would let the log go on from there, for all instances."""
    log, delivered = followed(link)
    await until(lambda: log.position.number == 0)
    packet = PublishedEvent(2, nsp="/", id=f'["forged","{log.position.epoch}.{2**53:x}"]')
    log.receive(write(BroadcastMessage(AUTHOR, packet, Options(["p"], [], {"sender": "x", "number": 1}))))
    log.append(new_event(event("a"), ("p",)))
    await until(lambda: [name_of(each) for each in delivered] == ["a"])


@pytest.mark.parametrize("forged", [7, None, ["x"], "x" * 56])
async def test_a_trace_that_is_no_text_or_too_long_is_ignored(link: Link, forged: object) -> None:
    log, delivered = followed(link)
    await until(lambda: log.position.number == 0)
    for number, traceparent in ((1, forged), (2, TRACEPARENT)):
        packet = PublishedEvent(2, nsp="/", id=f'["a","{log.position.epoch}.{number}"]')
        options = Options(["p"], [], {"sender": "x", "number": number, "traceparent": traceparent})
        log.receive(write(BroadcastMessage(AUTHOR, packet, options)))
    assert [each.traceparent for each in delivered] == ["", TRACEPARENT]


async def test_an_event_that_waits_for_redis_is_delivered_with_its_trace(redis: RedisServer, link: Link) -> None:
    """Its part in the trace ends when Redis has it."""
    log, delivered = followed(link)
    redis.pause()
    await until(lambda: not link.is_up)
    trace = WatchedTrace(delivered)
    log.append(new_event(event("a"), ("p",)), trace=trace)
    assert (delivered[0].traceparent, trace.ends) == (TRACEPARENT, [])
    redis.resume()
    await until(lambda: trace.ends == [(1, "")])


async def test_an_event_that_was_missed_is_delivered_with_its_trace(link: Link, make_link: MakeLink) -> None:
    delivered: list[LoggedEvent] = []
    follower = Followed(link, RecoverySettings(), Clock())
    log = follower.log("/", delivered.append)
    follower.serve("/", used("p"))
    other = await started(make_link())
    writer, _ = followed(other)
    await until(lambda: log.position.number == 0 and writer.position.epoch == log.position.epoch)
    lose(link)
    await writer.append_once(new_event(event("a"), ("p",)), trace=Trace(TRACEPARENT))
    await until(lambda: len(delivered) == 1)
    assert delivered[0].traceparent == TRACEPARENT


async def test_an_answer_leaves_out_the_names_of_rooms_and_keys(link: Link, redis: RedisServer) -> None:
    """They would make an answer much larger than its events, whose bytes are bounded."""
    log, _ = followed(link)
    room = "r" * 200
    for number in range(500):
        log.append(new_event(event("x"), (room,), key=f"{number}".zfill(300)))
    await until(lambda: log.kept_bytes == 0)

    def sent() -> int:
        stats = redis.do("INFO", "stats").decode()
        return int(stats.partition("total_net_output_bytes:")[2].split()[0])

    before = sent()
    found = await log.read((room,), Position(log.position.epoch, 0))
    assert not isinstance(found, Incomplete)
    assert [(each.rooms, name_of(each)) for each in found] == [((room,), "x")] * 500
    assert sent() - before < 100_000
