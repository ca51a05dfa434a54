"""The outgoing messages of each client: one write per client and turn, and the end of a slow consumer."""

import asyncio
from collections.abc import Callable, Collection
from time import perf_counter, sleep
from typing import Final, Protocol

from synkora.engine.backlog import (
    FREE_BYTES_OF_USER,
    FULL_OF_USER,
    MOST_BYTES_OF_STRANGERS,
    MOST_OF_STRANGERS,
    MOST_OF_USER,
    STRANGERS_FREE_BYTES,
    STRANGERS_FREE_MESSAGES,
    Backlog,
    StrangersBacklog,
    UserBacklog,
    most_messages,
)
from synkora.engine.close_reasons import OutboxFull
from synkora.engine.histogram import Histogram
from synkora.engine.logs import Log, fault
from synkora.engine.message import Message

# Bytes of a backlog written in one turn: bounds the delay for other clients, and the size of the copy.
FLUSH_CHUNK: Final = 262_144
#: What may wait for a client that has not signed in.
STRANGERS_MESSAGES: Final = 200
STRANGERS_BYTES: Final = 131_072
#: Seconds: from a turn with one message for a few clients to a turn that users notice.
TURN_BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

_NO_LOOP: Final = (
    "no running event loop: what is sent from another thread goes through loop.call_soon_threadsafe(server.emit, event)"
)

log = Log(__name__)


def _ignore_failure(_: Exception) -> None:
    """Ignore a failure after the end of the session."""


class Carrier(Protocol):
    """Sends an outbox's messages to the client."""

    @property
    def writable(self) -> bool:
        """Whether the transport accepts messages now."""
        ...

    def send(self, messages: list[Message]) -> None:
        """Send messages in order, without waiting."""
        ...


