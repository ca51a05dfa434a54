"""The cost of the log."""

import asyncio
import time
import tracemalloc
from collections.abc import Callable
from itertools import count
from typing import Final

import pytest

from synkora.recovery.floors import Floors, digest_of, new_key
from synkora.recovery.kept_room import KeptRoom
from synkora.recovery.memory import MemoryLog, MemoryStore
from synkora.recovery.ports import new_event
from synkora.recovery.position import Position
from synkora.recovery.settings import RecoverySettings

KEPT: Final = 100_000
_SETTINGS: Final = RecoverySettings(room_events=KEPT, room_bytes=10**9, total_bytes=10**9)


def _filled(rooms: int, *, keyed: bool, events: int = KEPT) -> MemoryLog:
    """A log of edits by a hundred clients, each of which excludes its sender, as in `collaboration`."""
    log = MemoryStore(_SETTINGS).log("/", lambda _: None)
    for number in range(events):
        key = f"task:update task-{number}" if keyed else None
        project, sender = f"project-{number % rooms}", f"{number % 100:020}"
        log.append(new_event(b'["task:update",{"id":"task-%d"}]' % number, (project,), (sender,), key))
    return log


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("rooms", [1, 200, 2000])
def test_fault_11_a_kept_event_takes_few_bytes(rooms: int, keyed: bool) -> None:
    """At most 300 beside the event itself."""
    events = 20_000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        log = _filled(rooms, keyed=keyed, events=events)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    payload = sum(len(b'["task:update",{"id":"task-%d"}]' % number) for number in range(events))
    assert log.position.number == events
    assert (after - before - payload) / events <= 300


def test_very_many_small_events_are_bounded_in_number() -> None:
    """Each takes up to 300 bytes besides its own. The largest rooms make room: a flood costs no quiet room."""
    log = MemoryLog(RecoverySettings(total_events=1000), lambda _: None)
    log.append(new_event(b'["x"]', ("quiet",)))
    for number in range(3000):
        log.append(new_event(b'["x"]', (f"project-{number // 100}",)))
    assert 1000 - 1000 / 64 <= log._count == sum(room.count for room in log._rooms.values()) <= 1000
    assert log._rooms["quiet"].count == 1
    assert min(log._rooms[f"project-{number}"].count for number in range(30)) >= 1000 // 31 - 1


def test_a_full_log_looks_at_all_rooms_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a large event for everyone, and rooms of the same size: each look makes room for a 64th of the log."""
    looks, largest = count(), MemoryLog._largest

    def look(log: MemoryLog, measure: Callable[[KeptRoom], int], share: int) -> list[KeptRoom]:
        next(looks)
        return largest(log, measure, share)

    monkeypatch.setattr(MemoryLog, "_largest", look)
    log = MemoryLog(RecoverySettings(total_bytes=640_000), lambda _: None)
    log.append(new_event(b'["%b"]' % (b"x" * 100_000)))
    for number in range(20_000):
        log.append(new_event(b'["%b"]' % (b"x" * 96), (f"project-{number % 500}",)))
    assert log.kept_bytes <= 640_000
    assert 10 <= next(looks) <= (2_100_000 - 640_000) / 10_000


@pytest.mark.parametrize("rooms", [1, 1000])
def test_fault_11_a_read_costs_only_the_missed_events(rooms: int) -> None:
    """At most 0.1 ms of CPU for 10 missed events, with 100,000 kept."""
    log = _filled(rooms, keyed=True)
    after = Position(log.epoch, KEPT - 10 * rooms)
    times: list[float] = []

    async def read() -> None:
        for _ in range(50):
            began = time.thread_time()
            found = await log.read(("project-0", "me"), after)
            times.append(time.thread_time() - began)
            assert isinstance(found, list)
            assert len(found) == 10

    asyncio.run(read())
    assert min(times) <= 0.0001


def test_the_floors_of_a_few_rooms_take_few_bytes() -> None:
    """A server of one's own may have very many namespaces, each with floors."""
    key = new_key()
    tracemalloc.start()
    try:
        floors = Floors()
        for room in "abc":
            floors.raise_to(digest_of(room, key), 1, 1)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(floors.of(room, digest_of(room, key)) == (1, 1) for room in "abc")
    assert size < 20_000
