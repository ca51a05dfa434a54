"""Large work in small parts of each turn."""

import asyncio
import gc
import weakref
from contextlib import suppress
from functools import partial

import pytest
from tests.support.clocks import Clock, clock

from synkora.engine import turn_budget
from synkora.engine.turn_budget import RequestBudget, TurnBudget

__all__ = ["clock"]

TIMED = [turn_budget]


class Work:
    """Work that takes a second each, and what has been done."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.budget = TurnBudget(2, self.clock)
        self.done: list[str] = []

    def do(self, name: str) -> str:
        self.clock.now += 1
        self.done.append(name)
        return f"{name} is done"


async def test_work_beyond_the_share_waits_for_later_turns() -> None:
    """In its order. What comes meanwhile waits behind it."""
    work = Work()
    assert [work.budget.run(partial(work.do, name)) for name in "abcdef"] == [True, True, *[False] * 4]
    assert work.done == ["a", "b"]
    await asyncio.sleep(0)
    assert work.done == ["a", "b", "c", "d"]
    assert not work.budget.run(partial(work.do, "g"))
    await asyncio.sleep(0)
    assert work.done == ["a", "b", "c", "d", "e", "f"]
    await asyncio.sleep(0)
    assert work.done == ["a", "b", "c", "d", "e", "f", "g"]


async def test_sources_take_turns() -> None:
    """What one source has waiting does not delay the others. The work of each is done in its order."""
    work = Work()
    for name in ("a1", "a2", "a3", "a4", "a5", "b1", "c1", "b2"):
        work.budget.run(partial(work.do, name), source=name[0])
    assert work.done == ["a1", "a2"]
    await asyncio.sleep(0)
    assert work.done[2:] == ["a3", "b1"]
    work.budget.run(partial(work.do, "d1"), source="d")
    await asyncio.sleep(0)
    assert work.done[4:] == ["c1", "a4"]
    await asyncio.sleep(0)
    assert work.done[6:] == ["b2", "d1"]
    await asyncio.sleep(0)
    assert work.done[8:] == ["a5"]


def test_the_first_reads_are_free(clock: Clock) -> None:
    """24 at once, and then five hundred a second. Other budgets have none."""
    requests = RequestBudget()
    read: list[bytes] = []
    assert [requests.read_free(read.append, b"a") for _ in range(25)] == [True] * 24 + [False]
    clock.now += 0.004
    assert [requests.read_free(read.append, b"b") for _ in range(3)] == [True, True, False]
    assert not TurnBudget().read_free(read.append, b"c")
    assert read == [b"a"] * 24 + [b"b"] * 2


@pytest.mark.parametrize("seconds", [0.0005, 0.5])
def test_free_reads_take_a_twentieth_of_the_time_at_most(clock: Clock, seconds: float) -> None:
    """If each takes long, the next one is not free, and others follow when the time of the first is paid for."""
    requests, began, free = RequestBudget(), clock.now, 0.0

    def read(_: bytes) -> None:
        nonlocal free
        clock.now += seconds
        free += seconds

    while requests.read_free(read, b""):
        assert free <= max(seconds, 0.0025)
    while clock.now < began + 1000 * seconds:
        clock.now += seconds / 10
        requests.read_free(read, b"")
    assert 0.04 < free / (clock.now - began) < 0.055


def test_a_free_read_that_fails_counts(clock: Clock) -> None:
    requests = RequestBudget()

    def fail(_: bytes) -> None:
        clock.now += 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        requests.read_free(fail, b"")
    assert not requests.read_free(fail, b"")


async def test_each_turn_has_its_share() -> None:
    work = Work()
    for name in "abc":
        assert work.budget.run(partial(work.do, name))
        assert work.budget.run(partial(work.do, name))
        await asyncio.sleep(0)
    assert work.done == ["a", "a", "b", "b", "c", "c"]


async def test_failed_work_does_not_hold_up_the_rest() -> None:
    work = Work()

    def fail() -> None:
        work.clock.now += 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work.budget.run(fail)
    assert not work.budget.run(partial(work.do, "a"))
    await asyncio.sleep(0)
    assert work.done == ["a"]


async def test_the_tasks_of_work_count_too() -> None:
    work = Work()
    assert work.budget.run(partial(work.do, "a"), 1)
    assert not work.budget.run(partial(work.do, "b"), 1)
    assert not work.budget.run(partial(work.do, "c"))
    await asyncio.sleep(0)
    assert work.done == ["a", "b"]
    await asyncio.sleep(0)
    assert work.done == ["a", "b", "c"]


async def test_work_can_be_awaited() -> None:
    """Until it is done, in this turn or in a later one, with its result."""
    work = Work()
    assert await work.budget.complete(partial(work.do, "a")) == "a is done"
    work.budget.run(partial(work.do, "b"))
    assert await work.budget.complete(partial(work.do, "c")) == "c is done"
    assert work.done == ["a", "b", "c"]


@pytest.mark.parametrize("error", [ZeroDivisionError, StopIteration, asyncio.CancelledError])
@pytest.mark.parametrize("is_later", [False, True])
async def test_work_that_is_awaited_may_fail(error: type[BaseException], is_later: bool) -> None:
    """With any error of a handler. What comes behind it is done."""
    work = Work()

    def fail() -> None:
        raise error

    if is_later:
        work.budget.run(partial(work.do, "a"), 1)
    with pytest.raises(RuntimeError if error is StopIteration else error):
        await work.budget.complete(fail)
    assert await work.budget.complete(partial(work.do, "b")) == "b is done"


async def test_an_error_of_awaited_work_is_not_kept() -> None:
    """Nor what its frames know, such as a socket."""

    class Known:
        pass

    def fail(_: Known) -> None:
        raise ZeroDivisionError

    known = Known()
    kept = weakref.ref(known)
    gc.disable()
    try:
        with suppress(ZeroDivisionError):
            await Work().budget.complete(partial(fail, known))
        del known
        assert kept() is None
    finally:
        gc.enable()


async def test_the_tasks_of_awaited_work_count_too() -> None:
    work = Work()
    await work.budget.complete(partial(work.do, "a"), 1)
    assert not work.budget.run(partial(work.do, "b"))


async def test_work_is_done_also_if_nothing_waits_for_it_any_more() -> None:
    work = Work()
    work.budget.run(partial(work.do, "a"), 1)
    waiting = asyncio.ensure_future(work.budget.complete(partial(work.do, "b")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert work.done == ["a", "b"]
