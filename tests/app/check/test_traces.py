from collections.abc import AsyncIterator

import pytest
from tests.app.check.conftest import MakeSettings
from tests.support.collector import Collector
from tests.support.processes import free_port

from synkora.app.check.finding import Finding
from synkora.app.check.traces import check_traces


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector.running() as collector:
        yield collector


async def look(settings: MakeSettings) -> Finding:
    (finding,) = await check_traces(settings())
    assert "hunter2" not in f"{finding.message}{finding.advice}"
    return finding


async def test_without_a_variable_nothing_is_sent(settings: MakeSettings) -> None:
    assert (await look(settings)).status == "skipped"


async def test_a_collector_takes_an_empty_export(
    settings: MakeSettings, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = collector.url.replace("//", "//hunter2:hunter2@")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{address}/?key=hunter2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces?key=hunter2")
    finding = await look(settings)
    assert (finding.status, finding.message) == ("well", f"the collector at {collector.url} takes traces")
    assert (collector.requests, collector.spans) == (1, [])


async def test_a_collector_that_is_down(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}/hunter2")
    finding = await look(settings)
    assert finding.status == "risky"
    assert "has not taken an empty export" in finding.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "Set it to otlp, or to none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "Set it to http/protobuf, which a collector takes on its port 4318"),
    ],
)
async def test_another_export_is_not_possible(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, name: str, value: str, advice: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    finding = await look(settings)
    assert (finding.status, finding.advice) == ("risky", advice)
    assert f"{name} is {value}" in finding.message
