"""An id for each HTTP request: in its answer, and in what the log says while it is handled."""

import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from itertools import count
from types import TracebackType
from typing import Final

from synkora.engine.request import SANE_ID

HEADER: Final = b"x-request-id"
# The ids of a process share what begins them: random bytes for each request would be a call into the kernel for each.
_PREFIX: Final = secrets.token_hex(6).encode() + b"-"
_NUMBERS: Final = count(1)


class RequestContext:
    """Have what is logged within a `with` block, and in tasks that are made in it, carry a request's id.

    Timers that are started in it remember the request for longer, and are none of its own: by that it is over. The id
    is the one that came with the request, if it is one that can be written anywhere, or else a new one. It is looked
    for when it is first asked for: most polls get by without.
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over = True


_CURRENT: Final[ContextVar[RequestContext | None]] = ContextVar("request", default=None)


def current_request_id() -> str | None:
    """The id of the request that is being handled, if there is one."""
    request = _CURRENT.get()
    return None if request is None or request.is_over else request.id.decode()
