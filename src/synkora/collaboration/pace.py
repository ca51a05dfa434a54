"""A rate limit for work of varying cost, such as lists of members."""


class Pace:
    """Allows work until its cost exceeds the elapsed time by `burst` seconds; then the next work is due at `due`.

    A cost is the seconds until the same work may be done again. Times are of the event loop's clock.
    """

    __slots__ = ("_burst", "_spent")

    def __init__(self, burst: float) -> None:
        self._burst = burst
        self._spent = 0.0  # time at which all work so far is paid for

    @property
    def due(self) -> float:
        """The earliest time for the next work."""
        return self._spent - self._burst

    def spend(self, time: float, cost: float) -> None:
        """Record work that was done at `time`."""
        self._spent = max(time, self._spent) + cost
