"""The event log in memory."""

from tests.contracts.event_log import EventLogContract
from tests.support.clocks import Clock

from synkora.recovery.memory import MemoryStore
from synkora.recovery.settings import RecoverySettings


class TestMemoryLog(EventLogContract):
    pass


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
