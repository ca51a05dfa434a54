"""Encodes events and acks, and refuses names that are reserved by Socket.IO."""

from collections.abc import Hashable, Sequence

import msgspec

from synkora.engine.message import Message
from synkora.engine.state_updates import Subject, Update
from synkora.protocol.json import encode
from synkora.protocol.socketio import (
    RESERVED_EVENTS,
    PacketType,
    encode_header,
    encode_packet,
    take_attachments,
    with_id,
)


def event(
    namespace: str,
    name: str,
    args: Sequence[object],
    *,
    volatile: bool = False,
    compress: bool = True,
    attachments: tuple[bytes, ...] = (),
) -> Message:
    """Return an event; existing placeholders in `args` refer to `attachments`.

    Raises `TypeError` for a value that JSON cannot represent and for a name that is not a text, `ValueError` for a
    reserved name of Socket.IO.
    """
    drafted = draft(name, args, attachments)
    return event_of_json(namespace, drafted.data, drafted.attachments, volatile=volatile, compress=compress)


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event that gets its position when it is sent: its JSON array and attachments.

    A newer event with the same key replaces it.
    """

    data: bytes
    attachments: tuple[bytes, ...]
    compress: bool = True
    key: str | None = None

    @property
    def size(self) -> int:
        """Bytes of data and attachments."""
        return len(self.data) + sum(map(len, self.attachments)) if self.attachments else len(self.data)


def draft(name: str, args: Sequence[object], attachments: tuple[bytes, ...] = (), *, compress: bool = True) -> Draft:
    """Return an event without a position. Raises the same errors as `event`."""
    if not isinstance(name, str):
        raise TypeError(f"the name of an event is a text, not {name!r}")
    if name in RESERVED_EVENTS:
        raise ValueError(f"{name!r} is a word of Socket.IO's own")
    if not attachments:
        args, attachments = take_attachments(args)
    return Draft(encode([name, *args]), attachments, compress)


def event_of_json(
    namespace: str, data: bytes, attachments: tuple[bytes, ...] = (), *, volatile: bool = False, compress: bool = True
) -> Message:
    """An event from its JSON array."""
    kind = PacketType.BINARY_EVENT if attachments else PacketType.EVENT
    head = encode_header(kind, namespace, attachments=len(attachments))
    return Message(data, attachments, head=head, volatile=volatile, compress=compress)


def asking_for_ack(message: Message, id: int) -> Message:
    """Return the same event with an ack id."""
    head = with_id(message.head, id)
    return Message(message.data, message.attachments, head=head, volatile=message.volatile, compress=message.compress)


class EventWriter:
    """Encodes one event of a namespace repeatedly, each time with one argument. The constant parts are cached."""

    __slots__ = ("_begin", "_head", "_name", "_namespace", "_volatile")

    def __init__(self, namespace: str, name: str, *, volatile: bool) -> None:
        self._namespace = namespace
        self._name = name
        self._volatile = volatile
        self._head = encode_header(PacketType.EVENT, namespace)
        self._begin = encode([name])[:-1] + b","

    def write(self, argument: object, attachments: tuple[bytes, ...]) -> Message:
        """Return the event with a Struct or a `Raw`, whose placeholders refer to `attachments`."""
        if attachments:
            return event(self._namespace, self._name, (argument,), volatile=self._volatile, attachments=attachments)
        return Message(self._begin + encode(argument) + b"]", (), self._head, self._volatile)

    def draft(self, argument: object, attachments: tuple[bytes, ...], key: str | None) -> Draft:
        """Return the event without a position. A newer event with the same key replaces it."""
        return Draft(self._begin + encode(argument) + b"]", attachments, key=key)

    def update(self, argument: object, subject: Subject, replaces: Hashable | None = None) -> Update:
        """Return the event, without attachments, as an update about `subject`."""
        return Update(self._begin + encode(argument) + b"]", subject, replaces, head=self._head)


def ack(namespace: str, id: int, args: Sequence[object]) -> Message:
    """Return the ack to a client's event. Raises `TypeError` for a value that JSON cannot represent."""
    args, attachments = take_attachments(args)
    kind = PacketType.BINARY_ACK if attachments else PacketType.ACK
    return Message(encode_packet(kind, namespace, args, id=id, attachments=len(attachments)), attachments)
