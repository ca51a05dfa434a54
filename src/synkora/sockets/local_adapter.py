"""The adapter of a server that is alone, and the part of any other adapter that is about this server."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from synkora.engine.message import Message
from synkora.engine.outbox import Flusher
from synkora.sockets import packets
from synkora.sockets.adapter import Adapter
from synkora.sockets.answer_collector import AnswerCollector
from synkora.sockets.broadcast_acks import BroadcastAcks, PendingBroadcastAck
from synkora.sockets.rooms import Rooms
from synkora.sockets.server_side_events import ServerSide
from synkora.sockets.snapshot import SocketSnapshot


class LocalSocket(Protocol):
    """What an adapter does with a socket of this server."""

    def _snapshot(self) -> SocketSnapshot: ...

    def join(self, *rooms: str) -> None:
        """Put it into rooms."""
        ...

    def leave(self, *rooms: str) -> None:
        """Take it out of rooms."""
        ...

    def disconnect(self, close: bool = False) -> None:
        """Take it out of the namespace, or end its whole connection."""
        ...


class LocalAdapter:
    """Knows the sockets of this server alone: all is done within the call, and other servers there are none.

    An adapter to other servers has one, for its own part in what they ask: `ask`, and `server_side` to hear them by.
    """

    __slots__ = ("_flusher", "_sockets", "acks", "rooms", "server_side")

    def __init__(self, flusher: Flusher, sockets: Mapping[str, LocalSocket], server_side: ServerSide) -> None:
        self._flusher = flusher
        self._sockets = sockets
        self.server_side = server_side
        self.rooms = Rooms()
        self.acks = BroadcastAcks()

    def broadcast(
        self,
        message: Message,
        rooms: Collection[str],
        except_rooms: Collection[str],
        local: bool = False,  # not by keyword alone, as elsewhere: calls that leave such a one out cost more
    ) -> None:
        """Send `message` to the sockets that `Rooms.select` gives."""
        if len(rooms) == 1 and len(except_rooms) == 1:
            (room,), (sid,) = rooms, except_rooms
            skip = self.rooms.members.get(sid)
            if skip is not None:  # what a socket sends to a room: the hot path
                self._flusher.broadcast(message, self.rooms[room].values(), skip)
                return
        self._flusher.broadcast(message, self.rooms.select(rooms, except_rooms).values(), None)

    def relay(self, message: Message, room: str, but: str | None = None, local: bool = False) -> None:
        """Send `message` to the members of `room`: the hot path of the application's events."""
        skip = None if but is None else self.rooms.members.get(but)
        self._flusher.broadcast(message, self.rooms.joined(room).values(), skip)

    def ask(
        self,
        message: Message,
        rooms: Collection[str],
        except_rooms: Collection[str],
        answered: Callable[[Any], None],
    ) -> PendingBroadcastAck:
        """Send an event, and give `answered` the first argument of each ack, until the question is closed."""
        chosen = self.rooms.select(rooms, except_rooms)
        number = self.acks.next_id()
        self._flusher.broadcast(packets.asking_for_ack(message, number), chosen.values(), None)
        return self.acks.open(number, chosen, answered)

    async def call(
        self,
        message: Message,
        rooms: Collection[str],
        except_rooms: Collection[str],
        *,
        timeout: float,
        local: bool = False,
    ) -> list[Any]:
        """Send an event, and wait for the acks of all who got it. Raises `AckTimeout` with those that came."""
        answers = AnswerCollector()
        question = self.ask(message, rooms, except_rooms, answers.add)
        answers.expect(question.asked)
        try:
            return await answers.wait(timeout)
        finally:
            question.close()

    async def fetch_sockets(
        self, rooms: Collection[str], except_rooms: Collection[str], *, local: bool = False
    ) -> list[SocketSnapshot]:
        return self.snapshots(rooms, except_rooms)

    def snapshots(self, rooms: Collection[str], except_rooms: Collection[str]) -> list[SocketSnapshot]:
        """Describe sockets, at once."""
        return [socket._snapshot() for socket in self._select(rooms, except_rooms)]

    def sockets_join(
        self, rooms: Collection[str], except_rooms: Collection[str], joined: Collection[str], *, local: bool = False
    ) -> None:
        """Put sockets into the rooms `joined`."""
        for socket in self._select(rooms, except_rooms):
            socket.join(*joined)

    def sockets_leave(
        self, rooms: Collection[str], except_rooms: Collection[str], left: Collection[str], *, local: bool = False
    ) -> None:
        """Take sockets out of the rooms `left`."""
        for socket in self._select(rooms, except_rooms):
            socket.leave(*left)

    def disconnect_sockets(
        self, rooms: Collection[str], except_rooms: Collection[str], *, close: bool, local: bool = False
    ) -> None:
        """Take sockets out of the namespace; with `close`, end their whole connections."""
        for socket in self._select(rooms, except_rooms):
            socket.disconnect(close)

    async def all_rooms(self) -> set[str]:
        """The rooms that somebody is in, those named like a socket's id included."""
        return self.rooms.names()

    def server_side_emit(self, event: bytes) -> None:
        """Send an event to no other server."""

    async def server_side_call(self, event: bytes, *, timeout: float) -> list[Any]:
        """Send an event to no other server, and get no answer."""
        return []

    async def server_count(self) -> int:
        return 1

    def close(self) -> None:
        """Release nothing: there is no other server."""

    def _select(self, rooms: Collection[str], except_rooms: Collection[str]) -> Iterator[LocalSocket]:
        # A copy, since what is done with one may change who is where. One may end another: that is gone then.
        for sid in list(self.rooms.select(rooms, except_rooms)):
            socket = self._sockets.get(sid)
            if socket is not None:
                yield socket


#: Makes the adapter of the namespace of this name, around the one of this server.
AdapterFactory = Callable[[str, LocalAdapter], Adapter]


@runtime_checkable
class AdapterConnection(Protocol):
    """An `AdapterFactory` whose adapters share a connection: the server starts and closes it with itself."""

    def __call__(self, namespace: str, local: LocalAdapter, /) -> Adapter:
        """Make the adapter of a namespace."""
        ...

    async def start(self) -> None:
        """Connect; where that takes longer than a few seconds, go on in the background."""
        ...

    async def close(self) -> None:
        """Send what is left to be sent, and disconnect."""
        ...
