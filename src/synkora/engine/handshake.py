"""Whether a request may open, carry or upgrade a session, and what to answer if not.

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
    """Engine.IO's numbers for what is wrong with a request."""

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


#: The files that a server on Node.js hands out at its path.
_CLIENT: Final = re.compile(r"socket\.io(\.esm|\.msgpack)?(\.min)?\.js(\.map)?")
_NO_CLIENT: Final = (
    "This server does not serve Socket.IO's client: install socket.io-client with npm, or see "
    "https://socket.io/docs/v4/client-installation/"
)
_NO_JSONP: Final = "JSONP is not supported: leave out the parameter j, and use polling or websocket"


class HandshakeRefused(Exception):
    """A request that is answered with an HTTP status, `{"code", "message"}`, and Retry-After in seconds if given.

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
        """The JSON of the answer."""
        return encode({"code": int(self.code), "message": str(self)})


def check(
    request: Request, settings: EngineSettings, page_of: Callable[[str], str | None], *, websocket: bool
) -> str | None:
    """Return the id of the session that `request` is for, or None if it opens one.

    `page_of` tells the page of a session, which goes on with it: a proxy may hide that its WebSocket is the page's too.
    Raises `HandshakeRefused`.
    """
    if _CLIENT.fullmatch(request.path.rpartition("/")[2]):
        raise HandshakeRefused(Refusal.BAD_REQUEST, _NO_CLIENT, status=404)
    origin, query = request.origin, request.query
    sid = query.get("sid")
    if origin is not None and not settings.origins.admits(request) and not (sid and page_of(sid) in (origin, OWN_PAGE)):
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
