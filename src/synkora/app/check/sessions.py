"""Sessions as the web app makes them, of nobody."""

import json
import secrets
import time
from typing import Final

from joserfc import jwe

from synkora.identity.cookies import AUTHJS_V5, NEXTAUTH_V4
from synkora.identity.keys import authjs_v5_key, key_id, nextauth_v4_key

_LIFETIME: Final = 60  # seconds
_REGISTRY: Final = jwe.JWERegistry(algorithms=("dir", "A256GCM", "A256CBC-HS512"))


def nobodys_session(secret: str, *, secure: bool) -> str:
    """The `Cookie` header of somebody that there is not, made with `secret`, for NextAuth v4 and Auth.js v5 alike.

    `secure` is whether the app is at an https address. It is good for a minute.
    """
    prefix = "__Secure-" if secure else ""
    now = int(time.time())
    user = f"synkora-check-{secrets.token_hex(8)}"
    claims = {"id": user, "sub": user, "iat": now, "exp": now + _LIFETIME, "jti": secrets.token_hex(16)}
    payload = json.dumps(claims)
    v5 = authjs_v5_key(secret, "A256CBC-HS512", prefix + AUTHJS_V5)
    sessions = {
        NEXTAUTH_V4: ({"alg": "dir", "enc": "A256GCM"}, nextauth_v4_key(secret)),
        AUTHJS_V5: ({"alg": "dir", "enc": "A256CBC-HS512", "kid": key_id(v5)}, v5),
    }
    return "; ".join(
        f"{prefix}{name}={jwe.encrypt_compact(header, payload, key, registry=_REGISTRY)}"
        for name, (header, key) in sessions.items()
    )
