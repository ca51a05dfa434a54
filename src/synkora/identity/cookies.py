"""The session cookies of NextAuth v4 and Auth.js v5, found in a request's `Cookie` header."""

from typing import Final

PREFIXES: Final = ("__Host-", "__Secure-", "")
AUTHJS_V5: Final = "authjs.session-token"
NEXTAUTH_V4: Final = "next-auth.session-token"

# Best first. A prefixed cookie goes before a plain one because no page without TLS can have planted it, and v5 before
# v4 because an app that has moved to v5 leaves its v4 cookies behind in people's browsers.
SESSION_COOKIES: Final = tuple(prefix + name for prefix in PREFIXES for name in (AUTHJS_V5, NEXTAUTH_V4))

MAX_HEADER_LENGTH: Final = 65_536
MAX_VALUE_LENGTH: Final = 16_384
# The app splits at some 3,900 characters, so these hold more than the longest value that is taken.
MAX_CHUNKS: Final = 8

_CHUNK_INDEX: Final = {str(index): index for index in range(MAX_CHUNKS)}


def session_cookies(header: str) -> list[tuple[str, str]]:
    """All session cookies of a `Cookie` header as (name, value), those to be trusted most first.

    A value split into `NAME.0`, `NAME.1`, … is joined in numeric order and listed under NAME, after an unsplit cookie
    of that name; one that lacks a chunk is left out. Of two cookies with one name the first counts, as browsers send
    the more specific path first (RFC 6265, section 5.4). Never raises: a header of more than 65,536 characters has no
    cookies, and a value of more than 16,384 is left out.
    """
    if len(header) > MAX_HEADER_LENGTH:
        return []
    whole: dict[str, str] = {}
    chunks: dict[str, dict[int, str]] = {}
    for pair in header.split(";"):
        name, _, value = pair.partition("=")
        name, value = name.strip(" \t"), _unquoted(value.strip(" \t"))
        if not value:
            continue
        if name in SESSION_COOKIES:
            whole.setdefault(name, value)
            continue
        name, _, suffix = name.rpartition(".")
        index = _CHUNK_INDEX.get(suffix)
        if index is not None and name in SESSION_COOKIES:
            chunks.setdefault(name, {}).setdefault(index, value)
    found: list[tuple[str, str | None]] = []
    for name in SESSION_COOKIES:
        found += (name, whole.get(name)), (name, _joined(chunks.get(name, {})))
    return [(name, value) for name, value in found if value is not None and len(value) <= MAX_VALUE_LENGTH]


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


def _joined(chunks: dict[int, str]) -> str | None:
    if not chunks or max(chunks) != len(chunks) - 1:
        return None
    return "".join(chunks[index] for index in range(len(chunks)))
