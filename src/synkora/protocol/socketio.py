"""Socket.IO v5 packets and their attachments. JSON stays bytes until a handler needs the values.

Source: socketio/socket.io, docs/socket.io-protocol/v5-current.md, "Packet encoding".
"""

import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgspec

from synkora.protocol.errors import InvalidPayload, PayloadTooLarge, ProtocolError
from synkora.protocol.json import Decoder, Raw, encode


class PacketType(IntEnum):
    """The first character of a packet."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


class Packet(NamedTuple):
    """A packet as on the wire: `data` is JSON text, or empty.

    `attachments` is the binary data that followed the packet; `expected` is the number that the header announced.
    """

    type: PacketType
    namespace: str
    id: int | None
    data: bytes
    attachments: tuple[bytes, ...] = ()
    expected: int = 0

    @property
    def size(self) -> int:
        """Bytes of the data and the attachments."""
        return len(self.data) + sum(map(len, self.attachments))


MAX_ATTACHMENTS: Final = 10  # per packet; the official client accepts no more
#: Levels of nesting in a packet with attachments. python-socketio fails at about 490, and ignores all later events.
MAX_DEPTH: Final = 200
RESERVED_EVENTS: Final = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
# An id is a JavaScript number: 15 digits are always exact.
_HEADER: Final = re.compile(
    rb"(?P<type>[0-6])(?:(?P<expected>[0-9]{1,6})-)?(?:(?P<nsp>/[^,]*),?)?(?P<id>[0-9]{1,15})?(?P<data>.*)",
    re.DOTALL,
)
PLAIN_EVENT: Final = b"2["  # prefix of an event in the main namespace without ack and attachments
_TYPES: Final = tuple(PacketType)
_TYPE_DIGITS: Final = tuple(f"{kind:d}".encode() for kind in PacketType)
_BYTES: Final = (bytes, bytearray, memoryview)
_MAY_HOLD_BYTES: Final = (*_BYTES, dict, list, tuple)
_ANYTHING: Final[Decoder[Any]] = Decoder(Any)
_NAME_BEGINS: Final = tuple(b'"-0123456789'[at : at + 1] for at in range(12))  # a text or a number
_NAME: Final[Decoder[Any]] = Decoder(Any, keeps_halves=True)
_LIST: Final[Decoder[list[Any]]] = Decoder(list[Any], keeps_halves=True)


class _Named(msgspec.Struct, array_like=True, gc=False):
    """An event's JSON array. After the name, only the syntax is checked: no Python objects are built."""

    name: Raw = Raw(b"null")


_NAMED: Final[Decoder[_Named]] = Decoder(_Named)


def decode(data: bytes, max_attachments: int) -> Packet:
    """Return the packet in an Engine.IO message.

    Raises `ProtocolError` for an unknown type, a bad header, too many attachments, or data of the wrong kind.
    """
    if data.startswith(PLAIN_EVENT):
        return Packet(PacketType.EVENT, "/", None, data[1:])
    found = _HEADER.fullmatch(data)
    if found is None:
        raise ProtocolError("unknown packet type")
    kind = _TYPES[int(found["type"])]
    binary = kind in (PacketType.BINARY_EVENT, PacketType.BINARY_ACK)
    if binary is (found["expected"] is None):
        raise ProtocolError("illegal attachments")
    expected = int(found["expected"] or 0)
    if expected > max_attachments:
        raise ProtocolError("too many attachments")
    text: bytes = found["data"]
    _check_start(kind, text)
    number = None if found["id"] is None else int(found["id"])
    try:
        namespace = "/" if found["nsp"] is None else found["nsp"].decode()
    except UnicodeDecodeError:
        raise ProtocolError("namespace is not UTF-8") from None
    return Packet(kind, namespace, number, text, (), expected)


def _check_start(kind: PacketType, text: bytes) -> None:
    match kind:
        case PacketType.DISCONNECT:
            valid = not text
        case PacketType.CONNECT:
            valid = not text or text.lstrip().startswith(b"{")
        case PacketType.CONNECT_ERROR:
            valid = True
        case _:
            valid = text.lstrip().startswith(b"[")
    if not valid:
        raise ProtocolError("invalid payload")


def encode_packet(
    kind: PacketType, namespace: str, data: object = None, *, id: int | None = None, attachments: int = 0
) -> bytes:
    """Return the message that carries a packet; `data` is encoded unless it is None."""
    head = encode_header(kind, namespace, attachments=attachments)
    if id is not None:
        head = with_id(head, id)
    return head if data is None else head + encode(data)


def encode_header(kind: PacketType, namespace: str, *, attachments: int = 0) -> bytes:
    """What stands before the data of a packet without an id."""
    if namespace == "/" and not attachments:
        return _TYPE_DIGITS[kind]
    count = f"{attachments}-" if attachments else ""
    name = f"{namespace}," if namespace != "/" else ""
    return f"{kind:d}{count}{name}".encode()


def with_id(header: bytes, id: int) -> bytes:
    """The header of the same packet, but with an id."""
    return header + b"%d" % id


def decode_auth(data: bytes) -> dict[str, Any]:
    """Return the payload of CONNECT, an object; an empty one if `data` is empty.

    Raises `ProtocolError` if the payload is not an object, `InvalidPayload` if it is nested too deeply.
    """
    auth = _ANYTHING.decode(data) if data else {}
    if not isinstance(auth, dict):
        raise ProtocolError("invalid payload")
    return auth


