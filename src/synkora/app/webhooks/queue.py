"""The queue of events for the app's backend: the port, and a queue in memory."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from time import time
from typing import Final, NamedTuple, Protocol

from synkora.collaboration.transitions import Transition, TransitionData
from synkora.protocol.json import encode

MOST_EVENTS: Final = 10_000
MOST_BYTES: Final = 4_000_000
_LAST_NUMBER: Final = 999_999  # within a millisecond: the clock may stand still for a while, after it was set back


class WebhookEvent(NamedTuple):
    """An event: its id, in ascending order, the time in ms since 1970, and a JSON object with `type` and `data`."""

    id: str
    at: int
    content: bytes


class QueueUnavailable(Exception):
    """The queue cannot be asked now."""


class WebhookQueue(Protocol):
    """A bounded queue, of which one instance sends at a time. Methods raise `QueueUnavailable`."""

    @property
    def dropped(self) -> int:
        """The number of events that were dropped since the queue was full."""
        ...

    @property
    def waiting(self) -> int:
        """The number of events; 0 if another instance sends."""
        ...

    @property
    def oldest(self) -> int | None:
        """The time of the first event in ms since 1970; None if another instance sends."""
        ...

    async def first(self, most: int) -> Sequence[WebhookEvent] | None:
        """Return the first events; None if another instance sends."""
        ...

    async def remove(self, events: Sequence[WebhookEvent]) -> None:
        """Remove the first events; without effect on those that are not there."""
        ...

    async def release(self) -> None:
        """Let another instance send at once."""
        ...


def event_id(milliseconds: int, number: int) -> str:
    """Return an id that is greater than all earlier ones, also as a text."""
    return f"{milliseconds:013d}-{number:06d}"


class MemoryQueue:
    """The queue of an instance without others. When it is full, the oldest events are dropped."""

    def __init__(self, *, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self.dropped = 0
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._events: deque[WebhookEvent] = deque()
        self._bytes = 0
        self._last = (0, 0)

    @property
    def waiting(self) -> int:
        return len(self._events)

    @property
    def oldest(self) -> int | None:
        return self._events[0].at if self._events else None

    def add(self, transition: Transition, data: TransitionData) -> None:
        """Append an event."""
        content = encode({"type": transition.value, "data": data})
        now, (last, number) = int(time() * 1000), self._last
        if now <= last and number == _LAST_NUMBER:
            now = last + 1
        self._last = (now, 0) if now > last else (last, number + 1)
        self._events.append(WebhookEvent(event_id(*self._last), self._last[0], content))
        self._bytes += len(content)
        while len(self._events) > self._most_events or self._bytes > self._most_bytes:
            self._drop_first()
            self.dropped += 1

    async def first(self, most: int) -> Sequence[WebhookEvent]:
        return tuple(islice(self._events, most))

    async def remove(self, events: Sequence[WebhookEvent]) -> None:
        last = events[-1].id
        while self._events and self._events[0].id <= last:
            self._drop_first()

    async def release(self) -> None:
        """Do nothing: there is no other instance."""

    def _drop_first(self) -> None:
        self._bytes -= len(self._events.popleft().content)
