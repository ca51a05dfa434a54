"""Settles a log after Redis comes back, and delivers what this instance has missed."""

from collections.abc import Callable, Collection
from typing import Final, ParamSpec

from synkora.engine.logs import Log, fault
from synkora.recovery.ports import Incomplete
from synkora.recovery.position import Position, is_same_log
from synkora.redis.link import Link
from synkora.redis_adapter.log_appender import LogAppender
from synkora.redis_adapter.log_codec import LogEntry
from synkora.redis_adapter.log_reader import LogReader
from synkora.redis_adapter.log_receiver import LogReceiver

P = ParamSpec("P")
#: Bytes of the commands that read for clients which have returned while this instance caught up. All are sent together
#: afterwards, and a link holds only so much; these are about 10,000 clients.
_MAX_READS: Final = 8_000_000

log = Log(__name__)


class LogCatchUp:
    """What happens when the link to Redis is lost, and when it is back.

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
        self._reads: list[Callable[[], None]] = []
        self._reads_size = 0
        appender.on_resent = self._read_on
        link.on_up.append(self._went_up)
        link.on_down.append(self._went_down)
        if link.is_up:
            self._went_up()

    def close(self) -> None:
        """Detach from the link."""
        self._link.on_up.remove(self._went_up)
        self._link.on_down.remove(self._went_down)
        self._read_all()

    def after(self, read: Callable[[], None], size: int) -> bool:
        """Call `read`, which sends a command of this size, when this instance has caught up with the log.

        That is at once, or when its clients have got what it missed, and what they got without Redis has been sent; or
        when the link is lost. Return False if too much waits for this: `read` is not called.
        """
        if not self._is_behind:
            read()
            return True
        if self._reads_size + size > _MAX_READS:
            return False
        self._reads.append(read)
        self._reads_size += size
        return True

    @property
    def _is_behind(self) -> bool:
        return self._link.is_up and (self._receiver.held is not None or self._appender.is_resending)

    def _read_on(self) -> None:
        if self._reads and not self._is_behind:
            self._read_all()

    def _read_all(self) -> None:
        reads, self._reads, self._reads_size = self._reads, [], 0
        for read in reads:
            read()

    def _went_down(self) -> None:
        self._receiver.leave()
        self._appender.wait()
        self._read_all()

    def _went_up(self) -> None:
        """Settle the log, and get the position or read the events that this instance has missed.

        Then send the waiting events.
        """
        if self._receiver.is_new:
            has_clients = bool(self._local_rooms())
            self._settle(lambda position, _: self._begin(position, has_clients=has_clients))
            self._appender.send_waiting()
        else:
            self._receiver.held = []
            self._settle(self._safely(self._settled))

    def _settle(self, settled: Callable[[Position | None, int], None]) -> None:
        receiver = self._receiver
        self._reader.settle(receiver.proposed, receiver.last, self._appender.confirmed, settled)

    def _begin(self, position: Position | None, *, has_clients: bool) -> None:
        """Begin at a position. Clients that came before may have missed what others had sent by then."""
        if has_clients and self._link.is_up and (position is None or position.number):
            self._note_gap(Incomplete.UNAVAILABLE)
        self._begin_at(position)

    def _settled(self, position: Position | None, own: int) -> None:
        if not self._link.is_up:
            return
        if position is not None:
            receiver = self._receiver
            receiver.settle_at(position.number)
            self._appender.send_again(own)
            if is_same_log(position.epoch, receiver.epoch) and position.epoch != receiver.epoch:
                receiver.continue_in(position.epoch)
        self._read_missed()

    def _read_missed(self) -> None:
        """Read what was missed. Events that come after the first part was read are held by the receiver, in order."""
        self._reader.read_parts(self._local_rooms(), self._receiver.last, self._safely(self._caught_up))

    def _caught_up(self, missed: list[LogEntry] | Incomplete) -> None:
        if not self._link.is_up:
            return
        if missed is Incomplete.EPOCH:
            self._locate(self._begin_again)
            return
        if isinstance(missed, Incomplete):
            self._note_gap(missed)
            self._locate(self._begin_at)
            return
        receiver = self._receiver
        for entry in missed:
            self._succeeds(receiver.take, entry, Position(receiver.epoch, entry.event.number))
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
        held, self._receiver.held = self._receiver.held or [], None
        for message in held:
            self._succeeds(self._receiver.receive, message)
        self._appender.send_waiting()
