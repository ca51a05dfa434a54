"""Sessions of nobody, as the server itself judges them."""

from synkora.app.check.sessions import nobodys_session
from synkora.identity import Keyring
from synkora.identity.cookies import session_cookies

SECRET = "a-secret-of-the-tests-of-sessions"


def test_both_kinds() -> None:
    """One of NextAuth v4 and one of Auth.js v5, good for a minute, by the names that the app reads."""
    for secure, prefix in ((False, ""), (True, "__Secure-")):
        cookies = session_cookies(nobodys_session(SECRET, secure=secure))
        assert [name for name, _ in cookies] == [f"{prefix}authjs.session-token", f"{prefix}next-auth.session-token"]
        for name, token in cookies:
            claims = Keyring(SECRET).verify(token, cookie_name=name)
            assert str(claims["id"]).startswith("synkora-check-")
            assert int(str(claims["exp"])) - int(str(claims["iat"])) == 60
