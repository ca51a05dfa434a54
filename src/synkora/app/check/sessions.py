"""Test sessions: made like the web app's, for a user that does not exist."""

import hashlib
import hmac
import json
import secrets
import time
from typing import Final
from urllib.parse import unquote

from joserfc import jwe

from synkora.identity.cookies import AUTHJS_V5, NEXTAUTH_V4
from synkora.identity.keys import authjs_v5_key, key_id, nextauth_v4_key

#: Message and advice for an app that keeps its sessions in its database.
NO_DATABASE: Final = "it keeps its sessions in its database, and without DATABASE_URL nobody can sign in here"
SET_DATABASE: Final = 'Set DATABASE_URL to the app\'s own; or have the app make tokens: session: { strategy: "jwt" }'

_LIFETIME: Final = 60  # seconds
_REGISTRY: Final = jwe.JWERegistry(algorithms=("dir", "A256GCM", "A256CBC-HS512"))


def make_test_sessions(secret: str, *, secure: bool, name: str = "") -> list[str]:
    """Return `Cookie` headers for NextAuth v4 and Auth.js v5, made with `secret`, for a user that does not exist.

    `secure` says whether the app has an https address; `name` is the app's own cookie name, if any. The session is
    valid for a minute.
    """
    prefix = "__Secure-" if secure else ""
    now = int(time.time())
    user = f"synkora-check-{secrets.token_hex(8)}"
    claims = {"id": user, "sub": user, "iat": now, "exp": now + _LIFETIME, "jti": secrets.token_hex(16)}
    payload = json.dumps(claims)
    v4_name, v5_name = (name, name) if name else (prefix + NEXTAUTH_V4, prefix + AUTHJS_V5)
    v5 = authjs_v5_key(secret, "A256CBC-HS512", v5_name)
    sessions = (
        (v4_name, {"alg": "dir", "enc": "A256GCM"}, nextauth_v4_key(secret)),
        (v5_name, {"alg": "dir", "enc": "A256CBC-HS512", "kid": key_id(v5)}, v5),
    )
    return [f"{name}={jwe.encrypt_compact(header, payload, key, registry=_REGISTRY)}" for name, header, key in sessions]


def is_made_with(secret: str, cookie: str) -> bool:
    """Whether a `Set-Cookie` is NextAuth's CSRF token (a value and its hash), made with `secret`."""
    name, _, value = cookie.partition(";")[0].partition("=")
    token, bar, digest = unquote(value).partition("|")
    made = hashlib.sha256((token + secret).encode()).hexdigest()
    return name.endswith("csrf-token") and bool(bar) and hmac.compare_digest(made, digest)
