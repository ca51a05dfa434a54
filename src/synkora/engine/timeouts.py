"""Thousands of timeouts of the same length, on one timer."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import perf_counter
from typing import Final, Generic, TypeVar

from synkora.engine.turn_budget import SHARE

K = TypeVar("K", bound=Hashable)

_SLACK: Final = 0.02  # of the length; timeouts within this time expire in one wake-up


class TimeoutQueue(Generic[K]):
    """Calls `expired(key)` for each key about `length` seconds after `add`, unless the key was dropped.

    All timeouts have the same length, so they expire in insertion order, and a queue is enough. If very many come due
    together, they expire in several turns of the event loop.
    """

    def __init__(self, length: float, expired: Callable[[K], None]) -> None:
        self.length = length
        self._expired = expired
        self._due: OrderedDict[K, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, key: K) -> bool:
        return key in self._due

    def add(self, key: K) -> None:
        """Start the timeout of `key`, or restart it."""
        loop = asyncio.get_running_loop()
        self._due.pop(key, None)
        self._due[key] = due = loop.time() + self.length
        if self._timer is None:
            self._timer = loop.call_at(due, self._wake)

    def drop(self, key: K) -> None:
        """Cancel the timeout of `key`, if there is one."""
        self._due.pop(key, None)

    def cancel(self) -> None:
        """Cancel all timeouts."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        horizon = loop.time() + self.length * _SLACK
        end = perf_counter() + SHARE
        try:
            while self._due and next(iter(self._due.values())) <= horizon:
                key, _ = self._due.popitem(last=False)
                self._expired(key)
                if perf_counter() >= end:
                    break
        finally:
            if self._timer is not None:  # `expired` may have cancelled all and added a key
                self._timer.cancel()
            self._timer = loop.call_at(next(iter(self._due.values())), self._wake) if self._due else None
