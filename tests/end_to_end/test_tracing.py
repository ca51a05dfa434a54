"""One trace from the publication to the delivery on every instance, at a real collector."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import TracerProvider
from tests.access.processes import Postgres
from tests.end_to_end.app_database import make_outbox, psql
from tests.support.collector import CALLER, NOT_SAMPLED, SAMPLED, TRACE, Collector
from tests.support.processes import PATIENCE, Program, free_port
from tests.support.real_clients import Client, Connect, join
from tests.support.redis_server import RedisServer
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import ALICE, BOB, PROJECT, SECRET

from synkora import Emitter, SyncEmitter

TOKEN = "the-token-of-the-backend"
MOVE = {"taskId": "t1", "status": "DONE"}
MOVED = ["task:move", MOVE]
SERVER, CLIENT, PRODUCER, CONSUMER = 2, 3, 4, 5  # opentelemetry/proto/trace/v1/trace.proto, Span.SpanKind
OTHER = "11111111111111111111111111111111"


@pytest.fixture
def fleet(start_server: StartServer, redis: RedisServer, collector: Collector) -> list[ServerProcess]:
    return [start_server(REDIS_URL=redis.url, API_TOKEN=TOKEN, **collector.settings) for _ in range(2)]


async def publish(url: str, traceparent: str | None = SAMPLED) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    if traceparent is not None:
        headers["traceparent"] = traceparent
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=PATIENCE) as http:
        body = {"event": "task:move", "data": MOVE}
        answer = await http.post(f"/api/v1/projects/{PROJECT}/events", json=body)
    assert answer.status_code == 200, answer.text


async def arrive(connect_by: Connect, *servers: ServerProcess) -> list[Client]:
    """Alice and Bob, in the project, on one server each."""
    alice, bob = [await connect_by(user, url=one.url) for user, one in zip((ALICE, BOB), servers, strict=True)]
    await join(alice)
    await join(bob, alice)
    return [alice, bob]


async def test_an_api_request_is_one_trace_on_all_instances(
    fleet: list[ServerProcess], connect_by: Connect, collector: Collector
) -> None:
    """The instance with the request publishes and appends; that with the members delivers, and both are told apart."""
    first, second = fleet
    alice, bob = await arrive(connect_by, second, second)
    await publish(first.url)
    assert await alice.next() == await bob.next() == MOVED
    published, appended = await collector.one("publish task:move"), await collector.one("append task:move")
    delivered = await collector.one("deliver task:move")
    assert [span.trace for span in collector.spans] == [TRACE] * 3
    assert [published.parent, appended.parent, delivered.parent] == [CALLER, published.id, appended.id]
    assert [published.kind, appended.kind, delivered.kind] == [SERVER, PRODUCER, CONSUMER]
    assert published.instance == appended.instance != delivered.instance
    assert {span.resource["service.name"] for span in collector.spans} == {"synkora"}
    assert {span.attributes["messaging.destination.name"] for span in collector.spans} == {PROJECT}
    assert delivered.attributes["synkora.receivers"] == 2
    assert published.attributes["synkora.source"] == "api"
    assert "t1" not in json.dumps([span.attributes for span in collector.spans])  # nothing of the payload
    assert TOKEN not in json.dumps(collector.spans)


async def test_each_instance_with_members_delivers_once(
    fleet: list[ServerProcess], connect_by: Connect, collector: Collector
) -> None:
    await arrive(connect_by, *fleet)
    await publish(fleet[0].url)
    delivered = await collector.named("deliver task:move", 2)
    appended = await collector.one("append task:move")
    assert {span.parent for span in delivered} == {appended.id}
    assert len({span.instance for span in delivered}) == 2
    assert [span.attributes["synkora.receivers"] for span in delivered] == [1, 1]


async def test_an_edit_begins_a_trace_and_a_cursor_does_not(
    fleet: list[ServerProcess], connect_by: Connect, collector: Collector
) -> None:
    """A client cannot continue a trace, neither by a header of its handshake nor in an event."""
    alice = await connect_by(ALICE, url=fleet[0].url, headers={"traceparent": SAMPLED})
    bob = await connect_by(BOB, url=fleet[1].url)
    await join(alice)
    await join(bob, alice)
    await alice.emit("canvas:cursor", {"projectId": PROJECT, "position": {"x": 1, "y": 2}})
    await bob.expect("canvas:cursor")
    await alice.emit("task:move", {"projectId": PROJECT, **MOVE, "traceparent": SAMPLED})
    assert await bob.next() == MOVED
    delivered = await collector.named("deliver task:move", 2)
    published, appended = await collector.one("publish task:move"), await collector.one("append task:move")
    assert published.parent == ""
    assert appended.parent == published.id
    assert {span.parent for span in delivered} == {appended.id}
    assert {span.trace for span in collector.spans} == {published.trace}
    assert published.trace != TRACE
    assert published.attributes["synkora.source"] == "client"
    assert sorted(span.attributes["synkora.receivers"] for span in delivered) == [0, 1]


async def test_what_the_caller_does_not_sample_is_not_traced(
    fleet: list[ServerProcess], connect_by: Connect, collector: Collector
) -> None:
    alice, _ = await arrive(connect_by, *fleet)
    await publish(fleet[0].url, NOT_SAMPLED)
    await publish(fleet[0].url, f"00-{OTHER}-{CALLER}-01")
    assert [await alice.next(), await alice.next()] == [MOVED, MOVED]
    await collector.named("deliver task:move", 2)  # each instance exports in order
    await collector.one("publish task:move")
    assert {span.trace for span in collector.spans} == {OTHER}


@pytest.mark.parametrize("forged", ["00-0-0-01", f"ff-{TRACE}-{CALLER}-01", f"00-{'0' * 32}-{CALLER}-01", "x" * 5000])
async def test_a_forged_traceparent_begins_another_trace(
    start_server: StartServer, collector: Collector, forged: str
) -> None:
    server = start_server(API_TOKEN=TOKEN, **collector.settings)
    await publish(server.url, forged)
    published = await collector.one("publish task:move")
    assert published.parent == ""
    assert published.trace not in (TRACE, "0" * 32)


async def test_a_row_of_the_outbox_continues_the_trace_of_its_transaction(
    start_server: StartServer, redis: RedisServer, postgres: Postgres, connect_by: Connect, collector: Collector
) -> None:
    """Whether the row names it, or its transaction does, as for the rows of a trigger. A bad one begins a trace."""
    make_outbox(postgres)
    settings = {"REDIS_URL": redis.url, "DATABASE_URL": postgres.url(), **collector.settings}
    reader, other = start_server(PUBLISH_FROM="postgres", **settings), start_server(**settings)
    alice, _ = await arrive(connect_by, other, other)
    insert = "INSERT INTO synkora_outbox (project, event, payload"
    row = f"'{PROJECT}', 'task:move', '{json.dumps(MOVE)}'"
    await asyncio.to_thread(
        psql,
        postgres,
        f"{insert}, traceparent) VALUES ({row}, '{SAMPLED}');"
        f"BEGIN; SELECT set_config('synkora.traceparent', '00-{OTHER}-{CALLER}-01', true); {insert}) VALUES ({row});"
        f"COMMIT; {insert}) VALUES ({row}); {insert}, traceparent) VALUES ({row}, repeat('x', 5000));",
    )
    for _ in range(4):
        assert await alice.next() == MOVED
    published = await collector.named("publish task:move", 4)
    delivered = await collector.named("deliver task:move", 4)
    appended = {span.id: span for span in await collector.named("append task:move", 4)}
    assert [(span.trace, span.parent) for span in published[:2]] == [(TRACE, CALLER), (OTHER, CALLER)]
    assert [span.parent for span in published[2:]] == ["", ""]
    assert [appended[span.parent].parent for span in delivered] == [span.id for span in published]
    assert {span.instance for span in published}.isdisjoint({span.instance for span in delivered})
    assert {(span.attributes["synkora.source"], span.kind) for span in published} == {("outbox", CONSUMER)}
    assert reader.process.poll() is None


async def test_an_outbox_without_the_column_works(
    start_server: StartServer, postgres: Postgres, connect_by: Connect, collector: Collector
) -> None:
    """A row that cannot be published has a trace that says so."""
    make_outbox(postgres)
    psql(postgres, "ALTER TABLE synkora_outbox DROP COLUMN traceparent")
    server = start_server(PUBLISH_FROM="postgres", DATABASE_URL=postgres.url(), **collector.settings)
    alice = await connect_by(ALICE, url=server.url)
    await join(alice)
    insert = "INSERT INTO synkora_outbox (project, event, payload) VALUES"
    rows = f"('{PROJECT}', 'task:gone', '{{}}'), ('{PROJECT}', 'task:move', '{json.dumps(MOVE)}')"
    await asyncio.to_thread(psql, postgres, f"{insert} {rows};")
    assert await alice.next() == MOVED
    assert (await collector.one("publish task:gone")).problem == "InvalidPublication"
    assert (await collector.one("publish task:move")).problem == ""


async def test_emitters_continue_the_current_trace(
    fleet: list[ServerProcess], redis: RedisServer, connect_by: Connect, collector: Collector
) -> None:
    """Over both ways, in coroutines and in a thread; or the trace that they are given."""
    alice, _ = await arrive(connect_by, *fleet)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("a job")
    with (
        tracer.start_as_current_span("job") as job,
        SyncEmitter(fleet[0].url, token=TOKEN) as over_http,
    ):
        await asyncio.to_thread(over_http.to(PROJECT).emit, "task:move", MOVE)
        published = await collector.one("publish task:move")
        async with Emitter(redis.url, recovery=True) as over_redis:
            await over_redis.to(PROJECT).emit("task:create", {"id": "t2"})
            current = await collector.named("deliver task:create", 2)
            await over_redis.to(PROJECT).emit("task:delete", {"taskId": "t2"}, traceparent=SAMPLED)
            given = await collector.named("deliver task:delete", 2)
    context = job.get_span_context()
    where = (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert [(span.trace, span.parent) for span in (published, *current)] == [where] * 3
    assert [(span.trace, span.parent) for span in given] == [(TRACE, CALLER)] * 2
    assert [(await alice.next())[0] for _ in range(3)] == ["task:move", "task:create", "task:delete"]


async def test_workers_export_as_instances_of_their_own(start_server: StartServer, collector: Collector) -> None:
    """Also if the environment names the instance. What is sampled, and the service's name, is up to the variables."""
    about = {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=pod-1,service.namespace=app", "OTEL_SERVICE_NAME": "live"}
    server = start_server(WS_WORKERS="2", API_TOKEN=TOKEN, **collector.settings, **about)
    seen = set[str]()

    def take() -> None:
        for span in collector.spans:
            assert (span.resource["service.name"], span.resource["service.namespace"]) == ("live", "app")
            seen.add(span.instance)

    async with asyncio.timeout(PATIENCE):
        while len(seen) < 2:  # each request has a connection of its own, which the system gives to one of the workers
            await publish(server.url)
            await asyncio.sleep(0)
            take()
    assert seen == {"pod-1.0", "pod-1.1"}


@pytest_asyncio.fixture(loop_scope="session")
async def hung() -> AsyncIterator[int]:
    """The port of a collector that takes connections and requests, and never answers."""

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(ignore, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("is_hung", [True, False])
async def test_a_collector_that_is_down_costs_only_traces(
    start_server: StartServer, connect_by: Connect, hung: int, is_hung: bool
) -> None:
    """More spans than the queue takes, an export that would last for hours, and the server stops all the same.

    The log says that spans were dropped.
    """
    port = hung if is_hung else free_port()
    queue = {"OTEL_BSP_MAX_QUEUE_SIZE": "20", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    server = start_server(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_TIMEOUT="10000",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=hunter2",
        LOG_FORMAT="json",
        **queue,
    )
    alice, bob = await arrive(connect_by, server, server)
    for number in range(60):
        await alice.emit("task:move", {"projectId": PROJECT, **MOVE, "taskId": f"t{number}"})
        assert await bob.next() == ["task:move", {**MOVE, "taskId": f"t{number}"}]
    assert await asyncio.to_thread(server.stop) == 0, server.output
    assert '"event":"traces_lost"' in server.output
    assert '"message":"Queue full, dropping Span."' in server.output
    assert "hunter2" not in server.output


async def test_the_log_says_that_the_collector_has_refused_spans(
    start_server: StartServer, collector: Collector
) -> None:
    collector.status = 400
    server = start_server(API_TOKEN=TOKEN, **collector.settings)
    await publish(server.url)
    await asyncio.to_thread(server.line, lambda line: "! Traces: Failed to export spans" in line)
    assert collector.spans == []


async def test_a_stop_exports_the_last_spans(start_server: StartServer, collector: Collector) -> None:
    server = start_server(API_TOKEN=TOKEN, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="3600000")
    await publish(server.url)
    assert collector.requests == 0
    assert await asyncio.to_thread(server.stop) == 0, server.output
    assert [span.name for span in collector.spans] == ["append task:move", "deliver task:move", "publish task:move"]
    assert "traces_lost" not in server.output


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_SAMPLER": "always_off"}],
    ids=lambda variables: next(iter(variables)),
)
async def test_variables_switch_it_off(
    start_server: StartServer, collector: Collector, variables: dict[str, str]
) -> None:
    server = start_server(API_TOKEN=TOKEN, **collector.settings, **variables)
    await publish(server.url)
    await publish(server.url, None)
    assert await asyncio.to_thread(server.stop) == 0, server.output
    assert collector.requests == 0


async def test_variables_of_a_file_count(start_server: StartServer, collector: Collector, tmp_path: Path) -> None:
    """With OTEL_EXPORTER_OTLP_HEADERS, which OpenTelemetry reads itself."""
    lines = {**collector.settings, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=hunter2"}
    (tmp_path / ".env.local").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    server = start_server(API_TOKEN=TOKEN)
    await publish(server.url)
    await collector.one("publish task:move")
    assert collector.headers["authorization"] == "hunter2"


@pytest.fixture
def without_the_extra(tmp_path: Path) -> Iterator[Program]:
    code = "import sys; sys.modules['opentelemetry'] = None; from synkora.__main__ import main; main()"
    variables = {
        "NEXTAUTH_SECRET": SECRET,
        "WS_HOST": "127.0.0.1",
        "WS_PORT": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    }
    with Program([sys.executable, "-c", code], tmp_path, **variables) as program:
        yield program


def test_without_the_extra_a_line_says_what_to_install(without_the_extra: Program) -> None:
    """And the server serves: a variable of all programs of a host must not stop it."""
    line = without_the_extra.line(lambda line: "OTEL_" in line)
    assert line == (
        "! OTEL_EXPORTER_OTLP_ENDPOINT needs opentelemetry, which is not installed: "
        "pip install 'synkora[opentelemetry]'. Nothing is traced"
    )
    without_the_extra.signal()
    assert without_the_extra.wait() == 0
