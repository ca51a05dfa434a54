"""Publishes what the app has written into the table `synkora_outbox` of its database."""

import asyncio
from hashlib import blake2b
from types import TracebackType
from typing import Final, Self

import asyncpg
import structlog

from synkora.access.database import connection_options
from synkora.access.database_url import DatabaseUrl
from synkora.collaboration.publishing import InvalidPublication, Publication, Publisher
from synkora.recovery.ports import LogUnavailable

CHANNEL: Final = "synkora_outbox"
POLL: Final = 1.0  # seconds, in case a notification was missed
_AT_ONCE: Final = 100  # rows
_MOST_BYTES: Final = 2_000_000  # of the rows that are read at once; the last one may exceed it
_LONGEST_NAME: Final = 300  # characters of a project or an event: a longer one is refused
_ROW_TIME: Final = 10  # seconds to read one row by itself
#: What PostgreSQL raises when it cannot write a payload as text, such as a short number with very many zeros.
_UNREADABLE: Final = (
    asyncpg.DataError,
    asyncpg.InternalServerError,
    asyncpg.OutOfMemoryError,
    asyncpg.ProgramLimitExceededError,
    TimeoutError,
)
_FIRST_PAUSE: Final = 0.2  # seconds before another attempt, doubled each time
_LONGEST_PAUSE: Final = 5.0
_LONGEST_REASON: Final = 500  # characters
#: A reader that stands still loses its connection, and with it the lock, so that another instance can read.
_IDLE: Final = "10s"

log = structlog.get_logger(__name__)


