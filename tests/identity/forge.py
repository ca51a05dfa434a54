"""Tokens made by hand, for content that no library would produce."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

from joserfc import jwe

from synkora.identity.keys import nextauth_v4_key

#: The tokens among the vectors, each with a cookie that holds it.
COOKIES = [
    ("nextauth_v4", "next-auth.session-token"),
    ("nextauth_v4", "__Secure-next-auth.session-token"),
    ("authjs_v5", "authjs.session-token"),
    ("authjs_v5_secure_cookie", "__Secure-authjs.session-token"),
]


def segment(value: object) -> str:
    """One base64url part of a token: bytes unchanged, anything else as JSON."""
    encoded = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(encoded).rstrip(b"=").decode()


def signed(claims: object, secret: str, header: dict[str, Any] | None = None) -> str:
    """A JWS with a valid HMAC-SHA256 and any header."""
    signing_input = f"{segment({'alg': 'HS256', **(header or {})})}.{segment(claims)}"
    signature = hmac.new(secret.encode(), signing_input.encode(), hashlib.sha256).digest()
    return f"{signing_input}.{segment(signature)}"


def encrypted(claims: object, secret: str, header: dict[str, Any] | None = None) -> str:
    """A JWE for NextAuth v4's key, with any additional header."""
    protected = {"alg": "dir", "enc": "A256GCM", **(header or {})}
    registry = jwe.JWERegistry(algorithms=["dir", "A256GCM", "DEF"], strict_check_header=False)
    return jwe.encrypt_compact(protected, json.dumps(claims), nextauth_v4_key(secret), registry=registry)
