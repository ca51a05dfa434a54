"""What the variables of OpenTelemetry ask for. Real exports: tests/end_to_end/test_tracing.py."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.logs import capture_logs

from synkora.app.tracing import TracesUnavailable, Tracing, asked_by, check_exporter

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
APPLICATION = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from pydantic import SecretStr
from synkora.app.integrated import CollaborationServer
from synkora.app.settings import Settings
from synkora.tracing import NO_TRACER

def is_traced():
    return CollaborationServer(Settings(secret=SecretStr("x" * 40)))._instance.tracer is not NO_TRACER

before = is_traced()
trace.set_tracer_provider(TracerProvider())
print(before, is_traced())
"""


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variables of OpenTelemetry, no files, and its log as it was."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    library = logging.getLogger("opentelemetry")
    before = library.handlers, library.propagate, library.level
    yield
    library.handlers, library.propagate = before[:2]
    library.setLevel(before[2])


@pytest.mark.parametrize(
    ("given", "asking"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "live", "OTEL_TRACES_SAMPLER": "always_on"}, None),
        (ENDPOINT, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTEL_TRACES_EXPORTER"),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": " None "}, None),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, None),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ],
)
def test_variables_ask_for_traces(given: dict[str, str], asking: str | None) -> None:
    assert asked_by(given) == asking


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is zipkin"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is grpc"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "TRACES_PROTOCOL is http/json"),
    ],
)
def test_another_export_is_refused(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], problem: str) -> None:
    with pytest.raises(TracesUnavailable, match=problem):
        check_exporter(given)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert problem in Tracing("instance", shutdown_timeout=1).problem


def test_a_protocol_of_traces_wins() -> None:
    names = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
    check_exporter({**ENDPOINT, **dict(zip(names, ("grpc", "http/protobuf"), strict=True))})


async def test_a_value_that_cannot_be_used_leaves_the_server_without_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    tracing = Tracing("instance", shutdown_timeout=1)
    assert tracing.problem == "OpenTelemetry does not start: ValueError. Nothing is traced"
    async with tracing:
        pass


async def test_warnings_of_opentelemetry_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a header that cannot be read, nor the text of an error, nor what comes after the end."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "hunter2")
    with capture_logs() as entries:
        tracing = Tracing("instance", shutdown_timeout=0)
        logging.getLogger("opentelemetry.a").warning("Failed: %s after %d", OSError("http://c/?key=hunter2"), 3)
        async with tracing:
            pass
    messages = [str(entry["message"]) for entry in entries if entry["event"] == "traces_problem"]
    assert "Failed: OSError after 3" in messages
    assert any(message.startswith("Header format invalid!") for message in messages)
    assert "hunter2" not in str(entries)


def test_the_application_around_has_its_own_opentelemetry() -> None:
    """The server inside it is traced if the application has set a tracer provider."""
    done = subprocess.run([sys.executable, "-c", APPLICATION], capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[-2:] == ["False", "True"], done.stderr
