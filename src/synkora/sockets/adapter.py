"""The port to other servers, and the adapter of a server that is alone."""

from collections.abc import Collection
from typing import Protocol

from synkora.engine.outbox import Flusher
from synkora.engine.outgoing import Outgoing
from synkora.sockets.rooms import Rooms


class Adapter(Protocol):
    """Carries a namespace's broadcasts to whom they are for, on this server and on others."""

    rooms: Rooms

    def broadcast(self, message: Outgoing, rooms: Collection[str], excepted: Collection[str]) -> None:
        """Send `message` to all in one of `rooms` (in the namespace if there are none), but to none in `excepted`."""
        ...


class LocalAdapter:
    """Knows the sockets of this server alone."""

    __slots__ = ("_flusher", "rooms")

    def __init__(self, flusher: Flusher) -> None:
        self._flusher = flusher
        self.rooms = Rooms()

    def broadcast(self, message: Outgoing, rooms: Collection[str], excepted: Collection[str]) -> None:
        """Send `message` to all in one of `rooms` (in the namespace if there are none), but to none in `excepted`."""
        if len(rooms) == 1 and len(excepted) == 1:
            (room,), (sid,) = rooms, excepted
            skip = self.rooms.members.get(sid)
            if skip is not None:  # what a socket sends to a room: the hot path
                self._flusher.broadcast(message, self.rooms[room].values(), skip)
                return
        self._flusher.broadcast(message, self.rooms.select(rooms, excepted).values(), None)
