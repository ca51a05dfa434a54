"""Compares ways to keep the recovery log on a disk: python -m bench.recovery_stores --help"""

import argparse
import asyncio
import os
import resource
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec
from rich.console import Console
from rich.table import Table

from synkora.recovery.changes import EventAdded, encode
from synkora.recovery.embedded import EmbeddedStore
from synkora.recovery.memory import MemoryLog, MemoryStore
from synkora.recovery.ports import LoggedEvent, new_event
from synkora.recovery.settings import RecoverySettings

_TURN: Final = 10  # events of one turn of the event loop
_ROOMS: Final = 100
_KEYS: Final = 20  # of each room: later edits of the same replace earlier ones
_TEXT: Final = b"x" * 200
_SETTINGS: Final = RecoverySettings()


class Store(Protocol):
    """A way to keep a log."""

    def __init__(self, folder: Path) -> None: ...

    async def open(self) -> MemoryLog:
        """Load the stored events."""
        ...

    async def close(self) -> None:
        """Write the rest."""
        ...


class Memory:
    """No file."""

    def __init__(self, _: Path) -> None:
        self._store = MemoryStore(_SETTINGS)

    async def open(self) -> MemoryLog:
        return self._store.log("/", _deliver)

    async def close(self) -> None:
        pass


class Embedded:
    """The product's: each change in a mapped file, batches in SQLite by a thread."""

    def __init__(self, folder: Path) -> None:
        self._store = EmbeddedStore(folder, _SETTINGS)

    async def open(self) -> MemoryLog:
        log = self._store.log("/", _deliver)
        await self._store.start()
        return log

    async def close(self) -> None:
        await self._store.close()


class AppendFile:
    """A file of MessagePack records: each event is written by a call, and all of them are read at the start.

    Nothing is removed: a store of this kind would have to write the file again from time to time.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log"
        self._file = -1

    async def open(self) -> MemoryLog:
        log = MemoryStore(_SETTINGS).log("/", _deliver)
        decode = msgspec.msgpack.Decoder(EventAdded).decode
        if self._path.exists():
            data = memoryview(self._path.read_bytes())
            offset = 0
            while offset < len(data):
                size = int.from_bytes(data[offset : offset + 4], "little")
                added = decode(data[offset + 4 : offset + 4 + size])
                log.restore_event(added.event, added.time)
                offset += 4 + size
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        log.journal = self
        return log

    async def close(self) -> None:
        os.close(self._file)

    def added(self, event: LoggedEvent, time: float, once: str) -> None:
        record = encode(EventAdded("/", "", time, event))
        os.write(self._file, len(record).to_bytes(4, "little") + record)

    def dropped(self, event: LoggedEvent) -> None:
        pass

    def floor_raised(self, digest: bytes, floor: int, socket_floor: int) -> None:
        pass

    def names_forgotten(self, number: int) -> None:
        pass


class DirectSqlite:
    """SQLite without a thread: one transaction for each turn of the event loop, before its messages are sent."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log"
        self._rows: list[tuple[int, float, bytes]] = []
        self._gone: list[tuple[int]] = []

    async def open(self) -> MemoryLog:
        self._database = sqlite3.connect(self._path, isolation_level=None)
        self._database.executescript(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
            "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, time REAL, event BLOB)"
        )
        log = MemoryStore(_SETTINGS).log("/", _deliver)
        decode = msgspec.msgpack.Decoder(LoggedEvent).decode
        for moment, event in self._database.execute("SELECT time, event FROM events ORDER BY number"):
            log.restore_event(decode(event), moment)
        log.journal = self
        return log

    async def close(self) -> None:
        self._write()
        self._database.close()

    def added(self, event: LoggedEvent, time: float, once: str) -> None:
        if not self._rows:
            asyncio.get_running_loop().call_soon(self._write)
        self._rows.append((event.number, time, encode(event)))

    def dropped(self, event: LoggedEvent) -> None:
        self._gone.append((event.number,))

    def floor_raised(self, digest: bytes, floor: int, socket_floor: int) -> None:
        pass

    def names_forgotten(self, number: int) -> None:
        pass

    def _write(self) -> None:
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO events VALUES (?, ?, ?)", self._rows)
        self._database.executemany("DELETE FROM events WHERE number = ?", self._gone)
        self._database.execute("COMMIT")
        self._rows.clear()
        self._gone.clear()


STORES: Final[dict[str, type[Store]]] = {
    "memory": Memory,
    "mapped tail and SQLite": Embedded,
    "append-only file": AppendFile,
    "SQLite each turn": DirectSqlite,
}


class Figures(NamedTuple):
    """CPU in µs of an event, in the thread of the event loop and in all; the longest turn and the load in ms."""

    loop_us: float
    process_us: float
    longest_turn_ms: float
    file_mb: float
    load_ms: float


def _deliver(_: LoggedEvent) -> None:
    pass


async def measure(kind: type[Store], events: int, rate: int) -> Figures:
    """Append events at a rate (a second), and load the result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = kind(folder)
        log = await store.open()
        busy = longest = 0.0
        cpu = _cpu()
        began = time.perf_counter()
        for number in range(0, events, _TURN):
            turn_began, turn_cpu = time.perf_counter(), time.thread_time()
            for event in range(number, number + _TURN):
                room, key = event % _ROOMS, event // _ROOMS % _KEYS
                log.append(
                    new_event(
                        b'["task:update",{"id":"task-%d","text":"%b"}]' % (key, _TEXT),
                        (f"project-{room}",),
                        ("sender-" + str(event % 7),),
                        f"task:update task-{key}",
                    )
                )
            await asyncio.sleep(0)  # what is done at the end of the turn belongs to it
            busy += time.thread_time() - turn_cpu
            longest = max(longest, time.perf_counter() - turn_began)
            ahead = number / rate - (time.perf_counter() - began)
            if ahead > 0.001:
                await asyncio.sleep(ahead)
        await store.close()
        cpu = _cpu() - cpu
        size = sum(file.stat().st_size for file in folder.iterdir())  # noqa: ASYNC240  # nothing else is measured now
        again = kind(folder)
        began = time.perf_counter()
        await again.open()
        load = time.perf_counter() - began
        await again.close()
        return Figures(busy / events * 1e6, cpu / events * 1e6, longest * 1e3, size / 1e6, load * 1e3)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def compare(events: int, rate: int, rounds: int) -> dict[str, Figures]:
    """Measure all stores in turn, and return the medians."""
    found: dict[str, list[Figures]] = {name: [] for name in STORES}
    for _ in range(rounds):
        for name, kind in STORES.items():
            found[name].append(await measure(kind, events, rate))
    return {name: Figures(*map(statistics.median, zip(*figures, strict=True))) for name, figures in found.items()}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rate", type=int, default=10_000, help="events a second")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    table = Table("", "loop µs", "process µs", "longest turn ms", "files MB", "load ms")
    found = asyncio.run(compare(options.events, options.rate, options.rounds))
    for name, figures in found.items():
        table.add_row(name, *(f"{figure:,.1f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
