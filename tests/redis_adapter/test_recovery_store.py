"""Recovery over Redis."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.contracts.event_log import TRACEPARENT, EventLogContract, MakeStore, WatchedTrace, event, name_of
from tests.contracts.session_store import NOW, SESSION, SessionStoreContract, lost
from tests.support.clocks import Clock
from tests.support.links import QUICK, MakeLink, started
from tests.support.logs import capture_logs
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.recovery.changes import encode
from synkora.recovery.ports import Deliver, Incomplete, LoggedEvent, LogUnavailable, Missed, SavedSession
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis.url import Server
from synkora.redis_adapter import log_catch_up, log_receiver, session_store
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.event_log import AUTHOR, RedisLog
from synkora.redis_adapter.recovery_store import RedisStore
from synkora.redis_adapter.wire_codec import BroadcastMessage, Options, PublishedEvent, write
from synkora.sockets.rooms import Rooms
from synkora.tracing import Trace

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


def followed(link: Link) -> tuple[RedisLog, list[LoggedEvent]]:
    """A log, and the events that it delivers."""
    delivered: list[LoggedEvent] = []
    return Followed(link, RecoverySettings(), Clock()).log("/", delivered.append), delivered


def lose(link: Link) -> None:
    assert link._up is not None
    link._up.end("the test ends the connection")


def used(*names: str) -> Rooms:
    """Rooms, as if this instance had clients in them."""

    class Used(Rooms):
        def names(self) -> set[str]:
            return set(names)

    return Used()


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
    log, delivered = followed(link)
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


async def test_events_around_a_loss_of_redis_scripts_are_delivered_once_and_in_order(
    link: Link, make_link: MakeLink
) -> None:
    """SCRIPT FLUSH comes while commands are under way, and more are sent between their replies."""
    other = await started(make_link())
    (log, here), (_, there) = followed(link), followed(other)
    await asyncio.gather(link.call("PING"), other.call("PING"))  # both are subscribed
    names = [str(number) for number in range(1000)]
    for name in names:
        log.append(event(name), (), ("p",), ())
        if name in ("300", "600"):
            link.call("SCRIPT", "FLUSH")
        await asyncio.sleep(0)
    await until(lambda: len(there) >= len(names) and len(here) >= len(names))
    assert [name_of(each) for each in there] == names
    assert [name_of(each) for each in here] == names


async def test_an_event_with_a_name_is_appended_once_by_all(link: Link, make_link: MakeLink) -> None:
    """Whichever instance appends it first. It is delivered to each instance once."""
    other = await started(make_link())
    delivered: list[list[LoggedEvent]] = [[], []]
    stores = [Followed(one, RecoverySettings(), Clock()) for one in (link, other)]
    logs = [store.log("/", received.append) for store, received in zip(stores, delivered, strict=True)]
    for store in stores:  # the first events of one are not sent before the other's subscription
        await store.settled()
    names = [str(number) for number in range(20)]
    calls = [log.append_once(event(name), ("p",), once=name) for name in names for log in logs]
    positions = await asyncio.gather(*calls)
    assert positions[::2] == positions[1::2]
    assert len(set(positions)) == len(names)
    await until(lambda: all(len(received) == len(names) for received in delivered))
    assert all(sorted(map(name_of, received)) == sorted(names) for received in delivered)


async def test_an_event_with_a_name_is_appended_once_over_a_loss_of_the_link(redis: RedisServer, link: Link) -> None:
    """The caller learns that Redis cannot be reached, and repeats the call."""
    delivered: list[LoggedEvent] = []
    log = Followed(link, RecoverySettings(), Clock()).log("/", delivered.append)
    began = await log.append_once(event("before"), ("p",))
    assert began is not None
    redis.pause()
    with pytest.raises(LogUnavailable):
        await log.append_once(event("a"), ("p",), once="save-1")
    await until(lambda: not link.is_up)
    with pytest.raises(LogUnavailable):
        await log.append_once(event("a"), ("p",), once="save-1")
    redis.resume()
    await until(lambda: link.is_up)
    position = await log.append_once(event("a"), ("p",), once="save-1")
    found = await log.read(("p",), began)
    assert not isinstance(found, Incomplete)
    assert [Position(log.epoch, each.number) for each in found] == [position]
    assert [name_of(each) for each in delivered] == ["before", "a"]


async def test_an_awaited_event_that_redis_refuses_has_no_position(redis: RedisServer, link: Link) -> None:
    """This instance's clients get it."""
    delivered: list[LoggedEvent] = []
    log = Followed(link, RecoverySettings(), Clock()).log("/", delivered.append)
    redis.do("CONFIG", "SET", "maxmemory", "1")
    trace = WatchedTrace(delivered)
    assert await log.append_once(event("a"), ("p",), trace=trace) is None
    await until(lambda: len(delivered) == 1)
    assert [problem for _, problem in trace.ends] == ["not kept"]
    assert delivered[0].traceparent == TRACEPARENT


