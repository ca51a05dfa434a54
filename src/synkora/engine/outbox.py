"""What a client is still to get: one write for each client in a turn of the event loop, and limits on what waits."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import structlog

from synkora.engine.disconnect import OutboxFull
from synkora.engine.held import Held
from synkora.engine.outgoing import Outgoing

AT_ONCE: Final = 262_144  # bytes of a backlog that go out in a turn: nobody else waits for it, nor is it copied whole

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

    While its carrier is not writable they are held, all together up to `limit` bytes; where those that are not volatile
    are more, `failed` is called with `OutboxFull`. What was held goes out `AT_ONCE` bytes at a time.
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
        if self._held is not None:
            self._flush_held(self._held)
        elif queue:
            if self.carrier.writable:
                self.queue = []
                self.carrier.send(queue)
            else:
                self._held = Held(self._limit)
                self._flush_held(self._held)

    def _flush_held(self, held: Held) -> None:
        queue, self.queue = self.queue, []
        if self.carrier.writable:
            oldest = held.release(AT_ONCE)
            if held.is_empty:
                self._held = None
                self.carrier.send(oldest + queue)
                return
            self.carrier.send(oldest)
            if self.carrier.writable:
                self._flusher.schedule(self)
        self._flusher.dropped += held.add(queue)
        if held.bytes > self._limit:
            self.clear()
            self._flusher.cut_off += 1
            self._failed(OutboxFull(f"more than {self._limit} bytes waited for the client"))

    def hand_over(self) -> None:
        """Give the carrier all that waits, whether it is writable or not: nothing will come after."""
        queue = self.queue if self._held is None else self._held.release() + self.queue
        self.queue = []
        self._held = None
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


class Flusher:
    """The outboxes that got something in this turn of the event loop.

    `dropped` counts the volatile messages that clients lost because they did not read, one for each client; `cut_off`
    the clients that were given up for it.
    """

    __slots__ = ("_armed", "_dirty", "cut_off", "dropped")

    def __init__(self) -> None:
        self._dirty: list[Outbox] = []
        self._armed = False
        self.dropped = 0
        self.cut_off = 0

    def broadcast(self, message: Outgoing, outboxes: Iterable[Outbox], skip: Outbox | None) -> None:
        """Put one message into all `outboxes` but `skip`."""
        if not self._armed:
            self._arm()
        dirty = self._dirty
        for outbox in outboxes:
            if outbox is not skip:
                outbox.queue.append(message)
                if not outbox.scheduled:
                    outbox.scheduled = True
                    dirty.append(outbox)

    def schedule(self, outbox: Outbox) -> None:
        """Flush an outbox at the end of the next turn, though nothing may have been put into it."""
        if not self._armed:
            self._arm()
        if not outbox.scheduled:
            outbox.scheduled = True
            self._dirty.append(outbox)

    def _arm(self) -> None:
        # What is called soon runs when all that has arrived in this turn has been handled. In a thread this raises.
        asyncio.get_running_loop().call_soon(self._flush)
        self._armed = True

    def _flush(self) -> None:
        dirty, self._dirty, self._armed = self._dirty, [], False
        for outbox in dirty:
            try:
                outbox.flush()
            except Exception as error:
                outbox.fail(error)
