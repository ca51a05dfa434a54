"""The database of events and sessions: SQLite, with one connection."""

import sqlite3
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec

from synkora.recovery.changes import Batch, EventAdded, SessionSaved, decode_event, decode_session, encode
from synkora.recovery.floors import EVERYONE, FORMER, KEY_LENGTH, new_key, raised

_VERSION: Final = 3  # of the tables
_WITHOUT_NAMES: Final = 1  # an event's name was only in the event
_WITHOUT_KEY: Final = 2  # floors were in other buckets
_PATIENCE: Final = 3  # seconds in which a former process may release the file
_NAMES: Final = (
    "CREATE TABLE names (namespace TEXT, number INTEGER, name TEXT, PRIMARY KEY (namespace, number)) WITHOUT ROWID;"
)
_TABLES: Final = f"""
CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE numbers (namespace TEXT PRIMARY KEY, epoch TEXT, number INTEGER) WITHOUT ROWID;
CREATE TABLE events (namespace TEXT, number INTEGER, event BLOB, PRIMARY KEY (namespace, number));
CREATE TABLE floors (namespace TEXT, bucket INTEGER, floor INTEGER, PRIMARY KEY (namespace, bucket)) WITHOUT ROWID;
CREATE TABLE sessions (namespace TEXT, pid TEXT, session BLOB, PRIMARY KEY (namespace, pid)) WITHOUT ROWID;
{_NAMES}
"""


#: A damaged file may have any value in any column.
_Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Bucket = Annotated[int, msgspec.Meta(ge=0, le=EVERYONE)]
Row = TypeVar("Row")


class _State(msgspec.Struct):
    """The rows of the table `state`."""

    sequence: _Number
    boot: str
    is_closed: Annotated[int, msgspec.Meta(ge=0, le=1)]
    key: Annotated[bytes, msgspec.Meta(min_length=KEY_LENGTH, max_length=KEY_LENGTH)]


class OtherVersion(Exception):
    """The file has the tables of another version of this program."""


class Contents(NamedTuple):
    """The content of a database: epoch and last number of each namespace, floors by bucket, events, sessions.

    `names` has namespace, number and name of the events that were appended once, in the order of the numbers.
    """

    numbers: dict[str, tuple[str, int]]
    floors: list[tuple[str, int, int]]
    events: list[EventAdded]
    names: list[tuple[str, int, str]]
    sessions: list[SessionSaved]


