"""Recovery in memory."""

import pytest
from tests.contracts.event_log import EventLogContract, MakeStore
from tests.contracts.session_store import ForgettingContract, SessionStoreContract
from tests.support.clocks import Clock

from synkora.recovery.memory import MemoryStore
from synkora.recovery.ports import RecoveryStore, SavedSession
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings


async def _make(settings: RecoverySettings, clock: Clock) -> RecoveryStore:
    return MemoryStore(settings, clock)


class TestMemoryLog(EventLogContract):
    @pytest.fixture
    def make(self) -> MakeStore:
        return _make


class TestMemorySessions(SessionStoreContract, ForgettingContract):
    @pytest.fixture
    def make(self) -> MakeStore:
        return _make


class Watched(bytes):
    """An event's data that counts the bytes which are still in memory."""

    in_memory = 0

    def __init__(self, _: bytes) -> None:
        type(self).in_memory += len(self)

    def __del__(self) -> None:
        type(self).in_memory -= len(self)


async def test_trimmed_events_leave_the_memory() -> None:
    """Large edits in as many rooms as have a share for one: each keeps its newest, and nothing else stays."""
    settings = RecoverySettings(total_bytes=101_000)
    log = MemoryStore(settings, Clock()).log("/", lambda _: None)
    for _ in range(20):
        for room in range(20):
            log.append(Watched(b'["x","%s"]' % (b"y" * 5000)), rooms=(str(room),))
    assert log.kept_bytes <= settings.total_bytes
    assert 0 < Watched.in_memory <= settings.total_bytes


async def test_lost_sessions_are_bounded_in_bytes() -> None:
    """Sessions in many rooms with long names: the oldest are dropped, and a taken one makes room."""
    clock = Clock()
    sessions = MemoryStore(RecoverySettings(session_bytes=100_000), clock).sessions("/")
    rooms = tuple(f"{number:0200}" for number in range(50))

    def save(number: int, *, is_lost: bool = True) -> None:
        lost_at = clock() if is_lost else None
        sessions.save(SavedSession(f"pid {number}", "sid", "", rooms, Position("e", 0), lost_at, (0,) * 50))

    for number in range(20):
        save(number)
    kept = [number for number in range(20) if await sessions.take(f"pid {number}") is not None]
    assert kept == [17, 18, 19]
    for number in range(3):
        save(number)
        save(number)
    save(3, is_lost=False)
    assert [await sessions.take(f"pid {number}") is not None for number in range(4)] == [True] * 4
