"""Recovery in the memory of one server: the event log with its limits, and the store of logs and sessions."""

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from operator import attrgetter
from time import time
from typing import Final, Protocol

from msgspec.structs import replace

from synkora.recovery.floors import Floors, digest_of, new_key
from synkora.recovery.kept_room import KeptRoom
from synkora.recovery.memory_sessions import MemorySessions
from synkora.recovery.ports import (
    MAX_ONCE,
    Answered,
    Clock,
    Deliver,
    Incomplete,
    Kept,
    LoggedEvent,
    LogUnavailable,
    Missed,
    ignore,
    nothing,
)
from synkora.recovery.position import Ahead, Position, new_epoch
from synkora.recovery.settings import RecoverySettings
from synkora.tracing import NO_TRACE, Trace


class LogJournal(Protocol):
    """Records each change of a log."""

    def added(self, event: LoggedEvent, time: float, once: str) -> None:
        """Record a numbered event, with its name, if any, before its delivery."""
        ...

    def dropped(self, event: LoggedEvent) -> None:
        """Record the deletion of an event."""
        ...

    def floor_raised(self, digest: bytes, floor: int, socket_floor: int) -> None:
        """Record the floors of a room, by the digest of its name."""
        ...

    def names_forgotten(self, number: int) -> None:
        """Record that the names of events up to this number are no longer remembered."""
        ...


_MAX_NAMES: Final = 20_000  # shared tuples of names
_MARKS: Final = 64  # steps in which a log's events expire


