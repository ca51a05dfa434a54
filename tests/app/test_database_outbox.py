"""What the app writes into its database's outbox is published, with a real PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import asyncpg
import pytest
from tests.access.fixtures import connected, postgres
from tests.access.processes import Postgres
from tests.collaboration.site import MemoryClient, Site, turn
from tests.docs.documents import ROOT
from tests.support.logs import capture_logs
from tests.support.relay import relaying
from tests.support.servers import until

from synkora.access.database_url import DatabaseUrl
from synkora.app.database_outbox import DatabaseOutbox
from synkora.app.outbox_table import OutboxTable
from synkora.collaboration.publishing import Publisher
from synkora.recovery.settings import RecoverySettings

__all__ = ["postgres"]

SCHEMA = (ROOT / "deploy" / "postgres" / "outbox.sql").read_text()
LARGEST = 1_000_000


class Table:
    """The outbox table, as the app writes it."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection

    async def add(self, event: str, payload: object, project: str = "p") -> int:
        row = await self.connection.fetchval(
            "INSERT INTO synkora_outbox (project, event, payload) VALUES ($1, $2, $3) RETURNING id",
            project,
            event,
            json.dumps(payload),
        )
        assert isinstance(row, int)
        return row

    async def create(self, number: int) -> int:
        return await self.add("task:create", {"task": number})

    async def rows(self) -> list[tuple[int, str | None]]:
        return [tuple(row) for row in await self.connection.fetch("SELECT id, problem FROM synkora_outbox ORDER BY id")]


@pytest.fixture
async def table(postgres: Postgres) -> AsyncIterator[Table]:
    async with connected(postgres.url()) as connection:
        await connection.execute(f"DROP SCHEMA public CASCADE; CREATE SCHEMA public; {SCHEMA}")
        yield Table(connection)


@asynccontextmanager
async def reading(site: Site, postgres: Postgres, poll: float = 0.05) -> AsyncIterator[DatabaseOutbox]:
    async with DatabaseOutbox(postgres.url(), Publisher(site.server.of("/")), largest=LARGEST, poll=poll) as outbox:
        yield outbox


async def published(site: Site, postgres: Postgres, rows: int) -> DatabaseOutbox:
    """Read until so many rows are published."""
    async with reading(site, postgres) as outbox:
        await until(lambda: outbox.published == rows)
        await turn()
    return outbox


async def site_with_alice() -> tuple[Site, MemoryClient]:
    site = Site(recovery=RecoverySettings())
    (alice,) = await site.meet("Alice", project="p")
    return site, alice


def created(client: MemoryClient) -> list[Any]:
    """The tasks of `task:create` since the last call, in order."""
    return [event[1] for event in client.take_events() if event[0] == "task:create"]


async def test_rows_are_published_in_order_and_deleted(table: Table, postgres: Postgres) -> None:
    """Those from before the start, and new ones."""
    site, alice = await site_with_alice()
    before = [await table.create(number) for number in range(150)]
    async with reading(site, postgres) as outbox:
        await until(lambda: outbox.published == len(before))
        await table.create(150)
        await until(lambda: outbox.published == 151)
        await turn()
    assert created(alice) == list(range(151))
    assert await table.rows() == []


async def test_a_notification_wakes_the_reader(table: Table, postgres: Postgres) -> None:
    """It would look only after a minute."""
    site, _ = await site_with_alice()
    async with reading(site, postgres, poll=60) as outbox:
        for number in range(5):
            await table.create(number)
            await until(lambda number=number: outbox.published == number + 1)


async def test_without_the_trigger_rows_are_found_too(table: Table, postgres: Postgres) -> None:
    await table.connection.execute("DROP TRIGGER synkora_outbox_written ON synkora_outbox")
    site, _ = await site_with_alice()
    async with reading(site, postgres) as outbox:
        await table.create(1)
        await until(lambda: outbox.published == 1)


async def test_a_transaction_that_is_rolled_back_publishes_nothing(table: Table, postgres: Postgres) -> None:
    site, alice = await site_with_alice()
    async with reading(site, postgres) as outbox:
        transaction = table.connection.transaction()
        await transaction.start()
        await table.create(1)
        await transaction.rollback()
        await table.create(2)
        await until(lambda: outbox.published == 1)
        await turn()
    assert created(alice) == [2]


@pytest.mark.parametrize(
    ("event", "payload", "project", "reason", "problem"),
    [
        ("task:rename", {}, "p", "event", "event: task:rename is not one of task:create"),
        ("canvas:cursor", {}, "p", "event", "event: canvas:cursor says what its sender does"),
        ("task:move", {"status": "DONE"}, "p", "data", "data: taskId is missing"),
        ("task:create", [1], "p", "data", "data: an object is expected"),
        ("task:create", {"task": 1}, "", "project", "Project ID is required"),
        ("task:create", {"task": 1}, "p" * 201, "project", "Project ID is longer than 200 characters"),
    ],
)
async def test_a_row_that_cannot_be_published_does_not_stop_the_others(
    table: Table, postgres: Postgres, event: str, payload: object, project: str, reason: str, problem: str
) -> None:
    """It stays, with the reason."""
    site, alice = await site_with_alice()
    wrong = await table.add(event, payload, project)
    await table.create(1)
    with capture_logs() as logs:
        outbox = await published(site, postgres, 1)
    assert created(alice) == [1]
    ((row, found),) = await table.rows()
    assert row == wrong
    assert found is not None
    assert found.startswith(problem)
    assert {reason: count for reason, count in outbox.set_aside.items() if count} == {reason: 1}
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["outbox_row_set_aside"]


