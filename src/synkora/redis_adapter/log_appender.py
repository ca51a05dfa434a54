"""Appends events to a log in Redis, which numbers, stores and publishes each one atomically."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from math import ceil
from typing import Any, Final, NamedTuple

import msgspec

from synkora.engine.logs import Log
from synkora.recovery.ports import LoggedEvent, LogUnavailable, nothing
from synkora.recovery.position import Position, parse
from synkora.recovery.settings import RecoverySettings
from synkora.redis.errors import UNREADABLE
from synkora.redis.link import Link, LinkDown, RedisRefused, Script
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.log_bounds import bounds_of
from synkora.redis_adapter.log_codec import EVERYONE, message_around, message_without_place, stored_fields
from synkora.redis_adapter.log_keys import LogKeys
from synkora.redis_adapter.log_reader import LOG_LIFETIME
from synkora.redis_adapter.log_receiver import LogReceiver
from synkora.redis_adapter.wire_codec import InvalidMessage
from synkora.tracing import NO_TRACE, Trace

_MAX_FLOORS: Final = 100_000  # dropped rooms with a known floor
_MAX_UNSENT: Final = 16_000_000  # bytes of events that wait for Redis, in memory
_UNSENT_EXTRA: Final = 300  # bytes that a waiting event takes besides its data
#: Bytes of commands for waiting events that are sent before Redis confirms the first of them. Together, very many small
#: events would be more than a link may hold: the link would end each time, and no event would ever be sent.
_RESENT_AT_ONCE: Final = 1_000_000
#: Events that Redis has confirmed are kept for as long as another Redis, which takes over, may lag behind.
_LONGEST_LAG: Final = 10.0  # seconds
_MAX_RECENT: Final = 4_000_000  # bytes
_LONGEST_ANSWER: Final = 5.0  # seconds
_COMMAND_EXTRA: Final = 1_000  # bytes of an event's command besides its data
_APPEND: Final = Script.load(__package__, "log_common", "log_append")
_FORGET: Final = Script.load(__package__, "log_common", "log_forget")

log = Log(__name__)


class _Unsent(NamedTuple):
    """An event that Redis has not confirmed; `is_delivered` if this instance's clients have it already."""

    event: LoggedEvent
    is_delivered: bool


class _Awaited(NamedTuple):
    """An event that is appended once, by this name, or always if the name is empty, and its future position."""

    once: str
    position: asyncio.Future[Position | None]


class _Recent(NamedTuple):
    """An event that Redis has confirmed, and when, by the loop's clock."""

    number: int
    event: LoggedEvent
    at: float


