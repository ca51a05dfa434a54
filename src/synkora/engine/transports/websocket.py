"""WebSocket by picows, as uvicorn's WebSocket protocol class.

picows exports no protocol class; this module knows its private one, and a test pins the constructor.
Source: RFC 6455; socketio/socket.io, docs/engine.io-protocol/v4-current.md, "WebSocket".
"""

import asyncio
import http
import logging
import socket
from collections.abc import Callable, Mapping
from itertools import groupby
from math import inf
from operator import methodcaller
from typing import Any, Final

from multidict import CIMultiDict
from picows import WSAutoPingStrategy, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeResponse
from picows.common import WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in picows' public types

from synkora.engine.disconnect import ORDERLY, Reason, close_code
from synkora.engine.handshake import HandshakeRefused, Refusal
from synkora.engine.message import Message
from synkora.engine.registry import Registry
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

CLOSING_TIME: Final = 2  # seconds that a client has to answer a close frame, and to read what was sent before it
UNSENT: Final = 131_072  # bytes that the kernel takes beyond those under way; it would take megabytes of old cursors
_LARGE: Final = 65_536  # bytes, of which a copy for each client would cost more than a write does
_VERSION: Final = "13"
_READ_BUFFER: Final = 2048  # bytes, picows' least: it grows with the messages
MOST_READ: Final = 16_384  # bytes that are read at a time
USUAL_BUFFER: Final = 28_672  # bytes: as far as picows' buffer grows where no frame is larger than `MOST_READ`
_IGNORED: Final = 1_000_000  # bytes, and 100 for each frame, that are read of a client that has been sent away
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CONTINUATION: Final = WSMsgType.CONTINUATION
_CLOSE: Final = WSMsgType.CLOSE
_PING: Final = WSMsgType.PING
_NO_HEADERS: Final[CIMultiDict[str]] = CIMultiDict()
_SILENT: Final = logging.LoggerAdapter(logging.Logger("picows", logging.CRITICAL + 1), {})
_ANY_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAA=="
# What picows is told of a request: it has little room for it, and keeps it for as long as the connection lives.
_UPGRADE: Final = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: {_VERSION}\r\nSec-WebSocket-Key: {{}}\r\n\r\n"
)


