"""The messages that wait for a slow consumer: drops obsolete ones. `outbox.py` decides when they are too many."""

from collections import OrderedDict, deque
from collections.abc import Hashable
from math import inf
from typing import Final

from synkora.engine.message import Message
from synkora.engine.state_updates import Subject, Update

VOLATILE_LIMIT: Final = 65_536  # bytes; about a hundred cursors, and only the newest are useful
UPDATE_LIMIT: Final = 65_536  # bytes; about three hundred joins and leaves
#: Bytes of memory that a small message takes in a backlog, an ack of 7 bytes too: it bounds the number of messages.
MESSAGE_MEMORY: Final = 400
LEAST_MESSAGES: Final = 1000
#: Messages that wait for all connections of a user together.
MOST_OF_USER: Final = 50_000
#: Full backlogs whose bytes may wait for all connections of a user together: an honest user has a few tabs, whose
#: backlogs are seldom full even if all return at the same time. A message takes twice its bytes of memory.
FULL_OF_USER: Final = 16
#: Above these, a connection with little backlog does not end: its end would not make room.
FREE_BYTES_OF_USER: Final = 16_384
#: These do not count of one stranger: a stranger with few waiting messages never ends because of others at the address.
STRANGERS_FREE_MESSAGES: Final = 20
STRANGERS_FREE_BYTES: Final = 16_384
#: Further messages that wait for all strangers of an address together, and their bytes.
MOST_OF_STRANGERS: Final = 10_000
MOST_BYTES_OF_STRANGERS: Final = 4_000_000
_MIN_MAX_LOST: Final = 100  # subjects; more than a client's projects


def most_messages(limit: int) -> int:
    """Return how many messages may wait where `limit` bytes may."""
    return max(limit // MESSAGE_MEMORY, LEAST_MESSAGES)


class UserBacklog:
    """The number of `messages` that wait for all connections of a user, and their `bytes`."""

    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0

    def add(self, messages: int, size: int) -> None:
        """Count more messages, or fewer if the numbers are negative."""
        self.messages += messages
        self.bytes += size


class StrangersBacklog(UserBacklog):
    """What waits for all strangers of an address. The first messages and bytes of each do not count."""

    __slots__ = ("__weakref__",)


class Backlog:
    """Messages in order of arrival. Volatile messages and updates are counted apart, so that they can be dropped.

    The oldest volatile messages are dropped above `VOLATILE_LIMIT` bytes, or if the whole backlog exceeds `limit`
    bytes, or `most_messages`. All updates are dropped above `UPDATE_LIMIT` bytes, or if the backlog still exceeds its
    limits. `lost` has the subjects of dropped updates; further updates of these subjects are not stored.
    """

    __slots__ = (
        "_count",
        "_durable",
        "_latest",
        "_limit",
        "_max_lost",
        "_most",
        "_update_bytes",
        "_updates",
        "_volatile",
        "_volatile_bytes",
        "bytes",
        "lost",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._most = most_messages(limit)
        self._durable: deque[tuple[int, Message]] = deque()
        self._volatile: deque[tuple[int, Message]] = deque()
        self._updates: OrderedDict[int, Update] = OrderedDict()
        self._latest: dict[Hashable, int] = {}  # updates that have a key
        self._count = 0
        self._volatile_bytes = 0
        self._update_bytes = 0
        self.bytes = 0
        self.lost: set[Subject] = set()
        self._max_lost = _MIN_MAX_LOST

    @property
    def is_empty(self) -> bool:
        """Whether no message waits."""
        return not self._durable and not self._volatile and not self._updates

    @property
    def is_over_limit(self) -> bool:
        """Whether too many bytes or messages wait: the slow consumer is to be disconnected, by its `Outbox`."""
        return self.exceeds(self._most, self._limit)

    def __len__(self) -> int:
        return len(self._durable) + len(self._volatile) + len(self._updates)

    def exceeds(self, messages: int, size: int) -> bool:
        """Whether more than so many messages, or more than `size` bytes, wait."""
        return self.bytes > size or len(self) > messages

    def add(self, messages: list[Message]) -> int:
        """Add `messages`, and drop messages above the limits; return the number of dropped volatile messages."""
        for message in messages:
            self._count += 1
            if isinstance(message, Update):
                if message.subject not in self.lost:
                    self._add_update(message)
                continue
            self.bytes += message.size
            if message.volatile:
                self._volatile.append((self._count, message))
                self._volatile_bytes += message.size
            else:
                self._durable.append((self._count, message))
        dropped = 0
        while self._has_too_many_volatile():
            self._take(self._volatile)
            dropped += 1
        if self.is_over_limit and self._updates:
            self._lose_updates()
        return dropped

    def _has_too_many_volatile(self) -> bool:
        if self._volatile_bytes > VOLATILE_LIMIT and len(self._volatile) > 1:
            return True
        return self.is_over_limit and bool(self._volatile)

    def _add_update(self, update: Update) -> None:
        if update.replaces is not None:
            older = self._latest.get(update.replaces)
            if older is not None:
                self._take_update(older)
            self._latest[update.replaces] = self._count
        self._updates[self._count] = update
        self._update_bytes += update.size
        self.bytes += update.size
        if self._update_bytes > UPDATE_LIMIT:
            self._lose_updates()

    def _lose_updates(self) -> None:
        self.lost.update(update.subject for update in self._updates.values())
        self.bytes -= self._update_bytes
        self._update_bytes = 0
        self._updates.clear()
        self._latest.clear()

    def prune_lost(self, outbox: object) -> None:
        """Remove lost subjects that no longer concern the client: a client may join and leave projects without end."""
        if len(self.lost) > self._max_lost:
            self.lost = {subject for subject in self.lost if subject.has_recipient(outbox)}
            self._max_lost = max(2 * len(self.lost), _MIN_MAX_LOST)

    def release(self, most: float = inf) -> list[Message]:
        """Remove and return messages in order: all, or the first ones that together reach `most` bytes."""
        released: list[Message] = []
        rest = self.bytes - most
        while self.bytes > max(rest, 0):
            released.append(self._take_oldest())
        return released

    def _take_oldest(self) -> Message:
        durable, volatile = self._durable, self._volatile
        is_durable_next = not volatile or (durable and durable[0][0] < volatile[0][0])
        lane = durable if is_durable_next else volatile
        if self._updates:
            first = next(iter(self._updates))
            if not lane or first < lane[0][0]:
                return self._take_update(first)
        return self._take(lane)

    def _take(self, lane: deque[tuple[int, Message]]) -> Message:
        _, message = lane.popleft()
        self.bytes -= message.size
        if message.volatile:
            self._volatile_bytes -= message.size
        return message

    def _take_update(self, number: int) -> Update:
        update = self._updates.pop(number)
        self._update_bytes -= update.size
        self.bytes -= update.size
        if update.replaces is not None:
            del self._latest[update.replaces]
        return update
