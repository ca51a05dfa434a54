"""Backoff for addresses that fail to sign in: a delay that doubles with each failure above a number per minute."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

from synkora.engine.addresses import rate_limit_key

_MAX_ADDRESSES: Final = 50_000
_WINDOW: Final = 60  # seconds; an address without a failure for this time has no failures
_FIRST_DELAY: Final = 0.5  # seconds; doubled by each further failure
_LONGEST_DELAY: Final = 10  # seconds


class FailureBackoff:
    """Counts failures per address (/64 of IPv6). Failures above `most` are delayed more and more; 0 disables delays.

    A minute without a failure resets an address. `on_failure` is called with the address, or its network, of each
    failure on this server; `add` and `raise_to` count failures on other servers.
    """

    def __init__(self, most: int) -> None:
        self.on_failure: Callable[[str], None] | None = None
        self._most = most
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def note(self, address: str) -> float:
        """Count a failure; return the seconds to delay its answer."""
        if not self._most:
            return 0
        key = rate_limit_key(address)
        beyond = self.add(key, 1) - self._most
        if self.on_failure is not None:
            self.on_failure(key)
        return min(_FIRST_DELAY * 2 ** min(beyond - 1, 10), _LONGEST_DELAY) if beyond > 0 else 0

    def is_delayed(self, address: str) -> bool:
        """Whether further failures of an address are delayed."""
        return 0 < self._most <= self._recent(rate_limit_key(address))

    def add(self, key: str, times: int) -> int:
        """Count more failures of an address or network; return their number."""
        return self._set(key, self._recent(key) + times)

    def raise_to(self, key: str, count: int) -> None:
        """Raise the number of failures of an address to at least `count`."""
        self._set(key, max(self._recent(key), count))

    @property
    def counts(self) -> dict[str, int]:
        """The number of failures per address, without addresses that have been reset."""
        return {key: count for key in self._counts if (count := self._recent(key))}

    def _recent(self, key: str) -> int:
        count, last = self._counts.get(key, (0, 0.0))
        return count if monotonic() - last < _WINDOW else 0

    def _set(self, key: str, count: int) -> int:
        self._counts[key] = (count, monotonic())
        self._counts.move_to_end(key)
        if len(self._counts) > _MAX_ADDRESSES:
            self._counts.popitem(last=False)
        return count
