"""The collector of the traces."""

import asyncio
import logging
import os
from typing import Final
from urllib.parse import urlsplit

from synkora.app.check.finding import Finding, risky, skipped, well
from synkora.app.settings import Settings
from synkora.app.tracing import ENDPOINTS, TracesUnavailable, asked_by, check_exporter, variables

_PATIENCE: Final = 3.0  # seconds


async def check_traces(_settings: Settings) -> list[Finding]:
    """Check that traces can be exported, if a variable asks for them: send an empty export."""
    given = variables()
    if asked_by(given) is None:
        return [skipped("traces", "no variable of OpenTelemetry asks for traces")]
    try:
        check_exporter(given)
    except TracesUnavailable as unavailable:
        problem, _, advice = str(unavailable).partition(": ")
        return [risky("traces", problem, advice if advice.startswith("pip ") else advice[0].upper() + advice[1:])]
    for variable, value in given.items():  # OpenTelemetry reads the environment alone
        os.environ.setdefault(variable, value)
    endpoint = _shown(next((given[name] for name in ENDPOINTS if name in given), "http://localhost:4318"))
    if await asyncio.to_thread(_export_nothing):
        return [well("traces", f"the collector at {endpoint} takes traces")]
    words = f"the collector at {endpoint} has not taken an empty export: events go on, and traces are lost"
    return [risky("traces", words, "See that it runs, and takes OTLP over HTTP there (port 4318 by default)")]


def _export_nothing() -> bool:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    library = logging.getLogger("opentelemetry")
    level = library.level
    library.setLevel(logging.CRITICAL + 1)  # the finding says it
    try:
        return OTLPSpanExporter(timeout=_PATIENCE).export(()) is SpanExportResult.SUCCESS
    except ValueError:
        return False
    finally:
        library.setLevel(level)


def _shown(endpoint: str) -> str:
    """Return an address without user, path and query, which may hold a token."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        return "an address that cannot be read"
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
