"""How often something may be done that costs more at one time than at another."""


class Pace:
    """What is done at once until it has cost `burst` seconds more than have gone by; then not before `due`.

    A cost is how many seconds it takes until as much may be done again. Times are those of the event loop.
    """

    __slots__ = ("_burst", "_spent")

    def __init__(self, burst: float) -> None:
        self._burst = burst
        self._spent = 0.0  # until when all that has been done is paid for

    @property
    def due(self) -> float:
        """When it may be done next."""
        return self._spent - self._burst

    def spend(self, time: float, cost: float) -> None:
        """Note that it has been done."""
        self._spent = max(time, self._spent) + cost
