"""A real database and a real web app, which all show the same small world when a test begins."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from tests.access.processes import App, Postgres
from tests.access.world import USERS, World, small_world

SCHEMA = (Path(__file__).parent / "schema.sql").read_text()


class Database:
    """A database of the server, with the app's tables in one of its schemas."""

    def __init__(self, server: Postgres, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.server = server
        self.connection = connection

    async def create(self, schema: str = "public") -> None:
        name = '"' + schema.replace('"', '""') + '"'
        await self.connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}")
        await self.connection.execute(f"SET search_path TO {name}; {SCHEMA}")

    async def show(self, world: World) -> None:
        run = self.connection
        async with run.transaction():
            await run.execute('TRUNCATE "User", "Session", "Team", "TeamMember", "Project"')
            await run.executemany('INSERT INTO "User" (id) VALUES ($1)', [(user,) for user in USERS])
            await run.executemany('INSERT INTO "Team" (id, name) VALUES ($1, $1)', [(team,) for team in world.teams])
            await run.executemany(
                'INSERT INTO "TeamMember" (id, "teamId", "userId", role) VALUES ($1 || $2, $1, $2, $3)',
                [(team, user, role) for team, roles in world.teams.items() for user, role in roles.items()],
            )
            await run.executemany(
                'INSERT INTO "Project" (id, name, "teamId", "createdById", "updatedAt") VALUES ($1, $1, $2, $3, now())',
                [(name, project.teamId, project.createdById) for name, project in world.projects.items()],
            )

    async def keep_session(self, key: str, user_id: str, *, seconds: float = 3600) -> None:
        """Store a session with this lifetime as the app's adapter does, in UTC and without a zone."""
        await self.connection.execute(
            'INSERT INTO "Session" (id, "sessionToken", "userId", expires) '
            "VALUES ($1, $1, $2, now() AT TIME ZONE 'UTC' + make_interval(secs => $3)) "
            'ON CONFLICT ("sessionToken") DO UPDATE SET expires = excluded.expires',
            key,
            user_id,
            seconds,
        )

    async def end_session(self, key: str) -> None:
        await self.connection.execute('DELETE FROM "Session" WHERE "sessionToken" = $1', key)

    async def clients(self) -> int:
        count = await self.connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'synkora'"
        )
        assert isinstance(count, int)
        return count


@asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to PostgreSQL. A failure ends it too: uvloop's loop does not close while one is open."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        connection.terminate()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    """The app's database, with the small world in it."""
    async with connected(postgres.url()) as connection:
        database = Database(postgres, connection)
        await database.create()
        await database.show(small_world())
        yield database


@pytest.fixture(scope="session")
def app_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The web app with NextAuth v4, for the whole run."""
    app = App(tmp_path_factory.mktemp("app"))
    try:
        app.start()
        yield app
    finally:
        app.stop()


@pytest.fixture
def app(app_process: App) -> App:
    app_process.show(small_world())
    return app_process