def event_name(data: bytes) -> str:
    """Return the name in an event's JSON array.

    Raises `ProtocolError` for a missing or reserved name or bad JSON, `InvalidPayload` for too deep nesting.
    """
    if data.startswith(b'["') and (end := data.find(b'"', 2)) > 0 and data.find(b"\\", 2, end) < 0:
        try:
            name = data[2:end].decode()
        except UnicodeDecodeError:
            raise ProtocolError("invalid payload") from None
    else:
        written = bytes(_NAMED.decode(data).name)
        if not written.startswith(_NAME_BEGINS):  # a container would be built for nothing
            raise ProtocolError("invalid payload")
        first = _NAME.decode(written)
        name = str(first)
    if name in RESERVED_EVENTS:
        raise ProtocolError("reserved event name")
    return name


def check_event(data: bytes) -> None:
    """Check that `data` is the whole JSON array of an event, without building the values.

    Raises the same errors as `event_name`. Invalid UTF-8 inside strings is not detected.
    """
    if not data.startswith(b"["):
        raise ProtocolError("invalid payload")
    _NAMED.decode(data)
    event_name(data)


def decode_arguments(data: bytes, attachments: Sequence[bytes] = (), *, may_leave_out: bool = False) -> list[Any]:
    """Return the JSON array of an event or an ack, with an attachment in place of each placeholder.

    Each attachment has exactly one placeholder, or at most one with `may_leave_out`. Raises `ProtocolError` otherwise
    and for bad JSON, `InvalidPayload` for too deep nesting.
    """
    values = _LIST.decode(data)
    if attachments and _fill(values, attachments) and not may_leave_out:
        raise ProtocolError("illegal attachments")
    return values


def check_placeholders(data: bytes, attachments: Sequence[bytes]) -> None:
    """Check that the JSON of a binary packet can be relayed.

    A client closes its connection if a placeholder has no attachment. Raises the same errors as `decode_arguments`.
    """
    decode_arguments(data, attachments)


def _fill(values: list[Any], attachments: Sequence[bytes]) -> set[int]:
    """Replace placeholders; return the indices of the attachments without a placeholder."""
    unused = set(range(len(attachments)))
    stack: list[tuple[Any, int]] = [(values, 0)]
    while stack:
        container, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise InvalidPayload("nested too deeply")
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(value, dict) and "_placeholder" in value:
                number = value.get("num")
                # A second placeholder for the same attachment would make the message larger than the received one. In a
                # third field, there could be placeholders that are not looked at, and relayed. Some clients take any
                # true value for a mark.
                is_exact = value["_placeholder"] is True and len(value) == 2
                if not is_exact or isinstance(number, bool) or not isinstance(number, int) or number not in unused:
                    raise ProtocolError("illegal attachments")
                unused.remove(number)
                container[key] = attachments[number]
            elif isinstance(value, dict | list):
                stack.append((value, depth + 1))
    return unused


def take_attachments(values: Sequence[object]) -> tuple[Sequence[object], tuple[bytes, ...]]:
    """Replace each bytes-like value in lists, tuples and dicts by a placeholder; return the values and the attachments.

    Raises `InvalidPayload` for too deep nesting.
    """
    for value in values:
        if isinstance(value, _MAY_HOLD_BYTES):
            break
    else:
        return values, ()
    attachments: list[bytes] = []
    try:
        replaced = [_replace(value, attachments) for value in values]
    except RecursionError:
        raise InvalidPayload("nested too deeply") from None
    return (replaced, tuple(attachments)) if attachments else (values, ())


def _replace(value: object, attachments: list[bytes]) -> object:
    if isinstance(value, _BYTES):
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        return {key: _replace(item, attachments) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace(item, attachments) for item in value]
    return value


class Assembler:
    """Assembles a client's packets from text and binary messages.

    A packet has at most `max_attachments`, and at most `max_size` bytes including its attachments.
    """

    __slots__ = ("_attachments", "_max_attachments", "_packet", "max_size", "size")

    def __init__(self, max_attachments: int, max_size: int = 1_000_000) -> None:
        self._max_attachments = max_attachments
        self.max_size = max_size
        self.size = 0  # bytes of the packet that is being assembled
        self._packet: Packet | None = None
        self._attachments: list[bytes] = []

    @property
    def is_idle(self) -> bool:
        """Whether no attachment is expected."""
        return self._packet is None

    def add_text(self, data: bytes) -> Packet | None:
        """Return the packet in `data`, or None if its attachments have yet to arrive. Raises `ProtocolError`."""
        if self._packet is not None:
            raise ProtocolError("text where an attachment is due")
        packet = decode(data, self._max_attachments)
        if packet.expected:
            self._packet = packet
            self.size = len(data)
            return None
        return packet

    def add_binary(self, data: bytes) -> Packet | None:
        """Return the packet that `data` completes, or None if more attachments have yet to arrive.

        Raises `ProtocolError`, or `PayloadTooLarge` if the packet and its attachments exceed `max_size`.
        """
        packet = self._packet
        if packet is None:
            raise ProtocolError("attachment without a packet")
        self.size += len(data)
        if self.size > self.max_size:
            raise PayloadTooLarge(f"message and attachments are larger than {self.max_size} bytes")
        self._attachments.append(data)
        if len(self._attachments) < packet.expected:
            return None
        whole = packet._replace(attachments=tuple(self._attachments))
        self._packet, self._attachments = None, []
        return whole
