"""A plain model of a log, and a machine that compares an implementation with it."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.contracts.event_log import event, name_of
from tests.support.clocks import Clock

from synkora.recovery.ports import EventLog, Incomplete, LoggedEvent, Missed, RecoveryStore, new_event
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings

#: Bounds that are reached soon, except two: events that are too old may take up bytes until their room is touched.
_BOUNDS: Final = RecoverySettings(
    max_age=1e9, room_events=4, room_bytes=60, total_bytes=1_000_000, max_rooms=3, replay_events=5, replay_bytes=70
)
AGING: Final = replace(_BOUNDS, max_age=64)
CROWDED: Final = replace(_BOUNDS, total_bytes=110, max_rooms=4)
ROOMS: Final = ("a", "b", "c", "d", "e")
MEMBERS: Final = ("x", "y")
_KEYS: Final = (None, None, "k", "l")


@dataclass
class _ModelRoom:
    events: list[LoggedEvent] = field(default_factory=list)
    floor: int = 0
    last_open: int = 0  # the last event that was not for members only


class Model:
    """All events, and each room's kept events. Each search examines all of them."""

    def __init__(self, bounds: RecoverySettings) -> None:
        self._bounds = bounds
        self.all: list[LoggedEvent] = []
        self._times: dict[int, float] = {}
        self._rooms: dict[str | None, _ModelRoom] = {None: _ModelRoom()}
        self._forgotten: dict[str, _ModelRoom] = {}

    def append(self, event: LoggedEvent, now: float) -> None:
        self.all.append(event)
        self._times[event.number] = now
        for name in event.rooms or (None,):
            room = self._rooms.pop(name, None) or replace(self._forgotten.get(name or "", _ModelRoom()), events=[])
            self._rooms[name] = room  # the last one is the one with the newest event
            if not event.members_only:
                room.last_open = event.number
            room.events = [kept for kept in room.events if kept.key is None or kept.key != event.key]
            room.events.append(event)
            self.age(now)
            while len(room.events) > self._bounds.room_events or _size(room.events) > self._bounds.room_bytes:
                room.floor = room.events.pop(0).number
        while len(self._named()) > self._bounds.max_rooms:
            name = next(iter(self._named()))
            room = self._rooms.pop(name)
            floor = max([room.floor, *(event.number for event in room.events)])
            self._forgotten[name] = _ModelRoom([], floor, room.last_open)
        for name in event.rooms:
            self._make_room(self._rooms[name], event)
        if self._size() > self._bounds.total_bytes:
            self._trim_largest()

    def _make_room(self, room: _ModelRoom, newest: LoggedEvent) -> None:
        share = max(self._bounds.total_bytes // max(len(self._named()), 1), newest.size)
        while _size(room.events) > share and self._size() > self._bounds.total_bytes:
            room.floor = room.events.pop(0).number

    def _trim_largest(self) -> None:
        named = self._named()
        most = self._bounds.total_bytes - self._bounds.total_bytes // 64
        share = max(most - _size(self._rooms[None].events), 0) // len(named)
        for name in sorted(named, key=lambda name: -_size(named[name])):
            while _size(named[name]) > share and self._size() > most:
                self._rooms[name].floor = named[name].pop(0).number

    def _named(self) -> dict[str, list[LoggedEvent]]:
        """The rooms with events, the quietest first."""
        return {name: room.events for name, room in self._rooms.items() if name is not None and room.events}

    def _size(self) -> int:
        return sum(_size(room.events) for room in self._rooms.values())

    def age(self, now: float) -> None:
        """Trim what is too old. A read of the log may do so in the rooms that it reads."""
        for room in self._rooms.values():
            while room.events and self._times[room.events[0].number] <= now - self._bounds.max_age:
                room.floor = room.events.pop(0).number

    def due(self, sid: str, joined: tuple[str, ...], after: int) -> list[str]:
        """The names of all events that a socket in these rooms needs if nothing was trimmed."""
        own = {sid, *joined}
        needed = [
            event
            for event in self.all
            if event.number > after
            and (not event.rooms or set(event.rooms) & (set(joined) if event.members_only else own))
            and not set(event.except_rooms) & ({sid} if event.members_only else own)
        ]
        return [
            name_of(event)
            for event in needed
            if not self._is_replaced(event, set(joined) if event.members_only else own)
        ]

    def _is_replaced(self, old: LoggedEvent, own: set[str]) -> bool:
        """Whether each room through which the socket would get it has a newer event with its key."""
        return old.key is not None and all(
            any(
                new.number > old.number and new.key == old.key and (name in new.rooms if name else not new.rooms)
                for new in self.all
            )
            for name in set(old.rooms) & own or {""}
        )

    def is_kept(self, sid: str, joined: tuple[str, ...], after: int, now: float) -> bool:
        """Whether no later event of a joined room was trimmed, nor of that with the socket's id if it was sent one."""
        self.age(now)
        for name in (*joined, sid, None):
            room = self._rooms.get(name) or self._forgotten.get(name or "", _ModelRoom())
            if after < room.floor and (name != sid or after < room.last_open):
                return False
        return True


class LogMachine(RuleBasedStateMachine):
    """Events, time, and returning clients, compared with the model. To be inherited with `bounds` and an `open`."""

    bounds: RecoverySettings

    @classmethod
    def within(cls, bounds: RecoverySettings) -> Any:
        """The machine's test case, with these bounds."""
        machine: type[LogMachine] = type(cls.__name__, (cls,), {"bounds": bounds})
        return machine.TestCase

    def open(self, clock: Clock) -> RecoveryStore:
        """A new store, or the closed one. The caller starts it."""
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.model = Model(self.bounds)
        self.positions: list[Position] = []
        self._open()
        self.positions.append(self.log.position)

    def _open(self) -> None:
        self.store = self.open(self.clock)
        self.log: EventLog = self.store.log("/", self._deliver)
        self.loop.run_until_complete(self.store.start())

    def _deliver(self, event: LoggedEvent) -> None:
        self.model.append(event, self.clock.now)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.store.close())
            self.loop.close()

    @rule(
        rooms=st.lists(st.sampled_from(ROOMS + MEMBERS), max_size=2, unique=True).map(tuple),
        but=st.lists(st.sampled_from(MEMBERS), max_size=1).map(tuple),
        key=st.sampled_from(_KEYS),
        padding=st.integers(0, 25),
    )
    def append(self, rooms: tuple[str, ...], but: tuple[str, ...], key: str | None, padding: int) -> None:
        number = self.log.position.number + 1
        members_only = bool(rooms) and padding % 2 == 0
        if key is not None:
            key += "m" * members_only

        async def append() -> None:  # as in a server, within a running loop
            self.log.append(new_event(event(f"{number}{'.' * padding}"), rooms, but, key, members_only=members_only))

        self.loop.run_until_complete(append())
        assert self.model.all[-1].number == self.log.position.number == number
        self.positions.append(self.log.position)

    @rule(seconds=st.sampled_from((1, 10, 40)))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.positions)
    @rule(
        joined=st.lists(st.sampled_from(ROOMS + MEMBERS), max_size=3, unique=True).map(tuple),
        me=st.sampled_from(MEMBERS),
        back=st.integers(0, 12),
    )
    def return_to(self, joined: tuple[str, ...], me: str, back: int) -> None:
        after = self.positions[-1 - back % len(self.positions)]
        joined = tuple(room for room in joined if room != me)
        self.model.age(self.clock.now)
        answers: list[Missed] = []
        self.log.replay(me, dict.fromkeys(joined, 0), after, answers.append)
        found, looked_at, _ = answers[0]
        due = self.model.due(me, joined, after.number)
        if isinstance(found, list):
            assert [name_of(event) for event in found] == due
            return
        assert found in (Incomplete.TRIMMED, Incomplete.TOO_MANY)
        if self.model.is_kept(me, joined, after.number, self.clock.now):
            assert found is Incomplete.TOO_MANY
            size = sum(len(event(name)) for name in due)
            is_large = len(due) > self.bounds.replay_events or size > self.bounds.replay_bytes
            assert is_large or looked_at > self.bounds.read_events


def _size(events: list[LoggedEvent]) -> int:
    return sum(event.size for event in events)
