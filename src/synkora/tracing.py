"""The trace of an event, from publish to delivery.

OpenTelemetry is optional: this module imports it for an `OpenTelemetryTracer` only. Everywhere else `NO_TRACER` traces
nothing.
"""

import re
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind
    from opentelemetry.trace import Tracer as LibraryTracer

#: Who publishes an event.
Source = Literal["api", "client", "outbox"]

LENGTH: Final = 55  # characters of a traceparent
_TRACEPARENT: Final = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_ATTRIBUTE: Final = 200  # characters
_API: Final = "opentelemetry.trace"


class Trace:
    """One part of an event's trace, until its `end`, and the `traceparent` (W3C Trace Context) for the next parts.

    A trace of this class is another program's part. Without a traceparent, the event is not traced.
    """

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent

    def end(self, problem: str = "") -> None:
        """Note the end, and what has gone wrong, if anything. The first call counts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end("" if kind is None else kind.__name__)  # an error's text may quote what was published


NO_TRACE: Final = Trace()


class Tracer:
    """Begins the parts of events' traces. This one traces nothing."""

    def publish(self, source: Source, event: str, project: str, traceparent: str = "", events: int = 1) -> Trace:
        """Begin the trace of one or several events, or continue that of `traceparent` if it is valid."""
        return NO_TRACE

    def append(self, published: Trace, event: str, room: str, size: int) -> Trace:
        """Begin the part in which the event log takes an event."""
        return NO_TRACE

    def deliver(self, traceparent: str, event: str, room: str, receivers: int) -> Trace:
        """Begin the part in which this instance's clients get an event."""
        return NO_TRACE


NO_TRACER: Final = Tracer()


class OpenTelemetryTracer(Tracer):
    """Begins spans of a tracer of OpenTelemetry. Attributes have bounded sizes, and nothing of an event's data."""

    def __init__(self, tracer: "LibraryTracer") -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._extract = TraceContextTextMapPropagator().extract
        self._root = Context()
        self._kinds = SpanKind

    def publish(self, source: Source, event: str, project: str, traceparent: str = "", events: int = 1) -> Trace:
        """Begin a span, unless the sampler drops it."""
        kind = self._kinds.CONSUMER if source == "outbox" else self._kinds.SERVER
        about: dict[str, str | int] = {"synkora.source": source}
        if events > 1:
            about["messaging.batch.message_count"] = events
        return self._begin("publish", event, project, self._context(traceparent), kind, about)

    def append(self, published: Trace, event: str, room: str, size: int) -> Trace:
        """Begin a span, unless the publication is not traced here."""
        if not isinstance(published, _SpanTrace):
            return NO_TRACE
        about = {"messaging.message.body.size": size}
        return self._begin("append", event, room, published.context, self._kinds.PRODUCER, about)

    def deliver(self, traceparent: str, event: str, room: str, receivers: int) -> Trace:
        """Begin a span, unless the sampler drops it."""
        about = {"synkora.receivers": receivers}
        return self._begin("deliver", event, room, self._context(traceparent), self._kinds.CONSUMER, about)

    def _context(self, traceparent: str) -> "Context":
        return self._extract({"traceparent": traceparent[: LENGTH + 1]}, self._root) if traceparent else self._root

    def _begin(
        self, what: str, event: str, room: str, context: "Context", kind: "SpanKind", about: Mapping[str, str | int]
    ) -> Trace:
        attributes = {
            "messaging.system": "synkora",
            "messaging.operation.name": what,
            "messaging.destination.name": room[:_MAX_ATTRIBUTE],
            "synkora.event": event[:_MAX_ATTRIBUTE],
            **about,
        }
        name = f"{what} {attributes['synkora.event']}"
        span = self._tracer.start_span(name, context, kind, attributes)
        return _SpanTrace(span) if span.get_span_context().trace_flags.sampled else NO_TRACE


class _SpanTrace(Trace):
    """A part of this process: a span."""

    __slots__ = ("_span",)

    def __init__(self, span: "Span") -> None:
        super().__init__(_traceparent_of(span))
        self._span = span

    @property
    def context(self) -> "Context":
        from opentelemetry.context import Context
        from opentelemetry.trace import set_span_in_context

        return set_span_in_context(self._span, Context())

    def end(self, problem: str = "") -> None:
        if problem and self._span.is_recording():
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, problem[:_MAX_ATTRIBUTE]))
        if self._span.is_recording():
            self._span.end()


def current_traceparent() -> str:
    """Return the traceparent of the program's current span, or an empty text without OpenTelemetry or a span."""
    api: Any = sys.modules.get(_API)  # a program that has not imported it has no span
    return "" if api is None else _traceparent_of(api.get_current_span())


def checked_traceparent(traceparent: str) -> str:
    """Return a traceparent. Raises `ValueError` for an invalid one."""
    if not _TRACEPARENT.fullmatch(traceparent):
        raise ValueError("a traceparent is a text such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    return traceparent


def _traceparent_of(span: "Span") -> str:
    about = span.get_span_context()
    if not about.is_valid:
        return ""
    return f"00-{about.trace_id:032x}-{about.span_id:016x}-{about.trace_flags:02x}"
