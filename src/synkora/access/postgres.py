"""Who may join which project, asked of the app's database."""

import asyncio
from contextlib import suppress
from typing import Final

import asyncpg

from synkora.access.database_url import DatabaseUrl
from synkora.access.membership import PATIENCE, may_be_project_id, member_role
from synkora.collaboration.access import AccessUnavailable, Role
from synkora.identity.handshake import SignedIn

# TimeoutError, which is an OSError too, has words of its own.
_FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_QUERY: Final = """
    SELECT CASE WHEN project."teamId" IS NOT NULL THEN member.role::text
                WHEN project."createdById" = $2::text THEN 'OWNER' END
    FROM {schema}."Project" AS project
    LEFT JOIN {schema}."TeamMember" AS member
           ON member."teamId" = project."teamId" AND member."userId" = $2::text
    WHERE project.id = $1::text
"""


class PostgresAccess:
    """Asks the tables of the app: `"Project"` and `"TeamMember"`, as Prisma names them.

    `database_url` is the app's own `DATABASE_URL`. Raises `ValueError` for what is none, in words that hold nothing of
    it. Connections are made when they are needed, never more than its `connection_limit`.
    """

    def __init__(self, database_url: str) -> None:
        self._url = DatabaseUrl.parse(database_url)
        # Not by search_path, which PgBouncer does not hand on.
        schema = '"' + self._url.schema.replace('"', '""') + '"'
        self._query = _QUERY.format(schema=schema)
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._releases: set[asyncio.Task[None]] = set()
        self._closed = False

    async def role(self, signed_in: SignedIn, project_id: str) -> Role | None:
        """The role of somebody in a project, None where they have no access. Raises `AccessUnavailable`."""
        if self._closed:
            raise AccessUnavailable("the server is stopping")
        if not may_be_project_id(project_id):
            return None
        try:
            name = await self._ask(project_id, signed_in.user.id)
        except asyncpg.DataError:
            return None  # an id of characters that the database's encoding lacks
        except TimeoutError:
            raise AccessUnavailable(f"the database did not answer within {PATIENCE} s") from None
        except _FAILURES as error:
            words = str(error).partition("\n")[0]
            raise AccessUnavailable(f"the database cannot be asked: {type(error).__name__}: {words}") from None
        return None if name is None else member_role(name)

    async def close(self) -> None:
        """Let go of connections; from then on nothing can be asked."""
        self._closed = True
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._pool.close()
        except _FAILURES:
            self._pool.terminate()

    async def _ask(self, project_id: str, user_id: str) -> str | None:
        if self._pool is None:
            # With no connection to be made at first this does not give way to another task.
            self._pool = await self._new_pool()
        pool = self._pool
        connection = await pool.acquire(timeout=PATIENCE)
        try:
            name: str | None = await connection.fetchval(self._query, project_id, user_id)
        except BaseException:
            # The database is told to give up, and the connection kept if it does; nobody need wait for that.
            release = asyncio.get_running_loop().create_task(_release(pool, connection))
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)
            raise
        await pool.release(connection)
        return name

    def _new_pool(self) -> "asyncpg.pool.Pool[asyncpg.Record]":
        url = self._url
        return asyncpg.create_pool(
            host=url.host,
            port=url.port,
            user=url.user,
            password=url.password,
            database=url.database,
            ssl=url.ssl,
            min_size=0,
            max_size=url.connections,
            timeout=PATIENCE,
            command_timeout=PATIENCE,
            reset=_nothing_to_reset,
            # Further settings would be refused by poolers between here and the database.
            server_settings={"application_name": "synkora"},
            statement_cache_size=0 if url.pgbouncer else 1,
        )


async def _release(
    pool: "asyncpg.pool.Pool[asyncpg.Record]", connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
) -> None:
    # A connection that cannot be released in time ends, and the next question gets a new one.
    with suppress(*_FAILURES):
        await pool.release(connection, timeout=PATIENCE)


async def _nothing_to_reset(_: object) -> None:
    """The query leaves nothing behind in a connection, and so needs no second way to the database and back."""
