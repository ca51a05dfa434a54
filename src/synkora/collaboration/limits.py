"""Rate limits per client, and the refusals above them; a client with too many refusals is disconnected."""

from dataclasses import dataclass, field
from enum import IntEnum
from time import monotonic
from typing import Final

from synkora.collaboration.user_work import JOIN_SIZE, UserWork
from synkora.engine.rate import Rate
from synkora.sockets.errors import EventRefused

_BURST: Final = 3  # seconds of the rate; a browser sends what it queued while it was busy
_REFUSAL_RATE: Final = 20  # refusals per second
_REFUSAL_BURST: Final = 200  # refusals
_REFUSED_BYTES: Final = 100_000  # that count as one more refusal, since receiving them costs as much


class EventClass(IntEnum):
    """The class of an event for rate limits, and its index in the tuple of rates."""

    VOLATILE = 0
    EDIT = 1
    OTHER = 2  # all events outside the catalogue, joins and leaves included


def _rate(per_second: float) -> Rate:
    return Rate(per_second, max(per_second * _BURST, 1))


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits per client; rates are events or bytes per second, and 0 means no limit.

    `connections` and `user_byte_rate` apply to all connections of a user; `user_byte_rate` counts as in `UserWork`, and
    a join as `join_size`.
    """

    volatile_rate: float = 100
    edit_rate: float = 100
    other_rate: float = 20
    byte_rate: float = 1_000_000
    user_byte_rate: float = 200_000_000
    join_size: int = JOIN_SIZE
    projects: int = 50
    connections: int = 200
    rates: tuple[Rate | None, ...] = field(init=False, repr=False)
    bytes: Rate | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rates = (self.volatile_rate, self.edit_rate, self.other_rate)  # in the order of `EventClass`
        object.__setattr__(self, "rates", tuple(_rate(rate) if rate else None for rate in rates))
        object.__setattr__(self, "bytes", _rate(self.byte_rate) if self.byte_rate else None)


class TooManyRefusals(Exception):
    """A client keeps sending although its events are refused."""


_REFUSALS: Final = Rate(_REFUSAL_RATE, _REFUSAL_BURST)


class TooManyBytes(EventRefused):
    """A refusal because of the bytes that a client has sent, not because of the number of its events."""


class TooMuchForUser(EventRefused):
    """A refusal because of the work that all connections of the user have caused."""


class RateLimiter:
    """The use of one client's limits; `work` is the use of all connections of its user."""

    __slots__ = ("_bytes", "_bytes_due", "_due", "_rates", "_refusals_due", "work")

    def __init__(self, limits: Limits, work: UserWork | None = None) -> None:
        self.work = work
        self._rates = limits.rates
        self._due = [0.0] * len(EventClass)
        self._bytes = limits.bytes
        self._bytes_due = 0.0
        self._refusals_due = 0.0

    def take(self, event_class: EventClass, size: int = 0) -> None:
        """Count an event of `size` bytes.

        Raises `EventRefused` above the event rate, `TooManyBytes` above the byte rate, `TooMuchForUser` above the
        user's limit, and `TooManyRefusals` above the rate of refusals.
        """
        rate, bytes_rate, work = self._rates[event_class], self._bytes, self.work
        if rate is None and bytes_rate is None and work is None:
            return
        now = monotonic()
        if work is not None:
            wait = work.excess(now)
            if wait > 0:
                self._refuse(now, size)
                raise _too_much_for_user(wait)
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
        if work is not None:
            work.count_event(size, now)

    def check_user(self) -> None:
        """Raise `TooMuchForUser` above the user's limit. Nothing is counted."""
        wait = 0.0 if self.work is None else self.work.excess(monotonic())
        if wait > 0:
            raise _too_much_for_user(wait)

    def take_bytes(self, size: int) -> None:
        """Count bytes that are not an event, such as an ack. Raises `TooManyBytes` and `TooManyRefusals`."""
        if self._bytes is not None:
            self._take_bytes(self._bytes, size, monotonic())

    def _take_bytes(self, rate: Rate, size: int, now: float) -> None:
        wait = rate.excess(self._bytes_due, now)
        if wait > 0:
            self._refuse(now, size)
            raise TooManyBytes("Too much data: slow down", retryAfter=_rounded(wait))
        self._bytes_due = rate.after(self._bytes_due, now, size)

    def _refuse(self, now: float, size: int) -> None:
        if _REFUSALS.excess(self._refusals_due, now) > 0:
            raise TooManyRefusals
        self._refusals_due = _REFUSALS.after(self._refusals_due, now, 1 + size // _REFUSED_BYTES)


def _too_much_for_user(wait: float) -> TooMuchForUser:
    return TooMuchForUser("Too much for one user: slow down", retryAfter=_rounded(wait))


def _rounded(wait: float) -> float:
    return round(wait + 0.0005, 3)


class EventCounter:
    """The number of events with one name, including refused ones, and the class of their rate limit."""

    __slots__ = ("event_class", "times")

    def __init__(self, event_class: EventClass) -> None:
        self.event_class = event_class
        self.times = 0
