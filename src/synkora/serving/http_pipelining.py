"""uvicorn's HTTP protocol, with a bound on pipelined requests, and without memory that outlives a connection."""

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from synkora.serving.upgrades import UpgradeProtocol

MAX_WAITING: Final = 16  # requests of a connection behind one that is not answered yet: hardly any client pipelines
MAX_WAITING_SIZE: Final = 65_536  # bytes of their heads and bodies


class _TooManyWaiting(Exception):
    """More requests wait than a connection may have."""


class PipelineProtocol(UpgradeProtocol):
    """Takes up to `MAX_WAITING` requests, of `MAX_WAITING_SIZE` bytes in all, behind one that is not answered yet.

    The protocol goes on reading while requests wait, so that the server notices at once when the client leaves.
    (uvicorn pauses reading, which does not bound the requests of one read, and hides the end of the connection.)
    When the connection is gone, the protocol holds nothing and nothing holds the protocol: no timer, and no cycle of
    references, for which the memory would wait for the cyclic collector.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._answering: RequestResponseCycle | None = None
        self._waiting: list[int] = []  # the size of each request in the pipeline
        self._is_overfull = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered that its client is gone, and forget all requests."""
        if self._answering is not None:  # uvicorn tells the last request of the pipeline instead
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)
        self._release()

    def handle_websocket_upgrade(self) -> None:
        """Hand a connection over to the WebSocket protocol; close it where an earlier request is not answered yet."""
        if self._answering is not None and not self._answering.response_complete:
            self.transport.close()  # the earlier answer would be written into the WebSocket
        else:
            super().handle_websocket_upgrade()
            self._release()

    def on_message_begin(self) -> None:
        """Called by httptools at the start of a request."""
        if len(self.pipeline) >= MAX_WAITING:
            self._stop_parsing()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start a request, or have it wait."""
        waiting = len(self.pipeline)
        super().on_headers_complete()
        if len(self.pipeline) > waiting:
            self._waiting.append(len(self.url) + sum(len(name) + len(value) for name, value in self.headers))
            self._check_waiting()
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        if self.pipeline and self.pipeline[0][0] is self.cycle:
            self._waiting[-1] += len(body)
            self._check_waiting()
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Forget a request, and go on with the next."""
        if self._waiting:
            del self._waiting[0]
        super().on_response_complete()
        cycle = self.cycle
        if cycle.response_complete and not cycle.more_body:  # an idle connection does not keep its last request
            if self.scope is cycle.scope:
                self.url, self.headers, self.scope = b"", [], {}  # type: ignore[typeddict-item]  # nobody reads it
            cycle.scope = {}  # type: ignore[typeddict-item]  # nobody reads it

    def begin(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin to answer a request."""
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
        self._unset_keepalive_if_required()  # uvicorn leaves the timer where a connection ended by an error
        for cycle in (self._answering, self.cycle, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None:
                cycle.on_response = nothing
        self.pipeline.clear()
        self._waiting.clear()
        self._answering = None
        # uvicorn declares these as always there. The connection is gone, so nothing reads them again.
        self.cycle = self.scope = self.headers = self.parser = None  # type: ignore[assignment]  # nobody reads it


def nothing() -> None:
    """Do nothing, in place of a method that would keep its object."""
