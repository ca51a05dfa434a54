"""A WebSocket connection in uvicorn: its handshake, its reads, and picows' parser, which refuses wrong frames.

picows exports no protocol class. This module uses its private one, and a test pins the constructor.
"""

import asyncio
import http
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from picows import WSAutoPingStrategy, WSUpgradeResponse
from picows.common import WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in picows' public types

from synkora.engine.addresses import rate_limit_key
from synkora.engine.handshake import HandshakeRefused, Refusal
from synkora.engine.registry import Ask, Registry
from synkora.engine.request import Request
from synkora.engine.transports.websocket import WebSocketTransport, close_soon
from synkora.engine.transports.websocket_heads import Peer, is_key, parse, peer_of, subprotocol
from synkora.engine.unfinished import STRANGERS_FREE
from synkora.protocol.websocket import EXTENSION, accepts_compression, is_close_frame

_VERSION: Final = "13"
_READ_BUFFER: Final = 2048  # bytes, picows' minimum; the buffer grows with the messages
MAX_READ: Final = 16_384  # bytes per read
MAX_READ_COMPRESSED: Final = 2048  # bytes per read, of compressed messages; DEFLATE makes a thousand times as much
USUAL_BUFFER: Final = 28_672  # bytes; picows' buffer grows to this size if no frame is larger than `MAX_READ`
_MAX_HEAD: Final = 14  # bytes of a frame before its payload (RFC 6455 section 5.2)
_SILENT: Final = logging.LoggerAdapter(logging.Logger("picows", logging.CRITICAL + 1), {})
_ANY_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAA=="
# The request that picows gets. The real one is not passed on: picows' space is small, and picows keeps the request.
_UPGRADE: Final = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Version: {_VERSION}\r\nSec-WebSocket-Key: {{}}\r\n\r\n"
)


class _WithoutTcp:
    """A Unix socket that ignores the options of TCP, which picows sets."""

    __slots__ = ("_socket",)

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def setsockopt(self, level: int, option: int, value: int) -> None: ...

    def getsockopt(self, level: int, option: int) -> int:
        return 0


