"""The web app's tokens: verification of its three kinds, and a signature for development."""

import json
import math
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Final

from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from synkora.identity.claims import read_claims, read_header
from synkora.identity.cookies import AUTHJS_V5, cookie_names
from synkora.identity.errors import TokenInvalid
from synkora.identity.keys import Encryption, authjs_v5_key, key_id, nextauth_v4_key, signing_key

MAX_TOKEN_LENGTH: Final = 16_384

_SIGNATURE_PARTS: Final = 3
_COMPACT = re.compile(r"[\w-]+(?:\.[\w-]*){2}(?:(?:\.[\w-]*){2})?", re.ASCII)

_SIGNATURES: Final = ("HS256", "HS384", "HS512")
_SIGNATURE_REGISTRY: Final = jws.JWSRegistry(algorithms=_SIGNATURES, strict_check_header=False)
_ENCRYPTION_REGISTRIES: Final[dict[Encryption, jwe.JWERegistry]] = {
    "A256GCM": jwe.JWERegistry(algorithms=("dir", "A256GCM"), strict_check_header=False),
    "A256CBC-HS512": jwe.JWERegistry(algorithms=("dir", "A256CBC-HS512"), strict_check_header=False),
}

# Raised by joserfc and cryptography for tokens that are malformed or forged.
_UNVERIFIED: Final = (JoseError, ValueError, TypeError, RecursionError)


def is_compact_jose(text: str) -> bool:
    """Whether the text has the form of a compact JWS or JWE: 3 or 5 base64url parts between dots (RFC 7515, 7516)."""
    return _COMPACT.fullmatch(text) is not None


class Keyring:
    """The keys for verification: of the current secret, and of previous secrets during a rotation.

    `session_cookie` is the app's name for its session cookie, if it is not one of the usual names; `cookie_names` has
    all accepted names. The constructor derives all keys. Raises `ValueError` for an empty secret and for a public key.
    """

    def __init__(self, secret: str, previous: Sequence[str] = (), *, session_cookie: str = "") -> None:
        if isinstance(previous, str):
            # As a sequence, each of its characters would become a key.
            raise TypeError("previous must be a list of secrets, not one secret")
        every_secret = dict.fromkeys((secret, *previous))
        self._signing = [signing_key(each) for each in every_secret]
        self._encryption: dict[tuple[Encryption, str | None], dict[str, OctKey]] = {}
        self.cookie_names = cookie_names(session_cookie)
        own = [name for name in self.cookie_names if name not in cookie_names()]
        for cookie_name in (None, *self.cookie_names):
            salts = (cookie_name,) if cookie_name else (*own, AUTHJS_V5, f"__Secure-{AUTHJS_V5}")
            gcm: list[OctKey] = []
            cbc: list[OctKey] = []
            for each in every_secret:
                gcm.append(nextauth_v4_key(each))
                if cookie_name:
                    gcm.append(nextauth_v4_key(each, cookie_name))
                gcm += (authjs_v5_key(each, "A256GCM", salt) for salt in salts)
                cbc += (authjs_v5_key(each, "A256CBC-HS512", salt) for salt in salts)
            self._encryption["A256GCM", cookie_name] = {key_id(key): key for key in gcm}
            self._encryption["A256CBC-HS512", cookie_name] = {key_id(key): key for key in cbc}

    def verify(self, token: str, *, cookie_name: str | None = None, now: float | None = None) -> dict[str, object]:
        """Return the claims of a token after verification of its signature or encryption and its times.

        `cookie_name`, one of `cookie_names`, is the cookie that held the token: it salts the key. Without a cookie,
        Auth.js's usual names and the app's own name are tried. `now` is in seconds since 1970. `exp` and `nbf` are
        compared with a tolerance of 15 s, as in the app's decoders, and `iat` need only be a number.
        Raises `TokenInvalid`. (RFC 7515, 7516, 7519.)
        """
        if len(token) > MAX_TOKEN_LENGTH:
            raise TokenInvalid("too long")
        if not is_compact_jose(token):
            raise TokenInvalid("malformed")
        header = read_header(token)
        if token.count(".") + 1 == _SIGNATURE_PARTS:
            payload = self._signed_payload(token, header)
        else:
            payload = self._decrypted_payload(token, header, cookie_name)
        return read_claims(payload, time.time() if now is None else now)

    def _signed_payload(self, token: str, header: Mapping[str, object]) -> bytes:
        if header.get("alg") not in _SIGNATURES:
            raise TokenInvalid("algorithm not accepted")
        for key in self._signing:
            try:
                return jws.deserialize_compact(token, key, registry=_SIGNATURE_REGISTRY).payload
            except _UNVERIFIED:
                continue
        raise TokenInvalid("wrong key or tampered with")

    def _decrypted_payload(self, token: str, header: Mapping[str, object], cookie_name: str | None) -> bytes:
        encryption = header.get("enc")
        if header.get("alg") != "dir" or encryption not in ("A256GCM", "A256CBC-HS512"):
            raise TokenInvalid("algorithm not accepted")
        keys = self._encryption[encryption, cookie_name]
        kid = header.get("kid")
        named = keys.get(kid) if isinstance(kid, str) else None
        # If the header names a key, no other key can fit.
        for key in (named,) if named else keys.values():
            try:
                plaintext = jwe.decrypt_compact(token, key, registry=_ENCRYPTION_REGISTRIES[encryption]).plaintext
            except _UNVERIFIED:
                continue
            if plaintext is not None:
                return plaintext
        raise TokenInvalid("wrong key or tampered with")


def sign(claims: Mapping[str, object], secret: str, *, expires_in: float) -> str:
    """Return a signed token (JWS, HS256) of these claims with `iat`, `jti`, and `exp` in `expires_in` seconds.

    Raises `ValueError` for a secret that cannot be a key. (RFC 7519.)
    """
    issued_at = int(time.time())
    times = {"iat": issued_at, "exp": issued_at + math.ceil(expires_in), "jti": secrets.token_urlsafe(16)}
    payload = json.dumps({**claims, **times}, allow_nan=False)
    return jws.serialize_compact({"alg": "HS256", "typ": "JWT"}, payload, signing_key(secret))
