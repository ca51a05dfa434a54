"""Repeated checks of keys at an interval, such as rechecks of members' access."""

from collections.abc import Awaitable, Callable, Hashable
from math import inf
from typing import Final, Generic, TypeVar

from synkora.collaboration.keyed_limit import KeyedLimit
from synkora.engine.tasks import Tasks
from synkora.engine.timeouts import TimeoutQueue

K = TypeVar("K", bound=Hashable)

RECHECK: Final = 60  # seconds
_MAX_CHECKS: Final = 50


class PeriodicChecks(Generic[K]):
    """Awaits `check(key)` about `every` seconds after `add(key)`, at most 50 checks at a time, and few of one user.

    `user_of` returns the id of a key's user. A key is added again if its check returns true.
    """

    def __init__(self, check: Callable[[K], Awaitable[bool]], every: float, user_of: Callable[[K], str]) -> None:
        self._check = check
        self._user_of = user_of
        self._due: TimeoutQueue[K] = TimeoutQueue(every, lambda key: self._tasks.start(self._run(key)))
        self._limit = KeyedLimit(_MAX_CHECKS, max_waiting=inf)
        self._tasks = Tasks()

    def add(self, key: K) -> None:
        """Check `key` periodically. The time starts over if `key` was added before."""
        self._due.add(key)

    def drop(self, key: K) -> None:
        """Stop checking `key`. A running check continues."""
        self._due.drop(key)

    def cancel(self) -> None:
        """Stop all checks, including running ones."""
        self._due.cancel()
        self._tasks.cancel()

    async def _run(self, key: K) -> None:
        async with self._limit.slot(self._user_of(key)):
            goes_on = await self._check(key)
        if goes_on:
            self._due.add(key)
