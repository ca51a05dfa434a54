"""uvicorn's HTTP protocol, which responds to polls without a task for each."""

import functools
import weakref
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from synkora.engine.addresses import rate_limit_key
from synkora.engine.incidents import IncidentKind
from synkora.engine.logs import Log, fault
from synkora.engine.transports.poll_responses import PollResponse
from synkora.engine.transports.polling_endpoint import CONNECTION, PollingEndpoint
from synkora.engine.transports.websocket_heads import Peer, peer_of
from synkora.engine.turn_budget import TurnBudget
from synkora.engine.unfinished import UnfinishedMessages
from synkora.protocol.errors import PayloadTooLarge
from synkora.serving.forward_signature import BadSignature
from synkora.serving.forwarded_websocket import ForwardedWebSocket
from synkora.serving.forwarding import END, origin_form
from synkora.serving.http_limits import HttpProtocol, HttpTimeouts
from synkora.serving.http_pipelining import HEADER_MEMORY, nothing
from synkora.serving.request_ids import HEADER, RequestContext
from synkora.serving.session_router import CannotForward, SessionRouter

#: Seconds that the application takes for a small request. With more in a turn, floods of requests would delay clients.
_REQUEST: Final = 0.0001
_SMALL: Final = 4096  # bytes; a larger read of a client that has signed in is always measured
_LARGE: Final = 65_536  # bytes; a copy of a larger body for each client would cost more than a write

log = Log(__name__)


