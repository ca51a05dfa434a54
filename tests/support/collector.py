"""A collector of OpenTelemetry that takes traces by OTLP over real HTTP."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.support.processes import free_port
from tests.support.servers import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{CALLER}-01"
NOT_SAMPLED = f"00-{TRACE}-{CALLER}-00"


class CollectedSpan(NamedTuple):
    """A span with the resource that it is of."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    problem: str

    @property
    def instance(self) -> str:
        return str(self.resource["service.instance.id"])


class Collector:
    """Keeps what it has taken; `headers` are those of the last request. `status` is that of the answers."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.spans: list[CollectedSpan] = []
        self.requests = 0
        self.status = 200
        self.headers: Mapping[str, str] = {}

    async def receive(self, request: web.Request) -> web.Response:
        self.requests += 1
        self.headers = request.headers
        if self.status != 200:
            return web.Response(status=self.status)
        body = ExportTraceServiceRequest.FromString(await request.read())
        for group in body.resource_spans:
            resource = _values(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += (_span(span, resource) for span in scope.spans)
        return web.Response(content_type="application/x-protobuf")

    async def named(self, name: str, count: int = 1) -> list[CollectedSpan]:
        """Wait until `count` spans with this name have come."""
        await until(lambda: len(self._named(name)) >= count)
        return self._named(name)

    async def one(self, name: str) -> CollectedSpan:
        """Wait for the span with this name. Fails if there are several."""
        (span,) = await self.named(name)
        return span

    def _named(self, name: str) -> list[CollectedSpan]:
        return [span for span in self.spans if span.name == name]

    @property
    def settings(self) -> dict[str, str]:
        """The variables of a server that exports to it soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[Self]:
        collector = cls(free_port())
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/traces", collector.receive)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", int(collector.url.rpartition(":")[2])).start()
            yield collector
        finally:
            await runner.cleanup()


def _span(span: Any, resource: dict[str, Any]) -> CollectedSpan:
    about = _values(span.attributes)
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    return CollectedSpan(span.name, span.kind, *ids, about, resource, span.status.message)


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
