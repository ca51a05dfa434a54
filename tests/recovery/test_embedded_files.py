"""Files of recovery that cannot be read, used or written, or that others can reach."""

import asyncio
import logging
import os
import resource
import shutil
import sqlite3
import stat
import threading
from typing import Final
from zlib import crc32

import pytest
from tests.contracts.event_log import event, missed_by
from tests.contracts.session_store import SESSION
from tests.recovery.stores import Start, kill, log_of, names
from tests.support.servers import until

from synkora.recovery import embedded
from synkora.recovery.changes import Batch, EventAdded, encode
from synkora.recovery.database import Database
from synkora.recovery.embedded import EmbeddedStore
from synkora.recovery.ports import EventLog, Incomplete, LoggedEvent, new_event
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings

_EVENT: Final = encode(EventAdded("/", "epoch", 1.0, LoggedEvent(1, b'["a"]', (), ("room",), (), None)))


async def test_without_its_files_the_store_takes_events_too(start: Start) -> None:
    (start.folder / "state").write_text("a file")
    log = log_of(await start(folder=start.folder / "state"))
    assert await log.append_once(new_event(event("a"), ("p",)), once="a") == log.position


async def test_a_file_without_a_table_of_names_is_upgraded(start: Start) -> None:
    """The names of the events that it has are kept, also when the events are replaced."""
    store = await start()
    log = log_of(store)
    first = await log.append_once(new_event(event("a"), ("p",), key="k"), once="a")
    await store.close()
    with sqlite3.connect(start.folder / "recovery.db") as database:
        database.executescript("DROP TABLE names; DELETE FROM state WHERE name = 'key'; PRAGMA user_version = 1")
    database.close()
    store = await start()
    log_of(store).append(new_event(event("b"), ("p",), key="k"))
    await store.close()
    log = log_of(await start())
    assert log.position.number == 2
    assert await log.append_once(new_event(event("a"), ("p",), key="k"), once="a") == first


async def test_only_the_owner_can_read_the_files(start: Start) -> None:
    mask = os.umask(0)
    try:
        store = await start(folder=start.folder / "new" / "state")
        log_of(store).append(new_event(event("a"), ("p",)))
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
        "INSERT INTO floors VALUES ('/', 139265, 1)",
        "INSERT INTO names VALUES ('/', 1, NULL)",
        "INSERT INTO names VALUES ('/', -1, 'a')",
        "UPDATE state SET value = 'a' WHERE name = 'sequence'",
        "UPDATE state SET value = -1 WHERE name = 'sequence'",
        "UPDATE state SET value = x'00' WHERE name = 'key'",
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
    log.append(new_event(event("a"), ("p",)))
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
    assert "its tables have version 99, not 3" in caplog.text


async def test_the_floors_of_a_file_of_an_earlier_version_are_kept(start: Start) -> None:
    """The file has the floor of all rooms of a bucket, which may be too high, never too low. Later floors are added."""
    bucket = crc32(b"p") % 8192
    other = next(room for room in map(str, range(100_000)) if crc32(room.encode()) % 8192 == bucket)
    bounds = RecoverySettings(room_events=1)
    store = await start(bounds)
    log = log_of(store)
    began = log.position
    for name in "ab":
        log.append(new_event(event(name), ("p",)))
    await store.close()
    with sqlite3.connect(start.folder / "recovery.db") as database:
        database.execute("DELETE FROM floors")
        database.execute("INSERT INTO floors VALUES ('/', ?, 1)", (bucket,))
        database.execute("DELETE FROM state WHERE name = 'key'")
        database.execute("PRAGMA user_version = 2")
    database.close()
    again = log_of(await start(bounds))
    await again_has(again, began, other)
    for name in "cd":
        again.append(new_event(event(name), ("q",)))
    await start.stores[-1].close()
    last = log_of(await start(bounds))
    await again_has(last, began, other)
    assert await last.read(("q",), began) is Incomplete.TRIMMED


async def again_has(log: EventLog, began: Position, other: str) -> None:
    """Check that a log has one of two events of the room p, and the floor of the other for both rooms of its bucket."""
    assert await log.read(("p",), began) is Incomplete.TRIMMED
    assert await log.read((other,), began) is Incomplete.TRIMMED
    for sid in ("p", other):
        assert await missed_by(log, sid, began) is Incomplete.TRIMMED
    assert await names(log, ("p",), began._replace(number=1)) == ["b"]
    assert await log.read(("r",), began) == []


async def test_a_folder_that_cannot_be_used_leaves_the_memory(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so once, and the server works."""
    (start.folder / "state").write_text("a file")
    store = await start(folder=start.folder / "state")
    assert not store.is_persistent
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"{start.folder / 'state' / 'recovery.db'} cannot be used" in caplog.text
    log = log_of(store)
    log.append(new_event(event("a"), ("p",)))
    store.sessions("/").save(SESSION)
    assert await store.sessions("/").take("pid-1") == SESSION


async def test_a_folder_serves_one_process(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process works in memory, and does not change the files."""
    monkeypatch.setattr("synkora.recovery.database._PATIENCE", 0.1)
    store = await start()
    log_of(store).append(new_event(event("a"), ("p",)))
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
    log_of(store).append(new_event(event("a"), ("p",)))
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
        log.append(new_event(event("a" * 1000), ("p",)))
    await asyncio.sleep(embedded.INTERVAL * 4)
    log.append(new_event(event("b"), ("p",)))
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
        log_of(store).append(new_event(event("a" * 1000), ("p",)))
    await until(lambda: not store.is_persistent)


async def test_a_process_that_is_killed_while_it_gives_its_files_up_leaves_a_gap(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files stay for a while. What was appended meanwhile is in none of them."""
    store, closing = await start(), threading.Event()
    await fail_to_write(store, closing, monkeypatch)
    log_of(store).append(new_event(event("b"), ("p",)))
    position = log_of(store).position
    shutil.copytree(start.folder, start.folder / "killed")
    closing.set()
    again = await start(folder=start.folder / "killed")
    log_of(again).append(new_event(event("c"), ("p",)))
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
    log.append(new_event(event("a"), ("p",)))
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


async def test_a_missing_tail_is_noticed(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """After a kill it may have had changes. After a clean end it had none."""
    store = EmbeddedStore(start.folder)
    log = log_of(store)
    await store.start()
    log.append(new_event(event("a"), ("p",)))
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
