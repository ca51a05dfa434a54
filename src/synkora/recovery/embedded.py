"""Recovery that outlives the process: the memory's logs and sessions, written to files of one folder.

Each change is in the tail before it has an effect, and soon after in the database. A killed server loses nothing, as
long as the machine goes on.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from pathlib import Path
from time import time
from typing import Final

import msgspec

from synkora.recovery.change_writer import ChangeWriter, LogChanges, SessionChanges
from synkora.recovery.changes import Batch, Change, EventAdded, SessionSaved, decode_change
from synkora.recovery.database import Contents, Database, OtherVersion
from synkora.recovery.memory import Clock, MemoryLog, MemorySessions, MemoryStore
from synkora.recovery.ports import Deliver
from synkora.recovery.settings import RecoverySettings
from synkora.recovery.tail import Tail, TailGap

INTERVAL: Final = 0.05  # seconds between two batches
_DATABASE: Final = "recovery.db"
_TAIL: Final = "recovery.tail"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_log: Final = logging.getLogger(__name__)


class EmbeddedStore(MemoryStore):
    """A `RecoveryStore` with its files in a folder, which it makes where there is none. One process uses a folder.

    A file that cannot be read is set aside. Where the files cannot be used, the store says so in the log and continues
    in memory: `is_persistent` is false then.
    """

    def __init__(self, folder: Path, settings: RecoverySettings | None = None, clock: Clock = time) -> None:
        super().__init__(settings, clock)
        self._folder = folder
        self._path = folder / _DATABASE
        self._database: Database | None = None
        self._writer: ChangeWriter | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._writing: asyncio.Task[None] | None = None
        self._is_closing = False

    @property
    def is_persistent(self) -> bool:
        """Whether changes are written."""
        return self._writer is not None

    async def start(self) -> None:
        """Open the files, and load what a former process has left."""
        self._executor = ThreadPoolExecutor(1, "synkora-recovery")
        try:
            await self._in_thread(self._open)
        except (OSError, sqlite3.Error) as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY":
                _log.error("Another process uses %s, so that restarts break sessions", self._path)
            else:
                _log.error("%s cannot be used, so that restarts break sessions: %s", self._path, error)
                self._remove_files()
            return
        self._writing = asyncio.create_task(self._write_on())

    async def close(self) -> None:
        """Write what is left to be written."""
        self._is_closing = True
        if self._writer is not None and self._writing is not None:
            self._writer.changed.set()
            await self._writing
        if self._database is not None:
            await self._in_thread(self._database.end)
        self._detach()
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    async def _in_thread(self, function: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, function)

    # Loading

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its other files the mode of this one.
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(file, 0o600)
        os.close(file)
        try:
            self._load()
        except sqlite3.OperationalError:
            raise
        except (sqlite3.DatabaseError, msgspec.MsgspecError, OtherVersion) as error:
            aside = self._path.with_suffix(".unreadable")
            _log.error("%s cannot be read: it is now %s, and is begun again: %s", self._path, aside.name, error)
            self._path.rename(aside)
            for rest in self._folder.glob(f"{_DATABASE}-*"):
                rest.unlink()
            self._open()

    def _load(self) -> None:
        database = Database(self._path)
        try:
            tail = Tail(self._folder / _TAIL)
            changes = _changes(database, tail)
            contents = database.load()
            writer = ChangeWriter(tail, database.sequence + len(changes))
            self._database, self._writer = database, writer
            self._fill(contents)
            for change in changes:
                self._apply(change, writer.batch)
            for log in self._logs.values():
                log.expire()
            database.write(writer.take())
            tail.clear()
            database.begin(_boot())
        except BaseException:
            self._detach()
            database.close()
            raise

    def _fill(self, contents: Contents) -> None:
        """Fill logs and sessions; what has expired meanwhile goes to the first batch."""
        floors: dict[str, list[tuple[int, int]]] = {}
        for namespace, bucket, floor in contents.floors:
            floors.setdefault(namespace, []).append((bucket, floor))
        for namespace in {*self._logs, *contents.numbers}:
            log = self._log_of(namespace)
            self._attach_log(namespace, log)
            log.restore(floors.get(namespace, ()))
        for added in contents.events:
            self._log_of(added.namespace).keep(added.event, added.time)
        for namespace, number in contents.numbers.items():
            self._log_of(namespace).skip_to(number)
        for namespace, sessions in self._sessions.items():
            self._attach_sessions(namespace, sessions)
        for saved in sorted(contents.sessions, key=lambda saved: saved.session.lost_at or inf):
            self._restore(saved)

    def _apply(self, change: Change, batch: Batch) -> None:
        """Do what a former process has done, for the database too."""
        if isinstance(change, EventAdded):
            batch.add(change)
            self._log_of(change.namespace).keep(change.event, change.time)
        elif isinstance(change, SessionSaved):
            batch.sessions[change.namespace, change.session.pid] = change.session
            self._restore(change)
        else:
            batch.sessions[change.namespace, change.pid] = None
            self.sessions(change.namespace).remove(change.pid)

    def _restore(self, saved: SessionSaved) -> None:
        """Keep a session: the connection of one that was connected is lost now."""
        session = saved.session
        if session.lost_at is None:
            session = msgspec.structs.replace(session, lost_at=self._clock())
        self.sessions(saved.namespace).restore(session)

    def _log_of(self, namespace: str) -> MemoryLog:
        return self._logs.get(namespace) or self.log(namespace, _deliver_to_nobody)

    def _new_log(self, namespace: str, deliver: Deliver) -> MemoryLog:
        log = super()._new_log(namespace, deliver)
        self._attach_log(namespace, log)
        return log

    def _new_sessions(self, namespace: str) -> MemorySessions:
        sessions = super()._new_sessions(namespace)
        self._attach_sessions(namespace, sessions)
        return sessions

    def _attach_log(self, namespace: str, log: MemoryLog) -> None:
        if self._database is not None and self._writer is not None:
            log.epoch = self._database.epoch
            log.journal = LogChanges(self._writer, namespace)

    def _attach_sessions(self, namespace: str, sessions: MemorySessions) -> None:
        if self._writer is not None:
            sessions.journal = SessionChanges(self._writer, namespace)

    # Writing

    async def _write_on(self) -> None:
        while self._writer is not None and self._database is not None:
            await self._writer.changed.wait()
            if not self._is_closing:
                await asyncio.sleep(INTERVAL)
            try:
                await self._in_thread(partial(self._database.write, self._writer.take()))
            except sqlite3.Error as error:
                await self._give_up(self._database, error)
                return
            if self._is_closing:
                return

    async def _give_up(self, database: Database, error: Exception) -> None:
        """Continue in memory."""
        _log.error("%s cannot be written, so that restarts break sessions: %s", self._path, error)
        self._detach()
        await self._in_thread(database.close)
        self._remove_files()

    def _remove_files(self) -> None:
        """Remove the files, since a later process would take them for all that there was."""
        for file in (*self._folder.glob(f"{_DATABASE}*"), *self._folder.glob(_TAIL)):
            try:
                file.unlink()
            except OSError as error:
                _log.error("%s has to be removed before the next start: %s", file, error)

    def _detach(self) -> None:
        """Write no more."""
        self._database = self._writer = None
        for log in self._logs.values():
            log.journal = None
        for sessions in self._sessions.values():
            sessions.journal = None


def _changes(database: Database, tail: Tail) -> list[Change]:
    """Return what the database does not have. Where something is missing, all events are forgotten."""
    if database.is_closed:
        return []
    try:
        if database.boot != _boot():
            raise TailGap("the machine was started again")
        return [decode_change(change) for change in tail.read(database.sequence)]
    except TailGap as gap:
        _log.warning("The last changes before the end of the former process are lost, so nobody is recovered: %s", gap)
        database.forget_events()
        return []


def _boot() -> str:
    """Return the name of this run of the machine, the same name on systems that have none."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _deliver_to_nobody(_: object) -> None:
    """Deliver the events of a namespace that the server does not have yet: there are none."""
