"""Parsing shared by the URLs of services such as a database (RFC 3986 section 3.2)."""

from typing import Final
from urllib.parse import unquote

#: Advice for an unreadable URL: this is the most frequent cause.
ESCAPE: Final = "; characters like @ : / ? # in a user or password must be percent-encoded"
_LARGEST_PORT: Final = 65_535


def host_and_port(address: str, default: int) -> tuple[str, int]:
    """Return host and port of an authority without credentials; `default` replaces a missing port.

    Raises `ValueError` for an invalid port.
    """
    if address.startswith("["):
        host, _, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = address.partition(":")
    if not port:
        return unquote(host), default
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _LARGEST_PORT):
        raise ValueError("has a port that is not a number" + ESCAPE)
    return unquote(host), int(port)
