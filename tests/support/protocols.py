"""The protocols of a server's WebSockets."""

import asyncio

import pytest

from synkora.engine.transports.websocket_protocol import WebSocketProtocol


def noted_protocols(monkeypatch: pytest.MonkeyPatch) -> list[WebSocketProtocol]:
    """The protocols of the WebSockets that connect from now on."""
    made: list[WebSocketProtocol] = []
    connect = WebSocketProtocol.connection_made

    def note(self: WebSocketProtocol, transport: asyncio.Transport) -> None:
        made.append(self)
        connect(self, transport)

    monkeypatch.setattr(WebSocketProtocol, "connection_made", note)
    return made
