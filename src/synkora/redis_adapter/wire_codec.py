"""What the Redis adapter and emitter of Node.js publish, byte for byte.

MessagePack for broadcasts and for what may hold binary data, JSON for the rest; the order of fields is that on the
wire. Source: @socket.io/redis-adapter 8.3, dist/index.js; @socket.io/redis-emitter 5.1, dist/index.js; notepack.io 3.0.
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


#: Our own flag, which Node.js ignores: the room's own members get the message, and no socket by its id.
MEMBERS_ONLY: Final = "membersOnly"


class InvalidMessage(ValueError):
    """No message of the adapter's: nothing is done about it."""


class RequestType(IntEnum):
    """What a request asks, or a response answers."""

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
    """A packet: `data` is the event's name and its arguments, with their bytes in place.

    A large event has no `data`, but its JSON text as its `id`: Node.js writes an id as it is, and then the data, if
    there is any. So its clients get the same packet.
    """

    type: int
    data: list[Any] | UnsetType = UNSET
    nsp: str = "/"
    id: Any = UNSET


class Options(Struct, rename={"except_rooms": "except"}):
    """Whom something is for."""

    rooms: list[RoomName] = []
    except_rooms: list[RoomName] = []
    flags: Flags = UNSET

    def flag(self, name: str) -> Any:
        """A flag's value, None where it is not set."""
        return self.flags.get(name) if isinstance(self.flags, dict) else None


class BroadcastMessage(Struct, array_like=True):
    """An event for clients; `uid` says who published it, `emitter` for all that are no servers."""

    uid: str
    packet: PublishedEvent
    opts: Options


class AdapterRequest(Struct, kw_only=True, rename="camel"):
    """What one server asks of the others; where `request_id` is set, an answer is wanted."""

    uid: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    type: int
    packet: PublishedEvent | UnsetType = UNSET
    opts: Options | UnsetType = UNSET
    sid: str | UnsetType = UNSET  # of a request about one socket, as older adapters make them
    room: RoomName | UnsetType = UNSET
    rooms: list[RoomName] | UnsetType = UNSET
    close: bool | UnsetType = UNSET
    data: Any = UNSET


class AdapterResponse(Struct, kw_only=True, rename="camel"):
    """What one server answers."""

    type: int | UnsetType = UNSET
    request_id: str
    sockets: list[msgspec.Raw] | UnsetType = UNSET  # each in JSON: clients choose what objects that would be
    rooms: list[RoomName] | UnsetType = UNSET
    client_count: int | UnsetType = UNSET
    data: Any = UNSET
    packet: Any = UNSET


def room_names(rooms: Collection[RoomName]) -> list[str]:
    """The rooms as we name them: a number by the text that JavaScript makes of it."""
    return [room if isinstance(room, str) else str(js_numbers.number(room)) for room in rooms]


_pack: Final = msgspec.msgpack.Encoder().encode
_THREE: Final = b"\x93"  # begins an array of three


def beginning(uid: str) -> bytes:
    """What each broadcast of the server `uid` begins with."""
    return _THREE + _pack(uid)


def write(message: BroadcastMessage | AdapterRequest | AdapterResponse) -> bytes:
    """A message in MessagePack. Raises `InvalidMessage` where it is nested too deeply."""
    try:
        return _pack(message)
    except UnicodeEncodeError:  # half a surrogate pair, for which MessagePack has no form
        return write(surrogates.replaced(message))
    except OverflowError:  # an integer beyond 64 bits
        return _pack(js_numbers.normalize(msgspec.to_builtins(message, builtin_types=(bytes,))))
    except RecursionError:
        raise InvalidMessage("nested too deeply") from None


def write_json(message: AdapterRequest | AdapterResponse) -> bytes:
    """A message in JSON.

    Raises `TypeError` for what that cannot hold, `InvalidMessage` where it is nested too deeply.
    """
    try:
        return json.encode(message)
    except RecursionError:
        raise InvalidMessage("nested too deeply") from None


_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ProtocolError, InvalidPayload)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def may_hold_binary(message: bytes) -> bool:
    """Whether a message in MessagePack may hold bytes or an extension: what JSON does not have.

    It does if one of their marks is anywhere in it, whatever the byte means there.
    """
    return (  # a loop would cost ten times as much
        0xC4 in message  # bytes, by the size of their length
        or 0xC5 in message
        or 0xC6 in message
        or 0xC7 in message  # extensions, likewise
        or 0xC8 in message
        or 0xC9 in message
        or 0xD4 in message  # extensions of 1, 2, 4, 8 and 16 bytes
        or 0xD5 in message
        or 0xD6 in message
        or 0xD7 in message
        or 0xD8 in message
    )


def _read_extension(code: int, data: memoryview) -> Any:
    """What notepack 2 wrote of its own (code 0): undefined, a Date in milliseconds, an ArrayBuffer."""
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
    """The broadcast in a message. Raises `InvalidMessage`."""
    return _read(message, _unpack_broadcast)


def read_request(message: bytes) -> AdapterRequest:
    """The request in a message. Raises `InvalidMessage`."""
    return _read(message, _REQUEST.decode if message.startswith(b"{") else _unpack_request)


def read_response(message: bytes) -> AdapterResponse:
    """The response in a message. Raises `InvalidMessage`."""
    return _read(message, _RESPONSE.decode if message.startswith(b"{") else _unpack_response)


def _read(message: bytes, decode: Callable[[bytes], T]) -> T:
    try:
        return decode(message)
    except _UNREADABLE as error:
        raise InvalidMessage(str(error)) from None
