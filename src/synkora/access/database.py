"""The app's database: a small pool of connections for queries."""

import asyncio
from contextlib import suppress
from typing import Any, Final

import asyncpg

from synkora.access.database_url import DatabaseUrl
from synkora.access.roles import QUERY_TIMEOUT
from synkora.collaboration.access import AccessUnavailable

#: What asyncpg raises if a database is unavailable. TimeoutError is an OSError too, but has its own message.
FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_QUERIES: Final = 2  # prepared per connection: project access and sessions


class Database:
    """The database at the app's own `DATABASE_URL`.

    Raises `ValueError` for an invalid URL, with a message that contains no part of the URL. Connections are opened on
    demand, at most `connection_limit` of them. `schema` is quoted, for use in queries.
    """

    def __init__(self, url: str) -> None:
        self._url = DatabaseUrl.parse(url)
        # In queries instead of search_path, which PgBouncer does not pass on.
        self.schema = self._url.quoted_schema
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._releases: set[asyncio.Task[None]] = set()
        self.is_closed = False

    async def ask(self, query: str, *values: str) -> asyncpg.Record | None:
        """Return the first row of the result, or None. Raises `AccessUnavailable`."""
        if self.is_closed:
            raise AccessUnavailable("the server is stopping")
        try:
            return await self._fetch(query, values)
        except asyncpg.DataError:
            return None  # a value has characters that the database's encoding lacks
        except TimeoutError:
            raise AccessUnavailable(f"the database did not answer within {QUERY_TIMEOUT} s") from None
        except FAILURES as error:
            words = str(error).partition("\n")[0]
            raise AccessUnavailable(f"the database is unavailable: {type(error).__name__}: {words}") from None

    async def close(self) -> None:
        """Close the connections. Later queries raise `AccessUnavailable`."""
        self.is_closed = True
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(QUERY_TIMEOUT):
                await self._pool.close()
        except FAILURES:
            self._pool.terminate()

    async def _fetch(self, query: str, values: tuple[str, ...]) -> asyncpg.Record | None:
        if self._pool is None:
            # `min_size` is 0, so this await opens no connection and does not yield to another task.
            self._pool = await self._new_pool()
        pool = self._pool
        connection = await pool.acquire(timeout=QUERY_TIMEOUT)
        try:
            record = await connection.fetchrow(query, *values)
        except BaseException:
            # Cancel the query on the server and keep the connection if that works, without delay for the caller.
            release = asyncio.get_running_loop().create_task(_release(pool, connection))
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)
            raise
        await pool.release(connection)
        return record

    def _new_pool(self) -> "asyncpg.pool.Pool[asyncpg.Record]":
        url = self._url
        return asyncpg.create_pool(
            **connection_options(url),
            min_size=0,
            max_size=url.connections,
            reset=_nothing_to_reset,
            statement_cache_size=0 if url.pgbouncer else _QUERIES,
        )


def connection_options(url: DatabaseUrl) -> dict[str, Any]:
    """What asyncpg connects with, and asks with, as the server does."""
    return {
        "host": url.host,
        "port": url.port,
        "user": url.user,
        "password": url.password,
        "database": url.database,
        "ssl": url.ssl,
        "timeout": QUERY_TIMEOUT,
        "command_timeout": QUERY_TIMEOUT,
        # Poolers in front of the database refuse further settings.
        "server_settings": {"application_name": "synkora"},
    }


async def _release(
    pool: "asyncpg.pool.Pool[asyncpg.Record]", connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
) -> None:
    # A connection that cannot be released in time is closed; the next query opens a new connection.
    with suppress(*FAILURES):
        await pool.release(connection, timeout=QUERY_TIMEOUT)


async def _nothing_to_reset(_: object) -> None:
    """The queries change nothing in a connection, so no reset, and no second round trip, is needed."""