class LogAppender:
    """The events of this instance: sent to Redis, or waiting for it. Each has a number among them.

    While Redis is unavailable, the `receiver` delivers them here. Events that Redis has lost since it confirmed them
    are sent again. Over each connection the log is settled first: before, Redis could give a number twice.
    """

    def __init__(
        self,
        link: Link,
        settings: RecoverySettings,
        receiver: LogReceiver,
        keys: LogKeys,
        channels: Channels,
        now: Callable[[], int],
    ) -> None:
        self.lost = 0  # events that could not be sent to Redis
        self.unsent_size = 0
        self.on_resent = nothing  # called when `is_resending` may have ended
        self.is_settled = False  # over the present connection
        self._is_refused = False  # Redis has refused to settle the log, and is asked again
        self._link = link
        self._namespace = keys.namespace
        self._settings = settings
        self._receiver = receiver
        self._keys = keys
        self._channels = channels
        self._now = now
        self._bounds = bounds_of(settings)
        self._numbers = count(1)
        self._unsent: dict[int, _Unsent] = {}
        self._awaited: dict[int, _Awaited] = {}
        self._named: dict[str, _Awaited] = {}  # those with a name
        self._traces: dict[int, Trace] = {}  # of unsent events, until Redis confirms them
        self._waiting: deque[int] = deque()  # the unsent events that this connection has not been given
        self._recent: deque[_Recent] = deque()
        self._recent_size = 0
        self._in_flight = 0  # bytes of commands without a reply

    @property
    def confirmed(self) -> int:
        """The number of the last event that Redis has confirmed lately, or 0."""
        return self._recent[-1].number if self._recent else 0

    @property
    def is_resending(self) -> bool:
        """Whether events wait that this instance's clients have already: those that came while Redis was away.

        They are the first that wait. When they come back from Redis, they are not delivered again.
        """
        for number in self._waiting:
            unsent = self._unsent.get(number)
            if unsent is not None:  # as in `send_waiting`
                return unsent.is_delivered
        return False

    async def append_once(self, event: LoggedEvent, once: str, trace: Trace = NO_TRACE) -> Position | None:
        """Append an event, and return its position. Raises `LogUnavailable`.

        An event whose name still waits for Redis is not appended again: it has the position of the first attempt.
        """
        if not self._link.is_up or (once and self._is_refused):
            raise LogUnavailable
        awaited = self._named.get(once)
        if awaited is None:
            awaited = _Awaited(once, asyncio.get_running_loop().create_future())
            number = next(self._numbers)
            self._awaited[number] = awaited
            if once:
                self._named[once] = awaited
            self._append(number, event, trace)
        try:
            async with asyncio.timeout(_LONGEST_ANSWER):
                return await asyncio.shield(awaited.position)
        except TimeoutError:
            raise LogUnavailable from None  # it is sent again, with its name

    def append(self, event: LoggedEvent, trace: Trace = NO_TRACE) -> None:
        """Send an event, or let it wait."""
        self._append(next(self._numbers), event, trace)

    def _append(self, number: int, event: LoggedEvent, trace: Trace) -> None:
        is_alone = self._is_refused or not self._link.is_up
        if trace.traceparent:
            self._traces[number] = trace
        self._unsent[number] = _Unsent(event, is_alone)
        self.unsent_size += event.size + _UNSENT_EXTRA
        if self._may_send and not self._waiting:
            self._send(number, event)
            return
        self._waiting.append(number)
        if is_alone:
            self._receiver.deliver_own(number, event)
        self._bound()

    @property
    def _may_send(self) -> bool:
        return self.is_settled and self._link.is_up and self._receiver.held is None

    def _send(self, number: int, event: LoggedEvent) -> None:
        keys, uid = self._keys, self._link.uid
        try:
            head, tail = message_around(event, self._namespace, uid, number)
        except InvalidMessage:
            self._give_up(number)
            return
        rooms = event.rooms or (EVERYONE,)
        names = [*keys.whole]
        for room in rooms:
            names += keys.room(room)
        names.append(keys.of("large"))
        fields = stored_fields(event, uid, number)
        args: list[bytes | str | int] = [
            self._receiver.proposed,
            uid,
            number,
            self._now(),
            self._channels.broadcasts_to(event.rooms),
            head,
            tail,
            int(not event.attachments),
            *self._bounds,
            int(event.members_only),
            LOG_LIFETIME,
            len(fields),
            *fields,
            *rooms,
        ]
        awaited = self._awaited.get(number)
        if awaited is not None:
            names.append(keys.of("once"))
            args.append(awaited.once)
        self._in_flight += event.size + _COMMAND_EXTRA
        call = self._link.run(_APPEND, names, args)
        # No partial: asyncio would show its arguments if it fails.
        call.add_done_callback(lambda call: self._sent(number, event, call))

    def _sent(self, number: int, event: LoggedEvent, call: asyncio.Future[Any]) -> None:
        size = event.size
        self._in_flight -= size + _COMMAND_EXTRA
        error = call.exception()
        if isinstance(error, LinkDown):
            return  # it may have been appended: it is sent again, and appended once
        if isinstance(error, RedisRefused):
            self._pass(number, event)
        elif (unsent := self._unsent.pop(number, None)) is not None:
            self.unsent_size -= size + _UNSENT_EXTRA
            if error is not None or unsent.is_delivered or not _was_known(call.result()):
                self._remember(number, event, size)
            if self._traces:
                self._end_trace(number)
            if error is None:
                self._read_reply(number, call.result())
        self.send_waiting()

    def _read_reply(self, number: int, reply: Any) -> None:
        try:
            self._appended(number, reply)
        except UNREADABLE as failure:
            log.warning("log_answer_unreadable", problem=type(failure).__name__)

    def _appended(self, number: int, reply: list[Any]) -> None:
        awaited = self._end_wait(number)
        if awaited is not None:
            # An event without a name that was appended before the link was lost: the place of a later one.
            awaited.position.set_result(parse(reply[2].decode()) if len(reply) > 2 else self._receiver.last)
        if len(reply) > 1 and reply[1]:
            self._make_room(reply[1])

    def _remember(self, number: int, event: LoggedEvent, size: int) -> None:
        now = asyncio.get_running_loop().time()
        recent = self._recent
        recent.append(_Recent(number, event, now))
        self._recent_size += size + _UNSENT_EXTRA
        while recent and (self._recent_size > _MAX_RECENT or recent[0].at < now - _LONGEST_LAG):
            self._recent_size -= recent.popleft().event.size + _UNSENT_EXTRA

    def _pass(self, number: int, event: LoggedEvent) -> None:
        """Send an event past the log, unless its publisher can append it again."""
        if not self._returns(number):
            self._publish_only(event)
            self._give_up(number)

    def _publish_only(self, event: LoggedEvent) -> None:
        """Send an event to the other instances that Redis has refused to keep: its memory may be full."""
        if event.data.endswith(b'"]'):  # a client would take the string for a position
            event = msgspec.structs.replace(event, data=self._receiver.last.after_event(event.data))
        try:
            message = message_without_place(event, self._namespace, self._link.uid)
        except InvalidMessage:
            return  # it is lost for the others, as without the refusal
        self._link.publish(self._channels.broadcasts_to(event.rooms), message)

    def _returns(self, number: int) -> bool:
        """Leave an event, if it has a name, to its publisher, who still has it and can append it again."""
        awaited = self._awaited.get(number)
        if awaited is None or not awaited.once:
            return False
        self._end_wait(number)
        unsent = self._unsent.pop(number, None)
        if unsent is not None:
            self.unsent_size -= unsent.event.size + _UNSENT_EXTRA
        self._end_trace(number, "not kept")
        awaited.position.set_exception(LogUnavailable())
        awaited.position.exception()  # the publisher may have stopped waiting: asyncio would log it
        return True

    def _end_wait(self, number: int) -> _Awaited | None:
        awaited = self._awaited.pop(number, None)
        if awaited is not None:
            self._named.pop(awaited.once, None)
        return awaited

    def _give_up(self, number: int) -> None:
        """Do not keep an event; this instance's clients get it."""
        unsent = self._unsent.pop(number, None)
        if unsent is None:
            return
        self.unsent_size -= unsent.event.size + _UNSENT_EXTRA
        self.lost += 1
        self._end_trace(number, "not kept")
        awaited = self._end_wait(number)
        if awaited is not None:
            awaited.position.set_result(None)
        if not unsent.is_delivered:
            self._receiver.deliver_not_kept(unsent.event)

    def _end_trace(self, number: int, problem: str = "") -> None:
        trace = self._traces.pop(number, None)
        if trace is not None:
            trace.end(problem)

    def _bound(self) -> None:
        """Above the bound, drop the oldest events of the sockets that sent most, so that a flood costs no other socket.

        Makes room for a 64th of the bound at once, since it looks at all events.
        """
        if self.unsent_size <= _MAX_UNSENT:
            return
        waiting: defaultdict[str, deque[tuple[int, int]]] = defaultdict(deque)
        for number in self._waiting:
            unsent = self._unsent.get(number)
            if unsent is not None:  # as in `send_waiting`
                waiting[_sender_of(unsent.event)].append((number, unsent.event.size + _UNSENT_EXTRA))
        largest = [(-sum(size for _, size in events), sender) for sender, events in waiting.items()]
        heapify(largest)
        while largest and self.unsent_size > _MAX_UNSENT - _MAX_UNSENT // 64:
            total, sender = heappop(largest)
            number, size = waiting[sender].popleft()
            if waiting[sender]:
                heappush(largest, (total + size, sender))
            if not self._returns(number):
                self._give_up(number)
        self._waiting = deque(number for number in self._waiting if number in self._unsent)

    def _make_room(self, found: Sequence[bytes]) -> None:
        """Trim large rooms and forget quiet ones, as far as they are too many, too large or too old."""
        settings, keys = self._settings, self._keys
        for room, last in zip(found[::2], found[1::2], strict=True):
            names = (*keys.whole, *keys.room(room.decode()), keys.of("large"))
            bounds = (
                ceil(settings.max_age * 1000),
                settings.total_bytes,
                settings.max_rooms,
                _MAX_FLOORS,
                LOG_LIFETIME,
            )
            self._link.run(_FORGET, names, (room, last, self._now(), *bounds))

    def wait(self) -> None:
        """Deliver here what Redis may have lost with the link, and let all that it has not confirmed wait for it."""
        horizon = asyncio.get_running_loop().time() - _LONGEST_LAG
        while self.is_settled and self._recent and self._recent[0].at < horizon:
            self._recent_size -= self._recent.popleft().event.size + _UNSENT_EXTRA
        self.is_settled = self._is_refused = False
        for recent in self._recent:  # it may have been confirmed in the turn in which the link was lost
            self._receiver.deliver_own(recent.number, recent.event)
        self._deliver_unsent()
        self._waiting = deque(sorted(self._unsent))
        self._bound()

    def _deliver_unsent(self) -> None:
        for number, unsent in self._unsent.items():
            if not unsent.is_delivered:
                self._unsent[number] = _Unsent(unsent.event, True)
                self._receiver.deliver_own(number, unsent.event)

    def refuse(self, *, keeps: bool) -> None:
        """Deliver events only here while Redis refuses to settle the log, and let them wait: without `keeps` no longer.

        What has a name is returned: its publisher can append it again.
        """
        self._is_refused = True
        if not keeps:
            waiting, self._waiting = self._waiting, deque()
            for number in waiting:
                if number in self._unsent:  # as in `send_waiting`
                    self._pass(number, self._unsent[number].event)
            return
        for number in tuple(self._awaited):
            if number in self._unsent and not self._unsent[number].is_delivered:
                self._returns(number)
        self._deliver_unsent()

    def settle(self) -> None:
        """Begin to send: the log is settled over this connection."""
        self.is_settled, self._is_refused = True, False

    def send_again(self, own: int) -> None:
        """Let the events after `own` wait again, which Redis had confirmed and has lost."""
        while self._recent and self._recent[-1].number > own:
            number, event, _ = self._recent.pop()
            self._recent_size -= event.size + _UNSENT_EXTRA
            self._unsent[number] = _Unsent(event, True)
            self.unsent_size += event.size + _UNSENT_EXTRA
            self._waiting.appendleft(number)

    def send_waiting(self) -> None:
        """Send what waits, as far as Redis is up, the missed events are read, and the link has room."""
        while self._waiting and self._in_flight < _RESENT_AT_ONCE and self._may_send:
            number = self._waiting.popleft()
            unsent = self._unsent.get(number)
            if unsent is not None:  # Redis may have confirmed it in the turn in which the link was lost
                self._send(number, unsent.event)
        self.on_resent()

    async def retire(self) -> None:
        """Let Redis forget this sender, which appends nothing more: Redis knows a bounded number of senders."""
        with suppress(LinkDown, RedisRefused):
            await self._link.call("HDEL", self._link.key(self._keys.of("log")), f"sender:{self._link.uid}")


def _sender_of(event: LoggedEvent) -> str:
    """Return the id of the socket that sent an event, which does not get it, or nothing for an event of a server."""
    return event.except_rooms[0] if event.except_rooms else ""


def _was_known(reply: Any) -> bool:
    """Whether an event with the name of this one had been appended: the clients have that one."""
    return isinstance(reply, list) and len(reply) > 2 and reply[0] == 0
