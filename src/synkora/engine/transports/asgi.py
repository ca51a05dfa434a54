"""Engine.IO as an ASGI application, for any server, alone or mounted in another application.

Sources: asgiref, specs/www.rst and specs/lifespan.rst; ASGI's extension "Websocket Denial Response".
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from synkora.engine.handshake import HandshakeRefused
from synkora.engine.logs import Log, fault
from synkora.engine.registry import Registry
from synkora.engine.transports.asgi_websocket import AsgiWebSocket
from synkora.engine.transports.polling_endpoint import PollingEndpoint, Receive, Scope, Send
from synkora.engine.transports.websocket_heads import subprotocol

log = Log(__name__)


class AsgiEndpoint:
    """Serves all requests and WebSockets that it gets, whatever their path: the outer application routes by path.

    `lifespan` is entered before the first client and left at the end, if the server's `lifespan` events arrive here. An
    outer application with its own lifespan has to enter `lifespan` itself.
    """

    def __init__(
        self,
        registry: Registry,
        polling: PollingEndpoint,
        lifespan: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._registry = registry
        self._polling = polling
        self._lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, WebSocket or lifespan (ASGI 3)."""
        match scope["type"]:
            case "http":
                await self._polling(scope, receive, send)
            case "websocket":
                await self._serve_websocket(scope, receive, send)
            case "lifespan":
                await _run_lifespan(self._lifespan(), receive, send)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        request = self._polling.request(scope)
        try:
            sid = self._registry.check_websocket(request)
            headers: list[tuple[bytes, bytes]] = []
            if sid is None and self._registry.ask is not None:
                headers = await self._registry.ask(request)
            self._registry.admit_websocket(request, sid)
        except HandshakeRefused as refusal:
            self._registry.note_refusal(refusal, request)
            await _refuse(refusal, scope, send)
        else:
            offers = ",".join(scope.get("subprotocols") or ()) or request.headers.get("sec-websocket-protocol")
            await AsgiWebSocket(self._registry, request, send).run(sid, receive, subprotocol(offers), headers)


async def _refuse(refusal: HandshakeRefused, scope: Scope, send: Send) -> None:
    """Answer a WebSocket handshake with an HTTP response, or a plain 403 if the server supports only that."""
    if "websocket.http.response" not in (scope.get("extensions") or ()):
        await send({"type": "websocket.close"})
        return
    body = refusal.body
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.retry_after:
        headers.append((b"retry-after", b"%d" % refusal.retry_after))
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


async def _run_lifespan(lifespan: AbstractAsyncContextManager[None], receive: Receive, send: Send) -> None:
    await receive()  # lifespan.startup
    async with AsyncExitStack() as entered:
        try:
            await entered.enter_async_context(lifespan)
        except Exception as error:  # noqa: BLE001  # it is logged
            log.error("start_failed", **fault(error))
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
    await send({"type": "lifespan.shutdown.complete"})