async def test_rows_that_are_too_large_do_not_stop_the_others(table: Table, postgres: Postgres) -> None:
    """They are not read as a whole, and the database cannot read a hundred of them in time."""
    site, alice = await site_with_alice()
    await table.connection.execute(
        "INSERT INTO synkora_outbox (project, event, payload) "
        "SELECT 'p', 'task:create', jsonb_build_object('task', repeat('x', $1)) FROM generate_series(1, 3)",
        LARGEST,
    )
    await table.connection.execute(
        "INSERT INTO synkora_outbox (project, event, payload) VALUES (repeat('p', 9000), repeat('e', 9000), '{}')"
    )
    await table.create(1)
    outbox = await published(site, postgres, 1)
    assert created(alice) == [1]
    problems = [problem for _, problem in await table.rows()]
    assert problems[:3] == [f"payload: it has more than {LARGEST} bytes (WS_MAX_PAYLOAD)"] * 3
    assert len(problems) == 4
    assert outbox.set_aside["too large"] == 3


async def test_a_row_that_the_database_cannot_write_does_not_stop_the_others(table: Table, postgres: Postgres) -> None:
    """`1e130000` takes few bytes in a `jsonb`, and 130,001 as text: 8,500 of them exceed a limit of PostgreSQL."""
    site, alice = await site_with_alice()
    await table.connection.execute(
        "INSERT INTO synkora_outbox (project, event, payload) SELECT 'p', 'task:create', "
        "jsonb_build_object('task', (SELECT jsonb_agg('1e130000'::numeric) FROM generate_series(1, 8500)))"
    )
    for task in (1, 2):
        await table.create(task)
    outbox = await published(site, postgres, 2)
    assert created(alice) == [1, 2]
    ((_, problem),) = await table.rows()
    assert problem is not None
    assert problem.startswith("payload: it cannot be read: ")
    assert outbox.set_aside["unreadable"] == 1


async def test_a_column_without_a_value_does_not_stop_the_others(table: Table, postgres: Postgres) -> None:
    """The app may have made the table with other columns."""
    site, alice = await site_with_alice()
    await table.connection.execute("ALTER TABLE synkora_outbox ALTER payload DROP NOT NULL")
    await table.connection.execute("INSERT INTO synkora_outbox (project, event) VALUES ('p', 'task:create')")
    await table.create(1)
    await published(site, postgres, 1)
    assert created(alice) == [1]
    assert [problem for _, problem in await table.rows()] == ["payload: it is null"]


class Explained:
    """A connection that returns the plans of queries in place of their rows."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def fetch(self, query: str, timeout: float | None = None) -> list[asyncpg.Record]:
        return await self._connection.fetch(f"EXPLAIN {query}", timeout=timeout)


@pytest.mark.parametrize("is_analyzed", [True, False])
async def test_reading_does_not_touch_what_is_set_aside(table: Table, postgres: Postgres, is_analyzed: bool) -> None:
    """100,000 rows that cannot be published, whether or not the database knows their number."""
    await table.connection.execute(
        "INSERT INTO synkora_outbox (project, event, payload, problem) "
        "SELECT 'p', 'task:gone', '{}', 'event: there is none' FROM generate_series(1, 100000)"
    )
    await table.create(1)
    if is_analyzed:
        await table.connection.execute("ANALYZE synkora_outbox")
    reader = OutboxTable(cast(Any, Explained(table.connection)), DatabaseUrl.parse(postgres.url()), LARGEST)
    plan = "\n".join(line[0] for line in await reader.next_rows())
    assert "using synkora_outbox_waiting" in plan
    assert "problem" not in plan  # no row is read and then left out


async def test_a_row_is_published_once_though_it_was_not_deleted(table: Table, postgres: Postgres) -> None:
    """Its reader ended after it had published the row. A new row with the same id is another one."""
    site, alice = await site_with_alice()
    row = await table.create(1)
    created_at = await table.connection.fetchval("SELECT created FROM synkora_outbox")
    query = "INSERT INTO synkora_outbox (id, project, event, payload, created) VALUES ($1, 'p', 'task:create', $2, $3)"
    for task, at in ((1, created_at), (1, created_at), (2, created_at + timedelta(seconds=1))):
        async with reading(site, postgres) as outbox:
            await until(lambda outbox=outbox: outbox.published == 1)
        await table.connection.execute(query, row, json.dumps({"task": task}), at)
    outbox = await published(site, postgres, 1)
    assert created(alice) == [1, 2]
    assert await table.rows() == []


class Announcing(Publisher):
    """Says when it has begun to publish."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.server.of("/"))
        self.has_begun = asyncio.Event()

    def publish(self, *arguments: Any) -> Any:
        self.has_begun.set()
        return super().publish(*arguments)