class DatabaseOutbox:
    """The outbox in the database at `url`, within an `async with` block.

    One instance reads at a time: it has an advisory lock, and another instance takes over when the connection ends. A
    row is published once, also if its reader ends before the row is deleted: the row is the name of the event. A row
    that cannot be published, or has a payload of more than `largest` bytes, gets a `problem`, and the others go on.
    Raises `ValueError` for an invalid URL.
    """

    def __init__(self, url: str, publisher: Publisher, *, largest: int, poll: float = POLL) -> None:
        self.published = 0  # rows, also those that had been published before
        self.set_aside = 0  # rows
        self.problem: str | None = None
        self._url = DatabaseUrl.parse(url)
        self._table = f'{self._url.quoted_schema}."synkora_outbox"'
        self._publisher = publisher
        self._largest = largest
        self._one_by_one = 0  # rows to read by themselves, after a failure to read several
        self._poll = poll
        self._written = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reading = asyncio.get_running_loop().create_task(self._read_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))

    async def _read_on(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._read()
            except Exception as error:  # noqa: BLE001  # it is logged; a table of another form may raise anything
                pause = _FIRST_PAUSE if self.problem is None else min(2 * pause, _LONGEST_PAUSE)
                self._report(self._words(error))
            await asyncio.sleep(pause)

    def _words(self, error: Exception) -> str:
        if isinstance(error, asyncpg.UndefinedTableError):
            return f"there is no table {self._table}: run deploy/postgres/outbox.sql in the app's database"
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"

    def _report(self, problem: str | None) -> None:
        if problem is not None and self.problem is None:
            log.warning("outbox_unavailable", problem=problem)
        elif problem is None and self.problem is not None:
            log.info("outbox_available")
        self.problem = problem

    async def _read(self) -> None:
        """Connect, wait for the lock, and publish rows until the connection ends. Raises whatever asyncpg raises."""
        connection = await asyncpg.connect(**connection_options(self._url))
        try:
            try:
                await connection.execute(f"SET idle_session_timeout = '{_IDLE}'")
            except asyncpg.UndefinedObjectError:
                pass  # before PostgreSQL 14
            await connection.add_listener(CHANNEL, lambda *_: self._written.set())
            lock = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
            while not await connection.fetchval(lock, self._table):
                self._report(None)
                await asyncio.sleep(self._poll)
            while True:
                self._written.clear()
                has_more = await self._publish_some(connection)
                self._report(None)
                if not has_more:
                    await self._wait()
        finally:
            connection.terminate()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll):
                await self._written.wait()
        except TimeoutError:
            pass

    async def _publish_some(self, connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
        """Publish the next rows; return whether there are more."""
        rows = await self._next_rows(connection)
        done: list[int] = []
        is_reachable = True
        for row in rows:
            try:
                publication = self._prepared(row)
                await self._publisher.publish(row["project"], publication, self._name(row))
            except InvalidPublication as error:
                await self._set_aside(connection, row, str(error))
            except LogUnavailable:
                is_reachable = False  # the log has reported that Redis is away
                break
            else:
                done.append(row["id"])
            await asyncio.sleep(0)  # a turn of the event loop for each row, which may have thousands of readers
        if done:
            await connection.execute(f"DELETE FROM {self._table} WHERE id = ANY($1)", done)  # noqa: S608  # as above
            self.published += len(done)
        return is_reachable and (bool(rows) or self._one_by_one > 0)

    async def _next_rows(self, connection: "asyncpg.Connection[asyncpg.Record]") -> "list[asyncpg.Record]":
        """Return the next rows. A row that the database cannot write as text is set aside."""
        if not self._one_by_one:
            try:
                return await self._fetch(connection, _AT_ONCE)
            except _UNREADABLE:
                self._one_by_one = _AT_ONCE
        first = await connection.fetchrow(
            f"SELECT id, left(project, {_LONGEST_NAME}) AS project FROM {self._table} "  # noqa: S608  # the schema is quoted
            "WHERE problem IS NULL ORDER BY id LIMIT 1"
        )
        self._one_by_one -= 1
        try:
            return await self._fetch(connection, 1, timeout=_ROW_TIME)
        except _UNREADABLE as error:
            if first is None:
                raise
            await self._set_aside(connection, first, f"payload: it cannot be read: {type(error).__name__}: {error}")
            return []

    async def _fetch(
        self, connection: "asyncpg.Connection[asyncpg.Record]", most: int, timeout: float | None = None
    ) -> "list[asyncpg.Record]":
        found = (
            f"SELECT id, left(project, {_LONGEST_NAME}) AS project, left(event, {_LONGEST_NAME}) AS event, "  # noqa: S608  # as above
            f"left(payload::text, {self._largest + 1}) AS payload, created::text AS created "
            f"FROM {self._table} WHERE problem IS NULL ORDER BY id LIMIT {most}"
        )
        size = "coalesce(octet_length(payload), 0)"
        summed = f"SELECT *, sum({size}) OVER (ORDER BY id) - {size} AS before FROM ({found}) AS found"  # noqa: S608  # as above
        query = f"SELECT * FROM ({summed}) AS summed WHERE before < {_MOST_BYTES} ORDER BY id"  # noqa: S608  # as above
        return await connection.fetch(query, timeout=timeout)

    def _prepared(self, row: asyncpg.Record) -> Publication:
        """Return a row's event. Raises `InvalidPublication`."""
        for column in ("project", "event", "payload"):
            if row[column] is None:
                raise InvalidPublication(f"{column}: it is null")
        payload = row["payload"].encode()
        if len(payload) > self._largest:
            raise InvalidPublication(f"payload: it has more than {self._largest} bytes (WS_MAX_PAYLOAD)")
        return self._publisher.prepare(row["project"], row["event"], payload)

    def _name(self, row: asyncpg.Record) -> str:
        """Return a short name of a row. Ids begin again in a table that was created again."""
        text = f"outbox\0{self._url.database}\0{self._table}\0{row['id']}\0{row['created']}"
        return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()

    async def _set_aside(
        self, connection: "asyncpg.Connection[asyncpg.Record]", row: asyncpg.Record, problem: str
    ) -> None:
        log.warning("outbox_row_set_aside", row=row["id"], projectId=row["project"], problem=problem)
        query = f"UPDATE {self._table} SET problem = $1 WHERE id = $2"  # noqa: S608  # as above
        await connection.execute(query, problem[:_LONGEST_REASON], row["id"])
        self.set_aside += 1
