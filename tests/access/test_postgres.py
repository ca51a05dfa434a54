import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
from tests.access.conftest import Database
from tests.access.fixtures import connected
from tests.access.listeners import listening
from tests.access.world import TEAM_PROJECT, USERS, World, nextauth_v4, small_world
from tests.contracts.access import AccessContract
from tests.support.processes import PATIENCE
from tests.support.servers import until

from synkora.access.postgres import PostgresAccess
from synkora.collaboration.access import Access, AccessUnavailable, Role


class PostgresBackend:
    def __init__(self, database: Database) -> None:
        self.policy = PostgresAccess(database.server.url(parameters="?schema=public&connection_limit=5"))
        self._database = database

    async def show(self, world: World) -> None:
        await self._database.show(world)

    async def stop(self) -> None:
        await asyncio.to_thread(self._database.server.stop)

    async def start(self) -> None:
        await asyncio.to_thread(self._database.server.start)


@pytest.fixture
async def backend(database: Database) -> AsyncIterator[PostgresBackend]:
    backend = PostgresBackend(database)
    yield backend
    await backend.policy.close()


@pytest.fixture
async def policy(backend: PostgresBackend) -> PostgresAccess:
    return backend.policy


class TestPostgresAccess(AccessContract):
    """The contract, with a real PostgreSQL."""


async def test_connections_are_few_and_shared(policy: PostgresAccess, database: Database) -> None:
    """Any number of simultaneous questions makes no more connections than the URL allows."""
    users = random.choices(USERS, k=100)
    for _ in range(2):
        await asyncio.gather(*(policy.role(nextauth_v4(user), f"{user}{n}") for n, user in enumerate(users)))
        assert 1 <= await database.clients() <= 5


async def test_closing_releases_the_connections(policy: PostgresAccess, database: Database) -> None:
    await policy.role(nextauth_v4("owner"), TEAM_PROJECT)
    assert await database.clients() == 1
    await policy.close()
    async with asyncio.timeout(PATIENCE):
        while await database.clients():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("schema", ["app", 'My "own" schema; --'])
async def test_the_schema_of_the_url_is_asked(database: Database, schema: str) -> None:
    """Prisma's `schema` parameter selects the tables, even if another schema has tables of the same names."""
    await database.create(schema)
    world = small_world()
    world.teams["team"]["editor"] = "VIEWER"
    await database.show(world)
    policy = PostgresAccess(database.server.url(parameters=f"?schema={quote(schema)}"))
    assert await policy.role(nextauth_v4("editor"), TEAM_PROJECT) is Role.VIEWER
    await policy.close()


async def test_prismas_parameters_do_no_harm(database: Database) -> None:
    """DATABASE_URL is used as the app has it. Behind PgBouncer no statement is prepared."""
    parameters = "?pgbouncer=true&connection_limit=1&pool_timeout=20&connect_timeout=10&sslmode=prefer&sslaccept=strict"
    policy = PostgresAccess(database.server.url(parameters=parameters))
    log = database.server.folder / "log"
    before = log.stat().st_size
    await database.connection.execute("ALTER ROLE app SET log_statement = 'all'")
    try:
        questions = [policy.role(nextauth_v4(user), TEAM_PROJECT) for user in ("owner", "stranger")]
        assert await asyncio.gather(*questions) == [Role.OWNER, None]
    finally:
        await database.connection.execute("ALTER ROLE app RESET log_statement")
    assert await database.clients() == 1
    await policy.close()
    written = log.read_bytes()[before:]
    assert written.count(b"execute <unnamed>") == 2
    assert b"execute __" not in written


async def test_a_unix_socket_is_found_where_prisma_looks(database: Database) -> None:
    """The parameter `host` is the folder of the socket."""
    parameters = f"?host={quote(str(database.server.folder), safe='')}"
    policy = PostgresAccess(database.server.url(parameters=parameters, host="localhost"))
    assert await policy.role(nextauth_v4("viewer"), TEAM_PROJECT) is Role.VIEWER
    await policy.close()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_an_id_that_the_databases_encoding_lacks_is_no_projects(database: Database, encoding: str) -> None:
    """Such a project cannot exist in a database without UTF-8. This is no failure."""
    name = f"in_{encoding.lower()}"
    await database.connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
    async with connected(database.server.url(name)) as connection:
        other = Database(database.server, connection)
        await other.create()
        await other.show(World({"proj": small_world().projects[TEAM_PROJECT]}, {"team": {"owner": "OWNER"}}))
    policy = PostgresAccess(database.server.url(name))
    assert await policy.role(nextauth_v4("owner"), "proj") is Role.OWNER
    assert await policy.role(nextauth_v4("owner"), "☃") is None
    assert await policy.role(nextauth_v4("owner"), "proj") is Role.OWNER
    await policy.close()
    await database.connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_role_that_is_not_known_may_only_look(policy: PostgresAccess, database: Database) -> None:
    """Roles that a later version of the app adds give no right to edit."""
    await database.connection.execute("ALTER TYPE \"Role\" ADD VALUE 'GUEST'")
    world = small_world()
    world.teams["team"]["editor"] = "GUEST"
    await database.show(world)
    assert await policy.role(nextauth_v4("editor"), TEAM_PROJECT) is Role.VIEWER


async def pids(database: Database) -> list[int]:
    """The database's processes that serve the server under test."""
    rows = await database.connection.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'synkora'")
    return [row["pid"] for row in rows]


async def waiting(database: Database) -> int:
    count = await database.connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")
    assert isinstance(count, int)
    return count


