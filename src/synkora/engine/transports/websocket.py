"""WebSocket over picows, as uvicorn's WebSocket protocol class.

picows exports no protocol class. This module uses its private one, and a test pins the constructor.
Source: RFC 6455; socketio/socket.io, docs/engine.io-protocol/v4-current.md, "WebSocket".
"""

import asyncio
import http
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from math import inf
from operator import methodcaller
from typing import Any, Final

from multidict import CIMultiDict
from picows import WSAutoPingStrategy, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeResponse
from picows.common import WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in picows' public types

from synkora.engine.close_reasons import ORDERLY, Reason, close_code
from synkora.engine.handshake import HandshakeRefused, Refusal
from synkora.engine.message import Message
from synkora.engine.registry import Ask, Registry
from synkora.engine.request import Request
from synkora.engine.session import Session
from synkora.engine.settings import TransportName
from synkora.engine.transports.fragments import SMALL, Fragments
from synkora.engine.transports.websocket_heads import is_key, parse, subprotocol
from synkora.protocol.errors import MessageTimeout, ProtocolError
from synkora.protocol.websocket import (
    EXTENSION,
    accepts_compression,
    close_frame,
    is_close_frame,
    pong_frame,
    read_close,
)

CLOSING_TIME: Final = 2  # seconds for the client to answer a close frame, and to read earlier messages
# Bytes that the kernel buffers beyond those in flight. By default it would hold megabytes of outdated cursors.
UNSENT: Final = 131_072
_LARGE: Final = 65_536  # bytes; a copy of a larger frame for each client would cost more than a write
_VERSION: Final = "13"
_READ_BUFFER: Final = 2048  # bytes, picows' minimum; the buffer grows with the messages
MAX_READ: Final = 16_384  # bytes per read
MAX_READ_COMPRESSED: Final = 2048  # bytes per read, of compressed messages; DEFLATE makes a thousand times as much
USUAL_BUFFER: Final = 28_672  # bytes; picows' buffer grows to this size if no frame is larger than `MAX_READ`
_IGNORED: Final = 1_000_000  # bytes read from a client after the server's close; a frame counts 100 more
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CONTINUATION: Final = WSMsgType.CONTINUATION
_CLOSE: Final = WSMsgType.CLOSE
_PING: Final = WSMsgType.PING
_NO_HEADERS: Final[CIMultiDict[str]] = CIMultiDict()
_SILENT: Final = logging.LoggerAdapter(logging.Logger("picows", logging.CRITICAL + 1), {})
_ANY_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAA=="
# The request that picows gets. The real one is not passed on: picows' space is small, and picows keeps the request.
_UPGRADE: Final = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: {_VERSION}\r\nSec-WebSocket-Key: {{}}\r\n\r\n"
)


