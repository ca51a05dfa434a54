"""OpenTelemetry in the server, as its standard variables say. Nothing of it is imported unless they ask for traces."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from synkora import __version__
from synkora.app.settings import sources
from synkora.extras import advice
from synkora.tracing import NO_TRACER, OpenTelemetryTracer, Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

PREFIX: Final = "OTEL_"
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_INSTANCE: Final = "service.instance.id"
_LONGEST_FLUSH: Final = 2.0  # seconds of a shutdown
_SHOWN: Final = 60  # characters of a variable
#: Its message quotes a header, which may be the collector's token.
_QUOTES_HEADERS: Final = "opentelemetry.util.re"
_LONGEST_MESSAGE: Final = 300  # characters

log = structlog.get_logger(__name__)


class TracesUnavailable(Exception):
    """Traces are asked for, and cannot be exported. The text, for the operator, ends with advice after a colon."""


def variables() -> dict[str, str]:
    """Return the variables of OpenTelemetry, in the environment and in the files of settings."""
    return {name: value for name, value in sources.variables().items() if name.startswith(PREFIX)}


def asked_by(given: Mapping[str, str]) -> str | None:
    """Return the variable that asks for traces, if any."""
    if given.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if _EXPORTER in given:
        return None if given[_EXPORTER].strip().lower() == "none" else _EXPORTER
    return next((name for name in ENDPOINTS if name in given), None)


def check_exporter(given: Mapping[str, str]) -> None:
    """Import what the export needs. Raises `TracesUnavailable` if it is missing, or another export is asked for."""
    exporter = given.get(_EXPORTER, "otlp").strip()
    if exporter.lower() != "otlp":
        words = f"{_EXPORTER} is {exporter[:_SHOWN]}, and this server exports by otlp alone"
        raise TracesUnavailable(f"{words}: set it to otlp, or to none")
    name = next((name for name in _PROTOCOLS if name in given), "")
    protocol = given.get(name, "http/protobuf").strip()
    if protocol.lower() != "http/protobuf":
        words = f"{name} is {protocol[:_SHOWN]}, and this server exports by http/protobuf alone"
        raise TracesUnavailable(f"{words}: set it to http/protobuf, which a collector takes on its port 4318")
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401  # to know that they are there
    except ModuleNotFoundError as error:
        raise TracesUnavailable(advice(str(asked_by(given)), error)) from None


def tracer_of_the_application() -> Tracer:
    """Return a tracer of the application around, if it has set up OpenTelemetry."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None or isinstance(api.get_tracer_provider(), api.ProxyTracerProvider | api.NoOpTracerProvider):
        return NO_TRACER
    return OpenTelemetryTracer(api.get_tracer("synkora", __version__))


class Tracing:
    """The traces of one instance, within an `async with` block: their `tracer`, and the thread that exports them.

    `problem` is why nothing is traced although a variable asks for it. The thread's queue is bounded
    (OTEL_BSP_MAX_QUEUE_SIZE): what a collector does not take is dropped. At the end of the block, the rest is exported
    within two seconds, and within `shutdown_timeout` seconds after `begin_stop`.
    """

    def __init__(self, instance_id: str, *, shutdown_timeout: float, worker: int | None = None) -> None:
        self.tracer: Tracer = NO_TRACER
        self.problem = ""
        self._shutdown_timeout = shutdown_timeout
        self._stop_by: float | None = None
        self._provider: TracerProvider | None = None
        self._reports = _Reports()
        given = variables()
        if asked_by(given) is None:
            return
        try:
            check_exporter(given)
        except TracesUnavailable as unavailable:
            self.problem = f"{unavailable}. Nothing is traced"
            return
        for name, value in given.items():  # OpenTelemetry reads the environment alone
            os.environ.setdefault(name, value)
        self._reports.install()
        try:
            self._provider = _provider(instance_id, worker)
        except ValueError as error:
            self.problem = f"OpenTelemetry does not start: {type(error).__name__}. Nothing is traced"
            return
        self.tracer = OpenTelemetryTracer(self._provider.get_tracer("synkora", __version__))

    def begin_stop(self) -> None:
        """Note that the shutdown has begun."""
        self._stop_by = asyncio.get_running_loop().time() + self._shutdown_timeout

    async def __aenter__(self) -> Self:
        self._reports.loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._provider is None:
            return
        loop, finished = asyncio.get_running_loop(), asyncio.Event()
        thread = threading.Thread(target=_finish, args=(self._provider, loop, finished), name="traces", daemon=True)
        thread.start()
        now = loop.time()
        try:
            async with asyncio.timeout_at(min(now + _LONGEST_FLUSH, self._stop_by or now + _LONGEST_FLUSH)):
                await finished.wait()
        except TimeoutError:
            log.warning("traces_lost")


def _provider(instance_id: str, worker: int | None) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    given = OTELResourceDetector().detect().attributes
    instance = str(given.get(_INSTANCE, instance_id))
    if worker is not None and _INSTANCE in given:  # which is that of all workers
        instance = f"{instance}.{worker}"
    about = {"service.version": __version__, SERVICE_NAME: "synkora", **given, _INSTANCE: instance}
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _finish(provider: "TracerProvider", loop: asyncio.AbstractEventLoop, finished: asyncio.Event) -> None:
    try:
        provider.shutdown()
    finally:
        try:
            loop.call_soon_threadsafe(finished.set)
        except RuntimeError:
            pass  # the server has not waited any longer


class _Reports(logging.Handler):
    """Forwards the warnings of OpenTelemetry, most from its thread, to the server's log: the kind of an error alone."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.loop: asyncio.AbstractEventLoop | None = None

    def install(self) -> None:
        """Take the records of OpenTelemetry."""
        library = logging.getLogger("opentelemetry")
        library.setLevel(logging.WARNING)
        library.handlers = [self]
        library.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record as an event of the server."""
        loop = self.loop
        if loop is None:
            _report(record.name, _words(record))
            return
        try:
            loop.call_soon_threadsafe(_report, record.name, _words(record))
        except RuntimeError:
            pass  # the server has ended


def _report(logger: str, message: str) -> None:
    log.warning("traces_problem", logger=logger, message=message)


def _words(record: logging.LogRecord) -> str:
    """Return a record's message. The text of an error may quote the address of the collector, with a token."""
    if record.name == _QUOTES_HEADERS or not isinstance(record.args, tuple):
        return str(record.msg).partition("%")[0]
    args = tuple(type(each).__name__ if isinstance(each, BaseException) else each for each in record.args)
    return (str(record.msg) % args if args else str(record.msg))[:_LONGEST_MESSAGE]
