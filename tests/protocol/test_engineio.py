import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.protocol.engineio import PacketType, encode_polling, join_payload, open_packet, split_payload
from synkora.protocol.errors import ProtocolError

TEXT = st.text().map(lambda text: b"4" + text.replace("\x1e", "").encode())


def test_the_open_packet_has_milliseconds_where_the_settings_have_seconds() -> None:
    packet = open_packet("abc", ["websocket"], 25, 0.0205, 1_000_000)
    assert packet[0] == PacketType.OPEN
    assert json.loads(packet[1:]) == {
        "sid": "abc",
        "upgrades": ["websocket"],
        "pingInterval": 25000,
        "pingTimeout": 20,
        "maxPayload": 1_000_000,
    }


def test_the_packets_of_a_payload_are_separated_by_the_record_separator() -> None:
    """U+001E, as in the protocol's example."""
    assert join_payload([b"4hello", b"2", b"4world"]) == b"4hello\x1e2\x1e4world"


def test_binary_packets_travel_as_base64_behind_a_b() -> None:
    """The protocol's own example: the bytes 1 to 4 are bAQIDBA==."""
    assert encode_polling(b"4hello", (b"\x01\x02\x03\x04",)) == b"4hello\x1ebAQIDBA=="
    assert list(split_payload(b"4hello\x1ebAQIDBA==")) == [(False, b"4hello"), (True, b"\x01\x02\x03\x04")]


@given(st.lists(st.tuples(TEXT, st.lists(st.binary(), max_size=3)), min_size=1))
def test_a_polling_payload_is_split_into_the_same_packets(packets: list[tuple[bytes, list[bytes]]]) -> None:
    payload = join_payload([encode_polling(text, tuple(binaries)) for text, binaries in packets])
    expected: list[tuple[bool, bytes]] = []
    for text, binaries in packets:
        expected += [(False, text), *((True, data) for data in binaries)]
    assert list(split_payload(payload)) == expected


@pytest.mark.parametrize("payload", [b"", b"\x1e", b"4a\x1e", b"\x1e4a", b"4a\x1e\x1e4b"])
def test_an_empty_packet_breaks_the_protocol(payload: bytes) -> None:
    """Between two separators, or as the whole payload. No packet of such a payload is handled."""
    with pytest.raises(ProtocolError, match="empty packet"):
        split_payload(payload)


@pytest.mark.parametrize("payload", [b"bA", b"b!!!!", b"bAQIDB", b"bAQIDBA==AA", b"b\xff\xff\xff\xff"])
def test_a_binary_packet_that_is_no_base64_breaks_the_protocol(payload: bytes) -> None:
    """A group of one character, a character of no alphabet, and data after the padding."""
    with pytest.raises(ProtocolError, match="base64"):
        list(split_payload(payload))


@given(data=st.binary(), width=st.integers(1, 76), padded=st.booleans(), alphabet=st.sampled_from([b"+/", b"-_"]))
def test_base64_is_read_as_nodejs_reads_it(data: bytes, width: int, padded: bool, alphabet: bytes) -> None:
    """Line breaks, missing padding and the URL alphabet make no difference (Node.js: `Buffer.from(text, "base64")`)."""
    text = base64.b64encode(data, alphabet)
    if not padded:
        text = text.rstrip(b"=")
    lines = b"\r\n".join(text[at : at + width] for at in range(0, len(text), width))
    assert list(split_payload(b"b" + lines)) == [(True, data)]


@given(st.binary())
def test_arbitrary_bytes_are_split_or_refused(payload: bytes) -> None:
    """Splitting returns packets or raises ProtocolError."""
    try:
        packets = list(split_payload(payload))
    except ProtocolError:
        return
    rebuilt = [b"b" + base64.b64encode(data) if binary else data for binary, data in packets]
    assert [part[:1] for part in payload.split(b"\x1e")] == [part[:1] for part in rebuilt]
