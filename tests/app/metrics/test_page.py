"""The page for Prometheus."""

from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from tests.support.clocks import Clock

from synkora.app.metrics import page
from synkora.app.metrics.page import KEPT, metrics_route

TIMED = (page,)
TEXT = "text/plain"
OPEN_METRICS = "application/openmetrics-text"


class Looks(Collector):
    def __init__(self) -> None:
        self.times = 0

    def collect(self) -> Iterator[CounterMetricFamily]:
        self.times += 1
        yield CounterMetricFamily("looks", "How often it was looked at.", value=self.times)


@pytest.fixture
def app() -> Starlette:
    return Starlette(routes=[metrics_route(Looks(), None)])


async def ask(app: Starlette, accept: str = "*/*") -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.get("/metrics", headers=[(b"accept", accept.encode("latin-1"))])


async def looks(app: Starlette, accept: str = TEXT) -> float:
    parse = parse_openmetrics if accept == OPEN_METRICS else text_string_to_metric_families
    (family,) = [family for family in parse((await ask(app, accept)).text) if family.name == "looks"]
    return next(sample.value for sample in family.samples if sample.name == "looks_total")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/plain; version=x", TEXT),
        ("text/plain; version=1.0.0", TEXT),
        (f"{OPEN_METRICS}; version=abc", TEXT),
        (f'{OPEN_METRICS}; version="1.0.0"', TEXT),
        (f"{OPEN_METRICS}; version=0.0.1", TEXT),
        (f"{OPEN_METRICS}; version=2.é", OPEN_METRICS),
        (f"{OPEN_METRICS};version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3", OPEN_METRICS),
        ("\xff;=,;;", TEXT),
        ("", TEXT),
        (OPEN_METRICS + "," * 1000, TEXT),
    ],
)
async def test_any_accept_header_gets_a_page(app: Starlette, accept: str, kind: str) -> None:
    answer = await ask(app, accept)
    assert answer.status_code == 200
    version = "1.0.0" if kind == OPEN_METRICS else "0.0.4"
    assert answer.headers["content-type"] == f"{kind}; version={version}; charset=utf-8"


@pytest.mark.parametrize("accept", [TEXT, OPEN_METRICS])
async def test_a_page_is_made_once_a_second(app: Starlette, clock: Clock, accept: str) -> None:
    first = await looks(app, accept)
    clock.now += KEPT - 0.1
    assert [await looks(app, accept) for _ in range(3)] == [first] * 3
    clock.now += 0.1
    assert await looks(app, accept) == first + 1


async def test_versions_make_no_further_pages(app: Starlette, clock: Clock) -> None:
    """Different Accept headers cause no further collections."""
    first = await looks(app)
    for number in range(9):
        assert f"looks_total {first}" in (await ask(app, f"text/plain; version=1.0.{number}")).text
