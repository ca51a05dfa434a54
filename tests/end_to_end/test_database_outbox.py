"""What is written into the app's database with psql reaches pages with the official client."""

import asyncio
import signal
import subprocess

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.access.processes import Postgres, find_program
from tests.docs.documents import ROOT, blocks
from tests.support.processes import PATIENCE
from tests.support.real_clients import Client, Connect, join
from tests.support.redis_server import RedisServer, running_redis
from tests.support.server_process import ServerProcess, StartServer
from tests.support.users import ALICE, BOB, PROJECT

TASKS = 'CREATE TABLE "Task" (id text PRIMARY KEY, title text, status text, "projectId" text);'
EDITS = 40


@pytest.fixture
def database(postgres: Postgres) -> Postgres:
    """A database with the outbox, and with the document's trigger for tasks."""
    outbox = (ROOT / "deploy" / "postgres" / "outbox.sql").read_text()
    trigger = blocks(ROOT / "docs" / "outbox.md", "sql")[-1].text
    psql(postgres, f"DROP SCHEMA public CASCADE; CREATE SCHEMA public; {outbox} {TASKS} {trigger}")
    return postgres


def psql(postgres: Postgres, commands: str, **variables: str) -> None:
    given = {"ON_ERROR_STOP": "1", "project": PROJECT, **variables}
    options = [f"--set={name}={value}" for name, value in given.items()]
    command = [find_program("psql"), "--quiet", *options, postgres.url()]
    subprocess.run(command, input=commands, text=True, check=True, capture_output=True, timeout=30)


def start(start_server: StartServer, redis: RedisServer, database: Postgres) -> ServerProcess:
    return start_server(REDIS_URL=redis.url, PUBLISH_FROM="postgres", DATABASE_URL=database.url())


