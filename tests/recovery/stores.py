"""Stores in files, and what tests do to them."""

import sqlite3
from pathlib import Path

from tests.contracts.event_log import name_of
from tests.support.clocks import Clock

from synkora.recovery.embedded import EmbeddedStore
from synkora.recovery.ports import EventLog, RecoveryStore
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings


class Start:
    """Starts stores in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stores: list[EmbeddedStore] = []

    async def __call__(
        self, settings: RecoverySettings | None = None, clock: Clock | None = None, *, folder: Path | None = None
    ) -> EmbeddedStore:
        store = EmbeddedStore(folder or self.folder, settings, clock or Clock())
        await store.start()
        self.stores.append(store)
        return store


def log_of(store: RecoveryStore, namespace: str = "/") -> EventLog:
    return store.log(namespace, lambda _: None)


async def names(log: EventLog, rooms: tuple[str, ...], since: Position) -> list[str]:
    found = await log.read(rooms, since)
    assert isinstance(found, list)
    return [name_of(event) for event in found]


def kill(store: EmbeddedStore) -> None:
    """Leave a store as a killed process does: without another write."""
    assert store._database is not None
    assert store._writing is not None
    store._writing.cancel()
    assert store._executor is not None
    store._executor.shutdown()
    store._database.close()
    store._detach()


def rows_in(folder: Path, table: str) -> int:
    with sqlite3.connect(folder / "recovery.db") as database:
        (rows,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608  # a name that a test gives
    database.close()
    return int(rows)
