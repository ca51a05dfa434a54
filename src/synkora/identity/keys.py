"""The keys that NextAuth v4 and Auth.js v5 derive from a secret."""

import warnings
from typing import Final, Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc.errors import SecurityWarning
from joserfc.jwk import OctKey, thumbprint

Encryption = Literal["A256GCM", "A256CBC-HS512"]

_KEY_BYTES: Final[dict[Encryption, int]] = {"A256GCM": 32, "A256CBC-HS512": 64}
_DIGESTS: Final[dict[int, Literal["sha256", "sha512"]]] = {32: "sha256", 64: "sha512"}


def signing_key(secret: str) -> OctKey:
    """Return the key of signed tokens: the secret. `ValueError` if it is empty, not Unicode text, or a public key."""
    return _key(_secret_bytes(secret))


def nextauth_v4_key(secret: str, salt: str = "") -> OctKey:
    """Return the key of a session token of NextAuth v4, which uses A256GCM; sessions have no salt by default."""
    info = "NextAuth.js Generated Encryption Key" + (f" ({salt})" if salt else "")
    return _derived(secret, salt, info, _KEY_BYTES["A256GCM"])


def authjs_v5_key(secret: str, encryption: Encryption, salt: str) -> OctKey:
    """Return the key of a session token of Auth.js v5; the salt is the name of the cookie that holds the token."""
    return _derived(secret, salt, f"Auth.js Generated Encryption Key ({salt})", _KEY_BYTES[encryption])


def key_id(key: OctKey) -> str:
    """Return the `kid` that Auth.js v5 gives a key: its JWK thumbprint, with SHA-2 of the key's size (RFC 7638)."""
    return thumbprint({"k": key.as_dict()["k"], "kty": "oct"}, _DIGESTS[len(key.raw_value)])


def _derived(secret: str, salt: str, info: str, length: int) -> OctKey:
    hkdf = HKDF(algorithm=SHA256(), length=length, salt=salt.encode(), info=info.encode())
    return _key(hkdf.derive(_secret_bytes(secret)))


def _secret_bytes(secret: str) -> bytes:
    try:
        key_material = secret.encode()
    except UnicodeEncodeError:
        # The codec's message would quote a part of the secret.
        raise ValueError("a secret must be Unicode text") from None
    if not key_material:
        raise ValueError("a secret must not be empty")
    return key_material


def _key(key_material: bytes) -> OctKey:
    with warnings.catch_warnings():
        # The web app accepts a short secret; to refuse it here would only lock out the app's users.
        warnings.simplefilter("ignore", SecurityWarning)
        return OctKey.import_key(key_material)
