"""The application's decision on requests that open a session."""

import time
from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable

from synkora.engine.handshake import HandshakeRefused, Refusal
from synkora.engine.logs import Log, fault
from synkora.engine.registry import Ask
from synkora.engine.request import Request
from synkora.sockets.errors import ConnectRefused
from synkora.sockets.snapshot import Handshake

#: Headers for the response, or True or None for no further headers; False refuses the request.
ResponseHeaders = Mapping[str, str] | bool | None
AllowRequest = Callable[[Handshake], Awaitable[ResponseHeaders] | ResponseHeaders]

log = Log(__name__)


def asker(allow_request: AllowRequest) -> Ask:
    """Return the engine's `ask` function, which calls `allow_request` with the request's handshake, without `auth`."""

    async def ask(request: Request) -> list[tuple[bytes, bytes]]:
        handshake = Handshake(
            headers=dict(request.headers),
            query=dict(request.query),
            address=request.address,
            secure=request.secure,
            issued=time.time(),
        )
        try:
            allowed = allow_request(handshake)
            headers = await allowed if isawaitable(allowed) else allowed
            if headers is False:
                raise ConnectRefused("Forbidden")
            if headers is True:
                headers = None
            return [
                (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()
            ]
        except ConnectRefused as refusal:
            raise HandshakeRefused(Refusal.FORBIDDEN, str(refusal)) from None
        except Exception as error:  # noqa: BLE001  # it is logged
            log.error("allow_request_failed", **fault(error))
            raise HandshakeRefused(Refusal.BAD_REQUEST, "Internal server error", status=500) from None

    return ask
