"""What one run of a log's scripts drops. Redis does nothing else meanwhile."""

import re
from typing import Any

from tests.contracts.event_log import event, name_of
from tests.redis_adapter.recovery_stores import Followed
from tests.support.clocks import Clock
from tests.support.links import MakeLink, started
from tests.support.redis_server import RedisServer

from synkora.recovery.ports import Incomplete, Kept, new_event
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter.event_log import RedisLog

PREFIX = "synkora:test:{log:/}:"
EVENTS = 2000  # of a filled room, each with a key of its own
SIZE = len(event("0000"))  # bytes of each
AT_ONCE = 100  # commands on streams and indexes that a run may take


async def fill(log: RedisLog, count: int = EVENTS) -> str:
    """Append events to the room `p`. Returns the epoch."""
    for number in range(1, count):
        log.append(new_event(event(f"{number:04}"), ("p",), key=f"key {number}"))
    last = await log.append_once(new_event(event(f"{count:04}"), ("p",), key=f"key {count}"))
    assert last is not None
    assert last.number == count
    assert await log.kept("p") == Kept(count, count * SIZE)
    return last.epoch


async def missed(log: RedisLog, epoch: str, after: int, room: str = "p") -> list[str] | Incomplete:
    found = await log.read((room,), Position(epoch, after))
    return found if isinstance(found, Incomplete) else [name_of(each) for each in found]


def commands(redis: RedisServer) -> int:
    """How many commands on streams and hashes have run."""
    found: list[str] = re.findall(r"cmdstat_[xh]\w+:calls=(\d+)", redis.do("INFO", "commandstats").decode())
    return sum(map(int, found))


def index_of(redis: RedisServer, room: str) -> dict[str, str]:
    fields = [each.decode() for each in redis.do("HGETALL", f"{PREFIX}index:{room}")]
    return dict(zip(fields[::2], fields[1::2], strict=True))


def check(redis: RedisServer, room: str) -> int:
    """The index says what the stream has, and both live equally long. Returns how many events there are."""
    entries: list[Any] = redis.do("XRANGE", f"{PREFIX}stream:{room}", "-", "+")
    keys, size = {}, 0
    for name, fields in entries:
        entry = dict(zip(fields[::2], fields[1::2], strict=True))
        size += int(entry[b"s"])
        if b"k" in entry:
            keys[f"key:{entry[b'k'].decode()}"] = f"{name.decode().removesuffix('-0')}:{int(entry[b's'])}"
    index = index_of(redis, room)
    assert (int(index["count"]), int(index["bytes"])) == (len(entries), size)
    assert {name: value for name, value in index.items() if name.startswith("key:")} == keys
    assert int(index["floor"]) < int(index["first"]) <= int(entries[0][0].decode().removesuffix("-0"))
    assert {"last", "listed", "marked_at", "open"} <= index.keys()
    assert redis.do("TTL", f"{PREFIX}stream:{room}") == redis.do("TTL", f"{PREFIX}index:{room}") > 0
    return len(entries)


async def test_events_that_grow_old_together_are_dropped_a_part_at_a_time(redis: RedisServer, link: Link) -> None:
    """With each event a part. Those that are left count as dropped: a read knows them by their numbers."""
    clock = Clock()
    log = Followed(link, RecoverySettings(max_age=60), clock).log("/", lambda _: None)
    epoch = await fill(log)
    clock.now += 1
    await log.append_once(new_event(event("old"), ("p",)))
    clock.now += 30
    await log.append_once(new_event(event("young"), ("p",)))
    clock.now += 31
    before = commands(redis)
    await log.append_once(new_event(event("new"), ("p",)))
    assert commands(redis) - before < AT_ONCE
    assert check(redis, "p") == EVENTS + 3 - 100
    assert await missed(log, epoch, 0) is Incomplete.TRIMMED
    assert await missed(log, epoch, EVENTS - 1) is Incomplete.TRIMMED
    assert await missed(log, epoch, EVENTS + 1) == ["young", "new"]
    for number in range(20):
        await log.append_once(new_event(event(f"{number}"), ("p",)))
    assert check(redis, "p") == 22
    assert await missed(log, epoch, EVENTS) is Incomplete.TRIMMED
    assert await missed(log, epoch, EVENTS + 2) == ["new", *map(str, range(20))]


async def test_events_above_a_bound_that_was_lowered_are_dropped_a_part_at_a_time(
    redis: RedisServer, link: Link, make_link: MakeLink
) -> None:
    epoch = await fill(Followed(link, RecoverySettings(), Clock()).log("/", lambda _: None))
    lowered = Followed(await started(make_link()), RecoverySettings(room_events=10), Clock())
    log = lowered.log("/", lambda _: None)
    before = commands(redis)
    await log.append_once(new_event(event("new"), ("p",)))
    assert commands(redis) - before < AT_ONCE
    assert check(redis, "p") == EVENTS + 1 - 100
    for _ in range(20):
        await log.append_once(new_event(event("next"), ("p",)))
    assert check(redis, "p") == 10
    assert await missed(log, epoch, EVENTS) is Incomplete.TRIMMED


