"""Warnings about settings that work, but are not safe in production."""

import re
from collections.abc import Iterator
from typing import Final

from synkora.engine.origins import OPAQUE_ORIGINS

SHORTEST_SECRET: Final = 32  # bytes
_FEW: Final = 4  # different characters
_ADVICE: Final = (
    "anyone who guesses the secret can sign in as any user. "
    "Make one for the app and this server: openssl rand -base64 32"
)
# Placeholder secrets in example files consist of these words: your-secret-here, generate_with_openssl_rand_base64_32.
_FILLERS: Final = (
    "0123456789 1 12 123 1234 12345 123456 1234567 12345678 123456789 1234567890 128 16 24 256 32 48 512 64 "
    "a abc abcdef abcdefghijklmnopqrstuvwxyz add an and any app at auth authentication authjs bar base baz be bit byte "
    "bytes change changed changeit changeme char character characters chars choose default dev development dummy enter "
    "environment example fill foo for from generate generated goes hash here hex hmac hs in insert is it jwt key least "
    "length local localhost long longer me min minimum more must my nextauth not of one only openssl or own pass "
    "passphrase password paste phrase placeholder please private prod production put qwerty rand random randomly real "
    "replace sample secret secrets secure session set should sign signing some something ssl string strong super "
    "supersecret synkora test testing that the this to todo token top use using value very with xxx you your"
)
_WORDS: Final = frozenset(_FILLERS.split())
_LONGEST: Final = max(map(len, _WORDS))


def weakness(secret: str) -> str | None:
    """Return why a secret is weak, as text after its variable's name; None for a strong secret."""
    if is_placeholder(secret):
        return f"looks like a placeholder out of an example file: {_ADVICE}"
    if len(set(secret)) <= _FEW or secret in (secret + secret)[1:-1]:
        return f"repeats itself: {_ADVICE}"
    if len(secret.encode()) < SHORTEST_SECRET:
        return f"is shorter than {SHORTEST_SECRET} bytes: {_ADVICE}"
    return None


def is_placeholder(secret: str) -> bool:
    """Whether a secret consists only of words of example files, with any separators."""
    text = re.sub(r"[^a-z0-9]", "", secret.lower())
    reached = {0}
    for end in range(1, len(text) + 1):
        if any(end - size in reached and text[end - size : end] in _WORDS for size in range(1, _LONGEST + 1)):
            reached.add(end)
    return bool(text) and len(text) in reached


def secret_warnings(secret: str, previous: tuple[str, ...], name: str = "NEXTAUTH_SECRET") -> Iterator[str]:
    """Yield a line for each variable with a weak secret, without the secret."""
    for variable, secrets in ((name, (secret,)), ("NEXTAUTH_SECRET_PREVIOUS", previous)):
        why = next(filter(None, map(weakness, secrets)), None)
        if why is not None:
            yield f"{variable} {why}"


def origin_warnings(allowed: tuple[str, ...]) -> Iterator[str]:
    """Yield a line if every page may connect, and a line for each origin that any page can have."""
    if "*" in allowed:
        yield (
            "ALLOWED_ORIGINS has *: every page may connect, and the cookies of pages that are not named are ignored, "
            "so that their users sign in only by a token"
        )
    for origin in allowed:
        if origin in OPAQUE_ORIGINS:
            yield (
                f"ALLOWED_ORIGINS has {origin}: any page can have that origin, so cookies of such pages never count, "
                "and their users sign in only by a token"
            )
