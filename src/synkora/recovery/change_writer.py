"""Writes each change of logs and sessions to the tail, and collects them for the database."""

import asyncio

from synkora.recovery import changes
from synkora.recovery.memory import MemoryLog
from synkora.recovery.ports import LoggedEvent, SavedSession
from synkora.recovery.tail import Tail


class ChangeWriter:
    """Collects the changes since the last batch in `batch`. `changed` is set at the first change."""

    def __init__(self, tail: Tail, sequence: int) -> None:
        self.batch = changes.Batch(sequence)
        self.changed = asyncio.Event()
        self._tail = tail
        self._sequence = sequence

    def take(self) -> changes.Batch:
        """Return the batch, for the database, and begin the next. The database must have the one before."""
        batch, self.batch = self.batch, changes.Batch(self._sequence)
        self.changed.clear()
        self._tail.swap()
        return batch

    def begin(self, namespace: str, epoch: str) -> None:
        """Write that a namespace has a log."""
        self.batch.numbers[namespace] = epoch, 0
        self.write(changes.LogBegun(namespace, epoch))

    def forget(self, namespace: str) -> None:
        """Delete everything of a namespace."""
        self.batch.forget(namespace)
        self.write(changes.NamespaceForgotten(namespace))

    def give_up(self) -> None:
        """Let a later process notice that changes are missing, which are no longer written."""
        self._tail.spoil()

    def write(self, change: changes.Change) -> bytes:
        """Keep a change for the case that the process is killed before the batch is written. Returns its encoded form.

        Raises `UnicodeEncodeError` for the name of a room with a lone surrogate, and keeps nothing then.
        """
        record = changes.encode(change)
        self._sequence += 1
        self.batch.sequence = self._sequence
        self._tail.write(self._sequence, record)
        if not self.changed.is_set():
            self.changed.set()
        return record


class LogChanges:
    """The `LogJournal` of a namespace. What follows from an event, such as an older one that it replaces, is in the
    batch alone: an event that is read from the tail has the same consequences again.
    """

    def __init__(self, writer: ChangeWriter, namespace: str, log: MemoryLog) -> None:
        self._writer = writer
        self._namespace = namespace
        self._log = log

    def added(self, event: LoggedEvent, time: float, once: str) -> None:
        """Write an event."""
        change = changes.EventAdded(self._namespace, self._log.epoch, time, event, once)
        self._writer.batch.add(change, self._writer.write(change))

    def dropped(self, event: LoggedEvent) -> None:
        """Delete an event."""
        self._writer.batch.drop(self._namespace, event.number)

    def floor_raised(self, digest: bytes, floor: int, socket_floor: int) -> None:
        """Write the floors of a room."""
        self._writer.batch.raise_floors(self._namespace, digest, floor, socket_floor)

    def names_forgotten(self, number: int) -> None:
        """Delete the names of events up to this number."""
        self._writer.batch.forgotten_names[self._namespace] = number


class SessionChanges:
    """The `SessionJournal` of a namespace."""

    def __init__(self, writer: ChangeWriter, namespace: str) -> None:
        self._writer = writer
        self._namespace = namespace

    def saved(self, session: SavedSession) -> None:
        """Write a session."""
        self._writer.write(changes.SessionSaved(self._namespace, session))
        self._writer.batch.sessions[self._namespace, session.pid] = session

    def dropped(self, pid: str) -> None:
        """Delete a session."""
        self.expired(pid)
        self._writer.write(changes.SessionDropped(self._namespace, pid))

    def expired(self, pid: str) -> None:
        """Delete an expired session; not written to the tail, since it is expired there too."""
        self._writer.batch.sessions[self._namespace, pid] = None