async def test_a_query_on_a_locked_table_times_out_and_leaves_nothing_behind(
    policy: PostgresAccess, database: Database
) -> None:
    """The query is cancelled in the database as well, and the connections stay open."""
    access = Access(policy)
    async with database.connection.transaction():
        await database.connection.execute('LOCK TABLE "Project" IN ACCESS EXCLUSIVE MODE')
        questions = (access.role(nextauth_v4(f"user{n}"), TEAM_PROJECT) for n in range(20))
        async with asyncio.timeout(5):
            failures = await asyncio.gather(*questions, return_exceptions=True)
        assert all(isinstance(failure, AccessUnavailable) for failure in failures), failures
        assert await database.clients() <= 5
        async with asyncio.timeout(PATIENCE):
            while await waiting(database):
                await asyncio.sleep(0.01)
        known = set(await pids(database))
    assert len(known) == 5
    assert await access.role(nextauth_v4("owner"), TEAM_PROJECT) is Role.OWNER
    assert set(await pids(database)) == known


async def test_a_silent_database_times_out() -> None:
    """Joins are refused after 3 s. Any number of joins makes few connections, and none remains."""
    async with listening(lambda reader, _: reader.read()) as listener:
        policy = PostgresAccess(f"postgresql://app:hunter2@127.0.0.1:{listener.port}/app?sslmode=disable")
        access = Access(policy)
        questions = (access.role(nextauth_v4(f"user{n}"), TEAM_PROJECT) for n in range(50))
        async with asyncio.timeout(5):
            failures = await asyncio.gather(*questions, return_exceptions=True)
        assert all(isinstance(failure, AccessUnavailable) for failure in failures), failures
        assert listener.most <= 5
        await until(lambda: listener.now == 0)
        await policy.close()


@pytest.mark.parametrize(
    "answer", [b"", b"N", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"E\0\0\0\x05\0", bytes(range(256))]
)
@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
async def test_an_invalid_database_is_unavailable(answer: bytes, sslmode: str) -> None:
    """The failure's message does not contain the password."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)

    async with listening(serve) as listener:
        policy = PostgresAccess(f"postgresql://app:hunter2@127.0.0.1:{listener.port}/app?sslmode={sslmode}")
        with pytest.raises(AccessUnavailable) as unavailable:
            await policy.role(nextauth_v4("owner"), TEAM_PROJECT)
        await policy.close()
    assert "hunter2" not in str(unavailable.value)
    assert unavailable.value.__cause__ is None


async def test_errors_do_not_contain_the_password(database: Database) -> None:
    url = database.server.url()
    password = quote(database.server.password, safe="")
    for bad, words in (
        (url.replace(password, "hunter2"), "password authentication failed"),
        (url + "?schema=nowhere", "nowhere.Project"),
        (url.replace("/postgres", "/nowhere"), "nowhere"),
        (url.replace("127.0.0.1", "nowhere.invalid"), "gaierror"),
    ):
        policy = PostgresAccess(bad)
        with pytest.raises(AccessUnavailable, match=words) as unavailable:
            await policy.role(nextauth_v4("owner"), TEAM_PROJECT)
        for secret in ("hunter2", password, database.server.password):
            assert secret not in str(unavailable.value)
        await policy.close()


async def test_tables_may_change_while_it_runs(policy: PostgresAccess, database: Database) -> None:
    """A migration that invalidates prepared statements causes no failure."""
    owner = nextauth_v4("owner")
    assert await policy.role(owner, TEAM_PROJECT) is Role.OWNER
    await database.connection.execute('ALTER TABLE "Project" ADD COLUMN "color" TEXT')
    assert await policy.role(owner, TEAM_PROJECT) is Role.OWNER
    await database.create()
    await database.show(small_world())
    assert await policy.role(owner, TEAM_PROJECT) is Role.OWNER


async def test_a_question_is_one_way_to_the_database_and_back(policy: PostgresAccess, database: Database) -> None:
    """With a prepared query, a question is one round trip."""
    owner = nextauth_v4("owner")
    for _ in range(3):
        await policy.role(owner, TEAM_PROJECT)
    last = await database.connection.fetchval("SELECT query FROM pg_stat_activity WHERE application_name = 'synkora'")
    assert "TeamMember" in str(last)


async def test_a_frozen_database_ends_in_time_and_recovers(policy: PostgresAccess, database: Database) -> None:
    """Neither queries nor cancel requests are answered: questions fail until the database continues."""
    access = Access(policy)
    assert await access.role(nextauth_v4("owner"), TEAM_PROJECT) is Role.OWNER
    frozen = [*await pids(database), database.server.pid]
    try:
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        questions = (access.role(nextauth_v4(f"user{n}"), TEAM_PROJECT) for n in range(10))
        failures = await asyncio.gather(*questions, return_exceptions=True)
    finally:
        for pid in reversed(frozen):
            os.kill(pid, signal.SIGCONT)
    # The policy's own message: they did not wait for the connection's end.
    assert [str(failure) for failure in failures] == ["the database did not answer within 2.5 s"] * 10
    assert await access.role(nextauth_v4("editor"), TEAM_PROJECT) is Role.EDITOR


async def test_closing_does_not_wait_for_a_database_that_does_not_answer(
    policy: PostgresAccess, database: Database
) -> None:
    async with database.connection.transaction():
        await database.connection.execute('LOCK TABLE "Project" IN ACCESS EXCLUSIVE MODE')
        question = asyncio.create_task(Access(policy).role(nextauth_v4("owner"), TEAM_PROJECT))
        async with asyncio.timeout(PATIENCE):
            while not await waiting(database):
                await asyncio.sleep(0.01)
            await policy.close()
            with pytest.raises(AccessUnavailable):
                await question
