"""HTTP long-polling, as an ASGI application, and as a plain call for a server that can respond without a task.

Source: socketio/socket.io, docs/engine.io-protocol/v4-current.md, "HTTP long-polling".
"""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from time import perf_counter
from typing import Any, Final

from synkora.engine.addresses import rate_limit_key
from synkora.engine.close_reasons import Reason
from synkora.engine.handshake import HandshakeRefused, Refusal, check
from synkora.engine.message import Message
from synkora.engine.registry import Ask, Registry
from synkora.engine.request import Headers, Request, parse_query
from synkora.engine.session import Session, State
from synkora.engine.transports.poll_responses import PollResponse, PollResponses
from synkora.engine.transports.polling_transport import PollConnection, PollingTransport
from synkora.engine.turn_budget import SHARE, TurnBudget
from synkora.engine.unfinished import UnfinishedMessages
from synkora.protocol.engineio import count_packets, split_payload
from synkora.protocol.errors import PayloadTooLarge, ProtocolError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CONNECTION: Final = "synkora.connection"  # scope key of the `PollConnection`
_FIRST_LINE: Final = 2048  # bytes that are searched for a session's id
_SID: Final = re.compile(rb"[?&]sid=([\w.-]+)")
_OVER_TLS: Final = ("https", "wss")
#: What is handled of a request in one turn: packets, and bytes without the last one. It is as much as of a WebSocket.
#: The time is bounded too, without that of the last packet: the cost of packets of one size differs.
_SLICE: Final = 200
_SLICE_BYTES: Final = 16_384