async def test_a_named_event_that_redis_refuses_can_be_appended_later(redis: RedisServer, link: Link) -> None:
    """Nobody gets it before: its publisher still has it, and appends it once."""
    delivered: list[LoggedEvent] = []
    log = Followed(link, RecoverySettings(), Clock()).log("/", delivered.append)
    redis.do("CONFIG", "SET", "maxmemory", "1")
    trace = WatchedTrace(delivered)
    with pytest.raises(LogUnavailable):
        await log.append_once(event("a"), ("p",), once="save-1", trace=trace)
    assert [problem for _, problem in trace.ends] == ["not kept"]
    redis.do("CONFIG", "SET", "maxmemory", "0")
    assert await log.append_once(event("b"), ("p",)) is not None
    assert await log.append_once(event("a"), ("p",), once="save-1") is not None
    await until(lambda: len(delivered) == 2)
    assert [name_of(each) for each in delivered] == ["b", "a"]


@pytest.mark.parametrize("restarts", [True, False], ids=["restart", "flush"])
async def test_a_log_that_begins_again_has_another_epoch(redis: RedisServer, link: Link, restarts: bool) -> None:
    """Redis has lost its data: no earlier position is valid, however many events follow."""
    log, delivered = followed(link)
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
    log, delivered = followed(link)
    await link.call("CONFIG", "SET", "maxmemory", 1)
    log.append(event("a"), (), ("p",), ())
    await until(lambda: [name_of(each) for each in delivered] == ["a"])
    assert log.lost == 1


async def test_the_backlog_for_redis_is_bounded(redis: RedisServer, link: Link) -> None:
    """The oldest events are lost for the other instances."""
    log = Followed(link, RecoverySettings(), Clock()).log("/", lambda _: None)
    redis.kill()
    await until(lambda: not link.is_up)
    for _ in range(17):
        log.append(b'["' + b"x" * 1_000_000 + b'"]', (), ("p",), ())
    assert log.lost == 2
    redis.start()


async def test_a_named_event_that_is_dropped_from_the_backlog_can_be_appended_later(
    redis: RedisServer, link: Link
) -> None:
    """It is not lost: its publisher still has it."""
    log, _ = followed(link)
    await until(lambda: not log.is_new)
    redis.pause()
    call = asyncio.create_task(log.append_once(event("a"), ("p",), once="save-1"))
    await until(lambda: log.kept_bytes > 0)
    lose(link)
    for _ in range(16):
        log.append(b'["' + b"x" * 1_000_000 + b'"]', (), ("p",), ())
    with pytest.raises(LogUnavailable):
        await call
    assert log.lost == 1
    redis.resume()
    await until(lambda: log.kept_bytes == 0 and log.held is None)
    assert await log.append_once(event("a"), ("p",), once="save-1") is not None


async def test_an_event_that_is_nested_too_deeply_for_other_servers_is_given_up(link: Link) -> None:
    """It does not wait for Redis for ever, and does not stop the events behind it when Redis is back."""
    log, delivered = followed(link)
    nested = b'["deep",' + b"[" * 10_000 + b'{"_placeholder":true,"num":0}' + b"]" * 10_000 + b"]"
    log.append(nested, (b"attachment",), ("p",), ())
    await until(lambda: [each.data for each in delivered] == [nested])
    assert (log.lost, log.kept_bytes) == (1, 0)
    lose(link)
    log.append(nested, (b"attachment",), ("p",), ())
    log.append(event("a"), (), ("p",), ())
    assert log.kept_bytes > 0
    await until(lambda: link.is_up)
    await until(lambda: log.kept_bytes == 0)
    assert log.lost == 2
    assert await log.kept("p") == (1, len(event("a")))


@pytest.mark.parametrize(("rooms", "but"), [(("\ud800",), ()), (("p", "\ud800"), ()), (("p",), ("me", "\ud800"))])
async def test_a_name_that_is_not_a_text_is_refused(link: Link, rooms: tuple[str, ...], but: tuple[str, ...]) -> None:
    """A lone surrogate has no UTF-8 form. The event is neither delivered nor kept, and later events are."""
    log, delivered = followed(link)
    await until(lambda: log.position.number == 0)
    began = log.position
    with pytest.raises(UnicodeEncodeError):
        log.append(event("a"), (), rooms, but)
    with pytest.raises(UnicodeEncodeError):
        await log.append_once(event("a"), rooms, but, once="a")
    assert (log.kept_bytes, log.lost) == (0, 0)
    lose(link)
    await until(lambda: not link.is_up)
    with pytest.raises(UnicodeEncodeError):
        log.append(event("a"), (), rooms, but)
    await until(lambda: link.is_up and log.held is None)
    log.append(event("b"), (), ("p",), ("\\ud800",))
    await until(lambda: [name_of(each) for each in delivered] == ["b"])
    found = await log.read(("p", "me"), began)
    assert not isinstance(found, Incomplete)
    assert [name_of(each) for each in found] == ["b"]


