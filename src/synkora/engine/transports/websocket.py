"""WebSocket by picows, as uvicorn's WebSocket protocol class.

picows exports no protocol class; this module knows its private one, and a test pins the constructor.
Source: RFC 6455; socketio/socket.io, docs/engine.io-protocol/v4-current.md, "WebSocket".
"""

import asyncio
import base64
import binascii
import http
import logging
import socket
from typing import Any, Final

from multidict import CIMultiDict
from picows import WSAutoPingStrategy, WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeResponse
from picows import WSUpgradeRequest as PicowsRequest
from picows.common import WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in picows' public types

from synkora.engine.addresses import TrustedProxies
from synkora.engine.disconnect import ORDERLY, Reason, close_code
from synkora.engine.handshake import HandshakeRefused, Refusal, check
from synkora.engine.outgoing import Outgoing
from synkora.engine.registry import Registry
from synkora.engine.request import Headers, Request
from synkora.engine.session import Session
from synkora.engine.settings import TransportName
from synkora.protocol.errors import MessageTimeout, PayloadTooLarge, ProtocolError
from synkora.protocol.websocket import EXTENSION, accepts_compression, decompress

CLOSING_TIME: Final = 2  # seconds that a client has to answer a close frame, and to read what was sent before it
MAX_FRAGMENTS: Final = 4096  # of one message: browsers send a megabyte in a few
UNSENT: Final = 131_072  # bytes that the kernel takes beyond those under way; it would take megabytes of old cursors
_VERSION: Final = "13"
_READ_BUFFER: Final = 2048  # bytes, picows' least: it grows with the messages
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CONTINUATION: Final = WSMsgType.CONTINUATION
_CLOSE: Final = WSMsgType.CLOSE
_PING: Final = WSMsgType.PING
_NO_HEADERS: Final[CIMultiDict[str]] = CIMultiDict()
_SILENT: Final = logging.LoggerAdapter(logging.Logger("picows", logging.CRITICAL + 1), {})
_KEY_SIZE: Final = 16  # bytes
# What picows is told of a request: it has little room for it, and keeps it for as long as the connection lives.
_UPGRADE: Final = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: {_VERSION}\r\nSec-WebSocket-Key: {{}}\r\n\r\n"
)


