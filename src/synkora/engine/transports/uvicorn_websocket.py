"""uvicorn's WebSocket protocol for an application that has its own WebSockets beside Engine.IO's."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from synkora.engine.registry import Registry
from synkora.engine.transports.websocket_heads import split_target
from synkora.engine.transports.websocket_protocol import WebSocketProtocol


class ServerState(Protocol):
    """State that uvicorn's connections share: uvicorn stops the members of `connections` when it stops."""

    connections: set[Any]


class UvicornWebSocket(asyncio.Protocol):
    """Passes a WebSocket below Engine.IO's path to picows, and any other to uvicorn's default protocol.

    The object hands its connection over after the request. `stop` is called when uvicorn begins to stop while Engine.IO
    has WebSockets: uvicorn would wait for their clients to disconnect. `protocol_for` makes the class that uvicorn
    takes as `ws`.
    """

    def __init__(
        self, registry: Registry, stop: Callable[[], object], *, config: Any, server_state: ServerState, app_state: Any
    ) -> None:
        self._registry = registry
        self._stop = stop
        self._given = {"config": config, "server_state": server_state, "app_state": app_state}
        self._protocol: Any = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what uvicorn passes
        """Take over a connection from uvicorn's HTTP protocol."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Handle the request that uvicorn has read, once, and hand the connection over."""
        if self._protocol is not None:
            self._transport.abort()  # a client may send nothing before the response to its handshake
            return
        path, _ = split_target(data.split(b" ", 2)[1])
        if AutoWebSocketsProtocol is None or self._registry.settings.serves(path):
            self._protocol = _CountedWebSocket(self._registry, self._stop, **self._given)
        else:
            self._protocol = AutoWebSocketsProtocol(**self._given)
        self._protocol.connection_made(self._transport)
        self._protocol.data_received(data)
        # After this call uvicorn makes this object the connection's protocol, so the handover has to come later.
        asyncio.get_running_loop().call_soon(self._hand_over, self._protocol)

    def _hand_over(self, protocol: asyncio.BaseProtocol) -> None:
        if not self._is_lost:
            self._transport.set_protocol(protocol)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end of the connection on, if the handover has not happened yet."""
        self._is_lost = True
        if self._protocol is not None:
            self._protocol.connection_lost(exc)


def protocol_for(registry: Registry, stop: Callable[[], object]) -> type[asyncio.Protocol]:
    """A class that uvicorn makes without knowing `registry` and `stop`."""

    class BoundWebSocket(UvicornWebSocket):
        """`UvicornWebSocket` for one server."""

        def __init__(self, **given: Any) -> None:
            super().__init__(registry, stop, **given)

    return BoundWebSocket


class _CountedWebSocket(WebSocketProtocol):
    """picows' WebSocket in uvicorn's set of connections."""

    def __init__(
        self, registry: Registry, stop: Callable[[], object], *, server_state: ServerState, **given: Any
    ) -> None:
        super().__init__(registry, server_state=server_state, **given)
        self._connections = server_state.connections
        self.shutdown = stop  # uvicorn calls it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what uvicorn passes
        self._connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)
