"""A project with a connection of this instance, and what Redis is still to be told of it."""

from itertools import islice

from synkora.cluster.replica import Replica
from synkora.collaboration.presence import PresenceEntry
from synkora.protocol.json import encode


class Project:
    """Its replica, and the changes that Redis has not been told of: `joined` have come after those in `left` went."""

    __slots__ = ("id", "is_asking", "is_complete", "is_entered", "joined", "left", "replica")

    def __init__(self, id: str, instance: str) -> None:
        self.id = id
        self.replica = Replica(instance)
        self.left: dict[str, None] = {}
        self.joined: dict[str, bytes] = {}
        self.is_asking = False  # an answer is awaited
        self.is_complete = False  # the others are known, as far as they can be
        self.is_entered = False  # Redis may know of it

    @property
    def has_news(self) -> bool:
        """Whether Redis is to be told something."""
        return self.replica.is_outdated or bool(self.left or self.joined)

    def join(self, entry: PresenceEntry) -> bool:
        """Let a connection in; False if it is in already."""
        if not self.replica.join(entry):
            return False
        if not self.replica.is_outdated:
            self.joined[entry.socketId] = encode(entry)
        return True

    def leave(self, socket_id: str) -> PresenceEntry | None:
        """Let a connection out; None if it was not in."""
        entry = self.replica.leave(socket_id)
        if entry and not self.joined.pop(socket_id, None) and not self.replica.is_outdated:
            self.left[socket_id] = None
        return entry

    def take_news(self, most: int) -> tuple[list[str], list[tuple[str, bytes]]]:
        """Some that have left, and then some that have joined."""
        left = list(islice(self.left, most))
        for socket_id in left:
            del self.left[socket_id]
        joined = list(islice(self.joined.items(), most - len(left)))
        for socket_id, _ in joined:
            del self.joined[socket_id]
        return left, joined
