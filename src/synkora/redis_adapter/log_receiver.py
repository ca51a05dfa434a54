"""Receives a log's events from Redis, and delivers each once, in the order of the log."""

from collections import OrderedDict
from typing import Final

import msgspec

from synkora.engine.logs import Log
from synkora.recovery.ports import NOT_KEPT, Deliver, LoggedEvent, nothing
from synkora.recovery.position import Ahead, Position, is_same_log, new_epoch
from synkora.redis.link import Link
from synkora.redis_adapter.log_codec import LogEntry, read_message
from synkora.redis_adapter.wire_codec import InvalidMessage

_MAX_SENDERS: Final = 1000  # as in log_append.lua
_HELD_EXTRA: Final = 100  # bytes that a held message takes besides its own

log = Log(__name__)


class LogReceiver:
    """Where this instance is in the order of the log, and what it has delivered.

    `ahead` has its own events that were delivered without a place in the order. While missed events are read, at most
    `max_held` bytes of messages are held.
    """

    def __init__(self, link: Link, deliver: Deliver, max_held: int) -> None:
        self.deliver = deliver
        self.on_new_epoch = nothing
        self.ahead: Ahead | None = None
        self.proposed = new_epoch()  # for a log that begins: never that of an earlier one
        self.last = Position(self.proposed, 0)  # of the last event with a place in the order
        self.held: list[bytes] | None = None  # messages that arrive while missed events are read
        self.is_held_incomplete = False  # whether later ones were dropped: they are in the log
        self._max_held = max_held
        self._held_size = 0
        self._link = link
        self._settled_at = 0  # the log's number then
        self._left_at: dict[str, int] = {}  # the last number of each Redis, by the name of its data
        self._latest: OrderedDict[str, int] = OrderedDict()  # the last number that was delivered of each sender

    @property
    def position(self) -> Position:
        return self.last if self.ahead is None else self.last._replace(ahead=self.ahead)

    @property
    def epoch(self) -> str:
        return self.last.epoch

    @property
    def is_new(self) -> bool:
        """Whether this instance has not learnt where the log is."""
        return self.last.epoch == self.proposed

    def receive(self, message: bytes) -> None:
        """Handle a message of the log: it begins with `BEGINNING`."""
        if self.held is not None:
            self._held_size += len(message) + _HELD_EXTRA
            if self._held_size > self._max_held:
                self.is_held_incomplete = True
            else:
                self.held.append(message)
            return
        try:
            entry, position = read_message(message)
        except InvalidMessage as error:
            log.warning("log_message_unreadable", problem=str(error))
            return
        self.take(entry, position)

    def hold(self) -> None:
        """Hold the messages that come from now on, until missed events are read."""
        self.held, self._held_size, self.is_held_incomplete = [], 0, False

    def release(self) -> list[bytes]:
        """Return the held messages, and hold no more."""
        held, self.held = self.held or [], None
        return held

    def take(self, entry: LogEntry, position: Position) -> None:
        """Deliver an event at its position, unless it was delivered before."""
        last = self.last
        if is_same_log(position.epoch, last.epoch):
            if position.number <= last.number:
                return
            if position.number <= self._settled_at:  # the message left before the epoch that this instance knows
                position = position._replace(epoch=last.epoch)
        if position.epoch != last.epoch or self.is_new:
            self.move_to(Position(position.epoch, position.number - 1))
        self.last = position
        if self.ahead is not None and entry.sender == self._link.uid and entry.number >= self.ahead.number:
            self.ahead = None
        if not self._is_repeated(entry.sender, entry.number):
            self.deliver(entry.event)

    def deliver_own(self, number: int, event: LoggedEvent) -> None:
        """Deliver an event of this instance that Redis may have or get, unless it was delivered."""
        if self._is_repeated(self._link.uid, number):
            return
        # Without a place in the order: its position is that of the event before, and says so.
        self.ahead = Ahead(self._link.uid, number)
        self.deliver(msgspec.structs.replace(event, number=self.last.number))

    def deliver_not_kept(self, event: LoggedEvent) -> None:
        """Deliver an event that the log does not have and will not get: it changes no position."""
        self.deliver(msgspec.structs.replace(event, number=NOT_KEPT))

    def _is_repeated(self, sender: str, number: int) -> bool:
        """Note that an event is delivered; return whether it was delivered before.

        A sender whose link was lost sends again what Redis has not confirmed. Redis itself appends no event twice, but
        after a loss of its memory it does not know what it has appended.
        """
        if number <= self._latest.get(sender, 0):
            return True
        self._latest[sender] = number
        self._latest.move_to_end(sender)
        if len(self._latest) > _MAX_SENDERS:
            self._latest.popitem(last=False)
        return False

    def leave(self) -> None:
        """Remember the position in a Redis whose link is lost."""
        self.held = None  # it is read when Redis is back
        self._left_at[self._link.data_id] = self.last.number

    def settle_at(self, number: int) -> None:
        """Note the log's last number when it was settled."""
        self._settled_at = number

    def continue_in(self, epoch: str) -> None:
        """Go on in a later epoch of the same log, where this instance left the Redis that is used now.

        If another Redis was the master only for a while, its numbers mean nothing here.
        """
        number = self._left_at.get(self._link.data_id, self.last.number)
        self.move_to(Position(epoch, min(number, self.last.number)))

    def advance_to(self, position: Position) -> None:
        """Note where the log is: all events up to there that this instance is to get have come."""
        if self.held is None and position.epoch == self.last.epoch and position.number > self.last.number:
            self.last = position

    def move_to(self, position: Position) -> None:
        """Continue after a position, perhaps in another epoch."""
        has_begun = position.epoch != self.last.epoch
        if not is_same_log(position.epoch, self.last.epoch):
            self._settled_at = 0
            self._left_at.clear()
        self.last = position
        if position.epoch.endswith(self.proposed):
            self.proposed = new_epoch()
        if has_begun:
            self.on_new_epoch()
