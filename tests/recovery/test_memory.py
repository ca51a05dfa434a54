"""The event log in memory."""

from collections.abc import Iterable
from unittest.mock import Mock
from zlib import crc32

from tests.contracts.event_log import EventLogContract, missed_by
from tests.support.clocks import Clock

from synkora.recovery.floors import digest_of, new_key, raised
from synkora.recovery.memory import LogJournal, MemoryStore
from synkora.recovery.ports import EventLog, Incomplete, LoggedEvent, new_event
from synkora.recovery.position import Position
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
            log.append(new_event(Watched(b'["x","%s"]' % (b"y" * 5000)), (str(room),)))
    assert log.kept_bytes <= settings.total_bytes
    assert 0 < Watched.in_memory <= settings.total_bytes


async def empty(rooms: Iterable[str]) -> EventLog:
    """A log whose bound in bytes has dropped nearly all events of these rooms, each of which has had one."""
    settings = RecoverySettings(total_bytes=1000)
    log = MemoryStore(settings, Clock()).log("/", lambda _: None)
    for room in rooms:
        log.append(new_event(b'["%s"]' % (b"a" * 300), (room,), members_only=True))
    return log


async def test_rooms_that_lose_their_events_leave_others_without_any_complete() -> None:
    """Twice as many rooms as one user may edit. Of the names of 10,000 others some may share both buckets."""
    log = await empty(f"made up {number}" for number in range(1000))
    began = log.position._replace(number=0)
    assert [await log.read((f"made up {number}",), began) for number in range(990)] == [Incomplete.TRIMMED] * 990
    refused = [number for number in range(10_000) if await log.read((f"quiet {number}",), began) != []]
    assert len(refused) < 30


async def test_nobody_can_make_up_rooms_that_share_the_buckets_of_another() -> None:
    """By any checksum of the names that others can calculate."""
    alike = [room for room in map(str, range(500_000)) if crc32(room.encode()) % 8192 == crc32(b"quiet") % 8192]
    log = await empty(alike)
    assert len(alike) > 50
    assert await log.read(("quiet",), log.position._replace(number=0)) == []


async def test_an_event_below_a_floor_that_is_too_high_is_known_to_be_dropped() -> None:
    """Other rooms share both buckets of its room, after a restart. It was for the socket that has the room's name."""
    key = new_key()
    digest = digest_of("me", key)
    log = MemoryStore(RecoverySettings(), Clock()).log("/", lambda _: None)
    log.use_key(key)
    log.restore("epoch", raised(digest, 5, 0))
    journal = log.journal = Mock(LogJournal)
    log.restore_event(LoggedEvent(3, b'["a"]', (), ("me",), (), None), 0)
    log.skip_to(5)
    journal.floor_raised.assert_called_with(digest, 5, 3)
    assert await missed_by(log, "me", Position("epoch", 2)) is Incomplete.TRIMMED
    assert await missed_by(log, "me", Position("epoch", 3)) == []