class Database:
    """A file with logs and sessions. Any thread may use it, one at a time. All methods raise `sqlite3.Error`.

    `open` and `load` raise errors of `UNREADABLE` too, for a damaged file.

    No other process can use the file once the constructor has returned. `sequence` is the number of the last
    change in the file, and `key` that of the floors' places.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        self._connection.text_factory = bytes.decode  # by default, wrong UTF-8 looks like a failing disk
        try:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")  # takes the lock
        except BaseException:
            self._connection.close()
            raise

    def open(self) -> None:
        """Read the state of the file, or create its tables. Raises `OtherVersion` too."""
        run = self._connection.execute
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA journal_size_limit = 4194304")
        (version,) = run("PRAGMA user_version").fetchone()
        if version == 0:
            self._connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT")
            self._set(sequence=0, boot="", is_closed=1, key=new_key())
        elif version in (_WITHOUT_NAMES, _WITHOUT_KEY):
            self._upgrade(version)
        elif version != _VERSION:
            raise OtherVersion(f"its tables have version {version}, not {_VERSION}")
        state = msgspec.convert(dict(run("SELECT name, value FROM state").fetchall()), _State)
        self.sequence: int = state.sequence
        self.boot = state.boot
        self.is_closed = bool(state.is_closed)
        self.key = state.key

    def _upgrade(self, version: int) -> None:
        """Upgrade a file of an earlier version."""
        self._connection.executescript(f"BEGIN; PRAGMA user_version = {_VERSION}")
        if version == _WITHOUT_NAMES:
            self._add_names()
        self._connection.execute("UPDATE floors SET bucket = bucket + ?", (FORMER,))
        self._set(key=new_key())
        self._connection.execute("COMMIT")

    def _add_names(self) -> None:
        self._connection.execute(_NAMES)
        rows = self._rows("SELECT namespace, number, event FROM events", tuple[str, _Number, bytes])
        names = [(namespace, number, decode_event(event).once) for namespace, number, event in rows]
        self._connection.executemany("INSERT INTO names VALUES (?, ?, ?)", [row for row in names if row[2]])

    def begin(self, boot: str) -> None:
        """Mark the file as in use since this boot of the machine."""
        self._set(boot=boot, is_closed=0)

    def load(self) -> Contents:
        """Return the content of the file."""
        numbers = self._rows("SELECT namespace, epoch, number FROM numbers", tuple[str, str, _Number])
        events = self._rows("SELECT event FROM events ORDER BY namespace, number", tuple[bytes])
        names = self._rows(
            "SELECT namespace, number, name FROM names ORDER BY namespace, number", tuple[str, _Number, str]
        )
        sessions = self._rows("SELECT namespace, session FROM sessions", tuple[str, bytes])
        return Contents(
            {namespace: (epoch, number) for namespace, epoch, number in numbers},
            self._rows("SELECT namespace, bucket, floor FROM floors", tuple[str, _Bucket, _Number]),
            [decode_event(event) for (event,) in events],
            names,
            [SessionSaved(namespace, decode_session(session)) for namespace, session in sessions],
        )

    def _rows(self, query: str, row: type[Row]) -> list[Row]:
        rows = self._connection.execute(query).fetchall()
        return msgspec.convert(rows, list[row])  # type: ignore[valid-type]  # a value that is a type

    def forget_events(self) -> None:
        """Delete all logs; new ones will begin."""
        self._connection.executescript(
            "BEGIN; DELETE FROM events; DELETE FROM floors; DELETE FROM names; DELETE FROM numbers; COMMIT"
        )

    def write(self, batch: Batch) -> None:
        """Write a batch in one transaction."""
        sessions = {at: session for at, session in batch.sessions.items() if session is not None}
        dropped = [at for at in batch.sessions if at not in sessions]
        many = self._connection.executemany
        self._connection.execute("BEGIN")
        forgotten = [(namespace,) for namespace in batch.forgotten]
        try:
            for table in ("events", "floors", "names", "numbers", "sessions"):
                many(f"DELETE FROM {table} WHERE namespace = ?", forgotten)  # noqa: S608 - a name from the line above
            many("INSERT INTO events VALUES (?, ?, ?)", batch.events.values())
            many("DELETE FROM events WHERE namespace = ? AND number = ?", batch.gone)
            many("REPLACE INTO names VALUES (?, ?, ?)", ((*at, name) for at, name in batch.names.items()))
            many("DELETE FROM names WHERE namespace = ? AND number <= ?", batch.forgotten_names.items())
            many(
                "INSERT INTO floors VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET floor = max(floor, excluded.floor)",
                ((at, *row) for (at, digest), floors in batch.floors.items() for row in raised(digest, *floors)),
            )
            many("REPLACE INTO numbers VALUES (?, ?, ?)", ((at, *number) for at, number in batch.numbers.items()))
            many("REPLACE INTO sessions VALUES (?, ?, ?)", ((*at, encode(kept)) for at, kept in sessions.items()))
            many("DELETE FROM sessions WHERE namespace = ? AND pid = ?", dropped)
            self._set(sequence=batch.sequence)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self.sequence = batch.sequence

    def end(self) -> None:
        """Mark the file as complete, and close it."""
        self._set(is_closed=1)
        self.close()

    def close(self) -> None:
        """Close the file without the mark."""
        self._connection.close()

    def _set(self, **state: object) -> None:
        self._connection.executemany("REPLACE INTO state VALUES (?, ?)", state.items())
