"""Builds the app's session cookie from a session's token."""

from typing import Final

from synkora.identity.claims import read_header
from synkora.identity.cookies import AUTHJS_V5, NEXTAUTH_V4
from synkora.identity.errors import TokenInvalid
from synkora.identity.sign_in import SignedIn

CHUNK: Final = 3_933  # characters; the most that NextAuth puts into one cookie

_ENCRYPTED_DOTS: Final = 4


def session_cookie(signed_in: SignedIn, *, secure: bool, name: str = "") -> str:
    """Return the `Cookie` header of a user's session; `secure` is whether the app is at an https address.

    A token that did not come from a cookie gets the cookie `name`, or the default name for its kind of token. A long
    token is split into `NAME.0`, `NAME.1`, … as NextAuth splits it.
    """
    token = signed_in.token
    name = signed_in.cookie_name or name or ("__Secure-" if secure else "") + _default_name(token)
    if len(token) <= CHUNK:
        return f"{name}={token}"
    chunks = (token[start : start + CHUNK] for start in range(0, len(token), CHUNK))
    return "; ".join(f"{name}.{index}={chunk}" for index, chunk in enumerate(chunks))


def _default_name(token: str) -> str:
    if token.count(".") != _ENCRYPTED_DOTS:
        return NEXTAUTH_V4
    try:
        encryption = read_header(token).get("enc")
    except TokenInvalid:
        return NEXTAUTH_V4
    return AUTHJS_V5 if encryption == "A256CBC-HS512" else NEXTAUTH_V4
