"""Recovery over Redis."""

import pytest
from tests.contracts.event_log import EventLogContract, MakeStore, event, name_of
from tests.contracts.session_store import SESSION, SessionStoreContract, lost
from tests.support.clocks import Clock
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.recovery.ports import Deliver, Incomplete, LoggedEvent
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.event_log import RedisLog
from synkora.redis_adapter.recovery_store import RedisStore

ROOMS = ("p", "q", "r", "s", "busy", "quiet", "p0", "p1", "p2")


class Followed(RedisStore):
    """A store whose logs get all rooms of the contract, as if this instance had clients in them."""

    def __init__(self, link: Link, settings: RecoverySettings, clock: Clock) -> None:
        super().__init__(link, settings, prefix="synkora:test:", channels="test", clock=lambda: clock.now)
        self.link = link

    def log(self, namespace: str, deliver: Deliver) -> RedisLog:
        log = super().log(namespace, deliver)
        channels = Channels.of("test", namespace)
        for channel in (channels.broadcasts, *map(channels.room, ROOMS)):
            self.link.subscribe(channel, log.receive)
        return log

    async def settled(self) -> None:
        """Wait for the log's work after the reply to an append."""
        for _ in range(2):
            await self.link.call("PING")


@pytest.fixture
def make(link: Link) -> MakeStore:
    async def make(settings: RecoverySettings, clock: Clock) -> Followed:
        return Followed(link, settings, clock)

    return make


class TestRedisLog(EventLogContract):
    pass


class TestRedisSessions(SessionStoreContract):
    pass


async def test_an_event_whose_fate_is_unknown_is_appended_once(redis: RedisServer, link: Link) -> None:
    """Redis freezes, and the link reconnects: the event is delivered here, and sent again when Redis is back."""
    delivered: list[LoggedEvent] = []
    log = Followed(link, RecoverySettings(), Clock()).log("/", delivered.append)
    log.append(event("before"), (), ("p",), ())
    await until(lambda: len(delivered) == 1)
    began = log.position
    redis.pause()
    for name in ("a", "b"):
        log.append(event(name), (), ("p",), ())
    await until(lambda: not link.is_up)
    assert [name_of(each) for each in delivered] == ["before", "a", "b"]
    log.append(event("c"), (), ("p",), ())
    redis.resume()
    await until(lambda: link.is_up)
    log.append(event("d"), (), ("p",), ())
    await until(lambda: len(delivered) == 5)
    assert [name_of(each) for each in delivered] == ["before", "a", "b", "c", "d"]
    found = await log.read(("p",), began)
    assert not isinstance(found, Incomplete)
    assert [name_of(each) for each in found] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("restarts", [True, False], ids=["restart", "flush"])
async def test_a_log_that_begins_again_has_another_epoch(redis: RedisServer, link: Link, restarts: bool) -> None:
    """Redis has lost its data: no earlier position is valid, however many events follow."""
    delivered: list[LoggedEvent] = []
    log = Followed(link, RecoverySettings(), Clock()).log("/", delivered.append)
    log.append(event("a"), (), ("p",), ())
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
        log.append(event(name), (), ("p",), ())
    await until(lambda: len(delivered) == 3)
    assert log.position.epoch != before.epoch
    assert await log.read(("p",), before) is Incomplete.EPOCH


async def test_an_event_after_a_quiet_time_renews_the_lifetime_of_its_room(redis: RedisServer, link: Link) -> None:
    """Not only every so many events."""
    settings, clock = RecoverySettings(), Clock()
    log = Followed(link, settings, clock).log("/", lambda _: None)
    names = "synkora:test:{log:/}:stream:p", "synkora:test:{log:/}:index:p"
    for _ in range(2):
        log.append(event("a"), (), ("p",), ())
        await until(lambda: all(redis.do("TTL", name) > 2 * settings.max_age for name in names))
        clock.now += settings.max_age
        for name in names:
            redis.do("EXPIRE", name, 60)


async def test_each_key_has_a_lifetime(redis: RedisServer, link: Link) -> None:
    """Also when rooms have been forgotten."""
    store = Followed(link, RecoverySettings(max_rooms=1), Clock())
    log = store.log("/", lambda _: None)
    for room in ("p", "q", "r", "p"):
        log.append(event("a"), (), (room,), ())
        await link.call("PING")
        await store.settled()
    assert redis.do("EXISTS", "synkora:test:{log:/}:floors") == 1
    assert [key for key in redis.do("KEYS", "*") if redis.do("TTL", key) < 0] == []


async def test_events_refused_by_redis_are_delivered_locally(redis: RedisServer, link: Link) -> None:
    """Its memory is full: the clients of this instance are served, and the loss is counted."""
    delivered: list[LoggedEvent] = []
    log = Followed(link, RecoverySettings(), Clock()).log("/", delivered.append)
    await link.call("CONFIG", "SET", "maxmemory", 1)
    log.append(event("a"), (), ("p",), ())
    await until(lambda: [name_of(each) for each in delivered] == ["a"])
    assert log.lost == 1


async def test_the_backlog_for_redis_is_bounded(redis: RedisServer, link: Link) -> None:
    """The oldest events are lost for the other instances."""
    log = Followed(link, RecoverySettings(), Clock()).log("/", lambda _: None)
    redis.kill()
    await until(lambda: not link.is_up)
    for _ in range(9):
        log.append(b'["' + b"x" * 1_000_000 + b'"]', (), ("p",), ())
    assert log.lost == 2
    redis.start()


async def test_sessions_that_could_not_be_saved_are_saved_later(redis: RedisServer, link: Link) -> None:
    """Also those that Redis has lost with its data."""
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    sessions.save(SESSION)
    redis.kill()
    await until(lambda: not link.is_up)
    sessions.save(lost("pid-2"))
    assert await sessions.take("pid-1") is None
    redis.start()
    await until(lambda: link.is_up)
    assert await sessions.take("pid-1") == SESSION
    assert await sessions.take("pid-2") == lost("pid-2")