class PollingProtocol(HttpProtocol):
    """Passes each GET for `polling` on by a plain call, and all other requests to the ASGI application.

    A poll waits until there are messages; the code that sends them also writes the response. A task per poll, which
    waits for messages and for the disconnect, plus ASGI's messages would double the cost of a poll. Requests
    that belong to no client that has signed in, and refusals, share a part of each turn, `strangers`: a flood of them
    delays no client.
    """

    def __init__(
        self,
        polling: PollingEndpoint,
        timeouts: HttpTimeouts,
        *args: Any,
        router: SessionRouter | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(timeouts, *args, **kwargs)
        self._polling = polling
        self._router = router
        self._strangers = polling.strangers
        self._source = ""  # the peer's address, if it has one
        self._handed_over = b""  # what another worker has read of this connection
        self._put_off = b""  # what was read, and waits for a later turn
        self._is_ending = False  # after the next response
        self._sid = ""  # that the current request names
        self._budget = self._strangers  # of the current request
        self._is_free = False  # the next request to begin, by a read that was
        self._unfinished: UnfinishedMessages | None = None  # while a head is
        self._leave: Callable[[], None] | None = None
        self._connection: _Connection | None = None

    @property
    def has_left(self) -> bool:
        """Whether the connection has ended."""
        return self.transport.is_closing()

    def on_leave(self, leave: Callable[[], None] | None) -> None:
        """Call `leave` when the connection ends, until this is called again."""
        self._leave = leave

    def hang_up(self) -> None:
        """End the connection."""
        self.transport.abort()

    def continue_with(self, data: bytes) -> None:
        """Take what another worker has read of this connection, before the connection is made."""
        self._handed_over = data

    def connection_made(self, transport: Any) -> None:
        """Start a connection, or continue one of another worker."""
        super().connection_made(transport)
        if self.client:
            self._source = rate_limit_key(self.client[0])
        if self._handed_over:
            self.loop.call_soon(self._continue)

    def _continue(self) -> None:
        if self._handed_over and not self.transport.is_closing():
            self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        """Handle received data, now or in a later turn."""
        if self._put_off:
            self._put_off += data
            return
        if self._handed_over:
            data, self._handed_over = self._handed_over + data, b""
        if self._is_idle:
            self._sid = self._polling.sid(data)
            self._budget = self._budget_of(data)
        elif self._budget is not self._polling.elsewhere:
            self._budget = self._polling.budget(self._sid)  # the session may have ended
        if len(data) <= _SMALL and self._budget.read_free(self._read_free, data):
            return
        self._put_off = data
        if not self._budget.run(self._read_put_off, source=self._source):
            self.transport.pause_reading()

    def _budget_of(self, data: bytes) -> TurnBudget:
        """Return what shares the turns with the request that begins with `data`."""
        budget = self._polling.budget(self._sid)
        is_elsewhere = budget is self._strangers and self._router is not None and self._router.is_elsewhere(data)
        return self._polling.elsewhere if is_elsewhere else budget

    def _read_free(self, data: bytes) -> None:
        self._is_free = True
        self._read(data)

    def _read_put_off(self) -> None:
        """Handle what was put off to this turn: to read heads takes as long as to answer them."""
        data, self._put_off = self._put_off, b""
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Handle data, or pass the connection to the worker that owns the session of its next request."""
        if self._router is None or not self._is_idle or not self._router.hand_over(self.transport, data):
            super().data_received(data)
            if self._unfinished is not None or (self._is_in_request and not self._in_body):
                self._hold_head()

    def _hold_head(self) -> None:
        """Let the memory of an unfinished head count for the address, or refuse the head."""
        is_unfinished = self._is_in_request and not self._in_body and not self.transport.is_closing()
        if self._unfinished is None:
            self._unfinished = self._polling.unfinished(self._source)
        try:
            self._unfinished.note(self, self._received + HEADER_MEMORY * self._headers if is_unfinished else 0)
        except PayloadTooLarge:
            self._refuse_size()
        if not is_unfinished:
            self._unfinished = None

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless what was read waits for a turn."""
        if not self._put_off:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """End the connection, after the response to a request that has begun to arrive."""
        if self._put_off and self._is_idle:
            self._is_ending = True
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop a connection, and end the session of its pending poll."""
        super().connection_lost(exc)
        if self._unfinished is not None:
            self._unfinished.note(self, 0)
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def handle_websocket_upgrade(self) -> None:
        """Pass the connection to the WebSocket protocol, which echoes the request's id."""
        headers = self.scope["headers"]
        handling = RequestContext(headers)
        self.scope["headers"] = headers = [
            *(header for header in headers if header[0] != HEADER),
            (HEADER, handling.id),
        ]
        with handling:
            if self._router is None or self._route_websocket(self._router, headers):
                super().handle_websocket_upgrade()

    def _route_websocket(self, router: SessionRouter, headers: list[tuple[bytes, bytes]]) -> bool:
        """Choose the WebSocket protocol by the owner of the session; return whether the request may go on."""
        try:
            url = httptools.parse_url(self.url)
            self.url = origin_form(url.path or b"/", url.query or b"")
            route = router.route(b"GET", self.url, headers, peer_of(self.transport))
            if route.owner is not None and router.is_closing:
                raise CannotForward("Server is shutting down")  # the WebSocket would end soon
        except (BadSignature, CannotForward) as refused:
            self._refuse(*self._refusal(refused))
            return False
        except httptools.HttpParserInvalidURLError:
            return True  # the WebSocket protocol refuses it
        local: Any = self.ws_protocol_class
        if route.peer is not None:
            local = functools.partial(local, peer=route.peer)
        if route.owner is not None:
            local = functools.partial(ForwardedWebSocket, router.forwarder, route.owner, route.signature, local)
        self.ws_protocol_class = local
        return True

    def _refusal(self, refused: Exception) -> tuple[HTTPStatus, str]:
        if isinstance(refused, CannotForward):
            return HTTPStatus.SERVICE_UNAVAILABLE, str(refused)
        self._timeouts.incidents.note(IncidentKind.REQUEST_REFUSED, f"forwarded: {refused}")
        return HTTPStatus.MISDIRECTED_REQUEST, "The request was not forwarded by another instance"

    def on_body(self, body: bytes) -> None:
        """Handle a part of a body. The body of a poll is not stored, since nothing reads it."""
        super().on_body(b"" if self._is_poll(self.scope) else body)

    def _is_body_read(self) -> bool:
        return super()._is_body_read() and not self._is_poll(self.scope)

    def begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start the response to a request."""
        is_free, self._is_free = self._is_free, False  # a request behind it in the same read is not
        scope = cycle.scope
        if self._is_ending or (self._router is not None and self._router.is_closing):
            cycle.keep_alive = False  # nothing arrives over the connection when this instance ends
        handling = RequestContext(scope["headers"])
        elsewhere = None if self._router is None else self._route(self._router, scope, app)
        is_poll = elsewhere is None and self._is_poll(scope)
        app = elsewhere or app
        if is_poll:
            if self._connection is None or self._connection.answer != self.answer:
                self._connection = _Connection(self)
            scope[CONNECTION] = self._connection  # type: ignore[typeddict-unknown-key]  # our own extension
        if (
            is_poll
            and not cycle.waiting_for_100_continue
            and not self.flow.write_paused  # the client is slow, and ASGI's `send` waits for it
        ):
            # Outside the call of the parser, and outside the previous response.
            if is_free:
                self.loop.call_soon(self._poll, cycle, handling)
            else:
                self.loop.call_soon(self._polling.begin, scope, functools.partial(self._poll, cycle, handling))
        else:
            cycle.default_headers = [*cycle.default_headers, (HEADER, handling.id)]

            async def identified(scope: Any, receive: Any, send: Any) -> None:
                with handling:
                    await app(scope, receive, send)

            if is_free or elsewhere is not None:
                super().begin(cycle, identified)
            else:
                begin = functools.partial(self._begin_later, cycle, identified)
                self._polling.budget_of(scope).run(begin, _REQUEST, self._source)

    def _begin_later(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not self.transport.is_closing():
            super().begin(cycle, app)

    def _route(self, router: SessionRouter, scope: Any, app: Any) -> Any:
        """Return the application that forwards or refuses a request; None for a request to this instance."""
        target = origin_form(scope["raw_path"], scope["query_string"])
        peer = Peer(self.client[0] if self.client else "", self.scheme == "https")
        try:
            route = router.route(scope["method"].encode(), target, scope["headers"], peer)
        except (BadSignature, CannotForward) as refused:
            status, words = self._refusal(refused)
            return functools.partial(_answer_with, status, words)
        if route.owner is not None:
            return router.forwarder.request_app(route.owner, route.signature, app, self)
        if route.peer is not None:
            if scope["method"].encode() == END:
                router.end(target)
                return functools.partial(_answer_with, HTTPStatus.OK, "ended")
            scope["client"] = (route.peer.address, 0) if route.peer.address else None
            scope["scheme"] = "https" if route.peer.over_tls else "http"
        return None

    def _is_poll(self, scope: Mapping[str, Any]) -> bool:
        # An upgrade's scope has no path yet.
        return scope["method"] == "GET" and self._polling.serves(scope.get("path", ""))

    def _poll(self, cycle: RequestResponseCycle, handling: RequestContext) -> None:
        if self.transport.is_closing():
            return
        with handling:
            try:
                request = self._polling.request(cycle.scope)
                reply = functools.partial(self._reply, cycle, handling)
                self._leave = self._polling.get(request, reply, self._connection)
            except Exception as error:  # noqa: BLE001  # it is logged
                log.error("poll_failed", **fault(error))
                self._reply(cycle, handling, PollResponse(500, [], b""))

    def _reply(self, cycle: RequestResponseCycle, handling: RequestContext, answer: PollResponse) -> None:
        """Write a complete response, and let uvicorn continue like after its own response.

        Only an error response has the request's id: in successful ones it would add a tenth to a poll's cost.
        """
        self._leave = None
        if answer.status != 200:
            self._strangers.run(functools.partial(self._write_reply, cycle, handling, answer), source=self._source)
        else:
            self._write_reply(cycle, handling, answer)

    def _write_reply(self, cycle: RequestResponseCycle, handling: RequestContext, answer: PollResponse) -> None:
        if self.transport.is_closing():
            return
        # No line break can come from a request: httptools refuses line breaks in headers.
        lines = [STATUS_LINE[answer.status], b"content-length: %d\r\n" % len(answer.body)]
        lines += [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        lines += [b"%b: %b\r\n" % header for header in answer.headers]
        if answer.status != 200:
            lines.append(b"%b: %b\r\n" % (HEADER, handling.id))
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        if len(answer.body) < _LARGE:
            lines.append(answer.body)
        self.transport.write(b"".join(lines))
        if len(answer.body) >= _LARGE:
            self.transport.write(answer.body)
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        cycle.on_response = nothing


async def _answer_with(status: HTTPStatus, words: str, scope: Any, receive: Any, send: Any) -> None:
    body = b'{"message":"%b"}' % words.encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Connection:
    """What a session keeps of the connection of its last poll, without keeping it in memory.

    A proxy sends the requests of many clients over one connection. Answers after that one are not the session's.
    """

    __slots__ = ("_protocol", "answer")

    def __init__(self, protocol: PollingProtocol) -> None:
        self._protocol = weakref.ref(protocol)
        self.answer = protocol.answer

    def _writes_it(self) -> PollingProtocol | None:
        protocol = self._protocol()
        return protocol if protocol is not None and protocol.answer == self.answer else None

    def has_unread(self) -> bool:
        protocol = self._writes_it()
        return protocol is not None and bool(protocol.transport.get_write_buffer_size())

    def limit_unread(self, *, ended: bool) -> None:
        protocol = self._writes_it()
        if protocol is not None:
            protocol.limit_last_answer(ended=ended)
