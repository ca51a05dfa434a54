"""The wire format of Node.js' Redis adapter and emitter, byte for byte.

MessagePack for broadcasts and for messages with binary data, JSON for the rest. Fields have the order on the wire.
Source: @socket.io/redis-adapter 8.3, dist/index.js; @socket.io/redis-emitter 5.1, dist/index.js; notepack.io 3.0.
"""

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from synkora.protocol import json, surrogates
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.redis_adapter import js_numbers

T = TypeVar("T")
RoomName = str | int | float  # in JavaScript a room may be a number
Flags = dict[str, Any] | None | UnsetType


#: Our own flag, which Node.js ignores: only members of the room get the message, and no socket by its id.
MEMBERS_ONLY: Final = "membersOnly"
#: The trace of an event of the log, which Node.js ignores as well.
TRACEPARENT: Final = "traceparent"


class InvalidMessage(ValueError):
    """The message is invalid, and is ignored."""


class RequestType(IntEnum):
    """The type of a request and of its response."""

    SOCKETS = 0
    ALL_ROOMS = 1
    REMOTE_JOIN = 2
    REMOTE_LEAVE = 3
    REMOTE_DISCONNECT = 4
    REMOTE_FETCH = 5
    SERVER_SIDE_EMIT = 6
    BROADCAST = 7
    BROADCAST_CLIENT_COUNT = 8
    BROADCAST_ACK = 9


class PublishedEvent(Struct):
    """A packet: `data` is the event's name and arguments, including bytes.

    A large event has no `data`, but its JSON text as `id`: Node.js writes the id unchanged, then the data, if any. So
    its clients get the same packet.
    """

    type: int
    data: list[Any] | UnsetType = UNSET
    nsp: str = "/"
    id: Any = UNSET


class Options(Struct, rename={"except_rooms": "except"}):
    """The recipients and flags of a message."""

    rooms: list[RoomName] = []
    except_rooms: list[RoomName] = []
    flags: Flags = UNSET

    def flag(self, name: str) -> Any:
        """Return a flag's value, or None."""
        return self.flags.get(name) if isinstance(self.flags, dict) else None


class BroadcastMessage(Struct, array_like=True):
    """An event for clients; `uid` is the publisher's id, `emitter` for publishers other than servers."""

    uid: str
    packet: PublishedEvent
    opts: Options


class AdapterRequest(Struct, kw_only=True, rename="camel"):
    """A request to other servers. With a `request_id`, a response is expected."""

    uid: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    type: int
    packet: PublishedEvent | UnsetType = UNSET
    opts: Options | UnsetType = UNSET
    sid: str | UnsetType = UNSET  # in a request for one socket, from older adapters
    room: RoomName | UnsetType = UNSET
    rooms: list[RoomName] | UnsetType = UNSET
    close: bool | UnsetType = UNSET
    data: Any = UNSET


class AdapterResponse(Struct, kw_only=True, rename="camel"):
    """A server's response."""

    type: int | UnsetType = UNSET
    request_id: str
    sockets: list[msgspec.Raw] | UnsetType = UNSET  # each in JSON, since clients choose the content
    rooms: list[RoomName] | UnsetType = UNSET
    client_count: int | UnsetType = UNSET
    data: Any = UNSET
    packet: Any = UNSET


def room_names(rooms: Collection[RoomName]) -> list[str]:
    """Return the rooms as texts; a number becomes JavaScript's text of the number."""
    return [room if isinstance(room, str) else str(js_numbers.number(room)) for room in rooms]


_pack: Final = msgspec.msgpack.Encoder().encode
_THREE: Final = b"\x93"  # begins an array of three


def beginning(uid: str) -> bytes:
    """Return the first bytes of each broadcast of the server `uid`."""
    return _THREE + _pack(uid)


def write(message: BroadcastMessage | AdapterRequest | AdapterResponse) -> bytes:
    """Return a message in MessagePack. Raises `InvalidMessage` if it is nested too deeply."""
    try:
        try:
            return _pack(message)
        except UnicodeEncodeError:  # a lone surrogate, which MessagePack cannot represent
            return write(surrogates.replaced(message))
        except OverflowError:  # an integer beyond 64 bits
            return _pack(js_numbers.normalize(msgspec.to_builtins(message, builtin_types=(bytes,))))
    except RecursionError:
        raise InvalidMessage("nested too deeply") from None


def write_json(message: AdapterRequest | AdapterResponse) -> bytes:
    """Return a message in JSON.

    Raises `TypeError` for values that JSON cannot represent, `InvalidMessage` for too deep nesting.
    """
    try:
        return json.encode(message)
    except RecursionError:
        raise InvalidMessage("nested too deeply") from None


_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ProtocolError, InvalidPayload)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def may_hold_binary(message: bytes) -> bool:
    """Whether a message in MessagePack may contain bytes or an extension, which JSON lacks.

    True if one of their markers is anywhere in it, whatever its meaning there.
    """
    return (  # a loop would cost ten times as much
        0xC4 in message  # bytes with a length field of 1, 2 or 4 bytes
        or 0xC5 in message
        or 0xC6 in message
        or 0xC7 in message  # extensions, too
        or 0xC8 in message
        or 0xC9 in message
        or 0xD4 in message  # extensions of 1, 2, 4, 8 and 16 bytes
        or 0xD5 in message
        or 0xD6 in message
        or 0xD7 in message
        or 0xD8 in message
    )


def _read_extension(code: int, data: memoryview) -> Any:
    """Decode notepack 2's own extension (code 0): undefined, a Date in milliseconds, an ArrayBuffer."""
    if code != 0:
        return [code, bytes(data)]
    match len(data):
        case 1:
            return None
        case 8:
            try:
                return _EPOCH + timedelta(milliseconds=int.from_bytes(data, "big", signed=True))
            except OverflowError:
                return None  # what JSON.stringify writes for an invalid Date
        case _:
            return bytes(data)


_unpack_broadcast: Final = msgspec.msgpack.Decoder(BroadcastMessage, ext_hook=_read_extension).decode
_unpack_request: Final = msgspec.msgpack.Decoder(AdapterRequest, ext_hook=_read_extension).decode
_unpack_response: Final = msgspec.msgpack.Decoder(AdapterResponse, ext_hook=_read_extension).decode
_REQUEST: Final[json.Decoder[AdapterRequest]] = json.Decoder(AdapterRequest)
_RESPONSE: Final[json.Decoder[AdapterResponse]] = json.Decoder(AdapterResponse)


def read_broadcast(message: bytes) -> BroadcastMessage:
    """Return the broadcast in a message. Raises `InvalidMessage`."""
    return _read(message, _unpack_broadcast)


def read_request(message: bytes) -> AdapterRequest:
    """Return the request in a message. Raises `InvalidMessage`."""
    return _read(message, _REQUEST.decode if message.startswith(b"{") else _unpack_request)


def read_response(message: bytes) -> AdapterResponse:
    """Return the response in a message. Raises `InvalidMessage`."""
    return _read(message, _RESPONSE.decode if message.startswith(b"{") else _unpack_response)


def _read(message: bytes, decode: Callable[[bytes], T]) -> T:
    try:
        return decode(message)
    except _UNREADABLE as error:
        raise InvalidMessage(str(error)) from None
