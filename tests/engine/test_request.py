from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.sessions import request_of

from synkora.engine.request import Headers

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_categories=["Cc", "Zs"]))


@given(st.lists(st.tuples(NAMES, VALUES)))
def test_headers_are_returned_unchanged(pairs: list[tuple[str, str]]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
    headers = Headers(encoded)
    assert list(headers) == pairs
    for name, _ in pairs:
        values = [value for each, value in pairs if each == name]
        assert headers.get_all(name) == values
        assert headers.get(name) == ("; " if name == "cookie" else ", ").join(values)


def test_a_header_is_found_by_its_name() -> None:
    """With its whole value, colons included. None for a missing header."""
    headers = Headers([(b"host", b"localhost:3001"), (b"cookie", b" a=1 "), (b"x-empty", b"")])
    assert headers.get("host") == "localhost:3001"
    assert headers.get("cookie") == "a=1"
    assert headers.get("x-empty") == ""
    assert headers.get("origin") is None
    assert Headers([]).get("host") is None


def test_fields_of_one_name_are_one_list() -> None:
    """RFC 9110 section 5.3: cookies are joined with a semicolon, other fields with a comma."""
    fields = [
        (b"cookie", b"a=1"),
        (b"accept", b"x"),
        (b"cookie", b"b=2; c=3"),
        (b"accept-encoding", b"z"),
        (b"accept", b"y"),
    ]
    headers = Headers(fields)
    assert headers.get("cookie") == "a=1; b=2; c=3"
    assert headers.get("accept") == "x, y"
    assert headers.get("accept-encoding") == "z"


def test_the_query_is_read_with_its_escapes_and_blanks() -> None:
    """Percent escapes and plus signs are decoded, blanks kept, and the last value of a name counts."""
    request = request_of("EIO=4&transport=polling&name=J%C3%BCrgen+M&t=&EIO=5")
    assert request.query == {"EIO": "5", "transport": "polling", "name": "Jürgen M", "t": ""}


@given(st.lists(st.sampled_from(["a", "b", "EIO", "=", "=4", "&", "ü", ";", "/"])).map("".join))
def test_a_query_without_escapes_is_read_like_any_other(query: str) -> None:
    """Blank names, values and parameters are kept."""
    assert request_of(query).query == dict(parse_qsl(query, keep_blank_values=True))


@pytest.mark.parametrize("number", [100, 101])
@pytest.mark.parametrize("escape", ["", "%20"])
def test_a_hundred_parameters_are_the_most(number: int, escape: str) -> None:
    query = "&".join(f"a{n}=1" for n in range(number)) + escape
    assert len(request_of(query).query) == (100 if number == 100 else 0)


@pytest.mark.parametrize("query", ["", "&".join(f"a{n}=1" for n in range(101))])
def test_a_query_without_parameters_or_with_too_many_is_empty(query: str) -> None:
    assert request_of(query).query == {}


@pytest.mark.parametrize("number", [500, 501])
def test_five_hundred_escapes_are_the_most(number: int) -> None:
    """Each takes as long as some hundred other characters. A long value without escapes is read."""
    query = "token=" + "x" * 20_000 + "%41" * number
    assert request_of(query).query == ({"token": "x" * 20_000 + "A" * 500} if number == 500 else {})


def test_escapes_among_characters_beyond_ascii_are_not_read() -> None:
    """Each change between the two is slow. No client sends such characters without escapes."""
    assert request_of("name=ü%41").query == {}


def test_origin_and_host_are_the_headers() -> None:
    request = request_of(origin="https://app.example.com", host="localhost")
    assert (request.origin, request.host) == ("https://app.example.com", "localhost")
    assert (request_of().origin, request_of().host) == (None, None)
