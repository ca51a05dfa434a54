"""Measures the event loop's lag: the delay of all clients while a callback runs too long."""

import asyncio
from time import monotonic
from typing import Final, Self

from synkora.engine.histogram import Histogram

INTERVAL: Final = 0.25  # seconds
#: Seconds. uvloop's timers have millisecond resolution, so smaller bounds would be meaningless.
LAG_BOUNDS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Measures, within a `with` block in a running loop, by how much a timer of `interval` seconds is late each time.

    Timers that were missed while the loop was blocked count too, each with its own delay.
    """

    def __init__(self, interval: float = INTERVAL) -> None:
        self.durations = Histogram(LAG_BOUNDS)
        self._worst = 0.0
        self._interval = interval
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._due = monotonic()
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def take_worst(self) -> float:
        """Return the maximum lag since the last call, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    def _wait(self) -> None:
        self._due += self._interval
        delay = self._due - monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(delay, 0.0), self._wake)

    def _wake(self) -> None:
        now = monotonic()
        lag = max(now - self._due, 0.0)
        self._worst = max(self._worst, lag)
        self.durations.observe(lag)
        while now - self._due > self._interval:
            self._due += self._interval
            self.durations.observe(now - self._due)
        self._wait()
