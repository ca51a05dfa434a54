"""The contract of every event log."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.support.clocks import Clock

from synkora.recovery.ports import EventLog, Incomplete, Kept, LoggedEvent, Missed, RecoveryStore, new_event
from synkora.recovery.position import Position, parse
from synkora.recovery.settings import RecoverySettings
from synkora.tracing import Trace

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

#: Makes and starts a store with these bounds, whose time is that of the clock.
MakeStore = Callable[[RecoverySettings, Clock], Awaitable[RecoveryStore]]
#: Ends a store, and makes and starts that of the next process.
Restart = Callable[[RecoveryStore], Awaitable[RecoveryStore]]


async def _nothing() -> None:
    pass


class Trial:
    def __init__(
        self,
        log: EventLog,
        delivered: list[LoggedEvent],
        clock: Clock,
        settled: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self.log = log
        self.settled = settled  # waits until a log over a network has tidied up
        self.delivered = delivered
        self.clock = clock

    @classmethod
    async def start(cls, make: MakeStore, settings: RecoverySettings | None = None, namespace: str = "/") -> "Trial":
        clock, delivered = Clock(), list[LoggedEvent]()
        store = await make(settings or RecoverySettings(), clock)
        settled: Callable[[], Awaitable[None]] = getattr(store, "settled", _nothing)
        return cls(store.log(namespace, delivered.append), delivered, clock, settled)

    async def append(
        self,
        *names: str,
        rooms: tuple[str, ...] = ("p",),
        but: tuple[str, ...] = (),
        key: str | None = None,
        members_only: bool = False,
    ) -> Position:
        """Append an event for each name, and wait until all are delivered. Returns the position after the last."""
        for name in names:
            due = len(self.delivered) + 1
            self.log.append(new_event(event(name), rooms, but, key, members_only=members_only))
            async with asyncio.timeout(5):
                while len(self.delivered) < due:
                    await asyncio.sleep(0)
        await self.settled()
        return self.log.position

    async def missed(self, after: Position, *rooms: str) -> list[str] | Incomplete:
        """The names of the events that a socket in these rooms has missed."""
        found = await self.log.read(rooms or ("p", "me"), after)
        return found if isinstance(found, Incomplete) else [name_of(event) for event in found]

    async def missed_by(self, sid: str, after: Position, *joined: str) -> list[str] | Incomplete:
        """The names of the events that the socket `sid` has missed, which has joined these rooms."""
        return await missed_by(self.log, sid, after, *joined)

    async def kept(self, *rooms: str) -> list[Kept]:
        found = [await self.log.kept(room) for room in rooms]
        return [each for each in found if each is not None]

    async def use_others(self, room: str) -> None:
        """Use other rooms than this one, until it is forgotten."""
        for other in ("q", "r", "s", "busy", "quiet"):
            await self.append("other", rooms=(other,), members_only=True)
        assert await self.log.kept(room) == Kept(0, 0)


class WatchedTrace(Trace):
    """Notes how many events were delivered when it ended, and with which problem."""

    def __init__(self, delivered: list[LoggedEvent]) -> None:
        super().__init__(TRACEPARENT)
        self.ends: list[tuple[int, str]] = []
        self._delivered = delivered

    def end(self, problem: str = "") -> None:
        self.ends.append((len(self._delivered), problem))


def event(name: str) -> bytes:
    return b'["%b"]' % name.encode()


async def missed_by(log: EventLog, sid: str, after: Position, *joined: str) -> list[str] | Incomplete:
    """The names of the events that the socket `sid` has missed, which has joined these rooms."""
    answered: asyncio.Future[Missed] = asyncio.get_running_loop().create_future()
    log.replay(sid, dict.fromkeys(joined, 0), after, answered.set_result)
    found = (await answered).events
    return found if isinstance(found, Incomplete) else [name_of(event) for event in found]


def without_key(event: LoggedEvent) -> LoggedEvent:
    return msgspec.structs.replace(event, key=None)


def name_of(event: LoggedEvent) -> str:
    return event.data[2:-2].decode()


class EventLogContract:
    """To be inherited by a test class with a fixture `make`, a `MakeStore`."""

    @pytest.fixture
    async def trial(self, make: MakeStore) -> Trial:
        return await Trial.start(make)

    async def test_a_new_log_has_missed_nothing(self, trial: Trial) -> None:
        assert await trial.missed(trial.log.position) == []

    async def test_events_after_a_position_are_read(self, trial: Trial) -> None:
        began = await trial.append("a")
        await trial.append("b", rooms=("p", "q"), but=("x", "y"), key="k")
        await trial.append("c", rooms=())
        found = await trial.log.read(("p", "me"), began)
        assert not isinstance(found, Incomplete)
        for events in (found, trial.delivered[1:]):
            assert [without_key(event) for event in events] == [
                LoggedEvent(began.number + 1, event("b"), (), ("p", "q"), ("x", "y"), None),
                LoggedEvent(began.number + 2, event("c"), (), (), (), None),
            ]

    async def test_what_is_kept_of_a_room_is_counted(self, trial: Trial) -> None:
        """A replaced event is not counted. The bytes are those of the events' data and attachments."""
        assert await trial.log.kept("p") == Kept(0, 0)
        await trial.append("a", "b")
        await trial.append("c", "dd", key="k")
        await trial.append("e", rooms=("q",))
        assert await trial.log.kept("p") == Kept(3, sum(len(event(name)) for name in ("a", "b", "dd")))

    async def test_attachments_are_kept(self, trial: Trial) -> None:
        began = trial.log.position
        trial.log.append(new_event(event("a"), ("p",), attachments=(b"\x00one", b"")))
        await trial.append("b")
        found = await trial.log.read(("p",), began)
        assert not isinstance(found, Incomplete)
        assert [event.attachments for event in found] == [(b"\x00one", b""), ()]

    async def test_an_event_is_delivered_with_its_trace(self, trial: Trial) -> None:
        """The trace of the append ends once. The next event has none, and neither has what a client has missed."""
        began = trial.log.position
        one, two = WatchedTrace(trial.delivered), WatchedTrace(trial.delivered)
        trial.log.append(new_event(event("a"), ("p",)), trace=one)
        await trial.log.append_once(new_event(event("b"), ("p",)), once="name", trace=two)
        await trial.append("c")
        assert [each.traceparent for each in trial.delivered] == [TRACEPARENT, TRACEPARENT, ""]
        await trial.settled()
        assert [problem for _, problem in one.ends + two.ends] == ["", ""]
        assert await trial.missed(began) == ["a", "b", "c"]

    async def test_fault_03_the_order_of_delivery_is_the_order_of_positions(self, trial: Trial) -> None:
        """One order for all rooms and any number of appenders: each event comes once, with the next position."""

        async def send(sender: int) -> None:
            for number in range(20):
                await trial.append(f"{sender}-{number}", rooms=(f"p{sender % 3}",))

        began = trial.log.position
        await asyncio.gather(*map(send, range(5)))
        numbers = [event.number for event in trial.delivered]
        assert numbers == list(range(began.number + 1, began.number + 101))
        assert await trial.missed(began, "p0", "p1", "p2") == [name_of(event) for event in trial.delivered]

    async def test_only_events_of_the_rooms_are_read(self, trial: Trial) -> None:
        """An event for several rooms comes once. An event without rooms is for all."""
        began = trial.log.position
        await trial.append("one", rooms=("p",))
        await trial.append("other", rooms=("q",))
        await trial.append("both", rooms=("p", "q"))
        await trial.append("all", rooms=())
        assert await trial.missed(began, "p") == ["one", "both", "all"]
        assert await trial.missed(began, "p", "q") == ["one", "other", "both", "all"]
        assert await trial.missed(began, "r") == ["all"]

    async def test_a_room_that_is_named_twice_gets_an_event_once(self, trial: Trial) -> None:
        """It is kept once, and so are the events after it."""
        began = await trial.append("a", rooms=("p", "p"))
        await trial.log.append_once(new_event(event("b"), ("p", "q", "p")))
        await trial.append("c")
        assert await trial.missed(Position(began.epoch, 0), "p", "q") == ["a", "b", "c"]
        assert [name_of(each) for each in trial.delivered] == ["a", "b", "c"]

    async def test_events_leave_out_the_members_of_their_except_rooms(self, trial: Trial) -> None:
        began = trial.log.position
        await trial.append("mine", but=("me",))
        await trial.append("yours", but=("you",))
        await trial.append("for all but us", rooms=(), but=("you", "me"))
        assert await trial.missed(began, "p", "me") == ["yours"]
        assert await trial.missed(began, "p", "you") == ["mine"]
        assert await trial.missed(began, "q", "others") == ["for all but us"]

    async def test_an_event_for_members_only_leaves_out_a_socket_and_no_room(self, trial: Trial) -> None:
        """As at its delivery. With the name of a room, an event would be hidden from its members when they return."""
        began = trial.log.position
        for name, but in (("own room", "p"), ("other room", "q"), ("me", "me"), ("you", "you")):
            await trial.log.append_once(new_event(event(name), ("p",), (but,), members_only=True), once=name)
        await trial.settled()
        assert await trial.missed_by("me", began, "p", "q") == ["own room", "other room", "you"]

    @pytest.mark.parametrize("is_forgotten", [False, True])
    async def test_the_members_of_a_room_do_not_age_the_socket_that_is_named_like_it(
        self, make: MakeStore, is_forgotten: bool
    ) -> None:
        """Anybody may name a project so. Its events are not looked at either."""
        trial = await Trial.start(make, RecoverySettings(room_events=2, max_rooms=3))
        began = trial.log.position
        await trial.append(*"abcde", rooms=("me",), members_only=True)
        if is_forgotten:
            await trial.use_others("me")
        answered: asyncio.Future[Missed] = asyncio.get_running_loop().create_future()
        trial.log.replay("me", {}, began, answered.set_result)
        found, looked_at, _ = await answered
        assert (found, looked_at) == ([], 0)
        assert await trial.missed_by("other", began, "me") is Incomplete.TRIMMED

    async def test_a_room_of_members_that_is_forgotten_and_used_again_does_not_age_the_socket_named_like_it(
        self, make: MakeStore
    ) -> None:
        trial = await Trial.start(make, RecoverySettings(max_rooms=2))
        began = trial.log.position
        for name in "ab":
            await trial.append(name, rooms=("me",), members_only=True)
            await trial.use_others("me")
            assert await trial.missed_by("me", began) == []
        await trial.append("d", rooms=("me",), members_only=True)
        assert await trial.missed_by("me", began) == []
        await trial.append("to the socket", rooms=("me",))
        assert await trial.missed_by("me", began) is Incomplete.TRIMMED  # the room's floor counts again

    @pytest.mark.parametrize("rooms", [("me",), ("me", "p")])
    async def test_what_a_socket_was_sent_itself_ages_the_socket(self, make: MakeStore, rooms: tuple[str, ...]) -> None:
        """Trimmed among events for members only, forgotten with them, and also when the room is used again."""
        trial = await Trial.start(make, RecoverySettings(room_events=2, max_rooms=3))
        before = trial.log.position
        began = await trial.append("a", rooms=("me",), members_only=True)
        sent = await trial.append("to the socket", rooms=rooms)
        assert await trial.missed_by("me", began) == ["to the socket"]
        await trial.append("b", rooms=("me",), members_only=True)
        assert await trial.missed_by("me", began) == ["to the socket"]
        await trial.append("c", rooms=("me",), members_only=True)
        assert await trial.missed_by("me", began) is Incomplete.TRIMMED
        assert await trial.missed_by("me", sent) == []
        await trial.use_others("me")
        assert await trial.missed_by("me", began) is Incomplete.TRIMMED
        await trial.append("e", rooms=("me",), members_only=True)
        assert await trial.missed_by("me", began) is Incomplete.TRIMMED
        assert await trial.missed_by("me", before) is Incomplete.TRIMMED
        assert await trial.missed_by("me", trial.log.position) == []

    async def test_an_event_with_a_name_is_appended_once(self, trial: Trial) -> None:
        """Later calls return its position. Events without a name are appended each time."""
        began = trial.log.position
        first = await trial.log.append_once(new_event(event("a"), ("p",), members_only=True), once="save-1")
        unnamed = [await trial.log.append_once(new_event(event("b"), ("p",))) for _ in range(2)]
        again = await trial.log.append_once(new_event(event("a"), ("p",)), once="save-1")
        other = await trial.log.append_once(new_event(event("c"), ("q",), ("me",), "key"), once="save-2")
        await trial.settled()
        assert first == again
        found = await trial.log.read(("p", "q", "you"), began)
        assert not isinstance(found, Incomplete)
        assert [name_of(each) for each in found] == ["a", "b", "b", "c"]
        epoch = trial.log.epoch
        assert [Position(epoch, each.number) for each in found] == [first, *unnamed, other]
        assert [each.members_only for each in found] == [True, False, False, False]

    async def test_a_newer_event_replaces_the_one_with_its_key(self, trial: Trial) -> None:
        """In the same room. Events without a key stay."""
        began = trial.log.position
        await trial.append("old", key="k")
        await trial.append("other room", rooms=("q",), key="k")
        await trial.append("other key", key="l")
        await trial.append("x", "x")
        await trial.append("new", key="k")
        assert await trial.missed(began, "p", "q") == ["other room", "other key", "x", "x", "new"]

    async def test_replacing_leaves_the_log_complete(self, make: MakeStore) -> None:
        """A client of any age is recovered: it gets the newest of each key."""
        trial = await Trial.start(make, RecoverySettings(room_events=3))
        began = trial.log.position
        for number in range(200):
            await trial.append(f"{number}", key=f"k{number % 3}")
        assert await trial.missed(began) == ["197", "198", "199"]

    async def test_fault_06_an_idle_client_is_recovered(self, make: MakeStore) -> None:
        """All events have expired, including the one of its last position, but it has missed no event."""
        trial = await Trial.start(make, RecoverySettings(max_age=64))
        idle = await trial.append("a", "b")
        trial.clock.now += 1000
        assert await trial.missed(idle) == []
        late = await trial.append("c")
        assert await trial.missed(idle) == ["c"]
        trial.clock.now += 1000
        await trial.append("d")
        assert await trial.missed(late) == ["d"]
        assert await trial.missed(idle) is Incomplete.TRIMMED

    async def test_fault_06_other_rooms_do_not_age_a_client(self, make: MakeStore) -> None:
        """A client of a quiet room is recovered, however much another room has dropped."""
        trial = await Trial.start(make, RecoverySettings(room_events=2))
        idle = trial.log.position
        await trial.append(*map(str, range(50)), rooms=("busy",))
        assert await trial.missed(idle, "quiet", "me") == []
        assert await trial.missed(idle, "quiet", "busy") is Incomplete.TRIMMED

    async def test_old_events_are_not_kept(self, make: MakeStore) -> None:
        trial = await Trial.start(make, RecoverySettings(max_age=64))
        began = trial.log.position
        trial.clock.now += 100
        await trial.append("a")
        trial.clock.now += 60
        after_a = await trial.append("b")
        assert await trial.missed(began) == ["a", "b"]
        trial.clock.now += 10
        assert await trial.missed(began) is Incomplete.TRIMMED
        await trial.append("c")
        assert await trial.missed(after_a) == ["c"]

    async def test_an_hour_away_is_complete_with_the_defaults(self, trial: Trial) -> None:
        """Of 20 changes a minute to seven things, the newest of each; and what happened once, at the beginning."""
        began = trial.log.position
        await trial.append("once")
        for minute in range(60):
            trial.clock.now += 60
            for number in range(20 * minute, 20 * minute + 20):
                await trial.append(f"{number}", key=f"k{number % 7}")
        assert await trial.missed(began) == ["once", *map(str, range(1193, 1200))]

    async def test_fault_10_too_many_events_are_refused_as_a_whole(self, make: MakeStore) -> None:
        """The bound itself is still read. Own events do not count."""
        trial = await Trial.start(make, RecoverySettings(replay_events=3))
        began = trial.log.position
        first = await trial.append("a")
        await trial.append("b", "c", "d")
        await trial.append("mine", but=("me",))
        assert await trial.missed(first) == ["b", "c", "d"]
        assert await trial.missed(began) is Incomplete.TOO_MANY

    async def test_a_read_examines_a_limited_number_of_events(self, make: MakeStore) -> None:
        """A client's own events are omitted, but examining them takes time, in one room or in many."""
        trial = await Trial.start(make, RecoverySettings(replay_events=3))
        began = trial.log.position
        first = await trial.append("mine", but=("me",))
        await trial.append(*["mine"] * 5, rooms=("q",), but=("me",))
        await trial.append("a")
        assert await trial.missed(first, "p", "q", "me") == ["a"]
        assert await trial.missed(began, "p", "q", "me") is Incomplete.TOO_MANY

    async def test_any_name_may_be_that_of_a_room(self, trial: Trial) -> None:
        began = await trial.append("a")
        for name in ("k", "s", "x", "o", "listed", "{log}", "*", "\x00", "é"):
            trial.log.append(new_event(event(name.encode().hex()), (name,)))
        await trial.settled()
        for name in ("k", "s", "x", "o", "listed", "{log}", "*", "\x00", "é"):
            assert await trial.missed(began, name, "me") == [name.encode().hex()]

    async def test_a_read_says_how_far_it_has_read_and_what_it_has_looked_at(self, trial: Trial) -> None:
        """Events that are left out were looked at too."""
        began = await trial.append("a")
        await trial.append("mine", "mine", but=("me",))
        last = await trial.append("b")
        answered: asyncio.Future[Missed] = asyncio.get_running_loop().create_future()
        trial.log.replay("me", {"p": 0}, began, answered.set_result)
        found, looked_at, until = await answered
        assert not isinstance(found, Incomplete)
        assert ([*map(name_of, found)], looked_at, until) == (["b"], 3, last)

    async def test_a_room_has_a_last_event(self, trial: Trial) -> None:
        """Also an event for several rooms, or one in place of an older one."""
        first = await trial.append("a", rooms=("p", "q"))
        await trial.append("b", key="k")
        last = await trial.append("c", key="k")
        found = [asyncio.get_running_loop().create_future() for _ in range(3)]
        for room, answered in zip(("p", "q", "r"), found, strict=True):
            trial.log.last_in(room, answered.set_result)
        assert [await each for each in found] == [last.number, first.number, 0]

    async def test_fault_10_too_many_bytes_are_refused_as_a_whole(self, make: MakeStore) -> None:
        trial = await Trial.start(make, RecoverySettings(replay_bytes=len(event("ab")) * 3))
        began = trial.log.position
        first = await trial.append("ab")
        await trial.append("cd", "ef", "gh")
        assert await trial.missed(first) == ["cd", "ef", "gh"]
        assert await trial.missed(began) is Incomplete.TOO_MANY
        last = trial.log.position
        trial.log.append(new_event(event("a"), ("p",), attachments=(bytes(30),)))
        assert await trial.missed(last) is Incomplete.TOO_MANY

    async def test_a_room_is_bounded_in_events(self, make: MakeStore) -> None:
        trial = await Trial.start(make, RecoverySettings(room_events=2))
        began = await trial.append("a")
        second = await trial.append("b")
        await trial.append("c")
        assert await trial.missed(began) == ["b", "c"]
        await trial.append("d")
        assert await trial.missed(second) == ["c", "d"]
        assert await trial.missed(began) is Incomplete.TRIMMED

    async def test_a_room_is_bounded_in_bytes(self, make: MakeStore) -> None:
        """A larger event is delivered, and not kept."""
        trial = await Trial.start(make, RecoverySettings(room_bytes=10))
        began = await trial.append("a")
        await trial.append("b")
        assert await trial.missed(began) == ["b"]
        before = await trial.append("c")
        assert await trial.missed(began) == ["b", "c"]
        await trial.append("x" * 10)
        assert name_of(trial.delivered[-1]) == "x" * 10
        assert await trial.missed(before) is Incomplete.TRIMMED
        assert await trial.missed(trial.log.position) == []

    async def test_a_room_is_bounded_in_bytes_after_a_larger_event_with_a_key(self, make: MakeStore) -> None:
        """The larger event is not kept, and has replaced the one before."""
        trial = await Trial.start(make, RecoverySettings(room_bytes=100))
        began = await trial.append("x" * 86, key="k")
        await trial.append("x" * 106, key="k")
        assert await trial.missed(began) is Incomplete.TRIMMED
        larger = trial.log.position
        assert await trial.log.kept("p") == Kept(0, 0)
        for name in ("a", "b", "c"):
            await trial.append(name * 46, key="k")
            assert await trial.missed(larger) == [name * 46]
            assert await trial.log.kept("p") == Kept(1, 50)

    async def test_the_quietest_rooms_are_forgotten(self, make: MakeStore) -> None:
        """A client is refused if it may have missed an event, also when the room has a new event."""
        trial = await Trial.start(make, RecoverySettings(max_rooms=2))
        began = trial.log.position
        await trial.append("a", rooms=("p",))
        after_b = await trial.append("b", rooms=("q",))
        await trial.append("c", rooms=("p",))
        after_d = await trial.append("d", rooms=("r",))
        assert await trial.missed(began, "p") == ["a", "c"]
        assert await trial.missed(began, "r") == ["d"]
        assert await trial.missed(began, "q") is Incomplete.TRIMMED
        assert await trial.missed(after_b, "q") == []
        await trial.append("e", rooms=("q",))
        assert await trial.missed(began, "q") is Incomplete.TRIMMED
        assert await trial.missed(after_d, "q") == ["e"]

    async def test_all_rooms_together_are_bounded_in_bytes(self, make: MakeStore) -> None:
        trial = await Trial.start(make, RecoverySettings(total_bytes=len(event("a")) * 3))
        began = trial.log.position
        for room in ("p", "q", "r", "s"):
            await trial.append("a", rooms=(room,))
        assert await trial.missed(began, "p") is Incomplete.TRIMMED
        assert await trial.missed(began, "q", "r", "s") == ["a", "a", "a"]

    async def test_a_flood_in_one_room_costs_that_room(self, make: MakeStore) -> None:
        """It keeps an equal share, and a room with less keeps everything."""
        trial = await Trial.start(make, RecoverySettings(total_bytes=len(event("a")) * 10))
        began = trial.log.position
        await trial.append(*"ab", rooms=("quiet",))
        await trial.append(*"cdefghijklmnop", rooms=("busy",))
        assert await trial.missed(began, "quiet") == ["a", "b"]
        assert await trial.missed(began, "busy") is Incomplete.TRIMMED
        assert await trial.log.kept("busy") == Kept(8, 8 * len(event("a")))

    async def test_a_flood_in_several_rooms_costs_those_rooms(self, make: MakeStore) -> None:
        """Also when the event that is one too many is in a room with less than an equal share."""
        trial = await Trial.start(make, RecoverySettings(total_bytes=len(event("a")) * 16))
        began = trial.log.position
        await trial.append("a", rooms=("quiet",))
        for room in ("p", "q", "r"):
            await trial.append(*"bcdef", rooms=(room,))
        await trial.append("g", rooms=("s",))
        assert await trial.missed(began, "quiet", "s") == ["a", "g"]
        assert await trial.missed(began, "p") is Incomplete.TRIMMED
        for name in "hijklmnopqrst":
            for room in ("p", "q", "r"):
                await trial.append(name, rooms=(room,))
            await trial.append("s", rooms=("s",), key="k")
            kept = await trial.kept("p", "q", "r", "quiet", "s")
            assert await trial.missed(began, "quiet", "s") == ["a", "g", "s"]
            assert all(each.events >= 3 for each in kept[:3])
            assert sum(each.events for each in kept) <= 16

    async def test_large_events_in_several_rooms_cost_those_rooms(self, make: MakeStore) -> None:
        """Also if each of these rooms has a single event, which is larger than its equal share."""
        trial = await Trial.start(make, RecoverySettings(total_bytes=100))
        began = trial.log.position
        await trial.append("a", rooms=("quiet",))
        for room in ("p", "q", "r", "s"):
            await trial.append("x" * 36, rooms=(room,))
        await trial.append("b", rooms=("busy",))
        assert await trial.missed(began, "quiet", "busy") == ["a", "b"]
        assert await trial.missed(began, "p") is Incomplete.TRIMMED
        assert sum(each.bytes for each in await trial.kept("quiet", "p", "q", "r", "s", "busy")) <= 100

    async def test_positions_of_another_log_are_refused(self, trial: Trial) -> None:
        """Another epoch, or a number that was not assigned yet."""
        epoch, number, _ = await trial.append("a")
        assert await trial.missed(Position("another", number)) is Incomplete.EPOCH
        assert await trial.missed(Position(epoch, number + 1)) is Incomplete.EPOCH

    async def test_namespaces_have_separate_logs(self, make: MakeStore) -> None:
        store = await make(RecoverySettings(), Clock())
        delivered: list[LoggedEvent] = []
        one, other = store.log("/", delivered.append), store.log("/other", delivered.append)
        began = other.position
        one.append(new_event(event("a"), ("p",)))
        assert await other.read(("p",), began) == []

    async def test_positions_have_a_text(self, trial: Trial) -> None:
        position = await trial.append("a")
        assert parse(str(position)) == position
        assert len(str(position)) < 20


