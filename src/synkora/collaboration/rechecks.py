"""Questions about members that are asked again and again."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from synkora.engine.tasks import Tasks
from synkora.engine.timeouts import TimeoutQueue

K = TypeVar("K", bound=Hashable)

RECHECK: Final = 60  # seconds
_MOST_AT_ONCE: Final = 50


class Rechecks(Generic[K]):
    """Awaits `check(key)` about `every` seconds after `key` was added, for 50 keys at a time.

    A key whose check returns true is added again.
    """

    def __init__(self, check: Callable[[K], Awaitable[bool]], every: float) -> None:
        self._check = check
        self._due: TimeoutQueue[K] = TimeoutQueue(every, lambda key: self._tasks.start(self._run(key)))
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self._tasks = Tasks()

    def add(self, key: K) -> None:
        """Check `key` from now on. The time starts over if `key` was added before."""
        self._due.add(key)

    def drop(self, key: K) -> None:
        """Stop the time of `key`. A check that is running goes on."""
        self._due.drop(key)

    def cancel(self) -> None:
        """End all checks, running ones included."""
        self._due.cancel()
        self._tasks.cancel()

    async def _run(self, key: K) -> None:
        async with self._slots:
            goes_on = await self._check(key)
        if goes_on:
            self._due.add(key)