async def test_very_many_small_events_that_wait_for_redis_do_not_end_the_link(
    redis: RedisServer, make_link: MakeLink
) -> None:
    """Their commands are larger than what a link holds: they are sent a part at a time, in their order."""
    link = await started(make_link(settings=replace(QUICK, max_waiting=1_500_000, timeout=10, beat_interval=1)))
    log, _ = followed(link)
    await until(lambda: log.position.number == 0)
    redis.pause()
    lose(link)
    for number in range(4000):
        log.append(event(str(number)), (), ("p",), ())
    redis.resume()
    await until(lambda: link.is_up)
    log.append(event("last"), (), ("p",), ())
    await until(lambda: log.kept_bytes == 0)
    assert link.reconnects == 1
    assert log.lost == 0
    found = await log.read(("p",), Position(log.position.epoch, 0))
    assert not isinstance(found, Incomplete)
    assert [name_of(each) for each in found] == [*map(str, range(4000)), "last"]


async def test_an_instance_with_very_many_rooms_catches_up(redis: RedisServer, make_link: MakeLink) -> None:
    """The names of its rooms are larger than what a link holds: they are read a part at a time.

    What is sent meanwhile is delivered once too, in order.
    """
    link, other = make_link(settings=replace(QUICK, max_waiting=1_500_000, timeout=10)), make_link()
    assert await link.start(PATIENCE)
    assert await other.start(PATIENCE)
    rooms = [f"{number}-" + "🚀" * 190 for number in range(3000)]
    delivered: list[LoggedEvent] = []
    follower = Followed(link, RecoverySettings(), Clock())
    log = follower.log("/", delivered.append)

    follower.serve("/", used(*rooms))
    for name in rooms:
        link.subscribe(Channels.of("test", "/").room(name), log.receive)
    await until(lambda: log.position.number == 0)
    writer = Followed(other, RecoverySettings(), Clock()).log("/", lambda _: None)
    await until(lambda: writer.position.epoch == log.position.epoch)
    lose(link)
    for number in range(2000):
        writer.append(event(str(number)), (), (rooms[number * 1237 % 3000],), ())
        if number > 200:
            await asyncio.sleep(0)
    await until(lambda: log.position.number == 2000)
    assert [name_of(each) for each in delivered] == [*map(str, range(2000))]
    assert (link.reconnects, log.gaps) == (1, 0)


