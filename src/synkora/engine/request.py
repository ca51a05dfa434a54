"""The HTTP request that opens, continues or upgrades a session: headers, and the client's address and host name."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

#: A request id that is safe in headers and log lines.
SANE_ID: Final = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")

_MAX_PARAMETERS: Final = 100
_MAX_ESCAPES: Final = 500
_MAX_STAMP: Final = 64  # characters; a session keeps two


class Headers:
    """A request's headers as one block of bytes, to save memory: a connection keeps them until its end."""

    __slots__ = ("_block",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Take `pairs` of a lower-case name and a value, as in ASGI."""
        self._block = b"".join([b"\n%b:%b" % (name, value) for name, value in pairs])

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for line in self._block.decode("latin-1").split("\n"):
            name, colon, value = line.partition(":")
            if colon:
                yield name, value.strip()

    def get(self, name: str) -> str | None:
        """Return a header by its lower-case name; several fields are joined to a list (RFC 9110 section 5.3)."""
        key = b"\n%b:" % name.encode("latin-1")
        start = self._block.find(key)
        if start < 0:
            return None
        start += len(key)
        end = self._block.find(b"\n", start)
        if end < 0:
            return self._block[start:].decode("latin-1").strip()
        if self._block.find(key, end) >= 0:
            # Cookies have another separator than other lists (RFC 6265 section 5.4, RFC 9113 section 8.2.3).
            return ("; " if name == "cookie" else ", ").join(self.get_all(name))
        return self._block[start:end].decode("latin-1").strip()

    def get_all(self, name: str) -> list[str]:
        """Return all values of a header by its lower-case name, in order."""
        return [value for key, value in self if key == name]


@lru_cache(maxsize=8)  # one request asks several times
def parse_query(query: str) -> Mapping[str, str]:
    """Return the parameters of a query; of parameters with the same name, the last.

    None of a query with too many parameters or escapes, or with escapes among characters beyond ASCII.
    """
    if "%" not in query and "+" not in query:  # the usual case; parse_qsl takes five times as long
        if query.count("&") >= _MAX_PARAMETERS:
            return {}
        return dict([pair.partition("=")[::2] for pair in query.split("&") if pair])
    if query.count("%") > _MAX_ESCAPES or not query.isascii():  # escapes, and changes between the two, are slow
        return {}
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS))
    except ValueError:
        return {}


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request. `address` is the client's address, as far as known.

    `is_proxied`: a trusted proxy has sent the request.
    """

    method: str
    path: str
    query_string: str
    headers: Headers
    address: str
    secure: bool
    is_proxied: bool = False

    @property
    def id(self) -> str | None:
        """The request's id, if the client or a proxy sent a valid one."""
        given = self.headers.get("x-request-id")
        return given if given is not None and SANE_ID.fullmatch(given) else None

    @property
    def query(self) -> Mapping[str, str]:
        """The query parameters; of parameters with the same name, the last."""
        return parse_query(self.query_string)

    @property
    def stamp(self) -> str | None:
        """What a client's polls and posts each have of their own (`t`), if it is short.

        A proxy or browser that sends a request again, because the connection ended, repeats the stamp.
        """
        stamp = self.query.get("t")
        return stamp if stamp and len(stamp) <= _MAX_STAMP else None

    @property
    def wants_base64(self) -> bool:
        """Whether the client accepts no binary packets (`forceBase64`)."""
        return bool(self.query.get("b64"))

    @property
    def origin(self) -> str | None:
        """The origin of the page, if a browser sent the request."""
        return self.headers.get("origin")

    @property
    def host(self) -> str | None:
        """The server's host as the client addressed it: behind trusted proxies, the first of `X-Forwarded-Host`."""
        forwarded = self.headers.get("x-forwarded-host") if self.is_proxied else None
        first = forwarded.partition(",")[0].strip() if forwarded else ""
        return first or self.headers.get("host")
