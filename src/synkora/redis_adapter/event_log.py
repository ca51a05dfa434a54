"""The log of a namespace's events in Redis, which numbers, stores and publishes each event atomically."""

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from math import ceil
from time import time
from typing import Any, Final, NamedTuple

import msgspec

from synkora.engine.logs import Log
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, encode
from synkora.protocol.socketio import PacketType, decode_arguments
from synkora.recovery.ports import Answered, Deliver, Incomplete, Kept, LoggedEvent, LogUnavailable, Missed, nothing
from synkora.recovery.position import Ahead, Position, is_same_log, new_epoch, parse
from synkora.recovery.settings import RecoverySettings
from synkora.redis.link import Link, LinkDown, RedisRefused, Script
from synkora.redis_adapter import js_numbers, message_conversion
from synkora.redis_adapter.channels import Channels
from synkora.redis_adapter.wire_codec import (
    MEMBERS_ONLY,
    BroadcastMessage,
    InvalidMessage,
    Options,
    PublishedEvent,
    beginning,
    read_broadcast,
    room_names,
    write,
)

#: The publisher id of a log's events: no server's, so that each server handles them, including the sender's.
AUTHOR: Final = "synkora-log"
BEGINNING: Final = beginning(AUTHOR)
_EVERYONE: Final = ""  # the room of events that are for the whole namespace
_LOG_LIFETIME: Final = 7 * 86_400  # seconds without an event after which a log is forgotten
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
#: Bytes of a command that reads what was missed. All rooms of an instance may be more than a link may hold.
_ROOMS_AT_ONCE: Final = 262_144
_ROOM_EXTRA: Final = 150  # bytes of a room in such a command besides its name, which is there three times
_MAX_SENDERS: Final = 1000  # as in log_append.lua
_LONGEST_SENDER: Final = 64  # characters; the id of an instance has fewer
#: A placeholder for an event's text while its message is encoded. It cannot be guessed.
_PLACE: Final = secrets.token_hex(8)
_PLACE_WRITTEN: Final = msgspec.msgpack.encode(_PLACE)
_STRINGS: Final[Decoder[list[str]]] = Decoder(list[str], keeps_halves=True)

log = Log(__name__)


_APPEND: Final = Script.load(__package__, "log_common", "log_append")
_BEGIN: Final = Script.load(__package__, "log_begin")
_SETTLE: Final = Script.load(__package__, "log_settle")
_FORGET: Final = Script.load(__package__, "log_common", "log_forget")
_READ: Final = Script.load(__package__, "log_common", "log_read")


class LogKeys:
    """The names of a log's keys in Redis. The braces give them one hash slot in a cluster."""

    def __init__(self, prefix: str, namespace: str) -> None:
        self._prefix = f"{prefix}{{log:{namespace}}}:"

    def of(self, name: str) -> bytes:
        """`log`, `rooms`, `floors`, `marks`."""
        return f"{self._prefix}{name}".encode()

    def room(self, name: str) -> tuple[bytes, bytes]:
        """The stream of a room, and its index: a hash with floor, bytes, and the number of each key's event."""
        return (
            f"{self._prefix}stream:{name}".encode(errors="surrogatepass"),
            f"{self._prefix}index:{name}".encode(errors="surrogatepass"),
        )


class _Entry(NamedTuple):
    """An event of the log, with its sender and its number among the sender's events."""

    event: LoggedEvent
    sender: str
    number: int


class _Found(NamedTuple):
    """What a read found; see `Missed`."""

    entries: list[_Entry] | Incomplete
    looked_at: int
    until: Position


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


