"""Reads what an instance has missed in its rooms, some rooms at a time."""

from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple, Protocol

from synkora.recovery.ports import Incomplete
from synkora.recovery.position import Position
from synkora.redis_adapter.log_codec import EVERYONE, LogEntry, Part

#: Bytes of a command that reads what was missed. All rooms of an instance may be more than a link may hold.
_ROOMS_AT_ONCE: Final = 262_144
_ROOM_EXTRA: Final = 150  # bytes of a room in such a command besides its name, which is there three times
_ENTRY_EXTRA: Final = 300  # bytes that an event takes in memory besides its data


class CaughtUp(NamedTuple):
    """What an instance has missed up to a position, in order, and why that is unknown of some rooms."""

    entries: deque[LogEntry]
    until: Position
    failed: list[Incomplete]


class ReadPart(Protocol):
    """Reads rooms, and calls `collect` with what was found of the first ones of them; None if Redis is away."""

    def __call__(self, rooms: Collection[str], after: Position, collect: Callable[[Part | None], None]) -> None: ...


def size_of(rooms: Iterable[str]) -> int:
    """Return how many bytes of a command the rooms take, about."""
    return sum(_ROOM_EXTRA + 3 * len(room.encode(errors="surrogatepass")) for room in rooms)


class LogParts:
    """One read of all rooms of an instance, up to where the log is at the first part.

    A room that has too much for one read, or has lost events, fails alone. Above `max_bytes` in all, the rooms with the
    most bytes fail: a flood in some rooms costs the others nothing.
    """

    def __init__(
        self,
        read: ReadPart,
        names: Collection[str],
        after: Position,
        max_bytes: int,
        answered: Callable[[CaughtUp | Incomplete], None],
    ) -> None:
        self._read = read
        self._after = after
        self._max_bytes = max_bytes
        self._answered = answered
        self._failed: list[Incomplete] = []
        self._rooms = deque(dict.fromkeys((EVERYONE, *filter(self._is_readable, names))))
        self._until: Position | None = None
        self._found: dict[str, list[LogEntry]] = {}
        self._sizes: dict[str, int] = {}

    def _is_readable(self, name: str) -> bool:
        try:
            name.encode()
        except UnicodeEncodeError:
            self._failed.append(Incomplete.UNAVAILABLE)
            return False
        return True

    def read_on(self) -> None:
        """Read the next rooms."""
        part: list[str] = []
        size = 0
        while self._rooms and size < _ROOMS_AT_ONCE:
            part.append(self._rooms.popleft())
            size += size_of(part[-1:])
        self._read(part, self._after, lambda found: self._collect(part, found))

    def _collect(self, part: list[str], found: Part | None) -> None:
        if found is None:
            self._answered(Incomplete.UNAVAILABLE)
            return
        if found.is_other_epoch:
            self._answered(Incomplete.EPOCH)
            return
        until = self._until = self._until or found.until
        self._rooms.extendleft(reversed(part[found.rooms :]))
        self._failed += found.failed
        for room, entry in found.entries:
            if entry.event.number <= until.number:
                self._found.setdefault(room, []).append(entry)
                self._sizes[room] = self._sizes.get(room, 0) + entry.event.size + _ENTRY_EXTRA
        self._drop_largest()
        if self._rooms:
            self.read_on()
        else:
            entries = {entry.event.number: entry for room in self._found.values() for entry in room}
            self._answered(CaughtUp(deque(entries[number] for number in sorted(entries)), until, self._failed))

    def _drop_largest(self) -> None:
        sizes = self._sizes
        excess = sum(sizes.values()) - self._max_bytes
        for largest in sorted(sizes, key=sizes.__getitem__, reverse=True) if excess > 0 else ():
            if excess <= 0:
                break
            excess -= sizes.pop(largest)
            del self._found[largest]
            self._failed.append(Incomplete.TOO_MANY)