class WebSocketTransport(WSListener):
    """One WebSocket, the transport of a session or a probe to become one."""

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
        "is_deaf",
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
        self._progressed_at: float | None = None  # when the latest part of a message came that is not complete
        self._closing = False
        self._draining = False  # a close frame has been sent, and what the client sends before its own is taken
        self._failed = False  # what came could not be read
        self._connection = connection
        self._write = connection.write
        self._ignored = 0
        self.is_deaf = False  # nothing more is read
        self.tail = -1  # bytes that have come after the latest frame; less than none before the first

    # What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Open the session, or offer this WebSocket to the one it came for."""
        # picows keeps both for as long as the connection lives; nobody reads them any more.
        transport.request.headers = transport.response.headers = _NO_HEADERS
        if self.tail >= 0:
            return  # a new parser of the same connection
        self.tail = 0
        self._registry.open_websockets += 1
        underlying = self._connection
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
        self.close(Reason.TRANSPORT_ERROR, error)  # where it is no longer the session's

    def _ignore(self, size: int) -> None:
        """Let a frame be, and read no more where there are too many."""
        self._ignored += size + 100
        if self._ignored > _IGNORED:
            self.stop_reading()

    def stop_reading(self) -> None:
        """Leave what the client sends to the kernel, which makes it wait; the connection is about to be cut off."""
        self.is_deaf = True
        self._connection.pause_reading()

    def frame_grows(self, size: int) -> None:
        """Take note that so many bytes of a large frame have come, and not yet all."""
        session = self.session
        if session is None or (self._closing and not self._draining):
            self.stop_reading()
        elif size > session.max_message:
            self._fail(session.too_large())
            self.stop_reading()
        else:
            self._make_progress()

    def _make_progress(self) -> None:
        """Take note that a part of a message has come: the next part has the whole time again."""
        self._progressed_at = asyncio.get_running_loop().time()
        self._registry.incomplete.add(self)

    def frame_ended(self) -> None:
        """Take note that a large frame is complete."""
        if self._fragments is None:
            self._message_ended()

    def _message_ended(self) -> None:
        self._progressed_at = None
        self._registry.incomplete.drop(self)

    def silent_for(self) -> float:
        """Seconds since the latest part of a large frame, or of a message in several frames, that is not complete."""
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
            session.count_odd()
            if kind == _PING:
                self._receive_ping(frame.get_payload_as_bytes())
            return
        elif self._fragments is None:
            raise ProtocolError("continuation of nothing")
        elif frame.rsv1:
            raise ProtocolError("reserved bit set")
        if not frame.fin:
            if frame.payload_size < SMALL:
                session.count_odd()
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
        """Answer a ping; where the client does not read, the newest when it does again (RFC 6455 section 5.5.3)."""
        if self.writable:
            self._write(pong_frame(data))
        else:
            self._ping = data

    def message_timed_out(self) -> None:
        """End, since the rest of a message did not come."""
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
                self._connection.close()  # the client has said its last word
                return
            self._closing = True
            self._write(close_frame(code))
        self._connection.close()
        if not self.writable:  # it may never read what is still to be written
            asyncio.get_running_loop().call_later(CLOSING_TIME, self._connection.abort)

    def framing_failed(self, goodbye: bytes) -> None:
        """Send picows' close frame: it cannot read what has come. Frames before that have been taken."""
        if not self._closing and self.session is not None:
            self.session.outbox.flush()
        if not self._closing:
            self._closing = self._failed = True
            if self.writable:
                self._write(goodbye)
            self.writable = False

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Take note that the connection is gone."""
        self._registry.open_websockets -= 1
        self.writable = False
        self._fragments = None
        self._message_ended()
        session, self.session = self.session, None
        if session is not None:
            session.transport_closed(self, Reason.TRANSPORT_ERROR if self._failed else Reason.TRANSPORT_CLOSE)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self.writable = False

    def resume_writing(self) -> None:
        """The client has read what was sent."""
        if not self._closing:
            self.writable = True
            ping, self._ping = self._ping, None
            if ping is not None:
                self._write(pong_frame(ping))
            if self.session is not None:
                self.session.transport_ready(self)

    # What the session calls

    def send(self, messages: list[Message]) -> None:
        """Write messages, all in one piece unless that is a large one."""
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
        """Write frames, the large ones as they are: what waits of them is then not a copy for each client."""
        for is_large, some in groupby(frames, lambda frame: len(frame) >= _LARGE):
            if is_large:
                for frame in some:
                    self._write(frame)
            else:
                self._write(b"".join(some))

    def drain(self, reason: Reason) -> bool:
        """Send a close frame, and take what the client sends until it answers; not where it does not read."""
        if self._closing or not self.writable:
            return False
        self._draining = True
        return self.close(reason, None)

    def close(self, reason: Reason, error: Exception | None) -> bool:
        """Close with a code, and with words where the error is the client's.

        A client that does not read is cut off, at once or, where it is to get what was sent before, after a while.
        """
        if not self._closing:
            self._closing = True
            if self.writable or reason in ORDERLY:
                words = str(error if isinstance(error, ProtocolError) else reason)  # errors of ours are in the log
                self._write(close_frame(close_code(reason, error), words))
                asyncio.get_running_loop().call_later(CLOSING_TIME, self._connection.abort)
            else:
                self._connection.abort()
            self.writable = False
        return True

    def discard(self) -> None:
        """Close, since the client ended the session."""
        self.close(Reason.TRANSPORT_CLOSE, None)


def _encoder(request: Request, threshold: int | None) -> Callable[[Message], bytes] | None:
    """What makes a message's frames if they are not the plain ones: in base64, or compressed from `threshold` up."""
    if request.wants_base64:
        return methodcaller("base64_frames")
    return None if threshold is None else methodcaller("deflated_frames", threshold)


class _Line:
    """The connection as a parser of picows is shown it: what picows writes by itself passes by here."""

    __slots__ = ("_connection", "_failed", "_greets")

    def __init__(self, connection: asyncio.Transport, failed: Callable[[bytes], None], *, greets: bool) -> None:
        self._connection = connection
        self._failed = failed
        self._greets = greets

    def get_extra_info(self, name: str) -> Any:
        """What there is to know of the connection."""
        return self._connection.get_extra_info(name)

    def get_write_buffer_size(self) -> int:
        """Something: where nothing waits picows would write to the socket itself."""
        return 1

    def write(self, data: bytes) -> None:
        """Answer the handshake, once for a connection; a close frame means that picows cannot go on."""
        if is_close_frame(data):
            self._failed(bytes(data))
        elif self._greets:
            self._connection.write(data)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _NoParser:
    """Takes what comes where nothing is to come: behind a refused request."""

    def get_buffer(self, _: int) -> memoryview:
        return memoryview(bytearray(MOST_READ))

    def buffer_updated(self, _: int) -> None: ...

    def connection_lost(self, _: Exception | None) -> None: ...


_NO_PARSER: Final = _NoParser()


def _accept(listener: WebSocketTransport, headers: Mapping[str, str]) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(headers), listener)


