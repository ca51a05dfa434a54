"""Background tasks with an owner that cancels them."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Keeps a reference to each running task, as `asyncio.create_task` requires, and cancels all tasks at the end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a task of the running event loop."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def cancel(self) -> None:
        """Cancel the running tasks."""
        for task in self._running:
            task.cancel()
