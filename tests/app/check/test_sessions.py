"""Test sessions, verified as the server verifies them."""

import hashlib

from synkora.app.check.sessions import is_made_with, make_test_sessions
from synkora.identity import Keyring
from synkora.identity.cookies import session_cookies

SECRET = "a-secret-of-the-tests-of-sessions"


def test_both_kinds() -> None:
    """One of NextAuth v4 and one of Auth.js v5, valid for a minute, by the names of their cookies."""
    for secure, prefix in ((False, ""), (True, "__Secure-")):
        cookies = session_cookies("; ".join(make_test_sessions(SECRET, secure=secure)))
        assert [name for name, _ in cookies] == [f"{prefix}authjs.session-token", f"{prefix}next-auth.session-token"]
        for name, token in cookies:
            claims = Keyring(SECRET).verify(token, cookie_name=name)
            assert str(claims["id"]).startswith("synkora-check-")
            assert int(str(claims["exp"])) - int(str(claims["iat"])) == 60


def test_a_name_of_the_apps_own() -> None:
    """Each kind needs its own request under that name, because the salts differ."""
    for header in make_test_sessions(SECRET, secure=True, name="acme.sid"):
        ((name, token),) = session_cookies(header, ("acme.sid",))
        assert Keyring(SECRET, session_cookie=name).verify(token, cookie_name=name)["id"]


def test_the_hash_against_forged_requests() -> None:
    """NextAuth's CSRF cookie shows whether the app has the same secret."""
    digest = hashlib.sha256(f"abc{SECRET}".encode()).hexdigest()
    for name in ("next-auth.csrf-token", "__Host-authjs.csrf-token"):
        assert is_made_with(SECRET, f"{name}=abc%7C{digest}; Path=/; HttpOnly")
        assert not is_made_with("another", f"{name}=abc%7C{digest}; Path=/; HttpOnly")
    assert not is_made_with(SECRET, f"other=abc%7C{digest}")
    assert not is_made_with(SECRET, "next-auth.csrf-token=")
