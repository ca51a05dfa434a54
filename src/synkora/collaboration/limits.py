"""How much one client may send, and what happens to who sends more."""

from dataclasses import dataclass, field
from enum import IntEnum
from time import monotonic
from typing import Final

from synkora.collaboration.spending import Spending
from synkora.engine.rate import Rate
from synkora.sockets.errors import EventRefused

_BURST: Final = 3  # seconds' worth that may come at once: what a browser kept back while it was busy
_PATIENCE_RATE: Final = 20  # refusals a second
_PATIENCE_BURST: Final = 200  # refusals
_REFUSED_BYTES: Final = 100_000  # that weigh as much as one refusal: receiving them costs as much


class EventClass(IntEnum):
    """What an event counts as: its place among the rates, and in an allowance."""

    VOLATILE = 0
    EDIT = 1
    OTHER = 2  # joining, leaving, and whatever is no event of the app


def _rate(per_second: float) -> Rate:
    return Rate(per_second, max(per_second * _BURST, 1))


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one client may do; rates are events or bytes a second, and 0 is no limit.

    `connections` is of one user, over all of their addresses, and so is `user_byte_rate`, which counts as `Spending`
    does.
    """

    volatile_rate: float = 100
    edit_rate: float = 100
    other_rate: float = 20
    byte_rate: float = 1_000_000
    user_byte_rate: float = 200_000_000
    projects: int = 50
    connections: int = 1000
    rates: tuple[Rate | None, ...] = field(init=False, repr=False)
    bytes: Rate | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rates = (self.volatile_rate, self.edit_rate, self.other_rate)  # in the order of `EventClass`
        object.__setattr__(self, "rates", tuple(_rate(rate) if rate else None for rate in rates))
        object.__setattr__(self, "bytes", _rate(self.byte_rate) if self.byte_rate else None)


class TooManyRefusals(Exception):
    """A client goes on although it is refused again and again."""


_PATIENCE: Final = Rate(_PATIENCE_RATE, _PATIENCE_BURST)


class TooManyBytes(EventRefused):
    """A client is refused for the bytes that it has sent, not for the number of its events."""


class TooMuchForUser(EventRefused):
    """A client is refused for what all connections of its user have caused."""


class RateLimiter:
    """What one client has used of its limits; `spending` is the use of all connections of its user."""

    __slots__ = ("_bytes", "_bytes_due", "_due", "_patience_due", "_rates", "spending")

    def __init__(self, limits: Limits, spending: Spending | None = None) -> None:
        self.spending = spending
        self._rates = limits.rates
        self._due = [0.0] * len(EventClass)
        self._bytes = limits.bytes
        self._bytes_due = 0.0
        self._patience_due = 0.0

    def take(self, event_class: EventClass, size: int = 0) -> None:
        """Count an event of `size` bytes.

        Raises `EventRefused` for one too many, `TooManyBytes` for bytes too many, `TooMuchForUser` where the user's
        connections have caused too much, `TooManyRefusals` for one too many of those.
        """
        rate, bytes_rate, spending = self._rates[event_class], self._bytes, self.spending
        if rate is None and bytes_rate is None and spending is None:
            return
        now = monotonic()
        if spending is not None:
            wait = spending.excess(now)
            if wait > 0:
                self._refuse(now, size)
                raise TooMuchForUser("Too much for one user: slow down", retryAfter=_rounded(wait))
        if rate is not None:
            due = self._due[event_class]
            wait = rate.excess(due, now)
            if wait > 0:
                self._refuse(now, size)
                raise EventRefused("Too many events: slow down", retryAfter=_rounded(wait))
        if bytes_rate is not None:
            self._take_bytes(bytes_rate, size, now)
        if rate is not None:
            self._due[event_class] = rate.after(due, now)
        if spending is not None:
            spending.receive(size, now)

    def take_bytes(self, size: int) -> None:
        """Count bytes that are no event's, such as an ack's. Raises as `take` does."""
        if self._bytes is not None:
            self._take_bytes(self._bytes, size, monotonic())

    def _take_bytes(self, rate: Rate, size: int, now: float) -> None:
        wait = rate.excess(self._bytes_due, now)
        if wait > 0:
            self._refuse(now, size)
            raise TooManyBytes("Too much data: slow down", retryAfter=_rounded(wait))
        self._bytes_due = rate.after(self._bytes_due, now, size)

    def _refuse(self, now: float, size: int) -> None:
        if _PATIENCE.excess(self._patience_due, now) > 0:
            raise TooManyRefusals
        self._patience_due = _PATIENCE.after(self._patience_due, now, 1 + size // _REFUSED_BYTES)


def _rounded(wait: float) -> float:
    return round(wait + 0.0005, 3)


class EventCounter:
    """How often an event has come, refused ones included, and which rate limit the event counts against."""

    __slots__ = ("event_class", "times")

    def __init__(self, event_class: EventClass) -> None:
        self.event_class = event_class
        self.times = 0
