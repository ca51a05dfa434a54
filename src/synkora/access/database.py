"""The app's database, which questions are asked of."""

import asyncio
from contextlib import suppress
from typing import Final

import asyncpg

from synkora.access.database_url import DatabaseUrl
from synkora.access.membership import PATIENCE
from synkora.collaboration.access import AccessUnavailable

# TimeoutError, which is an OSError too, has words of its own.
_FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_QUERIES: Final = 2  # that are asked: who may join, and whose session it is


class Database:
    """The database at the app's own `DATABASE_URL`.

    Raises `ValueError` for what is no such URL, in words that hold nothing of it. Connections are made when they are
    needed, never more than its `connection_limit`. `schema` is quoted, for queries.
    """

    def __init__(self, url: str) -> None:
        self._url = DatabaseUrl.parse(url)
        # Not by search_path, which PgBouncer does not hand on.
        self.schema = '"' + self._url.schema.replace('"', '""') + '"'
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._releases: set[asyncio.Task[None]] = set()
        self.is_closed = False

    async def ask(self, query: str, *values: str) -> asyncpg.Record | None:
        """The first row of an answer, if there is one. Raises `AccessUnavailable`."""
        if self.is_closed:
            raise AccessUnavailable("the server is stopping")
        try:
            return await self._fetch(query, values)
        except asyncpg.DataError:
            return None  # values of characters that the database's encoding lacks
        except TimeoutError:
            raise AccessUnavailable(f"the database did not answer within {PATIENCE} s") from None
        except _FAILURES as error:
            words = str(error).partition("\n")[0]
            raise AccessUnavailable(f"the database cannot be asked: {type(error).__name__}: {words}") from None

    async def close(self) -> None:
        """Close the connections. Nothing can be asked after that."""
        self.is_closed = True
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await self._pool.close()
        except _FAILURES:
            self._pool.terminate()

    async def _fetch(self, query: str, values: tuple[str, ...]) -> asyncpg.Record | None:
        if self._pool is None:
            # With no connection to be made at first this does not give way to another task.
            self._pool = await self._new_pool()
        pool = self._pool
        connection = await pool.acquire(timeout=PATIENCE)
        try:
            record = await connection.fetchrow(query, *values)
        except BaseException:
            # The database is told to give up, and the connection kept if it does; nobody need wait for that.
            release = asyncio.get_running_loop().create_task(_release(pool, connection))
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)
            raise
        await pool.release(connection)
        return record

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
            statement_cache_size=0 if url.pgbouncer else _QUERIES,
        )


async def _release(
    pool: "asyncpg.pool.Pool[asyncpg.Record]", connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
) -> None:
    # A connection that cannot be released in time ends, and the next question gets a new one.
    with suppress(*_FAILURES):
        await pool.release(connection, timeout=PATIENCE)


async def _nothing_to_reset(_: object) -> None:
    """The query leaves nothing behind in a connection, and so needs no second way to the database and back."""
