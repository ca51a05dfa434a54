"""Recovery in the memory of one server: it outlives connections, not the process."""

from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from time import time

from synkora.recovery.floors import Floors
from synkora.recovery.kept_room import KeptRoom
from synkora.recovery.ports import Deliver, Incomplete, LoggedEvent, SavedSession
from synkora.recovery.position import Position, new_epoch
from synkora.recovery.settings import RecoverySettings

Clock = Callable[[], float]
_MARKS = 64  # steps in which a log's events grow too old


class MemoryLog:
    """An `EventLog` that delivers within `append` and never suspends.

    Each room has an index of its events. `_rooms` is ordered by the last event of each room, the oldest first.
    """

    def __init__(
        self, settings: RecoverySettings, deliver: Deliver, epoch: str | None = None, clock: Clock = time
    ) -> None:
        self.deliver = deliver
        self.epoch = new_epoch() if epoch is None else epoch
        self._settings = settings
        self._clock = clock
        self._number = 0
        self._size = 0
        self._rooms: OrderedDict[str, KeptRoom] = OrderedDict()
        self._everyone = KeptRoom(0)
        self._floors = Floors()
        self._marks: deque[tuple[float, int]] = deque()
        self._too_old = 0

    @property
    def position(self) -> Position:
        return Position(self.epoch, self._number)

    @property
    def kept_bytes(self) -> int:
        return self._size

    def append(
        self,
        data: bytes,
        attachments: tuple[bytes, ...],
        rooms: tuple[str, ...],
        except_rooms: tuple[str, ...],
        key: str | None,
    ) -> None:
        """Number and keep an event, and deliver it."""
        event = LoggedEvent(self._number + 1, data, attachments, rooms, except_rooms, key)
        self.keep(event, self._clock())
        self.deliver(event)

    def keep(self, event: LoggedEvent, time: float) -> None:
        """Keep an event that is newer than all others."""
        self._number = event.number
        self._grow_old(time)
        if not self._marks or time >= self._marks[-1][0] + self._settings.max_age / _MARKS:
            self._marks.append((time, event.number))
        if not event.rooms:
            self._add(self._everyone, event)
        for name in event.rooms:
            room = self._rooms.get(name)
            if room is None:
                room = self._rooms[name] = KeptRoom(self._floors[name])
            else:
                self._rooms.move_to_end(name)
            self._add(room, event)
            if not room:
                self._forget(name)
        self._forget_rooms()

    async def read(self, rooms: Collection[str], after: Position) -> list[LoggedEvent] | Incomplete:
        """Return what a socket in `rooms` has missed, or the reason why not."""
        if after.epoch != self.epoch or after.number > self._number:
            return Incomplete.EPOCH
        self._grow_old(self._clock())
        kept = [self._everyone]
        for name in rooms:
            room = self._rooms.get(name)
            if room is not None:
                kept.append(room)
            elif after.number < self._floors[name]:
                return Incomplete.TRIMMED
        found: dict[int, LoggedEvent] = {}
        size = 0
        own = frozenset(rooms)
        for room in kept:
            self._trim(room)
            if after.number < room.floor:
                return Incomplete.TRIMMED
            for event in room.after(after.number):
                if event.number in found or not own.isdisjoint(event.except_rooms):
                    continue
                found[event.number] = event
                size += event.size
                if len(found) > self._settings.replay_events or size > self._settings.replay_bytes:
                    return Incomplete.TOO_MANY
        return [found[number] for number in sorted(found)]

    def _add(self, room: KeptRoom, event: LoggedEvent) -> None:
        self._size -= room.size
        room.add(event)
        self._size += room.size
        self._trim(room)

    def _trim(self, room: KeptRoom) -> None:
        self._size -= room.size
        room.trim(self._too_old, self._settings.room_events, self._settings.room_bytes)
        self._size += room.size

    def _grow_old(self, now: float) -> None:
        """Note up to which number events are older than they may be."""
        horizon = now - self._settings.max_age
        while self._marks and self._marks[0][0] <= horizon:
            self._too_old = self._marks.popleft()[1]

    def _forget_rooms(self) -> None:
        """Forget the quietest rooms: those that only have old events, and those that are too many."""
        while self._rooms:
            name, room = next(iter(self._rooms.items()))
            if (
                len(self._rooms) <= self._settings.max_rooms
                and self._size <= self._settings.total_bytes
                and room.last > self._too_old
            ):
                break
            self._forget(name)

    def _forget(self, name: str) -> None:
        room = self._rooms.pop(name)
        self._size -= room.size
        self._floors.raise_to(name, max(room.floor, room.last))


class MemorySessions:
    """A `SessionStore`. `_lost` is ordered by the time of the loss."""

    def __init__(self, settings: RecoverySettings, clock: Clock = time) -> None:
        self._settings = settings
        self._clock = clock
        self._connected: dict[str, SavedSession] = {}
        self._lost: OrderedDict[str, SavedSession] = OrderedDict()

    def __len__(self) -> int:
        return len(self._connected) + len(self._lost)

    def save(self, session: SavedSession) -> None:
        """Keep a session, in place of the one with the same `pid`."""
        self.forget(session.pid)
        if session.lost_at is None:
            self._connected[session.pid] = session
            return
        self._lost[session.pid] = session
        self._expire()

    def forget(self, pid: str) -> None:
        """Drop a session, if there is one."""
        self._connected.pop(pid, None)
        self._lost.pop(pid, None)

    async def take(self, pid: str) -> SavedSession | None:
        """Return a session and drop it."""
        self._expire()
        return self._connected.pop(pid, None) or self._lost.pop(pid, None)

    def _expire(self) -> None:
        horizon = self._clock() - self._settings.session_age
        while self._lost:
            oldest = next(iter(self._lost.values()))
            if len(self._lost) <= self._settings.max_sessions and (oldest.lost_at or 0) > horizon:
                break
            self._lost.popitem(last=False)


class MemoryStore:
    """A `RecoveryStore` without a file."""

    def __init__(self, settings: RecoverySettings | None = None, clock: Clock = time) -> None:
        self.settings = settings or RecoverySettings()
        self._clock = clock
        self._logs: dict[str, MemoryLog] = {}
        self._sessions: dict[str, MemorySessions] = {}

    def log(self, namespace: str, deliver: Deliver) -> MemoryLog:
        """Return the log of a namespace."""
        log = self._logs.get(namespace)
        if log is None:
            log = self._logs[namespace] = MemoryLog(self.settings, deliver, clock=self._clock)
        log.deliver = deliver
        return log

    def sessions(self, namespace: str) -> MemorySessions:
        """Return the session store of a namespace."""
        return self._sessions.setdefault(namespace, MemorySessions(self.settings, self._clock))

    def forget(self, namespace: str) -> None:
        """Drop the log and the sessions of a namespace."""
        self._logs.pop(namespace, None)
        self._sessions.pop(namespace, None)

    async def start(self) -> None:
        """Load nothing."""

    async def close(self) -> None:
        """Write nothing."""