class WebSocketProtocol(asyncio.BufferedProtocol):
    """uvicorn's WebSocket protocol for requests under the path of Socket.IO; it answers 404 to any other.

    Bind `registry` with `functools.partial` and give the result to uvicorn as `ws`. Frames are read by a parser of
    picows, whose buffer grows with the frames and never shrinks: after a large frame it is replaced by a new parser.
    """

    def __init__(self, registry: Registry, *, config: Any, server_state: Any, app_state: Any) -> None:
        self._registry = registry
        self._listener: WebSocketTransport | None = None
        self._parser: Any = _NO_PARSER
        self._is_watched = False  # the buffer has grown, or nothing more is to be read
        self._is_broken = False
        self._unread = 0  # bytes of a large frame that have come

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what uvicorn passes
        """Take over a connection from uvicorn's HTTP protocol."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take the request that uvicorn has read, once."""
        request = parse(data, self._transport, self._registry.settings.proxies)
        try:
            if not self._registry.settings.serves(request.path):
                raise HandshakeRefused(Refusal.BAD_REQUEST, "Not Found", status=404)
            if request.headers.get("sec-websocket-version") != _VERSION:
                raise HandshakeRefused(Refusal.BAD_REQUEST, f"WebSocket version {_VERSION} is needed", status=426)
            key = request.headers.get("sec-websocket-key") or ""
            if not is_key(key):
                raise HandshakeRefused(Refusal.BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in base64")
            sid = self._registry.admit_websocket(request)
        except HandshakeRefused as refusal:
            self._registry.note_refusal(refusal, request)
            self._refuse(refusal, request.id)
            return
        offers = request.headers.get("sec-websocket-extensions") or ""
        settings = self._registry.settings
        deflates = settings.compression and not request.wants_base64 and accepts_compression(offers)
        self._listener = listener = WebSocketTransport(self._registry, request, sid, self._transport, deflates=deflates)
        answer = {"Sec-WebSocket-Extensions": EXTENSION} if deflates else {}
        if chosen := subprotocol(request.headers.get("sec-websocket-protocol")):
            answer["Sec-WebSocket-Protocol"] = chosen
        if request.id is not None:
            answer["X-Request-Id"] = request.id
        self._begin_parsing(listener, key, answer)

    # What has come

    def get_buffer(self, sizehint: int) -> Any:
        """Room for what comes next."""
        room = self._parser.get_buffer(sizehint)
        if len(room) > MOST_READ:
            if len(room) > USUAL_BUFFER:
                self._is_watched = True
            return room[:MOST_READ]
        return room

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come."""
        if self._is_watched:
            self._receive_watched(nbytes)
        else:
            self._parser.buffer_updated(nbytes)
            if nbytes == MOST_READ:
                self._pause()

    def _receive_watched(self, size: int) -> None:
        """Take a part of a large frame; when it ends, start over with a small buffer."""
        listener = self._listener
        if listener is None or self._is_over(listener):
            return
        data = bytes(self._parser.get_buffer(size)[:size])
        listener.tail = -1
        self._parser.buffer_updated(size)
        tail, listener.tail = listener.tail, max(listener.tail, 0)
        if tail < 0:
            self._unread += size
            listener.frame_grows(self._unread)
            if self._is_over(listener):
                self._begin_parsing(listener)  # what has come of it is not kept either
            return
        self._unread = 0
        listener.frame_ended()
        if not self._is_over(listener):
            self._is_watched = False
            self._begin_parsing(listener)
            self._feed(data[size - tail :])
            self._pause()

    def _is_over(self, listener: WebSocketTransport) -> bool:
        """Whether nothing more is to be read."""
        return self._is_broken or listener.is_deaf or self._transport.is_closing()

    def _pause(self) -> None:
        """Let the others have their turn, after as much as is read at a time."""
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        if self._listener is not None and not self._is_over(self._listener):
            self._transport.resume_reading()

    # The parser

    def _begin_parsing(
        self, listener: WebSocketTransport, key: str = _ANY_KEY, answer: Mapping[str, str] | None = None
    ) -> None:
        """Begin with a new parser, which answers the handshake with these headers if they are given."""
        self._parser = parser = WSProtocol(
            None,  # host and port: a client's
            None,  # path: a client's
            False,  # is_client_side
            lambda _: _accept(listener, answer or {}),
            _SILENT,
            True,  # disconnect_on_exception
            None,  # websocket_handshake_timeout: the request is here already
            False,  # enable_auto_ping: Engine.IO has its own
            1,  # auto_ping_idle_timeout
            1,  # auto_ping_reply_timeout
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # enable_auto_pong: it would write to a client that does not read
            self._registry.settings.max_payload,
            None,  # extra_headers: a client's
            _READ_BUFFER,
        )
        parser.connection_made(_Line(self._transport, self._framing_failed, greets=answer is not None))
        self._feed(_UPGRADE.format(key).encode())

    def _feed(self, data: bytes) -> None:
        while data:
            room = self._parser.get_buffer(len(data))
            part, data = data[: len(room)], data[len(room) :]
            room[: len(part)] = part
            self._parser.buffer_updated(len(part))

    def _framing_failed(self, goodbye: bytes) -> None:
        """Say goodbye when the frame before, which picows hands over next, has been taken."""
        self._is_broken = self._is_watched = True
        if self._listener is not None:
            asyncio.get_running_loop().call_soon(self._listener.framing_failed, goodbye)

    # The client does not keep up, or has gone

    def pause_writing(self) -> None:
        """Hand on that the client does not keep up."""
        if self._listener is not None:
            self._listener.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that the client has read what was sent."""
        if self._listener is not None:
            self._listener.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the parser, since the parser and the protocol refer to each other."""
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
