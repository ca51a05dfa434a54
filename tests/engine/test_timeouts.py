import asyncio
from collections.abc import Callable
from operator import itemgetter
from time import sleep
from types import SimpleNamespace

import pytest
from tests.support.servers import until

from synkora.engine.timeouts import TimeoutQueue


async def test_each_key_expires_once_in_the_order_of_adding() -> None:
    expired: list[str] = []
    deadlines = TimeoutQueue(0.02, expired.append)
    for key in "abc":
        deadlines.add(key)
    assert len(deadlines) == 3
    await until(lambda: len(expired) == 3)
    assert expired == ["a", "b", "c"]
    assert len(deadlines) == 0


async def test_nothing_expires_before_its_time() -> None:
    """A key expires earlier by the slack at most."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    TimeoutQueue(0.1, done.set_result).add(1)
    start = loop.time()
    await done
    assert loop.time() - start >= 0.09


async def test_a_dropped_key_does_not_expire() -> None:
    expired: list[str] = []
    deadlines = TimeoutQueue(0.02, expired.append)
    deadlines.add("a")
    deadlines.add("b")
    deadlines.drop("a")
    deadlines.drop("never added")
    assert "a" not in deadlines
    assert "b" in deadlines
    await until(lambda: expired)
    assert expired == ["b"]


async def test_adding_again_restarts_the_timeout() -> None:
    """The key moves behind those added meanwhile."""
    expired: list[str] = []
    deadlines = TimeoutQueue(0.02, expired.append)
    for key in "aba":
        deadlines.add(key)
    await until(lambda: len(expired) == 2)
    assert expired == ["b", "a"]


async def test_keys_may_be_added_and_dropped_while_others_expire() -> None:
    """A key dropped by `expired` does not expire, and an added one has its whole timeout."""
    expired: list[str] = []

    def on_expired(key: str) -> None:
        expired.append(key)
        if key == "a":
            deadlines.drop("b")
            deadlines.add("c")

    deadlines = TimeoutQueue(0.02, on_expired)
    deadlines.add("a")
    deadlines.add("b")
    await until(lambda: "c" in expired)
    assert expired == ["a", "c"]


class Clock:
    """The time and the timers of an event loop, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._loop = asyncio.get_running_loop()
        self._timers: list[tuple[float, asyncio.Handle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.Handle:
        handle = asyncio.Handle(callback, (), self._loop)
        self._timers.append((when, handle))
        return handle

    def move_to(self, now: float) -> None:
        for when, handle in sorted(self._timers, key=itemgetter(0)):
            if when <= now and not handle.cancelled():
                self._timers.remove((when, handle))
                self.now = when
                handle._run()
        self.now = now


async def test_a_key_that_is_added_again_while_it_expires_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other key expires after its own time."""
    clock = Clock()
    monkeypatch.setattr("synkora.engine.timeouts.asyncio", SimpleNamespace(get_running_loop=lambda: clock))
    expired: list[tuple[str, float]] = []

    def on_expired(key: str) -> None:
        expired.append((key, clock.now))
        if key == "a":
            deadlines.add("a")

    deadlines = TimeoutQueue(1.0, on_expired)
    deadlines.add("a")
    clock.move_to(0.3)
    deadlines.add("b")
    for step in range(4, 25):
        clock.move_to(step / 10)
    assert expired == [("a", 1.0), ("b", 1.3), ("a", 2.0)]


async def test_timeouts_that_come_due_together_do_not_hold_up_the_event_loop() -> None:
    """Others have turns in between. The order stays."""
    turns = 0
    expired: list[int] = []
    expired_in: list[int] = []

    def count() -> None:
        nonlocal turns
        turns += 1
        if len(expired) < 20:
            loop.call_soon(count)

    def on_expired(key: int) -> None:
        expired.append(key)
        expired_in.append(turns)
        sleep(0.001)

    loop = asyncio.get_running_loop()
    deadlines = TimeoutQueue(0.02, on_expired)
    for key in range(20):
        deadlines.add(key)
    count()
    await until(lambda: len(expired) == 20)
    assert expired == list(range(20))
    assert len(set(expired_in)) == 20


async def test_an_error_of_one_key_does_not_cost_the_others_theirs(caplog: pytest.LogCaptureFixture) -> None:
    """The loop reports the error, and the other keys expire."""
    expired: list[str] = []

    def on_expired(key: str) -> None:
        if key == "bad":
            raise RuntimeError("of the test")
        expired.append(key)

    deadlines = TimeoutQueue(0.02, on_expired)
    deadlines.add("bad")
    deadlines.add("good")
    await until(lambda: expired)
    assert expired == ["good"]
    assert "of the test" in caplog.text


async def test_after_cancel_nothing_expires_and_adding_works_again() -> None:
    expired: list[str] = []
    deadlines = TimeoutQueue(0.02, expired.append)
    deadlines.add("a")
    deadlines.cancel()
    assert len(deadlines) == 0
    deadlines.add("b")
    await until(lambda: expired)
    assert expired == ["b"]
