"""The messages of a log's events, as log_append.lua puts them together."""

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.recovery.ports import LoggedEvent
from synkora.recovery.position import Position
from synkora.redis_adapter.log_codec import BEGINNING, message_around, read_message
from synkora.redis_adapter.wire_codec import InvalidMessage, read_broadcast

NAMESPACE = "/board"
NAMES = st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=3).map(tuple)


def published(event: LoggedEvent, text: bytes | None = None) -> bytes:
    head, tail = message_around(event, NAMESPACE, "sender", 7)
    if text is None:
        text = event.data[:-1] + b',"epoch.2a"]'
    return head + b"\xdb" + struct.pack(">I", len(text)) + text + tail


def an_event(**changes: Any) -> LoggedEvent:
    fields = {"data": b'["say",1]', "rooms": ("room",), "except_rooms": ("sid",), "members_only": True, **changes}
    return LoggedEvent(number=42, attachments=(), key=None, **fields)


@given(st.text(max_size=300), NAMES, NAMES, st.booleans())
def test_an_event_comes_back_with_its_position(
    said: str, rooms: tuple[str, ...], left_out: tuple[str, ...], own: bool
) -> None:
    data = json.dumps(["say", said], ensure_ascii=False).encode(errors="replace")
    event = an_event(data=data, rooms=rooms, except_rooms=left_out, members_only=own)
    entry, position = read_message(published(event))
    assert entry == (event, "sender", 7)
    assert position == Position("epoch", 42)


@given(st.text(st.characters(codec="utf-8"), max_size=300), NAMES)
def test_it_is_a_message_of_nodejs_adapter(said: str, rooms: tuple[str, ...]) -> None:
    event = an_event(data=json.dumps(["say", said]).encode(), rooms=rooms)
    message = published(event)
    broadcast = read_broadcast(message)
    assert message.startswith(BEGINNING)
    assert broadcast.packet.nsp == NAMESPACE
    assert broadcast.opts.rooms == list(rooms)


@pytest.mark.parametrize(
    "text",
    [b"", b"[", b'["say"', b'{"say":1}', b"[]", b'["say","\xff","epoch.2a"]', b'["connect","epoch.2a"]', b'["say",1]'],
)
def test_a_text_that_is_no_event_with_a_position_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidMessage):
        read_message(published(an_event(), text))
