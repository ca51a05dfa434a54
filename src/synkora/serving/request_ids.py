"""An id for each HTTP request, in its response and in its log lines."""

import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from itertools import count
from typing import Final

from synkora.engine.request import SANE_ID

HEADER: Final = b"x-request-id"
# The ids of a process share a prefix: random bytes for each request would need a system call for each.
_PREFIX: Final = secrets.token_hex(6).encode() + b"-"
_NUMBERS: Final = count(1)


class RequestContext:
    """Log lines within a `with` block, and of tasks started in the block, have the request's id.

    Timers copy the context and outlive the request: `is_over` keeps them from logging the request's id. The id is the
    one in the request, if it has only safe characters, or else a new one. It is computed on first use, since most polls
    log nothing.
    """

    __slots__ = ("_headers", "_id", "is_over")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._headers = headers
        self._id: bytes | None = None
        self.is_over = False

    @property
    def id(self) -> bytes:
        """The request's id."""
        if self._id is None:
            given = (value for name, value in self._headers if name == HEADER)
            sane = (value for value in given if SANE_ID.fullmatch(value.decode("latin-1")))
            self._id = next(sane, b"%b%x" % (_PREFIX, next(_NUMBERS)))
        return self._id

    def __enter__(self) -> None:
        _CURRENT.set(self)

    def __exit__(self, *_: object) -> None:
        self.is_over = True


_CURRENT: Final[ContextVar[RequestContext | None]] = ContextVar("request", default=None)


def current_request_id() -> str | None:
    """Return the id of the current request, or None."""
    request = _CURRENT.get()
    return None if request is None or request.is_over else request.id.decode()
