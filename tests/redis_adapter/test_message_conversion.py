"""Events of other servers, as clients get them."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Raw, msgpack

from synkora.engine.message import Message
from synkora.protocol.socketio import MAX_ATTACHMENTS
from synkora.redis_adapter.message_conversion import LARGE, message_of, published_event_of
from synkora.redis_adapter.wire_codec import (
    BroadcastMessage,
    InvalidMessage,
    Options,
    PublishedEvent,
    may_hold_binary,
    read_broadcast,
    write,
)
from synkora.sockets import packets

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def received(data: list[Any], nsp: str = "/") -> PublishedEvent:
    return read_broadcast(msgpack.encode(["abcdef", {"type": 2, "data": data, "nsp": nsp}, {}])).packet


@given(st.lists(VALUES), st.sampled_from(["/", "/other", "/é"]))
def test_clients_of_all_servers_get_the_same(values: list[Any], namespace: str) -> None:
    """An event is unchanged after a round trip to another server, attachments included."""
    sent = packets.event(namespace, "x", values)
    assume(len(sent.attachments) <= MAX_ATTACHMENTS)
    message = write(BroadcastMessage("abcdef", published_event_of(sent, namespace), Options()))
    got = message_of(read_broadcast(message).packet, is_plain=not may_hold_binary(message))
    assert (got.head, got.attachments) == (sent.head, sent.attachments)
    assert json.loads(got.data) == json.loads(sent.data)


def of_text(text: object, **more: Any) -> PublishedEvent:
    packet = {"type": 2, "id": text, "nsp": "/", **more}
    return read_broadcast(msgpack.encode(["abcdef", packet, {}])).packet


@pytest.mark.parametrize("namespace", ["/", "/other"])
@pytest.mark.parametrize("volatile", [False, True])
def test_a_large_event_is_handed_on_as_its_text(namespace: str, volatile: bool) -> None:
    """Byte for byte, in the id, which Node.js writes to its clients unchanged."""
    content = Raw(b'[1.0, 1e400, "\xc3\xa9 \\ud83d", ' + b"[]," * 10_000 + b"{}]")
    sent = packets.event(namespace, "x", [content], volatile=volatile)
    event = published_event_of(sent, namespace, may_be_text=True)
    message = write(BroadcastMessage("abcdef", event, Options()))
    assert len(message) < len(sent.packet) + 100
    assert msgpack.decode(message)[1] == {"type": 2, "nsp": namespace, "id": event.id}
    got = message_of(read_broadcast(message).packet, volatile=volatile)
    assert (got.packet, got.attachments, got.volatile) == (sent.packet, (), volatile)


@pytest.mark.parametrize("size", [10, 30_000], ids=["values", "text"])
def test_it_says_whether_to_compress(size: int) -> None:
    event = published_event_of(packets.event("/", "x", ["a" * size]), "/", may_be_text=True)
    assert message_of(event).compress
    assert not message_of(event, compress=False).compress


@pytest.mark.parametrize("text", [r"\ud83d", r"\uDE00 \ud83d\ude00", r"\\\udfff"])
def test_an_event_with_half_a_surrogate_pair_is_handed_on_as_its_text(text: str) -> None:
    """MessagePack cannot encode it. A pair, or an event that cannot be text, keeps its form."""
    sent = packets.event("/", "x", [Raw(f'"{text}"'.encode())])
    event = published_event_of(sent, "/", may_be_text=True)
    assert event.id == sent.data.decode()
    assert message_of(read_broadcast(write(BroadcastMessage("abcdef", event, Options()))).packet).packet == sent.packet
    other = read_broadcast(write(BroadcastMessage("abcdef", published_event_of(sent, "/"), Options()))).packet
    assert "\ufffd" in str(other.data)
    binary = packets.event("/", "x", [Raw(f'"{text}"'.encode()), b"a"])
    kept = read_broadcast(
        write(BroadcastMessage("abcdef", published_event_of(binary, "/", may_be_text=True), Options()))
    ).packet
    assert "\ufffd" in str(kept.data)
    pair = packets.event("/", "x", [Raw(rb'"\ud83d\ude00"')])
    assert published_event_of(pair, "/", may_be_text=True).data == ["x", "😀"]


@pytest.mark.parametrize("value", ["Ą", 196, 1.5], ids=["letter", "integer", "float"])
def test_few_values_that_look_like_binary_data_are_decoded(value: object) -> None:
    """For other servers, a byte of such a value could be the mark of binary data: they would search all values."""
    sent = packets.event("/", "canvas:cursor", [value, [[]] * 600])
    message = write(BroadcastMessage("abcdef", published_event_of(sent, "/", may_be_text=True), Options()))
    packet = msgpack.decode(message)[1]
    assert "data" not in packet
    assert packet["id"] == sent.data.decode()


def test_an_event_becomes_text_from_a_size_on() -> None:
    """Smaller ones, ones with attachments, and ones that need the id for acks keep Node.js' form."""
    text = "x" * (LARGE - len('["x",""]'))
    assert published_event_of(packets.event("/", "x", [text[1:]]), "/", may_be_text=True).data == ["x", text[1:]]
    large = packets.event("/", "x", [text])
    assert published_event_of(large, "/", may_be_text=True).id == large.data.decode()
    assert published_event_of(large, "/").data == ["x", text]
    assert published_event_of(packets.event("/", "x", [text, b"a"]), "/", may_be_text=True).data == ["x", text, b"a"]


