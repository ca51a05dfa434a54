"""uvicorn's HTTP protocol, which responds to polls without a task for each."""

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from synkora.engine.logs import Log, fault
from synkora.engine.transports.poll_responses import PollResponse
from synkora.engine.transports.polling_endpoint import HAS_UNREAD, PollingEndpoint
from synkora.serving.http_limits import HttpProtocol, HttpTimeouts
from synkora.serving.http_pipelining import nothing
from synkora.serving.request_ids import HEADER, RequestContext

_LARGE: Final = 65_536  # bytes; a copy of a larger body for each client would cost more than a write

log = Log(__name__)


class PollingProtocol(HttpProtocol):
    """Passes each GET for `polling` on by a plain call, and all other requests to the ASGI application.

    A poll waits until there are messages; the code that sends them also writes the response. A task per poll, which
    waits for messages and for the disconnect, plus ASGI's messages would double the cost of a poll.
    """

    def __init__(self, polling: PollingEndpoint, timeouts: HttpTimeouts, *args: Any, **kwargs: Any) -> None:
        super().__init__(timeouts, *args, **kwargs)
        self._polling = polling
        self._leave: Callable[[], None] | None = None
        self._has_unread: Callable[[], bool] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop a connection, and end the session of its pending poll."""
        super().connection_lost(exc)
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def handle_websocket_upgrade(self) -> None:
        """Pass the connection to the WebSocket protocol, which echoes the request's id."""
        headers = self.scope["headers"]
        handling = RequestContext(headers)
        self.scope["headers"] = [*(header for header in headers if header[0] != HEADER), (HEADER, handling.id)]
        with handling:
            super().handle_websocket_upgrade()

    def on_body(self, body: bytes) -> None:
        """Handle a part of a body. The body of a poll is not stored, since nothing reads it."""
        super().on_body(b"" if self._is_poll(self.scope) else body)

    def _is_body_read(self) -> bool:
        return super()._is_body_read() and not self._is_poll(self.scope)

    def begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start the response to a request."""
        scope = cycle.scope
        handling = RequestContext(scope["headers"])
        is_poll = self._is_poll(scope)
        if is_poll:
            if self._has_unread is None:
                self._has_unread = _unread(weakref.ref(self))
            scope[HAS_UNREAD] = self._has_unread  # type: ignore[typeddict-unknown-key]  # our own extension
        if (
            is_poll
            and not cycle.waiting_for_100_continue
            and not self.flow.write_paused  # the client is slow, and ASGI's `send` waits for it
        ):
            # Outside the call of the parser, and outside the previous response.
            self.loop.call_soon(self._polling.begin, scope, functools.partial(self._poll, cycle, handling))
        else:
            cycle.default_headers = [*cycle.default_headers, (HEADER, handling.id)]

            async def identified(scope: Any, receive: Any, send: Any) -> None:
                with handling:
                    await app(scope, receive, send)

            super().begin(cycle, identified)

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
                self._leave = self._polling.get(request, reply, self._has_unread)
            except Exception as error:  # noqa: BLE001  # it is logged
                log.error("poll_failed", **fault(error))
                self._reply(cycle, handling, PollResponse(500, [], b""))

    def _reply(self, cycle: RequestResponseCycle, handling: RequestContext, answer: PollResponse) -> None:
        """Write a complete response, and let uvicorn continue like after its own response.

        Only an error response has the request's id: in successful ones it would add a tenth to a poll's cost.
        """
        self._leave = None
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


def _unread(reference: "weakref.ref[PollingProtocol]") -> Callable[[], bool]:
    """Return a function that says whether a connection has unread data, without keeping the connection in memory."""

    def has_unread() -> bool:
        protocol = reference()
        if protocol is None or protocol.transport.is_closing():
            return False
        return bool(protocol.transport.get_write_buffer_size())

    return has_unread
