"""What a client is still to get: one write for each client in a turn of the event loop, and limits on what waits."""

import asyncio
from collections.abc import Callable, Collection
from time import perf_counter
from typing import Final, Protocol

from synkora.engine.backlog import Backlog
from synkora.engine.disconnect import OutboxFull
from synkora.engine.histogram import Histogram
from synkora.engine.logs import Log, fault
from synkora.engine.message import Message

FLUSH_CHUNK: Final = (
    262_144  # bytes of a backlog that go out in a turn: nobody else waits for it, nor is it copied whole
)
#: Seconds: from a turn with one message for a few clients to one that everybody notices.
TURN_BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

log = Log(__name__)


def _tell_nobody(_: Exception) -> None:
    """Take note of a failure that no longer matters."""


class Carrier(Protocol):
    """What takes an outbox's messages to the client."""

    @property
    def writable(self) -> bool:
        """Whether it takes messages now."""
        ...

    def send(self, messages: list[Message]) -> None:
        """Take messages, in order, without waiting."""
        ...


class Outbox:
    """The messages for one client, in order.

    While its carrier is not writable they are held, all together up to `limit` bytes; where those that are neither
    volatile nor updates are more, `failed` is called with `OutboxFull`. What was held goes out `FLUSH_CHUNK` bytes at a
    time, then the present state of each subject whose updates were dropped, one in each write.
    """

    __slots__ = ("_failed", "_flusher", "_held", "_limit", "carrier", "queue", "scheduled")

    def __init__(self, flusher: "Flusher", carrier: Carrier, limit: int, failed: Callable[[Exception], None]) -> None:
        self.carrier = carrier
        self.queue: list[Message] = []
        self.scheduled = False
        self._flusher = flusher
        self._limit = limit
        self._failed = failed
        self._held: Backlog | None = None

    def put(self, message: Message) -> None:
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
        self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            self._held = None
            self._flusher.holding.discard(self)

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
            elif self._failed is _tell_nobody:
                queue.clear()  # the client has gone
            else:
                self._held = Backlog(self._limit)
                self._flusher.holding.add(self)
                self._flush_held(self._held)

    def _flush_held(self, held: Backlog) -> None:
        queue, self.queue = self.queue, []
        if self.carrier.writable:
            messages = held.release(FLUSH_CHUNK)
            if held.is_empty:
                messages += queue
                queue = []
                if held.lost:
                    messages += held.lost.pop().renew(self)
                if not held.lost:
                    self._let_go()
            if messages:
                self.carrier.send(messages)
            if self._held is None:
                return
            if self.carrier.writable:
                self._flusher.schedule(self)
        self._flusher.dropped += held.add(queue)
        held.forget_unconcerned(self)
        if held.bytes > self._limit:
            self.clear()
            self._flusher.cut_off += 1
            self._failed(OutboxFull(f"more than {self._limit} bytes waited for the client"))

    def hand_over(self) -> None:
        """Give the carrier all that waits, whether it is writable or not: nothing will come after."""
        queue = self.queue if self._held is None else self._held.release() + self.queue
        self.queue = []
        self._let_go()
        if queue:
            self.carrier.send(queue)

    def fail(self, error: Exception) -> None:
        """End this connection, since it cannot be sent to."""
        log.error("flush_failed", **fault(error))
        self.clear()
        try:
            self._failed(error)
        except Exception as further:  # the others' turn goes on
            log.error("flush_failed", **fault(further))


class Flusher:
    """The outboxes that got something in this turn of the event loop, and what has gone through all outboxes.

    `deliveries` counts messages, one for each client, and `bytes_out` their bytes as on a WebSocket; `bytes_in` the
    bytes of the messages that came. `turns` has the seconds from a turn's first message, received or put into an
    outbox, to the end of its writes. `dropped` counts the volatile messages that clients lost because they did not
    read, one for each client; `cut_off` the clients that were given up for it. `holding` are the outboxes in which
    something waits for a client that does not read.
    """

    __slots__ = (
        "_began",
        "_dirty",
        "bytes_in",
        "bytes_out",
        "cut_off",
        "deliveries",
        "dropped",
        "holding",
        "is_armed",
        "turns",
    )

    def __init__(self) -> None:
        self._dirty: list[Outbox] = []
        self._began = 0.0
        self.is_armed = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.deliveries = 0
        self.turns = Histogram(TURN_BOUNDS)
        self.dropped = 0
        self.cut_off = 0
        self.holding: set[Outbox] = set()

    def broadcast(self, message: Message, outboxes: Collection[Outbox], skip: Outbox | None) -> None:
        """Put one message into all `outboxes` but `skip`."""
        if not self.is_armed:
            self.arm()
        dirty = self._dirty
        reached = len(outboxes)
        for outbox in outboxes:
            if outbox is not skip:
                outbox.queue.append(message)
                if not outbox.scheduled:
                    outbox.scheduled = True
                    dirty.append(outbox)
            else:
                reached -= 1
        self.deliveries += reached
        self.bytes_out += reached * len(message.frames)

    def schedule(self, outbox: Outbox) -> None:
        """Flush an outbox at the end of the next turn, though nothing may have been put into it."""
        if not self.is_armed:
            self.arm()
        if not outbox.scheduled:
            outbox.scheduled = True
            self._dirty.append(outbox)

    def arm(self) -> None:
        """Have this turn end with a flush."""
        # What is called soon runs when all that has arrived in this turn has been handled. In a thread this raises.
        asyncio.get_running_loop().call_soon(self._flush)
        self.is_armed = True
        self._began = perf_counter()

    def _flush(self) -> None:
        dirty, self._dirty, self.is_armed, began = self._dirty, [], False, self._began
        for outbox in dirty:
            try:
                outbox.flush()
            except Exception as error:
                outbox.fail(error)
        if dirty:
            self.turns.observe(perf_counter() - began)