async def test_a_reader_that_is_stopped_deletes_what_it_has_published(table: Table, postgres: Postgres) -> None:
    """In the middle of the rows that it has read at once."""
    site, alice = await site_with_alice()
    rows = [await table.create(number) for number in range(100)]
    publisher = Announcing(site)
    async with DatabaseOutbox(postgres.url(), publisher, largest=LARGEST) as outbox:
        await publisher.has_begun.wait()
    await turn()
    tasks = created(alice)
    assert 0 < len(tasks) < len(rows)
    assert await table.rows() == [(row, None) for row in rows[len(tasks) :]]
    assert outbox.published == len(tasks)


async def test_a_reader_is_stopped_though_the_database_does_not_delete(table: Table, postgres: Postgres) -> None:
    """It waits no longer than a moment."""
    site, _ = await site_with_alice()
    await table.create(1)
    publisher = Announcing(site)
    async with table.connection.transaction():
        await table.connection.execute("SELECT FROM synkora_outbox FOR UPDATE")
        async with DatabaseOutbox(postgres.url(), publisher, largest=LARGEST):
            await publisher.has_begun.wait()
        assert len(await table.rows()) == 1


async def test_one_instance_reads_and_another_takes_over(table: Table, postgres: Postgres) -> None:
    first, alice = await site_with_alice()
    second, bob = await site_with_alice()
    async with reading(second, postgres) as waiting:
        async with reading(first, postgres) as outbox:
            await table.create(1)
            await until(lambda: outbox.published + waiting.published == 1)
            reader, other = (outbox, waiting) if outbox.published else (waiting, outbox)
            for number in range(2, 6):
                await table.create(number)
            await until(lambda: reader.published == 5)
            assert other.published == 0
        await table.create(6)
        await until(lambda: outbox.published + waiting.published == 6)
        await turn()
    assert sorted(created(alice) + created(bob)) == [1, 2, 3, 4, 5, 6]


async def test_a_reader_that_stands_still_within_an_answer_is_replaced(table: Table, postgres: Postgres) -> None:
    """The database has written a part of a large row. The reader is behind a relay that does not move."""
    first, _ = await site_with_alice()
    second, bob = await site_with_alice()
    insert = """
        INSERT INTO synkora_outbox (project, event, payload)
        VALUES ('p', 'task:create', jsonb_build_object('task', repeat('x', 40 * $1)))
    """
    waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'synkora_outbox'::regclass AND NOT granted)"
    async with connected(postgres.url()) as watching, relaying(postgres.port) as relay:
        url = postgres.url().replace(f":{postgres.port}/", f":{relay.port}/")
        async with DatabaseOutbox(url, Publisher(first.server.of("/")), largest=50 * LARGEST, poll=0.05) as frozen:
            await until(lambda: frozen.is_reader)
            async with table.connection.transaction():
                await table.connection.execute("LOCK TABLE synkora_outbox")
                await table.connection.execute(insert, LARGEST)
                await table.create(1)
                while not await watching.fetchval(waits):
                    pass
                relay.is_stuck = True
            async with reading(second, postgres) as outbox:
                await until(lambda: outbox.published == 1)
    await turn()
    assert created(bob) == [1]
    assert outbox.set_aside["too large"] == 1


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "frozen"])
async def test_a_database_that_fails_and_returns(table: Table, postgres: Postgres, is_killed: bool) -> None:
    """The problem is logged once, and later rows are published."""
    site, alice = await site_with_alice()
    with capture_logs() as logs:
        async with reading(site, postgres) as outbox:
            await table.create(1)
            await until(lambda: outbox.published == 1)
            await asyncio.to_thread(postgres.kill if is_killed else postgres.freeze)
            await until(lambda: outbox.problem is not None)
            await asyncio.to_thread(postgres.start if is_killed else postgres.thaw)
            async with connected(postgres.url()) as connection:
                await Table(connection).create(2)
                await until(lambda: outbox.published == 2)
            await until(lambda: outbox.problem is None)
            await turn()
    assert created(alice) == [1, 2]
    assert [entry["event"] for entry in logs if entry["event"].startswith("outbox")] == [
        "outbox_unavailable",
        "outbox_available",
    ]


async def test_a_database_without_the_table_is_reported(table: Table, postgres: Postgres) -> None:
    await table.connection.execute("DROP TABLE synkora_outbox")
    site, _ = await site_with_alice()
    async with reading(site, postgres) as outbox:
        await until(lambda: outbox.problem is not None)
        assert outbox.problem is not None
        assert outbox.problem.startswith('there is no table "public"."synkora_outbox": run deploy/postgres/outbox.sql')
