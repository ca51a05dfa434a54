"""The sessions in memory."""

from tests.contracts.session_store import ForgettingContract, SessionStoreContract
from tests.support.clocks import Clock

from synkora.recovery.memory import MemoryStore
from synkora.recovery.ports import SavedSession
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings


class TestMemorySessions(SessionStoreContract, ForgettingContract):
    pass


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
    assert kept == [14, 15, 16, 17, 18, 19]
    for number in range(3):
        save(number)
        save(number)
    save(3, is_lost=False)
    assert [await sessions.take(f"pid {number}") is not None for number in range(4)] == [True] * 4
