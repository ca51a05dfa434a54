"""The messages of Node.js' adapter: the same bytes as its own library, and decoding of everything that it writes."""

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Raw, msgpack
from tests.support.node_process import NodeProcess

from synkora.engine.message import Message
from synkora.redis_adapter.message_conversion import published_event_of
from synkora.redis_adapter.wire_codec import (
    AdapterRequest,
    AdapterResponse,
    BroadcastMessage,
    InvalidMessage,
    Options,
    PublishedEvent,
    RequestType,
    beginning,
    may_hold_binary,
    read_broadcast,
    read_request,
    read_response,
    room_names,
    write,
    write_json,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[NodeProcess]:
    node = await NodeProcess.start("remote-server.mjs")
    yield node
    await node.stop()


# Objects of JavaScript put keys that are numbers first, whatever the order they came in.
KEYS = st.text().filter(lambda key: not key.isdigit())
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda value: abs(value) < 2**63
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(KEYS, inner, max_size=20),
    max_leaves=40,
)


def written(text: str, *attachments: bytes) -> bytes:
    """An event's JSON array for other servers, without the envelope."""
    event = published_event_of(Message(text.encode(), attachments), "/")
    message = write(BroadcastMessage("", event, Options()))
    whole = write(BroadcastMessage("", PublishedEvent(2, [], "/"), Options()))
    start, end = whole.index(b"data") + 4, len(whole) - whole.index(b"data") - 5
    return message[start : len(message) - end]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(JSON, max_size=20))
async def test_events_are_written_as_node_writes_them(node: NodeProcess, values: list[Any]) -> None:
    """For any JSON, the bytes are notepack's."""
    text = json.dumps(["x", *values])
    assert written(text) == await node.ask("encode", text=text)


