"""The session cookies of NextAuth v4 and Auth.js v5, in a request's `Cookie` header."""

from collections.abc import Sequence
from itertools import islice
from typing import Final

PREFIXES: Final = ("__Host-", "__Secure-", "")
AUTHJS_V5: Final = "authjs.session-token"
NEXTAUTH_V4: Final = "next-auth.session-token"

# Best first. A prefixed cookie comes before a plain one, because a page without TLS cannot set it. v5 comes before v4,
# because an app that has moved to v5 leaves v4 cookies in browsers.
SESSION_COOKIES: Final = tuple(prefix + name for prefix in PREFIXES for name in (AUTHJS_V5, NEXTAUTH_V4))

MAX_HEADER_LENGTH: Final = 65_536
MAX_VALUE_LENGTH: Final = 16_384
#: Cookies of a header: browsers keep at most 180 of a site, and 30,000 empty ones would take milliseconds to read.
MAX_COOKIES: Final = 500
# The app splits values at about 3,900 characters, so 8 chunks exceed MAX_VALUE_LENGTH.
MAX_CHUNKS: Final = 8
#: Cookies tried per name: a browser sends one for each path and domain that has the cookie.
MAX_SAME_NAME: Final = 4

_CHUNK_INDEX: Final = {str(index): index for index in range(MAX_CHUNKS)}


def cookie_names(own: str = "") -> tuple[str, ...]:
    """Return the possible names of a session cookie, best first: the app's `own`, if set, then the usual names.

    `own` is accepted with and without each prefix, as the app may use a prefix on HTTPS only.
    """
    bare = next((own.removeprefix(prefix) for prefix in PREFIXES if prefix and own.startswith(prefix)), own)
    names = (own, *(prefix + bare for prefix in PREFIXES)) if own else ()
    return tuple(dict.fromkeys((*names, *SESSION_COOKIES)))


def session_cookies(header: str, names: Sequence[str] = SESSION_COOKIES) -> list[tuple[str, str]]:
    """Return all session cookies of a `Cookie` header as (name, value), the most trusted first.

    A value split into `NAME.0`, `NAME.1`, … is joined in numeric order and listed under NAME, after unsplit cookies of
    that name. A value that lacks a chunk is skipped. Cookies with the same name keep their order, as browsers send the
    more specific path first (RFC 6265, section 5.4); at most four are listed. Never raises: a header of more than
    65,536 characters or 500 cookies has none, and a value of more than 16,384 characters is skipped.
    """
    if len(header) > MAX_HEADER_LENGTH or header.count(";") >= MAX_COOKIES:
        return []
    whole: dict[str, list[str]] = {name: [] for name in names}
    chunks: dict[str, list[dict[int, str]]] = {name: [] for name in names}
    for pair in header.split(";"):
        name, _, value = pair.partition("=")
        name, value = name.strip(" \t"), _unquoted(value.strip(" \t"))
        if not value:
            continue
        if name in whole:
            whole[name].append(value)
            continue
        name, _, suffix = name.rpartition(".")
        index = _CHUNK_INDEX.get(suffix)
        if index is not None and name in chunks:
            _add_chunk(chunks[name], index, value)
    found: list[tuple[str, str]] = []
    for name in names:
        joined = [value for value in map(_joined, chunks[name]) if value is not None]
        for values in (whole[name], joined):
            distinct = dict.fromkeys(value for value in values if len(value) <= MAX_VALUE_LENGTH)
            found += ((name, value) for value in islice(distinct, MAX_SAME_NAME))
    return found


def _add_chunk(values: list[dict[int, str]], index: int, chunk: str) -> None:
    """Add a chunk to the last value, or begin a new value if the last one already has a chunk with this index."""
    if not values or index in values[-1]:
        values.append({})
    values[-1][index] = chunk


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


def _joined(chunks: dict[int, str]) -> str | None:
    if not chunks or max(chunks) != len(chunks) - 1:
        return None
    return "".join(chunks[index] for index in range(len(chunks)))
