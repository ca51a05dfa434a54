import json
import re
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.json_values import json_values

from synkora.protocol import surrogates
from synkora.protocol.errors import InvalidPayload, ProtocolError
from synkora.protocol.json import Decoder, Raw, encode, is_utf8, most_values

ANYTHING: Decoder[Any] = Decoder(Any)
RAW_LIST: Decoder[list[Raw]] = Decoder(list[Raw])

JSON = json_values(max_size=4, max_leaves=12)


class Task(msgspec.Struct):
    id: str
    count: int = 0


@given(JSON)
def test_an_encoded_value_is_decoded_to_the_same_value(value: object) -> None:
    assert ANYTHING.decode(encode(value)) == value
    assert json.loads(encode(value)) == value


@given(JSON)
def test_raw_values_keep_their_bytes(value: object) -> None:
    text = json.dumps(value, indent=1).encode()
    (raw,) = RAW_LIST.decode(b"[" + text + b"]")
    assert bytes(raw) == text
    assert encode([raw]) == b"[" + text + b"]"


def values_in(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(1 + values_in(item) for item in inner)


@given(JSON)
def test_no_text_has_more_values_than_are_counted(value: object) -> None:
    assert values_in(value) <= most_values(encode(value))


@given(st.binary())
def test_arbitrary_bytes_are_decoded_or_refused(data: bytes) -> None:
    """A decoder returns a value or raises one of its two errors."""
    for decoder in (ANYTHING, RAW_LIST, Decoder(Task)):
        try:
            decoder.decode(data)
        except (ProtocolError, InvalidPayload):
            pass


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (rb'"\ud800"', "�"),
        (rb'"\udfff"', "�"),
        (rb'"a\uD83D"', "a�"),
        (rb'"\ud83d\ude00"', "😀"),
        (rb'"\ud83d\ud83d\ude00"', "�😀"),
        (rb'"\ude00\ud83d"', "��"),
        (rb'"\\ud800\ud800"', r"\ud800�"),
        (rb'{"\ud800":["\n\ud800"]}', {"�": ["\n�"]}),
    ],
)
def test_lone_surrogates_are_mended(data: bytes, value: object) -> None:
    """Each becomes U+FFFD. Whole pairs, other escapes and escaped backslashes stay."""
    assert ANYTHING.decode(data) == value


@given(st.lists(st.sampled_from([r"\ud83d", r"\ude00", r"\\", r"\"", r"\u0041", "u", "x", "d83d"]), max_size=12))
def test_any_mix_of_escapes_is_decoded_as_javascript_wrote_it(parts: list[str]) -> None:
    """The repaired text differs from Python's own decoding only at lone surrogates."""
    text = '"' + "".join(parts) + '"'
    expected = json.loads(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert ANYTHING.decode(text.encode()) == expected


@pytest.mark.parametrize(
    "data", [b"NaN", b"Infinity", b"-Infinity", b"[NaN]", b"undefined", b"{'a':1}", b"[1,]", b"", b"[1"]
)
def test_invalid_json_is_a_protocol_error(data: bytes) -> None:
    """Also NaN, the infinities and other extensions of JavaScript."""
    with pytest.raises(ProtocolError):
        ANYTHING.decode(data)


@pytest.mark.parametrize("data", [b'"\xff"', b'["a\xc3"]', b'"\xed\xa0\x80"', b'{"\xc0\x80":1}'])
def test_invalid_utf8_in_a_string_breaks_the_protocol(data: bytes) -> None:
    """Unexpected, truncated, overlong and surrogate bytes."""
    with pytest.raises(ProtocolError):
        ANYTHING.decode(data)


@pytest.mark.parametrize("data", [b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000])
def test_ten_thousand_levels_are_nested_too_deeply(data: bytes) -> None:
    """An invalid payload, whether it is decoded or only checked."""
    for decoder in (ANYTHING, RAW_LIST, Decoder(dict[str, Raw])):
        with pytest.raises(InvalidPayload):
            decoder.decode(data)


def test_another_shape_is_an_invalid_payload_that_says_where() -> None:
    """The path has field names and indices, and is empty for the whole value."""
    with pytest.raises(InvalidPayload) as found:
        Decoder(list[Task]).decode(b'[{"id":"a"},{"id":7}]')
    assert (found.value.path, found.value.problem) == ("[1].id", "Expected str, got int")
    with pytest.raises(InvalidPayload) as found:
        Decoder(Task).decode(b"[]")
    assert (found.value.path, found.value.problem) == ("", "Expected object, got array")


def test_a_lone_surrogate_does_not_hide_another_shape() -> None:
    """Repaired text is checked against the type like any other."""
    with pytest.raises(InvalidPayload, match="count"):
        Decoder(Task).decode(rb'{"id":"\ud800","count":"x"}')


@given(st.binary())
def test_is_utf8_agrees_with_python(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError:
        assert not is_utf8(data)
    else:
        assert is_utf8(data)


def test_nan_cannot_be_sent() -> None:
    """NaN and the infinities are encoded as null."""
    assert encode([float("nan"), float("inf")]) == b"[null,null]"


SURROGATE = re.compile(r"[\ud800-\udfff]")
ESCAPES = [
    r"\ud83d",
    r"\uDE00",
    r"\uDBFF",
    r"\udc00",
    r"\\",
    r"\"",
    r"\n",
    r"\u0041",
    r"\ud7ff",
    r"\ue000",
    "u",
    "d83d",
    "é",
]


@given(st.lists(st.sampled_from(ESCAPES), max_size=30))
def test_halves_are_replaced_like_in_a_simple_reference_implementation(parts: list[str]) -> None:
    """Python's own decoder joins the pairs. Each remaining half becomes U+FFFD."""
    text = '"' + "".join(parts) + '"'
    assert ANYTHING.decode(text.encode()) == SURROGATE.sub("\ufffd", json.loads(text))


@pytest.mark.parametrize("between", ["", "x", r"\n"])
def test_more_than_ten_thousand_halves_are_refused(between: str) -> None:
    """Like invalid JSON, where U+FFFD replaces them. Ten thousand are accepted."""
    half = r"\ud800" + between
    most = surrogates.MAX_REPLACED
    assert ANYTHING.decode(f'"{between}{half * most}"'.encode()).count("\ufffd") == most
    with pytest.raises(ProtocolError):
        ANYTHING.decode(f'"{between}{half * (most + 1)}"'.encode())


def test_a_half_counts_as_one_character() -> None:
    """Where a shape limits the length of a text, and where a hook gets the text."""

    class Id(str):
        __slots__ = ()

    short = Annotated[str, msgspec.Meta(max_length=3)]
    shape = Decoder[tuple[str, Id]](tuple[short, Id], dec_hook=lambda kind, value: kind(value))
    assert shape.decode(rb'["\ud83d\ud83da","\ud83d"]') == ("\ufffd\ufffda", "\ufffd")


def test_numbers_with_a_fraction_or_an_exponent_may_be_read_in_another_way() -> None:
    """A decoder's `float_hook` gets their text at any place. It does not get integers."""
    decoder: Decoder[list[Any]] = Decoder(list[Any], lambda text: f"number {text}")
    assert decoder.decode(b'[1, 1.50, 1E3, {"a": -0.1}]') == [1, "number 1.50", "number 1E3", {"a": "number -0.1"}]
    assert ANYTHING.decode(b"[1.50]") == [1.5]
