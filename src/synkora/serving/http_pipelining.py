"""uvicorn's HTTP protocol, with a limit on pipelined requests, and without memory that outlives a connection."""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from synkora.serving.upgrades import UpgradeProtocol

MAX_WAITING: Final = 16  # pipelined requests per connection; hardly any client pipelines
MAX_WAITING_SIZE: Final = 65_536  # bytes of memory of their heads and bodies
#: Bytes of memory that a head takes besides its headers' text, as measured: the objects of each header (100 to 130) and
#: of the request (2,450 to 2,620), and the target: as text it may have four bytes for each, and it is kept as bytes.
HEADER_MEMORY: Final = 150
REQUEST_MEMORY: Final = 2500
TARGET_MEMORY: Final = 6


class _TooManyWaiting(Exception):
    """A connection has too many pipelined requests."""


class PipelineProtocol(UpgradeProtocol):
    """Accepts up to `MAX_WAITING` pipelined requests, which take `MAX_WAITING_SIZE` bytes, behind a pending one.

    The protocol continues to read while requests wait, so that it notices a disconnect immediately.
    (uvicorn pauses reading, which does not bound the requests of one read, and hides the end of the connection.)
    After the connection, no timer and no reference cycle keeps the protocol in memory until the cyclic collector runs.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._answering: RequestResponseCycle | None = None
        self._waiting: list[int] = []  # the memory of each request in the pipeline
        self._is_overfull = False
        self._is_in_request = False  # a part of it has been parsed, and not its end

    @property
    def _is_idle(self) -> bool:
        """Whether the next bytes begin a request, and all earlier ones have been answered."""
        return not self._is_in_request and (self._answering is None or self._answering.response_complete)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the disconnect to the current request, and drop all requests."""
        if self._answering is not None:  # uvicorn reports it to the last request of the pipeline instead
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)
        self._release()

    def handle_websocket_upgrade(self) -> None:
        """Pass the connection to the WebSocket protocol, or close it if an earlier request is pending."""
        if self._answering is not None and not self._answering.response_complete:
            self.transport.abort()  # the earlier response would be written into the WebSocket
        else:
            super().handle_websocket_upgrade()
            self._release()

    def on_message_begin(self) -> None:
        """Called by httptools at the start of a request."""
        if len(self.pipeline) >= MAX_WAITING:
            self._stop_parsing()
        self._is_in_request = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Called by httptools at the end of a request."""
        self._is_in_request = False
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        """Start a request, or queue it."""
        waiting = len(self.pipeline)
        super().on_headers_complete()
        if len(self.pipeline) > waiting:
            headers = sum(HEADER_MEMORY + len(name) + len(value) for name, value in self.headers)
            self._waiting.append(REQUEST_MEMORY + TARGET_MEMORY * len(self.url) + headers)
            self._check_waiting()
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self._waiting[-1] += len(body)
            self._check_waiting()
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Drop a request, and continue with the next."""
        if self._waiting:
            del self._waiting[0]
        super().on_response_complete()
        cycle = self.cycle
        if cycle.response_complete and not cycle.more_body:  # an idle connection does not keep its last request
            if self.scope is cycle.scope:
                self.url, self.headers, self.scope = b"", [], {}  # type: ignore[typeddict-item]  # not read again
            cycle.scope = {}  # type: ignore[typeddict-item]  # not read again

    def begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Start the response to a request."""
        super()._start_asgi_task(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        self.begin(cycle, app)

    def _check_waiting(self) -> None:
        if sum(self._waiting) > MAX_WAITING_SIZE:
            self._stop_parsing()

    def _stop_parsing(self) -> None:
        self._is_overfull = True
        raise _TooManyWaiting

    def _release(self) -> None:
        self._unset_keepalive_if_required()  # uvicorn keeps the timer if the connection ended with an error
        for cycle in (self._answering, self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None:
                cycle.on_response = nothing
        self.pipeline.clear()
        self._waiting.clear()
        self._answering = None
        # uvicorn declares these as never None. After the end of the connection nothing reads them.
        self.cycle = self.scope = self.headers = self.parser = None  # type: ignore[assignment]  # not read again


def nothing() -> None:
    """Do nothing; replaces a method that would keep its object in memory."""
