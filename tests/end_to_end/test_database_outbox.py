"""What is written into the app's database with psql reaches pages with the official client."""

import asyncio
import signal
from pathlib import Path

import pytest
from tests.access.processes import Postgres
from tests.end_to_end.app_database import make_outbox, psql, read_metrics, reader_and_other, until_metrics
from tests.support.real_clients import Client, Connect, join
from tests.support.redis_server import RedisServer, running_redis
from tests.support.relay import relaying
from tests.support.server_process import ServerProcess, StartServer
from tests.support.servers import until
from tests.support.users import ALICE, BOB, CAROL, PROJECT

EDITS = 40


@pytest.fixture
def database(postgres: Postgres) -> Postgres:
    """A database with the outbox, and with the document's trigger for tasks."""
    make_outbox(postgres)
    return postgres


def start(start_server: StartServer, redis: RedisServer, database: Postgres) -> ServerProcess:
    return start_server(REDIS_URL=redis.url, PUBLISH_FROM="postgres", DATABASE_URL=database.url())


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
        project=PROJECT,
    )
    task = {"id": "t1", "title": "Say hello", "status": "TODO", "projectId": PROJECT}
    for client in (alice, bob):
        assert await client.next() == ["task:create", task]
        assert await client.next() == ["task:update", {**task, "status": "DONE"}]
        assert await client.next() == ["task:delete", {"taskId": "t1"}]
        await client.hears_nothing()


def steps(client: Client) -> list[str]:
    """The changes of tasks that a client has got, in order."""
    events = [event for event in client.events.items if event[0] in ("task:create", "task:move")]
    return [str(data["id"] if name == "task:create" else data["taskId"]) for name, data, *_ in events]


async def test_each_change_arrives_once_through_the_death_of_the_reader(
    start_server: StartServer, redis: RedisServer, database: Postgres, connect_by: Connect
) -> None:
    """Instances that read are killed one after the other, while rows are written, and Carol moves other tasks.

    Clients of two instances get all of it in one order, and what psql and Carol have done in theirs.
    """
    servers = [start_server(REDIS_URL=redis.url) for _ in range(2)]
    alice, bob = [await connect_by(user, url=one.url) for user, one in zip((ALICE, BOB), servers, strict=True)]
    carol = await connect_by(CAROL, url=servers[1].url)
    await join(alice)
    await join(bob, alice)
    await join(carol, alice, bob)

    async def change() -> None:
        for number in range(EDITS):
            row = """INSERT INTO "Task" VALUES (:'task', 'Task', 'TODO', :'project');"""
            await asyncio.to_thread(psql, database, row, project=PROJECT, task=f"row {number}")
            await carol.emit("task:move", {"projectId": PROJECT, "taskId": f"edit {number}", "status": "DONE"})

    changing = asyncio.create_task(change())
    for _ in range(3):
        reader = await asyncio.to_thread(start, start_server, redis, database)
        while (await alice.next())[0] != "task:create":
            pass
        await asyncio.to_thread(reader.kill)
    await asyncio.to_thread(start, start_server, redis, database)
    await changing
    for client in (alice, bob):
        await until(lambda client=client: len(steps(client)) >= 2 * EDITS)
        await client.emit("ping")
        while (await client.next())[0] != "pong":
            pass
    assert steps(alice) == steps(bob)
    for name in ("row", "edit"):
        assert [step for step in steps(alice) if step.startswith(name)] == [f"{name} {n}" for n in range(EDITS)]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
