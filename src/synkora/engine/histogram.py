"""How long something takes: counts by fixed bounds, in plain numbers for whoever shows them."""

from bisect import bisect_left


class Histogram:
    """Durations in seconds, counted by upper bounds: `counts` has one more than `bounds`, for what is longer than all.

    `sum` is that of all durations.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one; a duration that is a bound belongs below it."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds
