"""Tokens with a valid signature or encryption and any header."""

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.identity.forge import segment

from synkora.identity.keys import nextauth_v4_key

_CLAIMS = b'{"id":"user"}'
_NONCE = bytes(12)
_TAG_SIZE = 16


def signed_with_header(header: bytes, secret: str) -> str:
    signing_input = f"{segment(header)}.{segment(_CLAIMS)}"
    signature = hmac.new(secret.encode(), signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{segment(signature)}"


def encrypted_with_header(header: bytes, secret: str) -> str:
    """A JWE (dir, A256GCM) whose header is these bytes."""
    protected = segment(header)
    sealed = AESGCM(nextauth_v4_key(secret).raw_value).encrypt(_NONCE, _CLAIMS, protected.encode())
    parts = (_NONCE, sealed[:-_TAG_SIZE], sealed[-_TAG_SIZE:])
    return ".".join((protected, "", *map(segment, parts)))