async def test_each_change_arrives_once_through_restarts_of_a_single_server(
    start_server: StartServer, database: Postgres, connect_by: Connect, tmp_path: Path, ending: signal.Signals
) -> None:
    """Rows are written all the time. Each has a new task, and a newer title of one that is there."""
    state = {"STATE_DIR": str(tmp_path / "state"), "PRESENCE_GRACE": "600"}
    state |= {"PUBLISH_FROM": "postgres", "DATABASE_URL": database.url()}
    server = await asyncio.to_thread(start_server, **state)
    alice = await connect_by(ALICE, url=server.url)
    await join(alice)
    is_enough = asyncio.Event()

    async def change() -> int:
        number = 0
        insert = """INSERT INTO "Task" VALUES (:'task', 'Task', 'TODO', :'project');"""
        update = """UPDATE "Task" SET title = :'task' WHERE id = '0';"""
        await asyncio.to_thread(psql, database, insert, project=PROJECT, task="0")
        while not is_enough.is_set():
            number += 1
            await asyncio.to_thread(
                psql, database, f"BEGIN; {insert} {update} COMMIT;", project=PROJECT, task=str(number)
            )
        return number

    def created() -> list[int]:
        return [int(event[1]["id"]) for event in alice.events.items if event[0] == "task:create"]

    def titles() -> list[int]:
        return [int(event[1]["title"]) for event in alice.events.items if event[0] == "task:update"]

    changing = asyncio.create_task(change())
    for _ in range(3):
        seen = len(created())
        await until(lambda seen=seen: len(created()) > seen)
        server.signal(ending)
        await asyncio.to_thread(server.wait)
        server = await asyncio.to_thread(start_server, WS_PORT=str(server.port), **state)
    is_enough.set()
    last = await changing
    await until(lambda: max(created()) == last and max(titles()) == last)
    await alice.emit("ping")
    await until(lambda: alice.events.items[-1][0] == "pong")
    assert created() == list(range(last + 1))
    assert titles() == sorted(set(titles()))


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
    await asyncio.to_thread(psql, database, for_many, project=PROJECT, name="before")
    assert await alice.next() == [
        "task:create",
        {"id": "before1", "title": "Task", "status": "TODO", "projectId": PROJECT},
    ]
    frozen.process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.to_thread(psql, database, for_many, project=PROJECT, name="meanwhile")
        heard = await tasks_until(alice, "meanwhile300")
        await until_metrics(other, reader=1, rows_waiting=0)
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    await until_metrics(frozen, reader=0)
    await asyncio.to_thread(psql, database, for_many, project=PROJECT, name="after")
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
        await asyncio.to_thread(psql, database, insert, project=PROJECT, event="task:rename")
        await until_metrics(reader, **{"rows_set_aside_total{event}": 1, "rows_waiting": 0})
        redis.pause()
        for _ in range(2):
            await asyncio.to_thread(psql, database, insert, project=PROJECT, event="task:create")
        assert (await until_metrics(reader, rows_waiting=2))["oldest_age_seconds"] > 0
        redis.resume()
        await until_metrics(reader, rows_published_total=2, rows_waiting=0, oldest_age_seconds=0)
        await asyncio.to_thread(psql, database, "DROP TABLE synkora_outbox")
        assert (await until_metrics(reader, reader=0))["failures_total"] > 0
        for server in (reader, other):
            assert server.stop() == 0


async def test_a_slow_redis_does_not_cost_the_reader_its_lock(
    start_server: StartServer, redis: RedisServer, database: Postgres, connect_by: Connect
) -> None:
    """A hundred rows take longer than the database waits for a reader that stands still."""
    async with relaying(redis.port) as relay:
        variables = {"REDIS_URL": f"redis://127.0.0.1:{relay.port}", "PUBLISH_FROM": "postgres"}
        server = await asyncio.to_thread(start_server, **variables, DATABASE_URL=database.url())
        alice = await connect_by(ALICE, url=server.url)
        await join(alice)
        await until_metrics(server, reader=1)
        relay.upload_rate = 15_000
        many = """
            INSERT INTO "Task" SELECT n, repeat('x', 500), 'TODO', :'project' FROM generate_series(1, 100) AS n
        """
        await asyncio.to_thread(psql, database, many, project=PROJECT)
        assert await tasks_until(alice, "100") == [str(number) for number in range(1, 101)]
        found = await until_metrics(server, rows_published_total=100, rows_waiting=0)
        relay.upload_rate = 0
        assert (found["failures_total"], found["reader"]) == (0, 1)
        assert await asyncio.to_thread(server.stop) == 0, server.output