class WebSocketTransport(WSListener):
    """A WebSocket: the transport of a session, or the probe of an upgrade."""

    name: TransportName = "websocket"
    close_packet = None

    __slots__ = (
        "_closing",
        "_connection",
        "_draining",
        "_encode",
        "_failed",
        "_fragments",
        "_ignored",
        "_ping",
        "_progressed_at",
        "_registry",
        "_request",
        "_sid",
        "_write",
        "deflates",
        "has_stopped_reading",
        "session",
        "tail",
        "writable",
    )

    def __init__(
        self, registry: Registry, request: Request, sid: str | None, connection: asyncio.Transport, *, deflates: bool
    ) -> None:
        self.session: Session | None = None
        self.writable = True
        self._registry = registry
        self._request = request
        self._sid = sid
        self.deflates = deflates
        self._encode = _encoder(request, registry.settings.compression_threshold if deflates else None)
        self._fragments: Fragments | None = None
        self._ping: bytes | None = None
        self._progressed_at: float | None = None  # time of the latest part of an incomplete message
        self._closing = False
        self._draining = False  # a close frame has been sent, and messages before the client's close frame are handled
        self._failed = False  # received bytes were not valid WebSocket frames
        self._connection = connection
        self._write = connection.write
        self._ignored = 0
        self.has_stopped_reading = False  # reading has stopped
        self.tail = -1  # bytes received after the latest frame; -1 before the first frame

    # Called by picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Open the session, or start the upgrade of an existing one."""
        # picows keeps request and response until the end of the connection, and nothing reads their headers.
        transport.request.headers = transport.response.headers = _NO_HEADERS
        if self.tail >= 0:
            return  # a new parser for the same connection
        self.tail = 0
        self._registry.open_websockets += 1
        underlying = self._connection
        underlying.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        # `write` then reports a slow consumer immediately. Over TLS, uvloop pauses at the limit instead of above it.
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
            pass  # the session has ended, or the server is closing, since the check
        self.close(Reason.TRANSPORT_ERROR, None)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Handle a frame. This is the hot path."""
        self.tail = frame.tail_size
        session = self.session
        kind = frame.msg_type
        if kind is _CLOSE:
            self._receive_close(frame)
        elif session is None or (self._closing and not self._draining):
            self._ignore(frame.payload_size)
        elif kind is _TEXT and frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3) and self._fragments is None:
            session.receive_text(self, frame.get_payload_as_bytes())
        else:
            try:
                self._receive_other(session, kind, frame)
            except ProtocolError as error:
                self._fail(error)

    def _fail(self, error: ProtocolError) -> None:
        if self.session is not None:
            self.session.transport_failed(self, error)
        self.close(Reason.TRANSPORT_ERROR, error)  # if the session has no reference to this WebSocket

    def _ignore(self, size: int) -> None:
        """Ignore a frame, and stop reading after too many of them."""
        self._ignored += size + 100
        if self._ignored > _IGNORED:
            self.stop_reading()

    def stop_reading(self) -> None:
        """Stop reading, so that the kernel slows the client down; the connection is about to be closed."""
        self.has_stopped_reading = True
        self._connection.pause_reading()

    def frame_progressed(self, size: int) -> None:
        """Handle a part of a large frame; `size` is the number of bytes received so far."""
        session = self.session
        if session is None or (self._closing and not self._draining):
            self.stop_reading()
        elif size > session.max_message:
            self._fail(session.too_large())
            self.stop_reading()
        else:
            self._make_progress()

    def _make_progress(self) -> None:
        """Restart the timeout of an incomplete message."""
        self._progressed_at = asyncio.get_running_loop().time()
        self._registry.partial_messages.add(self)

    def frame_ended(self) -> None:
        """Handle the end of a large frame."""
        if self._fragments is None:
            self._message_ended()

    def _message_ended(self) -> None:
        self._progressed_at = None
        self._registry.partial_messages.drop(self)

    def seconds_since_progress(self) -> float:
        """Seconds since the latest part of an incomplete large frame or fragmented message."""
        return inf if self._progressed_at is None else asyncio.get_running_loop().time() - self._progressed_at

    def _receive_other(self, session: Session, kind: WSMsgType, frame: WSFrame) -> None:
        if frame.rsv2 or frame.rsv3 or (frame.rsv1 and not self.deflates):
            raise ProtocolError("reserved bit set")
        if kind in (_TEXT, _BINARY):
            if self._fragments is not None:
                raise ProtocolError("new message before the end of the last one")
            self._fragments = Fragments(kind == _BINARY, frame.rsv1, session.max_message)
            if not frame.fin:
                self._make_progress()
        elif kind != _CONTINUATION:
            session.count_overhead()
            if kind == _PING:
                self._receive_ping(frame.get_payload_as_bytes())
            return
        elif self._fragments is None:
            raise ProtocolError("continuation of nothing")
        elif frame.rsv1:
            raise ProtocolError("reserved bit set")
        if not frame.fin:
            if frame.payload_size < SMALL:
                session.count_overhead()
            if frame.payload_size:
                self._make_progress()
        fragments = self._fragments
        fragments.add(frame.get_payload_as_bytes())
        if frame.fin:
            self._fragments = None
            self._message_ended()
            message = fragments.message()
            if fragments.is_binary:
                session.receive_binary(self, message)
            else:
                session.receive_text(self, message)

    def _receive_ping(self, data: bytes) -> None:
        """Answer a ping; a slow consumer gets only the answer to the latest one, later (RFC 6455 section 5.5.3)."""
        if self.writable:
            self._write(pong_frame(data))
        else:
            self._ping = data

    def message_timed_out(self) -> None:
        """End the session: the rest of a message did not arrive in time."""
        if self.session is not None:
            self._fail(MessageTimeout("a message was begun and not completed"))

    def _receive_close(self, frame: WSFrame) -> None:
        if not self._closing:
            try:
                if frame.rsv1 or frame.rsv2 or frame.rsv3:
                    raise ProtocolError("reserved bit set")
                code = read_close(frame.get_payload_as_bytes())
            except ProtocolError as error:
                self._fail(error)
                self._connection.close()  # after its close frame the client sends nothing
                return
            self._closing = True
            self._write(close_frame(code))
        self._connection.close()
        if not self.writable:  # the client may never read the rest
            asyncio.get_running_loop().call_later(CLOSING_TIME, self._connection.abort)

    def framing_failed(self, close_frame_bytes: bytes) -> None:
        """Send picows' close frame for an invalid frame. Earlier frames have been handled."""
        if not self._closing and self.session is not None:
            self.session.outbox.flush()
        if not self._closing:
            self._closing = self._failed = True
            if self.writable:
                self._write(close_frame_bytes)
            self.writable = False

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Handle the end of the connection."""
        self._registry.open_websockets -= 1
        self.writable = False
        self._fragments = None
        self._message_ended()
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, Reason.TRANSPORT_ERROR if self._failed else Reason.TRANSPORT_CLOSE)

    def pause_writing(self) -> None:
        """Handle a full write buffer: the client is slow."""
        self.writable = False

    def resume_writing(self) -> None:
        """Handle an empty write buffer: the client has caught up."""
        if not self._closing:
            self.writable = True
            ping, self._ping = self._ping, None
            if ping is not None:
                self._write(pong_frame(ping))
            if self.session is not None:
                self.session.transport_ready(self)

    # Called by the session

    def send(self, messages: list[Message]) -> None:
        """Write messages, joined unless they are large."""
        if self._encode is not None:
            frames = [self._encode(message) for message in messages]
        elif len(messages) == 1:
            self._write(messages[0].frames)
            return
        else:
            frames = [message.frames for message in messages]
        joined = b"".join(frames)
        if len(joined) < _LARGE:
            self._write(joined)
        else:
            self._write_parts(frames)

    def _write_parts(self, frames: list[bytes]) -> None:
        """Write frames. Large frames are shared between clients instead of copied."""
        for is_large, some in groupby(frames, lambda frame: len(frame) >= _LARGE):
            if is_large:
                for frame in some:
                    self._write(frame)
            else:
                self._write(b"".join(some))

    def drain(self, reason: Reason) -> bool:
        """Send a close frame and keep receiving until the client's answer; return False for a slow consumer."""
        if self._closing or not self.writable:
            return False
        self._draining = True
        return self.close(reason, None)

    def close(self, reason: Reason, error: Exception | None) -> bool:
        """Close with a code, and with a message if the client caused the error.

        A slow consumer is disconnected immediately, or after `CLOSING_TIME` if it has last messages to get.
        """
        if not self._closing:
            self._closing = True
            if self.writable or reason in ORDERLY:
                words = str(error if isinstance(error, ProtocolError) else reason)  # a bug is only logged
                self._write(close_frame(close_code(reason, error), words))
                asyncio.get_running_loop().call_later(CLOSING_TIME, self._connection.abort)
            else:
                self._connection.abort()
            self.writable = False
        return True

    def discard(self) -> None:
        """Close after the end of the session by the client."""
        self.close(Reason.TRANSPORT_CLOSE, None)


