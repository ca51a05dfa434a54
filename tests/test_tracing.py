import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler
from tests.support.collector import CALLER, NOT_SAMPLED, SAMPLED, TRACE

from synkora.tracing import (
    NO_TRACE,
    NO_TRACER,
    OpenTelemetryTracer,
    Trace,
    checked_traceparent,
    current_traceparent,
)


def tracer_into(exporter: InMemorySpanExporter, sampler: Sampler | None = None) -> OpenTelemetryTracer:
    provider = TracerProvider(sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetryTracer(provider.get_tracer("test"))


def test_each_part_is_a_child_of_the_one_before() -> None:
    exporter = InMemorySpanExporter()
    tracer = tracer_into(exporter)
    with tracer.publish("api", "a", "p", SAMPLED) as published:
        appended = tracer.append(published, "a", "p", 5)
        appended.end()
        tracer.deliver(appended.traceparent, "a", "p", 2).end()
    one, two, three = exporter.get_finished_spans()
    assert [span.name for span in (one, two, three)] == ["append a", "deliver a", "publish a"]
    assert [f"{span.context.trace_id:x}" for span in (one, two, three)] == [TRACE.lstrip("0")] * 3
    parents = [span.parent.span_id for span in (one, two, three) if span.parent is not None]
    assert parents == [three.context.span_id, one.context.span_id, int(CALLER, 16)]


def test_an_end_counts_once_and_says_what_has_failed() -> None:
    exporter = InMemorySpanExporter()
    trace = tracer_into(exporter).publish("client", "a", "p")
    trace.end("x" * 1000)
    trace.end()
    (span,) = exporter.get_finished_spans()
    assert span.status.description == "x" * 200


def test_the_text_of_an_error_is_not_shown() -> None:
    """It may quote what was published."""
    exporter = InMemorySpanExporter()
    with pytest.raises(ValueError, match="hunter2"), tracer_into(exporter).publish("client", "a", "p"):
        raise ValueError("hunter2")
    (span,) = exporter.get_finished_spans()
    assert span.status.description == "ValueError"
    assert span.events == ()


def test_attributes_are_bounded() -> None:
    exporter = InMemorySpanExporter()
    tracer_into(exporter).publish("api", "e" * 5000, "p" * 5000, events=3).end()
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert max(len(value) for value in (span.name, *span.attributes.values()) if isinstance(value, str)) <= 210
    assert span.attributes["messaging.batch.message_count"] == 3


@pytest.mark.parametrize("traceparent", ["", "x", f"{SAMPLED}-more", SAMPLED.upper(), "00-" + "0" * 32 + SAMPLED[35:]])
def test_what_is_no_traceparent_begins_a_trace(traceparent: str) -> None:
    exporter = InMemorySpanExporter()
    tracer_into(exporter).publish("api", "a", "p", traceparent).end()
    (span,) = exporter.get_finished_spans()
    assert span.parent is None


def test_what_is_not_sampled_has_no_further_parts() -> None:
    exporter = InMemorySpanExporter()
    tracer = tracer_into(exporter)
    published = tracer.publish("api", "a", "p", NOT_SAMPLED)
    assert published is NO_TRACE
    assert tracer.append(published, "a", "p", 1) is NO_TRACE
    assert tracer.append(Trace(SAMPLED), "a", "p", 1) is NO_TRACE  # it is another program's
    assert tracer_into(exporter, ParentBased(ALWAYS_OFF)).publish("client", "a", "p") is NO_TRACE
    assert tracer.deliver(NOT_SAMPLED, "a", "p", 1) is NO_TRACE
    assert exporter.get_finished_spans() == ()


def test_the_null_object_traces_nothing() -> None:
    with NO_TRACER.publish("api", "a", "p", SAMPLED) as published:
        assert NO_TRACER.append(published, "a", "p", 1) is NO_TRACER.deliver(SAMPLED, "a", "p", 1) is NO_TRACE
    assert NO_TRACE.traceparent == ""


def test_the_current_span_is_the_programs() -> None:
    assert current_traceparent() == ""
    with TracerProvider(shutdown_on_exit=False).get_tracer("job").start_as_current_span("job") as span:
        context = span.get_span_context()
        assert current_traceparent() == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        assert checked_traceparent(current_traceparent())


def test_without_opentelemetry_there_is_no_current_span() -> None:
    code = "import sys, synkora.tracing as it\nprint([it.current_traceparent()], 'opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[''] False\n"


@pytest.mark.parametrize("text", ["", "00-0-0-01", f"{SAMPLED}\n", f"01{SAMPLED[2:]}"])
def test_a_wrong_argument_is_an_error(text: str) -> None:
    assert checked_traceparent(SAMPLED) == SAMPLED
    with pytest.raises(ValueError, match="a traceparent is a text such as"):
        checked_traceparent(text)