class LastingLogContract:
    """For stores that outlive the process. To be inherited with fixtures `make` and `restart`, a `Restart`."""

    async def test_a_name_outlives_its_event(self, make: MakeStore, restart: Restart) -> None:
        """Also through a second restart: of two events with a key, the older one is not appended again."""
        store = await make(RecoverySettings(), Clock())
        log = store.log("/", lambda _: None)
        positions = [await log.append_once(new_event(event(name), ("p",), key="k"), once=name) for name in "ab"]
        for _ in range(2):
            store = await restart(store)
            delivered: list[LoggedEvent] = []
            log = store.log("/", delivered.append)
            assert [
                await log.append_once(new_event(event(name), ("p",), key="k"), once=name) for name in "ab"
            ] == positions
            assert delivered == []
        assert await log.append_once(new_event(event("c"), ("p",), key="k"), once="c") not in (None, *positions)

    async def test_what_a_socket_was_sent_itself_and_what_members_were_differ(
        self, make: MakeStore, restart: Restart
    ) -> None:
        """In rooms that are named like sockets: trimmed before a restart, it is missed only by the first one."""
        store = await make(RecoverySettings(room_events=1), Clock())
        log = store.log("/", lambda _: None)
        began = log.position
        log.append(new_event(event("to the socket"), ("one",)))
        for room in ("one", "two") * 2:
            log.append(new_event(event("a"), (room,), members_only=True))
        for _ in range(3):
            assert await missed_by(log, "one", began) is Incomplete.TRIMMED
            assert await missed_by(log, "two", began) == []
            assert await missed_by(log, "other", began, "two") is Incomplete.TRIMMED
            store = await restart(store)
            log = store.log("/", lambda _: None)