async def read_metrics(server: ServerProcess) -> dict[str, float]:
    """The outbox's samples; names without the common part, and with the label's value in braces."""
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        text = (await http.get(f"{server.url}/metrics")).text
    return {
        sample.name.removeprefix("synkora_database_outbox_") + "".join(f"{{{v}}}" for v in sample.labels.values()): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def until_metrics(server: ServerProcess, **wanted: float) -> dict[str, float]:
    """Wait until the metrics have the `wanted` values, and return all."""
    found: dict[str, float] = {}
    async with asyncio.timeout(PATIENCE):
        while not wanted.items() <= (found := await read_metrics(server)).items():
            await asyncio.sleep(0.1)
    return found


async def reader_and_other(*servers: ServerProcess) -> tuple[ServerProcess, ServerProcess]:
    """Wait until one of two servers reads; it is the first of the result."""
    first, second = servers
    async with asyncio.timeout(PATIENCE):
        while True:
            if (await read_metrics(first))["reader"]:
                return first, second
            if (await read_metrics(second))["reader"]:
                return second, first


async def tasks_until(client: Client, last: str) -> list[str]:
    """The tasks of all events up to that of the task `last`. There are no other events."""
    tasks: list[str] = []
    while not tasks or tasks[-1] != last:
        tasks.append((await client.expect("task:create"))["id"])
    return tasks


async def test_a_change_made_with_psql_reaches_every_page(
    start_server: StartServer, redis: RedisServer, database: Postgres, connect_by: Connect
) -> None:
    """On both instances, each step once and in order."""
    servers = [start(start_server, redis, database) for _ in range(2)]
    alice, bob = [await connect_by(user, url=one.url) for user, one in zip((ALICE, BOB), servers, strict=True)]
    await join(alice)
    await join(bob, alice)
    await asyncio.to_thread(
        psql,
        database,
        """
        INSERT INTO "Task" VALUES ('t1', 'Say hello', 'TODO', :'project');
        UPDATE "Task" SET status = 'DONE' WHERE id = 't1';
        DELETE FROM "Task" WHERE id = 't1';
        """,
    )
    task = {"id": "t1", "title": "Say hello", "status": "TODO", "projectId": PROJECT}
    for client in (alice, bob):
        assert await client.next() == ["task:create", task]
        assert await client.next() == ["task:update", {**task, "status": "DONE"}]
        assert await client.next() == ["task:delete", {"taskId": "t1"}]
        await client.hears_nothing()


async def test_each_change_arrives_once_through_the_death_of_the_reader(
    start_server: StartServer, redis: RedisServer, database: Postgres, connect_by: Connect
) -> None:
    """Instances that read are killed one after the other, while rows are written."""
    watching = start_server(REDIS_URL=redis.url)
    alice = await connect_by(ALICE, url=watching.url)
    await join(alice)

    async def write() -> None:
        for number in range(EDITS):
            row = """INSERT INTO "Task" VALUES (:'task', 'Task', 'TODO', :'project');"""
            await asyncio.to_thread(psql, database, row, task=f"t{number}")

    writing = asyncio.create_task(write())
    for _ in range(3):
        reader = await asyncio.to_thread(start, start_server, redis, database)
        await alice.next()
        await asyncio.to_thread(reader.kill)
    await asyncio.to_thread(start, start_server, redis, database)
    await writing

    def tasks() -> list[str]:
        return [event[1]["id"] for event in alice.events.items if event[0] == "task:create"]

    while len(tasks()) < EDITS:
        await alice.next()
    await alice.emit("ping")
    while (await alice.next())[0] != "pong":
        pass
    assert tasks() == [f"t{number}" for number in range(EDITS)]


async def test_a_frozen_reader_is_replaced_and_publishes_nothing_twice(
    start_server: StartServer, redis: RedisServer, database: Postgres, connect_by: Connect
) -> None:
    """It stands still in the middle of many rows, and goes on when another instance has published them."""
    watching = start_server(REDIS_URL=redis.url)
    frozen, other = await reader_and_other(*[start(start_server, redis, database) for _ in range(2)])
    alice, bob = await connect_by(ALICE, url=watching.url), await connect_by(BOB, url=other.url)
    await join(alice)
    await join(bob, alice)
    for_many = """
        INSERT INTO "Task" SELECT :'name' || n, 'Task', 'TODO', :'project' FROM generate_series(1, 300) AS n ORDER BY n
    """
    await asyncio.to_thread(psql, database, for_many, name="before")
    assert await alice.next() == [
        "task:create",
        {"id": "before1", "title": "Task", "status": "TODO", "projectId": PROJECT},
    ]
    frozen.process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.to_thread(psql, database, for_many, name="meanwhile")
        heard = await tasks_until(alice, "meanwhile300")
        await until_metrics(other, reader=1, rows_waiting=0)
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    await until_metrics(frozen, reader=0)
    await asyncio.to_thread(psql, database, for_many, name="after")
    heard += await tasks_until(alice, "after300")
    expected = [f"{name}{n}" for name in ("before", "meanwhile", "after") for n in range(1, 301)]
    assert ["before1", *heard] == await tasks_until(bob, "after300") == expected
    for client in (alice, bob):
        await client.hears_nothing()


async def test_metrics_show_who_reads_and_what_waits(start_server: StartServer, database: Postgres) -> None:
    """Rows wait while Redis stands still. A row with an unknown event is set aside."""
    insert = "INSERT INTO synkora_outbox (project, event, payload) VALUES (:'project', :'event', '{\"task\": 1}')"
    with running_redis() as redis:
        reader, other = await reader_and_other(*[start(start_server, redis, database) for _ in range(2)])
        assert (await read_metrics(other))["reader"] == 0
        await asyncio.to_thread(psql, database, insert, event="task:rename")
        await until_metrics(reader, **{"rows_set_aside_total{event}": 1, "rows_waiting": 0})
        redis.pause()
        for _ in range(2):
            await asyncio.to_thread(psql, database, insert, event="task:create")
        assert (await until_metrics(reader, rows_waiting=2))["oldest_age_seconds"] > 0
        redis.resume()
        await until_metrics(reader, rows_published_total=2, rows_waiting=0, oldest_age_seconds=0)
        await asyncio.to_thread(psql, database, "DROP TABLE synkora_outbox")
        assert (await until_metrics(reader, reader=0))["failures_total"] > 0
        for server in (reader, other):
            assert server.stop() == 0
