"""A rate limit with a burst."""

from dataclasses import dataclass, field
from typing import Final

_ROUNDING: Final = 1e-6  # seconds; rounding of float sums must not shorten a burst by one event


@dataclass(frozen=True, slots=True)
class Rate:
    """Events or bytes per second, with a burst. Both must be above 0.

    An event is accepted if it is at most the burst ahead of the rate: the generic cell rate algorithm (ITU-T I.371),
    which needs one number per client.
    """

    per_second: float
    burst: float
    _interval: float = field(init=False, repr=False)
    _ahead: float = field(init=False, repr=False)  # seconds

    def __post_init__(self) -> None:
        object.__setattr__(self, "_interval", 1 / self.per_second)
        object.__setattr__(self, "_ahead", (self.burst - 1) / self.per_second + _ROUNDING)

    def excess(self, due: float, now: float) -> float:
        """Return the seconds until a client with this `due` may send an event; 0 or less if the client may send now."""
        return due - now - self._ahead

    def after(self, due: float, now: float, cost: float = 1) -> float:
        """Return the new `due` of a client after an accepted event; `cost` is in events or bytes.

        An accepted event may cost more than the burst. The excess is a debt, and the next event waits for it.
        """
        return max(due, now) + self._interval * cost