class WebSocketTransport(WSListener):
    """One WebSocket, the transport of a session or a probe to become one."""

    name: TransportName = "websocket"
    farewell = None

    __slots__ = (
        "_closing",
        "_fragments",
        "_parting",
        "_ping",
        "_registry",
        "_request",
        "_sid",
        "_socket",
        "_threshold",
        "_write",
        "deflates",
        "session",
        "writable",
    )

    def __init__(self, registry: Registry, request: Request, sid: str | None, *, deflates: bool) -> None:
        self.session: Session | None = None
        self.writable = True
        self._registry = registry
        self._request = request
        self._sid = sid
        self.deflates = deflates
        self._threshold = registry.settings.compression_threshold
        self._fragments: Fragments | None = None
        self._ping: bytes | None = None
        self._closing = False
        self._parting = False  # a close frame has been sent, and what the client sends before its own is taken

    # What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Open the session, or offer this WebSocket to the one it came for."""
        self._registry.open_websockets += 1
        self._socket = transport
        # picows keeps both for as long as the connection lives; nobody reads them any more.
        transport.request.headers = transport.response.headers = _NO_HEADERS
        underlying = transport.underlying_transport
        self._write = underlying.write
        underlying.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        # Writing tells at once whether the client keeps up. Over TLS uvloop pauses at the limit, not past it.
        underlying.set_write_buffer_limits(high=0 if underlying.get_extra_info("ssl_object") is None else 1)
        try:
            if self._sid is None:
                self.session = self._registry.open(self._request, self)
                return
            session = self._registry.find(self._sid)
            if session.probe(self, self._request):
                self.session = session
                return
        except HandshakeRefused:
            pass  # the session ended, or the server began to, between the request and now
        self.close(Reason.TRANSPORT_ERROR, None)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame: the hot path."""
        session = self.session
        kind = frame.msg_type
        if kind is _CLOSE:
            self._receive_close(frame)
        elif session is None or (transport.is_close_frame_sent and not self._parting):
            return  # picows goes on reading for a moment after bad framing
        elif kind is _TEXT and frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3) and self._fragments is None:
            session.receive_text(self, frame.get_payload_as_bytes())
        else:
            try:
                self._receive_other(session, kind, frame)
            except ProtocolError as error:
                session.transport_failed(self, error)

    def _receive_other(self, session: Session, kind: WSMsgType, frame: WSFrame) -> None:
        if frame.rsv2 or frame.rsv3 or (frame.rsv1 and not self.deflates):
            raise ProtocolError("reserved bit set")
        if kind in (_TEXT, _BINARY):
            if self._fragments is not None:
                raise ProtocolError("new message before the end of the last one")
            self._fragments = Fragments(kind == _BINARY, frame.rsv1, self._registry.settings.max_payload)
            if not frame.fin:
                self._registry.incomplete.add(self)
        elif kind != _CONTINUATION:
            if kind == _PING:
                self._receive_ping(frame.get_payload_as_bytes())
            return
        elif self._fragments is None:
            raise ProtocolError("continuation of nothing")
        elif frame.rsv1:
            raise ProtocolError("reserved bit set")
        fragments = self._fragments
        fragments.add(frame.get_payload_as_bytes())
        if frame.fin:
            self._fragments = None
            self._registry.incomplete.drop(self)
            message = fragments.message()
            if fragments.is_binary:
                session.receive_binary(self, message)
            else:
                session.receive_text(self, message)

    def _receive_ping(self, data: bytes) -> None:
        """Answer a ping; where the client does not read, the newest when it does again (RFC 6455 section 5.5.3)."""
        if self.writable:
            self._socket.send_pong(data)
        else:
            self._ping = data

    def message_timed_out(self) -> None:
        """End, since the rest of a message did not come."""
        if self.session is not None:
            self.session.transport_failed(self, MessageTimeout("a message was begun and not completed"))

    def _receive_close(self, frame: WSFrame) -> None:
        if not self._socket.is_close_frame_sent:
            self._closing = True
            code = frame.get_close_code()
            self._socket.send_close(code if code != WSCloseCode.NO_INFO else WSCloseCode.OK)
        self._socket.disconnect()
        if not self.writable:  # it may never read what is still to be written
            asyncio.get_running_loop().call_later(CLOSING_TIME, self._socket.disconnect, False)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Take note that the connection is gone."""
        self._registry.open_websockets -= 1
        self.writable = False
        self._registry.incomplete.drop(self)
        session, self.session = self.session, None
        if session is not None:
            # A close frame that nobody here sent is picows' answer to bad framing.
            failed = transport.is_close_frame_sent and not self._closing
            session.transport_closed(self, Reason.TRANSPORT_ERROR if failed else Reason.TRANSPORT_CLOSE)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self.writable = False

    def resume_writing(self) -> None:
        """The client has read what was sent."""
        if not self._closing:
            self.writable = True
            ping, self._ping = self._ping, None
            if ping is not None:
                self._socket.send_pong(ping)
            if self.session is not None:
                self.session.transport_ready(self)

    # What the session calls

    def send(self, messages: list[Outgoing]) -> None:
        """Write messages, all in one piece."""
        if self.deflates:
            self._write(b"".join([message.deflated_frames(self._threshold) for message in messages]))
        elif len(messages) == 1:
            self._write(messages[0].frames)
        else:
            self._write(b"".join([message.frames for message in messages]))

    def part(self, reason: Reason) -> bool:
        """Send a close frame, and take what the client sends until it answers; not where it does not read."""
        if self._closing or not self.writable:
            return False
        self._parting = True
        return self.close(reason, None)

    def close(self, reason: Reason, error: Exception | None) -> bool:
        """Close with a code, and with words where the error is the client's.

        A client that does not read is cut off, at once or, where it is to get what was sent before, after a while.
        """
        if not self._closing:
            self._closing = True
            if self.writable or reason in ORDERLY:
                words = str(error if isinstance(error, ProtocolError) else reason)  # errors of ours are in the log
                self._socket.send_close(WSCloseCode(close_code(reason, error)), words[:120])
                asyncio.get_running_loop().call_later(CLOSING_TIME, self._socket.disconnect, False)
            else:
                self._socket.disconnect(False)
            self.writable = False
        return True

    def discard(self) -> None:
        """Close, since the client ended the session."""
        self.close(Reason.TRANSPORT_CLOSE, None)


class Fragments:
    """A message that comes in several frames (RFC 6455 section 5.4), or compressed."""

    __slots__ = ("_count", "_data", "_deflated", "_limit", "is_binary")

    def __init__(self, is_binary: bool, deflated: bool, limit: int) -> None:
        self.is_binary = is_binary
        self._deflated = deflated
        self._limit = limit
        self._data = bytearray()
        self._count = 0

    def add(self, data: bytes) -> None:
        """Append a frame's payload. Raises `PayloadTooLarge`, and `ProtocolError` past `MAX_FRAGMENTS`."""
        self._count += 1
        if self._count > MAX_FRAGMENTS:
            raise ProtocolError("message of too many fragments")
        self._data += data
        if len(self._data) > self._limit:
            raise PayloadTooLarge(f"message is larger than {self._limit} bytes")

    def message(self) -> bytes:
        """The whole message. Raises `ProtocolError`."""
        data = bytes(self._data)
        return decompress(data, self._limit) if self._deflated else data


