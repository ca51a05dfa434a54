"""Durations, counted by bounds."""

from synkora.engine.histogram import Histogram


def test_durations_are_counted_by_their_bounds() -> None:
    """In the bucket of the smallest bound that is not less. The rest is in the last one."""
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.0, 0.1, 0.10001, 1.0, 1.5, 60.0):
        histogram.observe(seconds)
    assert histogram.counts == [2, 2, 2]
    assert histogram.sum == sum((0.0, 0.1, 0.10001, 1.0, 1.5, 60.0))
