"""What is written into the app's database with psql reaches pages with the official client."""

import asyncio
import subprocess

import pytest
from tests.access.processes import Postgres, find_program
from tests.docs.documents import ROOT, blocks
from tests.support.real_clients import Connect, join
from tests.support.redis_server import RedisServer
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
