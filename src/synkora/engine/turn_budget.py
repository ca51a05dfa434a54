"""Shares a part of each turn of the event loop among connections whose work is large."""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

SHARE: Final = 0.005  # seconds of a turn


class TurnBudget:
    """Does work until a turn's share is spent, and the rest in later turns, in its order."""

    __slots__ = ("_clock", "_is_armed", "_share", "_spent", "_waiting")

    def __init__(self, share: float = SHARE, clock: Callable[[], float] = perf_counter) -> None:
        self._share = share
        self._clock = clock
        self._spent = 0.0
        self._is_armed = False
        self._waiting: deque[Callable[[], None]] = deque()

    def run(self, work: Callable[[], None]) -> bool:
        """Do `work` and return True, or put it off to a later turn and return False."""
        if self._waiting or self._spent >= self._share:
            self._waiting.append(work)
            return False
        self._do(work)
        return True

    def _do(self, work: Callable[[], None]) -> None:
        if not self._is_armed:
            self._is_armed = True
            asyncio.get_running_loop().call_soon(self._begin_turn)
        began = self._clock()
        try:
            work()
        finally:
            self._spent += self._clock() - began

    def _begin_turn(self) -> None:
        self._is_armed = False
        self._spent = 0.0
        while self._waiting and self._spent < self._share:
            self._do(self._waiting.popleft())