class Outbox:
    """The outgoing messages of one client, in order.

    While the carrier is not writable, messages go to a backlog of at most `limit` bytes. If messages that cannot be
    dropped exceed the limit, `failed` is called with `OutboxFull`. The backlog is written `FLUSH_CHUNK` bytes at a
    time, then the full state of each subject whose updates were dropped, one subject per write.

    What waits counts for `of_user`, if there is one, which the connections of a user share, or the strangers of an
    address. The backlog of a stranger has other limits: small messages take many times their bytes of memory.
    """

    __slots__ = (
        "_backlog",
        "_counted",
        "_counted_bytes",
        "_failed",
        "_flusher",
        "_limit",
        "carrier",
        "of_user",
        "queue",
        "scheduled",
    )

    def __init__(self, flusher: "Flusher", carrier: Carrier, limit: int, failed: Callable[[Exception], None]) -> None:
        self.carrier = carrier
        self.queue: list[Message] = []
        self.scheduled = False
        self.of_user: UserBacklog | None = None
        self._counted = self._counted_bytes = 0  # messages and their bytes, for the user
        self._flusher = flusher
        self._limit = limit
        self._failed = failed
        self._backlog: Backlog | None = None

    def put(self, message: Message) -> None:
        """Add a message, to be sent at the end of this turn of the event loop."""
        self._flusher.broadcast(message, (self,), None)

    def put_all(self, messages: list[Message]) -> None:
        """Add messages of this client alone. If they are many bytes, they wait in the backlog, as far as it has room.

        There they stay shared with other clients, and are written a part per turn.
        """
        flusher = self._flusher
        size = sum(message.size for message in messages)
        flusher.deliveries += len(messages)
        flusher.bytes_out += size
        self.queue += messages
        if FLUSH_CHUNK < size <= self._limit:
            queue, self.queue = self.queue, []
            flusher.dropped += (self._backlog or self._begin_backlog()).add(queue)
            self._count()
        flusher.schedule(self)

    def _begin_backlog(self) -> Backlog:
        backlog = self._backlog = Backlog(self._limit)
        self._flusher.backlogged.add(self)
        return backlog

    @property
    def is_stranger(self) -> bool:
        """Whether what waits counts with that of strangers."""
        return isinstance(self.of_user, StrangersBacklog)

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the backlog."""
        return self._backlog.bytes if self._backlog else 0

    @property
    def is_empty(self) -> bool:
        """Whether no message waits."""
        return not self.queue and self._backlog is None

    def hold(self) -> "HeldOutbox":
        """Return what stands for this outbox until the client is ready."""
        return HeldOutbox(self._flusher, self.carrier, self._limit)

    def retire(self) -> None:
        """Drop all messages and the failure callback: outbox and callback would keep each other in memory."""
        self.clear()
        self._failed = _ignore_failure

    def clear(self) -> None:
        """Drop all messages."""
        self.queue.clear()
        self._drop_backlog()

    def _drop_backlog(self) -> None:
        if self._backlog is not None:
            self._backlog = None
            self._flusher.backlogged.discard(self)
            self._count()

    def count_for(self, of_user: UserBacklog | None) -> None:
        """Let what waits count for this user, if any, and no longer for the one before."""
        if self.of_user is not None:
            self.of_user.add(-self._counted, -self._counted_bytes)
        self._counted = self._counted_bytes = 0
        self.of_user = of_user
        self._count()

    def _count(self) -> None:
        if self.of_user is not None:
            waiting = 0 if self._backlog is None else len(self._backlog)
            size = self.waiting_bytes
            if self.is_stranger:
                waiting = max(waiting - STRANGERS_FREE_MESSAGES, 0)
                size = max(size - STRANGERS_FREE_BYTES, 0)
            self.of_user.add(waiting - self._counted, size - self._counted_bytes)
            self._counted, self._counted_bytes = waiting, size

    def _is_too_much(self, backlog: Backlog) -> bool:
        if backlog.is_over_limit:
            return True
        match self.of_user:
            case None:
                return False
            case StrangersBacklog() as strangers:
                return self._is_too_much_for_strangers(strangers, backlog)
            case user:
                return self._is_too_much_for(user, backlog)

    def _is_too_much_for_strangers(self, strangers: StrangersBacklog, backlog: Backlog) -> bool:
        if backlog.exceeds(STRANGERS_MESSAGES, STRANGERS_BYTES):
            return True
        is_full = strangers.messages > MOST_OF_STRANGERS or strangers.bytes > MOST_BYTES_OF_STRANGERS
        return is_full and backlog.exceeds(STRANGERS_FREE_MESSAGES, STRANGERS_FREE_BYTES)

    def _is_too_much_for(self, user: UserBacklog, backlog: Backlog) -> bool:
        if user.messages > MOST_OF_USER:
            return True
        # The end of a connection with little backlog would not make room.
        return user.bytes > FULL_OF_USER * self._limit and backlog.bytes > FREE_BYTES_OF_USER

    def flush(self) -> None:
        """Send the queued messages, or move them to the backlog."""
        self.scheduled = False
        queue = self.queue
        if self._backlog is not None:
            self._flush_backlog(self._backlog)
        elif queue:
            if self.carrier.writable:
                self.queue = []
                self.carrier.send(queue)
            elif self._failed is _ignore_failure:
                queue.clear()  # the session has ended
            else:
                self._flush_backlog(self._begin_backlog())

    def _flush_backlog(self, backlog: Backlog) -> None:
        queue, self.queue = self.queue, []
        if self.carrier.writable:
            messages = backlog.release(FLUSH_CHUNK)
            if backlog.is_empty:
                messages += queue
                queue = []
                if backlog.lost:
                    messages += backlog.lost.pop().full_state(self)
                if not backlog.lost:
                    self._drop_backlog()
            if messages:
                self.carrier.send(messages)
            if self._backlog is None:
                return
            if self.carrier.writable:
                self._flusher.schedule(self)
        self._flusher.dropped += backlog.add(queue)
        backlog.prune_lost(self)
        self._count()
        if self._is_too_much(backlog):
            self.clear()
            self._flusher.cut_off += 1
            words = f"more than {self._limit} bytes" if backlog.bytes > self._limit else "too much"
            self._failed(OutboxFull(f"{words} waited for the client"))

    def send_all(self) -> None:
        """Send all messages, even if the transport is not writable: these are the last ones."""
        queue = self.queue if self._backlog is None else self._backlog.release() + self.queue
        self.queue = []
        self._drop_backlog()
        if queue:
            self.carrier.send(queue)

    def fail(self, error: Exception) -> None:
        """End this connection after a failed send."""
        log.error("flush_failed", **fault(error))
        self.clear()
        try:
            self._failed(error)
        except Exception as further:  # the flush of other clients must continue
            log.error("flush_failed", **fault(further))


class HeldOutbox(Outbox):
    """Stands for the outbox of a client that is not ready yet, and holds its messages.

    Above the limit of the outbox the messages are dropped, and `is_over_limit` is set.
    """

    __slots__ = ("is_over_limit",)

    def __init__(self, flusher: "Flusher", carrier: Carrier, limit: int) -> None:
        super().__init__(flusher, carrier, limit, _ignore_failure)
        self.is_over_limit = False

    def flush(self) -> None:
        """Send nothing."""
        self.scheduled = False
        if len(self.queue) > most_messages(self._limit) or sum(message.size for message in self.queue) > self._limit:
            self.is_over_limit = True
            self.queue.clear()


class Flusher:
    """Flushes the outboxes that got messages in this turn of the event loop, and counts their messages.

    `deliveries` counts messages per client, `bytes_out` their bytes as WebSocket frames, `bytes_in` the bytes of
    received messages. `turns` measures the seconds from a turn's first message, received or sent, to the end of the
    writes. `dropped` counts the volatile messages that slow consumers lost, per client; `cut_off` counts disconnected
    slow consumers. `backlogged` has the outboxes with a backlog.

    After the writes of a turn, the event loop sleeps until `write_interval` seconds have passed since the writes
    before. What arrives meanwhile is received and sent together, which costs less CPU time.
    """

    __slots__ = (
        "_began",
        "_dirty",
        "_sleep",
        "_write_interval",
        "_written",
        "backlogged",
        "bytes_in",
        "bytes_out",
        "cut_off",
        "deliveries",
        "dropped",
        "is_armed",
        "turns",
    )

    def __init__(self, write_interval: float = 0, sleep: Callable[[float], object] = sleep) -> None:
        self._write_interval = write_interval
        self._sleep = sleep
        self._written = 0.0  # when the last writes ended
        self._dirty: list[Outbox] = []
        self._began = 0.0
        self.is_armed = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.deliveries = 0
        self.turns = Histogram(TURN_BOUNDS)
        self.dropped = 0
        self.cut_off = 0
        self.backlogged: set[Outbox] = set()

    def broadcast(self, message: Message, outboxes: Collection[Outbox], skip: Outbox | None) -> None:
        """Add a message to all `outboxes` except `skip`."""
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
        """Flush an outbox at the end of the next turn, even without new messages."""
        if not self.is_armed:
            self.arm()
        if not outbox.scheduled:
            outbox.scheduled = True
            self._dirty.append(outbox)

    def arm(self) -> None:
        """Schedule a flush at the end of this turn."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(_NO_LOOP) from None
        loop.call_soon(self._flush)  # it runs after all data that arrived in this turn
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
            now = perf_counter()
            self.turns.observe(now - began)
            pause = self._written + self._write_interval - now
            if pause > 0:
                self._sleep(pause)
                now = perf_counter()
            self._written = now
