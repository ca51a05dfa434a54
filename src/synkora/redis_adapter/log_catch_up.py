"""Settles a log after Redis comes back, and delivers what this instance has missed."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Final, ParamSpec

from synkora.engine.logs import Log, fault
from synkora.recovery.ports import Incomplete
from synkora.recovery.position import Position, is_same_log
from synkora.redis.link import Link
from synkora.redis_adapter.log_appender import LogAppender
from synkora.redis_adapter.log_parts import CaughtUp
from synkora.redis_adapter.log_reader import LogReader
from synkora.redis_adapter.log_receiver import LogReceiver

P = ParamSpec("P")
#: What reads for a client, with what it calls with the answer.
Read = Callable[[Callable[[], None]], None]
#: Bytes of the commands that read for clients which have returned while this instance caught up: about 10,000 clients.
_MAX_READS: Final = 8_000_000
_MAX_QUESTIONS: Final = 10_000  # of clients about their rooms that wait meanwhile
#: Redis ends a connection with subscriptions that has 32 MB of answers unread, and an answer may have 2 MB and more.
_READS_AT_ONCE: Final = 10
_TAKEN_AT_ONCE: Final = 100  # missed events that are delivered in one turn
_ASK_AGAIN: Final = 1.0  # seconds after a refusal: a new master, for one, has no replica for a moment
_REFUSALS: Final = 3  # after which events no longer wait: all replicas may be away for hours

log = Log(__name__)


class LogCatchUp:
    """What happens when the link to Redis is lost, and when it is back.

    If Redis refuses to settle the log, it is asked again. Until then this instance is without a log, as without Redis.
    `local_rooms` returns the rooms in which this instance has clients: what others sent to them meanwhile is read.
    """

    def __init__(
        self,
        link: Link,
        receiver: LogReceiver,
        appender: LogAppender,
        reader: LogReader,
        local_rooms: Callable[[], Collection[str]],
    ) -> None:
        self._link = link
        self.gaps = 0  # how often this instance missed events of others
        self._receiver = receiver
        self._appender = appender
        self._reader = reader
        self._local_rooms = local_rooms
        self._reads: deque[tuple[Read, int]] = deque()
        self._reads_size = 0
        self._reading = 0  # reads without an answer
        self._questions: deque[Callable[[], None]] = deque()
        self._refusals = 0
        self._asks_again: asyncio.TimerHandle | None = None
        appender.on_resent = self._read_on
        link.on_up.append(self._went_up)
        link.on_down.append(self._went_down)
        if link.is_up:
            self._went_up()

    def close(self) -> None:
        """Detach from the link."""
        self._link.on_up.remove(self._went_up)
        self._link.on_down.remove(self._went_down)
        self._stop_asking()
        self._read_all()

    @property
    def is_refused(self) -> bool:
        """Whether the log cannot be read, as Redis has refused to settle it for a while."""
        return self._refusals >= _REFUSALS

    def after(self, read: Read, size: int) -> bool:
        """Call `read`, which sends a command of this size, when this instance has caught up with the log.

        That is at once, or when its clients have got what it missed, and what they got without Redis has been sent; or
        when the link is lost, or Redis keeps refusing. Some reads are made at a time: `read` gets what it calls with
        the answer. Return False if too much waits for this, or Redis has refused: `read` is not called.
        """
        if self.is_refused or self._reads_size + size > _MAX_READS:
            return False
        self._reads.append((read, size))
        self._reads_size += size
        self._read_on()
        return True

    def when_even(self, ask: Callable[[], None]) -> bool:
        """Call `ask`, whose answer is small, when this instance has caught up, as `after` does, but before all reads.

        Return False if too many wait for this, or Redis has refused: `ask` is not called.
        """
        if self.is_refused or len(self._questions) >= _MAX_QUESTIONS:
            return False
        self._questions.append(ask)
        self._ask_on()
        return True

    @property
    def _is_behind(self) -> bool:
        appender = self._appender
        return self._link.is_up and (
            not appender.is_settled or self._receiver.held is not None or appender.is_resending
        )

    def _ask_on(self) -> None:
        while self._questions and not self._is_behind:
            self._questions.popleft()()

    def _read_on(self) -> None:
        self._ask_on()
        while self._reads and self._reading < _READS_AT_ONCE and not self._is_behind:
            self._read_next()

    def _read_all(self) -> None:
        while self._questions:
            self._questions.popleft()()
        while self._reads:
            self._read_next()

    def _read_next(self) -> None:
        read, size = self._reads.popleft()
        self._reads_size -= size
        self._reading += 1
        read(self._end_read)

    def _end_read(self) -> None:
        self._reading -= 1
        self._read_on()

    def _went_down(self) -> None:
        self._stop_asking()
        self._receiver.leave()
        self._appender.wait()
        self._read_all()

    def _stop_asking(self) -> None:
        self._refusals = 0
        if self._asks_again is not None:
            self._asks_again.cancel()
            self._asks_again = None

    def _went_up(self) -> None:
        """Settle the log, and get the position or read the events that this instance has missed.

        Then send the waiting events.
        """
        if self._receiver.is_new:
            has_clients = bool(self._local_rooms())
            self._settle(lambda position, _: self._begin(position, has_clients=has_clients))
        else:
            self._receiver.hold()
            self._settle(self._safely(self._settled))

    def _settle(self, settled: Callable[[Position, int], None]) -> None:
        """Settle the log, however often Redis refuses: nothing is sent, and no event of others delivered, before.

        An instance that has not learnt where the log is delivers what comes.
        """
        receiver = self._receiver
        answered = partial(self._answered, settled)
        self._reader.settle(receiver.proposed, receiver.last, self._appender.confirmed, answered)

    def _answered(self, settled: Callable[[Position, int], None], position: Position | None, own: int) -> None:
        if not self._link.is_up:
            return
        if position is None:
            self._refused(settled)
            return
        self._stop_asking()
        self._appender.settle()
        settled(position, own)

    def _refused(self, settled: Callable[[Position, int], None]) -> None:
        self._refusals += 1
        self._asks_again = asyncio.get_running_loop().call_later(_ASK_AGAIN, self._settle, settled)
        self._appender.refuse(keeps=not self.is_refused)
        if self._receiver.held is not None:
            self._receiver.hold()  # it is in the log, and will be read
        if self.is_refused:
            self._read_all()

    def _begin(self, position: Position, *, has_clients: bool) -> None:
        """Begin at a position. Clients that came before may have missed what others had sent by then."""
        if has_clients and position.number:
            self._note_gap(Incomplete.UNAVAILABLE)
        self._begin_at(position)
        self._appender.send_waiting()

    def _settled(self, position: Position, own: int) -> None:
        receiver = self._receiver
        receiver.settle_at(position.number)
        self._appender.send_again(own)
        if is_same_log(position.epoch, receiver.epoch) and position.epoch != receiver.epoch:
            receiver.continue_in(position.epoch)
        self._read_missed()

    def _read_missed(self) -> None:
        """Read what was missed. Events that come after the first part was read are held by the receiver, in order."""
        self._reader.read_parts(self._local_rooms(), self._receiver.last, self._safely(self._caught_up))

    def _caught_up(self, missed: CaughtUp | Incomplete) -> None:
        if not self._link.is_up:
            return
        if missed is Incomplete.EPOCH:
            self._locate(self._begin_again)
            return
        if isinstance(missed, Incomplete):
            self._note_gap(missed)
            self._locate(self._begin_at)
            return
        for reason in missed.failed[:1]:
            self._note_gap(reason)
        self._take_some(missed, self._receiver.held)

    def _take_some(self, missed: CaughtUp, held: list[bytes] | None) -> None:
        """Deliver missed events, some in a turn; unless the link is lost meanwhile: then the others are read again."""
        receiver, entries = self._receiver, missed.entries
        if held is None or receiver.held is not held:
            return
        for _ in range(min(len(entries), _TAKEN_AT_ONCE)):
            entry = entries.popleft()
            self._succeeds(receiver.take, entry, Position(receiver.epoch, entry.event.number))
        if entries:
            asyncio.get_running_loop().call_soon(self._safely(self._take_some), missed, held)
            return
        if missed.until.epoch == receiver.epoch and missed.until.number > receiver.last.number:
            receiver.move_to(missed.until)  # what has failed would fail again
        self._resume()

    def _locate(self, found: Callable[[Position | None], None]) -> None:
        self._reader.locate(self._receiver.proposed, self._safely(found))

    def _safely(self, step: Callable[P, None]) -> Callable[P, None]:
        """Return a step whose failure ends the catch-up: events would be held, and own ones would wait, for ever."""

        def take(*args: P.args, **keywords: P.kwargs) -> None:
            if not self._succeeds(step, *args, **keywords) and self._receiver.held is not None:
                self._note_gap(Incomplete.UNAVAILABLE)
                self._resume()

        return take

    def _succeeds(self, step: Callable[P, None], *args: P.args, **keywords: P.kwargs) -> bool:
        try:
            step(*args, **keywords)
        except Exception as error:  # noqa: BLE001  # one event's failure must not affect the others
            log.error("catch_up_failed", namespace=self._reader.namespace, **fault(error))
            return False
        return True

    def _begin_again(self, position: Position | None) -> None:
        """Read on in another epoch of the log, or read all of a log that has begun while this instance was away."""
        if position is None:
            self._begin_at(None)
            return
        seen = self._receiver.last
        number = seen.number
        if not is_same_log(position.epoch, seen.epoch) or number > position.number:
            self._note_gap(Incomplete.EPOCH)
            number = 0
        self._receiver.move_to(Position(position.epoch, number))
        self._read_missed()

    def _note_gap(self, reason: Incomplete) -> None:
        self.gaps += 1
        log.warning("events_missed", namespace=self._reader.namespace, reason=reason.value)

    def _begin_at(self, position: Position | None) -> None:
        if position is not None:
            self._receiver.move_to(position)
        if self._receiver.held is not None:
            self._resume()

    def _resume(self) -> None:
        """Take what came while missed events were read, and send what has waited."""
        receiver = self._receiver
        for message in receiver.release():
            self._succeeds(receiver.receive, message)
        if receiver.is_held_incomplete:
            receiver.hold()
            self._read_missed()
        else:
            self._appender.send_waiting()
