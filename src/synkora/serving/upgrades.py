"""uvicorn's HTTP protocol, which reads what a request asks to upgrade to as HTTP has it.

Sources: RFC 9110 sections 5.3 (fields that are repeated) and 7.8 (Upgrade); RFC 6455 section 4.2.1.
"""

import asyncio
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_NOT_HTTP: Final = "Invalid HTTP request received."
_CONNECT: Final = b"CONNECT"  # its target is an upgrade by itself
_WEBSOCKET: Final = b"websocket"


class UpgradeProtocol(HttpToolsProtocol):
    """Hands a GET that asks for a WebSocket to the WebSocket protocol, with all that came behind the request.

    Any other upgrade is ignored: the request is answered as if the client had not offered the upgrade. (uvicorn looks
    at one of several fields alone, and drops what comes behind the request.) The parser stops behind the head of a
    request with an upgrade, before its body: so the parser gets a head whose upgrade is ignored again, without it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_ignoring = False

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self._unset_keepalive_if_required()
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserError:
                self.send_400_response(_NOT_HTTP)
            except httptools.HttpParserUpgrade as upgrade:
                rest = data[upgrade.args[0] :]
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    _hand_over(rest, self.transport, self)
                elif not self.transport.is_closing():
                    data = self._head_without_upgrade() + rest if self._is_ignoring else rest
                    continue
            return

    def on_headers_complete(self) -> None:
        """Start a request, unless its head is to be read again."""
        is_upgrade = self.parser.should_upgrade() and self.parser.get_method() != _CONNECT
        self._is_ignoring = is_upgrade and not self._should_upgrade()
        if not self._is_ignoring:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called by httptools at the end of a request."""
        if not self._is_ignoring:
            super().on_message_complete()

    def _head_without_upgrade(self) -> bytes:
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        version = self.parser.get_http_version().encode()
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, b"".join(fields))

    def _get_upgrade(self) -> bytes | None:
        is_websocket = self.parser.get_method() == b"GET" and _WEBSOCKET in self._tokens(b"upgrade")
        return _WEBSOCKET if is_websocket and b"upgrade" in self._tokens(b"connection") else None

    def _tokens(self, field: bytes) -> set[bytes]:
        """The members of a list, in lower case, from all fields of a name."""
        values = b",".join([value for name, value in self.headers if name == field])
        return {token.strip().lower() for token in values.split(b",")}


def _hand_over(data: bytes, transport: asyncio.Transport, before: asyncio.BaseProtocol) -> None:
    """Give `data` to the protocol that a connection has now, unless this is the protocol from before."""
    protocol: Any = transport.get_protocol()
    while data and protocol is not before and not transport.is_closing():
        room = protocol.get_buffer(len(data))
        size = min(len(room), len(data))
        room[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]
