"""What an instance does when Redis is back."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.contracts.event_log import event, name_of
from tests.redis_adapter.recovery_stores import Followed, followed, lose, lose_until, used
from tests.support.clocks import Clock
from tests.support.links import QUICK, MakeLink, started
from tests.support.logs import capture_logs
from tests.support.processes import PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.servers import until

from synkora.recovery.ports import Incomplete, LoggedEvent, Missed, new_event
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link
from synkora.redis_adapter import log_catch_up
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.event_log import RedisLog
from synkora.redis_adapter.log_parts import CaughtUp


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
        writer.append(new_event(event(str(number)), (rooms[number * 1237 % 3000],)))
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
    log.append(new_event(event("before"), ("p",)))
    await until(lambda: happened == ["before"])
    began = log.position
    may_return = lose_until(link, monkeypatch)
    writer = Followed(other, RecoverySettings(), Clock()).log("/", lambda _: None)
    for name in ("a", "b"):
        await writer.append_once(new_event(event(name), ("p",)), once=name)
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
    """What is dropped is in the log: the instance reads from there on, and delivers each event once, in order."""
    delivered: list[LoggedEvent] = []
    follower = Followed(link, RecoverySettings(), Clock())
    log = follower.log("/", delivered.append)
    follower.serve("/", used("p"))
    log.append(new_event(event("before"), ("p",)))
    await until(lambda: len(delivered) == 1)
    answers: list[Callable[[], None]] = []
    read_parts = log._reader.read_parts

    def answer_later(names: Any, after: Position, answered: Callable[[Any], None]) -> None:
        read_parts(names, after, lambda missed: answers.append(lambda: answered(missed)))

    with monkeypatch.context() as patched:
        patched.setattr(log, "_max_held", 1000)
        patched.setattr(log._reader, "read_parts", answer_later)
        lose(link)
        await until(lambda: bool(answers))
        writer = Followed(await started(make_link()), RecoverySettings(), Clock()).log("/", lambda _: None)
        names = [f"held {number}" for number in range(20)]
        for name in names:
            await writer.append_once(new_event(event(name), ("p",)), once=name)
        await link.call("PING")  # all have come
        assert log.held is not None
        assert len(log.held) < len(names)
    answers[0]()
    await until(lambda: log.held is None)
    assert [name_of(each) for each in delivered] == ["before", *names]


async def test_a_client_is_answered_when_the_link_is_lost_while_its_instance_catches_up(link: Link) -> None:
    log, delivered = followed(link)
    log.append(new_event(event("before"), ("p",)))
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
    log.append(new_event(event("before"), ("p",)))
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
        log.append(new_event(event(name), ("p",)))
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
    log.append(new_event(event("before"), ("p",)))
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
        log.append(new_event(b'["%d","%b"]' % (number, b"x" * 100_000), ("p",)))
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
    writer.append(new_event(event("a"), ("p",)))
    await until(lambda: link.is_up and log.held is None)
    assert log.gaps == 1
    log.append(new_event(event("b"), ("p",)))
    await until(lambda: [name_of(each) for each in delivered][-1:] == ["b"])
    writer.append(new_event(event("c"), ("p",)))
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
    writer.append(new_event(event("a"), ("p",)))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(log_catch_up, broken, None)
        await until(lambda: link.is_up and log.held is None)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["catch_up_failed"]
    log.append(new_event(event("b"), ("p",)))
    writer.append(new_event(event("c"), ("p",)))
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
        writer.append(new_event(event(name), ("p",)))
    await until(lambda: link.is_up)
    for name in "def":
        writer.append(new_event(event(name), ("p",)))
    await until(lambda: log.position.number == 6)
    assert delivered == [*"bcef"]
    assert log.gaps == 0


async def test_an_instance_catches_up_from_where_its_clients_came(link: Link, make_link: MakeLink) -> None:
    """It was not subscribed to the room before. The clients have loaded what was sent to the room by then."""
    follower = Followed(link, RecoverySettings(), Clock())
    delivered: list[LoggedEvent] = []
    log = follower.log("/", delivered.append)
    writer, _ = followed(await started(make_link()))
    assert await writer.append_once(new_event(event("old"), ("new room",))) is not None
    link.subscribe(Channels.of("test", "/").room("new room"), log.receive)
    follower.serve("/", used("new room"))
    located: list[Position | None] = []
    log.locate(located.append)
    await until(lambda: bool(located))
    lose(link)
    await until(lambda: link.is_up)
    assert await writer.append_once(new_event(event("new"), ("new room",))) is not None
    await until(lambda: log.position.number == 2)
    assert [name_of(each) for each in delivered] == ["new"]


async def test_an_instance_whose_clients_came_before_redis_may_have_missed_events(
    link: Link, make_link: MakeLink
) -> None:
    """Others have delivered and sent them before this instance was connected. It does not know which are new."""
    writer, _ = followed(link)
    assert await writer.append_once(new_event(event("a"), ("p",))) is not None
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
    log.append(new_event(event("a"), ("p",)))
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
    assert await writer.append_once(new_event(event("a"), ("p",))) is not None
    await until(lambda: len(delivered) == 1)
    may_return = lose_until(link, monkeypatch)
    assert await writer.append_once(new_event(event("b"), ("p",))) is not None
    may_return.set()
    await until(lambda: link.is_up)
    assert await writer.append_once(new_event(event("c"), ("p",))) is not None
    await until(lambda: log.position.number == 3)
    assert ([name_of(each) for each in delivered], log.gaps) == ([*"abc"], 0)


async def test_a_log_that_has_begun_late_begins_again_with_another_epoch(redis: RedisServer, link: Link) -> None:
    """Redis refused to begin the log when the instance started, and did so later for its first events."""
    redis.do("CONFIG", "SET", "min-replicas-to-write", "1")
    log, delivered = followed(link)
    await until(lambda: link.problem is not None)
    redis.do("CONFIG", "SET", "min-replicas-to-write", "0")
    for name in ("a", "b"):
        log.append(new_event(event(name), ("p",)))
    await until(lambda: len(delivered) == log.position.number == 2)
    before = log.position
    redis.do("FLUSHALL")
    log.append(new_event(event("c"), ("p",)))
    await until(lambda: len(delivered) == 3)
    assert log.position.epoch != before.epoch
    assert await log.read(("p",), before) is Incomplete.EPOCH


@pytest.mark.parametrize("flood", ["one read", "the room", "all rooms"])
async def test_a_flood_in_one_room_costs_only_that_room_what_it_has_missed(
    link: Link, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch, flood: str
) -> None:
    """It is more than one read may have, than the room keeps, or than an instance may miss in all."""
    total = 20_000 if flood == "all rooms" else 64_000_000
    settings = RecoverySettings(room_events=5 if flood == "the room" else 10_000, total_bytes=total)
    follower = Followed(link, settings, Clock())
    delivered: list[LoggedEvent] = []
    log = follower.log("/", delivered.append)
    follower.serve("/", used("p", "q", "r", "s"))
    await until(lambda: not log.is_new)
    writer = Followed(await started(make_link()), settings, Clock()).log("/", lambda _: None)
    may_return = lose_until(link, monkeypatch)
    for number in range(80 if flood == "all rooms" else 8):
        size = 10 if flood == "all rooms" else 400_000
        await writer.append_once(new_event(event(f"flood {number}" + "x" * size), ("p",)))
        if number < 3:
            await writer.append_once(new_event(event(str(number)), ("qrs"[number],)))
    may_return.set()
    await until(lambda: link.is_up and not log.is_new and log.held is None)
    assert [name_of(each) for each in delivered] == [*"012"]
    assert log.gaps == 1
    await writer.append_once(new_event(event("later"), ("p",)))
    await until(lambda: name_of(delivered[-1]) == "later")
    lose(link)
    await until(lambda: link.reconnects == 2 and log.held is None)
    assert ([name_of(each) for each in delivered], log.gaps) == ([*"012", "later"], 1)


async def test_missed_events_of_several_rooms_may_be_more_than_one_read_has(
    link: Link, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come once and in order, with an event that is in several of the rooms."""
    follower = Followed(link, RecoverySettings(), Clock())
    delivered: list[LoggedEvent] = []
    log = follower.log("/", delivered.append)
    follower.serve("/", used("p", "q", "r", "s"))
    await until(lambda: not log.is_new)
    writer = Followed(await started(make_link()), RecoverySettings(), Clock()).log("/", lambda _: None)
    may_return = lose_until(link, monkeypatch)
    names = [f"{number} " + "x" * 300_000 for number in range(20)]
    for number, name in enumerate(names):
        rooms = ("p", "q", "r", "s") if number == 10 else ("pqrs"[number % 4],)
        await writer.append_once(new_event(event(name), rooms))
    may_return.set()
    await until(lambda: len(delivered) >= 20 and log.held is None)
    assert [name_of(each) for each in delivered] == names
    assert log.gaps == 0


async def test_rooms_that_an_instance_has_missed_are_read_in_order_with_an_empty_name(link: Link) -> None:
    """An event for a room that fails and another one is found in the other one."""
    log = Followed(link, RecoverySettings(total_bytes=20_000), Clock()).log("/", lambda _: None)
    await until(lambda: not log.is_new)
    began = log.position
    await log.append_once(new_event(event("both"), ("p", "q")))
    for number in range(80):
        await log.append_once(new_event(event(f"flood {number}"), ("p",)))
    await log.append_once(new_event(event("r"), ("r",)))
    found: asyncio.Future[CaughtUp | Incomplete] = asyncio.get_running_loop().create_future()
    log._reader.read_parts(("p", "", "q", "r", "s"), Position(began.epoch, 0), found.set_result)
    missed = await found
    assert not isinstance(missed, Incomplete)
    assert [(name_of(each.event), each.event.rooms) for each in missed.entries] == [("both", ("p", "q")), ("r", ("r",))]
    assert missed.failed == [Incomplete.TOO_MANY]
