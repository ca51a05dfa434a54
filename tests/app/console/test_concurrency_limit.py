"""The limit on simultaneous slow requests."""

import asyncio

import pytest
from tests.collaboration.site import turn

from synkora.app.console.concurrency_limit import MOST_RUNNING, MOST_WAITING, ConcurrencyLimit
from synkora.app.console.sign_in import ConsoleRefused


async def test_few_run_at_once_and_the_others_wait_in_order() -> None:
    """A refused request takes no place. A finished or cancelled one frees its place."""
    turns = ConcurrencyLimit()
    begun: list[int] = []
    may_end = [asyncio.Event() for _ in range(MOST_RUNNING + MOST_WAITING)]

    async def act(number: int) -> None:
        async with turns.turn():
            begun.append(number)
            await may_end[number].wait()

    tasks = [asyncio.create_task(act(number)) for number in range(MOST_RUNNING + MOST_WAITING)]
    await turn()
    assert begun == list(range(MOST_RUNNING))
    with pytest.raises(ConsoleRefused) as refusal:
        async with turns.turn():
            pass
    assert refusal.value.status == 503
    tasks.pop().cancel()
    may_end[0].set()
    await turn()
    assert begun == list(range(MOST_RUNNING + 1))
    for event in may_end:
        event.set()
    await asyncio.gather(*tasks)
    assert begun == list(range(MOST_RUNNING + MOST_WAITING - 1))
    async with turns.turn():
        pass
