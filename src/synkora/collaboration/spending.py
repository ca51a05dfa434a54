"""The work that each user causes, over all connections of the user."""

from collections import OrderedDict
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

from synkora.engine.rate import Rate

EVENT_SIZE: Final = 8_000  # bytes added to an event's size for the work of receiving it
DELIVERY_SIZE: Final = 3_000  # bytes added to each delivery's size
JOIN_SIZE: Final = 200_000  # bytes that a join or a question about access counts as
_MAX_DEBTORS: Final = 50_000  # users without a connection whose debt is stored


class Spending:
    """The work of one user, in sent bytes; `due` is the time at which it is paid for."""

    __slots__ = ("__weakref__", "_rate", "due")

    def __init__(self, rate: Rate, due: float) -> None:
        self._rate = rate
        self.due = due

    def excess(self, now: float) -> float:
        """Return the seconds until the user's next event is accepted; 0 or less if it is accepted now."""
        return self._rate.excess(self.due, now)

    def count_event(self, size: int, now: float) -> None:
        """Count a received event of `size` bytes."""
        self.due = self._rate.after(self.due, now, EVENT_SIZE + size)

    def count_join(self) -> None:
        """Count a join, or another event that requires a question about access."""
        self.due = self._rate.after(self.due, monotonic(), JOIN_SIZE)

    def count_delivery(self, size: int, receivers: int) -> None:
        """Count the delivery of an event of `size` bytes to `receivers` connections."""
        self.due = self._rate.after(self.due, monotonic(), (DELIVERY_SIZE + size) * receivers)


class Spendings:
    """The spending of connected users, and the debts of others; `per_second` is in bytes, 0 means no limit."""

    def __init__(self, per_second: float) -> None:
        self._rate = Rate(per_second, per_second) if per_second else None
        self._spendings: WeakValueDictionary[str, Spending] = WeakValueDictionary()
        self._debts: OrderedDict[str, float] = OrderedDict()

    def of(self, user_id: str) -> Spending | None:
        """Return the spending that all connections of a user share; None without a limit."""
        if self._rate is None:
            return None
        spending = self._spendings.get(user_id)
        if spending is None:
            spending = self._spendings[user_id] = Spending(self._rate, self._debts.pop(user_id, 0.0))
        return spending

    def store_debt(self, user_id: str) -> None:
        """Store a user's debt after the last connection: a new connection does not clear it."""
        spending = self._spendings.get(user_id)
        if spending is None or spending.due <= monotonic():
            return
        self._debts[user_id] = spending.due
        self._debts.move_to_end(user_id)
        if len(self._debts) > _MAX_DEBTORS:
            self._debts.popitem(last=False)
