"""Signing in: the judgement of all that a client brings with its handshake."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal, NamedTuple

from synkora.identity.cookies import session_cookies
from synkora.identity.errors import TokenInvalid
from synkora.identity.tokens import Keyring, is_compact_jose
from synkora.identity.user import User, user_from_claims

#: NextAuth makes UUIDs, and apps what they like.
_SESSION_KEY: Final = re.compile(r"[!-~]{16,255}")
_MOST_KEYS: Final = 4
MOST_TOKENS: Final = 8  # of one CONNECT that are tried: each may take a decryption by each of some keys

Message = Literal["Authentication required", "Authentication failed", "Invalid token"]


class SignInRefused(Exception):
    """A client that may not sign in: `message` is for the client, `detail` says why in words fit for a log."""

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
    """Somebody, and the token that says so; `cookie_name` is the session cookie that held it, if one did.

    One that `is_kept` is no token but the key of a session that the app keeps in its database.
    """

    user: User
    token: str = field(repr=False)
    cookie_name: str | None = None
    is_kept: bool = False


class Authenticator:
    """Tells who a client is, by the first of its tokens that can be verified."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def sign_in(
        self, auth: object, authorization: str | None, cookie: str | None, *, now: float | None = None
    ) -> SignedIn:
        """The user whom CONNECT's payload names by its `token`, or else the `Authorization` header, or else a cookie.

        The payload may be anything. A cookie header is to be given only if the request's origin is allowed. `now` is
        in seconds since 1970. The first token that is verified decides, even if it names no user; `MOST_TOKENS` are
        tried. Raises `SignInRefused`: `Authentication required` if there was no token, `Authentication failed` if none
        could be verified, `Invalid token` if the verified one names no user.
        """
        failures: list[str] = []
        for source, token, cookie_name in islice(self._offers(auth, authorization, cookie), MOST_TOKENS):
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
        """What may be keys of sessions that the app keeps in its database, each with its cookie's name, if it has one.

        Cookies go first: pages that cannot read theirs send the user's id for a token.
        """
        offered: list[tuple[object, str | None]] = [
            (value, name) for name, value in session_cookies(cookie or "", self._keyring.cookie_names)
        ]
        offered.append((_connect_token(auth), None))
        keys = {key: name for key, name in offered if isinstance(key, str) and _SESSION_KEY.fullmatch(key)}
        return [(key, name) for key, name in keys.items() if not is_compact_jose(key)][:_MOST_KEYS]

    def _offers(self, auth: object, authorization: str | None, cookie: str | None) -> Iterator[_Offer]:
        if token := _connect_token(auth):
            yield _Offer("auth.token", token)
        if bearer_token := _bearer_token(authorization):
            yield _Offer("bearer token", bearer_token)
        for name, value in session_cookies(cookie or "", self._keyring.cookie_names):
            yield _Offer(f"cookie {name}", value, name)


def may_come_with_upgrade(auth: object, authorization: str | None, cookie: str | None) -> bool:
    """Whether a CONNECT sent by polling lacks what the WebSocket handshake to come may bring: the session's cookie.

    So it is without a cookie, a Bearer token, and a token in the payload that has the form of one. Browsers leave
    cookies out of polling requests to another origin unless the page asks for them, and never out of a WebSocket
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
