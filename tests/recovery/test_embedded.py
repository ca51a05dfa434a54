"""Recovery in files."""

import asyncio
import signal
import sys
import threading
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
from tests.recovery.stores import Start, kill, log_of, names, rows_in
from tests.support.clocks import Clock
from tests.support.processes import PATIENCE

from synkora.recovery import embedded
from synkora.recovery.changes import Batch
from synkora.recovery.embedded import EmbeddedStore
from synkora.recovery.ports import Incomplete, LoggedEvent, LogUnavailable, RecoveryStore, new_event
from synkora.recovery.settings import RecoverySettings
from synkora.recovery.tail import HALF

_HERE: Final = Path(__file__)


@pytest.fixture
def make(start: Start) -> MakeStore:
    async def make(settings: RecoverySettings, clock: Clock) -> RecoveryStore:
        store = await start(settings, clock)
        assert store.is_persistent
        return store

    return make


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
                return await start(store.settings)
            if request.param == "killed later":
                await asyncio.sleep(embedded.INTERVAL * 3)
            kill(store)
            return await start(store.settings)

        return restart


class TestEmbeddedSessions(SessionStoreContract, ForgettingContract):
    pass


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
    log.append(new_event(event("a"), ("p",)))
    assert await asyncio.to_thread(writes.wait, PATIENCE)
    log.append(new_event(event("b"), ("p",)))
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
        await log.append_once(new_event(event("a"), ("p",)), once="a")
    await store.start()
    first = await log.append_once(new_event(event("a"), ("p",)), once="a")
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
                await late.append_once(new_event(event("b"), ("p",)), once=name)
    goes_on.set()
    await closing
    with pytest.raises(LogUnavailable):
        await log.append_once(new_event(event("b"), ("p",)), once="b")
    assert len(delivered) == 1
    again = log_of(await start())
    assert again.position == first
    assert await again.append_once(new_event(event("b"), ("p",)), once="b") == again.position


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
        log.append(new_event(event(name), ("p",), ("me",), "k" if name in "bc" else None, attachments=(b"\x00",)))
    log.append(new_event(event("all")))
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
    restored.append(new_event(event("e"), ("q",)))
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
        await log_of(store, namespace).append_once(new_event(event("old"), ("p",)), once="name")
        store.sessions(namespace).save(lost("pid-1"))
        if is_written:
            await asyncio.sleep(embedded.INTERVAL * 3)
        store.forget(namespace)
    again = log_of(store, "/b")
    began = again.position
    again.append(new_event(event("new"), ("p",)))
    store.sessions("/b").save(lost("pid-2"))
    if is_written:
        await asyncio.sleep(embedded.INTERVAL * 3)
    kill(store)
    store = await start()
    assert await store.sessions("/a").take("pid-1") is await store.sessions("/b").take("pid-1") is None
    assert log_of(store, "/a").position.number == 0
    assert await names(log_of(store, "/b"), ("p",), began) == ["new"]
    assert await store.sessions("/b").take("pid-2") == lost("pid-2")
    await log_of(store, "/b").append_once(new_event(event("newer"), ("p",)), once="name")
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
    log_of(store, "/gone").append(new_event(event("a"), ("p",)))
    kill(store)
    await (await start(clock=clock)).close()
    assert rows_in(start.folder, "numbers") == 1
    clock.now += 10_000
    await (await start(clock=clock)).close()
    assert rows_in(start.folder, "numbers") == 0


async def test_entries_that_expire_while_the_server_is_down_are_dropped(start: Start) -> None:
    """Events and sessions, also from the files."""
    clock = Clock()
    store = await start(clock=clock)
    log = log_of(store)
    began = log.position
    log.append(new_event(event("a"), ("p",)))
    store.sessions("/").save(lost("pid-1"))
    await store.close()
    clock.now += 10_000
    again = EmbeddedStore(start.folder, clock=clock)
    log = log_of(again)
    await again.start()
    assert await log.read(("p",), began) is Incomplete.TRIMMED
    assert await again.sessions("/").take("pid-1") is None
    await again.close()
    assert rows_in(start.folder, "events") == rows_in(start.folder, "sessions") == 0


@pytest.mark.parametrize("is_written", [False, True])
async def test_the_file_has_the_last_names(start: Start, is_written: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the log remembers."""
    monkeypatch.setattr("synkora.recovery.memory.MAX_ONCE", 3)
    store = await start()
    log = log_of(store)
    for name in "abcde":
        await log.append_once(new_event(event(name), ("p",)), once=name)
        if is_written:
            await asyncio.sleep(embedded.INTERVAL * 3)
    kill(store)
    await (await start()).close()
    assert rows_in(start.folder, "names") == 3
    log = log_of(await start())
    positions = [await log.append_once(new_event(event(name), ("p",)), once=name) for name in "cdeab"]
    assert [position.number for position in positions if position is not None] == [3, 4, 5, 6, 7]


async def test_an_event_that_cannot_be_kept_leaves_no_name(start: Start) -> None:
    """The call can be repeated."""
    log = log_of(await start())
    with pytest.raises(UnicodeEncodeError):
        await log.append_once(new_event(event("a"), ("\ud800",)), once="a")
    assert log.position.number == 0
    assert await log.append_once(new_event(event("a"), ("p",)), once="a") == log.position._replace(number=1)
    assert log.position.number == 1


async def test_replaced_and_trimmed_events_leave_the_file(start: Start) -> None:
    store = await start(RecoverySettings(room_events=10))
    log = log_of(store)
    for number in range(50):
        log.append(new_event(event("a"), ("p", "q"), key=f"k{number % 5}"))
        log.append(new_event(event("b"), ("r",)))
        if number % 10 == 0:
            await asyncio.sleep(embedded.INTERVAL * 1.5)
    await store.close()
    assert rows_in(start.folder, "events") == 15


async def test_a_start_of_the_machine_is_noticed(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that were not on the disk may be lost, so no client is recovered. Sessions are kept."""
    store = await start()
    log = log_of(store)
    log.append(new_event(event("a"), ("p",)))
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
        log.append(new_event(event("a" * size), ("p",)))
    kill(store)
    again = await start()
    assert await log_of(again).read(("p",), log.position) is Incomplete.EPOCH
    assert "of 4 changes 2 are there" in caplog.text


async def test_a_name_that_is_not_a_text_is_refused(start: Start) -> None:
    """A lone surrogate has no UTF-8 form. The event is neither delivered nor kept, and later events are."""
    store = await start()
    delivered: list[LoggedEvent] = []
    log = store.log("/", delivered.append)
    with pytest.raises(UnicodeEncodeError):
        log.append(new_event(event("a"), ("\ud800",)))
    log.append(new_event(event("b"), ("p",)))
    assert [(event.number, name_of(event)) for event in delivered] == [(1, "b")]
    kill(store)
    store = await start()
    assert store.log("/", delivered.append).position == log.position


async def test_fault_09_a_read_does_not_suspend(start: Start) -> None:
    """Nothing comes between a read and the rest of the caller's turn."""
    store = await start()
    log = log_of(store)
    log.append(new_event(event("a"), ("p",)))
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
