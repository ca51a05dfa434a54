"""Harnesses of synkora.identity."""

from typing import Final

from tests.fuzz.forge import encrypted_with_header, signed_with_header
from tests.identity.forge import encrypted, signed

from synkora.identity.cookies import MAX_VALUE_LENGTH, SESSION_COOKIES, session_cookies
from synkora.identity.errors import TokenInvalid
from synkora.identity.sign_in import Authenticator, SignInRefused
from synkora.identity.tokens import Keyring
from synkora.identity.user import MAX_ID_LENGTH, MAX_NAME_LENGTH, user_from_claims
from synkora.protocol.json import encode

SECRET: Final = "the-secret-of-the-fuzzing-2b7e151628aed2a6"
_KEYRING: Final = Keyring(SECRET)
_AUTHENTICATOR: Final = Authenticator(_KEYRING)


def cookies(data: bytes) -> None:
    """Only session cookies are found, none too long, none empty. The second half is a sign-in with the header."""
    header = data.decode("latin-1")
    for name, value in session_cookies(header):
        assert name in SESSION_COOKIES
        assert 0 < len(value) <= MAX_VALUE_LENGTH
    try:
        _AUTHENTICATOR.sign_in({}, header, header)
    except SignInRefused:
        return
    raise AssertionError("signed in without the secret")


def tokens(data: bytes) -> None:
    """The first byte decides what the rest is: a token, claims, or a header. Claims and headers are sealed
    with the right key.
    """
    kind, rest = data[:1], data[1:]
    match kind:
        case b"c":
            token = signed(rest, SECRET)
        case b"C":
            token = encrypted(rest.decode("latin-1"), SECRET)
        case b"h":
            token = signed_with_header(rest, SECRET)
        case b"H":
            token = encrypted_with_header(rest, SECRET)
        case _:
            token = data.decode("latin-1")
    try:
        claims = _KEYRING.verify(token)
    except TokenInvalid:
        return
    assert kind in (b"c", b"C", b"h", b"H"), "a token was taken that nobody with the secret made"
    user = user_from_claims(claims)
    if user is not None:
        assert 0 < len(user.id) <= MAX_ID_LENGTH
        assert 0 < len(user.name) <= MAX_NAME_LENGTH
        encode([user.id, user.name, user.email, user.image])
