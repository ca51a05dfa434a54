"""What waits for a client that does not read."""

from collections import deque
from math import inf
from typing import Final

from synkora.engine.outgoing import Outgoing

VOLATILE_LIMIT: Final = 65_536  # bytes: some hundred cursors, of which the newest are of use


class Held:
    """Messages in the order of their coming: the volatile ones apart, so that the oldest of them can go.

    Volatile ones are held up to `VOLATILE_LIMIT` bytes, and fewer where all together are more than `limit` bytes.
    """

    __slots__ = ("_count", "_durable", "_limit", "_volatile", "_volatile_bytes", "bytes")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._durable: deque[tuple[int, Outgoing]] = deque()
        self._volatile: deque[tuple[int, Outgoing]] = deque()
        self._count = 0
        self._volatile_bytes = 0
        self.bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        return not self._durable and not self._volatile

    def add(self, messages: list[Outgoing]) -> int:
        """Hold `messages`, and drop the oldest volatile ones past a limit; return how many were dropped."""
        for message in messages:
            self._count += 1
            self.bytes += message.size
            if message.volatile:
                self._volatile.append((self._count, message))
                self._volatile_bytes += message.size
            else:
                self._durable.append((self._count, message))
        dropped = 0
        while self._has_too_many_volatile():
            self._take(self._volatile)
            dropped += 1
        return dropped

    def _has_too_many_volatile(self) -> bool:
        if self._volatile_bytes > VOLATILE_LIMIT and len(self._volatile) > 1:
            return True
        return self.bytes > self._limit and bool(self._volatile)

    def release(self, most: float = inf) -> list[Outgoing]:
        """What is held, in the order of its coming: all, or the first messages that together reach `most` bytes."""
        released: list[Outgoing] = []
        durable, volatile = self._durable, self._volatile
        rest = self.bytes - most
        while self.bytes > max(rest, 0):
            is_durable_next = not volatile or (durable and durable[0][0] < volatile[0][0])
            released.append(self._take(durable if is_durable_next else volatile))
        return released

    def _take(self, lane: deque[tuple[int, Outgoing]]) -> Outgoing:
        _, message = lane.popleft()
        self.bytes -= message.size
        if message.volatile:
            self._volatile_bytes -= message.size
        return message
