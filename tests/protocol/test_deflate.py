import gzip as standard
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.protocol.deflate import accepts_gzip, compressed_blocks, gzip, stored_blocks

PARTS = st.lists(st.tuples(st.binary(max_size=300), st.booleans()))


@given(PARTS)
def test_blocks_of_both_kinds_make_a_file_that_any_reader_can_read(parts: list[tuple[bytes, bool]]) -> None:
    """Separately encoded parts, compressed or stored, make one file with checksum and length."""
    data = b"".join(part for part, _ in parts)
    blocks = [compressed_blocks(part) if compress else stored_blocks(part) for part, compress in parts]
    assert standard.decompress(gzip(data, blocks)) == data


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 200_000])
def test_stored_data_may_have_any_size(size: int) -> None:
    """In as many blocks of 65,535 bytes as needed."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert standard.decompress(gzip(data, [stored_blocks(data)])) == data


def test_a_part_refers_to_no_other() -> None:
    """It can be made once for all recipients."""
    part = b"the same words, " * 100
    blocks = compressed_blocks(part)
    assert zlib.decompressobj(wbits=-15).decompress(blocks) == part
    assert standard.decompress(gzip(part + part, [blocks, blocks])) == part + part


ACCEPTED = ("gzip", "gzip, deflate, br, zstd", "deflate;q=1.0, GZIP;q=0.5", "br , gzip ;q=0.001", "*")


@pytest.mark.parametrize("header", [*ACCEPTED, "identity;q=0, *;q=0.1"])
def test_gzip_is_used_where_it_is_accepted(header: str) -> None:
    """By its name in either case, with any weight, or by a star."""
    assert accepts_gzip(header)


@pytest.mark.parametrize(
    "header",
    [
        *("", "identity", "deflate, br", "gzip;q=0", "gzip; Q=0.000 , br", "gzip;q=0, *", "*;q=0", "xgzip", "gzip2, ;"),
        "gzip" + "," * 1000,
    ],
)
def test_gzip_is_not_used_where_it_is_not(header: str) -> None:
    """Not listed, or with the weight 0 (RFC 9110 section 12.4.2), or in a list that takes long to read."""
    assert not accepts_gzip(header)
