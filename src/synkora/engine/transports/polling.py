"""HTTP long-polling, as an ASGI application.

Source: socketio/socket.io, docs/engine.io-protocol/v4-current.md, "HTTP long-polling".
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from synkora.engine.addresses import TrustedProxies
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
_SLICE: Final = 200  # packets of one request that are taken at a time: a few milliseconds
_PREFLIGHT_AGE: Final = b"600"


class PollingTransport:
    """The polls of one session, and what they are answered with."""

    name: TransportName = "polling"

    __slots__ = ("_poll", "failed", "is_posting")

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
        """Return whether the session is over at once, or its last messages may wait for another poll."""
        self.failed = error is not None or reason not in ORDERLY
        return self.failed

    def discard(self) -> None:
        """Release the poll that waits."""
        if self._poll is not None:
            self.send([NOOP])

    def open_poll(self) -> asyncio.Future[bytes]:
        """A poll: the payload to answer it with, once there is one."""
        self._poll = asyncio.get_running_loop().create_future()
        return self._poll

    def abandon_poll(self) -> None:
        """Forget the poll that waits."""
        self._poll = None


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One HTTP request and the way to its answer."""

    request: Request
    receive: Receive
    send: Send
    cors: HeaderPairs

    async def answer(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        length = (b"content-length", str(len(body)).encode())
        await self.send({"type": "http.response.start", "status": status, "headers": [length, *headers, *self.cors]})
        await self.send({"type": "http.response.body", "body": body})

    async def body(self, limit: int) -> bytes:
        body = bytearray()
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("client left in the middle of a request")
            body += message.get("body", b"")
            if len(body) > limit:
                raise PayloadTooLarge(f"more than {limit} bytes in one request")
            more = message.get("more_body", False)
        return bytes(body)

    async def disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


class PollingEndpoint:
    """Answers the HTTP requests of all sessions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._settings: EngineSettings = registry.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3, scope type `http`)."""
        request = _request(scope, self._settings.proxies)
        exchange = _Exchange(request, receive, send, self._cors(request))
        try:
            if request.method == "OPTIONS":
                await exchange.answer(204, b"", *_preflight(request))
            else:
                await self._exchange(exchange)
        except HandshakeRefused as refusal:
            self._registry.note_refusal(refusal, request)
            retry = [(b"retry-after", str(refusal.retry_after).encode())] if refusal.retry_after else []
            await exchange.answer(refusal.status, refusal.body, _JSON, *retry)

    async def _exchange(self, exchange: _Exchange) -> None:
        request = exchange.request
        sid = check(request, self._settings, websocket=False)
        if sid is None:
            self._registry.admit(request)
            transport = PollingTransport()
            await self._poll(self._registry.open(request, transport), transport, exchange)
            return
        session = self._registry.find(sid)
        if not isinstance(session.transport, PollingTransport):
            raise HandshakeRefused(Refusal.BAD_REQUEST)
        match request.method:
            case "GET":
                await self._poll(session, session.transport, exchange)
            case "POST":
                await self._post(session, session.transport, exchange)
            case _:
                raise HandshakeRefused(Refusal.BAD_METHOD, status=405)

    async def _poll(self, session: Session, transport: PollingTransport, exchange: _Exchange) -> None:
        if transport.writable:
            session.close(Reason.TRANSPORT_ERROR)
            raise HandshakeRefused(Refusal.BAD_REQUEST, "two polls at a time")
        poll = transport.open_poll()
        session.transport_ready(transport)
        if not poll.done():
            gone = asyncio.ensure_future(exchange.disconnected())
            try:
                await asyncio.wait((poll, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
            if not poll.done():
                transport.abandon_poll()
                session.transport_closed(transport, Reason.TRANSPORT_ERROR)
                return
        await exchange.answer(200, poll.result(), _TEXT, _NOT_STORED)

    async def _post(self, session: Session, transport: PollingTransport, exchange: _Exchange) -> None:
        if transport.is_posting:
            session.close(Reason.TRANSPORT_ERROR)
            raise HandshakeRefused(Refusal.BAD_REQUEST, "two posts at a time")
        transport.is_posting = True
        try:
            packets = split_payload(await exchange.body(self._settings.max_payload))
        except ProtocolError as error:
            session.fail(error)
            status = 413 if isinstance(error, PayloadTooLarge) else 400
            raise HandshakeRefused(Refusal.BAD_REQUEST, str(error), status=status) from None
        except ConnectionError:
            session.transport_closed(transport, Reason.TRANSPORT_ERROR)
            return
        else:
            session.believe(exchange.request)
            await self._take(session, transport, packets)
        finally:
            transport.is_posting = False
        if transport.failed:
            raise HandshakeRefused(Refusal.BAD_REQUEST)
        await exchange.answer(200, b"ok", _HTML, _NOT_STORED)

    @staticmethod
    async def _take(session: Session, transport: PollingTransport, packets: list[tuple[bool, bytes]]) -> None:
        """Hand a payload's packets to their session, and let other clients have their turn after each slice."""
        for number, (is_binary, packet) in enumerate(packets, 1):
            if not session.is_live:
                return
            if is_binary:
                session.receive_binary(transport, packet)
            else:
                session.receive_text(transport, packet)
            if number % _SLICE == 0:
                await asyncio.sleep(0)

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


def _request(scope: Scope, proxies: TrustedProxies) -> Request:
    client = scope.get("client")
    peer: str = client[0] if client else ""
    headers = Headers(scope["headers"])
    return Request(
        method=scope["method"],
        path=scope["path"],
        query_string=scope["query_string"].decode("latin-1"),
        headers=headers,
        address=proxies.address(peer, headers),
        secure=proxies.secure(peer, headers, over_tls=scope.get("scheme") == "https"),
    )


def _preflight(request: Request) -> HeaderPairs:
    wanted = request.headers.get("access-control-request-headers") or ""
    headers = [(b"access-control-allow-methods", b"GET, POST, OPTIONS"), (b"access-control-max-age", _PREFLIGHT_AGE)]
    if wanted:
        headers.append((b"access-control-allow-headers", wanted.encode("latin-1")))
    return headers