def _encoder(request: Request, threshold: int | None) -> Callable[[Message], bytes] | None:
    """Return the encoder of messages: base64, compressed from `threshold` bytes up, or None for plain frames."""
    if request.wants_base64:
        return methodcaller("base64_frames")
    return None if threshold is None else methodcaller("deflated_frames", threshold)


class _ParserConnection:
    """The connection that a parser of picows sees: filters what picows writes itself."""

    __slots__ = ("_connection", "_failed", "_is_first")

    def __init__(self, connection: asyncio.Transport, failed: Callable[[bytes], None], *, is_first: bool) -> None:
        self._connection = connection
        self._failed = failed
        self._is_first = is_first

    def get_extra_info(self, name: str) -> Any:
        return self._connection.get_extra_info(name)

    def get_write_buffer_size(self) -> int:
        """Never 0: with an empty buffer picows would write to the socket directly."""
        return 1

    def write(self, data: bytes) -> None:
        """Write the handshake's response, once per connection. A close frame means that parsing has failed."""
        if is_close_frame(data):
            self._failed(bytes(data))
        elif self._is_first:
            self._connection.write(data)

    def close(self) -> None:
        self._connection.close()


class _NoParser:
    """Discards data after a refused request."""

    def get_buffer(self, _: int) -> memoryview:
        return memoryview(bytearray(MAX_READ))

    def buffer_updated(self, _: int) -> None: ...

    def connection_lost(self, _: Exception | None) -> None: ...


