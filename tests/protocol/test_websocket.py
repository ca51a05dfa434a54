import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.wire import parse_frames
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from synkora.protocol.errors import PayloadTooLarge, ProtocolError
from synkora.protocol.websocket import accepts_compression, binary_frame, compressed_frame, decompress, text_frame

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000]
PAYLOADS = st.binary(max_size=300) | st.sampled_from(SIZES).map(bytes)


def deflate_extension() -> PerMessageDeflate:
    """A client's permessage-deflate without context takeover in either direction."""
    return PerMessageDeflate(
        remote_no_context_takeover=True,
        local_no_context_takeover=True,
        remote_max_window_bits=15,
        local_max_window_bits=15,
    )


@given(PAYLOADS, PAYLOADS)
def test_frames_are_read_back_by_another_library(text: bytes, binary: bytes) -> None:
    """Consecutive frames of any size are whole, unmasked messages of their kinds."""
    assert parse_frames(text_frame(text) + binary_frame(binary)) == [
        Frame(Opcode.TEXT, text),
        Frame(Opcode.BINARY, binary),
    ]


@given(st.binary(max_size=2000) | st.sampled_from(SIZES).map(bytes), st.booleans())
def test_compressed_frames_are_read_back_by_another_library(payload: bytes, binary: bool) -> None:
    """Only the first reserved bit is set, and no earlier context is needed."""
    wire = compressed_frame(payload, binary=binary)
    assert wire[0] & 0x70 == 0x40
    assert parse_frames(wire, [deflate_extension()]) == [Frame(Opcode.BINARY if binary else Opcode.TEXT, payload)]


def test_compression_makes_repetitive_messages_smaller() -> None:
    document = b'{"cell":"A1","value":0},' * 1000
    assert len(compressed_frame(document)) < len(document) / 10


def deflated(payload: bytes, level: int = -1, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    deflate = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return (deflate.compress(payload) + deflate.flush(flush)).removesuffix(b"\x00\x00\xff\xff")


@given(st.binary(max_size=2000), st.integers(0, 9))
def test_messages_compressed_by_clients_are_inflated(payload: bytes, level: int) -> None:
    """Of any compression level, including stored ones."""
    assert decompress(deflated(payload, level), 2000) == payload


def test_a_final_deflate_block_is_accepted() -> None:
    """RFC 7692 section 7.2.3.4: a client may end its data with a final block."""
    assert decompress(deflated(b"hello", flush=zlib.Z_FINISH) + b"\x00", 100) == b"hello"


def test_a_message_of_exactly_the_limit_is_accepted() -> None:
    assert decompress(deflated(bytes(1000)), 1000) == bytes(1000)
    with pytest.raises(PayloadTooLarge):
        decompress(deflated(bytes(1001)), 1000)


def test_a_bomb_is_not_inflated_past_the_limit() -> None:
    """A hundred megabytes in a hundred kilobytes are refused at the limit, before memory is used."""
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = bytes(1_000_000)
    bomb = b"".join(deflate.compress(block) for _ in range(100)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 110_000
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge):
            decompress(bomb, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_inflated_or_refused(data: bytes) -> None:
    """The result is a message within the limit or a ProtocolError."""
    try:
        assert len(decompress(data, 1000)) <= 1000
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    "offers",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=12",
        'permessage-deflate; client_max_window_bits="15"; server_no_context_takeover; client_no_context_takeover',
        "Permessage-Deflate ; Server_No_Context_Takeover",
        "x-webkit-deflate-frame, permessage-deflate; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
    ],
)
def test_an_offer_without_a_server_window_is_accepted(offers: str) -> None:
    """One acceptable offer among several is enough."""
    assert accepts_compression(offers)


@pytest.mark.parametrize(
    "offers",
    [
        "",
        "permessage-bzip",
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; unheard_of",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_max_window_bits=8; client_max_window_bits=9",
        "permessage-deflate;",
        ",;,",
        "permessage-deflate" + "," * 1000,
    ],
)
def test_an_invalid_offer_or_one_that_limits_the_server_is_skipped(offers: str) -> None:
    """All clients get the same bytes, so none may ask for another window. Unknown, repeated and invalid
    parameters decline the offer.
    """
    assert not accepts_compression(offers)
