"""Recovery that outlives the process: the memory's logs and sessions, written to files of one folder.

Each change is in the tail before it takes effect, and soon afterwards in the database. A killed server loses nothing,
unless the machine stops too.
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
from synkora.recovery.changes import (
    UNREADABLE,
    Change,
    EventAdded,
    LogBegun,
    NamespaceForgotten,
    SessionDropped,
    SessionSaved,
    decode_change,
    encode,
)
from synkora.recovery.database import Contents, Database, OtherVersion
from synkora.recovery.memory import MemoryLog, MemoryStore
from synkora.recovery.memory_sessions import MemorySessions
from synkora.recovery.ports import Clock, Deliver
from synkora.recovery.settings import RecoverySettings
from synkora.recovery.tail import Tail, TailGap

INTERVAL: Final = 0.05  # seconds between two batches
_DATABASE: Final = "recovery.db"
_TAIL: Final = "recovery.tail"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_log: Final = logging.getLogger(__name__)


class EmbeddedStore(MemoryStore):
    """A `RecoveryStore` with files in a folder, created if missing. Only one process may use a folder.

    An unreadable file is set aside. If the files cannot be used, the store logs an error and continues in memory:
    `is_persistent` is false then.
    """

    def __init__(self, folder: Path, settings: RecoverySettings | None = None, clock: Clock = time) -> None:
        super().__init__(settings, clock)
        self._folder = folder
        self._path = folder / _DATABASE
        self._database: Database | None = None
        self._writer: ChangeWriter | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._writing: asyncio.Task[None] | None = None
        self._is_open = False  # from the end of the start to the beginning of the close
        self._is_closing = False
        self._has_locked = False  # otherwise the files may be those of another process

    @property
    def is_persistent(self) -> bool:
        """Whether changes are written."""
        return self._writer is not None

    async def start(self) -> None:
        """Open the files, and load the state of the previous process."""
        self._executor = ThreadPoolExecutor(1, "synkora-recovery")
        await self._open_files()
        self._set_open(True)

    async def _open_files(self) -> None:
        try:
            await self._in_thread(self._open)
        except (OSError, sqlite3.Error) as error:
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                _log.error("Another process uses %s, so that restarts break sessions", self._path)
            else:
                _log.error("%s cannot be used, so that restarts break sessions: %s", self._path, error)
                if self._has_locked:
                    self._remove_files()
            return
        self._writing = asyncio.create_task(self._write_on())

    async def close(self) -> None:
        """Write the remaining changes."""
        self._set_open(False)
        self._is_closing = True
        if self._writer is not None:
            self._writer.changed.set()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._database is not None:
            await self._in_thread(self._database.end)
        self._detach()
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def _set_open(self, is_open: bool) -> None:
        self._is_open = is_open
        for log in self._logs.values():
            log.is_open = is_open

    def forget(self, namespace: str) -> None:
        """Drop the log and the sessions of a namespace."""
        super().forget(namespace)
        if self._writer is not None:
            self._writer.forget(namespace)

    def _new_log(self, namespace: str, deliver: Deliver) -> MemoryLog:
        log = super()._new_log(namespace, deliver)
        log.is_open = self._is_open
        if self._writer is not None:
            log.journal = LogChanges(self._writer, namespace, log)
            self._writer.begin(namespace, log.epoch)
        return log

    def _new_sessions(self, namespace: str) -> MemorySessions:
        sessions = super()._new_sessions(namespace)
        if self._writer is not None:
            sessions.journal = SessionChanges(self._writer, namespace)
        return sessions

    async def _in_thread(self, function: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, function)

    # Loading

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its other files the mode of this one.
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.fchmod(file, 0o600)
        os.close(file)
        try:
            self._load()
        except sqlite3.OperationalError:
            raise
        except (sqlite3.DatabaseError, *UNREADABLE, OtherVersion) as error:
            aside = self._path.with_suffix(".unreadable")
            _log.error("%s cannot be read: it is now %s, and is begun again: %s", self._path, aside.name, error)
            self._path.rename(aside)
            for rest in self._folder.glob(f"{_DATABASE}-*"):
                rest.unlink()
            self._begin_again()
            self._open()

    def _begin_again(self) -> None:
        """Drop what was read of a file."""
        for log in self._logs.values():
            log.begin()
        for sessions in self._sessions.values():
            sessions.clear()

    def _load(self) -> None:
        database = Database(self._path)
        self._has_locked = True
        try:
            database.open()
            tail = Tail(self._folder / _TAIL)
            changes = _changes(database, tail)
            contents = database.load()
            self._key = database.key
            writer = self._writer = ChangeWriter(tail, database.sequence + len(changes))
            self._fill(writer, contents)
            for change in changes:
                self._apply(writer, change)
            self._tidy(writer)
            database.write(writer.take())
            tail.clear()
            database.begin(_boot())
            self._database = database
        except BaseException:
            self._detach()
            database.close()
            raise

    def _fill(self, writer: ChangeWriter, contents: Contents) -> None:
        """Fill logs and sessions; the deletions of expired entries go to the first batch."""
        for namespace, log in self._logs.items():
            log.use_key(self._key)
            log.journal = LogChanges(writer, namespace, log)
        for namespace, sessions in self._sessions.items():
            sessions.journal = SessionChanges(writer, namespace)
        floors: dict[str, list[tuple[int, int]]] = {}
        for namespace, bucket, floor in contents.floors:
            floors.setdefault(namespace, []).append((bucket, floor))
        for namespace, (epoch, _) in contents.numbers.items():
            self._log_of(namespace).restore(epoch, floors.get(namespace, ()))
        for added in contents.events:
            log = self._log_of(added.namespace)
            log.restore_event(added.event, added.time)
        for namespace, number, name in contents.names:
            self._log_of(namespace).remember(name, number)
        for namespace, (_, number) in contents.numbers.items():
            self._log_of(namespace).skip_to(number)
        for namespace in self._logs.keys() - contents.numbers.keys():
            writer.batch.numbers[namespace] = self._logs[namespace].epoch, 0
        for saved in sorted(contents.sessions, key=lambda saved: saved.session.lost_at or inf):
            self._restore(saved)

    def _apply(self, writer: ChangeWriter, change: Change) -> None:
        """Apply a change of the previous process, also to the database."""
        batch, namespace = writer.batch, change.namespace
        match change:
            case LogBegun():
                self._log_of(namespace).begin()
                self._log_of(namespace).restore(change.epoch)
                batch.numbers[namespace] = change.epoch, 0
            case NamespaceForgotten():
                self._log_of(namespace).begin()
                self.sessions(namespace).clear()
                batch.forget(namespace)
                batch.numbers[namespace] = self._log_of(namespace).epoch, 0
            case EventAdded():
                batch.add(change, encode(change))
                self._log_of(namespace).restore_event(change.event, change.time)
                if change.once:
                    self._log_of(namespace).remember(change.once, change.event.number)
            case SessionSaved():
                batch.sessions[namespace, change.session.pid] = change.session
                self._restore(change)
            case SessionDropped():
                batch.sessions[namespace, change.pid] = None
                self.sessions(namespace).remove(change.pid)

    def _tidy(self, writer: ChangeWriter) -> None:
        """Drop expired entries, and empty namespaces that the server does not have."""
        for namespace, log in list(self._logs.items()):
            log.expire()
            if log.deliver is _discard and not log and not self.sessions(namespace):
                super().forget(namespace)
                writer.batch.forget(namespace)

    def _restore(self, saved: SessionSaved) -> None:
        """Restore a session; a connected one counts as lost now."""
        session = saved.session
        if session.lost_at is None:
            session = msgspec.structs.replace(session, lost_at=self._clock())
        self.sessions(saved.namespace).restore(session)

    def _log_of(self, namespace: str) -> MemoryLog:
        """The log of a namespace, which the server may not have yet."""
        log = self._logs.get(namespace)
        if log is None:
            log = self._logs[namespace] = super()._new_log(namespace, _discard)
            if self._writer is not None:
                log.journal = LogChanges(self._writer, namespace, log)
        return log

    # Writing

    async def _write_on(self) -> None:
        while self._writer is not None and self._database is not None:
            await self._writer.changed.wait()
            if not self._is_closing:
                await asyncio.sleep(INTERVAL)
            try:
                await self._in_thread(partial(self._database.write, self._writer.take()))
            except (sqlite3.Error, ValueError) as error:
                await self._give_up(self._database, error)
                return
            if self._is_closing and not self._writer.changed.is_set():
                return

    async def _give_up(self, database: Database, error: Exception) -> None:
        """Continue in memory."""
        _log.error("%s cannot be written, so that restarts break sessions: %s", self._path, error)
        if self._writer is not None:
            self._writer.give_up()  # the process may be killed before the files are removed
        self._detach()
        await self._in_thread(database.close)
        self._remove_files()

    def _remove_files(self) -> None:
        """Remove the files: a later process would consider their content complete."""
        for file in (*self._folder.glob(f"{_DATABASE}*"), *self._folder.glob(_TAIL)):
            try:
                file.unlink()
            except OSError as error:
                _log.error("%s has to be removed before the next start: %s", file, error)

    def _detach(self) -> None:
        """Stop writing."""
        self._database = self._writer = None
        for log in self._logs.values():
            log.journal = None
        for sessions in self._sessions.values():
            sessions.journal = None


def _changes(database: Database, tail: Tail) -> list[Change]:
    """Return the changes that the database lacks. If one is missing, delete all events."""
    if database.is_closed:
        return []
    try:
        if database.boot != _boot():
            raise TailGap("the machine was started again")
        return [decode_change(change) for change in tail.read(database.sequence)]
    except TailGap as gap:
        _log.warning("The last changes of the previous process are lost, so no client is recovered: %s", gap)
        database.forget_events()
        return []


def _boot() -> str:
    """Return the machine's boot id, or a constant on systems without one."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _discard(_: object) -> None:
    """Deliver nothing: the server does not have the namespace yet."""