_NO_PARSER: Final = _NoParser()


def _accept(listener: WebSocketTransport, headers: Mapping[str, str]) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(headers), listener)


class WebSocketProtocol(asyncio.BufferedProtocol):
    """uvicorn's WebSocket protocol for requests below Socket.IO's path; other requests get 404.

    Bind `registry` with `functools.partial` and pass the result to uvicorn as `ws`. picows parses the frames. Its
    buffer grows with the frames and never shrinks, so a new parser replaces the old one after a large frame.
    """

    def __init__(self, registry: Registry, *, config: Any, server_state: Any, app_state: Any) -> None:
        self._registry = registry
        self._listener: WebSocketTransport | None = None
        self._parser: Any = _NO_PARSER
        self._asking: asyncio.Task[None] | None = None
        self._is_watched = False  # the buffer has grown, or reading has to stop
        self._is_broken = False
        self._unread = 0  # bytes received of a large frame
        self._max_read = MAX_READ

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what uvicorn passes
        """Take over a connection from uvicorn's HTTP protocol."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Handle the request that uvicorn has read, once."""
        request = parse(data, self._transport, self._registry.settings.proxies)
        try:
            if not self._registry.settings.serves(request.path):
                raise HandshakeRefused(Refusal.BAD_REQUEST, "Not Found", status=404)
            if request.headers.get("sec-websocket-version") != _VERSION:
                raise HandshakeRefused(Refusal.BAD_REQUEST, f"WebSocket version {_VERSION} is needed", status=426)
            key = request.headers.get("sec-websocket-key") or ""
            if not is_key(key):
                raise HandshakeRefused(Refusal.BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in base64")
            sid = self._registry.check_websocket(request)
            if sid is None and self._registry.ask is not None:
                self._transport.pause_reading()  # a client may send nothing before the response
                self._asking = asyncio.get_running_loop().create_task(self._ask(self._registry.ask, request, key))
                return
            self._open(request, sid, key)
        except HandshakeRefused as refusal:
            self._registry.note_refusal(refusal, request)
            self._refuse(refusal, request.id)

    async def _ask(self, ask: Ask, request: Request, key: str) -> None:
        """Let the application decide on a session, and respond."""
        try:
            headers = await ask(request)
            self._transport.resume_reading()
            self._open(request, None, key, headers)
        except HandshakeRefused as refusal:
            self._registry.note_refusal(refusal, request)
            self._refuse(refusal, request.id)

    def _open(self, request: Request, sid: str | None, key: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Respond to the handshake. Raises `HandshakeRefused`."""
        self._registry.admit_websocket(request, sid)
        offers = request.headers.get("sec-websocket-extensions") or ""
        settings = self._registry.settings
        deflates = settings.compression and not request.wants_base64 and accepts_compression(offers)
        self._listener = listener = WebSocketTransport(self._registry, request, sid, self._transport, deflates=deflates)
        answer = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        if deflates:
            self._max_read = MAX_READ_COMPRESSED
            answer["Sec-WebSocket-Extensions"] = EXTENSION
        if chosen := subprotocol(request.headers.get("sec-websocket-protocol")):
            answer["Sec-WebSocket-Protocol"] = chosen
        if request.id is not None:
            answer["X-Request-Id"] = request.id
        self._begin_parsing(listener, key, answer)

    # Received data

    def get_buffer(self, sizehint: int) -> Any:
        """Return the buffer for the next read."""
        room = self._parser.get_buffer(sizehint)
        if len(room) > self._max_read:
            if len(room) > USUAL_BUFFER:
                self._is_watched = True
            return room[: self._max_read]
        return room

    def buffer_updated(self, nbytes: int) -> None:
        """Handle received bytes."""
        if self._is_watched:
            self._receive_watched(nbytes)
        else:
            self._parser.buffer_updated(nbytes)
            if nbytes == self._max_read:
                self._pause()

    def _receive_watched(self, size: int) -> None:
        """Handle a part of a large frame; after its end, replace the parser and its buffer."""
        listener = self._listener
        if listener is None or self._has_stopped(listener):
            return
        data = bytes(self._parser.get_buffer(size)[:size])
        listener.tail = -1
        self._parser.buffer_updated(size)
        tail, listener.tail = listener.tail, max(listener.tail, 0)
        if tail < 0:
            self._unread += size
            listener.frame_progressed(self._unread)
            if self._has_stopped(listener):
                self._begin_parsing(listener)  # frees the part that was received
            return
        self._unread = 0
        listener.frame_ended()
        if not self._has_stopped(listener):
            self._is_watched = False
            self._begin_parsing(listener)
            self._feed(data[size - tail :])
            self._pause()

    def _has_stopped(self, listener: WebSocketTransport) -> bool:
        """Whether reading has to stop."""
        return self._is_broken or listener.has_stopped_reading or self._transport.is_closing()

    def _pause(self) -> None:
        """Yield to other clients after a full read."""
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        if self._listener is not None and not self._has_stopped(self._listener):
            self._transport.resume_reading()

    # Parser

    def _begin_parsing(
        self, listener: WebSocketTransport, key: str = _ANY_KEY, answer: Mapping[str, str] | None = None
    ) -> None:
        """Start a new parser. With `answer`, it responds to the handshake with these headers."""
        self._parser = parser = WSProtocol(
            None,  # host and port: for clients only
            None,  # path: for clients only
            False,  # is_client_side
            lambda _: _accept(listener, answer or {}),
            _SILENT,
            True,  # disconnect_on_exception
            None,  # websocket_handshake_timeout: the request has been read
            False,  # enable_auto_ping: Engine.IO has its own pings
            1,  # auto_ping_idle_timeout
            1,  # auto_ping_reply_timeout
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # enable_auto_pong: it would write to a slow consumer
            self._registry.settings.max_payload,
            None,  # extra_headers: for clients only
            _READ_BUFFER,
        )
        parser.connection_made(_ParserConnection(self._transport, self._framing_failed, is_first=answer is not None))
        self._feed(_UPGRADE.format(key).encode())

    def _feed(self, data: bytes) -> None:
        while data:
            room = self._parser.get_buffer(len(data))
            part, data = data[: len(room)], data[len(room) :]
            room[: len(part)] = part
            self._parser.buffer_updated(len(part))

    def _framing_failed(self, close_frame_bytes: bytes) -> None:
        """Send picows' close frame after the previous frame, which picows delivers next."""
        self._is_broken = self._is_watched = True
        if self._listener is not None:
            asyncio.get_running_loop().call_soon(self._listener.framing_failed, close_frame_bytes)

    # Slow consumer, disconnect

    def pause_writing(self) -> None:
        """Pass the full write buffer on."""
        if self._listener is not None:
            self._listener.pause_writing()

    def resume_writing(self) -> None:
        """Pass the empty write buffer on."""
        if self._listener is not None:
            self._listener.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the parser: parser and protocol refer to each other."""
        if self._asking is not None:
            self._asking.cancel()
        parser, self._parser, self._listener = self._parser, _NO_PARSER, None
        parser.connection_lost(exc)

    def _refuse(self, refusal: HandshakeRefused, request_id: str | None) -> None:
        body = refusal.body
        more = f"retry-after: {refusal.retry_after}\r\n" if refusal.retry_after else ""
        if request_id is not None:
            more += f"x-request-id: {request_id}\r\n"
        head = (
            f"HTTP/1.1 {refusal.status} {http.HTTPStatus(refusal.status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"{more}sec-websocket-version: {_VERSION}\r\nconnection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + body)
        self._transport.close()
