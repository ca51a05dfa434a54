"""Recovery in files."""

import asyncio
import logging
import os
import resource
import shutil
import signal
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import rule
from tests.contracts.event_log import EventLogContract, LastingLogContract, MakeStore, Restart, event, name_of
from tests.contracts.recovery_model import AGING, CROWDED, LogMachine
from tests.contracts.session_store import SESSION, ForgettingContract, SessionStoreContract, lost
from tests.support.clocks import Clock
from tests.support.processes import PATIENCE
from tests.support.servers import until

from synkora.recovery import embedded
from synkora.recovery.changes import Batch, EventAdded, encode
from synkora.recovery.database import Database
from synkora.recovery.embedded import EmbeddedStore
from synkora.recovery.floors import bucket_of
from synkora.recovery.ports import EventLog, Incomplete, LoggedEvent, LogUnavailable, RecoveryStore
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings
from synkora.recovery.tail import HALF

_HERE: Final = Path(__file__)
_EVENT: Final = encode(EventAdded("/", "epoch", 1.0, LoggedEvent(1, b'["a"]', (), ("room",), (), None)))


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


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """The stores are closed after the test."""
    start = Start(tmp_path)
    yield start
    for store in start.stores:
        await store.close()


@pytest.fixture
def make(start: Start) -> MakeStore:
    async def make(settings: RecoverySettings, clock: Clock) -> RecoveryStore:
        store = await start(settings, clock)
        assert store.is_persistent
        return store

    return make


def log_of(store: RecoveryStore, namespace: str = "/") -> EventLog:
    return store.log(namespace, lambda _: None)


async def names(log: EventLog, rooms: tuple[str, ...], since: Position) -> list[str]:
    found = await log.read(rooms, since)
    assert isinstance(found, list)
    return [name_of(event) for event in found]


class TestEmbeddedLog(EventLogContract):
    pass


class TestRestartedLog(LastingLogContract):
    """Stopped or killed, with the changes in the database or still in the tail."""

    @pytest.fixture(params=["stopped", "killed", "killed later"])
    def restart(self, start: Start, request: pytest.FixtureRequest) -> Restart:
        async def restart(store: RecoveryStore) -> RecoveryStore:
            assert isinstance(store, EmbeddedStore)
            if request.param == "stopped":
                await store.close()
                return await start()
            if request.param == "killed later":
                await asyncio.sleep(embedded.INTERVAL * 3)
            kill(store)
            return await start()

        return restart


class TestEmbeddedSessions(SessionStoreContract, ForgettingContract):
    pass


def kill(store: EmbeddedStore) -> None:
    """Leave a store as a killed process does: without another write."""
    assert store._database is not None
    assert store._writing is not None
    store._writing.cancel()
    assert store._executor is not None
    store._executor.shutdown()
    store._database.close()
    store._detach()


