"""The kept events of one room."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from synkora.recovery.ports import LoggedEvent

_SLACK: Final = 32  # removed entries that are tolerated before the others are moved


def _number(entry: LoggedEvent | int) -> int:
    return entry if isinstance(entry, int) else entry.number


class KeptRoom:
    """Events in the order of their numbers, at most `most_events` of them and `most_bytes`.

    `floor` is the highest trimmed number: all newer events are present. A replaced event leaves its number in its
    place, and does not raise the floor. `last_open` is the number of the last event that was not for members only: a
    socket whose id is the room's name has missed nothing after it, whatever is trimmed.
    """

    __slots__ = (
        "_entries",
        "_first",
        "_keys",
        "_most_bytes",
        "_most_events",
        "count",
        "digest",
        "floor",
        "last",
        "last_open",
        "name",
        "size",
    )

    def __init__(self, name: str | None, most_events: int, most_bytes: int) -> None:
        self.name = name  # None for events for the whole namespace
        self.digest = b""  # of the name, when it is needed
        self.floor = 0
        self.last = 0  # number of the newest event so far
        self.last_open = 0
        self.count = 0  # events
        self.size = 0  # bytes
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._entries: list[LoggedEvent | int] = []
        self._first = 0  # all entries before it are trimmed
        self._keys: dict[str, int] | None = None  # the index of each key's event in `_entries`

    @property
    def socket_floor(self) -> int:
        """Up to this number events that were not for members only may have been trimmed."""
        return min(self.floor, self.last_open)

    def add(self, event: LoggedEvent, too_old: int) -> Sequence[LoggedEvent]:
        """Add an event that is newer than all others.

        Returns the events that it displaces: the one with the same key, those up to the number `too_old`, and the
        oldest ones as long as there are too many.
        """
        entries, key = self._entries, event.key
        replaced: Sequence[LoggedEvent] = ()
        count = self.count + 1
        size = self.size + (event.size if event.attachments else len(event.data))
        if key is not None:
            keys = self._keys
            if keys is None:
                keys = self._keys = {}
            index = keys.get(key)
            if index is not None:
                older = entries[index]
                if not isinstance(older, int):
                    replaced = (older,)
                    entries[index] = older.number
                    count -= 1
                    size -= older.size if older.attachments else len(older.data)
            keys[key] = len(entries)
        entries.append(event)
        self.count, self.size, self.last = count, size, event.number
        if not event.members_only:
            self.last_open = event.number
        if count <= self._most_events and size <= self._most_bytes and len(entries) <= 2 * count + _SLACK:
            oldest = entries[self._first]
            if (oldest if isinstance(oldest, int) else oldest.number) > too_old:
                return replaced
        return [*replaced, *self.trim(too_old, self._most_events, self._most_bytes)]

    def trim(self, too_old: int, most_events: int, most_bytes: int) -> list[LoggedEvent]:
        """Drop the events up to the number `too_old`, and the oldest ones as long as there are too many.

        Returns the dropped events.
        """
        dropped: list[LoggedEvent] = []
        while self.count:
            event = self._entries[self._first]
            if not isinstance(event, int):
                if event.number > too_old and self.count <= most_events and self.size <= most_bytes:
                    break
                self.floor = event.number
                self.count -= 1
                self.size -= event.size
                if event.key is not None and self._keys is not None:
                    del self._keys[event.key]
                self._entries[self._first] = event.number
                dropped.append(event)
            self._first += 1
        if len(self._entries) > 2 * self.count + _SLACK:
            self._tidy()
        return dropped

    def after(self, number: int) -> list[LoggedEvent]:
        """Return the events with higher numbers, in order."""
        start = bisect_right(self._entries, number, self._first, key=_number)
        return [entry for entry in self._entries[start:] if not isinstance(entry, int)]

    def _tidy(self) -> None:
        """Remove the entries without an event."""
        kept = self.after(self.floor)
        self._entries = list[LoggedEvent | int](kept)
        self._first = 0
        if self._keys is not None:
            self._keys = {event.key: index for index, event in enumerate(kept) if event.key is not None}