class PollingEndpoint:
    """Responds to the HTTP requests of all sessions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._settings = registry.settings
        self._answers = PollResponses(registry.settings)
        self._asking: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request (ASGI 3, scope type `http`)."""
        if scope["method"] == "GET":
            answer = await self._wait(scope, receive)
        else:
            answer = await self._answer(self.request(scope), receive)
        if answer is not None:
            await _send(answer, send)

    @property
    def strangers(self) -> TurnBudget:
        """What shares the turns with requests of clients that have not signed in."""
        return self._registry.strangers

    @property
    def elsewhere(self) -> TurnBudget:
        """What shares the turns with requests for sessions of other instances."""
        return self._registry.elsewhere

    def unfinished(self, source: str) -> UnfinishedMessages:
        """Return what unfinished heads and messages of strangers of an address count for."""
        return self._registry.unfinished(source)

    def serves(self, path: str) -> bool:
        """Whether the decoded `path` belongs to this endpoint."""
        return self._settings.serves(path)

    def budget_of(self, scope: Mapping[str, Any]) -> TurnBudget:
        """Return what shares the turns with a request: of strangers, unless it belongs to a session of this server."""
        query = scope["query_string"]
        if b"sid=" not in query or not self.serves(scope["path"]):
            return self._registry.strangers
        return self._registry.budget(parse_query(query.decode("latin-1")).get("sid", ""))

    def budget(self, sid: str) -> TurnBudget:
        """Return what shares the turns with requests that name this session: that of strangers if there is none."""
        return self._registry.budget(sid)

    def sid(self, data: bytes) -> str:
        """Return the id of the session that the request names which begins with `data`, or an empty one."""
        end = data.find(b"\n", 0, _FIRST_LINE)
        end = _FIRST_LINE if end < 0 else end
        found = _SID.search(data, max(data.rfind(b"&sid=", 0, end), 0), end)  # the last one, as `parse_query` takes
        return "" if found is None else found[1].decode("latin-1")

    def request(self, scope: Mapping[str, Any]) -> Request:
        """Return the request of an ASGI scope, of HTTP or WebSocket."""
        client, headers, proxies = scope.get("client"), Headers(scope["headers"]), self._settings.proxies
        peer: str = client[0] if client else ""
        return Request(
            method=scope.get("method", "GET"),  # a WebSocket's scope has no method
            path=scope["path"],
            query_string=scope["query_string"].decode("latin-1"),
            headers=headers,
            address=proxies.address(peer, headers),
            secure=proxies.secure(peer, headers, over_tls=scope.get("scheme") in _OVER_TLS),
            is_proxied=proxies.trusts(peer),
        )

    # Polls

    def begin(self, scope: Mapping[str, Any], poll: Callable[[], None]) -> None:
        """Call `poll` for a GET, now or in a later turn."""
        budget = self.budget_of(scope) if b"sid=" in scope["query_string"] else self._registry.arrivals
        client = scope.get("client")
        budget.run(poll, source=rate_limit_key(client[0]) if client else "")

    def get(
        self, request: Request, reply: Callable[[PollResponse], None], connection: PollConnection | None = None
    ) -> Callable[[], None] | None:
        """Respond to a GET through `reply`, immediately or when there are messages for the client.

        `connection` knows whether it has data that the client has not read. A poll over another connection means that
        the client has read the last response; if the client has not read it, the session ends.

        Returns a function for the case that the client disconnects before the response, or None after the response.
        """
        if self._registry.ask is not None and not request.query.get("sid"):
            asking = asyncio.get_running_loop().create_task(self._ask_first(self._registry.ask, request, reply))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            return functools.partial(_cancel, asking)
        return self._get(request, reply, connection)

    async def _ask_first(self, ask: Ask, request: Request, reply: Callable[[PollResponse], None]) -> None:
        """Let the application decide on a session, and respond."""
        try:
            check(request, self._settings, self._registry.page_of, websocket=False)
            headers = await ask(request)
        except HandshakeRefused as refused:
            reply(self._refuse(request, refused))
        else:
            self._get(request, lambda answer: reply(answer._replace(headers=[*answer.headers, *headers])), None)

    def _get(
        self, request: Request, reply: Callable[[PollResponse], None], connection: PollConnection | None
    ) -> Callable[[], None] | None:
        stamp = request.stamp
        try:
            session, transport = self._session_to_poll(request, stamp, connection)
        except HandshakeRefused as refused:
            reply(self._refuse(request, refused))
            return None

        def answer(messages: list[Message]) -> None:
            reply(self._answers.payload(request, messages))

        def leave() -> None:
            transport.abandon_poll()
            session.transport_closed(transport, Reason.TRANSPORT_ERROR)

        transport.open_poll(answer, connection, stamp)
        session.transport_ready(transport)
        return leave if transport.writable else None

    def _session_to_poll(
        self, request: Request, stamp: str | None, connection: PollConnection | None
    ) -> tuple[Session, PollingTransport]:
        session, transport = self._session_of(request)
        if transport.writable or transport.has_left_unread(connection):
            session.close(Reason.TRANSPORT_ERROR)
            raise HandshakeRefused(Refusal.BAD_REQUEST, "two polls at a time")
        if transport.lost_answer_to(stamp):
            session.close(Reason.TRANSPORT_ERROR)
            raise HandshakeRefused(Refusal.BAD_REQUEST, "the response to this poll was lost")
        return session, transport

    def _session_of(self, request: Request) -> tuple[Session, PollingTransport]:
        sid = check(request, self._settings, self._registry.page_of, websocket=False)
        if sid is None:
            self._registry.admit(request)
            transport = PollingTransport()
            return self._registry.open(request, transport), transport
        session = self._registry.find(sid)
        if not isinstance(session.transport, PollingTransport):
            raise HandshakeRefused(Refusal.BAD_REQUEST)
        return session, session.transport

    async def _wait(self, scope: Scope, receive: Receive) -> PollResponse | None:
        """Return the response to a GET, or None if the client disconnects before."""
        answered: asyncio.Future[PollResponse] = asyncio.get_running_loop().create_future()
        leave = self.get(self.request(scope), answered.set_result, scope.get(CONNECTION))
        if leave is not None:
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                await asyncio.wait((answered, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                if not answered.done():
                    leave()
        return answered.result() if answered.done() else None

    # Posts

    async def _answer(self, request: Request, receive: Receive) -> PollResponse | None:
        """Return the response to another request, or None if the client disconnects before its end."""
        if request.method == "OPTIONS":
            return self._answers.preflight(request)
        try:
            session, transport = self._session_of(request)
            if request.method != "POST":
                raise HandshakeRefused(Refusal.BAD_METHOD, status=405)
            return await self._post(session, transport, request, receive)
        except HandshakeRefused as refused:
            return self._refuse(request, refused)

    async def _post(
        self, session: Session, transport: PollingTransport, request: Request, receive: Receive
    ) -> PollResponse | None:
        if transport.is_posting:
            session.close(Reason.TRANSPORT_ERROR)
            raise HandshakeRefused(Refusal.BAD_REQUEST, "two posts at a time")
        transport.is_posting = True
        try:
            body = await _body(receive, session, transport)
            session.trust_cookies(request)
            if transport.note_post(request.stamp):
                is_handled = await _handle_packets(session, transport, body)
            else:
                session.count_overhead(len(body))
                is_handled = True
        except ProtocolError as error:
            session.fail(error)
            status = 413 if isinstance(error, PayloadTooLarge) else 400
            raise HandshakeRefused(Refusal.BAD_REQUEST, str(error), status=status) from None
        except ConnectionError:
            session.transport_closed(transport, Reason.TRANSPORT_ERROR)
            return None
        finally:
            transport.is_posting = False
            transport.progressed_at = None
            session.hold(transport, 0)
            if session.state is State.DRAINING:
                session.transport_ready(transport)
        if transport.failed:
            raise HandshakeRefused(Refusal.BAD_REQUEST)
        if not is_handled and session.state is State.CLOSED:
            raise HandshakeRefused(Refusal.UNKNOWN_SESSION)  # as if it had come now
        return self._answers.accepted(request)

    def _refuse(self, request: Request, refused: HandshakeRefused) -> PollResponse:
        self._registry.note_refusal(refused, request)
        return self._answers.refusal(request, refused)


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


async def _handle_packets(session: Session, transport: PollingTransport, payload: bytes) -> bool:
    """Pass a payload's packets to their session, and yield to other clients after each slice.

    Returns False if the session has ended before the last of them. Raises `ProtocolError` at a packet that cannot be
    decoded.
    """
    left, packets = count_packets(payload), split_payload(payload)  # not decoded: very many may wait
    while True:
        handle = functools.partial(_handle_slice, session, transport, packets)
        if session.budget is None:
            left -= handle()
        else:
            left -= await session.budget.complete(handle, source=session.source)
        if not left or not session.is_live:
            return not left
        await asyncio.sleep(0)


def _handle_slice(session: Session, transport: PollingTransport, packets: Iterator[tuple[bool, bytes]]) -> int:
    """Handle the next packets while the session lives. Returns their number."""
    handled = size = 0
    end = perf_counter() + SHARE
    while session.is_live and (packet := next(packets, None)) is not None:
        is_binary, data = packet
        if is_binary:
            session.receive_binary(transport, data)
        else:
            session.receive_text(transport, data)
        handled += 1
        size += len(data)
        if handled >= _SLICE or size >= _SLICE_BYTES or perf_counter() >= end:
            break
    return handled


async def _body(receive: Receive, session: Session, transport: PollingTransport) -> bytes:
    loop, limit = asyncio.get_running_loop(), session.max_message
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("client left in the middle of a request")
        body += message.get("body", b"")
        if len(body) > limit:
            raise PayloadTooLarge(f"more than {limit} bytes in one request")
        more = message.get("more_body", False)
        if more:
            if not session.is_live:  # the rest could take hours
                raise HandshakeRefused(Refusal.UNKNOWN_SESSION)
            session.hold(transport, len(body))
        transport.progressed_at = loop.time()
    return bytes(body)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(answer: PollResponse, send: Send) -> None:
    headers = [(b"content-length", str(len(answer.body)).encode()), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