async def test_a_large_event_in_place_of_very_many_small_ones_leaves_the_newest(redis: RedisServer, link: Link) -> None:
    """The room's bound in bytes holds. A client that was away for a moment is recovered."""
    settings = RecoverySettings(room_bytes=100_000)
    store = Followed(link, settings, Clock())
    log = store.log("/", lambda _: None)
    epoch = await fill(log)
    before = commands(redis)
    large = "x" * 95_000
    await log.append_once(new_event(event(large), ("p",), key="large"))
    assert commands(redis) - before < AT_ONCE
    left = check(redis, "p")
    assert 400 <= left <= (settings.room_bytes - len(large)) // SIZE
    assert redis.do("HGET", f"{PREFIX}log", "bytes") == index_of(redis, "p")["bytes"].encode()
    oldest = EVENTS + 2 - left
    assert await missed(log, epoch, oldest - 1) == [*(f"{n:04}" for n in range(oldest, EVENTS + 1)), large]
    assert await missed(log, epoch, oldest - 2) is Incomplete.TRIMMED
    await log.append_once(new_event(event("again"), ("p",), key=f"key {EVENTS}"))
    assert check(redis, "p") == left
    await log.append_once(new_event(event("again"), ("p",), key="key 1"))
    assert check(redis, "p") == left + 1
    assert (await missed(log, epoch, EVENTS))[-2:] == ["again", "again"]


async def test_an_event_that_is_too_large_in_place_of_very_many_small_ones_leaves_none(
    redis: RedisServer, link: Link
) -> None:
    log = Followed(link, RecoverySettings(room_bytes=50_000), Clock()).log("/", lambda _: None)
    epoch = await fill(log)
    before = commands(redis)
    await log.append_once(new_event(event("x" * 60_000), ("p",), key="key 1"))
    assert commands(redis) - before < AT_ONCE
    assert await log.kept("p") == Kept(0, 0)
    assert await missed(log, epoch, EVENTS) is Incomplete.TRIMMED
    assert await missed(log, epoch, EVENTS + 1) == []
    await log.append_once(new_event(event("a"), ("p",), key="key 1"))
    assert check(redis, "p") == 1
    assert await missed(log, epoch, EVENTS + 1) == ["a"]


async def test_a_room_with_very_many_small_events_that_makes_room_keeps_the_newest(
    redis: RedisServer, link: Link
) -> None:
    """The event that is one too many is in another room, which has less than an equal share."""
    settings = RecoverySettings(total_bytes=EVENTS * SIZE)
    store = Followed(link, settings, Clock())
    log = store.log("/", lambda _: None)
    epoch = await fill(log)
    before = commands(redis)
    large = "x" * (EVENTS * SIZE * 2 // 5)
    await log.append_once(new_event(event(large), ("q",)))
    await store.settled()
    assert commands(redis) - before < AT_ONCE
    left = check(redis, "p")
    assert left >= 400
    assert await missed(log, epoch, 0, "q") == [large]
    assert await missed(log, epoch, EVENTS - left) == [f"{n:04}" for n in range(EVENTS - left + 1, EVENTS + 1)]
    assert await missed(log, epoch, EVENTS - left - 1) is Incomplete.TRIMMED
    held = sum(int(index_of(redis, room)["bytes"]) for room in ("p", "q"))
    assert held == int(redis.do("HGET", f"{PREFIX}log", "bytes")) <= settings.total_bytes


async def test_a_room_with_very_many_small_events_makes_little_room_a_part_at_a_time(
    redis: RedisServer, link: Link
) -> None:
    """The log is too large by less than an eighth. It is within its bound again with the next event."""
    settings = RecoverySettings(total_bytes=6250 * SIZE)
    store = Followed(link, settings, Clock())
    log = store.log("/", lambda _: None)
    epoch = await fill(log, 6000)
    before = commands(redis)
    large = "x" * (900 * SIZE)
    await log.append_once(new_event(event(large), ("q",)))
    await store.settled()
    assert commands(redis) - before < AT_ONCE
    assert 5480 <= check(redis, "p") <= 5500
    before = commands(redis)
    await log.append_once(new_event(event("next"), ("q",)))
    await store.settled()
    assert commands(redis) - before < AT_ONCE
    left = check(redis, "p")
    assert left > 5300
    assert await missed(log, epoch, 6000 - left) is Incomplete.TOO_MANY
    assert await missed(log, epoch, 6000 - left - 1) is Incomplete.TRIMMED
    assert await missed(log, epoch, 0, "q") == [large, "next"]
    assert int(redis.do("HGET", f"{PREFIX}log", "bytes")) <= settings.total_bytes
