"""What a client is still to get: one write for each client in a turn of the event loop, and limits on what waits."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

from synkora.engine.disconnect import OutboxFull
from synkora.engine.outgoing import Outgoing

VOLATILE_LIMIT: Final = 65_536  # bytes: some hundred cursors, of which the newest are of use

log = structlog.get_logger(__name__)


def _tell_nobody(_: Exception) -> None:
    """Take note of a failure that no longer matters."""


class Carrier(Protocol):
    """What takes an outbox's messages to the client."""

    @property
    def writable(self) -> bool:
        """Whether it takes messages now."""
        ...

    def send(self, messages: list[Outgoing]) -> None:
        """Take messages, in order, without waiting."""
        ...


class Outbox:
    """The messages for one client, in order.

    While its carrier is not writable they are held: volatile ones up to `VOLATILE_LIMIT` bytes, the newest, and all
    together up to `limit` bytes; past that `failed` is called with `OutboxFull`.
    """

    __slots__ = ("_failed", "_flusher", "_held", "_limit", "carrier", "queue", "scheduled")

    def __init__(self, flusher: "Flusher", carrier: Carrier, limit: int, failed: Callable[[Exception], None]) -> None:
        self.carrier = carrier
        self.queue: list[Outgoing] = []
        self.scheduled = False
        self._flusher = flusher
        self._limit = limit
        self._failed = failed
        self._held: Held | None = None

    def put(self, message: Outgoing) -> None:
        """Add a message, to go out at the end of this turn of the event loop."""
        self._flusher.broadcast(message, (self,), None)

    @property
    def waiting_bytes(self) -> int:
        """How much is held for a client that does not read."""
        return self._held.bytes if self._held else 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self.queue and self._held is None

    def retire(self) -> None:
        """Drop all that waits, and let go of whom it told of failures: the two would keep each other in memory."""
        self.clear()
        self._failed = _tell_nobody

    def clear(self) -> None:
        """Drop all that waits."""
        self.queue.clear()
        self._held = None

    def flush(self) -> None:
        """Hand over what waits, or hold it within the limits."""
        self.scheduled = False
        queue = self.queue
        if self.carrier.writable:
            if self._held is not None:
                queue = self._held.release(queue)
                self._held = None
            if queue:
                self.queue = []
                self.carrier.send(queue)
        elif queue:
            self.queue = []
            if self._held is None:
                self._held = Held()
            self._held.add(queue)
            if self._held.bytes > self._limit:
                self.clear()
                self._failed(OutboxFull(f"more than {self._limit} bytes waited for the client"))

    def hand_over(self) -> None:
        """Give the carrier all that waits, whether it is writable or not: nothing will come after."""
        queue = list(self.queue) if self._held is None else self._held.release(self.queue)
        self.clear()
        if queue:
            self.carrier.send(queue)

    def fail(self, error: Exception) -> None:
        """End this connection, since it cannot be sent to."""
        log.error("flush_failed", exc_info=error)
        self.clear()
        try:
            self._failed(error)
        except Exception as further:  # the others' turn goes on
            log.error("flush_failed", exc_info=further)


class Held:
    """Messages for a client that does not read now: the volatile ones apart, so that the oldest can go."""

    __slots__ = ("_count", "_durable", "_volatile", "_volatile_bytes", "bytes")

    def __init__(self) -> None:
        self._durable: list[tuple[int, Outgoing]] = []
        self._volatile: deque[tuple[int, Outgoing]] = deque()
        self._count = 0
        self._volatile_bytes = 0
        self.bytes = 0

    def add(self, messages: list[Outgoing]) -> None:
        """Hold `messages`, and drop the oldest volatile ones past their limit."""
        for message in messages:
            self._count += 1
            self.bytes += message.size
            if message.volatile:
                self._volatile.append((self._count, message))
                self._volatile_bytes += message.size
            else:
                self._durable.append((self._count, message))
        while self._volatile_bytes > VOLATILE_LIMIT and len(self._volatile) > 1:
            _, dropped = self._volatile.popleft()
            self._volatile_bytes -= dropped.size
            self.bytes -= dropped.size

    def release(self, newer: list[Outgoing]) -> list[Outgoing]:
        """All that is held and `newer`, in the order of their coming."""
        held = sorted([*self._durable, *self._volatile], key=lambda item: item[0])
        return [message for _, message in held] + newer


class Flusher:
    """The outboxes that got something in this turn of the event loop."""

    __slots__ = ("_armed", "_dirty")

    def __init__(self) -> None:
        self._dirty: list[Outbox] = []
        self._armed = False

    def broadcast(self, message: Outgoing, outboxes: Iterable[Outbox], skip: Outbox | None) -> None:
        """Put one message into all `outboxes` but `skip`."""
        if not self._armed:
            # What is called soon runs when all that has arrived in this turn has been handled. In a thread this raises.
            asyncio.get_running_loop().call_soon(self._flush)
            self._armed = True
        dirty = self._dirty
        for outbox in outboxes:
            if outbox is not skip:
                outbox.queue.append(message)
                if not outbox.scheduled:
                    outbox.scheduled = True
                    dirty.append(outbox)

    def _flush(self) -> None:
        dirty, self._dirty, self._armed = self._dirty, [], False
        for outbox in dirty:
            try:
                outbox.flush()
            except Exception as error:
                outbox.fail(error)