class WebSocketProtocol(WSProtocol):  # type: ignore[misc]  # picows' protocol is a C class without types
    """uvicorn's WebSocket protocol for requests under the path of Socket.IO; it answers 404 to any other.

    Bind `registry` with `functools.partial` and give the result to uvicorn as `ws`.
    """

    def __init__(self, registry: Registry, *, config: Any, server_state: Any, app_state: Any) -> None:
        self._registry = registry
        self._listeners: list[WebSocketTransport] = []
        self._request_id: str | None = None
        super().__init__(
            None,  # host and port: a client's
            None,  # path: a client's
            False,  # is_client_side
            self._accept,
            _SILENT,
            True,  # disconnect_on_exception
            None,  # websocket_handshake_timeout: the request is here already
            False,  # enable_auto_ping: Engine.IO has its own
            1,  # auto_ping_idle_timeout
            1,  # auto_ping_reply_timeout
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # enable_auto_pong: it would write to a client that does not read
            registry.settings.max_payload,
            None,  # extra_headers: a client's
            _READ_BUFFER,
        )

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Take over a connection from uvicorn's HTTP protocol."""
        self._transport = transport
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take the request that uvicorn has read, once."""
        request = _parse(data, self._transport, self._registry.settings.proxies)
        self._request_id = request.id
        try:
            if not request.path.startswith(self._registry.settings.path):
                raise HandshakeRefused(Refusal.BAD_REQUEST, "Not Found", status=404)
            if request.headers.get("sec-websocket-version") != _VERSION:
                raise HandshakeRefused(Refusal.BAD_REQUEST, f"WebSocket version {_VERSION} is needed", status=426)
            key = request.headers.get("sec-websocket-key") or ""
            if not _is_key(key):
                raise HandshakeRefused(Refusal.BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in base64")
            sid = check(request, self._registry.settings, websocket=True)
            if sid is None:
                self._registry.admit(request)
            else:
                self._registry.find(sid)
        except HandshakeRefused as refusal:
            self._registry.note_refusal(refusal, request)
            self._refuse(refusal)
            return
        offers = request.headers.get("sec-websocket-extensions") or ""
        deflates = self._registry.settings.compression and accepts_compression(offers)
        self._listeners.append(WebSocketTransport(self._registry, request, sid, deflates=deflates))
        self._feed(_UPGRADE.format(key).encode())

    def _accept(self, request: PicowsRequest) -> WSUpgradeResponseWithListener:
        listener = self._listeners.pop()
        extra = {"Sec-WebSocket-Extensions": EXTENSION} if listener.deflates else {}
        if self._request_id is not None:
            extra["X-Request-Id"] = self._request_id
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(extra), listener)

    def _feed(self, data: bytes) -> None:
        self.get_buffer(len(data))[: len(data)] = data
        self.buffer_updated(len(data))

    def _refuse(self, refusal: HandshakeRefused) -> None:
        body = refusal.body
        more = f"retry-after: {refusal.retry_after}\r\n" if refusal.retry_after else ""
        if self._request_id is not None:
            more += f"x-request-id: {self._request_id}\r\n"
        head = (
            f"HTTP/1.1 {refusal.status} {http.HTTPStatus(refusal.status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"{more}sec-websocket-version: {_VERSION}\r\nconnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        self._transport.close()


def _parse(data: bytes, transport: asyncio.Transport, proxies: TrustedProxies) -> Request:
    """The request, as uvicorn hands it over: checked, its header names in lower case."""
    first, *lines = data.rstrip(b"\r\n").split(b"\r\n")
    method, target, _ = first.decode("latin-1").split(" ", 2)
    path, _, query = target.partition("?")
    peername = transport.get_extra_info("peername")
    peer = peername[0] if isinstance(peername, tuple) else ""
    headers = Headers((name, value) for name, _, value in (line.partition(b": ") for line in lines))
    return Request(
        method=method,
        path=path,
        query_string=query,
        headers=headers,
        address=proxies.address(peer, headers),
        secure=proxies.secure(peer, headers, over_tls=transport.get_extra_info("ssl_object") is not None),
    )


def _is_key(text: str) -> bool:
    """Whether it is a `Sec-WebSocket-Key` (RFC 6455 section 4.2.1)."""
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_SIZE
    except (binascii.Error, ValueError):
        return False
