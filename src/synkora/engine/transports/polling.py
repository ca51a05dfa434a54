"""HTTP long-polling, as an ASGI application.

Source: socketio/socket.io, docs/engine.io-protocol/v4-current.md, "HTTP long-polling".
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from synkora.engine.disconnect import ORDERLY, Reason
from synkora.engine.handshake import HandshakeRefused, Refusal, check
from synkora.engine.outgoing import CLOSE, NOOP, Outgoing
from synkora.engine.registry import Registry
from synkora.engine.request import Headers, Request
from synkora.engine.session import Session
from synkora.engine.settings import EngineSettings, TransportName
from synkora.protocol.engineio import join_payload, split_payload
from synkora.protocol.errors import PayloadTooLarge, ProtocolError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
HeaderPairs = list[tuple[bytes, bytes]]

_TEXT: Final = (b"content-type", b"text/plain; charset=UTF-8")
_HTML: Final = (b"content-type", b"text/html")  # what Socket.IO answers a POST with
_JSON: Final = (b"content-type", b"application/json")
_NOT_STORED: Final = (b"cache-control", b"no-store")
_PREFLIGHT_AGE: Final = b"600"


class PollingTransport:
    """The polls of one session, and what they are answered with."""

    name: TransportName = "polling"

    __slots__ = ("_poll", "failed", "is_posting", "session")

    session: Session

    def __init__(self) -> None:
        self._poll: asyncio.Future[bytes] | None = None
        self.is_posting = False
        self.failed = False

    @property
    def writable(self) -> bool:
        """Whether a poll waits."""
        return self._poll is not None

    def send(self, messages: list[Outgoing]) -> None:
        """Answer the poll that waits."""
        poll, self._poll = self._poll, None
        if poll is not None and not poll.done():
            poll.set_result(join_payload([message.polling_part() for message in messages]))

    @property
    def farewell(self) -> Outgoing:
        """The packet that ends a session."""
        return CLOSE

    def close(self, reason: Reason, error: Exception | None) -> bool:
        """Return whether the session is over, or its last messages wait for another poll."""
        self.failed = error is not None or reason not in ORDERLY
        return self.failed or self.session.outbox.is_empty

    def discard(self) -> None:
        """Release the poll that waits."""
        if self._poll is not None:
            self.send([NOOP])

    def open_poll(self) -> asyncio.Future[bytes]:
        """A poll: the payload to answer it with, when there is one. Raises `ProtocolError` where one waits already."""
        if self._poll is not None:
            raise ProtocolError("two polls at a time")
        self._poll = poll = asyncio.get_running_loop().create_future()
        self.session.transport_ready(self)
        return poll

    def abandon_poll(self) -> None:
        """Take note that the client gave up the poll that waits."""
        self._poll = None
        self.session.transport_closed(self, Reason.TRANSPORT_ERROR)


class PollingEndpoint:
    """Answers the HTTP requests of all sessions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._settings: EngineSettings = registry.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3, scope type `http`)."""
        request = _request(scope)
        cors = self._cors(request)
        try:
            if request.method == "OPTIONS":
                await _respond(send, 204, b"", [*cors, *_preflight(request)])
                return
            sid = check(request, self._settings, websocket=False)
            if sid is None:
                await self._open(request, receive, send, cors)
                return
            session = self._registry.find(sid)
            transport = session.transport
            if not isinstance(transport, PollingTransport):
                raise HandshakeRefused(Refusal.BAD_REQUEST)
            if request.method == "GET":
                await self._poll(transport, receive, send, cors)
            elif request.method == "POST":
                await self._post(session, transport, request, receive, send, cors)
            else:
                raise HandshakeRefused(Refusal.BAD_METHOD, status=405)
        except HandshakeRefused as refusal:
            await _respond(send, refusal.status, refusal.body, [_JSON, *cors])

    async def _open(self, request: Request, receive: Receive, send: Send, cors: HeaderPairs) -> None:
        transport = PollingTransport()
        transport.session = self._registry.open(request, transport)
        await self._poll(transport, receive, send, cors)

    async def _poll(self, transport: PollingTransport, receive: Receive, send: Send, cors: HeaderPairs) -> None:
        try:
            poll = transport.open_poll()
        except ProtocolError as error:
            transport.session.close(Reason.TRANSPORT_ERROR)
            raise HandshakeRefused(Refusal.BAD_REQUEST, str(error)) from None
        if not poll.done():
            gone = asyncio.ensure_future(_wait_for_disconnect(receive))
            try:
                await asyncio.wait((poll, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
            if not poll.done():
                transport.abandon_poll()
                return
        await _respond(send, 200, poll.result(), [_TEXT, _NOT_STORED, *cors])

    async def _post(
        self,
        session: Session,
        transport: PollingTransport,
        request: Request,
        receive: Receive,
        send: Send,
        cors: HeaderPairs,
    ) -> None:
        if not session.is_live:
            raise HandshakeRefused(Refusal.UNKNOWN_SESSION)
        if transport.is_posting:
            session.close(Reason.TRANSPORT_ERROR)
            raise HandshakeRefused(Refusal.BAD_REQUEST, "two posts at a time")
        transport.is_posting = True
        try:
            packets = split_payload(await _body(receive, self._settings.max_payload))
        except PayloadTooLarge as error:
            session.fail(error)
            raise HandshakeRefused(Refusal.BAD_REQUEST, str(error), status=413) from None
        except ProtocolError as error:
            session.fail(error)
            raise HandshakeRefused(Refusal.BAD_REQUEST, str(error)) from None
        except ConnectionError:
            session.transport_closed(transport, Reason.TRANSPORT_ERROR)
            return
        finally:
            transport.is_posting = False
        session.believe(request)
        for is_binary, packet in packets:
            if is_binary:
                session.receive_binary(transport, packet)
            else:
                session.receive_text(transport, packet)
        if transport.failed:
            raise HandshakeRefused(Refusal.BAD_REQUEST)
        await _respond(send, 200, b"ok", [_HTML, _NOT_STORED, *cors])

    def _cors(self, request: Request) -> HeaderPairs:
        """What lets a page of an allowed origin read the answer (Fetch standard, "CORS protocol")."""
        origins, origin = self._settings.origins, request.origin
        if origin is None or origins.is_same(origin, request.host) or not origins.admits(origin, request.host):
            return []
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"Origin"),
        ]


def _request(scope: Scope) -> Request:
    client = scope.get("client")
    return Request(
        method=scope["method"],
        path=scope["path"],
        query_string=scope["query_string"].decode("latin-1"),
        headers=Headers(scope["headers"]),
        address=client[0] if client else "",
        secure=scope.get("scheme") == "https",
    )


def _preflight(request: Request) -> HeaderPairs:
    wanted = request.headers.get("access-control-request-headers") or ""
    headers = [(b"access-control-allow-methods", b"GET, POST, OPTIONS"), (b"access-control-max-age", _PREFLIGHT_AGE)]
    if wanted:
        headers.append((b"access-control-allow-headers", wanted.encode("latin-1")))
    return headers


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("client left in the middle of a request")
        body += message.get("body", b"")
        if len(body) > limit:
            raise PayloadTooLarge(f"more than {limit} bytes in one request")
        if not message.get("more_body", False):
            return bytes(body)


async def _respond(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})
