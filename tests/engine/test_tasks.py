"""Background tasks with an owner."""

import asyncio

from synkora.engine.tasks import Tasks


async def test_a_finished_task_is_forgotten() -> None:
    """A long-lived owner does not collect tasks."""
    tasks = Tasks()
    done = asyncio.Event()

    async def finish() -> None:
        done.set()

    tasks.start(finish())
    assert len(tasks) == 1
    await done.wait()
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_running_tasks_are_cancelled() -> None:
    tasks = Tasks()
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    tasks.start(wait("a"))
    tasks.start(wait("b"))
    await asyncio.sleep(0)
    tasks.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sorted(ended) == ["a", "b"]
    assert len(tasks) == 0
