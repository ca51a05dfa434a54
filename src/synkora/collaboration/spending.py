"""How much work of the server each user causes, over all of the user's connections."""

from collections import OrderedDict
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

from synkora.engine.rate import Rate

EVENT_SIZE: Final = 8_000  # bytes that receiving an event counts as, besides its own
DELIVERY_SIZE: Final = 3_000  # bytes that each delivery counts as, besides its own
JOIN_SIZE: Final = 200_000  # bytes that a join counts as, or a question about access
_MOST_OWING: Final = 50_000  # users without a connection whose debt is remembered


class Spending:
    """What one user has caused, in bytes that are sent; `due` is when all of the work is paid for."""

    __slots__ = ("__weakref__", "_rate", "due")

    def __init__(self, rate: Rate, due: float) -> None:
        self._rate = rate
        self.due = due

    def excess(self, now: float) -> float:
        """Seconds until the user's next event may come; none or less if it may come now."""
        return self._rate.excess(self.due, now)

    def receive(self, size: int, now: float) -> None:
        """Note an event of `size` bytes that has come."""
        self.due = self._rate.after(self.due, now, EVENT_SIZE + size)

    def join(self) -> None:
        """Note a join, or what takes a question about access as a join does."""
        self.due = self._rate.after(self.due, monotonic(), JOIN_SIZE)

    def deliver(self, size: int, receivers: int) -> None:
        """Note that an event of `size` bytes goes to so many."""
        self.due = self._rate.after(self.due, monotonic(), (DELIVERY_SIZE + size) * receivers)


class Spendings:
    """The spending of each user who has a connection, and what others owe; `per_second` is in bytes, 0 is no limit."""

    def __init__(self, per_second: float) -> None:
        self._rate = Rate(per_second, per_second) if per_second else None
        self._spendings: WeakValueDictionary[str, Spending] = WeakValueDictionary()
        self._owed: OrderedDict[str, float] = OrderedDict()

    def of(self, user_id: str) -> Spending | None:
        """The spending that all connections of a user share; None where there is no limit."""
        if self._rate is None:
            return None
        spending = self._spendings.get(user_id)
        if spending is None:
            spending = self._spendings[user_id] = Spending(self._rate, self._owed.pop(user_id, 0.0))
        return spending

    def left(self, user_id: str) -> None:
        """Remember what a user owes whose last connection ends: it is not paid by connecting again."""
        spending = self._spendings.get(user_id)
        if spending is None or spending.due <= monotonic():
            return
        self._owed[user_id] = spending.due
        self._owed.move_to_end(user_id)
        if len(self._owed) > _MOST_OWING:
            self._owed.popitem(last=False)
