"""The table `synkora_outbox` in the app's database: reads its rows, deletes them, and sets invalid ones aside."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Final, NamedTuple, Self

import asyncpg

from synkora.access.database import connection_options
from synkora.access.database_url import DatabaseUrl
from synkora.tracing import LENGTH

CHANNEL: Final = "synkora_outbox"
AT_ONCE: Final = 100  # rows
MOST_COUNTED: Final = 10_000  # rows
_MOST_BYTES: Final = 2_000_000  # of the rows that are read at once; the last one may exceed it
_LONGEST_NAME: Final = 300  # characters of a project or an event: a longer one is refused
_LONGEST_REASON: Final = 500  # characters
_ROW_TIME: Final = 10  # seconds to read one row by itself
#: A reader that stands still loses its connection, and with it the lock, so that another instance can read: when it has
#: asked nothing, or taken nothing of an answer, for this time.
_STANDSTILL: Final = "4s"
#: What PostgreSQL raises when it cannot write a payload as text, such as a short number with very many zeros.
_UNREADABLE: Final = (
    asyncpg.DataError,
    asyncpg.InternalServerError,
    asyncpg.OutOfMemoryError,
    asyncpg.ProgramLimitExceededError,
    TimeoutError,
)
_HAS_TRACEPARENT: Final = (
    "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'traceparent' "
    "AND NOT attisdropped)"
)


def table_name(url: DatabaseUrl) -> str:
    """Return the quoted name, for use in queries."""
    return f'{url.quoted_schema}."synkora_outbox"'


class UnreadableRow(Exception):
    """The database cannot write the next row as text; `row` has its id and its project."""

    def __init__(self, row: asyncpg.Record, error: Exception) -> None:
        super().__init__(f"payload: it cannot be read: {type(error).__name__}: {error}")
        self.row = row


class WaitingRows(NamedTuple):
    """How many rows wait, of which no more than `MOST_COUNTED` are counted, and the age of the oldest in seconds."""

    rows: int
    oldest_age: float


class OutboxTable:
    """The table over one connection. Payloads are read up to a little more than `largest` bytes.

    The methods raise whatever asyncpg raises.
    """

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", url: DatabaseUrl, largest: int) -> None:
        self.name = table_name(url)
        self._connection = connection
        self._database = url.database
        self._largest = largest
        self._one_by_one = 0  # rows to read by themselves, after a failure to read several
        self._traceparent = "NULL::text"

    @classmethod
    async def connect(cls, url: DatabaseUrl, largest: int, on_written: Callable[[], None]) -> Self:
        """Connect, and let `on_written` be called at the commit of new rows."""
        connection = await asyncpg.connect(**connection_options(url))
        try:
            for setting in ("idle_session_timeout", "tcp_user_timeout"):
                with suppress(asyncpg.UndefinedObjectError):  # PostgreSQL has the first one from version 14 on
                    await connection.execute(f"SET {setting} = '{_STANDSTILL}'")
            await connection.add_listener(CHANNEL, lambda *_: on_written())
        except BaseException:
            connection.terminate()
            raise
        return cls(connection, url, largest)

    @property
    def is_connected(self) -> bool:
        return not self._connection.is_closed()

    def disconnect(self) -> None:
        self._connection.terminate()

    async def lock(self) -> bool:
        """Try to become the only reader; return whether it is so. The lock ends with the connection."""
        query = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
        return bool(await self._connection.fetchval(query, self.name))

    async def read_traces(self) -> None:
        """Read the column `traceparent` of each row too, if the table has it."""
        if await self._connection.fetchval(_HAS_TRACEPARENT, self.name):
            self._traceparent = f"left(traceparent::text, {LENGTH + 1})"

    async def next_rows(self) -> Sequence[asyncpg.Record]:
        """Return rows in the order of their ids; none if none wait. Raises `UnreadableRow`."""
        if not self._one_by_one:
            try:
                return await self._fetch(AT_ONCE)
            except _UNREADABLE:
                self._one_by_one = AT_ONCE
        self._one_by_one -= 1
        first = await self._connection.fetchrow(
            f"SELECT id, left(project, {_LONGEST_NAME}) AS project FROM {self.name} "  # noqa: S608  # the schema is quoted
            "WHERE problem IS NULL ORDER BY id LIMIT 1"
        )
        if first is None:
            self._one_by_one = 0
            return []
        try:
            return await self._fetch(1, timeout=_ROW_TIME)
        except _UNREADABLE as error:
            raise UnreadableRow(first, error) from error

    async def _fetch(self, most: int, timeout: float | None = None) -> "list[asyncpg.Record]":
        found = (
            f"SELECT id, left(project, {_LONGEST_NAME}) AS project, left(event, {_LONGEST_NAME}) AS event, "  # noqa: S608  # as above
            f"left(payload::text, {self._largest + 1}) AS payload, created::text AS created, "
            f"{self._traceparent} AS traceparent "
            f"FROM {self.name} WHERE problem IS NULL ORDER BY id LIMIT {most}"
        )
        size = "coalesce(octet_length(payload), 0)"
        summed = f"SELECT *, sum({size}) OVER (ORDER BY id) - {size} AS before FROM ({found}) AS found"  # noqa: S608  # as above
        query = f"SELECT * FROM ({summed}) AS summed WHERE before < {_MOST_BYTES} ORDER BY id"  # noqa: S608  # as above
        return await self._connection.fetch(query, timeout=timeout)

    async def delete(self, ids: Sequence[int]) -> None:
        await self._connection.execute(f"DELETE FROM {self.name} WHERE id = ANY($1)", ids)  # noqa: S608  # as above

    async def set_aside(self, row: asyncpg.Record, problem: str) -> None:
        query = f"UPDATE {self.name} SET problem = $1 WHERE id = $2"  # noqa: S608  # as above
        await self._connection.execute(query, problem[:_LONGEST_REASON], row["id"])

    async def waiting(self) -> WaitingRows:
        earliest = f"SELECT created FROM {self.name} WHERE problem IS NULL ORDER BY id LIMIT {MOST_COUNTED}"  # noqa: S608  # as above
        age = "greatest(coalesce(extract(epoch FROM clock_timestamp() - min(created)), 0), 0)::float8"
        row = await self._connection.fetchrow(f"SELECT count(*), {age} FROM ({earliest}) AS earliest")  # noqa: S608  # as above
        return WaitingRows(*row)  # type: ignore[misc]  # one row

    def name_of(self, row: asyncpg.Record) -> str:
        """Return a short name of a row. Ids begin again in a table that was created again."""
        text = f"outbox\0{self._database}\0{self.name}\0{row['id']}\0{row['created']}"
        return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
