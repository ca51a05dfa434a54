"""The kept events of one room."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from synkora.recovery.ports import LoggedEvent

_SLACK: Final = 32  # removed entries that are tolerated before the others are moved


class KeptRoom:
    """Events in the order of their numbers. A parallel array has the numbers, for binary search.

    `floor` is the highest trimmed number: all newer events are present. A replaced event leaves None in its place, and
    does not raise the floor.
    """

    __slots__ = ("_count", "_events", "_keys", "_numbers", "_start", "floor", "last", "name", "size")

    def __init__(self, name: str | None, floor: int) -> None:
        self.name = name  # None for events for the whole namespace
        self.floor = floor
        self.last = 0  # number of the newest event so far
        self.size = 0  # bytes
        self._numbers = array("q")
        self._events: list[LoggedEvent | None] = []
        self._keys: dict[str, LoggedEvent] | None = None
        self._start = 0  # all entries before it are trimmed
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, event: LoggedEvent) -> LoggedEvent | None:
        """Add an event that is newer than all others. Returns the replaced event with the same key."""
        replaced = None
        if event.key is not None:
            if self._keys is None:
                self._keys = {}
            replaced = self._keys.get(event.key)
            if replaced is not None:
                self._remove(bisect_left(self._numbers, replaced.number, self._start), replaced)
            self._keys[event.key] = event
        self._numbers.append(event.number)
        self._events.append(event)
        self._count += 1
        self.size += event.size
        self.last = event.number
        return replaced

    def trim(self, too_old: int, most_events: int, most_bytes: int) -> Sequence[LoggedEvent]:
        """Drop the events up to the number `too_old`, and the oldest ones as long as there are too many.

        Returns the dropped events.
        """
        if self._count <= most_events and self.size <= most_bytes and self._start < len(self._events):
            oldest = self._events[self._start]
            if oldest is not None and oldest.number > too_old and not self._is_sparse:
                return ()
        dropped: list[LoggedEvent] = []
        while self._count:
            event = self._events[self._start]
            if event is None:
                self._start += 1
                continue
            if event.number > too_old and self._count <= most_events and self.size <= most_bytes:
                break
            self.floor = event.number
            if event.key is not None and self._keys is not None:
                del self._keys[event.key]
            self._remove(self._start, event)
            self._start += 1
            dropped.append(event)
        self._tidy()
        return dropped

    def after(self, number: int) -> Iterator[LoggedEvent]:
        """Return the events with higher numbers, in order."""
        start = bisect_right(self._numbers, number, self._start)
        return filter(None, self._events[start:])

    def _remove(self, index: int, event: LoggedEvent) -> None:
        self._events[index] = None
        self._count -= 1
        self.size -= event.size

    @property
    def _is_sparse(self) -> bool:
        """Whether there are more gaps than events."""
        return len(self._events) > 2 * self._count + _SLACK

    def _tidy(self) -> None:
        """Remove the gaps if there are many."""
        if not self._is_sparse:
            return
        kept = [event for event in self._events if event is not None]
        self._numbers = array("q", (event.number for event in kept))
        self._events = list(kept)
        self._start = 0
