import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.protocol import surrogates
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, Raw, encode

KEEPING: Decoder[Any] = Decoder(Any, keeps_halves=True)
#: Halves, pairs, what looks like halves, and characters for private use, which stand for halves while text is decoded.
PARTS = [
    r"\ud83d",
    r"\uDE00",
    r"\uDBFF",
    r"\udc00",
    r"\\",
    r"\n",
    r"\ue000",
    r"\uE001",
    r"\uf8ff",
    "\ue000",
    "\ue001",
    "u",
    "d83d",
]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=20).map("".join)


class Drawing(msgspec.Struct):
    """A Struct with both kinds of fields."""

    name: str
    points: Raw


@dataclass
class Person:
    name: str


@given(TEXTS, TEXTS)
def test_texts_are_decoded_and_encoded_like_in_python(key: str, text: str) -> None:
    """Lone surrogates in keys and values are decoded as such, and encoded as their escapes."""
    data = f'{{"{key}":["{text}",{{"x":"{text}"}},1]}}'.encode()
    value = KEEPING.decode(data)
    assert value == json.loads(data)
    assert json.loads(encode(value)) == value


@given(TEXTS)
def test_undecoded_json_keeps_its_bytes(text: str) -> None:
    """Including the case of an escape's digits."""
    data = f'["{text}",{{"a":"{text}"}}]'.encode()
    assert b"[%b]" % b",".join(map(bytes, Decoder[list[Raw]](list[Raw]).decode(data))) == data
    name = json.loads(f'"{text}"')
    drawing = Decoder[Drawing](Drawing, keeps_halves=True).decode(b'{"name":"%b","points":%b}' % (text.encode(), data))
    assert (drawing.name, bytes(drawing.points)) == (name, data)
    assert encode(drawing).endswith(b',"points":%b}' % data)
    assert json.loads(encode(drawing))["name"] == name


class Publication(msgspec.Struct):
    event: Annotated[str, msgspec.Meta(max_length=3)]
    data: Raw


def test_a_limited_text_beside_undecoded_json_has_its_own_length() -> None:
    """Halves and pairs count as one character each. A text that is too long is refused."""
    decoder = Decoder[Publication](Publication)
    assert decoder.decode(rb'{"event":"\ud83d\ude00\ud83da","data":1}').event == "\U0001f600\ufffda"
    with pytest.raises(InvalidPayload, match="length <= 3"):
        decoder.decode(rb'{"event":"\ud83d123","data":1}')


def test_values_of_all_kinds_are_encoded() -> None:
    """Structs, dataclasses, tuples and undecoded JSON around a lone surrogate."""
    value = {"a": (Drawing("\ud83d", Raw(rb'"\ue000"')), Person("\udc00")), "\ud83d": None}
    assert encode(value) == rb'{"a":[{"name":"\ud83d","points":"\ue000"},{"name":"\udc00"}],"\ud83d":null}'


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (rb'"\ud83d"', True),
        (rb'"\uDE00x"', True),
        (rb'"\ud83d\ude00"', False),
        (rb'"\\ud83d"', False),
        (b'"x"', False),
    ],
)
def test_halves_are_found(data: bytes, found: bool) -> None:
    """Pairs, and text after an escaped backslash, are none."""
    assert surrogates.has_half(data) is found


def test_halves_are_replaced() -> None:
    """With U+FFFD, for types without another form."""
    assert surrogates.replaced(["a\ud83d", {"\udc00": b"\xed"}]) == ["a\ufffd", {"\ufffd": b"\xed"}]


def python_calls(work: Callable[[], object]) -> int:
    """The number of calls of Python functions. Those of C code are not counted."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("decoder", [KEEPING, Decoder(Any), Decoder(list[Raw])], ids=["kept", "replaced", "undecoded"])
@pytest.mark.parametrize(
    ("before", "piece", "after"),
    [
        *(
            ('"', piece, '"')
            for piece in (r"\ue000", r"\uE001", r"\uf8ff", "\ue001", r"\n", r"\\", r"\\u", r"\ud83d\ude00")
        ),
        ("[0", ",0", "]"),
    ],
)
def test_other_text_is_read_without_python_code(decoder: Decoder[Any], before: str, piece: str, after: str) -> None:
    """A half makes a text hardly dearer than plain text: however large it is, Python code runs as often."""

    def calls(size: int) -> int:
        text = rf'["\ud83d",{before}{piece * size}{after}]'.encode()
        return python_calls(lambda: decoder.decode(text))

    calls(1)
    assert calls(10) == calls(10_000)


@pytest.mark.parametrize(
    "data",
    [
        *(rb'["\ud83d","\ud8zz"]', rb'["\ud83d","\uD8"]', rb'["\ud83d\\"\ud"]', b'["\\ud83d\0\0"]'),
        *(rb'["\u%b\ud83d"]' % digits for digits in (b"", b"1", b"12", b"123")),
        *(rb'["\ud83d\u%b"]' % digits for digits in (b"", b"1", b"12", b"123")),
    ],
)
@pytest.mark.parametrize("decoder", [KEEPING, Decoder(Any), Decoder(list[Raw])], ids=["kept", "replaced", "undecoded"])
def test_a_text_that_is_no_json_is_refused_beside_a_half(decoder: Decoder[Any], data: bytes) -> None:
    """Also where it would become JSON by the replacement."""
    with pytest.raises(ProtocolError):
        decoder.decode(data)


@given(st.lists(st.sampled_from([*PARTS, "\\", r"\u", r"\u1", r"\u12", r"\u123", '"', ","]), max_size=8).map("".join))
def test_exactly_what_is_json_is_read(inside: str) -> None:
    """Whatever stands beside a half: escapes that are cut, backslashes, and ends of strings."""
    data = f'["{inside}"]'.encode()
    try:
        expected = json.loads(data)
    except ValueError:
        expected = None
    for decoder in (KEEPING, Decoder(list[Raw])):
        try:
            decoder.decode(data)
        except ProtocolError:
            assert expected is None
        else:
            assert expected is not None


@pytest.mark.parametrize("decoder", [KEEPING, Decoder(list[Raw])], ids=["kept", "undecoded"])
def test_halves_are_read_without_python_code(decoder: Decoder[Any]) -> None:
    """Also very many of them."""

    def calls(size: int) -> int:
        return python_calls(lambda: decoder.decode(rb'["%b"]' % (rb"\ud83d" * size)))

    calls(1)
    assert calls(10) == calls(10_000)


@pytest.mark.parametrize("piece", [rb"\ue000", "\ue001".encode(), rb"\ud83d"])
def test_a_half_beside_undecoded_text_costs_no_python_code(piece: bytes) -> None:
    """A user's name with a half is in the events with the user's data."""

    def calls(size: int) -> int:
        return python_calls(lambda: encode(Drawing("\ud83d", Raw(b'"%b"' % (piece * size)))))

    assert calls(10) == calls(10_000)
