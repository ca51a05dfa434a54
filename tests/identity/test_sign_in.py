from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.identity.forge import COOKIES, encrypted, signed

from synkora.identity.cookies import SESSION_COOKIES
from synkora.identity.sign_in import MAX_TOKENS, Authenticator, SignInRefused, lacks_credentials
from synkora.identity.tokens import Keyring

SECRET = "a secret of the tests, long enough"
AUTHENTICATOR = Authenticator(Keyring(SECRET))

BY_AUTH = signed({"id": "by-auth"}, SECRET)
BY_BEARER = f"Bearer {signed({'id': 'by-bearer'}, SECRET)}"
BY_COOKIE = f"theme=dark; next-auth.session-token={encrypted({'id': 'by-cookie'}, SECRET)}"
FORGED = signed({"id": "intruder"}, "another secret altogether")
NAMELESS = signed({"name": "Nobody"}, SECRET)

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.one_of(st.just("token"), st.text()), inner)),
    max_leaves=8,
)


def signed_in(auth: object = None, authorization: str | None = None, cookie: str | None = None) -> str:
    return AUTHENTICATOR.sign_in(auth, authorization, cookie).user.id


def refused(auth: object = None, authorization: str | None = None, cookie: str | None = None) -> SignInRefused:
    with pytest.raises(SignInRefused) as refusal:
        AUTHENTICATOR.sign_in(auth, authorization, cookie)
    assert str(refusal.value) == refusal.value.message
    return refusal.value


class TestOrder:
    def test_the_token_in_connect_goes_first(self) -> None:
        """`auth.token` precedes a Bearer header and a cookie."""
        assert signed_in({"token": BY_AUTH}, BY_BEARER, BY_COOKIE) == "by-auth"

    def test_the_bearer_header_goes_before_cookies(self) -> None:
        assert signed_in({}, BY_BEARER, BY_COOKIE) == "by-bearer"

    def test_a_cookie_is_enough(self) -> None:
        """A browser with its session cookie needs no token."""
        assert signed_in(None, None, BY_COOKIE) == "by-cookie"

    @pytest.mark.parametrize("token", ["", None, "cmabc123", "undefined", FORGED, "a.b.c", 42, ["x"], {"a": 1}])
    def test_a_useless_token_falls_back(self, token: object) -> None:
        """After an empty or unverifiable token, the next source counts."""
        assert signed_in({"token": token}, BY_BEARER, BY_COOKIE) == "by-bearer"
        assert signed_in({"token": token}, None, BY_COOKIE) == "by-cookie"

    @pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic dTpw", f"Bearer {FORGED}", "Bearer x"])
    def test_a_useless_header_falls_back(self, authorization: str) -> None:
        """After a header without a verifiable token, the cookie counts."""
        assert signed_in(None, authorization, BY_COOKIE) == "by-cookie"

    def test_a_useless_cookie_hides_no_other(self) -> None:
        """An expired session beside a valid one does no harm."""
        assert signed_in(cookie=f"__Secure-authjs.session-token={FORGED}; {BY_COOKIE}") == "by-cookie"

    def test_a_limited_number_of_tokens_is_tried(self) -> None:
        """A header full of forged tokens would cost time. Further ones are ignored."""
        names = [name for name in SESSION_COOKIES if name != "next-auth.session-token"]
        forged = [f"{name}={FORGED[:-number]}" for name in names for number in range(1, 5)]
        assert signed_in(None, None, "; ".join([*forged[: MAX_TOKENS - 1], BY_COOKIE])) == "by-cookie"
        detail = refused(None, None, "; ".join([*forged, BY_COOKIE])).detail
        assert detail.count("cookie ") == MAX_TOKENS

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", " Bearer", "Bearer  "])
    def test_the_scheme_is_read_as_http_has_it(self, scheme: str) -> None:
        """In any case, with any spaces around it (RFC 9110, section 11.1)."""
        assert signed_in(authorization=BY_BEARER.replace("Bearer", scheme)) == "by-bearer"

    def test_a_verified_token_decides_even_without_a_user(self) -> None:
        """A valid token without a user is an error of the app that a cookie must not hide."""
        assert refused({"token": NAMELESS}, BY_BEARER, BY_COOKIE).message == "Invalid token"


