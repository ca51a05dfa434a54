import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.access.world import authjs_v5, nextauth_v4, signed

from synkora.access.forwarded_cookie import CHUNK, session_cookie
from synkora.identity import SignedIn, User
from synkora.identity.cookies import SESSION_COOKIES, session_cookies


@pytest.mark.parametrize(
    ("signed_in", "name"),
    [
        (nextauth_v4("user-1"), "next-auth.session-token"),
        (SignedIn(User("user-1"), authjs_v5("user-1", "authjs.session-token").token), "authjs.session-token"),
        (signed("user-1"), "next-auth.session-token"),  # an app that signs its own sessions uses NextAuth v4's cookie
    ],
    ids=["NextAuth v4", "Auth.js v5", "signed"],
)
def test_a_session_has_its_cookies_name(signed_in: SignedIn, name: str) -> None:
    """The default name, with the prefix for https addresses. The encryption distinguishes v5 from v4."""
    assert session_cookie(signed_in, secure=False) == f"{name}={signed_in.token}"
    assert session_cookie(signed_in, secure=True) == f"__Secure-{name}={signed_in.token}"


@pytest.mark.parametrize("name", SESSION_COOKIES)
@pytest.mark.parametrize("secure", [False, True])
def test_a_token_goes_back_into_the_cookie_that_it_came_from(name: str, secure: bool) -> None:
    """The app reads that name, whatever the kind of token and the address."""
    signed_in = SignedIn(User("user-1"), nextauth_v4("user-1").token, name)
    assert session_cookie(signed_in, secure=secure) == f"{name}={signed_in.token}"


@pytest.mark.parametrize("token", ["", "a.b.c.d.e", "....", "e30....", "none", "W10.a.b.c.d"])
def test_a_token_of_no_known_kind_is_named_all_the_same(token: str) -> None:
    assert session_cookie(SignedIn(User("user-1"), token), secure=False) == f"next-auth.session-token={token}"


@given(st.integers(1, 4 * CHUNK), st.sampled_from(SESSION_COOKIES))
def test_a_long_session_is_split_as_the_app_splits_it(length: int, name: str) -> None:
    """No cookie is longer than the app's own, and the parts joined are the token."""
    token = ("0123456789-_ab" * (length // 14 + 1))[:length]
    header = session_cookie(SignedIn(User("user-1"), token, name), secure=False)
    assert session_cookies(header) == [(name, token)]
    cookies = header.split("; ")
    assert len(cookies) == -(-length // CHUNK)
    assert all(len(cookie.partition("=")[2]) <= CHUNK for cookie in cookies)
    assert (cookies[0].startswith(f"{name}.0=")) is (length > CHUNK)
