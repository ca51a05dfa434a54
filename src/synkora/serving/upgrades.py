"""uvicorn's HTTP protocol, with the Upgrade header handled as HTTP specifies, and what follows a handshake passed on.

Sources: RFC 9110 sections 5.3 (fields that are repeated) and 7.8 (Upgrade); RFC 6455 section 4.2.1.
"""

import asyncio
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from synkora.protocol.headers import tokens

_NOT_HTTP: Final = "Invalid HTTP request received."
_CONNECT: Final = b"CONNECT"  # the parser treats CONNECT as an upgrade
_WEBSOCKET: Final = b"websocket"


class UpgradeProtocol(HttpToolsProtocol):
    """Passes a GET that asks for a WebSocket to the WebSocket protocol, with all data after the request.

    Any other upgrade is ignored: the response is the same as without the offer. (uvicorn reads only one of several
    Upgrade fields, and drops the data after the request.) The parser stops after the head of a request with an upgrade,
    before the body. So if the upgrade is ignored, the head is parsed again without it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_ignoring = False

    def data_received(self, data: bytes) -> None:
        """Handle received data."""
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
        """Start a request, unless its head has to be parsed again."""
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
        """Return the members of a list header, in lower case, from all fields with this name; none of a long list."""
        return tokens([value for name, value in self.headers if name == field])


def _hand_over(data: bytes, transport: asyncio.Transport, before: asyncio.BaseProtocol) -> None:
    """Pass `data` to the connection's current protocol, unless the protocol is still `before`.

    Only the event loop may write into a protocol's buffer: received bytes may wait there for a later turn.
    """
    protocol: Any = transport.get_protocol()
    if data and protocol is not before and not transport.is_closing():
        protocol.continue_with(data)
