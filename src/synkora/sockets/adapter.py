"""The port to other servers."""

from collections.abc import Collection
from typing import Any, Protocol

from synkora.engine.message import Message
from synkora.sockets.broadcast_acks import BroadcastAcks
from synkora.sockets.rooms import Rooms
from synkora.sockets.snapshot import SocketSnapshot


class Adapter(Protocol):
    """Carries what a namespace does with many sockets to where they are: on this server and on others.

    `rooms` and `except_rooms` select sockets: the members of any of `rooms` (of the whole namespace if `rooms` is
    empty), without the members of `except_rooms`. With `local`, only sockets of this server are selected.

    A message is an event: `Message.data` is its JSON array, in which placeholders refer to its `attachments`.
    """

    @property
    def rooms(self) -> Rooms:
        """Who is in which room on this server."""
        ...

    @property
    def acks(self) -> BroadcastAcks:
        """The acks that clients of this server owe for broadcasts."""
        ...

    def broadcast(
        self, message: Message, rooms: Collection[str], except_rooms: Collection[str], *, local: bool = False
    ) -> None:
        """Send `message`."""
        ...

    def relay(self, message: Message, room: str, but: str | None = None, *, local: bool = False) -> None:
        """Send `message` to the members of `room`, but not to the socket `but`.

        Unlike a broadcast to the room it never reaches a socket whose id is the room's name: that has not joined.
        """
        ...

    async def call(
        self,
        message: Message,
        rooms: Collection[str],
        except_rooms: Collection[str],
        *,
        timeout: float,
        local: bool = False,
    ) -> list[Any]:
        """Send an event, and wait up to `timeout` seconds for the acks of all who got it.

        Returns the first argument of each, in the order of arrival. Raises `AckTimeout` with those that came.
        """
        ...

    async def fetch_sockets(
        self, rooms: Collection[str], except_rooms: Collection[str], *, local: bool = False
    ) -> list[SocketSnapshot]:
        """Describe sockets. Raises `TimeoutError` where another server does not answer."""
        ...

    def sockets_join(
        self, rooms: Collection[str], except_rooms: Collection[str], joined: Collection[str], *, local: bool = False
    ) -> None:
        """Put sockets into the rooms `joined`."""
        ...

    def sockets_leave(
        self, rooms: Collection[str], except_rooms: Collection[str], left: Collection[str], *, local: bool = False
    ) -> None:
        """Take sockets out of the rooms `left`."""
        ...

    def disconnect_sockets(
        self, rooms: Collection[str], except_rooms: Collection[str], *, close: bool, local: bool = False
    ) -> None:
        """Take sockets out of the namespace; with `close`, end their whole connections."""
        ...

    async def all_rooms(self) -> set[str]:
        """The rooms that somebody is in, those named like a socket's id included.

        Raises `TimeoutError` where another server does not answer.
        """
        ...

    def server_side_emit(self, event: bytes) -> None:
        """Send an event, the JSON array of its name and arguments, to the other servers themselves."""
        ...

    async def server_side_call(self, event: bytes, *, timeout: float) -> list[Any]:
        """Send such an event, and wait up to `timeout` seconds for the answer of each other server.

        Returns the answers in the order of arrival. Raises `AckTimeout` with those that came.
        """
        ...

    async def server_count(self) -> int:
        """How many servers there are, this one included."""
        ...

    def close(self) -> None:
        """Release what the namespace holds, such as subscriptions: the server has given it up, and nobody is in it."""
        ...