class MemoryLog:
    """An `EventLog` that delivers within `append` and never suspends.

    Each room has an index of its events. `_rooms` is ordered by the last event of each room, the oldest first.
    """

    def __init__(
        self, settings: RecoverySettings, deliver: Deliver, clock: Clock = time, key: bytes | None = None
    ) -> None:
        self.deliver = deliver
        self.on_new_epoch = nothing
        self.ahead: Ahead | None = None
        self.journal: LogJournal | None = None
        self.is_open = True  # otherwise what is appended is not kept for the next process
        self._settings = settings
        self._clock = clock
        self._key = key or new_key()  # of the places of floors
        self.begin()

    def begin(self) -> None:
        """Begin a new epoch, without events."""
        self.epoch = new_epoch()
        self._number = 0
        self._size = 0
        self._count = 0
        self._rooms: OrderedDict[str, KeptRoom] = OrderedDict()
        self._floors = Floors()
        self._everyone = self._new_room(None)
        self._marks: deque[tuple[float, int]] = deque()
        self._too_old = 0
        self._look_at = 0.0  # the time of the next mark or expiry
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._name = ""  # of the event that is being appended
        self._once: OrderedDict[str, int] = (
            OrderedDict()
        )  # numbers of events, by the name with which they are appended once
        self._shared: dict[int, int] = {}  # number of rooms per event, for events in several rooms

    def __len__(self) -> int:
        """The number of rooms with events."""
        return len(self._rooms) + bool(self._everyone.count)

    @property
    def is_shared(self) -> bool:
        return False

    @property
    def position(self) -> Position:
        return Position(self.epoch, self._number)

    @property
    def kept_bytes(self) -> int:
        return self._size

    def append(self, event: LoggedEvent, trace: Trace = NO_TRACE) -> None:
        """Number, store and deliver an event."""
        event = self._numbered(self._number + 1, event)
        now = self._clock()
        if self.journal is not None:
            self.journal.added(event, now, self._name)
        self._keep(event, now)
        if self._name:
            self.remember(self._name, event.number)
        if trace is not NO_TRACE:
            trace.end()
            event = replace(event, traceparent=trace.traceparent)
        self.deliver(event)

    async def append_once(self, event: LoggedEvent, once: str = "", trace: Trace = NO_TRACE) -> Position:
        """Append an event, unless one with the same `once` was appended; return its position.

        Raises `LogUnavailable` if the log is not open.
        """
        if not self.is_open:
            raise LogUnavailable
        if once in self._once:
            return Position(self.epoch, self._once[once])
        self._name = once
        try:
            self.append(event, trace)
        finally:
            self._name = ""
        return self.position

    def remember(self, name: str, number: int) -> None:
        """Remember the name of an event, which is newer than all others with a name; the event need not be kept."""
        self._once[name] = number
        if len(self._once) > MAX_ONCE:
            _, oldest = self._once.popitem(last=False)
            if self.journal is not None:
                self.journal.names_forgotten(oldest)

    def restore_event(self, event: LoggedEvent, time: float) -> None:
        """Store an event of the previous process."""
        self._keep(self._numbered(event.number, event), time)

    def _numbered(self, number: int, event: LoggedEvent) -> LoggedEvent:
        """Return an event with its number, with each room once, and without its trace, which is not kept.

        The event shares equal names of rooms with others, which saves some 200 bytes.
        """
        names = self._names
        if len(names) > _MAX_NAMES:
            names.clear()
        rooms, except_rooms = event.rooms, event.except_rooms
        if len(rooms) > 1:
            rooms = tuple(dict.fromkeys(rooms))
        rooms, except_rooms = names.setdefault(rooms, rooms), names.setdefault(except_rooms, except_rooms)
        return LoggedEvent(number, event.data, event.attachments, rooms, except_rooms, event.key, event.members_only)

    def _keep(self, event: LoggedEvent, time: float) -> None:
        """Store an event that is newer than all others."""
        self._number = event.number
        is_older = time >= self._look_at
        if is_older:
            self._mark(time)
        if not event.rooms:
            self._add(self._everyone, event)
        elif len(event.rooms) > 1:
            self._shared[event.number] = len(event.rooms)
        rooms, settings = self._rooms, self._settings
        for name in event.rooms:
            room = rooms.get(name)
            if room is None:
                room = rooms[name] = self._new_room(name)
            else:
                rooms.move_to_end(name)
            self._add(room, event)
        if (
            is_older
            or self._size > settings.total_bytes
            or self._count > settings.total_events
            or len(rooms) > settings.max_rooms
        ):
            self._forget_rooms()
            self._make_room(event)
            self._trim_largest()

    async def kept(self, room: str) -> Kept:
        kept = self._rooms.get(room)
        return Kept(0, 0) if kept is None else Kept(kept.count, kept.size)

    async def read(self, rooms: Collection[str], after: Position) -> list[LoggedEvent] | Incomplete:
        """Return the events that a socket in `rooms` has missed, or the reason why they are unknown."""
        return self._read(None, dict.fromkeys(rooms, 0), after).events

    def replay(self, sid: str, joined: Mapping[str, int], after: Position, answered: Answered) -> None:
        """Call `answered` with the events that a socket has missed, or the reason why they are unknown."""
        answered(self._read(sid, joined, after))

    def last_in(self, room: str, answered: Callable[[int | None], None]) -> None:
        """Call `answered` with the number of a room's last event."""
        kept = self._rooms.get(room)
        answered(0 if kept is None else kept.last)

    def locate(self, found: Callable[[Position | None], None]) -> None:
        """Call `found` with the position."""
        found(self.position)

    def _read(self, sid: str | None, joined: Mapping[str, int], after: Position) -> Missed:
        if after.epoch != self.epoch or after.number > self._number:
            return self._missed(Incomplete.EPOCH)
        self._grow_old(self._clock())
        kept = [(self._everyone, after.number)]
        own = frozenset(joined if sid is None else (sid, *joined))
        for name in own:
            start = max(after.number, joined.get(name, 0))
            is_joined = name in joined
            room = self._rooms.get(name)
            if room is None:
                if start < self._floor_of(name, is_joined=is_joined):
                    return self._missed(Incomplete.TRIMMED)
            elif is_joined or start < room.last_open:  # else all events since are for members only
                kept.append((room, start))
        found: dict[int, LoggedEvent] = {}
        size = read = 0
        for room, start in kept:
            self._trim(room)
            if start < room.floor:
                return self._missed(Incomplete.TRIMMED, read)
            for event in room.after(start):
                read += 1
                if read > self._settings.read_events:
                    return self._missed(Incomplete.TOO_MANY, read)
                if event.number in found:
                    continue
                if event.members_only:  # leaves out a socket, as at its delivery, and nobody who is in a room
                    if sid in event.except_rooms:
                        continue
                    if room.name not in joined:
                        continue  # of a room that is named like the socket's id
                elif not own.isdisjoint(event.except_rooms):
                    continue
                found[event.number] = event
                size += event.size
                if len(found) > self._settings.replay_events or size > self._settings.replay_bytes:
                    return self._missed(Incomplete.TOO_MANY, read)
        return self._missed([found[number] for number in sorted(found)], read)

    def _missed(self, events: list[LoggedEvent] | Incomplete, looked_at: int = 0) -> Missed:
        return Missed(events, looked_at, self.position)

    def _floor_of(self, name: str, *, is_joined: bool) -> int:
        """Return the floor of a room without events: for its members, or for the socket whose id is its name."""
        if not self._floors:
            return 0
        floor, socket_floor = self._floors.of(name, digest_of(name, self._key))
        return floor if is_joined else socket_floor

    def use_key(self, key: bytes) -> None:
        """Use the key of the previous process' places. There are no floors yet."""
        self._key = key
        for room in self._rooms.values():
            room.digest = b""

    def restore(self, epoch: str, floors: Iterable[tuple[int, int]] = ()) -> None:
        """Continue the log of the previous process, with its floors by bucket."""
        self.epoch = epoch
        for bucket, floor in floors:
            self._floors.raise_bucket(bucket, floor)
        self._everyone.floor = self._floors.everyone

    def skip_to(self, number: int) -> None:
        """Continue after the number of the last event of the previous process."""
        self._number = max(self._number, number)

    def expire(self) -> None:
        """Drop expired events."""
        self._grow_old(self._clock())
        self._trim(self._everyone)
        self._forget_rooms()

    def _new_room(self, name: str | None) -> KeptRoom:
        settings = self._settings
        room = KeptRoom(name, settings.room_events, settings.room_bytes)
        if self._floors and name is not None:
            room.floor, room.last_open = self._floors.of(name, self._digest(room))
        return room

    def _digest(self, room: KeptRoom) -> bytes:
        if not room.digest and room.name is not None:
            room.digest = digest_of(room.name, self._key)
        return room.digest

    def _add(self, room: KeptRoom, event: LoggedEvent) -> None:
        if event.number <= room.floor:  # only in the previous process: reads cannot go back so far
            if not event.members_only:
                room.last_open = max(room.last_open, event.number)
                self._record_floors(room)
            self._drop(event)
            return
        count, size, floor = room.count, room.size, room.floor
        displaced = room.add(event, self._too_old)
        self._count += room.count - count
        self._size += room.size - size
        if displaced and (self.journal is not None or self._shared):
            for each in displaced:
                self._drop(each)
        if room.floor > floor:
            self._floor_raised(room)

    def _trim(self, room: KeptRoom) -> None:
        self._trim_to(room, self._settings.room_events, self._settings.room_bytes)

    def _trim_to(self, room: KeptRoom, most_events: int, most_bytes: int) -> None:
        count, size = room.count, room.size
        dropped = room.trim(self._too_old, most_events, most_bytes)
        if dropped:
            self._count -= count - room.count
            self._size -= size - room.size
            for event in dropped:
                self._drop(event)
            self._floor_raised(room)

    def _make_room(self, event: LoggedEvent) -> None:
        """Above a limit of the namespace, drop the oldest events of the newest event's own rooms.

        A room keeps its share, so that a flood in one room does not cost the others what they keep.
        """
        excess = self._size - self._settings.total_bytes, self._count - self._settings.total_events
        for name in event.rooms if max(excess) > 0 else ():
            room = self._rooms.get(name)
            if room is not None:
                share = self._settings.total_events // len(self._rooms), self._settings.total_bytes // len(self._rooms)
                most_events = max(share[0], room.count - (self._count - self._settings.total_events), 1)
                most_bytes = max(share[1], room.size - (self._size - self._settings.total_bytes), event.size)
                self._trim_to(room, most_events, most_bytes)

    def _trim_largest(self) -> None:
        """Above a limit of the namespace, drop the oldest events of the largest rooms, which keep an equal share.

        Makes room for a 64th of the limit at once, since it looks at all rooms.
        """
        if self._size > self._settings.total_bytes:
            most, share = self._most(self._settings.total_bytes, self._everyone.size)
            for room in self._largest(attrgetter("size"), share):
                if self._size <= most:
                    break
                self._trim_to(room, room.count, max(share, room.size - (self._size - most)))
        if self._count > self._settings.total_events:
            most, share = self._most(self._settings.total_events, self._everyone.count)
            for room in self._largest(attrgetter("count"), share):
                if self._count <= most:
                    break
                self._trim_to(room, max(share, room.count - (self._count - most)), room.size)

    def _most(self, limit: int, of_everyone: int) -> tuple[int, int]:
        """Return what a trimmed log may keep in all, and of each room."""
        most = limit - limit // 64
        return most, max(most - of_everyone, 0) // max(len(self._rooms), 1)

    def _largest(self, measure: Callable[[KeptRoom], int], share: int) -> list[KeptRoom]:
        """Return the rooms with more than their share, the largest first; of equal ones the quietest."""
        return sorted((room for room in self._rooms.values() if measure(room) > share), key=measure, reverse=True)

    def _floor_raised(self, room: KeptRoom) -> None:
        self._record_floors(room)
        if not room.count and room.name is not None:
            self._forget(room.name)

    def _record_floors(self, room: KeptRoom) -> None:
        if self.journal is not None:
            self.journal.floor_raised(self._digest(room), room.floor, room.socket_floor)

    def _drop(self, event: LoggedEvent) -> None:
        if len(event.rooms) > 1:
            self._shared[event.number] -= 1
            if self._shared[event.number]:
                return
            del self._shared[event.number]
        if self.journal is not None:
            self.journal.dropped(event)

    def _mark(self, now: float) -> None:
        """Remember the time of the newest event, and update the number up to which events have expired."""
        marks, max_age = self._marks, self._settings.max_age
        if not marks or now >= marks[-1][0] + max_age / _MARKS:
            marks.append((now, self._number))
        self._grow_old(now)
        if marks:
            self._look_at = min(marks[-1][0] + max_age / _MARKS, marks[0][0] + max_age)

    def _grow_old(self, now: float) -> None:
        """Update the number up to which events have expired."""
        horizon = now - self._settings.max_age
        while self._marks and self._marks[0][0] <= horizon:
            self._too_old = self._marks.popleft()[1]

    def _forget_rooms(self) -> None:
        """Drop the quietest rooms: those with only expired events, and those above the limit."""
        while self._rooms:
            name, room = next(iter(self._rooms.items()))
            if len(self._rooms) <= self._settings.max_rooms and room.last > self._too_old:
                break
            self._forget(name)

    def _forget(self, name: str) -> None:
        room = self._rooms.pop(name)
        self._count -= room.count
        self._size -= room.size
        for event in room.after(0):
            self._drop(event)
        room.floor = max(room.floor, room.last)
        self._floors.raise_to(self._digest(room), room.floor, room.socket_floor)
        self._record_floors(room)


