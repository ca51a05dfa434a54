"""The forms of a log's event: stored in Redis, and published to the servers."""

import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, encode
from synkora.protocol.socketio import PacketType, decode_arguments
from synkora.recovery.ports import Incomplete, LoggedEvent
from synkora.recovery.position import Ahead, Position, parse
from synkora.redis_adapter import js_numbers, message_conversion
from synkora.redis_adapter.wire_codec import (
    MEMBERS_ONLY,
    TRACEPARENT,
    BroadcastMessage,
    InvalidMessage,
    Options,
    PublishedEvent,
    beginning,
    read_broadcast,
    room_names,
    write,
)
from synkora.tracing import LENGTH as TRACEPARENT_LENGTH

#: The publisher id of a log's events: no server's, so that each server handles them, including the sender's.
AUTHOR: Final = "synkora-log"
BEGINNING: Final = beginning(AUTHOR)
EVERYONE: Final = ""  # the room of events that are for the whole namespace
_NUMBERS: Final = 2**53  # Redis' scripts count no further
_LONGEST_SENDER: Final = 64  # characters; the id of an instance has fewer
#: A placeholder for an event's text while its message is encoded. It cannot be guessed.
_PLACE: Final = secrets.token_hex(8)
_PLACE_WRITTEN: Final = msgspec.msgpack.encode(_PLACE)
_STRINGS: Final[Decoder[list[str]]] = Decoder(list[str], keeps_halves=True)


class LogEntry(NamedTuple):
    """An event of the log, with its sender and its number among the sender's events."""

    event: LoggedEvent
    sender: str
    number: int


class Found(NamedTuple):
    """What a read found; see `Missed`."""

    entries: list[LogEntry] | Incomplete
    looked_at: int
    until: Position


class Part(NamedTuple):
    """What an instance found in the first ones of the rooms that it asked for.

    `rooms` is their number, and `failed` says why some of them are unknown.
    """

    entries: list[tuple[str, LogEntry]]
    rooms: int
    failed: list[Incomplete]
    until: Position
    is_other_epoch: bool


def stored_fields(event: LoggedEvent, sender: str, number: int) -> list[bytes | str | int]:
    """Return the fields of an event's entry in a stream."""
    fields: list[bytes | str | int] = ["s", event.size, "d", event.data, "n", f"{sender}:{number}"]
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
    if event.traceparent:
        fields += ("t", event.traceparent)
    return fields


def message_around(event: LoggedEvent, namespace: str, sender: str, number: int) -> tuple[bytes, bytes]:
    """Return the message for the servers, before and after its text or, with attachments, its place.

    Raises `InvalidMessage` if the event is nested too deeply.
    """
    if event.attachments:
        packet = PublishedEvent(PacketType.EVENT, [*_arguments(event), _PLACE], namespace)
    else:
        packet = PublishedEvent(PacketType.EVENT, nsp=namespace, id=_PLACE)
    options = _options(event, {"sender": sender, "number": number})
    head, _, tail = write(BroadcastMessage(AUTHOR, packet, options)).partition(_PLACE_WRITTEN)
    return head, tail


def message_without_place(event: LoggedEvent, namespace: str, sender: str) -> bytes:
    """Return the message for the other servers of an event that Redis does not keep."""
    if event.attachments:
        packet = PublishedEvent(PacketType.EVENT, _arguments(event), namespace)
    else:
        packet = PublishedEvent(PacketType.EVENT, nsp=namespace, id=event.data.decode())
    return write(BroadcastMessage(sender, packet, _options(event, {})))


def read_message(message: bytes) -> tuple[LogEntry, Position]:
    """Return the entry in a message for the servers, and its position. Raises `InvalidMessage`."""
    broadcast = read_broadcast(message)
    packet = broadcast.packet
    attachments: tuple[bytes, ...] = ()
    if packet.data is msgspec.UNSET:
        text = message_conversion.text_of(packet)
    else:
        whole = message_conversion.message_of(packet)
        text, attachments = whole.data, whole.attachments
    data, _, place = text[:-2].rpartition(b',"')
    position = parse(place.decode())
    if position is None or position.number >= _NUMBERS:
        raise InvalidMessage("no position")
    options = broadcast.opts
    flags = options.flags if isinstance(options.flags, dict) else {}
    sender, number = flags.get("sender"), flags.get("number")
    if not isinstance(sender, str) or len(sender) > _LONGEST_SENDER or not isinstance(number, int):
        raise InvalidMessage("no sender")
    rooms, except_rooms = tuple(room_names(options.rooms)), tuple(room_names(options.except_rooms))
    members_only, traceparent = bool(flags.get(MEMBERS_ONLY)), flags.get(TRACEPARENT, "")
    if not isinstance(traceparent, str) or len(traceparent) > TRACEPARENT_LENGTH:
        traceparent = ""
    event = LoggedEvent(position.number, data + b"]", attachments, rooms, except_rooms, None, members_only, traceparent)
    return LogEntry(event, sender, number), position


def read_reply(reply: Any, rooms: Sequence[str], ahead: Ahead | None) -> Found:
    """Return what has been read in rooms, without the events that the client is `ahead` with.

    Raises an error of `synkora.redis.errors.UNREADABLE` for entries that another program or version has written.
    """
    reason, epoch, last, looked_at = reply[0].decode(), reply[1].decode(), reply[2], reply[3]
    entries: list[LogEntry] | Incomplete
    if reason:
        entries = Incomplete(reason)
    else:
        read = (_entry(number, rooms[place], fields) for number, place, fields in reply[4])
        entries = [entry for entry in read if not _is_ahead(entry, ahead)]
        entries.sort(key=lambda entry: entry.event.number)
    return Found(entries, looked_at, Position(epoch, last, ahead))


def read_part(reply: Any, rooms: Sequence[str]) -> Part:
    """Return what an instance has read. Raises errors like `read_reply`."""
    reason, until = reply[0], Position(reply[1].decode(), reply[2])
    if reason:
        return Part([], 0, [], until, is_other_epoch=True)
    entries = [(rooms[place], _entry(number, rooms[place], fields)) for number, place, fields in reply[4]]
    return Part(entries, reply[5], [Incomplete(each.decode()) for each in reply[6]], until, is_other_epoch=False)


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
    if event.traceparent:
        flags[TRACEPARENT] = event.traceparent
    return Options([*event.rooms], [*event.except_rooms], flags)


def _is_ahead(entry: LogEntry, ahead: Ahead | None) -> bool:
    return ahead is not None and entry.sender == ahead.instance and entry.number <= ahead.number


def _entry(number: int, room: str, written: Sequence[bytes]) -> LogEntry:
    fields = dict(zip(written[::2], written[1::2], strict=True))
    rooms: tuple[str, ...] = (room,) if room != EVERYONE else ()
    if b"r" in fields:
        rooms = tuple(_STRINGS.decode(fields[b"r"]))
    sender, _, own_number = fields[b"n"].decode().partition(":")
    event = LoggedEvent(
        number,
        fields[b"d"],
        tuple(msgspec.msgpack.decode(fields[b"a"])) if b"a" in fields else (),
        rooms,
        tuple(_STRINGS.decode(fields[b"x"])) if b"x" in fields else (),
        None,
        b"o" in fields,
        fields[b"t"].decode() if b"t" in fields else "",
    )
    return LogEntry(event, sender, int(own_number))
