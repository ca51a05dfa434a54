"""Events on their way to Redis."""

import asyncio
from dataclasses import replace

import pytest
from tests.contracts.event_log import TRACEPARENT, WatchedTrace, event, name_of
from tests.redis_adapter.recovery_stores import Followed, followed, lose, lose_until
from tests.support.clocks import Clock
from tests.support.links import QUICK, MakeLink, started
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.recovery.ports import NOT_KEPT, Incomplete, LoggedEvent, LogUnavailable, new_event
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter import log_appender

#: Too deeply for other servers.
NESTED = b'["deep",' + b"[" * 10_000 + b'{"_placeholder":true,"num":0}' + b"]" * 10_000 + b"]"


async def test_an_event_whose_fate_is_unknown_is_appended_once(redis: RedisServer, link: Link) -> None:
    """Redis freezes, and the link reconnects: the event is delivered here, and sent again when Redis is back."""
    log, delivered = followed(link)
    log.append(new_event(event("before"), ("p",)))
    await until(lambda: len(delivered) == 1)
    began = log.position
    redis.pause()
    for name in ("a", "b"):
        log.append(new_event(event(name), ("p",)))
    await until(lambda: not link.is_up)
    assert [name_of(each) for each in delivered] == ["before", "a", "b"]
    log.append(new_event(event("c"), ("p",)))
    redis.resume()
    await until(lambda: link.is_up)
    log.append(new_event(event("d"), ("p",)))
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
        log.append(new_event(event(name), ("p",)))
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
    calls = [log.append_once(new_event(event(name), ("p",)), once=name) for name in names for log in logs]
    positions = await asyncio.gather(*calls)
    assert positions[::2] == positions[1::2]
    assert len(set(positions)) == len(names)
    await until(lambda: all(len(received) == len(names) for received in delivered))
    assert all(sorted(map(name_of, received)) == sorted(names) for received in delivered)


async def test_an_event_with_a_name_is_appended_once_over_a_loss_of_the_link(redis: RedisServer, link: Link) -> None:
    """The caller learns that Redis cannot be reached, and repeats the call."""
    delivered: list[LoggedEvent] = []
    log = Followed(link, RecoverySettings(), Clock()).log("/", delivered.append)
    began = await log.append_once(new_event(event("before"), ("p",)))
    assert began is not None
    redis.pause()
    with pytest.raises(LogUnavailable):
        await log.append_once(new_event(event("a"), ("p",)), once="save-1")
    await until(lambda: not link.is_up)
    with pytest.raises(LogUnavailable):
        await log.append_once(new_event(event("a"), ("p",)), once="save-1")
    redis.resume()
    await until(lambda: link.is_up)
    position = await log.append_once(new_event(event("a"), ("p",)), once="save-1")
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
    assert await log.append_once(new_event(event("a"), ("p",)), trace=trace) is None
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
        await log.append_once(new_event(event("a"), ("p",)), once="save-1", trace=trace)
    assert [problem for _, problem in trace.ends] == ["not kept"]
    redis.do("CONFIG", "SET", "maxmemory", "0")
    assert await log.append_once(new_event(event("b"), ("p",))) is not None
    assert await log.append_once(new_event(event("a"), ("p",)), once="save-1") is not None
    await until(lambda: len(delivered) == 2)
    assert [name_of(each) for each in delivered] == ["b", "a"]


async def test_events_refused_by_redis_are_delivered_locally(redis: RedisServer, link: Link) -> None:
    """Its memory is full: the clients of this instance are served, and the loss is counted."""
    log, delivered = followed(link)
    await link.call("CONFIG", "SET", "maxmemory", 1)
    log.append(new_event(event("a"), ("p",)))
    await until(lambda: [name_of(each) for each in delivered] == ["a"])
    assert log.lost == 1


async def test_the_backlog_for_redis_is_bounded(redis: RedisServer, link: Link) -> None:
    """The oldest events are lost for the other instances."""
    log = Followed(link, RecoverySettings(), Clock()).log("/", lambda _: None)
    redis.kill()
    await until(lambda: not link.is_up)
    for _ in range(17):
        log.append(new_event(b'["' + b"x" * 1_000_000 + b'"]', ("p",)))
    assert log.lost == 2
    redis.start()


