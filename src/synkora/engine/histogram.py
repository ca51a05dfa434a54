"""A histogram of durations with fixed bounds, for any exporter."""

from bisect import bisect_left


class Histogram:
    """Durations in seconds, counted by upper bounds: `counts` has one more entry than `bounds`, for longer durations.

    `sum` is the sum of all durations.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration; a duration equal to a bound belongs to this bound."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds
