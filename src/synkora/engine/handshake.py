"""Checks whether a request may open, continue or upgrade a session, and the refusals.

Source: socketio/socket.io, docs/engine.io-protocol/v4-current.md, "Handshake".
"""

import re
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from synkora.engine.incidents import Limit
from synkora.engine.origins import OWN_PAGE
from synkora.engine.request import Request
from synkora.engine.settings import EngineSettings
from synkora.protocol.engineio import PROTOCOL
from synkora.protocol.json import encode


class Refusal(IntEnum):
    """Engine.IO's error codes for requests."""

    UNKNOWN_TRANSPORT = 0
    UNKNOWN_SESSION = 1
    BAD_METHOD = 2
    BAD_REQUEST = 3
    FORBIDDEN = 4
    UNSUPPORTED_VERSION = 5


MESSAGES: Final = {
    Refusal.UNKNOWN_TRANSPORT: "Transport unknown",
    Refusal.UNKNOWN_SESSION: "Session ID unknown",
    Refusal.BAD_METHOD: "Bad handshake method",
    Refusal.BAD_REQUEST: "Bad request",
    Refusal.FORBIDDEN: "Forbidden",
    Refusal.UNSUPPORTED_VERSION: "Unsupported protocol version",
}


#: The client files that a Socket.IO server on Node.js serves at its path.
_CLIENT: Final = re.compile(r"socket\.io(\.esm|\.msgpack)?(\.min)?\.js(\.map)?")
_NO_CLIENT: Final = (
    "This server does not serve Socket.IO's client: install socket.io-client with npm, or see "
    "https://socket.io/docs/v4/client-installation/"
)
_NO_JSONP: Final = "JSONP is not supported: leave out the parameter j, and use polling or websocket"


class HandshakeRefused(Exception):
    """A request is refused with an HTTP status, the JSON `{"code", "message"}`, and Retry-After in seconds if given.

    `limit` is the limit that the client has hit, if a limit is the reason.
    """

    def __init__(
        self,
        code: Refusal,
        message: str | None = None,
        *,
        status: int | None = None,
        retry_after: int | None = None,
        limit: Limit | None = None,
    ) -> None:
        super().__init__(message or MESSAGES[code])
        self.code = code
        self.retry_after = retry_after
        self.limit = limit
        self.status = status or (403 if code is Refusal.FORBIDDEN else 400)

    @property
    def body(self) -> bytes:
        """The JSON body of the response."""
        return encode({"code": int(self.code), "message": str(self)})


def check(
    request: Request, settings: EngineSettings, page_of: Callable[[str], str | None], *, websocket: bool
) -> str | None:
    """Return the id of the session that `request` belongs to, or None if the request opens a session.

    `page_of` returns the origin of a session's page. Requests of this page stay allowed: a proxy may hide that the
    WebSocket comes from the same page. Raises `HandshakeRefused`.
    """
    if _CLIENT.fullmatch(request.path.rpartition("/")[2]):
        raise HandshakeRefused(Refusal.BAD_REQUEST, _NO_CLIENT, status=404)
    origin, query = request.origin, request.query
    sid = query.get("sid")
    if origin is not None and not settings.origins.allows(request) and not (sid and page_of(sid) in (origin, OWN_PAGE)):
        raise HandshakeRefused(Refusal.FORBIDDEN, settings.origins.refusal(origin))
    transport = query.get("transport")
    if transport not in settings.transports:
        raise HandshakeRefused(Refusal.UNKNOWN_TRANSPORT)
    if "j" in query and not websocket:
        raise HandshakeRefused(Refusal.UNKNOWN_TRANSPORT, _NO_JSONP)
    if not sid and request.method != "GET":
        raise HandshakeRefused(Refusal.BAD_METHOD)
    if websocket is not (transport == "websocket"):
        raise HandshakeRefused(Refusal.BAD_REQUEST)
    if sid:
        return sid
    if query.get("EIO") != PROTOCOL:
        raise HandshakeRefused(Refusal.UNSUPPORTED_VERSION)
    return None
