"""How long the keys of a log live in Redis, and what is known of a room whose keys have expired."""

import pytest
from tests.contracts.event_log import MakeStore, Trial, event
from tests.redis_adapter.recovery_stores import Followed
from tests.support.clocks import Clock
from tests.support.redis_server import RedisServer

from synkora.recovery.ports import Incomplete, Kept
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link

PREFIX = "synkora:test:{log:/}:"


@pytest.fixture
def make(link: Link) -> MakeStore:
    async def make(settings: RecoverySettings, clock: Clock) -> Followed:
        return Followed(link, settings, clock)

    return make


def expire(redis: RedisServer, *rooms: str) -> None:
    for room in rooms:
        assert redis.do("DEL", f"{PREFIX}stream:{room}", f"{PREFIX}index:{room}") == 2


@pytest.mark.parametrize("max_age", [1, 7200, 604_800])
async def test_the_keys_of_a_room_outlive_its_events_and_clients_and_the_log_outlives_them(
    redis: RedisServer, make: MakeStore, max_age: int
) -> None:
    """Clients may be away for a week. A new log cannot continue a stream with higher numbers."""
    trial = await Trial.start(make, RecoverySettings(max_age=max_age))
    await trial.append("a")
    stream, index, log = (redis.do("TTL", PREFIX + name) for name in ("stream:p", "index:p", "log"))
    assert 604_800 + max_age / 64 < stream == index < log - max_age / 64


async def test_a_log_is_renewed_with_each_of_its_rooms(redis: RedisServer, make: MakeStore) -> None:
    trial = await Trial.start(make)
    await trial.append("a")
    trial.clock.now += 120
    await trial.append("b", rooms=("q",))
    redis.do("EXPIRE", PREFIX + "log", 100)
    await trial.append("c")
    assert redis.do("TTL", PREFIX + "index:p") < redis.do("TTL", PREFIX + "log")


async def test_missed_events_that_have_expired_are_known_to_be_missed(redis: RedisServer, make: MakeStore) -> None:
    """Also when the room has a new event. A client that has missed nothing is recovered."""
    trial = await Trial.start(make)
    before = await trial.append("a", "b")
    last = await trial.append("c")
    expire(redis, "p")
    assert await trial.missed(before) is Incomplete.TRIMMED
    assert await trial.missed(last) == []
    await trial.append("d")
    assert await trial.missed(before) is Incomplete.TRIMMED
    assert await trial.missed(last) == ["d"]


async def test_missed_events_of_a_forgotten_room_that_had_expired_are_known_to_be_missed(
    redis: RedisServer, make: MakeStore
) -> None:
    """The room's place in the list is older than its last event."""
    trial = await Trial.start(make, RecoverySettings(max_rooms=1))
    before = await trial.append("a", "b")
    await trial.append("c")
    expire(redis, "p")
    after = await trial.append("d", rooms=("q",))
    assert redis.do("ZRANGE", PREFIX + "rooms", 0, -1) == [b"q"]
    assert await trial.missed(before) is Incomplete.TRIMMED
    assert await trial.missed(after) == []


async def test_the_bytes_of_a_room_that_has_expired_are_free_again(redis: RedisServer, make: MakeStore) -> None:
    """Whether it is forgotten or gets a new event. Otherwise the log would be full one day, without events."""
    trial = await Trial.start(make, RecoverySettings(max_rooms=3))
    for room in ("p", "q", "r"):
        await trial.append("a", rooms=(room,))
    expire(redis, "p", "q", "r")
    await trial.append("b", rooms=("r",))
    await trial.append("c", rooms=("s",))
    assert redis.do("ZRANGE", PREFIX + "rooms", 0, -1) == [b"r", b"s"]
    assert redis.do("HGET", PREFIX + "log", "bytes") == b"%d" % (2 * len(event("a")))


