"""Publishes what the app has written into the table `synkora_outbox` of its database."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, Self

import asyncpg
import structlog

from synkora.access.database_url import DatabaseUrl
from synkora.app.outbox_table import OutboxTable, UnreadableRow, table_name
from synkora.collaboration.publishing import InvalidPublication, Part, Publication, Publisher
from synkora.recovery.ports import LogUnavailable
from synkora.tracing import NO_TRACER, Tracer

POLL: Final = 1.0  # seconds, in case a notification was missed
#: Together shorter than the standstill after which the database gives the lock to another reader.
_ROWS_TIME: Final = 1.0  # seconds for the rows that were read at once
_PUBLISH_TIME: Final = 2.0  # seconds for one event
_LAST_DELETION: Final = 1.0  # seconds, at the end: a row that stays is known by its name
_MEASURED_EVERY: Final = 1.0  # seconds
_FIRST_PAUSE: Final = 0.2  # seconds before another attempt, doubled each time
_LONGEST_PAUSE: Final = 5.0
TOO_LARGE: Final = "too large"
UNREADABLE: Final = "unreadable"
#: Why rows are set aside.
REASONS: Final[tuple[str, ...]] = (*Part, TOO_LARGE, UNREADABLE)
_COLUMNS: Final = {"project": Part.PROJECT, "event": Part.EVENT, "payload": Part.DATA}

log = structlog.get_logger(__name__)


class _TooLarge(Exception): ...


class DatabaseOutbox:
    """The outbox in the database at `url`, within an `async with` block.

    One instance reads at a time: it has an advisory lock, and another instance takes over when the connection ends. A
    row is published once, also if its reader ends before the row is deleted: the row is the name of the event. A row
    that cannot be published, or has a payload of more than `largest` bytes, gets a `problem`, and the others go on.
    Raises `ValueError` for an invalid URL.
    """

    def __init__(
        self, url: str, publisher: Publisher, *, largest: int, poll: float = POLL, tracer: Tracer = NO_TRACER
    ) -> None:
        self.published = 0  # rows, also those that had been published before
        self.set_aside = dict.fromkeys(REASONS, 0)  # rows
        self.failures = 0  # of the database
        self.is_reader = False
        self.waiting = 0  # rows, if this instance is the reader
        self.problem: str | None = None
        self._oldest: float | None = None  # the moment from which the oldest row has waited
        self._measured = 0.0
        self._url = DatabaseUrl.parse(url)
        self._publisher = publisher
        self._largest = largest
        self._poll = poll
        self._tracer = tracer
        self._written = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @property
    def oldest_age(self) -> float:
        """For how many seconds the oldest row has waited; 0 without one."""
        return 0.0 if self._oldest is None else monotonic() - self._oldest

    async def __aenter__(self) -> Self:
        self._reading = asyncio.get_running_loop().create_task(self._read_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))

    async def _read_on(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                await self._read()
            except Exception as error:  # noqa: BLE001  # it is logged; a table of another form may raise anything
                self.failures += 1
                pause = _FIRST_PAUSE if self.problem is None else min(2 * pause, _LONGEST_PAUSE)
                self._report(self._words(error))
            await asyncio.sleep(pause)

    def _words(self, error: Exception) -> str:
        if isinstance(error, asyncpg.UndefinedTableError):
            return f"there is no table {table_name(self._url)}: run deploy/postgres/outbox.sql in the app's database"
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"

    def _report(self, problem: str | None) -> None:
        if problem is not None and self.problem is None:
            log.warning("outbox_unavailable", problem=problem)
        elif problem is None and self.problem is not None:
            log.info("outbox_available")
        self.problem = problem

    async def _read(self) -> None:
        """Connect, wait for the lock, and publish rows until the connection ends. Raises whatever asyncpg raises."""
        table = await OutboxTable.connect(self._url, self._largest, self._written.set)
        try:
            while not await table.lock():
                self._report(None)
                await asyncio.sleep(self._poll)
            self.is_reader = True
            if self._tracer is not NO_TRACER:
                await table.read_traces()
            while True:
                self._written.clear()
                has_more = await self._publish_some(table)
                self._report(None)
                if not has_more:
                    await self._wait()
        finally:
            self.is_reader = False
            self._show(0)
            table.disconnect()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll):
                await self._written.wait()
        except TimeoutError:
            pass

    async def _publish_some(self, table: OutboxTable) -> bool:
        """Publish the next rows; return whether there may be more."""
        try:
            rows = await table.next_rows()
        except UnreadableRow as error:
            await self._set_aside(table, error.row, UNREADABLE, str(error))
            return True
        if not rows:
            self._show(0)
            return False
        done: list[int] = []
        try:
            is_reachable = await self._publish(table, rows, done)
        except BaseException:  # the server stops, or the connection is lost
            with suppress(Exception):
                async with asyncio.timeout(_LAST_DELETION):
                    await self._delete(table, done)
            raise
        await self._delete(table, done)
        if monotonic() >= self._measured + _MEASURED_EVERY:
            self._show(*await table.waiting())
        return is_reachable

    async def _delete(self, table: OutboxTable, done: Sequence[int]) -> None:
        if done:
            await table.delete(done)
            self.published += len(done)

    async def _publish(self, table: OutboxTable, rows: Sequence[asyncpg.Record], done: list[int]) -> bool:
        """Publish as many rows as there is time for, and add their ids to `done`; return whether Redis takes them."""
        until = monotonic() + _ROWS_TIME
        for row in rows:
            if monotonic() > until or not table.is_connected:
                break  # another instance may have taken over
            try:
                about = (row["event"] or "", row["project"] or "", row["traceparent"] or "")
                with self._tracer.publish("outbox", *about) as trace:
                    publication = self._prepared(row)
                    async with asyncio.timeout(_PUBLISH_TIME):
                        await self._publisher.publish(row["project"], publication, table.name_of(row), trace)
            except InvalidPublication as error:
                await self._set_aside(table, row, error.part, str(error))
            except _TooLarge as error:
                await self._set_aside(table, row, TOO_LARGE, str(error))
            except (LogUnavailable, TimeoutError):
                return False  # the log has reported that Redis is away
            else:
                done.append(row["id"])
            await asyncio.sleep(0)  # a turn of the event loop for each row, which may have thousands of readers
        return True

    def _prepared(self, row: asyncpg.Record) -> Publication:
        """Return a row's event. Raises `InvalidPublication` and `_TooLarge`."""
        for column, part in _COLUMNS.items():
            if row[column] is None:
                raise InvalidPublication(part, f"{column}: it is null")
        payload = row["payload"].encode()
        if len(payload) > self._largest:
            raise _TooLarge(f"payload: it has more than {self._largest} bytes (WS_MAX_PAYLOAD)")
        return self._publisher.prepare(row["project"], row["event"], payload)

    async def _set_aside(self, table: OutboxTable, row: asyncpg.Record, reason: str, problem: str) -> None:
        log.warning("outbox_row_set_aside", row=row["id"], projectId=row["project"], problem=problem)
        await table.set_aside(row, problem)
        self.set_aside[reason] += 1

    def _show(self, waiting: int, oldest_age: float = 0.0) -> None:
        self._measured = monotonic()
        self.waiting = waiting
        self._oldest = self._measured - oldest_age if waiting else None
