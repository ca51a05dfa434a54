import pytest
from hypothesis import given
from hypothesis import strategies as st

from synkora.identity.cookies import (
    MAX_COOKIES,
    MAX_HEADER_LENGTH,
    MAX_SAME_NAME,
    SESSION_COOKIES,
    cookie_names,
    session_cookies,
)

TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", min_size=1, max_size=400)
OTHER = st.sampled_from(["theme=dark", "broken", "=", "a==b", 'q="x', "next-auth.csrf-token=abc%7Cdef", "  ", "é=ü"])


@pytest.mark.parametrize("name", SESSION_COOKIES)
def test_a_session_cookie_of_either_version_is_found(name: str) -> None:
    """Each name of NextAuth and Auth.js, among other cookies."""
    assert session_cookies(f"theme=dark; {name}=a.b.c; lang=en") == [(name, "a.b.c")]


def test_a_header_without_a_session_has_none() -> None:
    """Other cookies of the app, and similar names, are ignored."""
    header = "next-auth.csrf-token=x; authjs.session-tokens=x; xauthjs.session-token=x; Authjs.session-token=x"
    assert session_cookies(header) == []
    assert session_cookies("") == []


def test_the_best_cookie_is_first() -> None:
    """Prefixed names precede plain ones, and v5 precedes v4, in any order of the header."""
    header = "; ".join(f"{name}=value-of-{name}" for name in reversed(SESSION_COOKIES))
    assert [name for name, _ in session_cookies(header)] == list(SESSION_COOKIES)
    assert SESSION_COOKIES[0].startswith("__Host-authjs")
    assert SESSION_COOKIES[-1] == "next-auth.session-token"


def test_a_broken_cookie_hides_no_other() -> None:
    """Other cookies in the header may be invalid."""
    header = 'x="unclosed; =; ; b@d name=1; authjs.session-token=a.b.c; z=\x00\xff'
    assert session_cookies(header) == [("authjs.session-token", "a.b.c")]


def test_spaces_and_quotes_around_a_value_are_no_part_of_it() -> None:
    """Not every proxy and client writes the header like a browser."""
    assert session_cookies('a=b;authjs.session-token = "a.b.c" ;c=d') == [("authjs.session-token", "a.b.c")]


def test_two_cookies_with_one_name_are_both_offered() -> None:
    """Browsers send the cookie of the more specific path first. The app's choice is unknown."""
    header = "authjs.session-token=first; authjs.session-token=second; authjs.session-token=first"
    assert session_cookies(header) == [("authjs.session-token", "first"), ("authjs.session-token", "second")]


def test_chunks_of_two_cookies_with_one_name() -> None:
    """Each cookie's chunks are neighbours, and make their own value, even if one has more of them."""
    pairs = ["0=a", "1=b", "0=x", "1=y", "2=z", "1=v", "0=u"]
    header = "; ".join(f"authjs.session-token.{pair}" for pair in pairs)
    assert [value for _, value in session_cookies(header)] == ["ab", "xyz", "uv"]


def test_a_name_of_the_apps_own() -> None:
    """It precedes the usual names, with its prefix and without."""
    names = cookie_names("__Secure-acme.sid")
    assert names[:3] == ("__Secure-acme.sid", "__Host-acme.sid", "acme.sid")
    assert names[3:] == SESSION_COOKIES
    assert cookie_names("acme")[:2] == ("acme", "__Host-acme")
    assert cookie_names() == SESSION_COOKIES
    header = "authjs.session-token=usual; acme.sid.1=b; acme.sid.0=a"
    assert session_cookies(header, names) == [("acme.sid", "ab"), ("authjs.session-token", "usual")]


def test_chunks_are_joined_in_numeric_order() -> None:
    header = "authjs.session-token.2=c; authjs.session-token.0=a; other=x; authjs.session-token.1=b"
    assert session_cookies(header) == [("authjs.session-token", "abc")]


@pytest.mark.parametrize(
    "header",
    [
        "authjs.session-token.0=a; authjs.session-token.2=c",
        "authjs.session-token.1=b",
        "authjs.session-token.0=a; authjs.session-token.1=; authjs.session-token.2=c",
        "authjs.session-token.00=a",
        "authjs.session-token.x=a",
        "authjs.session-token.-1=a",
        "authjs.session-token.²=a",
        "authjs.session-token.99999999999999999999=a",
    ],
)
def test_a_missing_chunk_is_no_cookie(header: str) -> None:
    assert session_cookies(header) == []


def test_a_whole_cookie_goes_before_chunks_of_its_name() -> None:
    """A session may have become smaller while old chunks remain: both are offered."""
    header = "authjs.session-token.0=a; authjs.session-token=whole; authjs.session-token.1=b"
    assert session_cookies(header) == [("authjs.session-token", "whole"), ("authjs.session-token", "ab")]


def test_values_and_headers_of_too_great_length_are_left_out() -> None:
    """No browser would send them."""
    long_value = "x" * 16_385
    assert session_cookies(f"authjs.session-token={long_value}; next-auth.session-token=a") == [
        ("next-auth.session-token", "a")
    ]
    assert session_cookies("authjs.session-token=a; x=" + "x" * MAX_HEADER_LENGTH) == []


def test_a_header_of_very_many_cookies_is_not_read() -> None:
    """It takes milliseconds, and no browser sends it."""
    for number, found in ((MAX_COOKIES, [("authjs.session-token", "a")]), (MAX_COOKIES + 1, [])):
        assert session_cookies(";".join(["authjs.session-token=a", *[""] * (number - 1)])) == found


@given(TOKEN, st.sampled_from(SESSION_COOKIES), st.integers(1, 8), st.randoms(), st.lists(OTHER, max_size=5))
def test_any_session_survives_being_split(token: str, name: str, count: int, random: object, others: list[str]) -> None:
    """Split as in the app, among any other cookies in any order."""
    size = -(-len(token) // count)
    chunks = [token[start : start + size] for start in range(0, len(token), size)]
    pairs = [f"{name}.{index}={chunk}" for index, chunk in enumerate(chunks)] + others
    random.shuffle(pairs)  # type: ignore[attr-defined]  # hypothesis does not say that it gives a random.Random
    assert session_cookies("; ".join(pairs)) == [(name, token)]


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1"))))
def test_any_header_is_read(header: str) -> None:
    assert isinstance(session_cookies(header), list)


@given(st.lists(st.tuples(st.sampled_from([*SESSION_COOKIES, "x", ""]), st.text("0123456789.", max_size=4), st.text())))
def test_any_set_of_chunks_is_bounded(cookies: list[tuple[str, str, str]]) -> None:
    """However many cookies claim to be a session, each name is offered four times whole and four split."""
    found = session_cookies("; ".join(f"{name}{suffix}={value}" for name, suffix, value in cookies))
    for name in SESSION_COOKIES:
        assert [each for each, _ in found].count(name) <= 2 * MAX_SAME_NAME
