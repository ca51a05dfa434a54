"""The session cookies of NextAuth v4 and Auth.js v5, found in a request's `Cookie` header."""

from collections.abc import Sequence
from itertools import islice
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
#: Cookies of one name that are tried: a browser sends one for each path and domain that it has the cookie for.
MAX_SAME: Final = 4

_CHUNK_INDEX: Final = {str(index): index for index in range(MAX_CHUNKS)}


def cookie_names(own: str = "") -> tuple[str, ...]:
    """The names that a session's cookie may have, best first: the app's `own`, if it has one, and the usual ones.

    An own name counts with and without each prefix, as the app may have it on HTTPS alone.
    """
    bare = next((own.removeprefix(prefix) for prefix in PREFIXES if prefix and own.startswith(prefix)), own)
    names = (own, *(prefix + bare for prefix in PREFIXES)) if own else ()
    return tuple(dict.fromkeys((*names, *SESSION_COOKIES)))


def session_cookies(header: str, names: Sequence[str] = SESSION_COOKIES) -> list[tuple[str, str]]:
    """All session cookies of a `Cookie` header as (name, value), those to be trusted most first.

    A value split into `NAME.0`, `NAME.1`, … is joined in numeric order and listed under NAME, after unsplit cookies of
    that name; one that lacks a chunk is left out. Of cookies with one name the first goes first, as browsers send the
    more specific path first (RFC 6265, section 5.4), and four are listed. Never raises: a header of more than 65,536
    characters has no cookies, and a value of more than 16,384 is left out.
    """
    if len(header) > MAX_HEADER_LENGTH:
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
            found += ((name, value) for value in islice(distinct, MAX_SAME))
    return found


def _add_chunk(values: list[dict[int, str]], index: int, chunk: str) -> None:
    """Add a chunk to the value that its neighbours in the header belong to: one that has such a chunk is complete."""
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
