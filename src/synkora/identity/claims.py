"""The JSON of tokens: headers and claims, decoded and checked against the clock."""

import json
import math
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Final

from synkora.identity.errors import Reason, TokenInvalid

# Seconds. The decoders of NextAuth and Auth.js allow the same.
CLOCK_TOLERANCE: Final = 15.0

# Each parameter changes how the token is decoded, and no issuer of the app's tokens sets one. With `zip`, a few bytes
# could decompress to a very long text.
_REFUSED_PARAMETERS: Final = frozenset({"b64", "crit", "zip"})


def read_header(token: str) -> dict[str, object]:
    """Return the header of a compact JWS or JWE.

    Raises `TokenInvalid` if the header is not a JSON object, or has a parameter that is not supported.
    """
    segment = token.partition(".")[0]
    try:
        header = _json_object(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)), "malformed")
    except ValueError:
        raise TokenInvalid("malformed") from None
    if not _REFUSED_PARAMETERS.isdisjoint(header):
        raise TokenInvalid("header not accepted")
    return header


def read_claims(payload: bytes, now: float) -> dict[str, object]:
    """Return the claims of a verified payload, valid at `now` (seconds since 1970) by `nbf` and `exp`.

    `iat` need only be a number, as in the app's decoders. Raises `TokenInvalid`. (RFC 7519, section 4.1.)
    """
    claims = _json_object(payload, "claims malformed")
    _time(claims, "iat")
    not_before, expires_at = _time(claims, "nbf"), _time(claims, "exp")
    if not_before is not None and not_before > now + CLOCK_TOLERANCE:
        raise TokenInvalid("not valid yet")
    if expires_at is not None and expires_at <= now - CLOCK_TOLERANCE:
        raise TokenInvalid("expired")
    return claims


def _json_object(encoded: bytes, otherwise: Reason) -> dict[str, object]:
    try:
        value = json.loads(encoded.decode())
    except (ValueError, RecursionError):
        raise TokenInvalid(otherwise) from None
    if not isinstance(value, dict):
        raise TokenInvalid(otherwise)
    return value


def _time(claims: Mapping[str, object], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    try:
        # NaN compares as neither before nor after any time, so the token would never expire.
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise TokenInvalid("claims malformed")
