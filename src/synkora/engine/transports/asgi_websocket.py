"""WebSocket over any ASGI server.

The ASGI server checks frames, times out incomplete messages and compresses.
Source: asgiref, specs/www.rst, "WebSocket".
"""

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Any, Final

from synkora.engine.close_reasons import ORDERLY, Reason, close_code
from synkora.engine.handshake import HandshakeRefused
from synkora.engine.logs import Log, fault
from synkora.engine.message import Message
from synkora.engine.registry import Registry
from synkora.engine.request import Request
from synkora.engine.session import Session
from synkora.engine.settings import TransportName
from synkora.engine.transports.polling_endpoint import Receive, Send
from synkora.engine.transports.websocket import CLOSING_TIME, ClosedByTime
from synkora.protocol.errors import ProtocolError

_SLICE: Final = 100  # messages that are handled in one turn
_SLICE_BYTES: Final = 16_384  # of all messages of a turn but the last one
_LONGEST_REASON: Final = 120  # bytes; a close frame has 123

log = Log(__name__)


class AsgiWebSocket(ClosedByTime):
    """A WebSocket of an ASGI server: the transport of a session, or the probe of an upgrade.

    It is writable while the server has accepted all earlier messages: the server's `send` waits for a slow consumer.
    """

    name: TransportName = "websocket"
    close_packet = None

    __slots__ = (
        "_close_message",
        "_closing",
        "_is_base64",
        "_queue",
        "_registry",
        "_request",
        "_send",
        "_time_left",
        "_wake",
        "session",
        "writable",
    )

    def __init__(self, registry: Registry, request: Request, send: Send) -> None:
        self.session: Session | None = None
        self.writable = True
        self._registry = registry
        self._request = request
        self._is_base64 = request.wants_base64
        self._send = send
        self._queue: list[Message] = []
        self._wake = asyncio.Event()
        self._close_message: dict[str, Any] | None = None
        self._closing = False
        self._time_left = asyncio.timeout(None)

    async def run(
        self,
        sid: str | None,
        receive: Receive,
        subprotocol: str | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """Carry a new session, or probe for the session `sid`, until the client has disconnected.

        `headers` are added to the response to the handshake.
        """
        self._registry.open_websockets += 1
        writing: asyncio.Task[None] | None = None
        try:
            async with self._time_left:
                if sid is None:  # before the first await: the connection limiter has admitted one session
                    self.session = self._registry.open(self._request, self)
                more = {"headers": list(headers)} if headers else {}
                await self._send({"type": "websocket.accept", "subprotocol": subprotocol, **more})
                writing = asyncio.create_task(self._write())
                if sid is not None:
                    self._offer(sid)
                await self._read(receive)
        except TimeoutError:
            pass  # disconnected by the server, or the client has not answered the close
        finally:
            self._closing = True
            self.writable = False
            if writing is not None:
                writing.cancel()
            self._registry.open_websockets -= 1
            session, self.session = self.session, None
            if session is not None:
                session.transport_closed(self, Reason.TRANSPORT_CLOSE)

    def _offer(self, sid: str) -> None:
        try:
            session = self._registry.find(sid)
            if session.probe(self, self._request):
                self.session = session
                return
        except HandshakeRefused:
            pass  # the session has ended since the check
        self.close(Reason.TRANSPORT_ERROR, None)

    async def _read(self, receive: Receive) -> None:
        taken = size = 0
        while (message := await receive())["type"] != "websocket.disconnect":
            taken += 1
            if taken > _SLICE or size >= _SLICE_BYTES:
                await asyncio.sleep(0)  # `receive` does not suspend while a server has messages
                taken, size = 1, 0
            session = self.session
            if session is None or self._closing:
                continue
            data, is_binary = message.get("bytes"), True
            if data is None:
                # Not every server checks UTF-8. The session does.
                data, is_binary = (message.get("text") or "").encode("utf-8", "surrogatepass"), False
            size += len(data)
            if len(data) > session.max_message:
                session.transport_failed(self, session.too_large())
            elif is_binary:
                session.receive_binary(self, data)
            else:
                session.receive_text(self, data)

    async def _write(self) -> None:
        """Send queued messages until the end."""
        try:
            while (close_message := self._close_message) is None or self._queue:
                await self._wake.wait()
                self._wake.clear()
                queue, self._queue = self._queue, []
                for message in queue:
                    for data in message.messages(base64=self._is_base64):
                        kind = "text" if isinstance(data, str) else "bytes"
                        await self._send({"type": "websocket.send", kind: data})
                if not self._queue and not self._closing:
                    self.writable = True
                    if self.session is not None:
                        self.session.transport_ready(self)
            await self._send(close_message)
        except (OSError, RuntimeError):  # servers raise these after a disconnect
            self._limit_time(0)
        except Exception as error:  # noqa: BLE001  # it is logged
            log.error("websocket_failed", **fault(error))  # a bug of the server ends one connection only
            self._limit_time(0)

    # Called by the session

    def send(self, messages: list[Message]) -> None:
        """Queue messages for the writing task."""
        self._queue += messages
        self.writable = False
        self._wake.set()

    def seconds_since_progress(self) -> float:
        """Always infinite: an ASGI server reports only complete messages."""
        return inf

    def drain(self, reason: Reason) -> bool:
        """Always False: an ASGI server delivers no messages after a close."""
        return False

    def close(self, reason: Reason, error: Exception | None) -> bool:
        """Close with a code, and with a message if the client caused the error.

        A slow consumer is disconnected immediately, or after `CLOSING_TIME` if it has last messages to get.
        """
        if not self._closing:
            self._closing = True
            # A message that was queued but not sent yet does not mean that the client is slow.
            if self.writable or self._wake.is_set() or reason in ORDERLY:
                words = str(error if isinstance(error, ProtocolError) else reason)  # a bug is only logged
                code = int(close_code(reason, error))
                self._close_message = {"type": "websocket.close", "code": code, "reason": words[:_LONGEST_REASON]}
                self._wake.set()
                self._limit_time(CLOSING_TIME)
            else:
                self._limit_time(0)
            self.writable = False
        return True

    def _limit_time(self, seconds: float) -> None:
        """Limit the connection's remaining time; 0 ends it."""
        if not self._time_left.expired():
            self._time_left.reschedule(asyncio.get_running_loop().time() + seconds)
