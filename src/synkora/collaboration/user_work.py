"""The work that each user causes, over all connections of the user."""

from collections import OrderedDict
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

from synkora.engine.backlog import UserBacklog
from synkora.engine.rate import Rate
from synkora.engine.turn_budget import RequestBudget, TurnBudget
from synkora.engine.unfinished import UnfinishedMessages

EVENT_SIZE: Final = 8_000  # bytes added to an event's size for the work of receiving it
DELIVERY_SIZE: Final = 3_000  # bytes added to each delivery's size
JOIN_SIZE: Final = 200_000  # bytes that a join or a question about access counts as
#: The same where the app's backend is told of each user who enters and leaves. Its queue is bounded, and one user's
#: events must not displace those of others: 200 joins a second cause up to 800 events.
TOLD_JOIN_SIZE: Final = 1_000_000
CONNECT_SIZE: Final = 10_000_000  # bytes that a further CONNECT over the same connection counts as
SHARED_SIZE: Final = 150_000  # bytes added to an event that Redis numbers and keeps, for the work of Redis
DECODED_SIZE: Final = 2_000  # bytes that each value of an event with attachments counts as besides its size
READ_SIZE: Final = 10_000  # bytes added to the size of an event that is read for a return, sent or not
_MAX_DEBTORS: Final = 50_000  # users without a connection whose debt is stored


class UserWork:
    """The work of one user, in sent bytes; `due` is the time at which it is paid for.

    `budget` is the time in each turn of the event loop for what the user's connections receive, refused events
    included, and `requests` that for the HTTP requests of the first connections. `unfinished` is what the connections
    hold of messages that have not arrived completely, and `backlog` what waits for them.
    """

    __slots__ = ("__weakref__", "_join_size", "_rate", "backlog", "budget", "due", "requests", "unfinished")

    def __init__(self, rate: Rate, due: float, join_size: int) -> None:
        self._rate = rate
        self._join_size = join_size
        self.due = due
        self.budget = TurnBudget()
        self.requests = RequestBudget()
        self.unfinished = UnfinishedMessages()
        self.backlog = UserBacklog()

    def excess(self, now: float) -> float:
        """Return the seconds until the user's next event is accepted; 0 or less if it is accepted now."""
        return self._rate.excess(self.due, now)

    def count_event(self, size: int, now: float) -> None:
        """Count a received event of `size` bytes."""
        self.due = self._rate.after(self.due, now, EVENT_SIZE + size)

    def count_decoded(self, values: int) -> None:
        """Count the values of an event with attachments, which all instances decode."""
        self.due = self._rate.after(self.due, monotonic(), DECODED_SIZE * values)

    def count_join(self) -> None:
        """Count a join, or another event that requires a question about access."""
        self.due = self._rate.after(self.due, monotonic(), self._join_size)

    def count_connect(self) -> None:
        """Count a further CONNECT over the same connection; the first one counts as a handshake of the address."""
        self.due = self._rate.after(self.due, monotonic(), CONNECT_SIZE)

    def count_delivery(self, size: int, receivers: int) -> None:
        """Count the delivery of an event of `size` bytes to `receivers` connections."""
        self.due = self._rate.after(self.due, monotonic(), (DELIVERY_SIZE + size) * receivers)

    def count_shared(self) -> None:
        """Count an event that Redis numbers and keeps for all instances."""
        self.due = self._rate.after(self.due, monotonic(), SHARED_SIZE)

    def count_read(self, events: int) -> None:
        """Count events that were read for a connection that returns, and are not sent: its own, or too many."""
        self.due = self._rate.after(self.due, monotonic(), READ_SIZE * events)

    def count_replay(self, events: int, size: int) -> None:
        """Count the events that were found for a connection that returns, of `size` bytes in all."""
        self.due = self._rate.after(self.due, monotonic(), READ_SIZE * events + size)


class UserWorks:
    """The work of connected users, and the debts of others; `per_second` is in bytes, 0 means no limit.

    A join counts as `join_size` bytes.
    """

    def __init__(self, per_second: float, join_size: int = JOIN_SIZE) -> None:
        self._join_size = join_size
        self._rate = Rate(per_second, per_second) if per_second else None
        self._works: WeakValueDictionary[str, UserWork] = WeakValueDictionary()
        self._debts: OrderedDict[str, float] = OrderedDict()

    def of(self, user_id: str) -> UserWork | None:
        """Return the work that all connections of a user share; None without a limit."""
        if self._rate is None:
            return None
        work = self._works.get(user_id)
        if work is None:
            work = self._works[user_id] = UserWork(self._rate, self._debts.pop(user_id, 0.0), self._join_size)
        return work

    def excess(self, user_id: str) -> float:
        """Return the seconds until a user's next event is accepted, for a user without a connection too."""
        work = self._works.get(user_id)
        due = self._debts.get(user_id, 0.0) if work is None else work.due
        return 0.0 if self._rate is None else self._rate.excess(due, monotonic())

    def store_debt(self, user_id: str) -> None:
        """Store a user's debt after the last connection: a new connection does not clear it."""
        work = self._works.get(user_id)
        if work is None or work.due <= monotonic():
            return
        self._debts[user_id] = work.due
        self._debts.move_to_end(user_id)
        if len(self._debts) > _MAX_DEBTORS:
            self._debts.popitem(last=False)
