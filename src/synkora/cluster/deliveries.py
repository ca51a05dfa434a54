"""Events between the form in which clients get them and the one in which servers hand them on."""

from datetime import datetime
from types import NoneType
from typing import Any, Final

from synkora.cluster import numbers
from synkora.cluster.formats import Event, InvalidMessage
from synkora.engine.outgoing import Outgoing
from synkora.protocol import json
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.socketio import (
    MAX_ATTACHMENTS,
    RESERVED_EVENTS,
    PacketType,
    check_placeholders,
    decode_arguments,
    encode_packet,
)

_ARGUMENTS: Final[json.Decoder[list[Any]]] = json.Decoder(list[Any], numbers.parse)
_EVENTS: Final = (PacketType.EVENT, PacketType.BINARY_EVENT)
_LEAVES: Final = frozenset((str, int, float, bool, NoneType))


def event_of(message: Outgoing, namespace: str) -> Event:
    """The event that a message brings to clients. Raises `InvalidMessage` where it is nested too deeply."""
    attachments = message.attachments
    kind = PacketType.BINARY_EVENT if attachments else PacketType.EVENT
    text = message.packet[len(encode_packet(kind, namespace, attachments=len(attachments))) :]
    try:
        if attachments:  # a relay passes on some fields of a payload: those left out may have had attachments
            data = numbers.normalize(decode_arguments(text, attachments, may_leave_out=True))
        else:
            data = _ARGUMENTS.decode(text)
    except (InvalidPayload, ProtocolError, RecursionError) as error:
        raise InvalidMessage(str(error)) from None
    return Event(PacketType.EVENT, data, namespace)


def outgoing(event: Event, *, id: int | None = None, volatile: bool = False, is_plain: bool = False) -> Outgoing:
    """An event as clients get it: bytes as attachments, dates as text. One that `is_plain` has none.

    Raises `InvalidMessage` for what is no event, or what JSON cannot hold.
    """
    name = event.data[0] if event.data else None
    if event.type not in _EVENTS or isinstance(name, bool) or not isinstance(name, str | int | float):
        raise InvalidMessage("no event")
    if name in RESERVED_EVENTS:
        raise InvalidMessage("reserved event name")
    attachments: list[bytes] = []
    try:
        data = event.data if is_plain else _portable(event.data, attachments)
        if len(attachments) > MAX_ATTACHMENTS:
            raise InvalidMessage("too many attachments")
        if attachments:
            check_placeholders(json.encode(data), attachments)
        kind = PacketType.BINARY_EVENT if attachments else PacketType.EVENT
        packet = encode_packet(kind, event.nsp, data, id=id, attachments=len(attachments))
    except (TypeError, RecursionError, InvalidPayload, ProtocolError) as error:
        raise InvalidMessage(str(error)) from None
    return Outgoing(packet, tuple(attachments), volatile=volatile)


def _portable(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, dict):
        return {
            key: item if type(item) in _LEAVES else _portable(item, attachments)  # most are: a call would cost more
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [item if type(item) in _LEAVES else _portable(item, attachments) for item in value]
    if isinstance(value, bytes):
        attachments.append(value)
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, datetime):  # as JSON.stringify writes a Date
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