async def test_a_large_room_that_has_expired_is_listed_no_more(redis: RedisServer, make: MakeStore) -> None:
    """The log is within its bounds again with the next event."""
    trial = await Trial.start(make, RecoverySettings(total_bytes=10 * len(event("a"))))
    await trial.append(*"abcdef")
    for name in "ghi":
        await trial.append(name, rooms=("q",))
    expire(redis, "p")
    redis.do("HSET", PREFIX + "log", "bytes", 10 * len(event("a")))
    began = await trial.append("j", rooms=("r",))
    assert redis.do("ZRANGE", PREFIX + "large", 0, -1) == [b"r", b"q"]
    await trial.append("k", rooms=("r",))
    assert redis.do("ZRANGE", PREFIX + "rooms", 0, -1) == [b"q", b"r"]
    assert int(redis.do("HGET", PREFIX + "log", "bytes")) <= 10 * len(event("a"))
    assert await trial.missed(began, "q", "r") == ["k"]


async def test_a_list_of_large_rooms_is_renewed_with_the_log(redis: RedisServer, make: MakeStore) -> None:
    trial = await Trial.start(make, RecoverySettings(total_bytes=1000))
    await trial.append("a", key="k")
    trial.clock.now += 120
    redis.do("EXPIRE", PREFIX + "large", 100)
    await trial.append("b", key="k")
    assert redis.do("TTL", PREFIX + "large") == redis.do("TTL", PREFIX + "log")


async def test_a_log_without_rooms_has_no_bytes(redis: RedisServer, make: MakeStore) -> None:
    """However large the rooms were that have expired."""
    trial = await Trial.start(make, RecoverySettings(total_bytes=4))
    redis.do("HSET", PREFIX + "log", "bytes", 1000)
    await trial.append("a")
    assert redis.do("ZCARD", PREFIX + "rooms") == 0
    assert redis.do("HGET", PREFIX + "log", "bytes") == b"0"


async def test_the_bytes_of_all_rooms_that_have_expired_together_are_free_again(
    redis: RedisServer, make: MakeStore
) -> None:
    """Two weeks without an event, in which clients came: they renew the log, and neither its rooms nor their list."""
    trial = await Trial.start(make, RecoverySettings(total_bytes=4 * len(event("a"))))
    for room in ("p", "q", "r"):
        await trial.append("a", rooms=(room,))
    expire(redis, "p", "q", "r")
    assert redis.do("DEL", PREFIX + "rooms", PREFIX + "marks") == 2
    before = await trial.append("b", rooms=("p", "q"))
    assert redis.do("HGET", PREFIX + "log", "bytes") == b"%d" % (2 * len(event("b")))
    await trial.append("c", "d")
    assert await trial.missed(before) == ["c", "d"]


async def test_a_room_whose_only_event_was_too_large_is_forgotten(redis: RedisServer, make: MakeStore) -> None:
    trial = await Trial.start(make, RecoverySettings(room_bytes=10, max_rooms=1))
    before = await trial.append("x" * 10)
    await trial.append("a", rooms=("q",))
    assert redis.do("ZRANGE", PREFIX + "rooms", 0, -1) == [b"q"]
    assert await trial.missed(before) == []


async def test_what_was_missed_is_read_while_redis_refuses_writes(redis: RedisServer, make: MakeStore) -> None:
    """Also if events have become too old since the last one."""
    trial = await Trial.start(make, RecoverySettings(max_age=64))
    before = await trial.append("a")
    trial.clock.now += 40
    await trial.append("b")
    trial.clock.now += 40
    redis.do("CONFIG", "SET", "min-replicas-to-write", "1")
    assert await trial.missed(before) == ["b"]


async def test_the_floor_of_rooms_that_are_no_longer_listed_is_never_lowered(
    make: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quiet room is forgotten after large ones whose events are newer, and is the next that is not listed."""
    monkeypatch.setattr("synkora.redis_adapter.log_appender._MAX_FLOORS", 1)
    trial = await Trial.start(make, RecoverySettings(total_bytes=100, max_rooms=3))
    began = await trial.append("a", rooms=("quiet",))
    for room in ("p", "q", "r", "s"):
        await trial.append("x" * 36, rooms=(room,))
    assert await trial.missed(began, "p") is Incomplete.TRIMMED
    await trial.append("b", rooms=("p0",))
    assert await trial.log.kept("quiet") == Kept(0, 0)
    assert await trial.missed(began, "p") is Incomplete.TRIMMED