class _Machine(LogMachine):
    """A log in a file, whose server is stopped and killed."""

    def open(self, clock: Clock) -> RecoveryStore:
        if not hasattr(self, "folder"):
            self.folder = TemporaryDirectory()
        return EmbeddedStore(Path(self.folder.name), self.bounds, clock)

    @rule()
    def stop(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self._open()
        assert self.log.position == self.positions[-1]

    @rule()
    def kill(self) -> None:
        assert isinstance(self.store, EmbeddedStore)
        kill(self.store)
        self._open()
        assert self.log.position == self.positions[-1]

    @rule()
    def write(self) -> None:
        """Let the database take over the changes, as it does after a while."""
        assert isinstance(self.store, EmbeddedStore)
        assert self.store._writer is not None
        assert self.store._database is not None
        write = partial(self.store._database.write, self.store._writer.take())
        self.loop.run_until_complete(self.store._in_thread(write))

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestAging = _Machine.within(AGING)
TestCrowded = _Machine.within(CROWDED)
TestAging.settings = TestCrowded.settings = settings(max_examples=15, stateful_step_count=40, deadline=None)


async def test_a_stop_during_a_write_keeps_what_came_meanwhile(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await start()
    log = log_of(store)
    writes, goes_on = threading.Event(), threading.Event()
    database = store._database
    assert database is not None
    write = database.write

    def slow(batch: Batch) -> None:
        writes.set()
        goes_on.wait()
        write(batch)

    monkeypatch.setattr(database, "write", slow)
    log.append(event("a"), (), ("p",), ())
    assert await asyncio.to_thread(writes.wait, PATIENCE)
    log.append(event("b"), (), ("p",), ())
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    goes_on.set()
    await closing
    again = await start()
    assert log_of(again).position == log.position


async def test_an_answer_says_that_an_event_is_kept(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the start and from the beginning of the close on, nothing is appended that has an answer."""
    store = EmbeddedStore(start.folder, clock=Clock())
    delivered: list[LoggedEvent] = []
    log = store.log("/", delivered.append)
    with pytest.raises(LogUnavailable):
        await log.append_once(event("a"), ("p",), once="a")
    await store.start()
    first = await log.append_once(event("a"), ("p",), once="a")
    database = store._database
    assert database is not None
    ends, goes_on, end = threading.Event(), threading.Event(), database.end

    def slow() -> None:
        ends.set()
        goes_on.wait()
        end()

    monkeypatch.setattr(database, "end", slow)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    assert await asyncio.to_thread(ends.wait, PATIENCE)
    for late in (log, log_of(store, "/late")):
        for name in ("", "b"):
            with pytest.raises(LogUnavailable):
                await late.append_once(event("b"), ("p",), once=name)
    goes_on.set()
    await closing
    with pytest.raises(LogUnavailable):
        await log.append_once(event("b"), ("p",), once="b")
    assert len(delivered) == 1
    again = log_of(await start())
    assert again.position == first
    assert await again.append_once(event("b"), ("p",), once="b") == again.position


async def test_without_its_files_the_store_takes_events_too(start: Start) -> None:
    (start.folder / "state").write_text("a file")
    log = log_of(await start(folder=start.folder / "state"))
    assert await log.append_once(event("a"), ("p",), once="a") == log.position


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("is_written", [False, True])
async def test_fault_08_a_restart_keeps_all(start: Start, is_killed: bool, is_written: bool) -> None:
    """Events, the floors of rooms, and sessions are unchanged, and positions continue."""
    bounds = RecoverySettings(room_events=2)
    store = await start(bounds)
    delivered: list[LoggedEvent] = []
    log = store.log("/", delivered.append)
    began = log.position
    for name in "abcd":
        log.append(event(name), (b"\x00",), ("p",), ("me",), "k" if name in "bc" else None)
    log.append(event("all"), (), (), ())
    for pid in ("pid-1", "pid-2", "pid-3", "pid-4"):
        store.sessions("/").save(msgspec.structs.replace(SESSION, pid=pid))
    store.sessions("/").forget("pid-2")
    assert await store.sessions("/").take("pid-3")
    store.sessions("/").save(lost("pid-4"))
    if is_written:
        await asyncio.sleep(embedded.INTERVAL * 3)
    if is_killed:
        kill(store)
    else:
        await store.close()

    clock = Clock()
    clock.now += 5
    again = await start(bounds, clock)
    restored = again.log("/", delivered.append)
    assert restored.position == log.position
    assert await restored.read(("p",), began._replace(number=2)) == delivered[2:]
    assert await restored.read(("p",), began) is Incomplete.TRIMMED
    assert await restored.read(("q",), began) == [delivered[4]]
    restored.append(event("e"), (), ("q",), ())
    assert delivered[-1].number == 6
    sessions = again.sessions("/")
    assert await sessions.take("pid-1") == msgspec.structs.replace(SESSION, lost_at=clock.now)
    assert await sessions.take("pid-2") is None
    assert await sessions.take("pid-3") == msgspec.structs.replace(SESSION, pid="pid-3", lost_at=clock.now)
    assert await sessions.take("pid-4") == lost("pid-4")


@pytest.mark.parametrize("is_written", [False, True])
async def test_fault_08_a_session_that_was_taken_and_not_saved_is_back_after_a_kill(
    start: Start, is_written: bool
) -> None:
    """The server was killed while the client was about to return."""
    store = await start()
    store.sessions("/").save(lost("pid-1"))
    if is_written:
        await asyncio.sleep(embedded.INTERVAL * 3)
    assert await store.sessions("/").take("pid-1")
    if is_written:
        await asyncio.sleep(embedded.INTERVAL * 3)
    kill(store)
    again = await start()
    assert await again.sessions("/").take("pid-1") == lost("pid-1")
    again.sessions("/").forget("pid-1")
    kill(again)
    last = await start()
    assert await last.sessions("/").take("pid-1") is None


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_forgotten_namespace_is_not_back_after_a_restart(start: Start, is_written: bool) -> None:
    """Neither its events nor its sessions. Later contents of the namespace are kept."""
    store = await start()
    for namespace in ("/a", "/b"):
        await log_of(store, namespace).append_once(event("old"), ("p",), once="name")
        store.sessions(namespace).save(lost("pid-1"))
        if is_written:
            await asyncio.sleep(embedded.INTERVAL * 3)
        store.forget(namespace)
    again = log_of(store, "/b")
    began = again.position
    again.append(event("new"), (), ("p",), ())
    store.sessions("/b").save(lost("pid-2"))
    if is_written:
        await asyncio.sleep(embedded.INTERVAL * 3)
    kill(store)
    store = await start()
    assert await store.sessions("/a").take("pid-1") is await store.sessions("/b").take("pid-1") is None
    assert log_of(store, "/a").position.number == 0
    assert await names(log_of(store, "/b"), ("p",), began) == ["new"]
    assert await store.sessions("/b").take("pid-2") == lost("pid-2")
    await log_of(store, "/b").append_once(event("newer"), ("p",), once="name")
    assert await names(log_of(store, "/b"), ("p",), began) == ["new", "newer"]


async def test_a_log_without_events_has_its_positions_after_a_restart(start: Start) -> None:
    """A client from before the first event is recovered, in namespaces of the start and in later ones."""
    store = EmbeddedStore(start.folder, clock=Clock())
    early = log_of(store, "/early")
    await store.start()
    late = log_of(store, "/late")
    for log in (early, late):
        assert log.position.number == 0
    store.sessions("/late").save(lost("pid-1"))
    store.sessions("/early").save(lost("pid-1"))
    kill(store)
    again = await start()
    assert log_of(again, "/early").position == early.position
    assert log_of(again, "/late").position == late.position


async def test_namespaces_that_are_never_used_again_leave_the_files(start: Start) -> None:
    """When their events and sessions have expired."""
    clock = Clock()
    store = await start(clock=clock)
    log_of(store, "/gone").append(event("a"), (), ("p",), ())
    kill(store)
    await (await start(clock=clock)).close()
    assert _rows(start.folder, "numbers") == 1
    clock.now += 10_000
    await (await start(clock=clock)).close()
    assert _rows(start.folder, "numbers") == 0


async def test_entries_that_expire_while_the_server_is_down_are_dropped(start: Start) -> None:
    """Events and sessions, also from the files."""
    clock = Clock()
    store = await start(clock=clock)
    log = log_of(store)
    began = log.position
    log.append(event("a"), (), ("p",), ())
    store.sessions("/").save(lost("pid-1"))
    await store.close()
    clock.now += 10_000
    again = EmbeddedStore(start.folder, clock=clock)
    log = log_of(again)
    await again.start()
    assert await log.read(("p",), began) is Incomplete.TRIMMED
    assert await again.sessions("/").take("pid-1") is None
    await again.close()
    assert _rows(start.folder, "events") == _rows(start.folder, "sessions") == 0


@pytest.mark.parametrize("is_written", [False, True])
async def test_the_file_has_the_last_names(start: Start, is_written: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the log remembers."""
    monkeypatch.setattr("synkora.recovery.memory.MAX_ONCE", 3)
    store = await start()
    log = log_of(store)
    for name in "abcde":
        await log.append_once(event(name), ("p",), once=name)
        if is_written:
            await asyncio.sleep(embedded.INTERVAL * 3)
    kill(store)
    await (await start()).close()
    assert _rows(start.folder, "names") == 3
    log = log_of(await start())
    positions = [await log.append_once(event(name), ("p",), once=name) for name in "cdeab"]
    assert [position.number for position in positions if position is not None] == [3, 4, 5, 6, 7]


async def test_a_file_without_a_table_of_names_is_upgraded(start: Start) -> None:
    """The names of the events that it has are kept, also when the events are replaced."""
    store = await start()
    log = log_of(store)
    first = await log.append_once(event("a"), ("p",), key="k", once="a")
    await store.close()
    with sqlite3.connect(start.folder / "recovery.db") as database:
        database.executescript("DROP TABLE names; PRAGMA user_version = 1")
    database.close()
    store = await start()
    log_of(store).append(event("b"), (), ("p",), (), "k")
    await store.close()
    log = log_of(await start())
    assert log.position.number == 2
    assert await log.append_once(event("a"), ("p",), key="k", once="a") == first


async def test_an_event_that_cannot_be_kept_leaves_no_name(start: Start) -> None:
    """The call can be repeated."""
    log = log_of(await start())
    with pytest.raises(UnicodeEncodeError):
        await log.append_once(event("a"), ("\ud800",), once="a")
    assert log.position.number == 0
    assert await log.append_once(event("a"), ("p",), once="a") == log.position._replace(number=1)
    assert log.position.number == 1


async def test_replaced_and_trimmed_events_leave_the_file(start: Start) -> None:
    store = await start(RecoverySettings(room_events=10))
    log = log_of(store)
    for number in range(50):
        log.append(event("a"), (), ("p", "q"), (), f"k{number % 5}")
        log.append(event("b"), (), ("r",), ())
        if number % 10 == 0:
            await asyncio.sleep(embedded.INTERVAL * 1.5)
    await store.close()
    assert _rows(start.folder, "events") == 15


def _rows(folder: Path, table: str) -> int:
    with sqlite3.connect(folder / "recovery.db") as database:
        (rows,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    database.close()
    return int(rows)


async def test_only_the_owner_can_read_the_files(start: Start) -> None:
    mask = os.umask(0)
    try:
        store = await start(folder=start.folder / "new" / "state")
        log_of(store).append(event("a"), (), ("p",), ())
        await asyncio.sleep(embedded.INTERVAL * 3)
        folder = start.folder / "new" / "state"
        files = sorted(folder.iterdir())
        assert [file.name for file in files] == ["recovery.db", "recovery.db-wal", "recovery.tail"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        os.umask(mask)


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + bytes(range(256)) * 40])
async def test_an_unreadable_file_is_set_aside(start: Start, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The log names it, and a new file is created."""
    (start.folder / "recovery.db").write_bytes(content)
    store = await start()
    assert store.is_persistent
    assert (start.folder / "recovery.unreadable").read_bytes() == content
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"{start.folder / 'recovery.db'} cannot be read: it is now recovery.unreadable" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET event = x'ff'",
        "UPDATE events SET event = NULL",
        "UPDATE events SET event = 'a'",
        "UPDATE sessions SET session = NULL",
        "UPDATE sessions SET namespace = CAST(x'ff' AS TEXT)",
        "UPDATE numbers SET number = 'a'",
        "UPDATE numbers SET number = 9223372036854775807",
        "INSERT INTO floors VALUES ('/', 'a', 1)",
        "INSERT INTO floors VALUES ('/', 8193, 1)",
        "INSERT INTO names VALUES ('/', 1, NULL)",
        "INSERT INTO names VALUES ('/', -1, 'a')",
        "UPDATE state SET value = 'a' WHERE name = 'sequence'",
        "UPDATE state SET value = -1 WHERE name = 'sequence'",
        "DELETE FROM state",
    ],
)
async def test_a_damaged_table_is_set_aside(start: Start, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite accepts any value in any column."""
    await is_set_aside(start, damage)
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("damage", "value"),
    [
        ("UPDATE events SET event = ?", _EVENT.replace(b"room", b"\xff" * 4)),
        ("UPDATE events SET event = ?", bytes([_EVENT[0] + 1]) + _EVENT[1:] + b"\x91" * 10_000 + b"\x90"),
        ("UPDATE sessions SET session = ?", encode(SESSION).replace(b"user", b"\xff" * 4)),
        ("UPDATE sessions SET session = ?", encode(SESSION).replace(encode(SESSION.joined), encode((7,)))),
    ],
    ids=["an event's text", "an event's depth", "a session's text", "a session's numbers"],
)
async def test_a_damaged_value_is_set_aside(
    start: Start, damage: str, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Text that is not UTF-8, a value that is nested very deeply, or a session with more rooms than numbers."""
    await is_set_aside(start, damage, value)
    assert "cannot be read" in caplog.text


async def is_set_aside(start: Start, damage: str, *values: bytes) -> None:
    """Check that the next start begins a new file."""
    store = await start()
    log = log_of(store)
    log.append(event("a"), (), ("p",), ())
    store.sessions("/").save(SESSION)
    await store.close()
    with sqlite3.connect(start.folder / "recovery.db") as database:
        database.execute(damage, values)
    database.close()
    again = await start()
    assert again.is_persistent
    assert await log_of(again).read(("p",), log.position) is Incomplete.EPOCH


@pytest.mark.parametrize("name", ["recovery.db", "recovery.tail"])
async def test_a_link_in_the_folder_is_not_followed(start: Start, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Another user of the machine may have made the folder before."""
    other = start.folder / "other"
    other.write_text("not to be changed")
    other.chmod(0o644)
    folder = start.folder / "state"
    folder.mkdir()
    (folder / name).symlink_to(other)
    store = await start(folder=folder)
    assert not store.is_persistent
    assert "cannot be used" in caplog.text
    await store.close()
    assert (other.read_text(), stat.S_IMODE(other.stat().st_mode)) == ("not to be changed", 0o644)


async def test_a_file_of_another_version_is_set_aside(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    with sqlite3.connect(start.folder / "recovery.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    store = await start()
    assert store.is_persistent
    assert "its tables have version 99, not 2" in caplog.text


async def test_a_folder_that_cannot_be_used_leaves_the_memory(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so once, and the server works."""
    (start.folder / "state").write_text("a file")
    store = await start(folder=start.folder / "state")
    assert not store.is_persistent
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"{start.folder / 'state' / 'recovery.db'} cannot be used" in caplog.text
    log = log_of(store)
    log.append(event("a"), (), ("p",), ())
    store.sessions("/").save(SESSION)
    assert await store.sessions("/").take("pid-1") == SESSION


async def test_a_folder_serves_one_process(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process works in memory, and does not change the files."""
    monkeypatch.setattr("synkora.recovery.database._PATIENCE", 0.1)
    store = await start()
    log_of(store).append(event("a"), (), ("p",), ())
    other = await start()
    assert not other.is_persistent
    assert f"Another process uses {start.folder / 'recovery.db'}" in caplog.text
    await other.close()
    await store.close()
    again = await start()
    assert log_of(again).position.number == 1


async def test_a_process_that_cannot_open_the_files_leaves_them_to_another(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """It may not open another file, for example, so it does not know of the other process."""
    store = await start()
    log_of(store).append(event("a"), (), ("p",), ())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        other = await start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not other.is_persistent
    assert "Too many open files" in caplog.text
    await store.close()
    again = await start()
    assert log_of(again).position.number == 1


async def test_a_failing_disk_leaves_the_memory(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so once. The files are removed: they would make a later process believe that nothing was missed."""
    store = await start()
    log = log_of(store)
    began = log.position
    assert store._database is not None
    store._database._connection.execute("PRAGMA max_page_count = 1")
    for _ in range(100):
        log.append(event("a" * 1000), (), ("p",), ())
    await asyncio.sleep(embedded.INTERVAL * 4)
    log.append(event("b"), (), ("p",), ())
    assert not store.is_persistent
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "database or disk is full" in caplog.text
    found = await log.read(("p",), began)
    assert isinstance(found, list)
    assert len(found) == 101
    assert os.listdir(start.folder) == []


async def fail_to_write(store: EmbeddedStore, closing: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a write fail; the close of the database then waits."""
    database = store._database
    assert database is not None
    close = database.close

    def close_late() -> None:
        closing.wait()
        close()

    monkeypatch.setattr(database, "close", close_late)
    database._connection.execute("PRAGMA max_page_count = 1")
    for _ in range(100):
        log_of(store).append(event("a" * 1000), (), ("p",), ())
    await until(lambda: not store.is_persistent)


async def test_a_process_that_is_killed_while_it_gives_its_files_up_leaves_a_gap(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files stay for a while. What was appended meanwhile is in none of them."""
    store, closing = await start(), threading.Event()
    await fail_to_write(store, closing, monkeypatch)
    log_of(store).append(event("b"), (), ("p",), ())
    position = log_of(store).position
    shutil.copytree(start.folder, start.folder / "killed")
    closing.set()
    again = await start(folder=start.folder / "killed")
    log_of(again).append(event("c"), (), ("p",), ())
    assert await log_of(again).read(("p",), position) is Incomplete.EPOCH


async def test_a_stop_waits_until_the_files_that_are_given_up_are_removed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, closing = await start(), threading.Event()
    await fail_to_write(store, closing, monkeypatch)
    stopping = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing.set()
    await stopping
    assert os.listdir(start.folder) == []


async def test_a_file_that_is_damaged_where_it_is_written_first_is_set_aside(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of the file is dropped: the new file does not have it."""
    store = await start()
    log = log_of(store)
    log.append(event("a"), (), ("p",), ())
    store.sessions("/").save(SESSION)
    await store.close()
    write = Database.write

    def fail_once(database: Database, batch: Batch) -> None:
        monkeypatch.setattr(Database, "write", write)
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Database, "write", fail_once)
    again = await start()
    assert again.is_persistent
    assert await log_of(again).read(("p",), log.position) is Incomplete.EPOCH
    assert await again.sessions("/").take(SESSION.pid) is None


async def test_a_start_of_the_machine_is_noticed(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that were not on the disk may be lost, so no client is recovered. Sessions are kept."""
    store = await start()
    log = log_of(store)
    log.append(event("a"), (), ("p",), ())
    store.sessions("/").save(lost("pid-1"))
    await asyncio.sleep(embedded.INTERVAL * 3)
    kill(store)
    monkeypatch.setattr(embedded, "_boot", lambda: "another")
    again = await start()
    assert await log_of(again).read(("p",), log.position) is Incomplete.EPOCH
    assert await again.sessions("/").take("pid-1") == lost("pid-1")
    assert "the machine was started again" in caplog.text


async def test_more_than_the_tail_holds_is_noticed(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """If a process is killed before the database has the changes that did not fit, no client is recovered."""
    store = await start(RecoverySettings(room_bytes=10 * HALF, total_bytes=10 * HALF))
    log = log_of(store)
    for size in (HALF // 2, HALF, 1):
        log.append(event("a" * size), (), ("p",), ())
    kill(store)
    again = await start()
    assert await log_of(again).read(("p",), log.position) is Incomplete.EPOCH
    assert "of 4 changes 2 are there" in caplog.text


async def test_a_missing_tail_is_noticed(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """After a kill it may have had changes. After a clean end it had none."""
    store = EmbeddedStore(start.folder)
    log = log_of(store)
    await store.start()
    log.append(event("a"), (), ("p",), ())
    await store.close()
    (start.folder / "recovery.tail").unlink()
    store = await start()
    assert log_of(store).position == log.position
    assert not caplog.records
    kill(store)
    (start.folder / "recovery.tail").unlink()
    store = await start()
    assert log_of(store).position.epoch != log.position.epoch
    assert "their file is missing" in caplog.text


async def test_a_name_that_is_not_a_text_is_refused(start: Start) -> None:
    """A lone surrogate has no UTF-8 form. The event is neither delivered nor kept, and later events are."""
    store = await start()
    delivered: list[LoggedEvent] = []
    log = store.log("/", delivered.append)
    with pytest.raises(UnicodeEncodeError):
        log.append(event("a"), (), ("\ud800",), ())
    log.append(event("b"), (), ("p",), ())
    assert [(event.number, name_of(event)) for event in delivered] == [(1, "b")]
    kill(store)
    store = await start()
    assert store.log("/", delivered.append).position == log.position


async def test_rooms_of_a_bucket_share_their_floor_after_a_restart(start: Start) -> None:
    """The floor may be too high then, never too low."""
    other = next(room for room in map(str, range(100_000)) if bucket_of(room) == bucket_of("p"))
    store = await start(RecoverySettings(room_events=1))
    log = log_of(store)
    began = log.position
    log.append(event("a"), (), ("p",), ())
    log.append(event("b"), (), (other,), ())
    log.append(event("c"), (), (other,), ())
    await store.close()
    store = await start(RecoverySettings(room_events=1))
    again = log_of(store)
    assert await again.read(("p",), began) is Incomplete.TRIMMED
    assert await again.read(("p",), began._replace(number=2)) == []
    assert await again.read((other,), began) is Incomplete.TRIMMED
    assert await names(again, (other,), began._replace(number=2)) == ["c"]


async def test_fault_09_a_read_does_not_suspend(start: Start) -> None:
    """Nothing comes between a read and the rest of the caller's turn."""
    store = await start()
    log = log_of(store)
    log.append(event("a"), (), ("p",), ())
    for waiting in (log.read(("p",), log.position), store.sessions("/").take("pid-1")):
        with pytest.raises(StopIteration):
            waiting.send(None)


class TestKill:
    """A real process that is killed with SIGKILL while it appends."""

    async def test_fault_08_kill_9_loses_nothing(self, start: Start) -> None:
        """Every delivered event is in the next process's log, after several kills."""
        last = 0
        for _ in range(5):
            process = await asyncio.create_subprocess_exec(
                sys.executable, _HERE.with_name("appender.py"), start.folder, stdout=asyncio.subprocess.PIPE
            )
            assert process.stdout is not None
            lines = [int(await process.stdout.readline()) for _ in range(3000)]
            process.send_signal(signal.SIGKILL)
            lines += [int(line) for line in (await process.stdout.read()).split(b"\n")[:-1]]
            await process.wait()
            assert last < lines[0] <= last + 2  # the last one may not have been printed
            assert lines == list(range(lines[0], lines[0] + len(lines)))
            last = lines[-1]
        store = await start()
        log = log_of(store)
        number = log.position.number
        assert last <= number <= last + 1
        found = await log.read(("p",), log.position._replace(number=number - 1000))
        assert isinstance(found, list)
        assert [event.number for event in found] == list(range(number - 999, number + 1))
