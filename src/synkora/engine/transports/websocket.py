"""The WebSocket transport: a session's messages as frames of picows.

Source: RFC 6455; socketio/socket.io, docs/engine.io-protocol/v4-current.md, "WebSocket".
"""

import asyncio
import socket
from collections.abc import Callable
from itertools import groupby
from math import inf
from operator import methodcaller
from typing import Final

from multidict import CIMultiDict
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from synkora.engine.close_reasons import ORDERLY, Reason, close_code
from synkora.engine.handshake import HandshakeRefused
from synkora.engine.message import Message
from synkora.engine.ports import Transport
from synkora.engine.registry import Registry
from synkora.engine.request import Request
from synkora.engine.session import Session
from synkora.engine.settings import TransportName
from synkora.engine.transports.fragments import SMALL, Fragments
from synkora.protocol.errors import MessageTimeout, ProtocolError
from synkora.protocol.websocket import (
    close_frame,
    pong_frame,
    read_close,
)

CLOSING_TIME: Final = 2  # seconds for the client to answer a close frame, and to read earlier messages
# Bytes that the kernel buffers beyond those in flight. By default it would hold megabytes of outdated cursors.
UNSENT: Final = 131_072
_TCP: Final = (socket.AF_INET, socket.AF_INET6)
_LARGE: Final = 65_536  # bytes; a copy of a larger frame for each client would cost more than a write
_IGNORED: Final = 1_000_000  # bytes read from a client after the server's close; a frame counts 100 more
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CONTINUATION: Final = WSMsgType.CONTINUATION
_CLOSE: Final = WSMsgType.CLOSE
_PING: Final = WSMsgType.PING
_NO_HEADERS: Final[CIMultiDict[str]] = CIMultiDict()


def _discard(_: bytes) -> None:
    """Write to a connection that has ended."""


def limit_unsent(connection: asyncio.BaseTransport) -> None:
    """Keep the kernel from buffering megabytes for a slow client; a Unix socket has a small buffer anyway."""
    sock = connection.get_extra_info("socket")
    if sock is not None and sock.family in _TCP:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


def close_soon(connection: asyncio.Transport) -> None:
    """Close a connection. A slow client has `CLOSING_TIME` for its last bytes; over TLS, some cannot be seen."""
    if not connection.is_closing():
        connection.close()
    if connection.get_write_buffer_size() or connection.get_extra_info("ssl_object") is not None:
        asyncio.get_running_loop().call_later(CLOSING_TIME, connection.abort)


class ClosedByTime:
    """The end of a transport whose `close` limits the time for the last messages."""

    __slots__ = ()

    @property
    def has_unread(self: Transport) -> bool:
        """Whether the client is slow."""
        return not self.writable

    def limit_unread(self, *, ended: bool) -> None:
        """Do nothing: `close` limits the time."""

    def discard(self: Transport) -> None:
        """Close after the end of the session by the client."""
        self.close(Reason.TRANSPORT_CLOSE, None)


class WebSocketTransport(ClosedByTime, WSListener):
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
        self._write: Callable[[bytes], None] = connection.write
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
        limit_unsent(underlying)
        # `write` then reports a slow consumer immediately. Over TLS, uvloop pauses at the limit instead of above it.
        underlying.set_write_buffer_limits(high=0 if underlying.get_extra_info("ssl_object") is None else 1)
        # What is unread by now has been reported to the protocol before.
        self.writable = not underlying.get_write_buffer_size()
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
            try:
                session.hold(self, size if self._fragments is None else size + self._fragments.size)
            except ProtocolError as error:
                self._fail(error)
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
        if self.session is not None:
            self.session.hold(self, 0)

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
        if not frame.fin:
            session.hold(self, fragments.size)
        else:
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
        close_soon(self._connection)

    def framing_failed(self, close_frame_bytes: bytes) -> None:
        """Send picows' close frame for an invalid frame. Earlier frames have been handled."""
        if not self._closing and self.session is not None:
            self.session.outbox.flush()
        if not self._closing:
            self._closing = self._failed = True
            if self.writable:
                self._write(close_frame_bytes)
            self.writable = False

    def connection_lost(self) -> None:
        """Write nothing more: the connection has ended, and what it has received is still handled."""
        self.writable = False
        self._write = _discard  # the session may still be closed by others, with last messages
        if not self._closing:
            self._closing = self._draining = True

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


def _encoder(request: Request, threshold: int | None) -> Callable[[Message], bytes] | None:
    """Return the encoder of messages: base64, compressed from `threshold` bytes up, or None for plain frames."""
    if request.wants_base64:
        return methodcaller("base64_frames")
    return None if threshold is None else methodcaller("deflated_frames", threshold)
