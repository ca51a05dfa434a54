"""Addresses that fail again and again, and how long each has to wait."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

from synkora.engine.addresses import rate_limit_key

_MOST_ADDRESSES: Final = 50_000
_WINDOW: Final = 60  # seconds: after so long without a failure an address begins anew
_FIRST_DELAY: Final = 0.5  # seconds, doubled with each further failure
_LONGEST_DELAY: Final = 10  # seconds


class FailureBackoff:
    """Counts failures by address, the /64 of an IPv6 one; each after `most` costs a growing delay, none if that is 0.

    An address begins anew after a minute without a failure. `noted` is called with the address, or its network, of each
    failure on this server; those of other servers are counted with `add` and `raise_to`.
    """

    def __init__(self, most: int) -> None:
        self.noted: Callable[[str], None] | None = None
        self._most = most
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def note(self, address: str) -> float:
        """Count a failure; return the seconds to wait before it is answered."""
        if not self._most:
            return 0
        site = rate_limit_key(address)
        beyond = self.add(site, 1) - self._most
        if self.noted is not None:
            self.noted(site)
        return min(_FIRST_DELAY * 2 ** min(beyond - 1, 10), _LONGEST_DELAY) if beyond > 0 else 0

    def has_enough(self, address: str) -> bool:
        """Whether each further failure of an address costs a delay."""
        return 0 < self._most <= self._recent(rate_limit_key(address))

    def add(self, site: str, times: int) -> int:
        """Count so many more failures of an address, or network; return how many there are."""
        return self._set(site, self._recent(site) + times)

    def raise_to(self, site: str, count: int) -> None:
        """Count no fewer than so many."""
        self._set(site, max(self._recent(site), count))

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each address that has not begun anew."""
        return {site: count for site in self._counts if (count := self._recent(site))}

    def _recent(self, site: str) -> int:
        count, last = self._counts.get(site, (0, 0.0))
        return count if monotonic() - last < _WINDOW else 0

    def _set(self, site: str, count: int) -> int:
        self._counts[site] = (count, monotonic())
        self._counts.move_to_end(site)
        if len(self._counts) > _MOST_ADDRESSES:
            self._counts.popitem(last=False)
        return count
