"""Addresses that fail again and again, and how long each has to wait."""

from collections import OrderedDict
from time import monotonic
from typing import Final

from synkora.engine.addresses import site_of

_MOST_ADDRESSES: Final = 50_000
_WINDOW: Final = 60  # seconds: after so long without a failure an address begins anew
_FIRST_DELAY: Final = 0.5  # seconds, doubled with each further failure
_LONGEST_DELAY: Final = 10  # seconds


class Failures:
    """Counts failures by address, the /64 of an IPv6 one; each after `most` costs a growing delay, none if that is 0.

    An address begins anew after a minute without a failure.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def note(self, address: str) -> float:
        """Count a failure; return the seconds to wait before it is answered."""
        if not self._most:
            return 0
        now = monotonic()
        site = site_of(address)
        count, last = self._counts.pop(site, (0, now))
        count = count + 1 if now - last < _WINDOW else 1
        self._counts[site] = (count, now)
        if len(self._counts) > _MOST_ADDRESSES:
            self._counts.popitem(last=False)
        beyond = count - self._most
        return min(_FIRST_DELAY * 2 ** min(beyond - 1, 10), _LONGEST_DELAY) if beyond > 0 else 0