SIZES = [0, 15, 16, 31, 32, 255, 256, 65535, 65536]
EDGES = [0, 127, 128, 255, 256, 65535, 65536, 2**31, 2**32 - 1, 2**32, 2**53, 2**63, 2**64 - 2048]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([*EDGES, *(-edge for edge in EDGES[:-2]), *(-1 - edge for edge in EDGES[:10]), -(2**63)]),
        "[1.0, -1.0, 1e3, 1E+2, 0.1e1, -0, -0.0, 4503599627370497.0, 1.5, 1e-7, 5e-324]",
        json.dumps(["a" * size for size in SIZES]),
        json.dumps(["é" * (size // 2) for size in SIZES] + ["\U0001f600", "\u2028", "\x00\x7f"]),
        json.dumps([[None] * size for size in SIZES]),
        json.dumps([{f"k{number}": number for number in range(size)} for size in SIZES]),
    ],
    ids=["integers", "floats", "ascii", "text", "arrays", "objects"],
)
async def test_sizes_are_written_as_node_writes_them(node: NodeProcess, text: str) -> None:
    """At the bounds of each MessagePack form of a number, a text, an array and an object."""
    assert written(text) == await node.ask("encode", text=text)


async def test_binary_data_is_written_as_node_writes_it(node: NodeProcess) -> None:
    parts = [b"\x00" * size for size in SIZES]
    value = ["x", {"a": [1.0, parts], "b": 2.5}]
    places = [{"_placeholder": True, "num": number} for number in range(len(parts))]
    text = json.dumps(["x", {"a": [1.0, places], "b": 2.5}])
    assert written(text, *parts) == await node.ask("encode", value=value)


async def test_numbers_beyond_64_bits_reach_node_as_it_would_read_them(node: NodeProcess) -> None:
    """As the nearest double. Node.js itself writes wrong ones."""
    values = [2**64, -(2**63) - 1, 2**70, 1e300, -1e300, 10**400, -(10**400)]
    *finite, infinite, least = await node.ask("decode", bytes=written(json.dumps(values)))
    assert [float(value) for value in finite] == [2.0**64, -(2.0**63), 2.0**70, 1e300, -1e300]
    assert (infinite, least) == ({"$number": "Infinity"}, {"$number": "-Infinity"})
    number, data = await node.ask("decode", bytes=written('[1e30,{"_placeholder":true,"num":0}]', b"x"))
    assert (float(number), data) == (1e30, b"x")


BROADCASTS = [
    BroadcastMessage("abcdef", PublishedEvent(2, ["x"], "/"), Options([], [], {})),
    BroadcastMessage(
        "abcdef", PublishedEvent(2, ["x", {"a": [1, 1.5, None, True]}, b"\x00"], "/"), Options(["r"], ["s"], {})
    ),
    BroadcastMessage("emitter", PublishedEvent(2, ["x", -1], "/é"), Options(["r", 5, 1.5], [], {"volatile": True})),
]
REQUESTS = [
    AdapterRequest(uid="abcdef", request_id="ghijkl", type=RequestType.ALL_ROOMS),
    AdapterRequest(uid="abcdef", type=RequestType.REMOTE_JOIN, opts=Options(["r"], []), rooms=["é", 5]),
    AdapterRequest(uid="abcdef", type=RequestType.REMOTE_DISCONNECT, opts=Options([], ["s"]), close=True),
    AdapterRequest(uid="abcdef", request_id="ghijkl", type=RequestType.SERVER_SIDE_EMIT, data=["x", {"a": None}]),
    AdapterRequest(type=RequestType.REMOTE_LEAVE, sid="s", room="r"),
]
POLL = AdapterRequest(
    uid="abcdef",
    request_id="g",
    type=7,
    packet=PublishedEvent(2, ["x", b""], "/"),
    opts=Options(["r"], [], {"timeout": 1000}),
)
RESPONSES = [
    AdapterResponse(request_id="ghijkl", sockets=[Raw(b'"s"')]),
    AdapterResponse(request_id="ghijkl", rooms=["r", 5]),
    AdapterResponse(request_id="ghijkl"),
    AdapterResponse(type=RequestType.SERVER_SIDE_EMIT, request_id="ghijkl", data=[1]),
    AdapterResponse(type=RequestType.BROADCAST_CLIENT_COUNT, request_id="ghijkl", client_count=3),
]
ACK = AdapterResponse(type=RequestType.BROADCAST_ACK, request_id="ghijkl", packet={"a": b"\x00"})


async def test_messages_are_read_as_they_were_written() -> None:
    """For all kinds of messages and in both forms."""
    for broadcast in BROADCASTS:
        assert read_broadcast(write(broadcast)) == broadcast
        assert write(broadcast).startswith(beginning(broadcast.uid))
    for request in REQUESTS:
        assert read_request(write_json(request)) == read_request(write(request)) == request
    assert read_request(write(POLL)) == POLL
    for response in RESPONSES:
        assert read_response(write_json(response)) == response
        if response.sockets is UNSET:  # sockets are always JSON
            assert read_response(write(response)) == response
    assert read_response(write(ACK)) == ACK


async def test_an_emitter_may_omit_defaults() -> None:
    """No namespace is the main one, and no options are everyone."""
    read = read_broadcast(msgpack.encode(["emitter", {"type": 2, "data": ["x"], "more": 1}, {}]))
    assert read == BroadcastMessage("emitter", PublishedEvent(2, ["x"], "/"), Options([], []))
    assert read.opts.flag("volatile") is None
    assert read_broadcast(msgpack.encode(["e", {"type": 2, "data": []}, {"flags": None}])).opts.flag("volatile") is None


async def test_rooms_that_are_numbers_have_the_names_that_javascript_gives_them() -> None:
    """A whole number has no fraction, in any encoding."""
    assert room_names(["r", 5, -1, 5.0, 1.5]) == ["r", "5", "-1", "5", "1.5"]


@given(JSON | st.binary(), st.booleans())
async def test_binary_data_is_never_overlooked(value: Any, nested: bool) -> None:
    """A message reported as plain is plain. A plain one may be reported as binary."""
    message = msgpack.encode({"a": [value]} if nested else value)
    if isinstance(value, bytes):
        assert may_hold_binary(message)
    for extension in (1, 2, 3, 4, 8, 16, 255, 256, 65536):
        assert may_hold_binary(msgpack.encode([value, msgpack.Ext(0, b"\x00" * extension)]))
    assert not may_hold_binary(msgpack.encode(["x", {"text": "ascii", "number": 7}]))


HOSTILE = [
    b"",
    b"\x93",
    b"\xc1",
    b"{",
    b"{}",
    b"[]",
    b'{"type":"2"}',
    b"\x93\xa6abcdef\xc0\xc0",
    b"\x93\xa6abcdef\x81\xa4data\x90\x80",
    b"\x93\xa1a\x82\xa4type\x02\xa4data\x81\xa1a\x01\x80",
    b"\x91" * 100_000 + b"\xc0",
    b'{"type":6,"data":' + b"[" * 100_000,
    b'{"type":0,"requestId":"' + b"\xff" * 8 + b'"}',
    msgpack.encode(["a", {"type": 2, "data": ["x"]}, {"rooms": [None]}]),
    msgpack.encode(["a", {"type": 2, "data": ["x"]}, {"rooms": "r"}]),
    msgpack.encode(["a", {"type": 2, "data": ["x"]}, {}]) + b"\x00",
    write(BROADCASTS[1])[:-1],
]


@pytest.mark.parametrize("message", HOSTILE, ids=[str(message[:16]) for message in HOSTILE])
async def test_an_invalid_message_is_refused(message: bytes) -> None:
    """Malformed, of another type, or nested a hundred thousand levels deep."""
    for read in (read_broadcast, read_request, read_response):
        with pytest.raises(InvalidMessage):
            read(message)


@given(st.binary())
async def test_arbitrary_bytes_are_read_or_refused(message: bytes) -> None:
    """Only `InvalidMessage` is raised, after any valid beginning."""
    for prefix in (b"", beginning("abcdef"), b'{"type":', write(POLL)[:20]):
        for read in (read_broadcast, read_request, read_response):
            try:
                read(prefix + message)
            except InvalidMessage:
                pass


async def test_nothing_too_deep_is_written() -> None:
    """A client's data may be nested deeper than MessagePack's encoder supports."""
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(InvalidMessage):
        write(BroadcastMessage("abcdef", PublishedEvent(2, deep, "/"), Options()))
    with pytest.raises(InvalidMessage):
        write_json(AdapterRequest(type=6, data=deep))


async def test_nan_is_null_to_clients() -> None:
    """As in JSON.stringify."""
    data = read_broadcast(write(BroadcastMessage("a", PublishedEvent(2, [math.nan]), Options()))).packet.data
    assert isinstance(data, list)
    assert math.isnan(data[0])
