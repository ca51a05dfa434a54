"""WebSocket by whatever ASGI server there is.

Frames and their rules, the time for the rest of a message and compression are that server's own affair.
Source: asgiref, specs/www.rst, "WebSocket".
"""

import asyncio
from math import inf
from typing import Any, Final

from synkora.engine.disconnect import ORDERLY, Reason, close_code
from synkora.engine.handshake import HandshakeRefused
from synkora.engine.logs import Log, fault
from synkora.engine.message import Message
from synkora.engine.registry import Registry
from synkora.engine.request import Request
from synkora.engine.session import Session
from synkora.engine.settings import TransportName
from synkora.engine.transports.polling import Receive, Send
from synkora.engine.transports.websocket import CLOSING_TIME
from synkora.protocol.errors import ProtocolError

_LONGEST_REASON: Final = 120  # bytes of a close frame's 123

log = Log(__name__)


class AsgiWebSocket:
    """One WebSocket of an ASGI server, the transport of a session or a probe to become one.

    It takes messages while the server has taken all that it was given before: the server's `send` waits for the client.
    """

    name: TransportName = "websocket"
    close_packet = None

    __slots__ = (
        "_closing",
        "_goodbye",
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
        self._goodbye: dict[str, Any] | None = None
        self._closing = False
        self._time_left = asyncio.timeout(None)

    async def run(self, sid: str | None, receive: Receive, subprotocol: str | None = None) -> None:
        """Carry a session of its own, or offer itself to the session `sid`, until the client has gone."""
        self._registry.open_websockets += 1
        writing: asyncio.Task[None] | None = None
        try:
            async with self._time_left:
                if sid is None:  # before anything is awaited: the gate has let in one
                    self.session = self._registry.open(self._request, self)
                await self._send({"type": "websocket.accept", "subprotocol": subprotocol})
                writing = asyncio.create_task(self._write())
                if sid is not None:
                    self._offer(sid)
                await self._read(receive)
        except TimeoutError:
            pass  # cut off, or the client has not answered the close
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
            pass  # the session has ended between the request and now
        self.close(Reason.TRANSPORT_ERROR, None)

    async def _read(self, receive: Receive) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            session = self.session
            if session is None or self._closing:
                continue
            data, is_binary = message.get("bytes"), True
            if data is None:
                # Not every server has checked that it is UTF-8, which the session does.
                data, is_binary = (message.get("text") or "").encode("utf-8", "surrogatepass"), False
            if len(data) > session.max_message:
                session.transport_failed(self, session.too_large())
            elif is_binary:
                session.receive_binary(self, data)
            else:
                session.receive_text(self, data)

    async def _write(self) -> None:
        """Hand over what there is, and wait for more, until the end."""
        try:
            while (goodbye := self._goodbye) is None or self._queue:
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
            await self._send(goodbye)
        except (OSError, RuntimeError):  # what servers raise where the client has gone
            self._give(0)
        except Exception as error:  # noqa: BLE001  # it is logged
            log.error("websocket_failed", **fault(error))  # a fault of ours: it ends one connection
            self._give(0)

    # What the session calls

    def send(self, messages: list[Message]) -> None:
        """Have messages written, in order."""
        self._queue += messages
        self.writable = False
        self._wake.set()

    def silent_for(self) -> float:
        """An ASGI server tells nothing of a message before its end."""
        return inf

    def drain(self, reason: Reason) -> bool:
        """Nothing: an ASGI server hands over nothing more once it has been told to close."""
        return False

    def close(self, reason: Reason, error: Exception | None) -> bool:
        """Close with a code, and with words where the error is the client's.

        A client that does not read is cut off, at once or, where it is to get what was sent before, after a while.
        """
        if not self._closing:
            self._closing = True
            # What has just been given, and not begun on yet, does not mean that the client does not read.
            if self.writable or self._wake.is_set() or reason in ORDERLY:
                words = str(error if isinstance(error, ProtocolError) else reason)  # errors of ours are in the log
                code = int(close_code(reason, error))
                self._goodbye = {"type": "websocket.close", "code": code, "reason": words[:_LONGEST_REASON]}
                self._wake.set()
                self._give(CLOSING_TIME)
            else:
                self._give(0)
            self.writable = False
        return True

    def discard(self) -> None:
        """Close, since the client ended the session."""
        self.close(Reason.TRANSPORT_CLOSE, None)

    def _give(self, seconds: float) -> None:
        """Leave the client so much time; none is the end."""
        if not self._time_left.expired():
            self._time_left.reschedule(asyncio.get_running_loop().time() + seconds)
