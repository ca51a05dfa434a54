"""The adapter of a single server, and the local part of any other adapter."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Protocol, runtime_checkable

from synkora.engine.message import Message
from synkora.engine.outbox import Flusher
from synkora.sockets import packets
from synkora.sockets.adapter import Adapter
from synkora.sockets.answer_collector import AnswerCollector
from synkora.sockets.broadcast_acks import BroadcastAcks, PendingBroadcastAck
from synkora.sockets.rooms import RoomNames, Rooms
from synkora.sockets.server_side_events import ServerSide
from synkora.sockets.snapshot import SocketSnapshot


class LocalSocket(Protocol):
    """The methods of a socket that an adapter uses."""

    def _snapshot(self) -> SocketSnapshot: ...

    def join(self, *rooms: str) -> None:
        """Add the socket to rooms."""
        ...

    def leave(self, *rooms: str) -> None:
        """Remove the socket from rooms."""
        ...

    def disconnect(self, close: bool = False) -> None:
        """Disconnect the socket from the namespace, or end its whole connection."""
        ...


class LocalAdapter:
    """Applies operations to the sockets of this server, within the call. It knows no other servers.

    An adapter to other servers has a `LocalAdapter` to answer their requests: `ask`, and `server_side` for their
    events.
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
        rooms: RoomNames,
        except_rooms: RoomNames,
        local: bool = False,  # not keyword-only as elsewhere: calls that omit a keyword-only argument cost more
    ) -> None:
        """Send `message` to the sockets that `Rooms.select` returns."""
        if len(rooms) == 1 and len(except_rooms) == 1:
            (room,), (sid,) = rooms, except_rooms
            skip = self.rooms.members.get(sid)
            if skip is not None:  # a socket's event for a room: the hot path
                self._flusher.broadcast(message, self.rooms[room].values(), skip)
                return
        self._flusher.broadcast(message, self.rooms.select(rooms, except_rooms).values(), None)

    def relay(self, message: Message, room: str, but: str | None = None, local: bool = False) -> None:
        """Send `message` to the members of `room`: the hot path of the application's events."""
        skip = None if but is None else self.rooms.members.get(but)
        self._flusher.broadcast(message, self.rooms.joined(room).values(), skip)

    def ask(
        self, message: Message, rooms: RoomNames, except_rooms: RoomNames, answered: Callable[[Any], None]
    ) -> PendingBroadcastAck:
        """Send an event, and pass the first argument of each ack to `answered`, until the request is closed."""
        chosen = self.rooms.select(rooms, except_rooms)
        number = self.acks.next_id()
        self._flusher.broadcast(packets.asking_for_ack(message, number), chosen.values(), None)
        return self.acks.open(number, chosen, answered)

    async def call(
        self, message: Message, rooms: RoomNames, except_rooms: RoomNames, *, timeout: float, local: bool = False
    ) -> list[Any]:
        """Send an event, and wait for the acks of all recipients. Raises `AckTimeout` with the received ones."""
        answers = AnswerCollector()
        with closing(self.ask(message, rooms, except_rooms, answers.add)) as question:
            answers.expect(question.asked)
            return await answers.wait(timeout)

    async def fetch_sockets(
        self, rooms: RoomNames, except_rooms: RoomNames, *, local: bool = False
    ) -> list[SocketSnapshot]:
        return self.snapshots(rooms, except_rooms)

    def snapshots(self, rooms: RoomNames, except_rooms: RoomNames) -> list[SocketSnapshot]:
        """Describe sockets, without waiting."""
        return [socket._snapshot() for socket in self._select(rooms, except_rooms)]

    def sockets_join(
        self, rooms: RoomNames, except_rooms: RoomNames, joined: RoomNames, *, local: bool = False
    ) -> None:
        """Add sockets to the rooms `joined`."""
        for socket in self._select(rooms, except_rooms):
            socket.join(*joined)

    def sockets_leave(self, rooms: RoomNames, except_rooms: RoomNames, left: RoomNames, *, local: bool = False) -> None:
        """Remove sockets from the rooms `left`."""
        for socket in self._select(rooms, except_rooms):
            socket.leave(*left)

    def disconnect_sockets(
        self, rooms: RoomNames, except_rooms: RoomNames, *, close: bool, local: bool = False
    ) -> None:
        """Disconnect sockets from the namespace; with `close`, end their whole connections."""
        for socket in self._select(rooms, except_rooms):
            socket.disconnect(close)

    async def all_rooms(self) -> set[str]:
        """Return the rooms with sockets, including the rooms named like a socket's id."""
        return self.rooms.names()

    def server_side_emit(self, event: bytes) -> None:
        """Do nothing: there is no other server."""

    async def server_side_call(self, event: bytes, *, timeout: float) -> list[Any]:
        """Return no answers: there is no other server."""
        return []

    async def server_count(self) -> int:
        return 1

    def close(self) -> None:
        """Do nothing: there is no other server."""

    def _select(self, rooms: RoomNames, except_rooms: RoomNames) -> Iterator[LocalSocket]:
        # A copy, since an operation may change the rooms. An operation on one socket may also disconnect another, which
        # is skipped then.
        for sid in list(self.rooms.select(rooms, except_rooms)):
            socket = self._sockets.get(sid)
            if socket is not None:
                yield socket


#: Creates the adapter of a namespace around the namespace's local adapter.
AdapterFactory = Callable[[str, LocalAdapter], Adapter]


@runtime_checkable
class AdapterConnection(Protocol):
    """An `AdapterFactory` whose adapters share a connection. The server starts and closes the connection."""

    def __call__(self, namespace: str, local: LocalAdapter, /) -> Adapter:
        """Create the adapter of a namespace."""
        ...

    async def start(self) -> None:
        """Connect. After a few seconds, continue in the background."""
        ...

    async def close(self) -> None:
        """Send the remaining messages, and disconnect."""
        ...
