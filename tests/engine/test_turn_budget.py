"""Large work in small parts of each turn."""

import asyncio
from functools import partial

import pytest
from tests.support.clocks import Clock

from synkora.engine.turn_budget import TurnBudget


class Work:
    """Work that takes a second each, and what has been done."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.budget = TurnBudget(2, self.clock)
        self.done: list[str] = []

    def do(self, name: str) -> None:
        self.clock.now += 1
        self.done.append(name)


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
    """Until it is done, whether in this turn or in a later one, and also if it fails then."""
    work = Work()
    await work.budget.complete(partial(work.do, "a"))
    assert work.done == ["a"]
    work.budget.run(partial(work.do, "b"))
    await work.budget.complete(partial(work.do, "c"))
    assert work.done == ["a", "b", "c"]