class _ParserConnection:
    """The connection that a parser of picows sees: filters what picows writes itself."""

    __slots__ = ("_connection", "_failed", "_is_first")

    def __init__(self, connection: asyncio.Transport, failed: Callable[[bytes], None], *, is_first: bool) -> None:
        self._connection = connection
        self._failed = failed
        self._is_first = is_first

    def get_extra_info(self, name: str) -> Any:
        found = self._connection.get_extra_info(name)
        return _WithoutTcp(found) if name == "socket" and found.family == socket.AF_UNIX else found

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
        close_soon(self._connection)


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
    buffer grows with the frames and never shrinks, so a new parser replaces the old one after a large frame. `peer` is
    the client's end of the connection, if another instance has forwarded it.
    """

    def __init__(
        self, registry: Registry, *, config: Any, server_state: Any, app_state: Any, peer: Peer | None = None
    ) -> None:
        self._registry = registry
        self._peer = peer
        self._listener: WebSocketTransport | None = None
        self._parser: Any = _NO_PARSER
        self._asking: asyncio.Task[None] | None = None
        self._is_watched = False  # the buffer has grown, or reading has to stop
        self._is_broken = False
        self._is_lost = False  # the connection has ended, and received bytes wait for their turn
        self._is_put_off = False  # the request, or bytes in the parser's buffer, wait for their turn
        self._early: memoryview | None = None  # frames that were read with the request, and are not handled yet
        self._unread = 0  # bytes received of a frame that has not ended: a stranger's, or a large one
        self._max_read = MAX_READ

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what uvicorn passes
        """Take over a connection from uvicorn's HTTP protocol."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Handle the request that uvicorn has read, once, now or in a later turn."""
        peer = self._peer or peer_of(self._transport)
        handle = partial(self._handle_request, data, peer)
        if not self._registry.arrivals.run(handle, source=rate_limit_key(peer.address)):
            self._put_off()

    def continue_with(self, data: bytes) -> None:
        """Handle frames that uvicorn has read with the request, after the handshake, like reads of their own."""
        self._early = memoryview(data)
        self._transport.pause_reading()
        self._resume()

    def _handle_request(self, data: bytes, peer: Peer) -> None:
        if self._transport.is_closing():
            return
        self._is_put_off = False
        request = parse(data, peer, self._registry.settings.proxies)
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
        self._resume()

    # Received data

    def get_buffer(self, sizehint: int) -> Any:
        """Return the buffer for the next read. While bytes in it wait, nothing may be read: it would replace them."""
        if self._is_put_off:
            raise RuntimeError("read while received bytes wait for their turn")
        room = self._parser.get_buffer(sizehint)
        if len(room) > self._max_read:
            if len(room) > USUAL_BUFFER and not self._is_watched:
                self._is_watched = True
                self._unread = 0
            return room[: self._max_read]
        return room

    def buffer_updated(self, nbytes: int) -> None:
        """Handle received bytes."""
        listener = self._listener
        session = None if listener is None else listener.session
        budget = None if session is None else session.budget
        if budget is None and self._max_read == MAX_READ_COMPRESSED:
            budget = self._registry.inflating
        if budget is None:
            self._receive(nbytes)
        elif not budget.run(partial(self._receive, nbytes), 0.0, "" if session is None else session.source):
            self._put_off()

    def _put_off(self) -> None:
        """Read nothing until a later turn."""
        self._is_put_off = True
        self._transport.pause_reading()

    def _receive(self, size: int) -> None:
        """Handle received bytes, now or, of a connection that does not read meanwhile, in a later turn."""
        was_put_off, self._is_put_off = self._is_put_off, False
        if self._is_lost:
            self._receive_last(size)
            return
        listener = self._listener
        if self._is_watched:
            is_full = self._receive_watched(size)
        else:
            is_full = size == self._max_read
            if listener is None or not self._is_strange(listener):
                self._parser.buffer_updated(size)
            else:
                self._parse(listener, size)
                self._watch(listener)
        if was_put_off:
            self._resume()
        elif is_full or self._early is not None:
            self._pause()

    def _receive_last(self, size: int) -> None:
        """Handle the last bytes of a connection that has ended."""
        listener = self._listener
        if listener is not None and not (self._is_broken or listener.has_stopped_reading):
            self._parser.buffer_updated(size)
        self._release().connection_lost(None)

    def _receive_watched(self, size: int) -> bool:
        """Handle a part of a large frame; after its end, replace the parser and its buffer, and return True."""
        listener = self._listener
        if listener is None or self._has_stopped(listener):
            return False
        data = bytes(self._parser.get_buffer(size)[:size])
        tail = self._parse(listener, size)
        if tail < 0:
            self._progressed(listener)
            return False
        listener.frame_ended()
        if self._has_stopped(listener):
            return False
        self._is_watched = False
        self._begin_parsing(listener)
        listener.tail, rest = -1, data[size - tail :]
        self._feed(rest)
        self._unread, listener.tail = len(rest) if listener.tail < 0 else listener.tail, max(listener.tail, 0)
        self._watch(listener)
        return True

    def _is_strange(self, listener: WebSocketTransport) -> bool:
        return listener.session is not None and listener.session.budget is self._registry.strangers

    def _watch(self, listener: WebSocketTransport) -> None:
        """Watch a stranger's frame that has not ended if much of it has arrived."""
        if self._unread > STRANGERS_FREE and self._is_strange(listener):
            self._is_watched = True
            self._progressed(listener)

    def _parse(self, listener: WebSocketTransport, size: int) -> int:
        """Parse received bytes; return how many follow the last frame that has ended, or -1 if none has."""
        listener.tail = -1
        self._parser.buffer_updated(size)
        tail, listener.tail = listener.tail, max(listener.tail, 0)
        self._unread = self._unread + size if tail < 0 else tail
        return tail

    def _progressed(self, listener: WebSocketTransport) -> None:
        listener.frame_progressed(max(self._unread - _MAX_HEAD, 0))
        if self._has_stopped(listener):
            self._begin_parsing(listener)  # frees the part that was received

    def _has_stopped(self, listener: WebSocketTransport) -> bool:
        """Whether reading has to stop."""
        return self._is_broken or listener.has_stopped_reading or self._transport.is_closing()

    def _pause(self) -> None:
        """Yield to other clients after a full read."""
        self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        # What was put off must be handled before more is read into the same buffer.
        if self._listener is None or self._is_put_off:
            return
        if self._has_stopped(self._listener):
            self._early = None
        elif self._early:
            self._read_early(self._early)
        else:
            self._early = None
            self._transport.resume_reading()

    def _read_early(self, early: memoryview) -> None:
        """Handle as much as fits into the buffer. `_receive` then goes on, now or in a later turn."""
        room = self.get_buffer(len(early))
        size = min(len(room), len(early))
        room[:size] = early[:size]
        self._early = early[size:]
        self.buffer_updated(size)

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
        """Release the parser, now or in a later turn: thousands of connections may end together.

        The last bytes of a client that has signed in have their turn before.
        """
        if self._asking is not None:
            self._asking.cancel()
        listener = self._listener
        session = None if listener is None else listener.session
        if listener is None or session is None:
            self._release().connection_lost(exc)
        elif self._is_put_off and session.budget is not self._registry.strangers:
            self._is_lost = True
            listener.connection_lost()
        elif not self._registry.endings.run(partial(self._release().connection_lost, exc), source=session.source):
            listener.connection_lost()

    def _release(self) -> Any:
        """Release the parser and return it: parser and protocol refer to each other."""
        parser, self._parser, self._listener, self._early = self._parser, _NO_PARSER, None, None
        return parser

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
        close_soon(self._transport)
