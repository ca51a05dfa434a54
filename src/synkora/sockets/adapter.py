"""The port to other servers."""

from typing import Any, Protocol

from synkora.engine.message import Message
from synkora.sockets.broadcast_acks import BroadcastAcks
from synkora.sockets.rooms import RoomNames, Rooms
from synkora.sockets.snapshot import SocketSnapshot


class Adapter(Protocol):
    """Applies a namespace's operations on many sockets, on this server and on others.

    `rooms` and `except_rooms` select sockets: the members of any of `rooms` (of the whole namespace if `rooms` is
    empty), without the members of `except_rooms`. With `local`, only sockets of this server are selected.

    A message is an event: `Message.data` is its JSON array, in which placeholders refer to its `attachments`.
    """

    @property
    def rooms(self) -> Rooms:
        """The rooms and their members on this server."""
        ...

    @property
    def acks(self) -> BroadcastAcks:
        """The pending acks of this server's clients for broadcasts."""
        ...

    def broadcast(self, message: Message, rooms: RoomNames, except_rooms: RoomNames, *, local: bool = False) -> None:
        """Send `message`."""
        ...

    def relay(self, message: Message, room: str, but: str | None = None, *, local: bool = False) -> None:
        """Send `message` to the members of `room`, but not to the socket `but`.

        Unlike a broadcast to the room, it never reaches a socket whose id is the room's name: the socket has not
        joined.
        """
        ...

    async def call(
        self, message: Message, rooms: RoomNames, except_rooms: RoomNames, *, timeout: float, local: bool = False
    ) -> list[Any]:
        """Send an event, and wait up to `timeout` seconds for the acks of all recipients.

        Returns the first argument of each, in the order of arrival. Raises `AckTimeout` with the received ones.
        """
        ...

    async def fetch_sockets(
        self, rooms: RoomNames, except_rooms: RoomNames, *, local: bool = False
    ) -> list[SocketSnapshot]:
        """Describe sockets. Raises `TimeoutError` if another server does not answer."""
        ...

    def sockets_join(
        self, rooms: RoomNames, except_rooms: RoomNames, joined: RoomNames, *, local: bool = False
    ) -> None:
        """Add sockets to the rooms `joined`."""
        ...

    def sockets_leave(self, rooms: RoomNames, except_rooms: RoomNames, left: RoomNames, *, local: bool = False) -> None:
        """Remove sockets from the rooms `left`."""
        ...

    def disconnect_sockets(
        self, rooms: RoomNames, except_rooms: RoomNames, *, close: bool, local: bool = False
    ) -> None:
        """Disconnect sockets from the namespace; with `close`, end their whole connections."""
        ...

    async def all_rooms(self) -> set[str]:
        """Return the rooms with sockets, including the rooms named like a socket's id.

        Raises `TimeoutError` if another server does not answer.
        """
        ...

    def server_side_emit(self, event: bytes) -> None:
        """Send an event, the JSON array of its name and arguments, to the other servers."""
        ...

    async def server_side_call(self, event: bytes, *, timeout: float) -> list[Any]:
        """Send an event to the other servers, and wait up to `timeout` seconds for the answer of each.

        Returns the answers in the order of arrival. Raises `AckTimeout` with the received ones.
        """
        ...

    async def server_count(self) -> int:
        """Return the number of servers, including this one."""
        ...

    def close(self) -> None:
        """Release resources such as subscriptions: the server has dropped the namespace, which has no sockets."""
        ...
