"""Converts events between the form for clients and the form between servers."""

from datetime import datetime
from types import NoneType
from typing import Any, Final

from msgspec import UNSET

from synkora.engine.message import Message
from synkora.protocol import json, surrogates
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.socketio import (
    MAX_ATTACHMENTS,
    RESERVED_EVENTS,
    PacketType,
    check_event,
    check_placeholders,
    decode_arguments,
)
from synkora.protocol.timestamps import timestamp
from synkora.redis_adapter import js_numbers
from synkora.redis_adapter.wire_codec import InvalidMessage, PublishedEvent
from synkora.sockets.packets import event_of_json

_ARGUMENTS: Final[json.Decoder[list[Any]]] = json.Decoder(list[Any], js_numbers.parse)
LARGE: Final = 1_024  # bytes of JSON from which an event is forwarded as text: decoding it would cost too much
_EVENTS: Final = (PacketType.EVENT, PacketType.BINARY_EVENT)
_LEAVES: Final = frozenset((str, int, float, bool, NoneType))


def published_event_of(message: Message, namespace: str, *, may_be_text: bool = False) -> PublishedEvent:
    """Return a message's event for other servers; with `may_be_text`, a large one as its JSON text.

    An event with a lone surrogate, which MessagePack cannot represent, is a text too, or else gets U+FFFD.

    Raises `InvalidMessage` if it is nested too deeply.
    """
    text, attachments = message.data, message.attachments
    try:
        if attachments:  # a relay forwards some fields of a payload: the omitted ones may have had attachments
            data = js_numbers.normalize(decode_arguments(text, attachments, may_leave_out=True))
        elif may_be_text and (len(text) >= LARGE or surrogates.has_half(text)):
            return PublishedEvent(PacketType.EVENT, nsp=namespace, id=text.decode())
        else:
            data = _ARGUMENTS.decode(text)
    except (InvalidPayload, ProtocolError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidMessage(str(error)) from None
    return PublishedEvent(PacketType.EVENT, data, namespace)


def message_of(
    event: PublishedEvent, *, volatile: bool = False, compress: bool = True, is_plain: bool = False
) -> Message:
    """An event as clients get it: bytes as attachments, dates as text. One that `is_plain` has none.

    Raises `InvalidMessage` for an invalid event, and for values that JSON cannot represent.
    """
    if event.data is UNSET:
        return event_of_json(event.nsp, text_of(event), volatile=volatile, compress=compress)
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
        text = json.encode(data)
        if attachments:
            check_placeholders(text, attachments)
    except (TypeError, RecursionError, InvalidPayload, ProtocolError) as error:
        raise InvalidMessage(str(error)) from None
    return event_of_json(event.nsp, text, tuple(attachments), volatile=volatile, compress=compress)


def text_of(event: PublishedEvent) -> bytes:
    """Return the JSON array of an event that is forwarded as text. Raises `InvalidMessage`."""
    if event.type != PacketType.EVENT or not isinstance(event.id, str):
        raise InvalidMessage("no event")
    text = event.id.encode()
    try:
        check_event(text)
    except (InvalidPayload, ProtocolError) as error:
        raise InvalidMessage(str(error)) from None
    return text


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
        return timestamp(value)
    return value