async def test_a_client_that_returns_while_its_instance_catches_up_is_read_for_afterwards(
    link: Link, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the client is answered, the instance's missed events are delivered to it, too: it would get them twice."""
    other = await started(make_link())
    rooms = [f"{number:01000}" for number in range(500)]  # more than one read asks for
    happened: list[str] = []
    follower = Followed(link, RecoverySettings(), Clock())
    log = follower.log("/", lambda event: happened.append(name_of(event)))

    def answered(missed: Missed) -> None:
        assert not isinstance(missed.events, Incomplete)
        happened.append(f"replayed {[name_of(each) for each in missed.events]}")

    follower.serve("/", used("p", *rooms))
    log.append(event("before"), (), ("p",))
    await until(lambda: happened == ["before"])
    began = log.position
    may_return, find = asyncio.Event(), link._discovery.find

    async def find_later() -> Server:
        await may_return.wait()
        return await find()

    monkeypatch.setattr(link._discovery, "find", find_later)
    lose(link)
    writer = Followed(other, RecoverySettings(), Clock()).log("/", lambda _: None)
    for name in ("a", "b"):
        await writer.append_once(event(name), ("p",), once=name)
    returning: list[bool] = []

    def come() -> None:
        returning.append(log.held is not None)
        log.replay("me", {"p": 0}, began, answered)

    link.on_up.append(come)
    may_return.set()
    await until(lambda: len(happened) == 4)
    assert returning == [True]
    assert happened == ["before", "a", "b", "replayed ['a', 'b']"]


async def test_messages_that_are_held_while_an_instance_catches_up_are_bounded_and_then_read(
    link: Link, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each dropped message is in the log: the instance reads again, and delivers each event once, in order."""
    delivered: list[LoggedEvent] = []
    follower = Followed(link, RecoverySettings(), Clock())
    log = follower.log("/", delivered.append)
    follower.serve("/", used("p"))
    log.append(event("before"), (), ("p",))
    await until(lambda: len(delivered) == 1)
    answers: list[Callable[[], None]] = []
    read_parts = log._reader.read_parts

    def answer_later(names: Any, after: Position, answered: Callable[[Any], None]) -> None:
        read_parts(names, after, lambda missed: answers.append(lambda: answered(missed)))

    with monkeypatch.context() as patched:
        patched.setattr(log_receiver, "_MAX_HELD", 1000)
        patched.setattr(log._reader, "read_parts", answer_later)
        lose(link)
        await until(lambda: bool(answers))
        writer = Followed(await started(make_link()), RecoverySettings(), Clock()).log("/", lambda _: None)
        names = [f"held {number}" for number in range(20)]
        for name in names:
            await writer.append_once(event(name), ("p",), once=name)
        await link.call("PING")  # all have come
        assert log.held is not None
        assert len(log.held) < len(names)
    answers[0]()
    await until(lambda: log.held is None)
    assert [name_of(each) for each in delivered] == ["before", *names]


async def test_a_client_is_answered_when_the_link_is_lost_while_its_instance_catches_up(link: Link) -> None:
    log, delivered = followed(link)
    log.append(event("before"), (), ("p",))
    await until(lambda: len(delivered) == 1)
    found: list[Missed] = []
    lose(link)

    def come() -> None:
        link.on_up.remove(come)
        assert log.held is not None
        log.replay("me", {"p": 0}, log.position, found.append)
        lose(link)

    link.on_up.append(come)
    await until(lambda: bool(found))
    assert found[0].events is Incomplete.UNAVAILABLE


@pytest.mark.parametrize("comes", ["at once", "later"])
async def test_a_client_that_returns_while_its_instance_sends_what_has_waited_is_read_for_afterwards(
    link: Link, comes: str
) -> None:
    """More has waited than is sent at once. The instance delivers none of it again when it comes back from Redis."""
    log, delivered = followed(link)
    log.append(event("before"), (), ("p",))
    await until(lambda: len(delivered) == 1)
    began = log.position
    found: list[Missed] = []
    waiting: list[int] = []

    def come() -> None:
        waiting.append(log.kept_bytes)
        log.replay("me", {"p": 0}, began, found.append)

    def receive(message: bytes) -> None:
        log.receive(message)
        if not waiting:
            come()

    lose(link)
    names = [str(number) for number in range(2000)]
    for name in names:
        log.append(event(name), (), ("p",))
    if comes == "at once":
        link.on_up.append(come)
    else:
        link.subscribe(Channels.of("test", "/").room("p"), receive)
    await until(lambda: bool(found))
    assert waiting[0] > 0
    events = found[0].events
    assert not isinstance(events, Incomplete)
    assert [name_of(each) for each in events] == names
    await until(lambda: log.kept_bytes == 0)
    assert [name_of(each) for each in delivered] == ["before", *names]


async def test_clients_that_wait_for_their_instance_to_catch_up_are_bounded(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those above the bound are answered at once, without what they missed."""
    monkeypatch.setattr(log_catch_up, "_MAX_READS", 10_000)
    log, delivered = followed(link)
    log.append(event("before"), (), ("p",))
    await until(lambda: len(delivered) == 1)
    found: list[Missed] = []
    at_once: list[int] = []
    lose(link)

    def come() -> None:
        for number in range(50):
            log.replay(f"socket {number}", {"p": 0}, log.position, found.append)
        at_once.append(len(found))

    link.on_up.append(come)
    await until(lambda: len(found) == 50)
    assert 0 < at_once[0] < 50
    assert [missed.events is Incomplete.UNAVAILABLE for missed in found] == [
        number < at_once[0] for number in range(50)
    ]


@pytest.mark.parametrize("comes", ["while it catches up", "at once"])
async def test_clients_that_return_together_do_not_end_the_link_by_what_they_missed(
    make_link: MakeLink, comes: str
) -> None:
    """Redis ends a connection with subscriptions that has 32 MB unread."""
    link = await started(make_link(settings=replace(QUICK, missed_beats=1000, timeout=30)))
    log, _ = followed(link)
    await until(lambda: not log.is_new)
    began = log.position
    for number in range(18):
        log.append(b'["%d","%b"]' % (number, b"x" * 100_000), (), ("p",))
    await until(lambda: log.kept_bytes == 0)
    found: list[Missed] = []

    def come() -> None:
        for number in range(40):
            log.replay(f"socket {number}", {"p": 0}, began, found.append)

    if comes == "at once":
        come()
    else:
        link.on_up.append(come)
        lose(link)
    await until(lambda: len(found) == 40)
    assert [len(each.events) for each in found if isinstance(each.events, list)] == [18] * 40
    assert link.reconnects == (comes != "at once")


async def test_a_client_whose_replay_fails_does_not_stop_the_others(link: Link) -> None:
    log, _ = followed(link)
    await until(lambda: not log.is_new)
    found: list[Missed] = []

    def fail(_: Missed) -> None:
        raise RuntimeError("the test's")

    for answered in (*[fail] * 50, found.append):
        log.replay("me", {"p": 0}, log.position, answered)
    await until(lambda: len(found) == 1)
    assert found[0].events == []


async def test_a_room_that_cannot_be_asked_for_does_not_stop_the_log(link: Link, make_link: MakeLink) -> None:
    """What others sent meanwhile may be missed, which is counted. Later events come, and own ones are sent."""
    other = await started(make_link())
    delivered: list[LoggedEvent] = []
    follower = Followed(link, RecoverySettings(), Clock())
    log, (writer, _) = follower.log("/", delivered.append), followed(other)
    await until(lambda: not log.is_new)
    follower.serve("/", used("p", "\ud800"))
    lose(link)
    writer.append(event("a"), (), ("p",), ())
    await until(lambda: link.is_up and log.held is None)
    assert log.gaps == 1
    log.append(event("b"), (), ("p",), ())
    await until(lambda: [name_of(each) for each in delivered][-1:] == ["b"])
    writer.append(event("c"), (), ("p",), ())
    await until(lambda: [name_of(each) for each in delivered][-2:] == ["b", "c"])
    assert log.kept_bytes == 0


@pytest.mark.parametrize("broken", ["is_same_log", "Position"])
async def test_a_fault_while_an_instance_catches_up_does_not_stop_the_log(
    link: Link, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Whichever step it is in."""
    other = await started(make_link())
    (log, delivered), (writer, _) = followed(link), followed(other)
    log._catch_up._local_rooms = lambda: ("p",)
    await until(lambda: not log.is_new and not writer.is_new)
    lose(link)
    writer.append(event("a"), (), ("p",), ())
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(log_catch_up, broken, None)
        await until(lambda: link.is_up and log.held is None)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["catch_up_failed"]
    log.append(event("b"), (), ("p",), ())
    writer.append(event("c"), (), ("p",), ())
    await until(lambda: {name_of(each) for each in delivered} >= {"b", "c"})
    assert log.kept_bytes == 0


async def test_an_event_whose_delivery_fails_is_no_reason_to_lose_the_others(link: Link, make_link: MakeLink) -> None:
    """Neither of those that were missed, nor of those that came meanwhile."""
    other = await started(make_link())
    delivered: list[str] = []

    def deliver(each: LoggedEvent) -> None:
        if name_of(each) in "ad":
            raise RuntimeError("the test's")
        delivered.append(name_of(each))

    log, (writer, _) = Followed(link, RecoverySettings(), Clock()).log("/", deliver), followed(other)
    log._catch_up._local_rooms = lambda: ("p",)
    await until(lambda: not log.is_new)
    lose(link)
    for name in "abc":
        writer.append(event(name), (), ("p",), ())
    await until(lambda: link.is_up)
    for name in "def":
        writer.append(event(name), (), ("p",), ())
    await until(lambda: log.position.number == 6)
    assert delivered == [*"bcef"]
    assert log.gaps == 0


async def test_an_instance_catches_up_from_where_its_clients_came(link: Link, make_link: MakeLink) -> None:
    """It was not subscribed to the room before. The clients have loaded what was sent to the room by then."""
    follower = Followed(link, RecoverySettings(), Clock())
    delivered: list[LoggedEvent] = []
    log = follower.log("/", delivered.append)
    writer, _ = followed(await started(make_link()))
    assert await writer.append_once(event("old"), ("new room",)) is not None
    link.subscribe(Channels.of("test", "/").room("new room"), log.receive)
    follower.serve("/", used("new room"))
    located: list[Position | None] = []
    log.locate(located.append)
    await until(lambda: bool(located))
    lose(link)
    await until(lambda: link.is_up)
    assert await writer.append_once(event("new"), ("new room",)) is not None
    await until(lambda: log.position.number == 2)
    assert [name_of(each) for each in delivered] == ["new"]


async def test_an_instance_whose_clients_came_before_redis_may_have_missed_events(
    link: Link, make_link: MakeLink
) -> None:
    """Others have delivered and sent them before this instance was connected. It does not know which are new."""
    writer, _ = followed(link)
    assert await writer.append_once(event("a"), ("p",)) is not None
    logs: list[RedisLog] = []
    links = [make_link(), make_link()]
    for late, rooms in zip(links, (("p",), ()), strict=True):
        follower = Followed(late, RecoverySettings(), Clock())
        follower.serve("/", used(*rooms))
        logs.append(follower.log("/", lambda _: None))
        await started(late)
    await until(lambda: all(log.position.number == 1 for log in logs))
    assert [log.gaps for log in logs] == [1, 0]


async def test_an_instance_whose_clients_came_before_redis_has_missed_nothing_of_a_log_that_begins(
    redis: RedisServer, make_link: MakeLink
) -> None:
    link = make_link()
    follower = Followed(link, RecoverySettings(), Clock())
    follower.serve("/", used("p"))
    delivered: list[LoggedEvent] = []
    log = follower.log("/", delivered.append)
    log.append(event("a"), (), ("p",))
    await started(link)
    await until(lambda: log.position.number == 1)
    assert ([name_of(each) for each in delivered], log.gaps) == (["a"], 0)


async def test_an_instance_that_redis_refused_at_its_start_catches_up_later(
    redis: RedisServer, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It learns where the log is from the first event. From then on it reads what it has missed."""
    redis.do("CONFIG", "SET", "min-replicas-to-write", "1")
    link = await started(make_link())
    follower = Followed(link, RecoverySettings(), Clock())
    delivered: list[LoggedEvent] = []
    log = follower.log("/", delivered.append)
    await until(lambda: link.problem is not None)
    follower.serve("/", used("p"))
    redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
    writer, _ = followed(await started(make_link()))
    assert await writer.append_once(event("a"), ("p",)) is not None
    await until(lambda: len(delivered) == 1)
    may_return, find = asyncio.Event(), link._discovery.find

    async def find_later() -> Server:
        await may_return.wait()
        return await find()

    monkeypatch.setattr(link._discovery, "find", find_later)
    lose(link)
    assert await writer.append_once(event("b"), ("p",)) is not None
    may_return.set()
    await until(lambda: link.is_up)
    assert await writer.append_once(event("c"), ("p",)) is not None
    await until(lambda: log.position.number == 3)
    assert ([name_of(each) for each in delivered], log.gaps) == ([*"abc"], 0)


async def test_a_log_that_has_begun_late_begins_again_with_another_epoch(redis: RedisServer, link: Link) -> None:
    """Redis refused to begin the log when the instance started, and did so later for its first events."""
    redis.do("CONFIG", "SET", "min-replicas-to-write", "1")
    log, delivered = followed(link)
    await until(lambda: link.problem is not None)
    redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
    for name in ("a", "b"):
        log.append(event(name), (), ("p",))
    await until(lambda: len(delivered) == log.position.number == 2)
    before = log.position
    redis.do("FLUSHALL")
    log.append(event("c"), (), ("p",))
    await until(lambda: len(delivered) == 3)
    assert log.position.epoch != before.epoch
    assert await log.read(("p",), before) is Incomplete.EPOCH


async def test_an_entry_of_another_program_is_no_reason_to_wait(redis: RedisServer, link: Link) -> None:
    """A read that finds something else in a stream has an answer, and the instance goes on."""
    log = Followed(link, RecoverySettings(), Clock()).log("/", lambda _: None)
    log.append(event("a"), (), ("p",), ())
    await until(lambda: log.position.number == 1)
    redis.do("XADD", log._keys.room("p")[0], "2-0", "s", "1", "junk", "junk")
    redis.do("HSET", log._keys.of("log"), "number", "2")
    assert await log.read(("p",), Position(log.position.epoch, 0)) is Incomplete.UNAVAILABLE


async def test_a_log_that_another_program_has_changed_is_no_reason_to_wait(redis: RedisServer, link: Link) -> None:
    """When the link is back, an answer of another form counts as none. Messages would be held for ever."""
    log, delivered = followed(link)
    log.append(event("a"), (), ("p",))
    await until(lambda: len(delivered) == 1)
    epoch = log.position.epoch
    redis.do("HSET", log._keys.of("log"), "epoch", b"\xff")
    lose(link)
    await until(lambda: log._catch_up.is_refused)
    redis.do("HSET", log._keys.of("log"), "epoch", epoch)
    log.append(event("b"), (), ("p",))
    await until(lambda: len(delivered) == 2)


async def test_a_room_that_another_program_has_named_is_no_reason_to_wait(redis: RedisServer, link: Link) -> None:
    log, _ = followed(link)
    redis.do("ZADD", log._keys.of("rooms"), 0, b"\xff")
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    assert await log.append_once(event("a"), ("p",), once="a") == log.position
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
    log.append(event("a"), (), ("p",))
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
    log.append(event("a"), (), ("p",), trace=trace)
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
    await writer.append_once(event("a"), ("p",), trace=Trace(TRACEPARENT))
    await until(lambda: len(delivered) == 1)
    assert delivered[0].traceparent == TRACEPARENT


def large(number: int) -> SavedSession:
    """A session with many long names of rooms."""
    rooms = tuple(f"{number}-{room}-" + "x" * 700 for room in range(50))
    return msgspec.structs.replace(SESSION, pid=f"pid-{number}", rooms=rooms, joined=(1,) * 50)


async def test_many_large_sessions_do_not_end_the_link(redis: RedisServer, make_link: MakeLink) -> None:
    """When Redis is back, together they are more than a link holds: they are saved a part at a time."""
    link = await started(make_link(settings=replace(QUICK, max_waiting=2_000_000, timeout=10)))
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    for number in range(200):
        sessions.save(large(number))
    await until(lambda: redis.do("DBSIZE") == 200)
    redis.do("FLUSHALL")
    lose(link)
    await until(lambda: link.is_up)
    await until(lambda: redis.do("DBSIZE") == 200)
    assert link.reconnects == 1
    assert await sessions.take("pid-199") == large(199)


async def test_a_session_that_is_saved_repeatedly_in_a_turn_is_written_once(redis: RedisServer, link: Link) -> None:
    """Each join of very many saves it, with the names of all rooms."""
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    sessions.save(SESSION)
    await until(lambda: redis.do("DBSIZE") == 1)
    redis.do("CONFIG", "RESETSTAT")
    for number in range(50):
        sessions.save(large(7 + number % 2))
    await until(lambda: redis.do("DBSIZE") == 3)
    assert redis.do("INFO", "commandstats").decode().count("cmdstat_set:calls=2,") == 1


async def test_a_newer_state_is_what_is_saved_after_a_loss_of_the_link(redis: RedisServer, link: Link) -> None:
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    redis.pause()
    sessions.save(msgspec.structs.replace(SESSION, rooms=(), joined=()))
    await asyncio.sleep(0.01)
    sessions.save(SESSION)
    await asyncio.sleep(0.01)
    lose(link)
    redis.resume()
    await until(lambda: link.is_up)
    assert await sessions.take("pid-1") == SESSION


async def test_sessions_that_wait_for_redis_are_bounded_in_bytes(
    redis: RedisServer, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_store, "_MAX_UNSAVED", 4 * large(0).size)
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    redis.kill()
    await until(lambda: not link.is_up)
    for number in range(8):
        sessions.save(msgspec.structs.replace(large(number), lost_at=NOW))
    redis.start()
    await until(lambda: link.is_up)
    found = [await sessions.take(f"pid-{number}") for number in range(8)]
    assert [session is not None for session in found] == [False] * 4 + [True] * 4


async def test_sessions_that_expire_together_are_dropped_a_part_at_a_time(redis: RedisServer, link: Link) -> None:
    """Redis would do nothing else meanwhile. An expired session is useless anyway."""
    clock = Clock()
    sessions = Followed(link, RecoverySettings(session_age=60), clock).sessions("/")
    for number in range(250):
        sessions.save(lost(f"pid-{number}"))
    await until(lambda: redis.do("ZCARD", sessions._prefix + "times") == 250)
    clock.now += 61
    assert await sessions.take("pid-249") is None
    assert redis.do("ZCARD", sessions._prefix + "times") == 149


@pytest.mark.parametrize(
    "written",
    [
        b"junk",
        b"another:0:junk",
        b"another:0:" + encode(SESSION).replace(b"user", b"\xff" * 4),
        b"another:0:" + encode(SESSION).replace(encode(SESSION.joined), encode(SESSION.joined[:1])),
    ],
    ids=["junk", "with junk for data", "not UTF-8", "another number of rooms"],
)
async def test_a_session_of_another_version_is_unknown(
    redis: RedisServer, link: Link, written: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    redis.do("SET", sessions._prefix + "pid:pid-1", written)
    assert await sessions.take("pid-1") is None
    assert "session_unreadable" in caplog.text


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


class Away:
    """Lets a link be down until it may return."""

    def __init__(self, link: Link, patch: pytest.MonkeyPatch) -> None:
        self._link = link
        self._may_return = asyncio.Event()
        find = link._discovery.find

        async def find_later() -> Server:
            await self._may_return.wait()
            return await find()

        patch.setattr(link._discovery, "find", find_later)
        lose(link)

    async def end(self) -> None:
        self._may_return.set()
        await until(lambda: self._link.is_up)
        await self._link.call("PING")


MOVED = msgspec.structs.replace(SESSION, rooms=("p1", "p2", "s"), joined=(7, 9, 11))


@pytest.mark.parametrize(
    "newer",
    [MOVED, msgspec.structs.replace(MOVED, lost_at=NOW), None],
    ids=["saved again", "lost again", "not yet saved"],
)
@pytest.mark.parametrize("change", ["none", "a loss", "an end"])
async def test_an_instance_that_was_away_leaves_a_session_to_the_one_that_has_taken_it(
    link: Link, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch, newer: SavedSession | None, change: str
) -> None:
    """It has missed the message, and ends its own connection, which only seems alive, if that has not ended before."""
    ended: list[str] = []
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/", ended.append)
    others = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    sessions.save(SESSION)
    await link.call("PING")
    away = Away(link, monkeypatch)
    assert await others.take("pid-1") == SESSION
    if newer is not None:
        others.save(newer)
        await others._link.call("PING")
    if change == "a loss":
        sessions.save(lost("pid-1"))
    elif change == "an end":
        sessions.forget("pid-1")
    await away.end()
    assert ended == (["sid-1"] if change == "none" else [])
    assert (sessions._connected, sessions._unsaved, sessions._unsaved_size) == ({}, {}, 0)
    await link.call("PING")
    third = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    assert await third.take("pid-1") == (newer or SESSION)


async def test_an_instance_learns_what_was_taken_before_presence_tells_redis_who_is_here(
    link: Link, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sessions it saves again: the answer comes before those to later commands."""
    happened: list[str] = []
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/", happened.append)
    others = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    for number in range(1100):
        session = large(number) if number < 100 else msgspec.structs.replace(SESSION, pid=f"pid-{number}")
        sessions.save(msgspec.structs.replace(session, sid=f"sid-{number}"))
    await until(lambda: not (sessions._unsaved or sessions._sent))
    away = Away(link, monkeypatch)
    for number in (0, 1099):
        assert await others.take(f"pid-{number}") is not None

    def ask() -> None:
        link.call("PING", answered=lambda _: happened.append("answered"))

    link.on_up.append(ask)
    await away.end()
    assert happened == ["sid-0", "sid-1099", "answered"]


async def test_a_session_is_not_saved_over_one_that_was_taken(link: Link, make_link: MakeLink) -> None:
    """The message about it is on its way."""
    ended: list[str] = []
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/", ended.append)
    others = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    sessions.save(SESSION)
    await link.call("PING")
    link.unsubscribe(sessions._channel)
    assert await others.take("pid-1") == SESSION
    others.save(MOVED)
    await others._link.call("PING")
    sessions.save(msgspec.structs.replace(SESSION, rooms=(), joined=()))
    await until(lambda: ended == ["sid-1"])
    assert sessions._connected == {}
    assert await others.take("pid-1") == MOVED
    link.subscribe(sessions._channel, sessions._heard)
    assert await sessions.take("pid-1") == MOVED
    sessions.save(SESSION)
    await link.call("PING")
    assert await others.take("pid-1") == SESSION
    await until(lambda: ended == ["sid-1"] * 2)


async def test_a_change_that_waits_for_redis_is_dropped_when_another_instance_takes_the_session(link: Link) -> None:
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    lose(link)
    sessions.save(lost("pid-1"))
    sessions._heard(encode(("another", "pid-1")))
    assert (sessions._unsaved, sessions._unsaved_size) == ({}, 0)


async def test_changes_of_sessions_that_redis_refuses_are_saved_when_it_takes_writes_again(
    redis: RedisServer, link: Link, make_link: MakeLink
) -> None:
    """It had too few replicas for a moment. The instance may be killed, and clients return to another one."""
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    for pid in ("pid-1", "pid-2", "pid-3"):
        sessions.save(msgspec.structs.replace(SESSION, pid=pid, rooms=(), joined=()))
    await until(lambda: redis.do("DBSIZE") == 3)
    redis.do("CONFIG", "SET", "min-replicas-to-write", "1")
    sessions.save(SESSION)
    sessions.save(lost("pid-2"))
    sessions.forget("pid-3")
    await until(lambda: sessions._pause is not None)
    assert redis.do("DBSIZE") == 3
    redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
    await until(lambda: redis.do("EXISTS", *(f"synkora:test:{{sessions:/}}:pid:pid-{each}" for each in (2, 3))) == 0)
    await until(lambda: not (sessions._stale or sessions._unsaved or sessions._sent))
    others = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    assert await others.take("pid-1") == SESSION
    assert await others.take("pid-2") == lost("pid-2")
    assert await others.take("pid-3") is None


async def test_a_redis_that_refuses_sessions_gets_few_of_them(
    redis: RedisServer, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of an instance are not sent again and again, and a client that returns does not wait."""
    monkeypatch.setattr(session_store, "_PAUSE", PATIENCE)
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    sessions.save(lost("pid-x"))
    await until(lambda: redis.do("DBSIZE") == 2)
    redis.do("CONFIG", "SET", "min-replicas-to-write", "1")
    redis.do("CONFIG", "RESETSTAT")
    changes = [large(number) for number in range(200)]
    for at in range(0, 200, 2):
        changes[at] = msgspec.structs.replace(changes[at], lost_at=NOW, identity="")
    for session in changes:
        sessions.save(session)
    await until(lambda: not sessions._sent and sessions._stale)
    assert len({*sessions._stale, *sessions._unsaved}) == 200
    calls = redis.do("INFO", "commandstats").decode().split("cmdstat_evalsha:calls=")[1]
    assert int(calls.split(",")[0]) < 50
    redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
    assert await sessions.take("pid-x") == lost("pid-x")
    assert [await sessions.take(f"pid-{at}") for at in (10, 11, 150, 151)] == [*changes[10:12], *changes[150:152]]


async def test_a_client_returns_while_the_memory_of_redis_is_full(
    redis: RedisServer, link: Link, make_link: MakeLink
) -> None:
    """Its session is taken and saved in place of the former one."""
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/")
    others = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    sessions.save(SESSION)
    sessions.save(lost("pid-2"))
    await link.call("PING")
    redis.do("CONFIG", "SET", "maxmemory", "1")
    assert await others.take("pid-1") == SESSION
    assert await others.take("pid-2") == lost("pid-2")
    others.save(MOVED)
    await others._link.call("PING")
    assert await sessions.take("pid-1") == MOVED


async def test_a_session_whose_take_redis_has_lost_stays_with_its_instance(
    redis: RedisServer, link: Link, make_link: MakeLink
) -> None:
    """A failover has brought older data back, with the former instance. The client is connected to the later one."""
    ended: list[str] = []
    formers = Followed(await started(make_link()), RecoverySettings(), Clock()).sessions("/")
    sessions = Followed(link, RecoverySettings(), Clock()).sessions("/", ended.append)
    formers.save(SESSION)
    await formers._link.call("PING")
    key = sessions._prefix + "pid:pid-1"
    older = redis.do("GET", key)
    assert await sessions.take("pid-1") == SESSION
    sessions.save(MOVED)
    await link.call("PING")
    redis.do("SET", key, older)
    lose(link)
    await until(lambda: link.is_up)
    await link.call("PING")
    assert ended == []
    assert await formers.take("pid-1") == MOVED
    await until(lambda: ended == ["sid-1"])