@pytest.mark.parametrize(
    "event",
    [
        of_text(""),
        of_text("{}"),
        of_text("[]"),
        of_text("7"),
        of_text(7),
        of_text(b'["x"]'),
        of_text(["x"]),
        of_text('["disconnect"]'),
        of_text('["\\u0064isconnect"]'),
        of_text("[null]"),
        of_text(' ["x"]'),
        of_text('7["x"]'),
        of_text('["x"]]'),
        of_text('["x"]["y"]'),
        of_text('["x",[1,]]'),
        of_text('["x",NaN]'),
        of_text('["x","\x00"]'),
        of_text('["x",' + "[" * 10_000 + "]" * 10_000 + "]"),
        of_text('["x"]', type=0),
        of_text('["x"]', type=5),
        of_text('["x"]', data=[]),
    ],
    ids=lambda event: str(event)[:60],
)
def test_text_that_is_no_event_is_refused(event: PublishedEvent) -> None:
    """A writer in Redis cannot forge a packet: syntax, name and kind are checked to the end."""
    with pytest.raises(InvalidMessage):
        message_of(event)


@pytest.mark.parametrize(
    ("extension", "text"),
    [
        ("d6ff00000001", "1970-01-01T00:00:01.000Z"),
        ("d7ff7735940000000001", "1970-01-01T00:00:01.500Z"),
        ("c70cff000f4240ffffffffffffffff", "1969-12-31T23:59:59.001Z"),
        ("d700000001932f3c5c00", "2024-11-15T09:51:45.152Z"),
        ("d7007fffffffffffffff", None),
        ("d40000", None),
    ],
    ids=["seconds", "nanoseconds", "before 1970", "of notepack 2", "no date", "undefined"],
)
def test_dates_and_undefined_are_what_javascript_makes_of_them(extension: str, text: str | None) -> None:
    """The text of JSON.stringify for a Date, and null for undefined."""
    data = msgpack.encode(["x", [0]])[:-1] + bytes.fromhex(extension)
    event = read_broadcast(b"\x93\xa1a\x82\xa4type\x02\xa4data" + data + b"\x80").packet
    assert message_of(event).packet == b'42["x",[' + json.dumps(text).encode() + b"]]"


def test_array_buffers_and_unknown_extensions_are_binary_data() -> None:
    """An unknown extension is its code with its bytes, as in notepack."""
    got = message_of(received(["x", msgpack.Ext(0, b"abc"), {"b": msgpack.Ext(5, b"de")}]))
    assert got.attachments == (b"abc", b"de")
    assert got.packet == b'452-["x",{"_placeholder":true,"num":0},{"b":[5,{"_placeholder":true,"num":1}]}]'


def test_nan_and_infinity_are_null() -> None:
    """As in JSON.stringify."""
    assert message_of(received(["x", math.nan, math.inf, -math.inf])).packet == b'42["x",null,null,null]'


def test_an_event_gets_its_namespace_and_its_mark() -> None:
    """Both are outside of its data in the other server's message."""
    got = message_of(received(["x", b"a"], "/other"), volatile=True)
    assert got.packet == b'451-/other,["x",{"_placeholder":true,"num":0}]'
    assert got.volatile


def test_an_events_name_may_be_a_number() -> None:
    assert message_of(received([5, 1])).packet == b"42[5,1]"


@pytest.mark.parametrize(
    "event",
    [
        PublishedEvent(2),
        PublishedEvent(2, []),
        PublishedEvent(2, [None]),
        PublishedEvent(2, [True]),
        PublishedEvent(2, [["x"]]),
        PublishedEvent(2, ["disconnect"]),
        PublishedEvent(3, ["x"]),
        PublishedEvent(2, ["x", {(1, 2): 1}]),
        PublishedEvent(2, ["x", b"a", {"_placeholder": True, "num": 7}]),
        PublishedEvent(2, ["x", {"_placeholder": True, "num": "0"}, b"a"]),
        PublishedEvent(2, ["x", {"_placeholder": True, "num": 0}, b"a"]),
        PublishedEvent(2, ["x", *[b"a"] * 11]),
    ],
    ids=str,
)
def test_events_that_would_harm_clients_are_refused(event: PublishedEvent) -> None:
    """A client closes its connection over an invalid packet, and reserved names have a meaning in Socket.IO."""
    with pytest.raises(InvalidMessage):
        message_of(event)


def test_a_date_is_text_within_binary_events_too() -> None:
    got = message_of(PublishedEvent(2, ["x", {"a": [datetime(2024, 1, 2, tzinfo=UTC), b"b"]}]))
    assert json.loads(got.data) == ["x", {"a": ["2024-01-02T00:00:00.000Z", {"_placeholder": True, "num": 0}]}]


def test_an_event_is_not_larger_for_other_servers_than_for_clients() -> None:
    """An attachment with many placeholders is written once."""
    placeholder = b',{"_placeholder":true,"num":0}'
    sent = Message(b'["x"' + placeholder * 1000 + b"]", (bytes(10_000),))
    with pytest.raises(InvalidMessage, match="illegal attachments"):
        published_event_of(sent, "/")


def test_an_omitted_attachment_is_not_relayed() -> None:
    assert published_event_of(Message(b'["x",{"_placeholder":true,"num":1}]', (b"a", b"b")), "/").data == ["x", b"b"]


@pytest.mark.parametrize("text", [b"1" * 5000, b"[" * 10_000 + b"]" * 10_000], ids=["digits", "depth"])
def test_unreadable_data_is_not_forwarded(text: bytes) -> None:
    """Numbers of thousands of digits, or very deep nesting: clients of this server may exchange them."""
    with pytest.raises(InvalidMessage):
        published_event_of(Message(b'["x",' + text + b"]"), "/")