class MemoryStore:
    """A `RecoveryStore` without a file."""

    def __init__(self, settings: RecoverySettings | None = None, clock: Clock = time) -> None:
        self.settings = settings or RecoverySettings()
        self._clock = clock
        self._key = new_key()
        self._logs: dict[str, MemoryLog] = {}
        self._sessions: dict[str, MemorySessions] = {}

    def log(self, namespace: str, deliver: Deliver) -> MemoryLog:
        """Return the log of a namespace."""
        log = self._logs.get(namespace)
        if log is None:
            log = self._logs[namespace] = self._new_log(namespace, deliver)
        log.deliver = deliver
        return log

    def sessions(self, namespace: str, taken: Callable[[str], None] = ignore) -> MemorySessions:
        """Return the session store of a namespace; there is no other instance to call `taken` for."""
        sessions = self._sessions.get(namespace)
        if sessions is None:
            sessions = self._sessions[namespace] = self._new_sessions(namespace)
        return sessions

    def _new_log(self, namespace: str, deliver: Deliver) -> MemoryLog:
        return MemoryLog(self.settings, deliver, self._clock, self._key)

    def _new_sessions(self, namespace: str) -> MemorySessions:
        return MemorySessions(self.settings, self._clock)

    def forget(self, namespace: str) -> None:
        """Drop the log and the sessions of a namespace."""
        self._logs.pop(namespace, None)
        self._sessions.pop(namespace, None)

    async def start(self) -> None:
        """Load nothing."""

    async def close(self) -> None:
        """Write nothing."""