class RedisLog:
    """An `EventLog` that all instances share. Each delivers an event when Redis publishes it, the sender's too.

    While Redis is unavailable, events reach this instance's clients immediately, and other clients when Redis is back.
    The events that others have sent meanwhile are read then: `local_rooms` returns the rooms in which this instance has
    clients. An instance's own events that Redis has lost then are sent again.
    """

    def __init__(
        self,
        link: Link,
        namespace: str,
        settings: RecoverySettings,
        deliver: Deliver,
        local_rooms: Callable[[], Collection[str]],
        *,
        prefix: str,
        channels: str,
        clock: Callable[[], float] = time,
    ) -> None:
        self.deliver = deliver
        self.on_new_epoch = nothing
        self.lost = 0  # events that could not be sent to Redis
        self.gaps = 0  # how often this instance missed events of others
        self._link = link
        self._namespace = namespace
        self._settings = settings
        self._local_rooms = local_rooms
        self._clock = clock
        self._keys = LogKeys(prefix, namespace)
        self._whole = tuple(map(self._keys.of, ("log", "rooms", "floors", "marks")))
        self._channels = Channels.of(channels, namespace)
        self._bounds = (
            ceil(settings.max_age * 1000),
            settings.room_events,
            settings.room_bytes,
            settings.total_bytes,
            settings.max_rooms,
            ceil(2 * settings.max_age) + 60,
            _LOG_LIFETIME,
        )
        self._proposed = new_epoch()  # for a log that begins: never that of an earlier one
        self._position = Position(self._proposed, 0)
        self._numbers = count(1)
        self.ahead: Ahead | None = None
        self._is_new = True
        self._unsent: dict[int, _Unsent] = {}
        self._unsent_size = 0
        self._awaited: dict[int, _Awaited] = {}
        self._waiting: deque[int] = deque()  # the unsent events that this connection has not been given
        self._settled_at = 0  # the log's number then
        self._left_at: dict[str, int] = {}  # the last number of each Redis, by the name of its data
        self._recent: deque[_Recent] = deque()
        self._recent_size = 0
        self._in_flight = 0  # bytes of commands without a reply
        self._held: list[bytes] | None = None  # messages that arrive while missed events are read
        self._latest: OrderedDict[str, int] = OrderedDict()  # the last number that was delivered of each sender
        link.on_up.append(self._went_up)
        link.on_down.append(self._went_down)
        if link.is_up:
            self._went_up()

    @property
    def is_shared(self) -> bool:
        return True

    @property
    def position(self) -> Position:
        return self._position if self.ahead is None else self._position._replace(ahead=self.ahead)

    @property
    def epoch(self) -> str:
        return self._position.epoch

    @property
    def kept_bytes(self) -> int:
        return self._unsent_size  # the others are in Redis

    def close(self) -> None:
        """Detach from the link."""
        self._link.on_up.remove(self._went_up)
        self._link.on_down.remove(self._went_down)

    async def retire(self) -> None:
        """Let Redis forget this sender, which appends nothing more: Redis knows a bounded number of senders."""
        with suppress(LinkDown, RedisRefused):
            await self._link.call("HDEL", self._link.key(self._keys.of("log")), f"sender:{self._link.uid}")

    # Appending

    def append(
        self,
        data: bytes,
        attachments: tuple[bytes, ...] = (),
        rooms: tuple[str, ...] = (),
        except_rooms: tuple[str, ...] = (),
        key: str | None = None,
        members_only: bool = False,
    ) -> None:
        """Let Redis number, store and publish an event."""
        self._append(next(self._numbers), LoggedEvent(0, data, attachments, rooms, except_rooms, key, members_only))

    async def append_once(
        self,
        data: bytes,
        rooms: tuple[str, ...],
        except_rooms: tuple[str, ...] = (),
        key: str | None = None,
        members_only: bool = False,
        once: str = "",
        attachments: tuple[bytes, ...] = (),
    ) -> Position | None:
        """Let Redis number, store and publish an event, and return its position. Raises `LogUnavailable`."""
        if not self._link.is_up:
            raise LogUnavailable
        number = next(self._numbers)
        self._awaited[number] = awaited = _Awaited(once, asyncio.get_running_loop().create_future())
        self._append(number, LoggedEvent(0, data, attachments, rooms, except_rooms, key, members_only))
        try:
            async with asyncio.timeout(_LONGEST_ANSWER):
                return await awaited.position
        except TimeoutError:
            raise LogUnavailable from None  # it is sent again, with its name

    def _append(self, number: int, event: LoggedEvent) -> None:
        is_up = self._link.is_up
        self._unsent[number] = _Unsent(event, not is_up)
        self._unsent_size += event.size + _UNSENT_EXTRA
        if is_up and self._held is None and not self._waiting:
            self._send(number, event)
            return
        self._waiting.append(number)
        if not is_up:
            self._deliver_here(number, event)
        self._bound()

    def _send(self, number: int, event: LoggedEvent) -> None:
        keys = self._keys
        try:
            head, tail = self._around(number, event)
        except InvalidMessage:
            self._give_up(number)
            return
        rooms = event.rooms or (_EVERYONE,)
        names = [*self._whole]
        for room in rooms:
            names += keys.room(room)
        fields: list[bytes | str | int] = ["s", event.size, "d", event.data, "n", f"{self._link.uid}:{number}"]
        if event.key is not None:
            fields += ("k", event.key)
        if event.attachments:
            fields += ("a", msgspec.msgpack.encode(event.attachments))
        if event.except_rooms:
            fields += ("x", encode(event.except_rooms))
        if len(event.rooms) > 1:
            fields += ("r", encode(event.rooms))
        if event.members_only:
            fields += ("o", 1)
        args: list[bytes | str | int] = [
            self._proposed,
            self._link.uid,
            number,
            self._now(),
            self._channels.broadcasts_to(event.rooms),
            head,
            tail,
            int(not event.attachments),
            *self._bounds,
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
        call.add_done_callback(partial(self._sent, number, event))

    def _around(self, number: int, event: LoggedEvent) -> tuple[bytes, bytes]:
        """Return the message for the servers, before and after its text or, with attachments, its place.

        Raises `InvalidMessage` if the event is nested too deeply.
        """
        if event.attachments:
            packet = PublishedEvent(PacketType.EVENT, [*_arguments(event), _PLACE], self._namespace)
        else:
            packet = PublishedEvent(PacketType.EVENT, nsp=self._namespace, id=_PLACE)
        options = _options(event, {"sender": self._link.uid, "number": number})
        head, _, tail = write(BroadcastMessage(AUTHOR, packet, options)).partition(_PLACE_WRITTEN)
        return head, tail

    def _sent(self, number: int, event: LoggedEvent, call: asyncio.Future[Any]) -> None:
        self._in_flight -= event.size + _COMMAND_EXTRA
        error = call.exception()
        if isinstance(error, LinkDown):
            return  # it may have been appended: it is sent again, and appended once
        if isinstance(error, RedisRefused):
            self._publish_only(event)
            self._give_up(number)
        elif number in self._unsent:
            del self._unsent[number]
            self._unsent_size -= event.size + _UNSENT_EXTRA
            self._remember(number, event)
            if error is None:
                self._appended(number, call.result())
        self._send_waiting()

    def _appended(self, number: int, reply: list[Any]) -> None:
        if len(reply) > 1 and reply[1]:
            self._forget(reply[1])
        awaited = self._awaited.pop(number, None)
        if awaited is not None and not awaited.position.done():
            # An event without a name that was appended before the link was lost: the place of a later one.
            awaited.position.set_result(parse(reply[2].decode()) if len(reply) > 2 else self._position)

    def _remember(self, number: int, event: LoggedEvent) -> None:
        now = asyncio.get_running_loop().time()
        recent = self._recent
        recent.append(_Recent(number, event, now))
        self._recent_size += event.size + _UNSENT_EXTRA
        while recent and (self._recent_size > _MAX_RECENT or recent[0].at < now - _LONGEST_LAG):
            self._recent_size -= recent.popleft().event.size + _UNSENT_EXTRA

    def _publish_only(self, event: LoggedEvent) -> None:
        """Send an event to the other instances that Redis has refused to keep: its memory may be full."""
        data = event.data
        if data.endswith(b'"]'):  # a client would take the string for a position
            data = self._position.after_event(data)
        if event.attachments:
            arguments = _arguments(msgspec.structs.replace(event, data=data))
            packet = PublishedEvent(PacketType.EVENT, arguments, self._namespace)
        else:
            packet = PublishedEvent(PacketType.EVENT, nsp=self._namespace, id=data.decode())
        message = write(BroadcastMessage(self._link.uid, packet, _options(event, {})))
        self._link.publish(self._channels.broadcasts_to(event.rooms), message)

    def _give_up(self, number: int) -> None:
        """Do not keep an event; this instance's clients get it."""
        unsent = self._unsent.pop(number, None)
        if unsent is None:
            return
        self._unsent_size -= unsent.event.size + _UNSENT_EXTRA
        self.lost += 1
        awaited = self._awaited.pop(number, None)
        if awaited is not None and not awaited.position.done():
            awaited.position.set_result(None)
        if not unsent.is_delivered:
            self._deliver_unnumbered(number, unsent.event)

    def _deliver_here(self, number: int, event: LoggedEvent) -> None:
        """Deliver an event of this instance that Redis may have or get, unless it was delivered."""
        if not self._is_repeated(self._link.uid, number):
            self._deliver_unnumbered(number, event)

    def _deliver_unnumbered(self, number: int, event: LoggedEvent) -> None:
        """Deliver an event without a place in the order: its position is that of the event before, and says so."""
        self.ahead = Ahead(self._link.uid, number)
        self.deliver(msgspec.structs.replace(event, number=self._position.number))

    def _bound(self) -> None:
        while self._unsent_size > _MAX_UNSENT and self._waiting:
            self._give_up(self._waiting.popleft())

    def _forget(self, oldest: Sequence[bytes]) -> None:
        """Forget quiet rooms, as far as they are too many, too large or too old."""
        settings, keys = self._settings, self._keys
        for room, last in zip(oldest[::2], oldest[1::2], strict=True):
            names = (*self._whole, *keys.room(room.decode()))
            bounds = (
                ceil(settings.max_age * 1000),
                settings.total_bytes,
                settings.max_rooms,
                _MAX_FLOORS,
                _LOG_LIFETIME,
            )
            self._link.run(_FORGET, names, (room, last, self._now(), *bounds))

    # Receiving

    def receive(self, message: bytes) -> None:
        """Handle a message of the log: it begins with `BEGINNING`."""
        if self._held is not None:
            self._held.append(message)
            return
        try:
            broadcast = read_broadcast(message)
            packet = broadcast.packet
            attachments: tuple[bytes, ...] = ()
            if packet.data is msgspec.UNSET:
                text = message_conversion.text_of(packet)
            else:
                whole = message_conversion.message_of(packet)
                text, attachments = whole.data, whole.attachments
        except InvalidMessage as error:
            log.warning("log_message_unreadable", problem=str(error))
            return
        data, _, place = text[:-2].rpartition(b',"')
        position = parse(place.decode())
        if position is None:
            log.warning("log_message_unreadable", problem="no position")
            return
        options = broadcast.opts
        sender, number = options.flag("sender"), options.flag("number")
        if not isinstance(sender, str) or len(sender) > _LONGEST_SENDER or not isinstance(number, int):
            log.warning("log_message_unreadable", problem="no sender")
            return
        rooms, except_rooms = tuple(room_names(options.rooms)), tuple(room_names(options.except_rooms))
        members_only = bool(options.flag(MEMBERS_ONLY))
        event = LoggedEvent(position.number, data + b"]", attachments, rooms, except_rooms, None, members_only)
        self._take(_Entry(event, sender, number), position)

    def _take(self, entry: _Entry, position: Position) -> None:
        if is_same_log(position.epoch, self._position.epoch):
            if position.number <= self._position.number:
                return
            if position.number <= self._settled_at:  # the message left before the epoch that this instance knows
                position = position._replace(epoch=self._position.epoch)
        if position.epoch != self._position.epoch:
            self._move_to(Position(position.epoch, position.number - 1))
        self._position = position
        if self.ahead is not None and entry.sender == self._link.uid and entry.number >= self.ahead.number:
            self.ahead = None
        if not self._is_repeated(entry.sender, entry.number):
            self.deliver(entry.event)

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

    def _move_to(self, position: Position) -> None:
        has_begun = position.epoch != self._position.epoch
        if not is_same_log(position.epoch, self._position.epoch):
            self._settled_at = 0
            self._left_at.clear()
        self._position = position
        if position.epoch.endswith(self._proposed):
            self._proposed = new_epoch()
        if has_begun:
            self.on_new_epoch()

    # Redis comes and goes

    def _went_down(self) -> None:
        self._held = None  # it is read when Redis is back
        self._left_at[self._link.data_id] = self._position.number
        horizon = asyncio.get_running_loop().time() - _LONGEST_LAG
        while self._recent and self._recent[0].at < horizon:
            self._recent_size -= self._recent.popleft().event.size + _UNSENT_EXTRA
        for recent in self._recent:  # it may have been confirmed in the turn in which the link was lost
            self._deliver_here(recent.number, recent.event)
        for number, unsent in self._unsent.items():
            if not unsent.is_delivered:
                self._unsent[number] = _Unsent(unsent.event, True)
                self._deliver_here(number, unsent.event)
        self._waiting = deque(sorted(self._unsent))
        self._bound()

    def _went_up(self) -> None:
        """Settle the log, and get the position or read the events that this instance has missed.

        Then send the waiting events.
        """
        if self._is_new:
            self._settle(lambda position, _: self._begin_at(position))
            self._send_waiting()
        else:
            self._held = []
            self._settle(self._settled)

    def _settle(self, settled: Callable[[Position | None, int], None]) -> None:
        """Prepare the log over a new connection: another Redis may have less of it.

        `settled` is called with the position, and with the number of the last event of this instance in the log.
        """

        def answered(reply: Any) -> None:
            settled(Position(reply[0].decode(), reply[1]), reply[2])

        def ended(call: asyncio.Future[Any]) -> None:
            if call.exception() is not None:
                settled(None, 0)

        link, seen = self._link, self._position
        confirmed = self._recent[-1].number if self._recent else 0
        args = (self._proposed, link.data_id, seen.epoch, seen.number, link.uid, confirmed, _LOG_LIFETIME)
        link.run(_SETTLE, [self._keys.of("log")], args, answered).add_done_callback(ended)

    def _settled(self, position: Position | None, own: int) -> None:
        if not self._link.is_up:
            return
        if position is not None:
            self._settled_at = position.number
            self._send_again(own)
            if is_same_log(position.epoch, self._position.epoch) and position.epoch != self._position.epoch:
                # If another Redis was the master only for a while, its numbers mean nothing here.
                number = self._left_at.get(self._link.data_id, self._position.number)
                self._move_to(Position(position.epoch, min(number, self._position.number)))
        self._read_missed()

    def _send_again(self, own: int) -> None:
        """Let the events after `own` wait again, which Redis had confirmed and has lost."""
        while self._recent and self._recent[-1].number > own:
            number, event, _ = self._recent.pop()
            self._recent_size -= event.size + _UNSENT_EXTRA
            self._unsent[number] = _Unsent(event, True)
            self._unsent_size += event.size + _UNSENT_EXTRA
            self._waiting.appendleft(number)

    def _read_missed(self) -> None:
        """Read what was missed in the rooms that are used here, some rooms at a time.

        Events that came after the first part was read are held: `_held` has them, in order.
        """
        rooms, after, settings = deque(self._local_rooms()), self._position, self._settings
        entries: dict[int, _Entry] = {}
        until: Position | None = None

        def read_part() -> None:
            part: dict[str, tuple[int, bool]] = {}
            size = 0
            while rooms and size < _ROOMS_AT_ONCE:
                name = rooms.popleft()
                part[name] = (0, True)
                size += _ROOM_EXTRA + 3 * len(name.encode(errors="surrogatepass"))
            self._ask(part, after, answered, leaves_out=False)

        def answered(found: _Found) -> None:
            nonlocal until
            until = until or found.until
            if isinstance(found.entries, Incomplete):
                self._caught_up(found)
                return
            entries.update((each.event.number, each) for each in found.entries if each.event.number <= until.number)
            size = sum(each.event.size for each in entries.values())
            if len(entries) > settings.replay_events or size > settings.replay_bytes:
                self._caught_up(_Found(Incomplete.TOO_MANY, 0, until))
            elif rooms:
                read_part()
            else:
                self._caught_up(_Found([entries[number] for number in sorted(entries)], 0, until))

        read_part()

    def _caught_up(self, found: _Found) -> None:
        missed = found.entries
        if not self._link.is_up:
            return
        if missed is Incomplete.EPOCH:
            self.locate(self._begin_again)
            return
        if isinstance(missed, Incomplete):
            self._note_gap(missed)
            self.locate(self._begin_at)
            return
        for entry in missed:
            self._take(entry, Position(self._position.epoch, entry.event.number))
        self._resume()

    def _begin_again(self, position: Position | None) -> None:
        """Read on in another epoch of the log, or read all of a log that has begun while this instance was away."""
        if position is None:
            self._begin_at(None)
            return
        number = self._position.number
        if not is_same_log(position.epoch, self._position.epoch) or number > position.number:
            self._note_gap(Incomplete.EPOCH)
            number = 0
        self._move_to(Position(position.epoch, number))
        self._read_missed()

    def _note_gap(self, reason: Incomplete) -> None:
        self.gaps += 1
        log.warning("events_missed", namespace=self._namespace, reason=reason.value)

    def _begin_at(self, position: Position | None) -> None:
        if position is not None:
            self._is_new = False
            self._move_to(position)
        if self._held is not None:
            self._resume()

    def _resume(self) -> None:
        """Take what came while missed events were read, and send what has waited."""
        held, self._held = self._held or [], None
        for message in held:
            self.receive(message)
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._in_flight < _RESENT_AT_ONCE and self._link.is_up and self._held is None:
            number = self._waiting.popleft()
            unsent = self._unsent.get(number)
            if unsent is not None:  # Redis may have confirmed it in the turn in which the link was lost
                self._send(number, unsent.event)

    # Reading

    async def kept(self, room: str) -> Kept | None:
        """Ask Redis for the kept state of a room."""
        try:
            events, size = await self._link.call("HMGET", self._link.key(self._keys.room(room)[1]), "count", "bytes")
        except (LinkDown, RedisRefused):
            return None
        return Kept(int(events or 0), int(size or 0))

    async def read(self, rooms: Collection[str], after: Position) -> list[LoggedEvent] | Incomplete:
        """Return the events after a position that a socket in `rooms` has missed."""
        found: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        self._ask(dict.fromkeys(rooms, (0, True)), after, found.set_result, leaves_out=True)
        return _missed(await found).events

    def replay(
        self, sid: str, joined: Mapping[str, int], after: Position, answered: Answered, most: int | None = None
    ) -> None:
        """Read the events that a socket has missed. `answered` is called in order among the deliveries."""
        rooms = {sid: (0, False)} | {room: (number, True) for room, number in joined.items()}
        self._ask(rooms, after, lambda found: answered(_missed(found)), leaves_out=True, most=most)

    def locate(self, found: Callable[[Position | None], None]) -> None:
        """Ask Redis for the position."""

        def answered(reply: Any) -> None:
            found(Position(reply[0].decode(), reply[1]))

        def ended(call: asyncio.Future[Any]) -> None:
            if call.exception() is not None:
                found(None)

        call = self._link.run(_BEGIN, [self._keys.of("log")], [self._proposed, _LOG_LIFETIME], answered)
        call.add_done_callback(ended)

    def _ask(
        self,
        rooms: Mapping[str, tuple[int, bool]],
        after: Position,
        answered: Callable[[_Found], None],
        *,
        leaves_out: bool,
        most: int | None = None,
    ) -> None:
        """Read rooms, each after a number; the bool says whether the events for members only are read too."""
        keys, settings = self._keys, self._settings
        names = [*map(keys.of, ("log", "floors", "marks"))]
        args: list[bytes | str | int] = [
            after.epoch,
            after.number,
            self._now(),
            ceil(settings.max_age * 1000),
            settings.replay_events,
            settings.replay_bytes,
            settings.read_events if most is None else most,
            int(leaves_out),
        ]
        for room, (number, is_joined) in {**rooms, _EVERYONE: (0, True)}.items():
            names += keys.room(room)
            args += (room, number, int(is_joined))

        def replied(reply: Any) -> None:
            try:
                found = _found(reply, after.ahead)
            except (ValueError, TypeError, LookupError) as error:  # written by another program or version
                log.warning("log_entry_unreadable", problem=str(error))
                found = _Found(Incomplete.UNAVAILABLE, 0, after)
            answered(found)

        def ended(call: asyncio.Future[Any]) -> None:
            if call.exception() is not None:
                answered(_Found(Incomplete.UNAVAILABLE, 0, after))

        self._link.run(_READ, names, args, replied).add_done_callback(ended)

    def _now(self) -> int:
        """The time in ms since 1970: it decides which events are too old."""
        return ceil(self._clock() * 1000)


def _arguments(event: LoggedEvent) -> list[Any]:
    """Return an event's name and arguments, with attachments. Raises `InvalidMessage` if it is nested too deeply."""
    try:
        arguments = decode_arguments(event.data, event.attachments, may_leave_out=True)
        normal: list[Any] = js_numbers.normalize(arguments)
    except (InvalidPayload, ProtocolError, RecursionError) as error:
        raise InvalidMessage(str(error)) from None
    return normal


def _options(event: LoggedEvent, flags: dict[str, Any]) -> Options:
    if event.members_only:
        flags[MEMBERS_ONLY] = True
    return Options([*event.rooms], [*event.except_rooms], flags)


def _is_ahead(entry: _Entry, ahead: Ahead | None) -> bool:
    return ahead is not None and entry.sender == ahead.instance and entry.number <= ahead.number


def _found(reply: Any, ahead: Ahead | None) -> _Found:
    """Return what has been read, without the events that the client is `ahead` with."""
    reason, epoch, last, looked_at = reply[0].decode(), reply[1].decode(), reply[2], reply[3]
    entries: list[_Entry] | Incomplete
    if reason:
        entries = Incomplete(reason)
    else:
        read = (_entry(number, room.decode(), fields) for number, room, fields in reply[4])
        entries = [entry for entry in read if not _is_ahead(entry, ahead)]
        entries.sort(key=lambda entry: entry.event.number)
    return _Found(entries, looked_at, Position(epoch, last, ahead))


def _missed(found: _Found) -> Missed:
    entries = found.entries
    events = entries if isinstance(entries, Incomplete) else [entry.event for entry in entries]
    return Missed(events, found.looked_at, found.until)


def _entry(number: int, room: str, written: Sequence[bytes]) -> _Entry:
    fields = dict(zip(written[::2], written[1::2], strict=True))
    rooms: tuple[str, ...] = (room,) if room != _EVERYONE else ()
    if b"r" in fields:
        rooms = tuple(_STRINGS.decode(fields[b"r"]))
    sender, _, own_number = fields[b"n"].decode().partition(":")
    event = LoggedEvent(
        number,
        fields[b"d"],
        tuple(msgspec.msgpack.decode(fields[b"a"])) if b"a" in fields else (),
        rooms,
        tuple(_STRINGS.decode(fields[b"x"])) if b"x" in fields else (),
        fields[b"k"].decode() if b"k" in fields else None,
        b"o" in fields,
    )
    return _Entry(event, sender, int(own_number))