async def test_of_the_backlog_for_redis_the_events_of_those_who_sent_most_are_dropped(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' events stay, however old they are."""
    log, delivered = followed(link)
    log.append(new_event(event("before"), ("p",)))
    await until(lambda: len(delivered) == 1)
    began = log.position
    may_return = lose_until(link, monkeypatch)
    await until(lambda: not link.is_up)
    for sender in "abc":
        log.append(new_event(event(sender), ("p",), (sender,)))
    for number in range(20):
        log.append(new_event(b'["' + b"x" * 1_000_000 + b'"]', ("q",), (f"flood {number % 2}",)))
        log.append(new_event(event(f"d{number}"), ("p",), ("d",)))
    assert log.lost == 5
    may_return.set()
    await until(lambda: log.kept_bytes == 0 and log.held is None)
    found = await log.read(("p",), began)
    assert not isinstance(found, Incomplete)
    assert [name_of(each) for each in found] == [*"abc", *(f"d{number}" for number in range(20))]


async def test_a_named_event_that_is_dropped_from_the_backlog_can_be_appended_later(
    redis: RedisServer, link: Link
) -> None:
    """It is not lost: its publisher still has it."""
    log, _ = followed(link)
    await until(lambda: not log.is_new)
    redis.pause()
    call = asyncio.create_task(log.append_once(new_event(event("a"), ("p",)), once="save-1"))
    await until(lambda: log.kept_bytes > 0)
    lose(link)
    for _ in range(16):
        log.append(new_event(b'["' + b"x" * 1_000_000 + b'"]', ("p",)))
    with pytest.raises(LogUnavailable):
        await call
    assert log.lost == 1
    redis.resume()
    await until(lambda: log.kept_bytes == 0 and log.held is None)
    assert await log.append_once(new_event(event("a"), ("p",)), once="save-1") is not None


async def test_an_event_that_is_nested_too_deeply_for_other_servers_is_given_up(link: Link) -> None:
    """It does not wait for Redis for ever, and does not stop the events behind it when Redis is back."""
    log, delivered = followed(link)
    log.append(new_event(NESTED, ("p",), attachments=(b"attachment",)))
    await until(lambda: [each.data for each in delivered] == [NESTED])
    assert (log.lost, log.kept_bytes) == (1, 0)
    lose(link)
    log.append(new_event(NESTED, ("p",), attachments=(b"attachment",)))
    log.append(new_event(event("a"), ("p",)))
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
        log.append(new_event(event("a"), rooms, but))
    with pytest.raises(UnicodeEncodeError):
        await log.append_once(new_event(event("a"), rooms, but), once="a")
    assert (log.kept_bytes, log.lost) == (0, 0)
    lose(link)
    await until(lambda: not link.is_up)
    with pytest.raises(UnicodeEncodeError):
        log.append(new_event(event("a"), rooms, but))
    await until(lambda: link.is_up and log.held is None)
    log.append(new_event(event("b"), ("p",), ("\\ud800",)))
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
        log.append(new_event(event(str(number)), ("p",)))
    redis.resume()
    await until(lambda: link.is_up)
    log.append(new_event(event("last"), ("p",)))
    await until(lambda: log.kept_bytes == 0)
    assert link.reconnects == 1
    assert log.lost == 0
    found = await log.read(("p",), Position(log.position.epoch, 0))
    assert not isinstance(found, Incomplete)
    assert [name_of(each) for each in found] == [*map(str, range(4000)), "last"]


async def test_attempts_to_append_an_event_with_a_name_while_redis_hangs_are_one(
    redis: RedisServer, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publisher gives up and tries again before the link is lost. Each attempt waits for the same append."""
    monkeypatch.setattr(log_appender, "_LONGEST_ANSWER", 0.05)
    log, delivered = followed(link)
    log.append(new_event(event("before"), ("p",)))
    await until(lambda: len(delivered) == 1)
    redis.pause()
    for _ in range(3):
        with pytest.raises(LogUnavailable):
            await log.append_once(new_event(event("a"), ("p",)), once="save-1")
    was_up = link.is_up
    assert was_up
    await until(lambda: not link.is_up)
    redis.resume()
    await until(lambda: link.is_up and log.kept_bytes == 0)
    monkeypatch.undo()
    position = await log.append_once(new_event(event("a"), ("p",)), once="save-1")
    assert position is not None
    assert [name_of(each) for each in delivered] == ["before", "a"]


async def test_an_event_whose_name_redis_knows_is_not_delivered_again_when_the_link_is_lost(
    link: Link, make_link: MakeLink
) -> None:
    log, delivered = followed(link)
    other, _ = followed(await started(make_link()))
    await link.call("PING")  # it is subscribed
    position = await other.append_once(new_event(event("a"), ("p",)), once="save-1")
    await until(lambda: len(delivered) == 1)
    assert await log.append_once(new_event(event("a"), ("p",)), once="save-1") == position
    lose(link)
    await until(lambda: link.is_up and log.held is None)
    assert [name_of(each) for each in delivered] == ["a"]


async def test_an_event_that_is_given_up_does_not_take_the_place_of_those_under_way(link: Link) -> None:
    """A client that is lost with the position of such an event has not got the events that were sent before it."""
    log, delivered = followed(link)
    log.append(new_event(event("before"), ("p",)))
    await until(lambda: len(delivered) == 1)
    log.append(new_event(event("under way"), ("p",)))
    log.append(new_event(NESTED, ("p",), attachments=(b"x",)))
    assert [each.data for each in delivered[1:]] == [NESTED]
    assert delivered[-1].number == NOT_KEPT
    position = log.position
    assert position.ahead is None
    await until(lambda: len(delivered) == 3)
    found = await log.read(("p",), position)
    assert not isinstance(found, Incomplete)
    assert [name_of(each) for each in found] == ["under way"]
