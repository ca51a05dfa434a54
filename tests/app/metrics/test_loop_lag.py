"""The event loop's lag."""

import asyncio
import time

from synkora.app.metrics.loop_lag import LAG_BOUNDS, LoopLag


async def test_a_loop_that_stands_still_is_late_for_every_time_it_missed() -> None:
    """A block of several intervals counts once per interval, each with its remaining delay."""
    with LoopLag(interval=0.02) as lag:
        await asyncio.sleep(0.03)
        time.sleep(0.3)  # noqa: ASYNC251  # that is what is to be seen
        await asyncio.sleep(0.03)
    late = sum(lag.durations.counts[LAG_BOUNDS.index(0.05) + 1 :])
    assert late >= 8
    assert lag.durations.sum > 1


async def test_it_ends_with_its_block() -> None:
    with LoopLag(interval=0.01) as lag:
        await asyncio.sleep(0.05)
    seen = sum(lag.durations.counts)
    assert seen > 0
    await asyncio.sleep(0.05)
    assert sum(lag.durations.counts) == seen


async def test_the_maximum_is_returned_once() -> None:
    """The longest block since the last reading."""
    with LoopLag(interval=0.02) as lag:
        await asyncio.sleep(0.03)
        time.sleep(0.2)  # noqa: ASYNC251  # that is what is to be seen
        await asyncio.sleep(0.03)
        worst = lag.take_worst()
        assert worst >= 0.1
        assert lag.take_worst() < worst