class TestCookies:
    @pytest.mark.parametrize(("kind", "cookie_name"), COOKIES)
    @pytest.mark.parametrize("chunk_size", [10_000, 100])
    def test_a_real_session_signs_in_by_its_cookie(
        self, keyring: Keyring, vectors: dict[str, Any], kind: str, cookie_name: str, chunk_size: int
    ) -> None:
        """Sessions of both versions, whole or split."""
        token = vectors["tokens"][kind]
        chunks = [token[start : start + chunk_size] for start in range(0, len(token), chunk_size)]
        if len(chunks) == 1:
            header = f"{cookie_name}={token}"
        else:
            header = "; ".join(f"{cookie_name}.{index}={chunk}" for index, chunk in enumerate(chunks))
        user = Authenticator(keyring).sign_in(None, None, header).user
        assert (user.id, user.name, user.email) == ("user-1", "Alice", "alice@example.com")
        assert user.image == "https://example.com/alice.png"


class TestMessages:
    @pytest.mark.parametrize("auth", [None, {}, {"token": None}, {"token": ""}, {"Token": "x"}, "token", 5, [], ["x"]])
    def test_no_token_is_shown(self, auth: object) -> None:
        """Without a token, the message is `Authentication required`."""
        assert refused(auth).message == "Authentication required"
        assert refused(auth, "Basic dTpw", "theme=dark").message == "Authentication required"

    @pytest.mark.parametrize("auth", [{"token": "cmabc123"}, {"token": FORGED}, {"token": 5}, {"token": {"a": []}}])
    def test_an_unverifiable_token_is_reported(self, auth: object) -> None:
        """With `Authentication failed`."""
        assert refused(auth).message == "Authentication failed"

    def test_an_expired_token_is_reported(self, keyring: Keyring, vectors: dict[str, Any]) -> None:
        """Clients get the general message. The log says that it has expired."""
        with pytest.raises(SignInRefused) as refusal:
            Authenticator(keyring).sign_in({"token": vectors["tokens"]["nextauth_v4_expired"]}, None, None)
        assert refusal.value.message == "Authentication failed"
        assert refusal.value.detail == "auth.token: expired"

    @pytest.mark.parametrize("claims", [{}, {"name": "Alice"}, {"id": ""}, {"id": True}, {"id": None, "sub": []}])
    def test_a_token_without_a_user_is_reported(self, claims: dict[str, object]) -> None:
        """With `Invalid token`."""
        token = signed(claims, SECRET)
        assert refused({"token": token}).message == "Invalid token"
        assert refused(None, f"Bearer {token}").message == "Invalid token"
        assert refused(None, None, f"next-auth.session-token={encrypted(claims, SECRET)}").message == "Invalid token"

    def test_the_log_learns_why_but_never_the_token(self) -> None:
        """The detail has each source and its error, without text from the client."""
        refusal = refused({"token": "cmabc123"}, f"Bearer {FORGED}", f"authjs.session-token={FORGED}")
        assert refusal.detail == (
            "auth.token: malformed; bearer token: wrong key or tampered with; "
            "cookie authjs.session-token: wrong key or tampered with"
        )

    @given(JSON, st.one_of(st.none(), st.text()), st.one_of(st.none(), st.text()))
    def test_any_handshake_is_judged(self, auth: object, authorization: str | None, cookie: str | None) -> None:
        """Whatever a client sends, without a valid token the result is one of the refusals."""
        assert refused(auth, authorization, cookie).message in {"Authentication required", "Authentication failed"}
        assert lacks_credentials(auth, authorization, cookie) in {True, False}

    def test_a_deeply_nested_payload_is_judged(self) -> None:
        nested: list[object] = []
        for _ in range(10_000):
            nested = [nested]
        assert refused(nested).message == "Authentication required"
        assert refused({"token": nested}).message == "Authentication failed"


class TestWaitingForTheUpgrade:
    @pytest.mark.parametrize("auth", [None, {}, "x", ["x"], {"token": ""}, {"token": "cmabc123"}, {"token": 5}])
    def test_a_polling_handshake_without_a_session_may_wait(self, auth: object) -> None:
        """A page that cannot read its cookie sends its user's id or nothing: the cookie may come with the upgrade."""
        assert lacks_credentials(auth, None, None)
        assert lacks_credentials(auth, "Basic dTpw", "")

    def test_a_token_is_judged_at_once(self) -> None:
        """A signed or encrypted token, valid or not, is all that will come."""
        assert not lacks_credentials({"token": BY_AUTH}, None, None)
        assert not lacks_credentials({"token": FORGED}, None, None)
        assert not lacks_credentials({"token": encrypted({}, SECRET)}, None, None)

    def test_a_bearer_header_is_judged_at_once(self) -> None:
        """A client that sets headers is no page that waits for its cookie."""
        assert not lacks_credentials({"token": "cmabc123"}, "Bearer x", None)

    def test_cookies_are_judged_at_once(self) -> None:
        """A browser that sends cookies while polling sends the same with the upgrade."""
        assert not lacks_credentials(None, None, "theme=dark")
        assert not lacks_credentials({"token": "cmabc123"}, None, BY_COOKIE)
