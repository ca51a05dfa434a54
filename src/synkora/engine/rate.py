"""How many a second, and how many at once."""

from dataclasses import dataclass, field
from typing import Final

_ROUNDING: Final = 1e-6  # seconds: sums of floats must not make a burst an event too small


@dataclass(frozen=True, slots=True)
class Rate:
    """So many events or bytes a second, and `burst` at once; none of either is no limit.

    An event is taken if it is not more than the burst ahead of the rate: the generic cell rate algorithm (ITU-T I.371),
    which needs one number for each client.
    """

    per_second: float
    burst: float
    _interval: float = field(init=False, repr=False)
    _ahead: float = field(init=False, repr=False)  # seconds

    def __post_init__(self) -> None:
        object.__setattr__(self, "_interval", 1 / self.per_second)
        object.__setattr__(self, "_ahead", (self.burst - 1) / self.per_second + _ROUNDING)

    def excess(self, due: float, now: float) -> float:
        """Seconds until another may come, of a client whose next one is `due`; none or less if it may come now."""
        return due - now - self._ahead

    def after(self, due: float, now: float, cost: float = 1) -> float:
        """When the next one is due, after one that was taken now; one of several bytes costs so many.

        It is taken whatever it costs, if anything is: what it costs more is owed, and the next one waits for it.
        """
        return max(due, now) + self._interval * cost
