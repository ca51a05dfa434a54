"""Sign-in: checks the credentials in a client's handshake and CONNECT packet."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal, NamedTuple

from synkora.identity.cookies import session_cookies
from synkora.identity.errors import TokenInvalid
from synkora.identity.tokens import Keyring, is_compact_jose
from synkora.identity.user import User, user_from_claims

#: NextAuth uses UUIDs, and an app may choose other keys.
_SESSION_KEY: Final = re.compile(r"[!-~]{16,255}")
_MAX_KEYS: Final = 4
MAX_TOKENS: Final = 8  # per CONNECT; each may be decrypted with several keys

Message = Literal["Authentication required", "Authentication failed", "Invalid token"]


class SignInRefused(Exception):
    """A client may not sign in: `message` is for the client, `detail` is a reason that is safe to log."""

    def __init__(self, message: Message, detail: str) -> None:
        super().__init__(message)
        self.message: Final = message
        self.detail: Final = detail


class _Offer(NamedTuple):
    source: str
    token: object
    cookie_name: str | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user and the credential that identified the user; `cookie_name` names the session cookie, if there was one.

    `is_kept`: `token` is the key of a session in the app's database.
    """

    user: User
    token: str = field(repr=False)
    cookie_name: str | None = None
    is_kept: bool = False


class Authenticator:
    """Identifies a client by the first of its tokens that can be verified."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def sign_in(
        self, auth: object, authorization: str | None, cookie: str | None, *, now: float | None = None
    ) -> SignedIn:
        """Return the user of the `token` in CONNECT's payload, else of the `Authorization` header, else of a cookie.

        `auth` may be any value. Pass `cookie` only if the request's origin is allowed. `now` is in seconds since 1970.
        The first verified token decides, even if it has no user; at most `MAX_TOKENS` are tried.
        Raises `SignInRefused` with `Authentication required` if there was no token, `Authentication failed` if no token
        could be verified, `Invalid token` if the verified token has no user.
        """
        failures: list[str] = []
        for source, token, cookie_name in islice(self._offers(auth, authorization, cookie), MAX_TOKENS):
            if not isinstance(token, str):
                failures.append(f"{source}: not a string")
                continue
            try:
                claims = self._keyring.verify(token, cookie_name=cookie_name, now=now)
            except TokenInvalid as error:
                failures.append(f"{source}: {error.reason}")
                continue
            user = user_from_claims(claims)
            if user is None:
                raise SignInRefused("Invalid token", f"{source}: names no user")
            return SignedIn(user, token, cookie_name)
        if failures:
            raise SignInRefused("Authentication failed", "; ".join(failures))
        raise SignInRefused("Authentication required", "no token")

    def session_keys(self, auth: object, cookie: str | None) -> list[tuple[str, str | None]]:
        """Return possible keys of sessions in the app's database, each with the name of its cookie, or None.

        Cookies come first: pages that cannot read their cookie send the user's id as a token.
        """
        offered: list[tuple[object, str | None]] = [
            (value, name) for name, value in session_cookies(cookie or "", self._keyring.cookie_names)
        ]
        offered.append((_connect_token(auth), None))
        keys = {key: name for key, name in offered if isinstance(key, str) and _SESSION_KEY.fullmatch(key)}
        return [(key, name) for key, name in keys.items() if not is_compact_jose(key)][:_MAX_KEYS]

    def _offers(self, auth: object, authorization: str | None, cookie: str | None) -> Iterator[_Offer]:
        if token := _connect_token(auth):
            yield _Offer("auth.token", token)
        if bearer_token := _bearer_token(authorization):
            yield _Offer("bearer token", bearer_token)
        for name, value in session_cookies(cookie or "", self._keyring.cookie_names):
            yield _Offer(f"cookie {name}", value, name)


def lacks_credentials(auth: object, authorization: str | None, cookie: str | None) -> bool:
    """Whether a CONNECT over polling has no credentials yet, so that the upgrade's session cookie may add them.

    True without a cookie, a Bearer token and a well-formed token in the payload. Browsers leave cookies out of
    cross-origin polling requests unless the page asks for them, but always send them with a WebSocket
    handshake.
    """
    if _bearer_token(authorization) or (cookie and cookie.strip()):
        return False
    token = _connect_token(auth)
    return not (isinstance(token, str) and is_compact_jose(token))


def _connect_token(auth: object) -> object:
    return auth.get("token") if isinstance(auth, dict) else None


def _bearer_token(authorization: str | None) -> str:
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""
